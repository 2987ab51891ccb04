//! The command as a process, with stand-ins for the emulator.

mod guests;
mod run;
mod serial;
mod support;
