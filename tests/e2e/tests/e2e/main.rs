//! The system, booted and seen from outside.

mod boot;
mod card;
mod checks;
mod device_tree;
mod failures;
mod generated_code;
mod images;
mod monitor;
mod network;
mod position;
mod randomness;
mod replay;
mod serial_line;
mod typing;
