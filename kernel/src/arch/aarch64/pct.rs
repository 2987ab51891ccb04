//! Protected control transfer and directed yield, without the kernel lock.
//!
//! ```text
//!   pct_call    gate bound and may call, nothing to wait for       pct_reply   caller on this core, nothing waits
//!     claim the callee's life word: Asleep, light -> Running         its life word: Running, here, no flags
//!     link: who calls, where it goes on, what the callee was         own life word: Running -> what it was
//!     charge the caller's time                                       charge the callee's time
//!     space, thread pointer, u-area: the callee's                    space, thread pointer, u-area: the caller's
//!     eret to the callee's entry                                     eret behind the call
//! ```
//!
//! Each goes to the same work under the lock (`crate::transfer`) as soon as anything is not as these few
//! instructions expect it, before they have changed anything.
//!
//! A callee that is ready, not asleep, is entered under the lock: when it is ready again, cores where it has slices must
//! hear of it, or it could be forgotten.
//!
//! ```text
//!   gate_yield   gate bound and may give the core, turn not over, nobody waits for the caller's answer
//!     claim the other one's life word: Ready, nowhere -> Running, here
//!     charge the caller's time; space, thread pointer, u-area: the other one's
//!     own life word: Running, here, no flags -> Ready, nowhere
//!     it has slices elsewhere, or is to stop, to die or to hear something: the rest under the lock
//!     eret to the other one's prologue, or where its state says
//! ```
//!
//! The schedule need not hear of a yield: the turn goes on, and the timer is set for its end. At worst that ends a turn
//! for which nobody waits any more.
//!
//! Why no lock is needed: what is written belongs to the caller, who runs here, or to the callee once it is claimed,
//! and a gate is its owner's alone. Whoever stops or destroys one of the two changes its life word and interrupts
//! this core, which looks after that at its next instruction at EL0. The caller's own word is not changed at all
//! while it waits: it says "running here", and this core has it (see `exopi_domains::Links`).
//!
//! What leaves in registers: the message in x0..x7; x8 and x9 as [`exopi_abi::transfer`] says; x10..x18 and x30
//! are zero, and x19..x29 are as the other side left them, which that side knows. The same at a prologue, where x0..x2
//! are its arguments and x3..x9 are zero.
#![expect(unsafe_code, reason = "enters environments, in assembly")]

use core::arch::global_asm;
use core::mem::offset_of;

use aarch64_cpu::registers::{ELR_EL1, Readable, SP_EL0};
use exopi_abi::calls::Entry;
use exopi_abi::domain::{EnvironmentState, Life, LifeWord};
use exopi_abi::exposed::{CoreCounters, Event};
use exopi_abi::transfer::{GATES, Message};
use exopi_abi::uarea::{self, Frame, UArea, UpcallClass, Vectors};
use exopi_abi::{Call, Reply};
use exopi_domains::{Behind, Gate, Link};

use super::context::offset as context;
use super::core_data::{Core, offset};
use super::macros::{count_exception, count_space, macros, purge};
use super::switch::{VECTORS_TRAP, guard, steps};
use super::vectors::{CALLS, HANDLERS};

/// What a transfer leaves on the empty stack while Rust looks at it: just below the core's record.
#[derive(Debug)]
#[repr(C, align(16))]
struct Passing {
    message: Message,
    whom: Whom,
}

/// Whom a message reaches.
#[derive(Debug)]
#[repr(C)]
struct Whom {
    /// x8 and x9.
    told: [u64; 2],
    /// The first instruction, and the stack pointer.
    entry: [u64; 2],
}

