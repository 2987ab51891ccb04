//! What other environments run: a few instructions, with every register in view.
//!
//! Each begins with SP at its [`Pad`] and uses no stack.

use core::arch::naked_asm;
use core::mem::offset_of;

use exopi_rt::Call;

use super::{COUNT, Pad, WORD};

/// Dumps all registers to the pad and counts. Then turns for ever in one place, with all registers as they
/// were, if the pad's word is not zero; otherwise stops, and dumps again when it is run.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dump() {
    naked_asm!(
        "stp x0, x1, [sp, #0]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "stp x8, x9, [sp, #64]",
        "stp x10, x11, [sp, #80]",
        "stp x12, x13, [sp, #96]",
        "stp x14, x15, [sp, #112]",
        "stp x16, x17, [sp, #128]",
        "stp x18, x19, [sp, #144]",
        "stp x20, x21, [sp, #160]",
        "stp x22, x23, [sp, #176]",
        "stp x24, x25, [sp, #192]",
        "stp x26, x27, [sp, #208]",
        "stp x28, x29, [sp, #224]",
        "mrs x0, nzcv",
        "stp x30, x0, [sp, #240]",
        "mrs x0, tpidr_el0",
        "mrs x1, tpidrro_el0",
        "stp x0, x1, [sp, #256]",
        "add x0, sp, #{vectors}",
        "stp q0, q1, [x0, #0]",
        "stp q2, q3, [x0, #32]",
        "stp q4, q5, [x0, #64]",
        "stp q6, q7, [x0, #96]",
        "stp q8, q9, [x0, #128]",
        "stp q10, q11, [x0, #160]",
        "stp q12, q13, [x0, #192]",
        "stp q14, q15, [x0, #224]",
        "stp q16, q17, [x0, #256]",
        "stp q18, q19, [x0, #288]",
        "stp q20, q21, [x0, #320]",
        "stp q22, q23, [x0, #352]",
        "stp q24, q25, [x0, #384]",
        "stp q26, q27, [x0, #416]",
        "stp q28, q29, [x0, #448]",
        "stp q30, q31, [x0, #480]",
        "mrs x1, fpcr",
        "str x1, [x0, #512]",
        "mrs x1, fpsr",
        "str x1, [x0, #520]",
        "add x0, sp, #{count}",
        "ldr x1, [x0]",
        "add x1, x1, #1",
        "stlr x1, [x0]",
        "ldr x1, [sp, #{word}]",
        "cbz x1, 2f",
        "ldp x0, x1, [sp, #0]",
        "1: b 1b",
        "2: mov x0, #0",
        "svc #{env_stop}",
        "b {dump}",
        vectors = const offset_of!(Pad, vectors),
        count = const COUNT,
        word = const WORD,
        env_stop = const Call::env_stop as u16,
        dump = sym dump,
    )
}

/// Turns for ever in one place, and changes nothing.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn spin() {
    naked_asm!("1: b 1b")
}

/// Counts in the pad, with a turn of the core for everybody between two counts, and stops when it has
/// counted to the pad's word.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn count() {
    naked_asm!(
        "ldr x19, [sp, #{word}]",
        "add x20, sp, #{count}",
        "1: ldr x21, [x20]",
        "add x21, x21, #1",
        "stlr x21, [x20]",
        "mov x0, #0",
        "svc #{env_yield}",
        "cmp x21, x19",
        "b.lo 1b",
        "2: mov x0, #0",
        "svc #{env_stop}",
        "b 2b",
        word = const WORD,
        count = const COUNT,
        env_yield = const Call::env_yield as u16,
        env_stop = const Call::env_stop as u16,
    )
}

