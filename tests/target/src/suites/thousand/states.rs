//! Destroyed in each state that an environment can be in.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use exopi_rt::account::Allowance;
use exopi_rt::domain::EnvironmentState;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::uarea::{Frame, Vectors};
use exopi_rt::{Account, Environment, Error, PageNumber, Space, exposed, memory, stubs};

use super::{Many, shuffled};
use crate::area::{Area, place, record};
use crate::counters::{Purse, give_back, pages_of, space_with_code, take_low_pages_next};
use crate::crew::other_cores;
use crate::harness::{Failure, Outcome};
use crate::other::{Other, code, mark, marked_vectors, wait};

/// How many a case makes at a time: no multiple of 7, by which they are shuffled.
pub(super) const BATCH: u64 = 30;

/// Waiting for a core that does not come: in order, against it, and out of the middle of the queue.
pub(super) fn ready() -> Outcome {
    for core in 0..exposed::machine().cores {
        let area = Area::new()?;
        let blocks = Other::new(&area, 0, code::spin)?;
        if core != 0 {
            blocks.run(core)?;
            blocks.wait_for(EnvironmentState::Running)?;
        }
        for order in 0..3 {
            // On this program's core nobody runs before it yields.
            let many = Many::new(BATCH, code::undefined, |_, _| {})?;
            for one in &many.all {
                one.run(core)?;
                check_eq!(one.state(), EnvironmentState::Ready);
            }
            let count = many.all.len();
            match order {
                0 => many.end(0..count)?,
                1 => many.end((0..count).rev())?,
                _ => many.end(shuffled(count))?,
            }
        }
        blocks.destroy()?;
        area.close()?;
    }
    Ok(())
}

/// On each core, with others behind them that run in their turn.
pub(super) fn running() -> Outcome {
    for core in other_cores() {
        let many = Many::new(BATCH, code::spin, |_, _| {})?;
        for one in &many.all {
            one.run(core)?;
        }
        // Each runs when the one before it has died.
        for one in &many.all {
            wait(
                || Ok(one.state() == EnvironmentState::Running),
                || "it does not run".into(),
            )?;
            one.destroy()?;
        }
        many.end(0..0)?;
    }
    Ok(())
}

/// Wherever they have faulted, and after somebody has looked at them and stopped them.
pub(super) fn suspended() -> Outcome {
    for core in 0..exposed::machine().cores {
        let many = Many::new(BATCH, code::undefined, |_, _| {})?;
        for one in &many.all {
            one.run(core)?;
        }
        many.wait_for(EnvironmentState::Suspended)?;
        for one in many.all.iter().step_by(3) {
            check_eq!(one.saved()?.esr >> 26, 0);
            one.stop()?;
        }
        many.end(shuffled(BATCH as usize))?;
    }
    Ok(())
}

/// Condemned while another core runs them: until that core has let go they are there, and nothing of theirs is free.
pub(super) fn dying() -> Outcome {
    let mut seen = 0;
    for round in 0..BATCH * 3 {
        let cores = other_cores();
        let core = cores.start + round % (cores.end - cores.start);
        let many = Many::new(1, code::spin, |_, _| {})?;
        let [one] = many.all.as_slice() else {
            return Err(Failure::new("one was made"));
        };
        one.run(core)?;
        wait(
            || Ok(one.state() == EnvironmentState::Running),
            || "it does not run".into(),
        )?;
        // SAFETY: nobody refers to its u-area.
        let first = unsafe { stubs::env_destroy(one.object()) }.unless_stopped();
        check_eq!(first, Err(Error::Busy));
        let dying = one.state() == EnvironmentState::Dying;
        seen += u64::from(dying);
        // Nobody runs it, stops it or becomes its keeper from now on.
        for refused in [one.run(core), one.keep(3), one.stop()] {
            // The second if it has died meanwhile.
            let is_refused = matches!(refused, Err(Error::Stale | Error::NotYours));
            check!(is_refused, "{refused:?} of one that dies");
        }
        wait(
            || Ok(one.state() == EnvironmentState::Free),
            || "it does not die".into(),
        )?;
        check_eq!(record(many.first)?.references, 0);
        many.end(0..0)?;
    }
    crate::harness::say(alloc::format!("{seen} seen dying"));
    Ok(())
}

/// With vector registers in use on a core, or saved. Whoever comes next finds none of them.
pub(super) fn with_vectors() -> Outcome {
    for round in 0..BATCH {
        let area = Area::new()?;
        let cores = other_cores();
        let core = cores.start + round % (cores.end - cores.start);
        let secret = Other::new(&area, 0, code::dump)?;
        secret.change(|uarea| mark(uarea, 0x5ec + round));
        secret.change_pad(|pad| pad.word = 1);
        secret.run(core)?;
        secret.wait_for_count(1)?;
        check!(secret.pad().vectors == marked_vectors(0x5ec + round));
        if round % 3 == 0 {
            secret.stop()?;
        }
        let nosy = Other::new(&area, 1, code::dump)?;
        nosy.run(core)?;
        secret.destroy()?;
        nosy.wait_for(EnvironmentState::Stopped)?;
        check!(
            nosy.pad().vectors == Vectors::default(),
            "round {round}: {:x?}",
            nosy.pad().vectors
        );
        nosy.destroy()?;
        area.close()?;
    }
    Ok(())
}

