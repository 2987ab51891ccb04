//! Destroyed while they wait for somebody else: for a call, or for the answer to one.

use core::sync::atomic::Ordering;

use exopi_rt::domain::EnvironmentState;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::uarea::{Entry, UArea, UpcallClass};
use exopi_rt::{Environment, Object, exposed, stubs, transfer};

use super::states::BATCH;
use super::{AT, Many, shuffled};
use crate::area::Area;
use crate::harness::Outcome;
use crate::other::{serving, wait};
use crate::suites::transfers::server;

/// Servers that nobody calls.
pub(super) fn asleep() -> Outcome {
    for core in 0..exposed::machine().cores {
        let many = Many::new(BATCH, serving::rest, |_, _| {})?;
        for one in &many.all {
            one.run(core)?;
        }
        many.wait_for(EnvironmentState::Asleep)?;
        many.end(shuffled(BATCH as usize))?;
    }
    Ok(())
}

/// A gate of this program's.
const GATE: u64 = 4;

/// Each in a call of the one before it, and the first in one of a server that keeps it waiting. They go from either
/// end, and out of the middle; those who lose what they wait for serve on until it is their turn.
pub(super) fn calling() -> Outcome {
    for order in 0..3 {
        let area = Area::new()?;
        let last = server(&area, 0, serving::hold)?;
        let many = Many::new(BATCH, serving::bind_and_rest, |_, _| {})?;
        let mut callee = last.object();
        for (index, one) in many.all.iter().enumerate() {
            forward_to(index as u64, one, callee)?;
            callee = one.object();
        }
        stubs::gate_bind(GATE, callee)?;
        transfer::send(GATE, &[0; 8])?;
        last.wait_for_count(1)?;
        many.wait_for(EnvironmentState::Calling)?;
        stubs::gate_unbind(GATE)?;
        match order {
            0 => many.end(0..BATCH as usize)?,
            1 => many.end((0..BATCH as usize).rev())?,
            _ => many.end(shuffled(BATCH as usize))?,
        }
        last.word().store(1, Ordering::Release);
        last.wait_for(EnvironmentState::Asleep)?;
        last.destroy()?;
        area.close()?;
    }
    Ok(())
}

/// Lets the one at `index` bind a gate to `callee`, and wait for calls that it passes on through that.
fn forward_to(index: u64, one: &Environment<'_>, callee: Object<'_>) -> Outcome {
    let at = AT + index * PAGE_SIZE;
    let uarea = at as *mut UArea;
    let entry = Entry {
        pc: serving::forward as *const () as u64,
        // Two words at the end of the page are all the memory that it needs.
        sp: at + PAGE_SIZE - 16,
    };
    // SAFETY: the u-area is mapped there for this space, and its environment is stopped.
    unsafe { (*uarea).entries[UpcallClass::Pct as usize] = entry };
    let mut words = Arguments::new([0; 6]);
    callee.encode(&mut words);
    let mut frame = one.saved()?;
    frame.x[1] = words.words()[0];
    one.set_saved(&frame)?;
    one.run(0)?;
    wait(
        || Ok(one.state() == EnvironmentState::Asleep),
        || alloc::format!("{index} is {:?}", one.state()),
    )
}
