//! Random sequences of calls from a seed, the same on the simulated kernel and on the target.
//!
//! * [`Random`]: numbers from a seed.
//! * [`World`]: what the one who makes the calls sees: exposed records, its own tables and memory.
//! * [`Chooser`]: the next [`Step`], by what there is.
//! * [`Names`] and [`Transcript`]: what came of it, told so that it is the same wherever the same was done.
//! * [`replay`]: a sequence made and told in the same way on both.
//! * [`stage`]: where arguments lie and where is mapped.
//!
//! State in, decision out: who makes the calls is not here. Nothing is allocated, since an allocation of the
//! program on the target would be a call that nobody chose.
#![no_std]
#![forbid(unsafe_code)]

mod choose;
mod names;
mod random;
pub mod replay;
pub mod stage;
mod step;
mod transcript;
mod world;

pub use choose::{Chooser, Purpose, is_unfinished, learn};
pub use names::{Names, Told};
pub use random::Random;
pub use step::{Edit, Outcome, Step};
pub use transcript::Transcript;
pub use world::World;
