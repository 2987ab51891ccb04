//! SD cards: the protocol, and the controller that talks to them.
//!
//! ```text
//!   BlockDevice        requests, completions, retries, removal      card.rs
//!   identify           the card's set-up, as a run                  identify.rs
//!   commands, decode   what is sent, and what comes back means      commands.rs, decode.rs
//!   Controller         one job at a time                            controller.rs
//!   Emmc               registers, engine, the processor's way       emmc/
//! ```
//!
//! Source of the protocol: SD Specifications Part 1, Physical Layer Simplified Specification ("PLSS").
//!
//! # Time
//! Nothing waits. Every wait is a state with a time at which to look again, and every state has a last time, after
//! which the hardware is stopped and the card recovered. One call does a bounded number of steps; the largest are the
//! maintenance of caches for a request's memory and [`emmc::MOST_AT_ONCE`] sectors moved by the processor.
//!
//! # Whose memory it is
//! A request's memory is given back when the DMA channel has said that it is done, or that it has stopped. A channel
//! that answers neither keeps the request for good: better a page that nobody gets again than one that is written to
//! behind its next owner's back.

pub mod card;
pub mod commands;
pub mod controller;
pub mod decode;
pub mod emmc;
mod identify;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
