//! Notices: delivered between any two instructions, not while they must wait, and side by side with faults.
//!
//! What raises them here is another environment's suspension: this program is its keeper.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_rt::upcall::{self, Action, Fault};
use exopi_rt::{Call, Error, Object, stubs};

use crate::area::Area;
use crate::catch::{self, with_handler};
use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers, check_kept};
use crate::other::{Other, code, wait, yield_to};

pub(crate) const SUITE: Suite = Suite {
    name: "notices",
    cases: &[
        ("delivered_to_one_that_runs", delivered_to_one_that_runs),
        ("delivered_on_the_way_back", delivered_on_the_way_back),
        ("masked_ones_wait", masked_ones_wait),
        ("without_an_entry_they_wait", without_an_entry_they_wait),
        (
            "while_the_frame_is_held_they_wait",
            while_the_frame_is_held_they_wait,
        ),
        ("several_are_told_at_once", several_are_told_at_once),
        ("inside_a_handler_of_faults", inside_a_handler_of_faults),
        ("faults_inside_their_handler", faults_inside_their_handler),
        ("nothing_to_deliver", nothing_to_deliver),
        ("resume_without_a_notice", resume_without_a_notice),
    ],
};

/// What the handler has noted, word by word: see [`noting`].
static NOTED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// How often it was entered.
const COUNT: usize = 0;
/// All bits that it was told.
const BITS: usize = 1;
/// x1 at its last entry.
const X1: usize = 2;
/// x2, the interrupted PC.
const X2: usize = 3;
/// SP.
const SP: usize = 4;
/// Whether the frame of faults was held.
const IN_FAULT: usize = 5;
/// Set by a case: not 0 for a handler that faults.
const FAULTS: usize = 6;
/// Flags.
const FLAGS: usize = 7;

const FAULT_HELD: usize = offset_of!(UArea, frames) + offset_of!(Frame, held);

/// The handler: notes and goes on. It uses no stack.
#[unsafe(naked)]
unsafe extern "C" fn noting() {
    naked_asm!(
        "mrs x6, nzcv",
        "adrp x3, {noted}",
        "add x3, x3, :lo12:{noted}",
        "ldp x4, x5, [x3, #0]",
        "add x4, x4, #1",
        "orr x5, x5, x0",
        "stp x1, x2, [x3, #16]",
        "mov x0, sp",
        "mrs x1, tpidrro_el0",
        "ldr x1, [x1, #{fault_held}]",
        "stp x0, x1, [x3, #32]",
        "str x6, [x3, #56]",
        "ldr x0, [x3, #48]",
        "cbz x0, 1f",
        "udf #0",
        "1: stp x4, x5, [x3, #0]",
        "mov x0, #{class}",
        "svc #{resume}",
        noted = sym NOTED,
        fault_held = const FAULT_HELD,
        class = const UpcallClass::Notice as u64,
        resume = const Call::resume as u16,
    )
}

fn noted(index: usize) -> u64 {
    NOTED[index].load(Ordering::Relaxed)
}

/// A stack pointer that nothing else has; the handler uses no stack.
const HANDLER_SP: u64 = 0x1234_5670;

/// Runs a case with the handler in force, and puts back what was there.
fn with_notices(case: impl FnOnce() -> Outcome) -> Outcome {
    for word in &NOTED {
        word.store(0, Ordering::Relaxed);
    }
    let before = upcall::entry(UpcallClass::Notice);
    set_entry(noting as *const () as u64, HANDLER_SP);
    let outcome = case();
    set_masked(0);
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    outcome
}

fn set_entry(pc: u64, sp: u64) {
    // SAFETY: the handler touches nothing but its words; without one there is nothing to run.
    unsafe { upcall::set_entry(UpcallClass::Notice, Entry { pc, sp }) };
}

/// A word of this environment's u-area.
fn own_word(offset: usize) -> &'static AtomicU64 {
    let at = upcall::uarea()
        .wrapping_byte_add(offset)
        .cast::<AtomicU64>();
    // SAFETY: the u-area is there for as long as the program.
    unsafe { &*at }
}

fn set_masked(masked: u64) {
    own_word(offset_of!(UArea, masked)).store(masked, Ordering::Release);
}

fn waits() -> bool {
    own_word(offset_of!(UArea, waiting)).load(Ordering::Acquire) != 0
}

