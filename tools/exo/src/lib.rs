//! What `exo` is made of, as a library, so that the end-to-end tests use the same images, emulator
//! and runner as the command does.
//!
//! ```text
//!   image, card, run, test, check, bench, sizes, calls, gdb, pcap     one module for each subcommand; ls, cat, cp in card
//!        |      |     |
//!   elf  |  emulator  runner  lines  symbols       what they share
//!        |      |
//!    workspace  interrupt                          cargo builds, places, signals
//! ```

pub mod bench;
pub mod calls;
pub mod card;
pub mod check;
pub mod elf;
pub mod emulator;
pub mod gdb;
pub mod image;
pub mod interrupt;
pub mod lines;
pub mod pcap;
pub mod run;
pub mod runner;
pub mod sizes;
pub mod symbols;
pub mod test;
pub mod workspace;
