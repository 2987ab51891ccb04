//! The forms against each other, and the tree against a naive model.

mod built;
mod costs;
mod hostile;
mod model;
mod refinement;
mod world;
