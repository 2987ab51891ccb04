//! Slices of processor time: who runs when and for how much, and that nothing is lost where one ends.

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use exopi_rt::domain::{EnvironmentState, LifeWord};
use exopi_rt::exposed::counters;
use exopi_rt::uarea::{Entry, UArea, UpcallClass};
use exopi_rt::{Environment, Error, Object, Slice, environment, exposed, slice, time};

use crate::area::Area;
use crate::harness::{Failure, Outcome, Suite};
use crate::other::{FLAGS, Other, code, mark, marked_vectors, marked_x, turns, wait, yield_to};

pub(crate) const SUITE: Suite = Suite {
    name: "slices",
    cases: &[
        ("come_and_go", come_and_go),
        ("end_without_entries", end_without_entries),
        ("end_in_epilogues", end_in_epilogues),
        ("end_inside_handlers", end_inside_handlers),
        ("ends_wait_for_the_mask", ends_wait_for_the_mask),
        ("begin_at_prologues", begin_at_prologues),
        ("no_prologue_to_come_back_to", no_prologue_to_come_back_to),
        ("several_on_one_core", several_on_one_core),
        ("late_ones_pay", late_ones_pay),
        ("idle_cores_sleep", idle_cores_sleep),
        ("one_alone_is_not_interrupted", one_alone_is_not_interrupted),
        ("a_slice_on_each_core", a_slice_on_each_core),
    ],
};

/// The core on which environments take turns, and this program none.
pub(super) const CORE: u64 = 1;

/// Bytes from a pad's begin to the words of its epilogue, and of its prologue.
pub(super) const EPILOGUE: u64 = 2048;
pub(super) const PROLOGUE: u64 = 2304;

pub(super) fn dispatches(other: &Other) -> u64 {
    exposed::live_at(other.name.index).map_or(0, |life| life.dispatches.load(Ordering::Relaxed))
}

pub(super) fn used(other: &Other) -> u64 {
    exposed::live_at(other.name.index).map_or(0, |life| life.ticks.load(Ordering::Relaxed))
}

pub(super) fn slice_ticks() -> u64 {
    exposed::machine().slice_ticks
}

/// Waits until it was given a core so many times more.
pub(super) fn wait_for_turns(other: &Other, more: u64) -> Outcome {
    wait_for_dispatches(other, dispatches(other) + more)
}

fn wait_for_dispatches(other: &Other, count: u64) -> Outcome {
    wait(
        || Ok(dispatches(other) >= count),
        || alloc::format!("{} of {count}, {:?}", dispatches(other), other.state()),
    )
}

/// Lets it hear of a class of upcalls by `code`, with the words at `offset` of its pad.
pub(super) fn hears(other: &Other, class: UpcallClass, code: unsafe extern "C" fn(), offset: u64) {
    other.change(|uarea| {
        uarea.entries[class as usize] = Entry {
            pc: code as *const () as u64,
            sp: other.pad_address() + offset,
        };
    });
}

/// The words that an entry's code has left: count, x0, x1, x2.
pub(super) fn noted(other: &Other, offset: u64) -> [u64; 4] {
    let at = (other.pad_address() + offset) as *const [u64; 4];
    // SAFETY: inside the pad's page, which is mapped; the words are the other's, which may be writing them.
    unsafe { at.read_volatile() }
}

/// Waits until an entry's code has run so often. Where the emulator is late with an interrupt, the time to leave may be
/// over before it has begun, and there is no epilogue.
pub(super) fn wait_for_notes(other: &Other, offset: u64, count: u64) -> Outcome {
    wait(
        || Ok(noted(other, offset)[0] >= count),
        || alloc::format!("{:?} of {count}, {:?}", noted(other, offset), other.state()),
    )
}

/// One that turns in one place with marks in all registers, having dumped them.
fn marked(area: &Area, index: u64) -> Result<Other, Failure> {
    let other = Other::new(area, index, code::dump)?;
    other.change(|uarea| mark(uarea, index + 1));
    other.change_pad(|pad| pad.word = 1);
    Ok(other)
}