/// Asks for what waits.
fn deliver() -> Result<(), Error> {
    // SAFETY: the handler touches nothing of the program but its words.
    unsafe { stubs::upcall_deliver() }
}

/// An environment that is suspended as soon as it runs, of which notice `bit` tells.
fn doomed(area: &Area, index: u64, bit: u64) -> Result<Other, Failure> {
    let other = Other::new(area, index, code::undefined)?;
    stubs::env_keep(other.object(), bit)?;
    Ok(other)
}

/// Destroys an environment, of which its keeper hears by notice `bit`, once more.
fn end(other: Other, bit: u64) -> Outcome {
    NOTED[COUNT].store(0, Ordering::Relaxed);
    NOTED[BITS].store(0, Ordering::Relaxed);
    other.destroy()?;
    wait(
        || Ok(noted(COUNT) != 0),
        || "nobody was told of its death".into(),
    )?;
    check_noted(1, 1 << bit)?;
    NOTED[COUNT].store(0, Ordering::Relaxed);
    NOTED[BITS].store(0, Ordering::Relaxed);
    Ok(())
}

fn check_noted(count: u64, bits: u64) -> Outcome {
    check_eq!((noted(COUNT), noted(BITS)), (count, bits));
    Ok(())
}

/// Waits until the handler's count, which the code in view does not touch, is not zero; comes back by x28.
#[unsafe(naked)]
unsafe extern "C" fn until_noted() {
    naked_asm!(
        "1: adrp x27, {noted}",
        "ldr x27, [x27, :lo12:{noted}]",
        "cbz x27, 1b",
        "br x28",
        noted = sym NOTED,
    )
}

/// From another core, while this one turns in a loop: all registers are as they were.
fn delivered_to_one_that_runs() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        let waiting = until_noted as *const () as u64;
        let mut in_the_loop = 0;
        for round in 0..32 {
            let other = Other::new(&area, round, code::undefined_later)?;
            stubs::env_keep(other.object(), round)?;
            let before = Registers::marked();
            let mut after = before;
            other.run(1 + round % 3)?;
            // SAFETY: the code keeps all registers but x27, and goes on at x28.
            unsafe { machine::run(&mut after, waiting) };
            check_kept(&before, &after, 0, 29)?;
            check_eq!(after.x[30], before.x[30]);
            check_noted(1, 1 << round)?;
            check_eq!((noted(X1), noted(SP), noted(FLAGS)), (0, HANDLER_SP, 0));
            check_eq!(other.state(), EnvironmentState::Suspended);
            check!(!waits());
            in_the_loop += u32::from((waiting..waiting + 16).contains(&noted(X2)));
            end(other, round)?;
        }
        check!(
            in_the_loop > 0,
            "it never came while this turned in the loop"
        );
        area.close()
    })
}

/// On this core: it is told when this environment has its next turn.
fn delivered_on_the_way_back() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        machine::write_stub(0, Call::env_yield.number())?;
        machine::publish_stubs()?;
        let mut exact = 0;
        for round in 0..8 {
            let other = doomed(&area, round, 31)?;
            other.run(0)?;
            let before = Registers::with_arguments([other.argument(), 0, 0, 0, 0, 0]);
            let mut after = before;
            // SAFETY: the stub is written.
            unsafe { machine::run_stub(0, &mut after) };
            machine::check_scrubbed(&before, &after)?;
            other.wait_for(EnvironmentState::Suspended)?;
            check_noted(1, 1 << 31)?;
            // Unless the clock has ended the turn just before or after.
            exact += u32::from(noted(X2) == machine::stub_address(0) + 4);
            end(other, 31)?;
        }
        check!(exact > 4, "{exact} of 8");
        area.close()
    })
}

fn masked_ones_wait() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        for core in 0..4 {
            set_masked(7);
            let other = doomed(&area, core, 3)?;
            other.run(core)?;
            wait(|| Ok(waits()), || "nothing waits".into())?;
            check_noted(0, 0)?;
            deliver()?;
            check_noted(0, 0)?;
            check!(waits());
            set_masked(0);
            deliver()?;
            check_noted(1, 8)?;
            check!(!waits());
            end(other, 3)?;
        }
        area.close()
    })
}

fn without_an_entry_they_wait() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        set_entry(0, 0);
        let other = doomed(&area, 0, 0)?;
        other.run(1)?;
        wait(|| Ok(waits()), || "nothing waits".into())?;
        deliver()?;
        check!(waits());
        set_entry(noting as *const () as u64, HANDLER_SP);
        deliver()?;
        check_noted(1, 1)?;
        check!(!waits());
        end(other, 0)?;
        area.close()
    })
}

