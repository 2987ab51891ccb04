//! Interrupting threads: an asynchronous upcall comes between two instructions of one and goes on in another.
//!
//! ```text
//!   thread A --notice--> trampoline: vectors saved --> this: A's frame and vectors into A's context,
//!                                                            B's in their place
//!   thread B <--resume-- trampoline: vectors loaded <--'
//! ```
//!
//! So a switch costs what an upcall costs and two copies; a thread that gave its core away itself is gone on
//! with by the same return, at the instruction that loads what it keeps.
//!
//! A thread that was interrupted goes on in the environment that it was interrupted in: it may have been
//! about to use the u-area's address. It moves when it gives its core away itself. Nobody is interrupted with
//! upcalls masked, nor in a handler of faults: there is one frame for those.
#![expect(unsafe_code, reason = "a function from a word")]

use exopi_rt::local::Word;
use exopi_rt::uarea::{Frame, Vectors};
use exopi_rt::upcall::{self, Action};

use crate::{arch, runtime};

/// What is told of a notice's bits, and says whether the thread that runs is interrupted. It runs on the
/// handlers' stack and must not wait.
pub type Heard = fn(u32) -> bool;

/// The environment's word with its [`Heard`].
const HEARD: Option<Word> = Word::new(2);

/// From now on notices to the calling environment may interrupt its threads: those that `heard` says so of.
pub fn by_notices(heard: Heard) {
    if let Some(word) = HEARD {
        word.set(heard as usize as u64);
    }
    upcall::on_notice_call(notice);
}

extern "C" fn notice(frame: &mut Frame, vectors: &mut Vectors) -> Action {
    let heard = HEARD.map_or(0, Word::get) as *const ();
    if !heard.is_null() {
        // SAFETY: only `by_notices` stores here, and what it stores is a `Heard`.
        let heard = unsafe { core::mem::transmute::<*const (), Heard>(heard) };
        if heard(frame.esr as u32) && !arch::in_fault() {
            runtime::preempt(frame, vectors);
        }
    }
    Action::Resume
}
