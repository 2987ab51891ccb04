//! The rules of the house as functions, and the workspace that they are put to.
//!
//! Each rule is a pure function from what it looks at to a list of violations, so that it is tested here
//! with bad examples; `tests/house.rs` puts it to this repository. A rule that could not fail would be
//! worse than none.

#![forbid(unsafe_code)]

pub mod dependencies;
pub mod edges;
pub mod files;
pub mod links;
pub mod manifests;
pub mod workspace;
