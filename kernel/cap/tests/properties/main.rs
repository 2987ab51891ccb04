//! What capabilities promise, as properties against a naive reading of their chains.
//!
//! The worlds are small on purpose (few environments, seconds and badges), so that random cases meet: a
//! hint that fits somebody else, a time that has just come, a caveat that is there already.

mod cache;
mod chains;
mod forgery;
mod issue;
mod model;
mod proofs;
