//! Slices to the tick, where time is the instructions that were run (`cargo exo test --timed`): the timer interrupts
//! exactly when it is to, and nobody is late but by what he does.

use alloc::vec::Vec;

use exopi_rt::domain::EnvironmentState;
use exopi_rt::uarea::UpcallClass;
use exopi_rt::{Environment, Object, Slice, args, exposed};

use super::ipc;
use super::slices::{
    CORE, EPILOGUE, PROLOGUE, dispatches, hears, noted, slice_ticks, used, wait_for_notes,
    wait_for_turns,
};
use crate::area::Area;
use crate::harness::{Failure, Outcome, Suite};
use crate::other::{Other, code, turns, yield_to};

pub(crate) const SUITE: Suite = Suite {
    name: "timed",
    cases: &[
        ("turns_are_taken_in_order", turns_are_taken_in_order),
        ("an_epilogue_has_its_limit", an_epilogue_has_its_limit),
        ("shares_are_exact", shares_are_exact),
        (
            "burning_the_limit_gains_nothing",
            burning_the_limit_gains_nothing,
        ),
        ("nobody_is_late_by_more", nobody_is_late_by_more),
        ("calls_are_two_switches", calls_are_two_switches),
        (
            "request_and_answer_are_two_switches",
            request_and_answer_are_two_switches,
        ),
    ],
};

fn only_timed() -> Outcome {
    match args().value("timed") {
        Some(_) => Ok(()),
        None => Err(Failure::skip("time passes by itself here")),
    }
}

fn calls_are_two_switches() -> Outcome {
    only_timed()?;
    ipc::calls::switches()
}

fn request_and_answer_are_two_switches() -> Outcome {
    only_timed()?;
    ipc::pipes::switches()
}

fn turns_are_taken_in_order() -> Outcome {
    only_timed()?;
    let area = Area::new()?;
    let mut others = Vec::new();
    for index in 0..4 {
        let other = Other::new(&area, index, code::count)?;
        other.change_pad(|pad| pad.word = 50);
        others.push(other);
    }
    for other in &others {
        other.run(0)?;
    }
    // Slices that are new have their first turn next time round. From then on each turn of this one is one of
    // everybody's; if the clock ends one earlier, there is one more.
    yield_to(Object::Own)?;
    for turn in 1..=20 {
        yield_to(Object::Own)?;
        let counts = || others.iter().map(Other::count);
        let (least, most) = (counts().min(), counts().max());
        check!(least >= Some(turn), "{least:?} in turn {turn}");
        check!(
            most <= least.map(|least| least + 1),
            "{least:?} to {most:?}"
        );
    }
    for other in others {
        other.wait_for(EnvironmentState::Stopped)?;
        other.destroy()?;
    }
    area.close()
}

/// The limit, all but what the way to the handler takes, and what a call may take before it.
fn an_epilogue_has_its_limit() -> Outcome {
    only_timed()?;
    let area = Area::new()?;
    let others = [
        Other::new(&area, 0, code::spin)?,
        Other::new(&area, 1, code::spin)?,
    ];
    for other in &others {
        hears(other, UpcallClass::SliceEnd, turns::epilogue, EPILOGUE);
        hears(other, UpcallClass::SliceBegin, turns::prologue, PROLOGUE);
        other.run(CORE)?;
    }
    let limit = exposed::machine().epilogue_ticks;
    for round in 2..20 {
        for other in &others {
            wait_for_notes(other, EPILOGUE, round)?;
            wait_for_notes(other, PROLOGUE, round)?;
            let [_, ticks, ..] = noted(other, EPILOGUE);
            check!(
                ticks <= limit && ticks >= limit - limit / 8,
                "{ticks} of {limit}"
            );
            let [_, light, length, _] = noted(other, PROLOGUE);
            check_eq!(light, 0);
            // A slice, less what its last epilogue took.
            let slice = slice_ticks();
            check!(
                length <= slice && length >= slice - limit / 4,
                "{length} of {slice}"
            );
        }
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// What each has used since `before` is, within a hundredth, as its part is to the sum.
fn check_exactly(others: &[Other], before: &[u64], parts: &[u64]) -> Outcome {
    let now = others.iter().zip(before);
    let now: Vec<u64> = now.map(|(other, before)| used(other) - before).collect();
    let (all, sum) = (now.iter().sum::<u64>(), parts.iter().sum::<u64>());
    for (used, part) in now.iter().zip(parts) {
        let due = all * part / sum;
        check!(used.abs_diff(due) <= due / 100, "{now:?} by {parts:?}");
    }
    Ok(())
}

fn measured(others: &[Other], parts: &[u64]) -> Outcome {
    wait_for_turns(&others[0], 2)?;
    let before: Vec<u64> = others.iter().map(used).collect();
    wait_for_turns(&others[0], 100)?;
    // Whole rounds, but for the one that is under way.
    check_exactly(others, &before, parts)
}

fn shares_are_exact() -> Outcome {
    const PARTS: [u64; 3] = [1, 2, 5];
    only_timed()?;
    let area = Area::new()?;
    let mut others = Vec::new();
    for (index, count) in (0..).zip(PARTS) {
        let other = Other::new(&area, index, code::spin)?;
        for _ in 0..count {
            Slice::alloc(CORE, None, other.name.into())?;
        }
        others.push(other);
    }
    for other in &others {
        Environment::from(other.name).run_in_slices()?;
    }
    measured(&others, &PARTS)?;
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

fn burning_the_limit_gains_nothing() -> Outcome {
    only_timed()?;
    let area = Area::new()?;
    let others = [
        Other::new(&area, 0, code::spin)?,
        Other::new(&area, 1, code::spin)?,
    ];
    hears(&others[0], UpcallClass::SliceEnd, turns::burn, EPILOGUE);
    for other in &others {
        other.run(CORE)?;
    }
    measured(&others, &[1, 1])?;
    check!(noted(&others[0], EPILOGUE)[0] > 90, "few epilogues");
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// Whatever the one before it does, a turn begins within the limit.
fn nobody_is_late_by_more() -> Outcome {
    only_timed()?;
    let area = Area::new()?;
    let burns = Other::new(&area, 0, code::spin)?;
    hears(&burns, UpcallClass::SliceEnd, turns::burn, EPILOGUE);
    let hears_begin = Other::new(&area, 1, code::spin)?;
    hears(
        &hears_begin,
        UpcallClass::SliceBegin,
        turns::prologue,
        PROLOGUE,
    );
    for other in [&burns, &hears_begin] {
        other.run(CORE)?;
    }
    wait_for_notes(&hears_begin, PROLOGUE, 10)?;
    let (turns, before) = (dispatches(&burns), used(&burns));
    wait_for_turns(&burns, 50)?;
    let now = used(&burns) - before;
    // Each of its turns, with the excess, is a slice and a limit at most; the first may have begun before, and what
    // was carried over makes it longer.
    let turns = dispatches(&burns) - turns + 2;
    let limit = exposed::machine().epilogue_ticks;
    let most = turns * (slice_ticks() + limit);
    check!(now <= most, "{now} of {most} in {turns} turns");
    burns.destroy()?;
    hears_begin.destroy()?;
    area.close()
}