/// Yields as often as the pad's word says, and stops. Between two yields it sums up what a call must keep:
/// x20..x28, SP, flags, TPIDR_EL0 and, if x20 is odd, the vector registers. A sum that is not the first one is
/// told by a breakpoint, as is a call that leaves anything in the other registers.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn juggle() {
    naked_asm!(
        "mov x29, #0",
        "msr nzcv, x21",
        "1: mov x0, #0",
        "svc #{env_yield}",
        "mrs x19, nzcv",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30",
        "cbnz x\\n, 8f",
        ".endr",
        "ror x0, x19, #60",
        ".irp n, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "ror x0, x0, #7",
        "add x0, x0, x\\n",
        ".endr",
        "mov x1, sp",
        "add x0, x0, x1",
        "mrs x1, tpidr_el0",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        "mrs x1, tpidrro_el0",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        "tbz x20, #0, 3f",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "mov x1, v\\n\\().d[0]",
        "mov x2, v\\n\\().d[1]",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        "ror x0, x0, #7",
        "add x0, x0, x2",
        ".endr",
        "mrs x1, fpcr",
        "mrs x2, fpsr",
        "add x0, x0, x1",
        "add x0, x0, x2",
        "3: orr x0, x0, #1",
        "cbnz x29, 4f",
        "mov x29, x0",
        "4: cmp x0, x29",
        "b.ne 9f",
        "msr nzcv, x21",
        "ldr x0, [sp, #{count}]",
        "add x0, x0, #1",
        "str x0, [sp, #{count}]",
        "ldr x1, [sp, #{word}]",
        "sub x1, x1, x0",
        "cbnz x1, 1b",
        "5: mov x0, #0",
        "svc #{env_stop}",
        "b 5b",
        "8: brk #8",
        "9: brk #9",
        word = const WORD,
        count = const COUNT,
        env_yield = const Call::env_yield as u16,
        env_stop = const Call::env_stop as u16,
    )
}

/// Runs an undefined instruction, and then turns for ever in one place.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn undefined() {
    naked_asm!("udf #0", "1: b 1b")
}

/// The same after some time on its core.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn undefined_later() {
    naked_asm!(
        "mov x9, #0x8000",
        "1: subs x9, x9, #1",
        "b.ne 1b",
        "udf #0",
        "2: b 2b"
    )
}

/// Loads a word from x1 to x0, and then turns for ever in one place.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn load() {
    naked_asm!("ldr x0, [x1]", "str x0, [sp, #{word}]", "1: b 1b", word = const WORD)
}

/// Steps for a debugger, each one instruction: some that add to x9, one that uses a vector register, a call, and,
/// at the seventh, a call that gives the core away if somebody waits for it. Then turns for ever in one place.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn steps() {
    naked_asm!(
        "add x9, x9, #1",
        "add x9, x9, #2",
        "fmov d0, x9",
        "svc #{null}",
        "add x9, x9, #4",
        "mov x0, #0",
        "svc #{env_yield}",
        "add x9, x9, #8",
        "add x9, x9, #16",
        "1: b 1b",
        null = const Call::null as u16,
        env_yield = const Call::env_yield as u16,
    )
}

/// In a space of its own: compares the word at x19 with x20 and adds one to the next word, with a turn of the core
/// for everybody between, until that is what the third word says; then stops. A word that differs is told by
/// a breakpoint.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn compare() {
    naked_asm!(
        "1: ldr x0, [x19]",
        "cmp x0, x20",
        "b.ne 9f",
        "ldp x1, x2, [x19, #8]",
        "add x1, x1, #1",
        "str x1, [x19, #8]",
        "sub x21, x2, x1",
        "mov x0, #0",
        "svc #{env_yield}",
        "cbnz x21, 1b",
        "2: mov x0, #0",
        "svc #{env_stop}",
        "b 2b",
        "9: brk #9",
        env_yield = const Call::env_yield as u16,
        env_stop = const Call::env_stop as u16,
    )
}

/// In the program's space, for ever: allocates a page and maps it at x19, stores to it, unmaps it and makes an account,
/// with a turn of the core for everybody between. Nothing is given back: when its account has no more to give, the
/// store faults. x20 is the word of a new page, any.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn live() {
    naked_asm!(
        "1: mov x0, #0",
        "mov x1, x19",
        "mov x2, x20",
        "mov x3, #0",
        "mov x4, #1",
        "mov x5, #{rw}",
        "svc #{insert_pte}",
        "str x19, [x19]",
        "mov x0, #0",
        "mov x1, x19",
        "mov x2, #1",
        "svc #{remove_pte}",
        "mov x0, #1",
        "mov x1, #0",
        "mov x2, #0",
        "mov x3, #0",
        "svc #{account_create}",
        "mov x0, #0",
        "svc #{env_yield}",
        "b 1b",
        rw = const exopi_rt::Access::READ.bits() | exopi_rt::Access::WRITE.bits(),
        insert_pte = const Call::insert_pte as u16,
        remove_pte = const Call::remove_pte as u16,
        account_create = const Call::account_create as u16,
        env_yield = const Call::env_yield as u16,
    )
}

