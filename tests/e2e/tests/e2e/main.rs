//! The system, booted and seen from outside.

mod boot;
mod checks;
mod device_tree;
mod failures;
mod images;
mod monitor;
mod position;
mod replay;
mod randomness;
mod serial_line;
mod typing;
