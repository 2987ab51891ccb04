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
    static __user_access_begin: u8;
    static __user_access_end: u8;
    static __user_access_fixup: u8;
}

// The fault that a fix-up handles overwrites ELR_EL1 and SPSR_EL1, which still hold the way back to
// EL0: x9 and x10 keep them. x2 counts down what is left, and is the result.
global_asm!(
    r#"
.macro COPY_USER name, load8, load1, store8, store1
.global \name
\name:
    mrs x9, elr_el1
    mrs x10, spsr_el1
1:  cmp x2, #8
    b.lo 2f
    \load8
    \store8
    add x0, x0, #8
    add x1, x1, #8
    sub x2, x2, #8
    b 1b
2:  cbz x2, 3f
    \load1
    \store1
    add x0, x0, #1
    add x1, x1, #1
    sub x2, x2, #1
    b 2b
3:  mov x0, #0
    ret
.endm

.text
.global __user_access_begin
__user_access_begin:
COPY_USER __copy_from_user, "ldtr x3, [x1]", "ldtrb w3, [x1]", "str x3, [x0]", "strb w3, [x0]"
COPY_USER __copy_to_user, "ldr x3, [x1]", "ldrb w3, [x1]", "sttr x3, [x0]", "sttrb w3, [x0]"
.global __user_access_end
__user_access_end:
.global __user_access_fixup
__user_access_fixup:
    msr elr_el1, x9
    msr spsr_el1, x10
    mov x0, x2
    ret
"#
);

/// Where the kernel goes on after a fault at `pc`, if that is an access to user memory.
pub fn fixup(pc: u64) -> Option<u64> {
    let (begin, end) = (
        &raw const __user_access_begin as u64,
        &raw const __user_access_end as u64,
    );
    (begin..end)
        .contains(&pc)
        .then_some(&raw const __user_access_fixup as u64)
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
