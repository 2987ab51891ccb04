//! Tests: against naive models, under hostile owners, and through every step of every end.

mod ends;
mod limits;
mod model;
mod random;
mod rings;
mod sending;
mod thousand;
mod turns;
mod world;
