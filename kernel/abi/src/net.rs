//! Frames of a network: who gets which, who may send which, and how they travel between programs and kernel.
//!
//! ```text
//!   interface --frame--> filters, merged --> packet rings, in pages of the receivers
//!       ^                                      taps: one more ring for each
//!       `---- senders in turn <-- net_xmit: pieces of pages, checked against a send capability
//! ```
//!
//! * [`atom`](Atom): the language of filters and of send capabilities.
//! * [`ring`](EntryHeader): packet rings.
//! * [`send`](Piece): what is sent.
//! * [`records`](FilterRecord): what everybody may know of interfaces, filters, rings and send capabilities.

mod atom;
mod records;
mod ring;
mod send;

pub use atom::{Atom, AtomError, MAX_ATOMS, Operation, Program, Width, shifted};
pub use records::{
    FilterRecord, FilterState, InterfaceRecord, InterfaceState, RingRecord, SendRecord,
    filter_index, filter_place,
};
pub use ring::{EntryFlags, EntryHeader, EntrySize, KERNEL, MAX_RING_PAGES, PROGRAM, RingShape};
pub use send::{Completion, MAX_PIECES, Piece};

/// Most interfaces of a board, the loopback one included.
pub const MAX_INTERFACES: usize = 4;
/// Most filters of an interface: their numbers have so many values.
pub const MAX_FILTERS: usize = 1 << FILTER_BITS;
/// Most keys of a filter.
pub const MAX_KEYS: usize = 4;
/// Most rings that a filter's frames are copied to.
pub const MAX_REFERENCES: usize = 8;
/// Most taps of an interface.
pub const MAX_TAPS: usize = 4;
/// In place of a notice's number: a ring's owner is told of nothing.
pub const NO_NOTICE: u64 = 32;
/// Octets of the shortest frame: two addresses and a type.
pub const LEAST_FRAME: usize = 14;
/// Octets of the longest frame, without its check sequence (IEEE 802.3, 3.2.7).
pub const MOST_FRAME: usize = 1514;
/// Octets of a frame that is to be sent which are copied before they are checked. No send capability says anything of
/// what lies behind.
pub const CHECKED: usize = 128;
/// Most frames of one environment that wait on one interface, or are in its device.
pub const MAX_IN_FLIGHT: u16 = 32;

/// Bits of a filter's number within its interface.
const FILTER_BITS: u32 = 14;
const _: () = assert!(MAX_INTERFACES << FILTER_BITS <= 1 << u16::BITS);
