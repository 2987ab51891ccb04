//! The command as a process, with stand-ins for the emulator.

mod bench;
mod card;
mod gdb;
mod guests;
mod run;
mod serial;
mod support;
