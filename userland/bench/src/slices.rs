//! The end of a slice: how long it takes until its environment hears of it, and until another one goes on.
//!
//! Two environments of this program take turns on this core, each in a loop that reads the counter. The rows are the
//! least of many rounds: the timer comes at any instruction of the loops.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::environment::Builder;
use exopi_rt::exposed::Event;
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_rt::{Call, Error, VirtAddr, upcall};

use crate::measure::{Sample, between, events, overhead};
use crate::rows::{Row, WINDOW};

/// Rounds of each row. A round is a slice of each environment.
const ROUNDS: usize = 96;

/// Offset of the frame of slice ends in the u-area.
const FRAME: usize =
    offset_of!(UArea, frames) + UpcallClass::SliceEnd as usize * size_of::<Frame>();
/// Offset of x20 in it: the interrupted loop's last reading.
const X20: usize = FRAME + offset_of!(Frame, x) + 20 * 8;

/// The reading with which an epilogue began, and the last one of the loop that it interrupted.
static BEGAN: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);
/// The last reading of the other environment when its slice was at its end.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// The measured environment's epilogue: notes when it began, and gives the core away.
#[unsafe(naked)]
unsafe extern "C" fn epilogue() {
    naked_asm!(
        "mrs x6, pmccntr_el0",
        "mrs x7, tpidrro_el0",
        "ldr x8, [x7, #{x20}]",
        "adrp x7, {last}",
        "str x8, [x7, :lo12:{last}]",
        "adrp x7, {began}",
        "str x6, [x7, :lo12:{began}]",
        "mov x0, #0",
        "svc #{env_yield}",
        // Nobody else could run.
        "mov x0, #{class}",
        "svc #{resume}",
        x20 = const X20,
        last = sym LAST,
        began = sym BEGAN,
        env_yield = const Call::env_yield as u16,
        class = const UpcallClass::SliceEnd as u64,
        resume = const Call::resume as u16,
    )
}

/// The other one's: it tells its last reading.
#[unsafe(naked)]
unsafe extern "C" fn telling_epilogue() {
    naked_asm!(
        "mrs x7, tpidrro_el0",
        "ldr x8, [x7, #{x20}]",
        "adrp x7, {left}",
        "str x8, [x7, :lo12:{left}]",
        "mov x0, #0",
        "svc #{env_yield}",
        "mov x0, #{class}",
        "svc #{resume}",
        x20 = const X20,
        left = sym LEFT,
        env_yield = const Call::env_yield as u16,
        class = const UpcallClass::SliceEnd as u64,
        resume = const Call::resume as u16,
    )
}

/// Goes on with what the epilogue was given.
#[unsafe(naked)]
unsafe extern "C" fn prologue() {
    naked_asm!(
        "mov x0, #{class}",
        "svc #{resume}",
        class = const UpcallClass::SliceEnd as u64,
        resume = const Call::resume as u16,
    )
}

fn set(class: UpcallClass, code: Option<unsafe extern "C" fn()>) {
    let pc = code.map_or(0, |code| code as *const () as u64);
    // SAFETY: the entries here use no stack, and touch nothing but their frames and the words above.
    unsafe { upcall::set_entry(class, Entry { pc, sp: 0 }) };
}

/// What the other environment does: it reads the counter, for ever.
fn read_on(_: u64) {
    set(UpcallClass::SliceEnd, Some(telling_epilogue));
    set(UpcallClass::SliceBegin, Some(prologue));
    // SAFETY: reads the counter.
    unsafe {
        asm!(
            "1: mrs x20, pmccntr_el0",
            "b 1b",
            options(noreturn, nomem, nostack)
        )
    }
}

/// Reads the counter until an epilogue has run.
fn until_interrupted() -> u64 {
    BEGAN.store(0, Ordering::Relaxed);
    // SAFETY: reads the counter and a word.
    unsafe {
        asm!(
            "1: mrs x20, pmccntr_el0",
            "ldr x21, [{began}]",
            "cbz x21, 1b",
            began = in(reg) BEGAN.as_ptr(),
            out("x20") _,
            out("x21") _,
            options(nostack),
        );
    }
    BEGAN.load(Ordering::Relaxed) - LAST.load(Ordering::Relaxed) - overhead()
}

/// Reads the counter until the other environment has told its last reading.
fn until_resumed() -> u64 {
    let (left, here): (u64, u64);
    LEFT.store(0, Ordering::Relaxed);
    // SAFETY: reads the counter and a word.
    unsafe {
        asm!(
            "1: ldr x21, [{left}]",
            "mrs x20, pmccntr_el0",
            "cbz x21, 1b",
            left = in(reg) LEFT.as_ptr(),
            out("x20") here,
            out("x21") left,
            options(nostack),
        );
    }
    // The instruction behind which the counter is read is the one that goes on.
    here - left - overhead()
}

/// Rounds of `round` beside the other environment.
fn beside(name: &'static str, round: fn() -> u64) -> Result<Row, Error> {
    let at = VirtAddr::new(WINDOW + (8 << 20)).ok_or(Error::BadAddress)?;
    exopi_rt::memory::supply_tables(at)?;
    set(UpcallClass::SliceEnd, Some(epilogue));
    set(UpcallClass::SliceBegin, Some(prologue));
    let other = Builder::new(read_on, 0, at).start(0)?;
    let mut row: Option<Row> = None;
    for number in 0..ROUNDS + 4 {
        let before = events();
        let sample = Sample {
            instructions: round(),
            events: match number {
                0 => [0; Event::COUNT],
                _ => between(before, events()),
            },
        };
        // The first ones find caches of the emulator's empty, and the other one on its way to its loop.
        if number < 4 {
            continue;
        }
        let row = row.get_or_insert(Row {
            name,
            least: sample,
            most: sample.instructions,
        });
        row.most = row.most.max(sample.instructions);
        if sample.instructions < row.least.instructions {
            row.least = sample;
        }
    }
    other.end()?;
    set(UpcallClass::SliceEnd, None);
    set(UpcallClass::SliceBegin, None);
    row.ok_or(Error::OutOfRange)
}

/// From the last instruction of the interrupted loop to the first of its epilogue.
pub(crate) fn irq_upcall(name: &'static str) -> Result<Row, Error> {
    beside(name, until_interrupted)
}

/// From there to the instruction with which the other environment goes on, through an epilogue and a prologue.
pub(crate) fn slice_switch(name: &'static str) -> Result<Row, Error> {
    beside(name, until_resumed)
}
