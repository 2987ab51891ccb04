//! The one way to user memory: unprivileged loads and stores, which see it exactly as EL0 would.
//!
//! Each byte is read or written once. Where nothing is mapped, or not for this, the access faults,
//! [`super::exception`] goes on at the fix-up, and the copy says how far it came. Nothing else in the
//! kernel touches an address of user space.
#![expect(unsafe_code, reason = "the one routine that touches user memory")]

use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};

use exopi_abi::capability::CAPABILITY_WORDS;
use exopi_abi::{
    Error, Operation, Progress, Reply, UserBytes, UserBytesMut, UserCapability, UserCapabilityMut,
};

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

/// The same to words.
pub fn copy_in_words(from: &UserBytes<'_>, to: &mut [u64]) -> usize {
    let length = from.length().min(size_of_val(to) as u64);
    // SAFETY: as above; any bytes are words.
    let left = unsafe { __copy_from_user(to.as_mut_ptr().cast(), from.address(), length) };
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

/// How far a copy came, as a call tells it: one that moved nothing of what there was found no memory.
pub fn progress(done: usize, wanted: u64) -> Progress {
    Progress {
        done: done as u64,
        stopped: (done == 0 && wanted > 0).then_some(Error::BadAddress),
    }
}

/// An instruction that may fault, and the label where the kernel goes on then: as `USER` above, for blocks of
/// assembly inside of functions.
macro_rules! user {
    ($instruction:literal, $on_fault:literal) => {
        concat!(
            "9: ",
            $instruction,
            "\n.pushsection .rodata.user_faults, \"a\"\n.quad 9b, ",
            $on_fault,
            "\n.popsection"
        )
    };
}

/// The words of user memory from `at` on, a multiple of 8 in user space. What an operation or a capability
/// is made of is read with nothing but loads: no loop, and no buffer that the next step would load again.
#[inline(always)]
fn read_words(at: u64) -> Result<[u64; CAPABILITY_WORDS], Error> {
    let (a, b, c, d, e, f): (u64, u64, u64, u64, u64, u64);
    let failed: u64;
    // SAFETY: the caller's address lies in user space, where an unprivileged load reads what EL0 may
    // read or faults to the fix-up. ELR_EL1 and SPSR_EL1 are what they were in the end.
    unsafe {
        asm!(
            "mrs {elr}, elr_el1",
            "mrs {spsr}, spsr_el1",
            user!("ldtr {a}, [{at}]", "7f"),
            user!("ldtr {b}, [{at}, #8]", "7f"),
            user!("ldtr {c}, [{at}, #16]", "7f"),
            user!("ldtr {d}, [{at}, #24]", "7f"),
            user!("ldtr {e}, [{at}, #32]", "7f"),
            user!("ldtr {f}, [{at}, #40]", "7f"),
            "mov {failed}, #0",
            "8:",
            ".subsection 1",
            "7: msr elr_el1, {elr}",
            "msr spsr_el1, {spsr}",
            "mov {failed}, #1",
            "b 8b",
            ".previous",
            at = in(reg) at,
            a = out(reg) a,
            b = out(reg) b,
            c = out(reg) c,
            d = out(reg) d,
            e = out(reg) e,
            f = out(reg) f,
            elr = out(reg) _,
            spsr = out(reg) _,
            failed = out(reg) failed,
            options(nostack, preserves_flags, readonly),
        );
    }
    if failed == 0 {
        Ok([a, b, c, d, e, f])
    } else {
        Err(Error::BadAddress)
    }
}

/// The words of a capability that somebody presents. They can be anything.
///
/// # Errors
/// [`Error::BadAddress`] if one cannot be read.
#[inline(always)]
pub fn read_capability(from: UserCapability<'_>) -> Result<[u64; CAPABILITY_WORDS], Error> {
    read_words(from.address())
}

/// Writes the words of a capability, all or none.
///
/// The last word goes first, then the first one: they lie on whatever pages the capability lies on, so that
/// what is between them cannot fault any more. If the first one faults, the last one is put back.
///
/// # Errors
/// [`Error::BadAddress`] if one cannot be written.
#[inline(always)]
pub fn write_capability(
    words: [u64; CAPABILITY_WORDS],
    to: &UserCapabilityMut<'_>,
) -> Result<(), Error> {
    let [a, b, c, d, e, f] = words;
    // SAFETY: the range lies in user space (`UserCapabilityMut` has no other values), where an
    // unprivileged store writes what EL0 may write or faults to the fix-up. ELR_EL1 and SPSR_EL1 are what
    // they were in the end.
    unsafe {
        asm!(
            "mrs {elr}, elr_el1",
            "mrs {spsr}, spsr_el1",
            user!("ldtr {last}, [{at}, #40]", "7f"),
            user!("sttr {f}, [{at}, #40]", "7f"),
            user!("sttr {a}, [{at}]", "6f"),
            user!("sttr {b}, [{at}, #8]", "7f"),
            user!("sttr {c}, [{at}, #16]", "7f"),
            user!("sttr {d}, [{at}, #24]", "7f"),
            user!("sttr {e}, [{at}, #32]", "7f"),
            ".subsection 1",
            "6:",
            user!("sttr {last}, [{at}, #40]", "7f"),
            "7: msr elr_el1, {elr}",
            "msr spsr_el1, {spsr}",
            "b {failed}",
            ".previous",
            at = in(reg) to.address(),
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            e = in(reg) e,
            f = in(reg) f,
            last = out(reg) _,
            elr = out(reg) _,
            spsr = out(reg) _,
            failed = label { return Err(Error::BadAddress) },
            options(nostack, preserves_flags),
        );
    }
    Ok(())
}

/// Where an operation of a batch lies: 64 bytes of user memory at a multiple of 8.
#[derive(Clone, Copy, Debug)]
pub struct UserOperation(u64);

impl UserOperation {
    /// The one at `index` of the batch, if it has so many.
    pub fn of(batch: &exopi_abi::UserOperations<'_>, index: u64) -> Option<Self> {
        (index < batch.count())
            .then(|| Self(batch.address() + index * size_of::<Operation>() as u64))
    }

    /// The call's number and its arguments.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if they cannot be read, or a result could not be written.
    pub fn read(self) -> Result<(u64, [u64; 5]), Error> {
        const { assert!(offset_of!(Operation, call) == 0 && offset_of!(Operation, arguments) == 8) };
        let [call, a, b, c, d, e] = read_words(self.0)?;
        // What cannot be told must not be done.
        self.write(Reply {
            status: 0,
            value: 0,
        })?;
        Ok((call, [a, b, c, d, e]))
    }

    /// Writes the call's result.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if a word cannot be written.
    pub fn write(self, reply: Reply) -> Result<(), Error> {
        const {
            assert!(offset_of!(Operation, value) == offset_of!(Operation, status) + 8);
        }
        let words = [reply.status, reply.value];
        // SAFETY: the kernel's words are its own; the 16 bytes lie in a batch in user space, where an
        // unprivileged store writes what EL0 may write or faults to the fix-up.
        let left = unsafe {
            __copy_to_user(
                self.0 + offset_of!(Operation, status) as u64,
                words.as_ptr().cast(),
                size_of_val(&words) as u64,
            )
        };
        if left == 0 {
            Ok(())
        } else {
            Err(Error::BadAddress)
        }
    }
}
