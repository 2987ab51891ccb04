//! Single rounds: an instruction between two readings of the counter.
//!
//! ```text
//!   mrs x20, pmccntr_el0
//!   svc #n, or udf           counts 1, as does each of the kernel's up to its eret
//!   mrs x21, pmccntr_el0     x21 - x20 is 1 more: what two readings in a row differ by
//! ```

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use exopi_rt::exposed::{self, Event};
use exopi_rt::registers::Reply;
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_rt::{Call, PageNumber, upcall};

/// The core that the program runs on: the first environment is the boot core's.
const CORE: usize = 0;

/// Readings of the kernel's event counters.
pub(crate) type Events = [u64; Event::COUNT];

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// In guest instructions.
    pub(crate) instructions: u64,
    /// By event; all zero if the kernel does not count.
    pub(crate) events: Events,
}

/// What has happened since boot.
pub(crate) fn events() -> Events {
    Event::ALL.map(|(event, _)| exposed::events(CORE, event))
}

/// What happened between two readings.
pub(crate) fn between(before: Events, after: Events) -> Events {
    core::array::from_fn(|index| after[index] - before[index])
}

/// What two readings in a row differ by.
pub(crate) fn overhead() -> u64 {
    let (begin, end): (u64, u64);
    // SAFETY: reads the counter, twice.
    unsafe {
        asm!(
            "mrs {begin}, pmccntr_el0",
            "mrs {end}, pmccntr_el0",
            begin = out(reg) begin,
            end = out(reg) end,
            options(nomem, nostack),
        );
    }
    end - begin
}

/// The counter as it is now.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let now;
    // SAFETY: reads the counter.
    unsafe { asm!("mrs {now}, pmccntr_el0", now = out(reg) now, options(nostack)) };
    now
}

/// Makes call `NUMBER` between two readings.
///
/// # Safety
/// As for the stub of the call.
#[inline(never)]
pub(crate) unsafe fn call<const NUMBER: u16>(words: [u64; 6]) -> (Sample, Reply) {
    let (begin, end): (u64, u64);
    let (status, value);
    let before = events();
    // SAFETY: the call's own conditions are the caller's; the kernel keeps x19..x29 and SP.
    unsafe {
        asm!(
            "mrs x20, pmccntr_el0",
            "svc #{number}",
            "mrs x21, pmccntr_el0",
            number = const NUMBER,
            inout("x0") words[0] => status,
            inout("x1") words[1] => value,
            inout("x2") words[2] => _,
            inout("x3") words[3] => _,
            inout("x4") words[4] => _,
            inout("x5") words[5] => _,
            out("x20") begin,
            out("x21") end,
            clobber_abi("C"),
        );
    }
    let sample = Sample {
        instructions: end - begin - overhead(),
        events: between(before, events()),
    };
    (sample, Reply { status, value })
}

/// A fault's way in, and its way in and out again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultSample {
    /// Faulting instruction .. handler's first instruction.
    pub(crate) entry: Sample,
    /// And from `resume` .. the interrupted code's next instruction.
    pub(crate) roundtrip: Sample,
}

/// Offset of the frame of faults in the u-area.
const FRAME: usize = offset_of!(UArea, frames) + UpcallClass::Fault as usize * size_of::<Frame>();
/// Offset of the frame's x10, in which handlers pass their reading on.
const X10: usize = FRAME + offset_of!(Frame, x) + 10 * 8;
/// Offset of the frame's PC.
const PC: usize = FRAME + offset_of!(Frame, pc);

/// Instructions of the measured handlers besides their `svc`, which is the way back's. There are no branches.
const OWN: u64 = 7;

/// Defines a handler that is measured: it notes when it was entered, adds to the PC what leads behind
/// the instruction, goes on. Entered with the interrupted registers; all come back from the frame.
macro_rules! timing_handler {
    ($name:ident, $step:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "mrs x6, pmccntr_el0",
                "mrs x7, tpidrro_el0",
                "str x6, [x7, #{x10}]",
                "ldr x8, [x7, #{pc}]",
                "add x8, x8, #{step}",
                "str x8, [x7, #{pc}]",
                "mov x0, #{class}",
                "svc #{resume}",
                x10 = const X10,
                pc = const PC,
                step = const $step,
                class = const UpcallClass::Fault as u64,
                resume = const Call::resume as u16,
            )
        }
    };
}

timing_handler!(timing, 4);
timing_handler!(timing_svc, 0);

