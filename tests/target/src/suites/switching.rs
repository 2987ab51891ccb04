//! From one environment to another and back: nothing is lost, and nothing of one is seen by another.

use exopi_rt::domain::EnvironmentState;
use exopi_rt::uarea::Vectors;
use exopi_rt::{Call, Error, Object, exposed};

use crate::area::Area;
use crate::harness::{Outcome, Suite};
use crate::machine::{self, Registers, check_kept, check_scrubbed};
use crate::other::{FLAGS, Other, code, mark, marked_vectors, marked_x, wait, yield_to};

pub(crate) const SUITE: Suite = Suite {
    name: "switching",
    cases: &[
        ("begins_with_what_was_saved", begins_with_what_was_saved),
        (
            "interrupts_keep_all_registers",
            interrupts_keep_all_registers,
        ),
        ("yields_keep_registers", yields_keep_registers),
        (
            "own_registers_survive_a_yield",
            own_registers_survive_a_yield,
        ),
        ("vector_registers_do_not_leak", vector_registers_do_not_leak),
        (
            "vector_registers_move_between_cores",
            vector_registers_move_between_cores,
        ),
        ("yielding_alone_goes_on", yielding_alone_goes_on),
        ("turns_come_to_all", turns_come_to_all),
        ("a_hostile_state_is_only_data", a_hostile_state_is_only_data),
    ],
};

/// Rounds of environments that yield to one another.
const ROUNDS: u64 = 500;

/// All cores that came up.
fn cores() -> core::ops::Range<u64> {
    0..exposed::machine().cores
}

/// Those that this program does not run on.
fn other_cores() -> core::ops::Range<u64> {
    1..exposed::machine().cores
}

/// Checks what `code::dump` has found.
fn check_dump(other: &Other, seed: u64) -> Outcome {
    let pad = other.pad();
    check_eq!(pad.x, marked_x(seed));
    check_eq!(pad.flags, FLAGS);
    check_eq!(pad.thread, seed << 32 | 0x7d);
    check_eq!(pad.uarea, other.record()?.uarea_at);
    check!(pad.vectors == marked_vectors(seed), "{:x?}", pad.vectors);
    Ok(())
}

fn begins_with_what_was_saved() -> Outcome {
    let area = Area::new()?;
    for core in cores() {
        let other = Other::new(&area, core, code::dump)?;
        other.change(|uarea| mark(uarea, core + 1));
        check_eq!(other.state(), EnvironmentState::Stopped);
        other.run(core)?;
        other.wait_for(EnvironmentState::Stopped)?;
        check_eq!(other.count(), 1);
        check_dump(&other, core + 1)?;
        other.destroy()?;
    }
    area.close()
}

fn interrupts_keep_all_registers() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::dump)?;
    other.change_pad(|pad| pad.word = 1);
    for round in 1..40 {
        // Once from the beginning, then from where it was: on a core by turns.
        let seed = round / 4 + 1;
        if round % 4 == 0 || round == 1 {
            other.change(|uarea| {
                mark(uarea, seed);
                uarea.saved.pc = code::dump as *const () as u64;
            });
        }
        let before = other.count();
        let fresh = other.uarea().saved.pc == code::dump as *const () as u64;
        let core = 1 + round % (cores().end - 1).max(1);
        other.run(core)?;
        if fresh {
            other.wait_for_count(before + 1)?;
            check_dump(&other, seed)?;
        } else {
            other.wait_for(EnvironmentState::Running)?;
        }
        other.stop()?;
        // Between its count and the loop it has x0 and x1 still to load.
        while !other.turns() {
            other.run(core)?;
            other.wait_for(EnvironmentState::Running)?;
            other.stop()?;
        }
        let uarea = other.uarea();
        check_eq!(uarea.saved.x, marked_x(seed));
        check_eq!(uarea.saved.sp, other.pad_address());
        check_eq!(uarea.saved.pstate, FLAGS);
        check_eq!(uarea.saved.held, 1);
        check_eq!((uarea.saved.esr, uarea.saved.far), (0, 0));
        check_eq!(uarea.thread, seed << 32 | 0x7d);
        check!(
            uarea.vectors == marked_vectors(seed),
            "{:x?}",
            uarea.vectors
        );
    }
    other.destroy()?;
    area.close()
}

/// Several that check for themselves, on one core: those with vector registers in use, and those without.
fn yields_keep_registers() -> Outcome {
    for core in cores() {
        let area = Area::new()?;
        let mut others = alloc::vec::Vec::new();
        for index in 0..5 {
            let other = Other::new(&area, index, code::juggle)?;
            other.change(|uarea| {
                mark(uarea, index + 1);
                uarea.saved.x[20] = index;
                uarea.saved.x[21] = index << 28;
            });
            other.change_pad(|pad| pad.word = ROUNDS);
            others.push(other);
        }
        for other in &others {
            other.run(core)?;
        }
        for other in others {
            let finished = other.wait_for(EnvironmentState::Stopped);
            let saved = other.uarea().saved;
            check!(
                finished.is_ok(),
                "core {core}: {:?}, round {}, esr {:x}, pc {:x}, x {:x?}",
                other.state(),
                other.count(),
                saved.esr,
                saved.pc,
                saved.x
            );
            check_eq!(other.count(), ROUNDS);
            other.destroy()?;
        }
        area.close()?;
    }
    Ok(())
}

