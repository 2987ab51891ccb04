//! Sectors of the card copied about: boot arguments `selftest=card`, and `selftest=card-by-processor` without the DMA
//! engine. What was in the first half is in the second afterwards, for whoever made the card to compare.
//!
//! Requests are made as the kernel's own will be: the core sleeps until the card interrupts or is to be looked at, and
//! their memory is in pieces.

use exopi_bsp::block::{Completion, Direction, MOST_SECTORS, Medium, Request, SECTOR, Segment};
use exopi_bsp::drivers::sd::commands::Command;
use exopi_bsp::traits::MemoryRange;

use crate::arch::{smp, timer};
use crate::card::{now, settle, with};
use crate::console::log;
use crate::interrupts;

/// What is copied: first sector, counted from the beginning of a half, and count. The last one of these ends with the
/// card's last sector.
const PIECES: [(u64, u32); 7] = [
    (1, 1),
    (7, 1),
    (8, 8),
    (19, 3),
    (64, MOST_SECTORS),
    (1_001, 100),
    (LAST, 9),
];
/// In place of a sector: as many before the end of a half as are copied.
const LAST: u64 = u64::MAX;
/// Lengths of the pieces of memory, in sectors, again and again.
const SEGMENTS: [u32; 4] = [8, 16, 1, 23];
/// Sectors between two pieces of memory.
const BETWEEN: u32 = 3;
/// How long a request may take, in microseconds: an emulator on a busy host is slow.
const PATIENCE: u64 = 30_000_000;

/// Copies. `memory` is in the linear window, and its end is nobody's yet.
pub(super) fn run(memory: &MemoryRange, with_engine: bool) {
    settle();
    let Some(Some(medium)) = with(|slot| {
        slot.leave_engine(!with_engine);
        slot.medium()
    }) else {
        log!("card: nothing to copy");
        return;
    };
    let room = u64::from(MOST_SECTORS * (1 + BETWEEN)) * SECTOR as u64;
    let end = (memory.start + memory.length).min(1 << 30) & !0x1f_ffff;
    let buffer = end - room;
    let half = medium.sectors / 2;
    let mut failed = 0;
    for (first, count) in PIECES {
        let first = match first {
            LAST => half - u64::from(count),
            first => first,
        };
        for (direction, first) in [(Direction::Read, first), (Direction::Write, half + first)] {
            let outcome = transfer(buffer, medium, direction, first, count);
            let good = outcome.is_some_and(|it| it.result.is_ok() && it.sectors == count);
            if !good {
                failed += 1;
                log!("card: {direction:?} {count} at {first}: {outcome:?}");
            }
        }
    }
    let beyond = refused(medium);
    let again = transfer(buffer, medium, Direction::Read, 0, 8);
    let works = again.is_some_and(|completion| completion.result.is_ok());
    log!("card: beyond its end: {beyond:?}; afterwards it works: {works}");
    with(|slot| {
        slot.leave_engine(false);
        let (interrupts, counters) = (slot.interrupts(), slot.counters());
        log!("card: {failed} requests failed, {interrupts} interrupts, {counters:?}");
    });
}

/// Asks for sectors that the card does not have, as only the card can know that are none.
fn refused(medium: Medium) -> Option<exopi_bsp::drivers::sd::controller::Failure> {
    let unit = match medium.kind {
        exopi_bsp::block::MediumKind::Sdsc => SECTOR as u64,
        _ => 1,
    };
    let address = u32::try_from(medium.sectors * unit).ok()?;
    with(|slot| slot.say(Command::read(address, 2)))?
}

/// Does one request and waits for its end.
fn transfer(
    buffer: u64,
    medium: Medium,
    direction: Direction,
    first: u64,
    count: u32,
) -> Option<Completion> {
    let mut segments = [Segment::default(); 32];
    let (mut used, mut left, mut at) = (0, count, buffer);
    for (segment, length) in segments.iter_mut().zip(SEGMENTS.iter().cycle()) {
        if left == 0 {
            break;
        }
        let sectors = left.min(*length);
        *segment = Segment { at, sectors };
        at += u64::from(sectors + BETWEEN) * SECTOR as u64;
        left -= sectors;
        used += 1;
    }
    let request = Request {
        direction,
        first,
        segments: segments.get(..used)?,
        generation: medium.generation,
    };
    // SAFETY: the end of RAM, which is in the linear window and which nothing uses while the kernel boots; this
    // function does not end before the request has.
    let started = with(|slot| unsafe { slot.start(&request) })?;
    if let Err(error) = started {
        log!("card: not begun: {error:?}");
        return None;
    }
    let begun = now();
    loop {
        interrupts::serve();
        match with(|slot| slot.look())? {
            Ok(completion) => return Some(completion),
            Err(_) if now() - begun > PATIENCE => panic!("a request does not end"),
            Err(due) => sleep_until(due.unwrap_or(begun + PATIENCE)),
        }
    }
}

fn sleep_until(due: u64) {
    let microseconds = due.saturating_sub(now());
    let ticks = microseconds.saturating_mul(timer::frequency()) / 1_000_000;
    timer::set_deadline(timer::now() + ticks);
    smp::sleep();
}