/// Stops it where it turns, and checks that it has its marks.
fn check_marks(other: &Other, index: u64) -> Outcome {
    let seed = index + 1;
    other.stop()?;
    while !other.turns() || other.uarea().saved.held == 0 {
        let before = dispatches(other);
        other.run(CORE)?;
        wait_for_dispatches(other, before + 1)?;
        // So that it comes somewhere, however the emulator lets cores take turns.
        pass(slice_ticks() / 20);
        other.stop()?;
    }
    let uarea = other.uarea();
    check_eq!(uarea.saved.x, marked_x(seed));
    check_eq!(uarea.saved.sp, other.pad_address());
    check_eq!(uarea.saved.pstate, FLAGS);
    check_eq!(uarea.thread, seed << 32 | 0x7d);
    let expected = marked_vectors(seed);
    check!(uarea.vectors == expected, "{:x?}", uarea.vectors);
    Ok(())
}

fn come_and_go() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::spin)?;
    let named = Environment::from(other.name);
    check_eq!(slice::of(other.name).count(), 0);
    let one = Slice::alloc(CORE, Some(100), named)?;
    check_eq!(one.name().map(|name| name.index), Some(228));
    check_eq!(
        Slice::alloc(CORE, Some(100), named).err(),
        Some(Error::Taken)
    );
    check_eq!(Slice::alloc(9, None, named).err(), Some(Error::OutOfRange));
    let record = one.record().ok_or_else(|| Failure::new("no record"))?;
    check_eq!(record.environment, other.name.word());
    check_eq!(other.record()?.slices, [0, 1, 0, 0]);
    let moved = one.move_to(0, Some(7))?;
    check!(one.record().is_none());
    check_eq!(one.free(), Err(Error::NotYours));
    check_eq!(other.record()?.slices, [1, 0, 0, 0]);
    moved.bind(Environment::Own)?;
    check_eq!(other.record()?.slices, [0; 4]);
    moved.free()?;
    // What is bound to one that dies goes with it.
    for core in 0..2 {
        Slice::alloc(core, None, named)?;
    }
    let own = environment::own().ok_or_else(|| Failure::new("no name"))?;
    let name = other.name;
    other.destroy()?;
    check_eq!(slice::of(name).count(), 0);
    check_eq!(slice::of(own).count(), 1);
    area.close()
}