fn while_the_frame_is_held_they_wait() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        let held =
            own_word(offset_of!(UArea, frames) + size_of::<Frame>() + offset_of!(Frame, held));
        held.store(1, Ordering::Release);
        let other = doomed(&area, 0, 1)?;
        other.run(0)?;
        wait(|| Ok(waits()), || "nothing waits".into())?;
        check_noted(0, 0)?;
        held.store(0, Ordering::Release);
        deliver()?;
        check_noted(1, 2)?;
        end(other, 1)?;
        area.close()
    })
}

fn several_are_told_at_once() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        set_masked(1);
        let others = [
            doomed(&area, 0, 4)?,
            doomed(&area, 1, 9)?,
            doomed(&area, 2, 31)?,
        ];
        for (core, other) in others.iter().enumerate() {
            other.run(core as u64)?;
        }
        for other in &others {
            other.wait_for(EnvironmentState::Suspended)?;
        }
        set_masked(0);
        deliver()?;
        check_noted(1, 1 << 4 | 1 << 9 | 1 << 31)?;
        for (other, bit) in others.into_iter().zip([4, 9, 31]) {
            end(other, bit)?;
        }
        area.close()
    })
}

/// How many notices there had been when the handler of faults came to its end.
static IN_HANDLER: AtomicU64 = AtomicU64::new(0);

/// Gives the core away, for a notice to come.
/// Whom a handler gives the core to.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn yielding(fault: &mut Fault<'_>) -> Action {
    let next = ObjectName::from_word(NEXT.load(Ordering::Relaxed));
    let asked = yield_to(Object::Owned(next));
    if !matches!(asked, Ok(()) | Err(Error::NotReady)) {
        return catch::handler(fault);
    }
    IN_HANDLER.store(noted(COUNT), Ordering::Relaxed);
    fault.step_over();
    Action::Resume
}

fn inside_a_handler_of_faults() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        let mut inside = 0;
        for round in 0..8 {
            let other = doomed(&area, round, 2)?;
            NEXT.store(other.name.word(), Ordering::Relaxed);
            IN_HANDLER.store(0, Ordering::Relaxed);
            other.run(0)?;
            with_handler(yielding, upcall::raise_undefined);
            other.wait_for(EnvironmentState::Suspended)?;
            check_noted(1, 4)?;
            // Unless the clock has ended the turn just before or after.
            let seen = (IN_HANDLER.load(Ordering::Relaxed), noted(IN_FAULT));
            inside += u32::from(seen == (1, 1));
            check_eq!(own_word(FAULT_HELD).load(Ordering::Relaxed), 0);
            end(other, 2)?;
        }
        check!(inside > 4, "{inside} of 8");
        area.close()
    })
}

fn stepping_over(fault: &mut Fault<'_>) -> Action {
    IN_HANDLER.store(fault.pc(), Ordering::Relaxed);
    fault.step_over();
    Action::Resume
}

fn faults_inside_their_handler() -> Outcome {
    with_notices(|| {
        let area = Area::new()?;
        NOTED[FAULTS].store(1, Ordering::Relaxed);
        IN_HANDLER.store(0, Ordering::Relaxed);
        let other = doomed(&area, 0, 5)?;
        other.run(0)?;
        with_handler(stepping_over, || {
            other.wait_for(EnvironmentState::Suspended)
        })?;
        check_noted(1, 1 << 5)?;
        let code = noting as *const () as u64;
        check!((code..code + 80).contains(&IN_HANDLER.load(Ordering::Relaxed)));
        check_eq!(noted(IN_FAULT), 0);
        NOTED[FAULTS].store(0, Ordering::Relaxed);
        end(other, 5)?;
        area.close()
    })
}

fn nothing_to_deliver() -> Outcome {
    with_notices(|| {
        for _ in 0..10 {
            deliver()?;
        }
        check_noted(0, 0)?;
        check!(!waits());
        Ok(())
    })
}

fn resume_without_a_notice() -> Outcome {
    // SAFETY: no frame is held, so it is refused.
    let refused = unsafe { stubs::resume(UpcallClass::Notice) };
    check_eq!(refused, Err(Error::NoFrame));
    Ok(())
}
