//! Faults of threads: who it was, and how the others go on without it.
//!
//! A fault enters the program's handler on the handler's own stack, so a thread that has run over its stack
//! is told from others by the address: it is in a guard of the stack of the thread that runs.
#![expect(unsafe_code, reason = "a thread goes on elsewhere")]

use core::fmt;

use exopi_rt::upcall::{AbortKind, Action, Fault, FaultCause};

use crate::runtime;
use crate::table::{Ended, ThreadId};
use crate::thread;

/// What a fault has to do with threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Whose it is.
    pub thread: ThreadId,
    /// What that one is called.
    pub name: &'static str,
    /// The access was in a guard of its stack: it has run over it.
    pub overflow: bool,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.overflow {
            "has run over its stack"
        } else {
            "has faulted"
        };
        let index = self.thread.index().get();
        write!(f, "thread {index} ({}) {what}", self.name)
    }
}

/// Whose fault it is; `None` if no thread runs here, or the scheduler itself has faulted.
pub fn blame(fault: &Fault<'_>) -> Option<Blame> {
    let thread = runtime::current()?;
    if runtime::is_inside() {
        return None;
    }
    let address = match fault.cause() {
        FaultCause::DataAbort {
            address,
            kind: AbortKind::Translation(_),
            ..
        } => Some(address),
        _ => None,
    };
    let mut inside = runtime::enter()?;
    inside.with(|it| {
        let name = it.table.named(thread)?.name;
        let stack = it.seat(thread.index())?.stack.as_ref()?;
        let overflow = address.is_some_and(|address| stack.is_guard(address));
        Some(Blame {
            thread,
            name,
            overflow,
        })
    })?
}

/// A handler of faults, or its last resort: the thread that has faulted ends, as [`Ended::Faulted`], and the
/// others go on. What it holds is handed on as of a holder that has ended.
///
/// # Safety
/// The thread stops between two instructions, and its stack goes, with nothing on it dropped. Nothing that it
/// was in the middle of may be relied on: not the heap, if it was there, nor any value that it was changing.
pub unsafe fn contain(fault: &mut Fault<'_>) -> Action {
    let Some(blame) = blame(fault) else {
        return Action::Abort;
    };
    let top = runtime::enter().and_then(|mut inside| {
        inside.with(|it| {
            let seat = it.seat(blame.thread.index())?;
            // Not on what it began with and will return, at the upper end.
            Some(seat.stack.as_ref()?.range().end - seat.reserved)
        })?
    });
    let Some(top) = top else {
        return Action::Abort;
    };
    let words = [
        fault.pc(),
        fault.address(),
        fault.syndrome(),
        blame.overflow.into(),
    ];
    for (register, word) in fault.registers().iter_mut().zip(words) {
        *register = word;
    }
    fault.set_sp(top);
    fault.set_pc(end as *const () as u64);
    Action::Resume
}

/// Where a thread goes on that has faulted.
extern "C" fn end(pc: u64, address: u64, syndrome: u64, overflow: u64) -> ! {
    let ended = Ended::Faulted {
        pc,
        address,
        syndrome,
        overflow: overflow != 0,
    };
    // SAFETY: who has asked for this answers for the stack.
    unsafe { thread::exit_as(ended) }
}