/// In the program's space, for ever: maps the x21 pages from x20 on at x19, unmaps the first x22 of them, and counts in
/// x28.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn hoard() {
    naked_asm!(
        "1: mov x0, #0",
        "mov x1, x19",
        "mov x2, x20",
        "mov x3, #0",
        "mov x4, x21",
        "mov x5, #{rw}",
        "svc #{insert_pte}",
        "mov x0, #0",
        "mov x1, x19",
        "mov x2, x22",
        "svc #{remove_pte}",
        "add x28, x28, #1",
        "b 1b",
        rw = const exopi_rt::Access::READ.bits() | exopi_rt::Access::WRITE.bits(),
        insert_pte = const Call::insert_pte as u16,
        remove_pte = const Call::remove_pte as u16,
    )
}

/// For ever: sums up x2..x27, SP, TPIDR_EL0 and the vector registers, with no call in between, so that whatever is done
/// to it is done between any two instructions, and counts. A sum that is not the first one is told by a breakpoint, as
/// is a mail, x28, whose upper half is not the pad's word. The last mail is at the pad's begin.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn watch() {
    naked_asm!(
        "mov x29, #0",
        "1: mov x0, #0",
        ".irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
        "ror x0, x0, #7",
        "add x0, x0, x\\n",
        ".endr",
        "mov x1, sp",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        "mrs x1, tpidr_el0",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "mov x1, v\\n\\().d[0]",
        "mov x30, v\\n\\().d[1]",
        "ror x0, x0, #7",
        "add x0, x0, x1",
        "ror x0, x0, #7",
        "add x0, x0, x30",
        ".endr",
        "mrs x1, fpcr",
        "mrs x30, fpsr",
        "add x0, x0, x1",
        "add x0, x0, x30",
        "orr x0, x0, #1",
        "cbnz x29, 4f",
        "mov x29, x0",
        "4: cmp x0, x29",
        "b.ne 9f",
        "mov x1, x28",
        "lsr x0, x1, #32",
        "ldr x30, [sp, #{word}]",
        "cmp x0, x30",
        "b.ne 8f",
        "str x1, [sp]",
        "ldr x0, [sp, #{count}]",
        "add x0, x0, #1",
        "str x0, [sp, #{count}]",
        "b 1b",
        "8: brk #8",
        "9: brk #9",
        word = const WORD,
        count = const COUNT,
    )
}

/// In a space of its own: sums up x20 words from x19 on, x21 bytes apart, with a turn of the core for everybody after
/// that, x22 times, and stops. A sum that is not the first one is told by a breakpoint.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn steady() {
    naked_asm!(
        "mov x23, #0",
        "1: mov x24, x19",
        "mov x25, x20",
        "mov x26, #1",
        "2: ldr x27, [x24]",
        "ror x26, x26, #9",
        "add x26, x26, x27",
        "add x24, x24, x21",
        "subs x25, x25, #1",
        "b.ne 2b",
        "cbnz x23, 3f",
        "mov x23, x26",
        "3: cmp x26, x23",
        "b.ne 9f",
        "mov x0, #0",
        "svc #{env_yield}",
        "subs x22, x22, #1",
        "b.ne 1b",
        "4: mov x0, #0",
        "svc #{env_stop}",
        "b 4b",
        "9: brk #9",
        env_yield = const Call::env_yield as u16,
        env_stop = const Call::env_stop as u16,
    )
}

/// Makes its caller the keeper of the environment that x19 names, notice x20, leaves the call's status in the pad's word, and stops.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn keep() {
    naked_asm!(
        "mov x0, x19",
        "mov x1, x20",
        "svc #{env_keep}",
        "str x0, [sp, #{word}]",
        "1: mov x0, #0",
        "svc #{env_stop}",
        "b 1b",
        word = const WORD,
        env_keep = const Call::env_keep as u16,
        env_stop = const Call::env_stop as u16,
    )
}
