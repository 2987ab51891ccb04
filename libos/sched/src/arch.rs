//! What depends on the processor: contexts, the switch between them, the clock, who one is.
//!
//! Off target a thread is one of the host's, and a context a place to wait in: exactly one of them goes on
//! at a time, as on a core. So tests and Miri see the same library do the same things.

#[cfg(target_os = "none")]
mod aarch64;
#[cfg(not(target_os = "none"))]
mod host;

#[cfg(target_os = "none")]
pub(crate) use aarch64::{
    Context, begin_handler, chance, environment, in_fault, in_upcall, is_alive, leave, now,
    set_thread_pointer, switch, thread_pointer,
};
#[cfg(not(target_os = "none"))]
pub(crate) use host::{
    Context, Host, chance, environment, in_upcall, is_alive, leave, now, switch,
};
#[cfg(test)]
pub(crate) use host::{declare_dead, set_chance};