fn end_without_entries() -> Outcome {
    let area = Area::new()?;
    let others = [marked(&area, 0)?, marked(&area, 1)?, marked(&area, 2)?];
    for other in &others {
        other.run(CORE)?;
    }
    for other in &others {
        wait_for_turns(other, 10)?;
    }
    for (index, other) in (0..).zip(&others) {
        check_marks(other, index)?;
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// Each leaves by itself in its epilogue, and comes back by its prologue.
fn end_in_epilogues() -> Outcome {
    let area = Area::new()?;
    let others = [marked(&area, 0)?, marked(&area, 1)?];
    for other in &others {
        hears(other, UpcallClass::SliceEnd, turns::epilogue, EPILOGUE);
        hears(other, UpcallClass::SliceBegin, turns::prologue, PROLOGUE);
        other.run(CORE)?;
    }
    let limit = exposed::machine().epilogue_ticks;
    for other in &others {
        wait_for_notes(other, EPILOGUE, 6)?;
        wait_for_notes(other, PROLOGUE, 6)?;
        let [_, ticks, ..] = noted(other, EPILOGUE);
        check!(ticks > 0 && ticks <= limit, "{ticks} of {limit} ticks");
        let [_, saved, length, number] = noted(other, PROLOGUE);
        check!(saved <= 1, "{saved}");
        check!(length <= 2 * slice_ticks(), "{length} ticks");
        let place = slice::of(other.name).next();
        check_eq!(place.map(|(name, _)| u64::from(name.index)), Some(number));
    }
    for (index, other) in (0..).zip(&others) {
        check_marks(other, index)?;
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// In a handler of faults, whose frame is held meanwhile, and in one of notices.
fn end_inside_handlers() -> Outcome {
    let area = Area::new()?;
    let rival = Other::new(&area, 3, code::spin)?;
    rival.run(CORE)?;
    let other = Other::new(&area, 0, code::undefined)?;
    let handler = code::spin as *const () as u64;
    other.change(|uarea| {
        mark(uarea, 1);
        for class in [UpcallClass::Fault, UpcallClass::Notice] {
            uarea.entries[class as usize] = Entry {
                pc: handler,
                sp: 64,
            };
        }
    });
    other.run(CORE)?;
    wait_for_turns(&other, 10)?;
    other.stop()?;
    let uarea = other.uarea();
    check_eq!((uarea.saved.pc, uarea.saved.sp), (handler, 64));
    check_eq!(uarea.frames[UpcallClass::Fault as usize].held, 1);
    check_eq!(uarea.frames[UpcallClass::Fault as usize].x, marked_x(1));
    check_eq!(uarea.saved.x[6..16], marked_x(1)[6..16]);
    check_eq!(uarea.saved.x[18..], marked_x(1)[18..]);
    // A notice comes on top of it.
    let kept = Other::new(&area, 1, code::spin)?;
    other.destroy()?;
    kept.destroy()?;
    rival.destroy()?;
    area.close()
}

/// One that masks upcalls is told when it unmasks; one that never does loses its core at the limit, and owes.
fn ends_wait_for_the_mask() -> Outcome {
    let area = Area::new()?;
    let polite = Other::new(&area, 0, turns::mask_and_unmask)?;
    let masked = polite.record()?.uarea_at + offset_of!(UArea, masked) as u64;
    hears(&polite, UpcallClass::SliceEnd, turns::epilogue, EPILOGUE);
    polite.change(|uarea| uarea.saved.x[19] = masked);
    let rude = marked(&area, 1)?;
    hears(&rude, UpcallClass::SliceEnd, turns::epilogue, EPILOGUE);
    rude.change(|uarea| uarea.masked = 1);
    for other in [&polite, &rude] {
        other.run(CORE)?;
    }
    wait_for_turns(&rude, 4)?;
    wait_for_notes(&polite, EPILOGUE, 4)?;
    check_eq!(noted(&rude, EPILOGUE)[0], 0);
    rude.stop()?;
    check_eq!(rude.uarea().waiting, 1);
    check_marks(&rude, 1)?;
    polite.destroy()?;
    rude.destroy()?;
    area.close()
}

/// Without an epilogue, too; and not while upcalls are masked.
fn begin_at_prologues() -> Outcome {
    let area = Area::new()?;
    let others = [marked(&area, 0)?, marked(&area, 1)?];
    for other in &others {
        hears(other, UpcallClass::SliceBegin, turns::prologue, PROLOGUE);
    }
    others[1].change(|uarea| uarea.masked = 1);
    for other in &others {
        other.run(CORE)?;
    }
    for other in &others {
        wait_for_turns(other, 10)?;
    }
    let [count, saved, ..] = noted(&others[0], PROLOGUE);
    check!(count >= 9 && saved == 1, "{count} prologues, {saved}");
    check_eq!(noted(&others[1], PROLOGUE)[0], 0);
    for (index, other) in (0..).zip(&others) {
        check_marks(other, index)?;
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// Who gave its core away as one with a prologue, and has none any more, goes on with what is in `saved`.
fn no_prologue_to_come_back_to() -> Outcome {
    let area = Area::new()?;
    let rival = Other::new(&area, 3, code::spin)?;
    let other = Other::new(&area, 0, code::count)?;
    // It begins anew each time, and gives its core away.
    hears(&other, UpcallClass::SliceBegin, code::count, 0);
    other.change_pad(|pad| pad.word = u64::MAX);
    rival.run(CORE)?;
    let mut ticks = 0;
    wait(
        || {
            other.run(CORE)?;
            // At another moment each time: it is between two turns now and then.
            ticks = (ticks + slice_ticks() / 7) % (3 * slice_ticks());
            pass(ticks);
            other.stop()?;
            Ok(exposed::life(other.name).has(LifeWord::LIGHT))
        },
        || alloc::format!("{:?}", exposed::life(other.name)),
    )?;
    let word = exposed::life(other.name);
    check!(word.has(LifeWord::LIGHT) && other.uarea().saved.held == 0);
    other.change(|uarea| {
        uarea.entries[UpcallClass::SliceBegin as usize] = Entry::default();
        uarea.saved.pc = code::undefined as *const () as u64;
        uarea.saved.x = marked_x(9);
    });
    other.run(CORE)?;
    other.wait_for(EnvironmentState::Suspended)?;
    let saved = other.uarea().saved;
    check_eq!(saved.pc, code::undefined as *const () as u64);
    check_eq!(saved.x, marked_x(9));
    other.destroy()?;
    rival.destroy()?;
    area.close()
}

/// Whoever has several on a core; how much each gets is told to the tick in the suite `timed`.
fn several_on_one_core() -> Outcome {
    const SLICES: [u64; 3] = [1, 2, 5];
    let area = Area::new()?;
    let mut others = alloc::vec::Vec::new();
    for (index, count) in (0..).zip(SLICES) {
        let other = Other::new(&area, index, code::spin)?;
        for _ in 0..count {
            Slice::alloc(CORE, None, other.name.into())?;
        }
        others.push(other);
    }
    for other in &others {
        Environment::from(other.name).run_in_slices()?;
    }
    for other in &others {
        wait_for_turns(other, 10)?;
        check!(used(other) > 0);
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

/// Who stays as long as it is let at each slice's end owes that, and its next turns pay.
fn late_ones_pay() -> Outcome {
    let area = Area::new()?;
    let burns = Other::new(&area, 0, code::spin)?;
    hears(&burns, UpcallClass::SliceEnd, turns::burn, EPILOGUE);
    let fair = Other::new(&area, 1, code::spin)?;
    let others = [burns, fair];
    for other in &others {
        other.run(CORE)?;
    }
    wait_for_notes(&others[0], EPILOGUE, 6)?;
    let debt = || {
        let life = exposed::live_at(others[0].name.index);
        life.map_or(0, |life| life.debt.load(Ordering::Relaxed))
    };
    for _ in 0..6 {
        wait(|| Ok(debt() != 0), || "it owes nothing".into())?;
        let owed = debt();
        let told = || alloc::format!("it still owes {owed} ticks");
        wait(|| Ok(debt() < owed), told)?;
    }
    wait_for_turns(&others[1], 10)?;
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}

fn interrupts(core: u64) -> u64 {
    counters(core as usize).map_or(0, |counters| counters.interrupts.load(Ordering::Relaxed))
}

/// Lets so many ticks pass without giving the core away.
fn pass(ticks: u64) {
    let begin = time::ticks();
    while time::ticks() - begin < ticks {
        time::relax();
    }
}

fn idle_cores_sleep() -> Outcome {
    let before: alloc::vec::Vec<u64> = (0..exposed::machine().cores).map(interrupts).collect();
    pass(50 * slice_ticks());
    let after: alloc::vec::Vec<u64> = (0..exposed::machine().cores).map(interrupts).collect();
    check_eq!(after, before);
    Ok(())
}

fn one_alone_is_not_interrupted() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::spin)?;
    for _ in 0..3 {
        Slice::alloc(CORE, None, other.name.into())?;
    }
    other.run(CORE)?;
    other.wait_for(EnvironmentState::Running)?;
    let (before, turns) = (interrupts(CORE), dispatches(&other));
    pass(50 * slice_ticks());
    check_eq!(interrupts(CORE), before);
    check_eq!(dispatches(&other), turns);
    other.destroy()?;
    area.close()
}

/// One that has slices on several cores runs wherever it has a turn, on one at a time.
fn a_slice_on_each_core() -> Outcome {
    let area = Area::new()?;
    let cores = exposed::machine().cores;
    let others = [marked(&area, 0)?, marked(&area, 1)?];
    for other in &others {
        for core in 1..cores {
            Slice::alloc(core, None, other.name.into())?;
        }
        Environment::from(other.name).run_in_slices()?;
    }
    let seen = core::cell::Cell::new(0_u64);
    wait(
        || {
            for other in &others {
                let core = exposed::life(other.name).core();
                seen.set(seen.get() | core.map_or(0, |core| 1 << core));
            }
            Ok(seen.get().count_ones() >= 2.min(cores - 1) as u32)
        },
        || alloc::format!("cores {:b}", seen.get()),
    )?;
    yield_to(Object::Own)?;
    for (index, other) in (0..).zip(&others) {
        check_marks(other, index)?;
    }
    others.into_iter().try_for_each(Other::destroy)?;
    area.close()
}
