//! The one way to user memory: unprivileged loads and stores, which see it exactly as EL0 would.
//!
//! Each byte is read or written once. Where nothing is mapped, or not for this, the access faults,
//! [`super::exception`] goes on at the fix-up, and the copy says how far it came. Nothing else in the
//! kernel touches an address of user space.
#![expect(unsafe_code, reason = "the one routine that touches user memory")]

use core::arch::global_asm;

use exopi_abi::{UserBytes, UserBytesMut};

unsafe extern "C" {
    /// Copies from user memory; returns the bytes that could not be copied.
    fn __copy_from_user(to: *mut u8, from: u64, length: u64) -> u64;
    /// Copies to user memory; returns the bytes that could not be copied.
    fn __copy_to_user(to: u64, from: *const u8, length: u64) -> u64;
    /// The table of [`Fixup`]s, and its end: see kernel.ld.
    static __user_faults: [Fixup; 0];
    static __user_faults_end: [Fixup; 0];
}

/// An instruction that may fault, and where to go on then.
#[derive(Debug)]
#[repr(C)]
struct Fixup {
    instruction: u64,
    on_fault: u64,
}

// The fault that a fix-up handles overwrites ELR_EL1 and SPSR_EL1, which still hold the way back to
// EL0: x9 and x10 keep them. x2 counts down what is left, and is the result. A word that cannot be
// copied whole is copied byte by byte, up to the first one that cannot be.
global_asm!(
    r#"
.macro USER instruction, on_fault
9:  \instruction
    .pushsection .rodata.user_faults, "a"
    .quad 9b, \on_fault
    .popsection
.endm

.macro COPY from_user
    mrs x9, elr_el1
    mrs x10, spsr_el1
1:  cmp x2, #8
    b.lo 2f
.if \from_user
    USER "ldtr x3, [x1]", 2f
    str x3, [x0]
.else
    ldr x3, [x1]
    USER "sttr x3, [x0]", 2f
.endif
    add x0, x0, #8
    add x1, x1, #8
    sub x2, x2, #8
    b 1b
2:  cbz x2, 3f
.if \from_user
    USER "ldtrb w3, [x1]", 3f
    strb w3, [x0]
.else
    ldrb w3, [x1]
    USER "sttrb w3, [x0]", 3f
.endif
    add x0, x0, #1
    add x1, x1, #1
    sub x2, x2, #1
    b 2b
3:  msr elr_el1, x9
    msr spsr_el1, x10
    mov x0, x2
    ret
.endm

.text
.global __copy_from_user
__copy_from_user:
    COPY 1
.global __copy_to_user
__copy_to_user:
    COPY 0
"#
);

/// Where the kernel goes on after a fault at `pc`, if that is an access to user memory.
pub fn fixup(pc: u64) -> Option<u64> {
    let begin = (&raw const __user_faults).cast::<Fixup>();
    let end = (&raw const __user_faults_end).cast::<Fixup>();
    let count = (end as usize - begin as usize) / size_of::<Fixup>();
    // SAFETY: the linker script puts the table between the two symbols; nobody ever writes it.
    let table = unsafe { core::slice::from_raw_parts(begin, count) };
    table
        .iter()
        .find(|fixup| fixup.instruction == pc)
        .map(|fixup| fixup.on_fault)
}

/// Copies the first bytes of `from` to `to`, as many as both have; returns how many could be read.
pub fn copy_in(from: &UserBytes<'_>, to: &mut [u8]) -> usize {
    let length = from.length().min(to.len() as u64);
    // SAFETY: `to` has `length` bytes. The user range lies in user space (`UserBytes` has no other
    // values), where an unprivileged load reads what EL0 may read or faults to the fix-up.
    let left = unsafe { __copy_from_user(to.as_mut_ptr(), from.address(), length) };
    (length - left) as usize
}

/// Copies `from` to the first bytes of `to`, as many as both have; returns how many could be written.
pub fn copy_out(from: &[u8], to: &UserBytesMut<'_>) -> usize {
    let length = to.length().min(from.len() as u64);
    // SAFETY: `from` has `length` bytes. The user range lies in user space, where an unprivileged
    // store writes what EL0 may write or faults to the fix-up.
    let left = unsafe { __copy_to_user(to.address(), from.as_ptr(), length) };
    (length - left) as usize
}
