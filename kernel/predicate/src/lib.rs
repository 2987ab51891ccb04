//! Wakeup predicates: evaluated, compiled, and looked at in a row.
//!
//! A sleeper says in [`Terms`](exopi_abi::predicate::Terms) what would wake it (Engler, Kaashoek and O'Toole,
//! SOSP 1995; Ganger et al., TOCS 2002, there compiled as here). The form is `exopi-abi`'s, with its
//! checks. Here is what the kernel does with it:
//!
//! * [`Program`]: the predicate, its value by the plainest means (the oracle), the times at which it may become
//!   true, what it mentions, the pages that must stay while it is there;
//! * [`Program::compile`]: the same as A64 code, which goes on to the next sleeper's code by itself;
//! * [`Table`]: the sleepers of a core, one after the other, in the form that the code goes along;
//! * [`Watchers`]: who is to be looked at when something happens to an environment;
//! * [`Activity`]: when an idle core may stop looking.
//!
//! # Who looks, and when
//!
//! | a word | can change | so it is looked at |
//! | --- | --- | --- |
//! | in a page | while some core runs an environment | at each pass of the scheduler, and by idle cores as [`Activity`] says |
//! | time | by itself | when the timer fires, at [`Program::deadline`] |
//! | state, epoch | by an event of the kernel | at the event, for those whom [`Watchers`] names |
//! | state, among those of one that runs or might | without the kernel lock | as a word in a page |
//!
//! What always holds:
//!
//! * Code reads what its predicate names, by aligned loads of 32 or 64 bits, and entries of the table. It writes no
//!   memory, calls nothing, and uses no stack.
//! * Code of a predicate has at most [`MAX_CODE_WORDS`] words and no way back, so each is executed once at
//!   most, and a stretch of [`POSITIONS`] sleepers ends after at most [`MAX_STRETCH`] instructions.
//! * A predicate that is true, and stays so, is found by the next look that begins; a race with a writer puts a
//!   wake-up off to that look and loses none. The orders of stores are the programs' affair: who has been woken
//!   reads the word again, with the ordering that it needs.
//!
//! Absent on purpose: who may read which page (the caller decides by `exopi-pages` and `exopi-cap` before it makes a
//! program), the clock, where code lies, and all that belongs to running an environment.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod activity;
mod code;
mod program;
mod table;
#[cfg(test)]
mod tests;
mod watchers;

pub use activity::{Activity, Seen};
pub use code::{Code, Error, MAX_CODE_WORDS, MAX_STRETCH, STUB_WORDS, Stubs, stubs};
pub use program::{Pins, Place, Program};
pub use table::{Entry, POSITIONS, Step, Table, entries_for};
pub use watchers::{WATCHER_WORDS, Watchers};