fn own_registers_survive_a_yield() -> Outcome {
    let area = Area::new()?;
    // It has other values in all registers, and uses vector registers.
    let other = Other::new(&area, 0, code::dump)?;
    machine::write_stub(0, Call::env_yield.number())?;
    machine::publish_stubs()?;
    for round in 0..64 {
        other.change(|uarea| {
            mark(uarea, round + 1);
            uarea.saved.pc = code::dump as *const () as u64;
        });
        other.run(0)?;
        let before = Registers::with_arguments([other.argument(), 0, 0, 0, 0, 0]);
        let mut after = before;
        // SAFETY: the stub is written; the other environment touches nothing of this program.
        unsafe { machine::run_stub(0, &mut after) };
        // Now and then the clock ends the turn just before, and the other one has run already; or just after.
        if after.reply().error() != Some(Error::NotReady) {
            check_eq!((after.x[0], after.x[1]), (0, 0));
        }
        other.wait_for(EnvironmentState::Stopped)?;
        check_scrubbed(&before, &after)?;
        check_kept(&before, &after, 19, 29)?;
        check_dump(&other, round + 1)?;
    }
    other.destroy()?;
    area.close()
}

fn vector_registers_do_not_leak() -> Outcome {
    let area = Area::new()?;
    for core in cores() {
        let secret = Other::new(&area, 2 * core, code::dump)?;
        let nosy = Other::new(&area, 2 * core + 1, code::dump)?;
        secret.change(|uarea| mark(uarea, 0x5ec));
        for other in [&secret, &nosy, &secret, &nosy] {
            other.change(|uarea| uarea.saved.pc = code::dump as *const () as u64);
            other.run(core)?;
            other.wait_for(EnvironmentState::Stopped)?;
        }
        check!(
            nosy.pad().vectors == Vectors::default(),
            "{:x?}",
            nosy.pad().vectors
        );
        check_eq!(nosy.pad().thread, 0);
        check_eq!(nosy.pad().flags, 0);
        check!(
            secret.pad().vectors == marked_vectors(0x5ec),
            "{:x?}",
            secret.pad().vectors
        );
        secret.destroy()?;
        nosy.destroy()?;
    }
    area.close()
}

/// State that was loaded on one core and not stored by a call of its own is there on the next one.
fn vector_registers_move_between_cores() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::dump)?;
    other.change_pad(|pad| pad.word = 1);
    other.change(|uarea| mark(uarea, 9));
    for (round, core) in other_cores()
        .cycle()
        .take(30)
        .zip(0..)
        .map(|(core, round)| (round, core))
    {
        other.run(core)?;
        other.wait_for_count(round + 1)?;
        other.stop()?;
        check!(
            other.pad().vectors == marked_vectors(9),
            "{:x?}",
            other.pad().vectors
        );
        other.change(|uarea| {
            check_equal(&uarea.vectors, &marked_vectors(9));
            uarea.saved.pc = code::dump as *const () as u64;
        });
    }
    check!(
        other.uarea().vectors == marked_vectors(9),
        "{:x?}",
        other.uarea().vectors
    );
    other.destroy()?;
    area.close()
}

/// Ends the case at once unless both are equal; for closures.
fn check_equal(left: &Vectors, right: &Vectors) {
    assert!(left == right, "{left:x?} instead of {right:x?}");
}

fn yielding_alone_goes_on() -> Outcome {
    for _ in 0..100 {
        yield_to(Object::Own)?;
    }
    Ok(())
}

/// Who runs when to the turn is in the suite `timed`: here a slice can end at any instruction.
fn turns_come_to_all() -> Outcome {
    let area = Area::new()?;
    let mut others = alloc::vec::Vec::new();
    for index in 0..4 {
        let other = Other::new(&area, index, code::count)?;
        other.change_pad(|pad| pad.word = 200);
        others.push(other);
    }
    for other in &others {
        other.run(0)?;
    }
    let least = || others.iter().map(Other::count).min();
    wait(
        || {
            yield_to(Object::Own)?;
            Ok(least() >= Some(20))
        },
        || alloc::format!("{:?}", least()),
    )?;
    // One by name goes before the others, unless a slice ends just then.
    let goes_first = || {
        let before = others[2].count();
        yield_to(others[2].object()).map(|()| others[2].count() > before)
    };
    check!((0..10).any(|_| goes_first() == Ok(true)));
    for other in others {
        other.wait_for(EnvironmentState::Stopped)?;
        check_eq!(yield_to(other.object()), Err(Error::NotReady));
        other.destroy()?;
    }
    area.close()
}

/// Whatever a state says, it is entered at EL0 with nothing masked, or faults there.
fn a_hostile_state_is_only_data() -> Outcome {
    let area = Area::new()?;
    for (index, pstate) in [u64::MAX, 0x3c5, 1 << 4, 1 << 20, 1 << 21, 0x1ff_ffff]
        .into_iter()
        .enumerate()
    {
        let other = Other::new(&area, index as u64, code::dump)?;
        other.change(|uarea| {
            uarea.saved.pstate = pstate;
            uarea.saved.esr = u64::MAX;
            uarea.saved.far = u64::MAX;
            uarea.saved.held = u64::MAX;
        });
        other.run(0)?;
        other.wait_for(EnvironmentState::Stopped)?;
        check_eq!(other.pad().flags, pstate & 0xf000_0000);
        other.destroy()?;
    }
    for (index, pc) in [0, 1, u64::MAX, 0xffff_ff80_0000_0000, 1 << 60]
        .into_iter()
        .enumerate()
    {
        let other = Other::new(&area, index as u64, code::dump)?;
        other.change(|uarea| uarea.saved.pc = pc);
        other.run(0)?;
        other.wait_for(EnvironmentState::Suspended)?;
        let class = other.uarea().saved.esr >> 26;
        check!(matches!(class, 0x20 | 0x22), "pc {pc:x}: class {class:x}");
        other.destroy()?;
    }
    area.close()
}