unsafe extern "C" {
    /// The transfers' entries in the call table. Messages and gates are in registers of their own.
    safe fn __pct_call(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
    safe fn __pct_send(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
    safe fn __pct_reply(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
    safe fn __gate_yield(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
}

/// The call table with the entries here in front of transfers.
pub const fn in_front(mut table: [Entry; CALLS]) -> [Entry; CALLS] {
    table[Call::pct_call as usize - 1] = __pct_call;
    table[Call::pct_send as usize - 1] = __pct_send;
    table[Call::pct_reply as usize - 1] = __pct_reply;
    table[Call::gate_yield as usize - 1] = __gate_yield;
    table
}

/// Where the one that makes a transfer goes on behind it.
pub fn behind() -> Behind {
    Behind {
        pc: ELR_EL1.get(),
        sp: SP_EL0.get(),
        steps: steps(),
    }
}

/// Lets the message reach the environment that this core was given to, at `entry`, an instruction and a stack pointer,
/// with `told` in x8 and x9. Only on the way of a transfer, which then succeeds.
pub fn pass(told: [u64; 2], entry: [u64; 2]) {
    let passing = Core::below::<Passing>();
    let place = passing.wrapping_byte_add(offset_of!(Passing, whom));
    // SAFETY: on the way of a transfer the place holds what `__transfer` has put there, and its code alone looks
    // at it again, when the call has come back.
    unsafe { place.cast::<Whom>().write(Whom { told, entry }) };
}

global_asm!(
    macros!(),
    count_exception!(),
    count_space!(),
    r#"
// Charges who runs here, whose life is at \life, with the time since that was last done.
.macro CHARGE life, a, b
    mrs \a, cntvct_el0
    ldr \b, [sp, #{SINCE}]
    str \a, [sp, #{SINCE}]
    sub \a, \a, \b
    ldr \b, [\life, #{TICKS}]
    add \b, \b, \a
    str \b, [\life, #{TICKS}]
.endm

// From who runs here, whose u-area is x16, to the one whose context is x9 and whose u-area is x11: thread pointer,
// space, the core's record.
.macro SWITCH a, b
    mrs \a, tpidr_el0
    str \a, [x16, #{THREAD}]
    ldp \a, \b, [x9, #{TTBR0}]
    msr ttbr0_el1, \a
    msr tpidrro_el0, \b
    ldr \a, [x11, #{THREAD}]
    msr tpidr_el0, \a
    str x9, [sp, #{CURRENT}]
    str x11, [sp, #{UAREA}]
    // PMUSERENR_EL0 lets EL0 read counters, and so choose one: not to be read as somebody else's choice.
    msr pmselr_el0, xzr
    COUNT_SPACE \a, \b
.endm

// Enters EL0 at \pc with \sp, AArch64, nothing masked, no flags.
.macro ENTER pc, sp
    msr elr_el1, \pc
    msr sp_el0, \sp
    msr spsr_el1, xzr
.endm

// Stores the vector registers of who runs here, whose u-area is x16 and guards are x17, and traps their next
// use. Anything else that is guarded goes the slow way.
.macro PUT_VECTORS_AWAY slow
    cbnz x17, \slow
    add x17, x16, #{VECTORS}
    VECTOR_REGISTERS stp, x17
    mrs x18, fpcr
    str x18, [x17, #{FPCR}]
    mrs x18, fpsr
    str x18, [x17, #{FPSR}]
    mov x18, #{VECTORS_GUARD}
    str x18, [sp, #{UAREA} + 8]
    mov x18, #{VECTORS_TRAP}
    msr cpacr_el1, x18
.endm

// Zeroes x10..x18 and x30.
.macro SCRUB_FROM_X10
    ldp x10, x11, [sp, #{ZERO}]
    ldp x12, x13, [sp, #{ZERO}]
    ldp x14, x15, [sp, #{ZERO}]
    ldp x16, x17, [sp, #{ZERO}]
    ldp x18, x30, [sp, #{ZERO}]
.endm

.arch_extension simd
.text
// x0..x7 = message, x8 = gate, x9 = deadline. x10..x18 and x30 are free.
.global __pct_call
.balign 64
__pct_call:
    cbnz x9, 9f
    cmp x8, #{GATES}
    b.hs 9f
    ldp x10, x14, [sp, #{CURRENT_AND_CONTEXTS}]
    add x11, x10, x8, lsl #4
    ldp x12, x13, [x11, #{GATE}]
    tbz x13, #{CALL_BIT}, 9f
    // Who serves a fast call makes slow ones.
    ldr x15, [x10, #{CALLER}]
    tbz x15, #0, 9f
    ldp x16, x17, [sp, #{UAREA}]
    cmp x17, #{VECTORS_GUARD}
    b.ne 6f
1:  add x9, x14, x13, lsr #{OFFSET_SHIFT}
    ldp x14, x11, [x9, #{LIFE}]
    ldr x17, [x11, #{PCT_ENTRY}]
    cbz x17, 8f
    // Claim it. Its word is the gate's: it sleeps. The word of one that runs here differs in core, state and flag.
    ldr x15, [sp, #{CLAIM}]
    eor x15, x12, x15
2:  ldaxr x30, [x14]
    cmp x30, x12
    b.ne 7f
    stlxr w18, x15, [x14]
    cbnz w18, 2b
    // Link the two.
    stp x10, x12, [x9, #{CALLER}]
    mrs x12, elr_el1
    mrs x30, sp_el0
    stp x12, x30, [x9, #{CALLER_PC}]
    str x9, [x10, #{CALLEE}]
    ldr x8, [x10, #{LIFE}]
    CHARGE x8, x12, x30
    ldr x12, [x14, #{DISPATCHES}]
    add x12, x12, #1
    str x12, [x14, #{DISPATCHES}]
    SWITCH x12, x30
    // As it is now that the callee is claimed: what was looked at before may have been changed by it until then.
    ldp x17, x18, [x11, #{PCT_ENTRY}]
    ENTER x17, x18
    ldr x8, [x10, #{NAME}]
    and x9, x13, #{BADGE}
    COUNT_EXCEPTION x10
    SCRUB_FROM_X10
    eret
6:  PUT_VECTORS_AWAY 9f
    b 1b
7:  clrex
8:  // What was found is looked at again; there was no deadline.
    mov x9, xzr
9:  mov x16, #{CALL_INDEX}
    b __transfer

// x0..x7 = answer. x8..x18 and x30 are free.
.global __pct_reply
.balign 64
__pct_reply:
    ldr x10, [sp, #{CURRENT}]
    ldp x9, x12, [x10, #{CALLER}]
    tbnz x9, #0, 9f
    ldp x16, x17, [sp, #{UAREA}]
    cmp x17, #{VECTORS_GUARD}
    b.ne 6f
    // With asynchronous upcalls masked it takes no calls from now on, which its word is to say.
1:  ldr x15, [x16, #{MASKED}]
    cbnz x15, 9f
    ldp x14, x11, [x9, #{LIFE}]
    // The caller runs here, by its word, and nothing waits for it.
    ldrh w15, [x14]
    ldr x18, [sp, #{RUNNING}]
    cmp x15, x18
    b.ne 9f
    ldp x17, x30, [x10, #{CALLER_PC}]
    ldr x8, [x10, #{LIFE}]
    CHARGE x8, x13, x14
    SWITCH x13, x14
    // Before another core can enter or destroy the callee: no link is left, this core uses another space, and what
    // EL0 has begun of cache maintenance is complete.
    mov x14, #{NOBODY}
    str x14, [x10, #{CALLER}]
    str x14, [x9, #{CALLEE}]
    dsb ish
    isb
    mov x15, x12
    bfxil x15, x18, #0, #16
2:  ldaxr x13, [x8]
    cmp x13, x15
    b.ne 7f
    stlxr w13, x12, [x8]
    cbnz w13, 2b
    ENTER x17, x30
    COUNT_EXCEPTION x10
    ldp x8, x9, [sp, #{ZERO}]
    SCRUB_FROM_X10
    eret
6:  PUT_VECTORS_AWAY 9f
    b 1b
7:  // It is to stop, to die or to hear something. The link and the callee's place on this core come back.
    clrex
    str x9, [x10, #{CALLER}]
    str x10, [x9, #{CALLEE}]
    mov x9, x10
    mov x12, x16
    mov x16, x11
    mov x11, x12
    SWITCH x13, x14
9:  mov x16, #{REPLY_INDEX}
    b __transfer

// x8 = gate. x0..x7, x9..x18 and x30 are free.
.global __gate_yield
.balign 64
__gate_yield:
    cmp x8, #{GATES}
    b.hs 9f
    ldp x10, x14, [sp, #{CURRENT_AND_CONTEXTS}]
    add x11, x10, x8, lsl #4
    ldp x12, x13, [x11, #{GATE}]
    tbz x13, #{SCHEDULE_BIT}, 9f
    // Who serves a call takes no other, and with asynchronous upcalls masked neither: its word is to say so.
    ldr x15, [x10, #{CALLER}]
    cmp x15, #{NOBODY}
    b.ne 9f
    ldp x16, x17, [sp, #{UAREA}]
    cmp x17, #{VECTORS_GUARD}
    b.ne 6f
1:  ldr x15, [x16, #{MASKED}]
    cbnz x15, 9f
    // The turn goes on, and the timer is set for its end: x1 = what is left of it, x7 = now.
    ldp x0, x6, [sp, #{TURN_END_AND_SINCE}]
    mrs x7, cntvct_el0
    subs x1, x0, x7
    b.ls 9f
    add x9, x14, x13, lsr #{OFFSET_SHIFT}
    ldp x14, x11, [x9, #{LIFE}]
    ldp x18, x17, [sp, #{PART_LIGHT_AND_RUNNING}]
    ldr x0, [x16, #{BEGIN_ENTRY}]
    cbz x0, 5f
    // Claim it: ready and light, its word is the gate's but for the state.
2:  ldr x15, [sp, #{CLAIM}]
    eor x15, x12, x15
    eor x4, x12, #{ASLEEP_TO_READY}
    ldr x5, [x11, #{BEGIN_ENTRY}]
    cbz x5, 8f
3:  ldaxr x30, [x14]
    cmp x30, x4
    b.ne 7f
    stlxr w5, x15, [x14]
    cbnz w5, 3b
    tbz x18, #{LIGHT_BIT}, __hold_saved
__give:
    ldr x8, [x10, #{LIFE}]
    str x7, [sp, #{SINCE}]
    sub x6, x7, x6
    ldr x5, [x8, #{TICKS}]
    add x5, x5, x6
    str x5, [x8, #{TICKS}]
    ldr x5, [x14, #{DISPATCHES}]
    add x5, x5, #1
    str x5, [x14, #{DISPATCHES}]
    SWITCH x5, x6
    // Before another core can enter or destroy the one that yields: this core uses another space, and what EL0 has
    // begun of cache maintenance is complete.
    dsb ish
    isb
11:  ldaxr x13, [x8]
    eor x6, x13, x17
    tst x6, #0xffff
    b.ne 12f
    eor x6, x13, x18
    stlxr w0, x6, [x8]
    cbnz w0, 11b
    // Has it slices on other cores? Whoever gives it one now sees it ready.
    ldp x2, x5, [sp, #{TURN_SLICE_AND_ELSEWHERE}]
    add x6, x10, #{HOMES}
    ldar x6, [x6]
    tst x6, x5
    b.ne 13f
14:  tbz x4, #{LIGHT_BIT}, 15f
    ldp x5, x6, [x11, #{BEGIN_ENTRY}]
    ENTER x5, x6
    COUNT {UPCALLS}, x5
    COUNT_EXCEPTION x5
    ldp x3, x4, [sp, #{ZERO}]
    ldp x5, x6, [sp, #{ZERO}]
    ldp x7, x8, [sp, #{ZERO}]
    mov x9, xzr
    SCRUB_FROM_X10
    eret
15:  COUNT_EXCEPTION x5
    add x0, x11, #{SAVED}
    b __resume_here
12:  clrex
    // The rest of it under the lock. What it had in these registers is saved, or nothing to it.
13:  mov x19, x1
    mov x20, x4
    mov x21, x11
    mov x0, x10
    mov x1, x18
    bl __yielded
    mov x1, x19
    ldr x2, [sp, #{TURN_SLICE_AND_ELSEWHERE}]
    mov x4, x20
    mov x11, x21
    mov x0, xzr
    ldp x19, x20, [sp, #{ZERO}]
    mov x21, xzr
    b 14b
// The state in `saved` is what it goes on with.
__hold_saved:
    mov x5, #1
    str x5, [x16, #{SAVED_HELD}]
    str xzr, [x16, #{SAVED_ESR}]
    str xzr, [x16, #{SAVED_FAR}]
    b __give
// Without a prologue, its state is saved as that after success.
5:  mov x2, x6
    mov x3, x7
    add x17, x16, #{SAVED}
    SAVE_AFTER_SUCCESS {PC}
    mov x6, x2
    mov x7, x3
    ldp x17, x18, [sp, #{RUNNING_AND_PART_SAVED}]
    b 2b
6:  PUT_VECTORS_AWAY 9f
    b 1b
7:  clrex
    // It may be one without a prologue whose state was saved.
8:  tbz x4, #{LIGHT_BIT}, 9f
    eor x4, x4, #{LIGHT}
    ldr x5, [x11, #{BEGIN_ENTRY}]
    cbz x5, 3b
// Its state is saved as that after success, for it goes on when it next has a core.
9:  mov x16, #{YIELD_INDEX}
    b __saving_transfer
// The same with a message in x0..x7.
.global __pct_send
__pct_send:
    mov x16, #{SEND_INDEX}
__saving_transfer:
    mov x9, xzr
    ldr x17, [sp, #{UAREA}]
    add x17, x17, #{SAVED}
    stp x6, x7, [sp, #-{PASSING_BYTES} + 48]
    SAVE_AFTER_SUCCESS {PC}
    ldp x6, x7, [sp, #-{PASSING_BYTES} + 48]

// x16 = call number - 1, x0..x7 = message, x8, x9 = arguments: the same under the lock, in Rust. If it succeeds and
// comes back, this core is another environment's, which the message reaches.
__transfer:
    sub sp, sp, #{PASSING_BYTES}
    stp x0, x1, [sp, #0]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    mov x0, x8
    mov x1, x9
    adrp x17, {HANDLERS}
    add x17, x17, :lo12:{HANDLERS}
    ldr x17, [x17, x16, lsl #3]
    blr x17
    ands x8, x0, #0xffff
    mov x9, xzr
    b.ne 1f
    ldp x8, x9, [sp, #{TOLD}]
    ldp x10, x11, [sp, #{ENTRY}]
    ENTER x10, x11
1:  ldp x0, x1, [sp, #0]
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    add sp, sp, #{PASSING_BYTES}
    COUNT_EXCEPTION x10
    SCRUB_FROM_X10
    eret
.arch_extension nosimd
"#,
    purge!(),
    ".purgem COUNT_SPACE\n.purgem CHARGE\n.purgem SWITCH\n.purgem ENTER\n.purgem PUT_VECTORS_AWAY",
    ".purgem SCRUB_FROM_X10",
    ZERO = const offset::ZERO,
    COUNTERS = const offset::COUNTERS,
    UAREA = const offset::UAREA_AND_GUARDS,
    CURRENT = const offset::CURRENT,
    CURRENT_AND_CONTEXTS = const offset::CURRENT_AND_CONTEXTS,
    RUNNING = const offset::RUNNING,
    CLAIM = const offset::CLAIM,
    SINCE = const offset::SINCE,
    LIFE = const context::LIFE_AND_UAREA,
    TTBR0 = const context::TTBR0_AND_UAREA_USER,
    NAME = const context::NAME,
    CALLER = const context::CALLER_AND_REST,
    CALLER_PC = const context::CALLER_PC_AND_SP,
    CALLEE = const context::CALLEE,
    GATE = const context::GATES,
    GATES = const GATES,
    CALL_BIT = const Gate::CALL_BIT,
    OFFSET_SHIFT = const Gate::OFFSET_SHIFT,
    BADGE = const Gate::BADGE,
    NOBODY = const Link::NOBODY.word(),
    SCHEDULE_BIT = const Gate::SCHEDULE_BIT,
    TURN_END_AND_SINCE = const offset::TURN_END_AND_SINCE,
    TURN_SLICE_AND_ELSEWHERE = const offset::TURN_SLICE_AND_ELSEWHERE,
    PART_LIGHT_AND_RUNNING = const offset::PART_LIGHT_AND_RUNNING,
    RUNNING_AND_PART_SAVED = const offset::RUNNING_AND_PART_SAVED,
    ASLEEP_TO_READY = const EnvironmentState::Asleep as u64 ^ EnvironmentState::Ready as u64,
    LIGHT = const LifeWord::LIGHT,
    LIGHT_BIT = const LifeWord::LIGHT.ilog2(),
    HOMES = const context::HOMES,
    BEGIN_ENTRY = const offset_of!(UArea, entries)
        + UpcallClass::SliceBegin as usize * size_of::<uarea::Entry>(),
    SAVED_HELD = const offset_of!(UArea, saved) + offset_of!(Frame, held),
    SAVED_ESR = const offset_of!(UArea, saved) + offset_of!(Frame, esr),
    SAVED_FAR = const offset_of!(UArea, saved) + offset_of!(Frame, far),
    UPCALLS = const offset_of!(CoreCounters, upcalls),
    TICKS = const offset_of!(Life, ticks),
    DISPATCHES = const offset_of!(Life, dispatches),
    PCT_ENTRY = const offset_of!(UArea, entries)
        + UpcallClass::Pct as usize * size_of::<uarea::Entry>(),
    SAVED = const offset_of!(UArea, saved),
    PC = const offset_of!(Frame, pc),
    MASKED = const offset_of!(UArea, masked),
    THREAD = const offset_of!(UArea, thread),
    VECTORS = const offset_of!(UArea, vectors),
    FPCR = const offset_of!(Vectors, fpcr),
    FPSR = const offset_of!(Vectors, fpsr),
    VECTORS_GUARD = const guard::VECTORS,
    VECTORS_TRAP = const VECTORS_TRAP,
    PASSING_BYTES = const size_of::<Passing>(),
    TOLD = const offset_of!(Passing, whom) + offset_of!(Whom, told),
    ENTRY = const offset_of!(Passing, whom) + offset_of!(Whom, entry),
    HANDLERS = sym HANDLERS,
    CALL_INDEX = const Call::pct_call as usize - 1,
    REPLY_INDEX = const Call::pct_reply as usize - 1,
    YIELD_INDEX = const Call::gate_yield as usize - 1,
    SEND_INDEX = const Call::pct_send as usize - 1,
    EXCEPTIONS = const offset_of!(CoreCounters, events) + 8 * Event::Exception as usize,
    SPACES = const offset_of!(CoreCounters, events) + 8 * Event::SpaceSwitch as usize,
);