/// The handler of another round, for the events on the way in: the interrupted code has left in x27
/// where the kernel counts them and in x28 where to copy them to.
#[unsafe(naked)]
unsafe extern "C" fn counting() {
    naked_asm!(
        "ldp x8, x9, [x27]",
        "stp x8, x9, [x28]",
        "ldp x8, x9, [x27, #16]",
        "stp x8, x9, [x28, #16]",
        "ldp x8, x9, [x27, #32]",
        "stp x8, x9, [x28, #32]",
        "mrs x7, tpidrro_el0",
        "ldr x8, [x7, #{pc}]",
        // An `svc` has stepped already; `udf` has syndrome class 0.
        "lsr x9, x0, #26",
        "cmp x9, #0",
        "cset x9, eq",
        "add x8, x8, x9, lsl #2",
        "str x8, [x7, #{pc}]",
        "mov x0, #{class}",
        "svc #{resume}",
        pc = const PC,
        class = const UpcallClass::Fault as u64,
        resume = const Call::resume as u16,
    )
}

const _: () = assert!(Event::COUNT == 6, "`counting` copies six words");

/// A handler that maps the page in x27 where the fault was, readable and writable, and goes on. If it is
/// refused, it faults, which ends the environment.
#[unsafe(naked)]
unsafe extern "C" fn mapping() {
    naked_asm!(
        "and x1, x1, #~0xfff",
        "mov x0, #0",
        "mov x2, x27",
        "mov x3, #0",
        "mov x4, #1",
        "mov x5, #3",
        "svc #{insert_pte}",
        // One done, no error.
        "tbz x0, #16, 1f",
        "mov x0, #{class}",
        "svc #{resume}",
        "1: udf #0",
        class = const UpcallClass::Fault as u64,
        insert_pte = const Call::insert_pte as u16,
        resume = const Call::resume as u16,
    )
}

/// Loads from `address`, where nothing is mapped until the handler has mapped `page`: from the fault until
/// the access has succeeded, the handler's instructions included.
pub(crate) fn fault_map(address: u64, page: PageNumber) -> Sample {
    let before = events();
    let (begin, end): (u64, u64) = with_entry(mapping, || {
        let (begin, end);
        // SAFETY: the handler maps a page there that nothing else uses; the rest it leaves alone.
        unsafe {
            asm!(
                "mrs x20, pmccntr_el0",
                "ldr xzr, [{address}]",
                "mrs x21, pmccntr_el0",
                address = in(reg) address,
                in("x27") u64::from(page.get()),
                out("x20") begin,
                out("x21") end,
            );
        }
        (begin, end)
    });
    Sample {
        instructions: end - begin - overhead(),
        events: between(before, events()),
    }
}

/// Runs `work` with fault upcalls going to `handler`, then to where they went before.
fn with_entry<T>(handler: unsafe extern "C" fn(), work: impl FnOnce() -> T) -> T {
    let before = upcall::entry(UpcallClass::Fault);
    let entry = Entry {
        pc: handler as *const () as u64,
        // The handlers here use no stack.
        sp: 0,
    };
    // SAFETY: the handlers here touch nothing but the frame, and what x27 and x28 say.
    unsafe { upcall::set_entry(UpcallClass::Fault, entry) };
    let outcome = work();
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Fault, before) };
    outcome
}

/// Defines a function that runs an instruction which faults, between two readings; gives those and
/// the handler's.
macro_rules! faulting {
    ($name:ident, $instruction:literal) => {
        #[inline(never)]
        fn $name(counters: *const u64, copy: *mut u64) -> [u64; 3] {
            let (begin, entered, end);
            // SAFETY: the handlers here step over the instruction and change x10 alone; what they
            // write through x28 is the caller's array.
            unsafe {
                asm!(
                    "mrs x20, pmccntr_el0",
                    $instruction,
                    "mrs x21, pmccntr_el0",
                    out("x20") begin,
                    out("x21") end,
                    out("x10") entered,
                    in("x27") counters,
                    in("x28") copy,
                );
            }
            [begin, entered, end]
        }
    };
}

faulting!(run_undefined, "udf #0");
faulting!(run_svc0, "svc #0");

/// What a faulting instruction takes: one round for the time, one for the events.
fn fault(
    handler: unsafe extern "C" fn(),
    run: fn(*const u64, *mut u64) -> [u64; 3],
) -> FaultSample {
    let counters = exposed::counters(CORE).map_or(core::ptr::null(), |counters| {
        counters.events.as_ptr().cast::<u64>()
    });
    let mut entered_events: Events = [0; Event::COUNT];
    let before = events();
    if !counters.is_null() {
        with_entry(counting, || run(counters, entered_events.as_mut_ptr()));
    }
    let after = events();
    let [begin, entered, end] = with_entry(handler, || run(counters, core::ptr::null_mut()));
    let overhead = overhead();
    FaultSample {
        entry: Sample {
            instructions: entered - begin - overhead,
            events: between(before, entered_events),
        },
        roundtrip: Sample {
            instructions: end - begin - overhead - OWN,
            events: between(before, after),
        },
    }
}

/// An undefined instruction.
pub(crate) fn undefined() -> FaultSample {
    fault(timing, run_undefined)
}

/// `svc #0`.
pub(crate) fn svc0() -> FaultSample {
    fault(timing_svc, run_svc0)
}
