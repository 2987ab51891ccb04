//! Code against the oracle, what looking costs, and that no wake-up is lost.

mod agree;
mod book;
mod costs;
mod deadlines;
mod hostile;
mod looks;
mod races;
mod watching;
mod world;
