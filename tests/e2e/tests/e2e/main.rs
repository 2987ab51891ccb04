//! The system, booted and seen from outside.

mod boot;
mod failures;
mod images;
