//! Whose blocks of the disk are whose, and which request is served next.
//!
//! * [`mbr`]: the partitions that a medium names.
//! * [`Extents`]: runs of blocks that were granted, each a part of another one.
//! * [`Queue`]: requests for blocks, from many, served one command at a time.
//!
//! ```text
//!   submit --> queued --next--> at the device --ended--> told: status, blocks
//!                 |                  |    `--- a merged command failed: its requests go alone
//!                 |                  `-------- its owner has died: told as such when the device is done
//!                 `-- cancel, extent gone ---> told: nothing was done
//! ```
//!
//! # What always holds
//!
//! * Each request that was taken is told exactly once, and until then its pages are lent. While the device has it,
//!   nothing tells it but the device's end.
//! * Two requests of one environment of which one writes a block of the other are done in the order in which they
//!   were made. Between environments there is no order while both are under way, as between two cores' stores.
//! * Environments with requests are served in turn, one command each. Within an environment a request is passed
//!   over at most [`MOST_PASSED`] times by later ones. So who waits behind `n` requests of its own, with `e`
//!   environments asking, waits for at most `(n + 1) * (MOST_PASSED + 1) * e` commands that go well.
//! * No operation's time depends on how many requests or environments there are, but for [`Queue::refuse`] and
//!   [`Extents::sweep`], which look at a bounded number and go on later.
//! * A refused operation has changed nothing.
//!
//! Blocks are 4 KiB, as pages are: a cache of blocks above is one page for each, and a request names them as it does.
//! Times are arguments, in microseconds, and need not make sense.
//!
//! # Absent on purpose
//!
//! Rights, which are in capabilities and compared before anything comes here; pins and caches; the device, which is
//! given a [`Command`] and gives back its end; and any cache of blocks.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod dispatch;
mod extents;
pub mod mbr;
mod queue;
#[cfg(test)]
mod tests;

pub use dispatch::{Command, LOOKS};
pub use extents::{Extents, MOST_DEPTH, SWEEP_LOOKS};
pub use queue::{Direction, Ended, MOST_PASSED, MOST_WAIT, Order, Queue, Request, Requester};
