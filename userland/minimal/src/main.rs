//! Filled in by its own commit.
fn main() {}