/// Each the keeper of the next one, which is suspended: notices wait for all, and names of keepers that have gone are
/// left in those that they kept.
pub(super) fn with_keepers() -> Outcome {
    const BIT: u64 = 5;
    for order in 0..2 {
        let area = Area::new()?;
        let mut chain: Vec<Other> = Vec::new();
        for index in 0..BATCH {
            let other = Other::new(&area, index, code::keep)?;
            if let Some(kept) = chain.last() {
                let mut words = Arguments::new([0; 6]);
                kept.object().encode(&mut words);
                other.change(|uarea| {
                    uarea.saved.x[19] = words.words()[0];
                    uarea.saved.x[20] = BIT;
                });
                other.change_pad(|pad| pad.word = u64::MAX);
                other.run(index % exposed::machine().cores)?;
                other.wait_for(EnvironmentState::Stopped)?;
                check_eq!(other.pad().word, 0, "what `env_keep` says");
                check_eq!(kept.record()?.keeper, other.name.word());
            }
            chain.push(other);
        }
        for kept in &chain {
            kept.change(|uarea| uarea.saved.pc = code::undefined as *const () as u64);
            kept.run(0)?;
            kept.wait_for(EnvironmentState::Suspended)?;
        }
        for keeper in chain.iter().skip(1) {
            check_eq!(keeper.record()?.notices, 1 << BIT, "notices that wait");
        }
        if order == 1 {
            chain.reverse();
        }
        for one in chain {
            one.destroy()?;
        }
        area.close()?;
    }
    Ok(())
}

/// Where the members of a space have their u-areas.
const UAREAS: u64 = 0x50_0000_0000;
/// How many there are in each space.
const MEMBERS: u64 = 5;

/// A member, number `index`, of a space that has `code` mapped, with nothing but registers.
fn member(
    space: Space<'_>,
    index: u64,
    code: unsafe extern "C" fn(),
) -> Result<(Environment<'static>, PageNumber), Failure> {
    let uarea = memory::take_page()?;
    let at = place(UAREAS + index * PAGE_SIZE)?;
    let environment = Environment::create(space, uarea, at)?;
    let pc = code as *const () as u64;
    let mut frame = Frame {
        pc,
        ..Frame::default()
    };
    // For `steady`: a word of code, over and over, and now and then a turn for others.
    frame.x[19] = pc / 8 * 8;
    frame.x[20] = 5000;
    frame.x[22] = u64::MAX;
    environment.set_saved(&frame)?;
    Ok((environment, uarea))
}

/// Several to a space: it lives until the last has gone, whichever that is, and wherever it runs.
pub(super) fn in_shared_spaces() -> Outcome {
    for round in 0..MEMBERS as usize {
        let code = code::steady as *const () as u64;
        let space = space_with_code(code, place(UAREAS)?)?;
        let mut members = Vec::new();
        for index in 0..MEMBERS {
            let (one, uarea) = member(space, index, code::steady)?;
            // One stays stopped, the others take turns on all cores but this.
            if index != 0 {
                one.run(1 + index % 3)?;
            }
            members.push((one, uarea));
        }
        for (one, _) in members.iter().skip(1) {
            let life = || one.name().and_then(|name| exposed::live_at(name.index));
            let turns = || life().map_or(0, |life| life.dispatches.load(Ordering::Relaxed));
            wait(|| Ok(turns() > 0), || "it has no turn".into())?;
        }
        check_eq!(
            space.record().map(|record| record.members),
            Some(MEMBERS as u16)
        );
        let pages = pages_of(space)?;
        let count = members.len();
        for (gone, index) in (0..count).map(|index| (index + round) % count).enumerate() {
            members[index].0.destroy()?;
            if gone + 1 < count {
                let left = (count - gone - 1) as u16;
                check_eq!(space.record().map(|record| record.members), Some(left));
            }
        }
        give_back(space, &pages)?;
    }
    Ok(())
}

/// With all else of their account at one blow: in its spaces and in this program's, running and waiting; by the kernel alone, once it has
/// begun, and by whoever asks again.
pub(super) fn with_their_account() -> Outcome {
    for is_begun_only in [true, false] {
        take_low_pages_next(100)?;
        let purse = Purse(Account::create(Allowance {
            pages: 100,
            environments: 5,
            spaces: 2,
            accounts: 3,
        })?);
        purse.bound(|| {
            let space = space_with_code(code::steady as *const () as u64, place(UAREAS)?)?;
            for index in 0..4 {
                let (one, _) = member(space, index, code::steady)?;
                if index != 0 {
                    one.run(index)?;
                }
            }
            let inner = Account::create(Allowance {
                pages: 20,
                ..Allowance::default()
            })?;
            inner.bind()?;
            memory::take_page()?;
            Ok(())
        })?;
        if is_begun_only {
            purse.end()?;
        } else {
            purse.0.destroy()?;
        }
    }
    Ok(())
}
