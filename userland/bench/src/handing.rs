//! Directed yields: from one environment to another and back, through gates.
//!
//! Both are this program's, and keep what they want to keep for themselves: a yield leaves their registers in no frame,
//! and they go on at their prologues.
//!
//! ```text
//!   this one   save, gate_yield --.                         .--> prologue: restore, ret
//!   the other                     '--> prologue: restore, ret ... save, gate_yield
//! ```

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::ObjectName;
use exopi_rt::environment::{self, Builder};
use exopi_rt::uarea::{Entry, UpcallClass};
use exopi_rt::{Call, Error, Object, VirtAddr, memory, stubs, upcall};

use crate::measure::{Sample, between, events, overhead};
use crate::rows::{Row, WINDOW};

/// The gate of each that leads to the other one.
const GATE: u64 = 0;

/// The stack pointers with which the two rest.
static HERE: AtomicU64 = AtomicU64::new(0);
static THERE: AtomicU64 = AtomicU64::new(0);
/// This one's last reading before a yield, and the one that the other makes.
static BEGAN: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicU64 = AtomicU64::new(0);

/// Defines a function that gives the core to the other environment and comes back when this one has it again, with its
/// stack pointer in a word meanwhile. What it does just before the call is `$last`.
macro_rules! gives {
    ($name:ident, $word:ident, $last:literal) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "stp x29, x30, [sp, #-96]!",
                "stp x19, x20, [sp, #16]",
                "stp x21, x22, [sp, #32]",
                "stp x23, x24, [sp, #48]",
                "stp x25, x26, [sp, #64]",
                "stp x27, x28, [sp, #80]",
                "mov x9, sp",
                "adrp x10, {word}",
                "str x9, [x10, :lo12:{word}]",
                "mov x8, #{gate}",
                $last,
                "svc #{gate_yield}",
                // It was refused.
                "udf #0",
                word = sym $word,
                began = sym BEGAN,
                gate = const GATE,
                gate_yield = const Call::gate_yield as u16,
            )
        }
    };
}

/// Defines the prologue where such a function goes on. What it begins with is `$first`.
macro_rules! goes_on {
    ($name:ident, $word:ident, $first:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                $first,
                "cbnz x0, 1f",
                "adrp x10, {word}",
                "ldr x9, [x10, :lo12:{word}]",
                "mov sp, x9",
                "ldp x19, x20, [sp, #16]",
                "ldp x21, x22, [sp, #32]",
                "ldp x23, x24, [sp, #48]",
                "ldp x25, x26, [sp, #64]",
                "ldp x27, x28, [sp, #80]",
                "ldp x29, x30, [sp], #96",
                "ret",
                // It was interrupted.
                "1: mov x0, #{class}",
                "svc #{resume}",
                word = sym $word,
                class = const UpcallClass::SliceBegin as u64,
                resume = const Call::resume as u16,
            )
        }
    };
}

gives!(
    give_and_read,
    HERE,
    "adrp x10, {began}
    mrs x11, pmccntr_el0
    str x11, [x10, :lo12:{began}]"
);
gives!(give, HERE, "// {began}");
gives!(give_back, THERE, "// {began}");
goes_on!(go_on, HERE, "");
goes_on!(go_on_there, THERE, "");
goes_on!(read_and_go_on, THERE, "mrs x6, pmccntr_el0");

/// Instructions of `give_and_read` between its reading and the call.
const AFTER_READING: u64 = 1;

fn set(code: Option<unsafe extern "C" fn()>) {
    let pc = code.map_or(0, |code| code as *const () as u64);
    // SAFETY: the prologues here go on where the same environment has left its stack pointer.
    unsafe { upcall::set_entry(UpcallClass::SliceBegin, Entry { pc, sp: 0 }) };
}

/// Yields back to `first` for ever, and tells in between what is in x6 behind the yield: of `prologue`, or of what
/// follows it.
macro_rules! yields_back {
    ($name:ident, $prologue:ident, $behind:literal) => {
        fn $name(first: u64) {
            let to = Object::Owned(ObjectName::from_word(first));
            if stubs::gate_bind(GATE, to).is_err() {
                environment::leave();
            }
            set(Some($prologue));
            loop {
                let told: u64;
                // SAFETY: a call of a function, behind which a register is read that it may have changed.
                unsafe {
                    asm!(
                        "bl {give}",
                        $behind,
                        give = sym give_back,
                        out("x6") told,
                        clobber_abi("C"),
                    );
                }
                TOLD.store(told, Ordering::Relaxed);
            }
        }
    };
}

yields_back!(tell_beginning, read_and_go_on, "");
yields_back!(tell_return, go_on_there, "mrs x6, pmccntr_el0");

/// Rounds beside an environment that does `other`: what there is from the reading that `yields` gives to the other one's.
fn beside(name: &'static str, other: fn(u64), yields: fn() -> u64) -> Result<Row, Error> {
    let at = VirtAddr::new(WINDOW + (8 << 20)).ok_or(Error::BadAddress)?;
    memory::supply_tables(at)?;
    let me = environment::own().ok_or(Error::NotYours)?;
    let made = Builder::new(other, me.word(), at).start(0)?;
    stubs::gate_bind(GATE, made.environment().object())?;
    // It comes back as soon as it can be given the core.
    while made.environment().yield_to().is_err() || THERE.load(Ordering::Relaxed) == 0 {}
    set(Some(go_on));
    let row = Row::measured(name, || {
        let before = events();
        let began = yields();
        Ok(Sample {
            instructions: TOLD.load(Ordering::Relaxed) - began - overhead(),
            events: between(before, events()),
        })
    });
    set(None);
    stubs::gate_unbind(GATE)?;
    made.end()?;
    THERE.store(0, Ordering::Relaxed);
    row
}

/// From the call to the other one's first instruction.
pub(crate) fn yield_to(name: &'static str) -> Result<Row, Error> {
    beside(name, tell_beginning, || {
        give();
        give_and_read();
        BEGAN.load(Ordering::Relaxed) + AFTER_READING
    })
}

/// From the instruction that this one goes on with to that of the other.
pub(crate) fn ctx_switch(name: &'static str) -> Result<Row, Error> {
    beside(name, tell_return, || {
        // After it no vector register is this one's.
        give();
        let began: u64;
        // SAFETY: reads the counter before a call of a function.
        unsafe {
            asm!(
                "mrs x20, pmccntr_el0",
                "bl {give}",
                out("x20") began,
                give = sym give,
                clobber_abi("C"),
            );
        }
        began
    })
}
