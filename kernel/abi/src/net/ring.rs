//! Packet rings: entries in pages of the receiver, which the kernel fills one behind the other.
//!
//! ```text
//!   page 0                      page 1
//!   | header frame | header frame | header frame | header frame |     entries never lie across pages
//!     ^ the program reads ...        ^ the kernel fills next
//! ```
//!
//! The state word says whose an entry is. The kernel fills an entry that is [`KERNEL`]'s, and makes it
//! [`PROGRAM`]'s last of all, by a store that all before it precedes; the program reads it and stores [`KERNEL`], as a
//! release. An entry that is not the kernel's when its turn comes is full: the frame is lost for this
//! ring, and counted. The kernel goes by its own cursor, and whatever a program writes changes nothing but what
//! the program gets.

use crate::Error;
use crate::layout::PAGE_SIZE;

/// Octets of a page.
const PAGE: usize = PAGE_SIZE as usize;

/// State of an entry that the kernel may fill.
pub const KERNEL: u32 = 0;
/// State of an entry that holds a frame. Any word but [`KERNEL`] counts as this.
pub const PROGRAM: u32 = 1;
/// Most pages of a ring.
pub const MAX_RING_PAGES: usize = 64;

bitflags::bitflags! {
    /// More about a frame in an entry.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct EntryFlags: u8 {
        /// It came by a tap, and not by a filter.
        const TAP = 1 << 0;
        /// It was sent from here.
        const SENT = 1 << 1;
    }
}

/// What stands before each frame in a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EntryHeader {
    /// [`KERNEL`] or [`PROGRAM`].
    pub state: u32,
    /// Octets of the frame, without its check sequence.
    pub length: u16,
    /// Octets of it that are here: fewer if the entry is too small.
    pub stored: u16,
    /// The interface that it came by.
    pub interface: u8,
    /// More about it.
    pub flags: EntryFlags,
    /// Zero.
    pub reserved: u16,
    /// Frames for which the ring had no room, since it was made; wraps around.
    pub lost: u32,
    /// When it came, in ticks of the counter.
    pub time: u64,
    /// The word of the name of the filter that it came by; 0 by a tap.
    pub filter: u64,
}

impl EntryHeader {
    /// Octets before the frame.
    pub const OCTETS: usize = 32;

    /// What follows the state word in memory, as it lies there.
    pub fn behind_state(&self) -> [u8; Self::OCTETS - 4] {
        let [l0, l1] = self.length.to_le_bytes();
        let [s0, s1] = self.stored.to_le_bytes();
        let [n0, n1, n2, n3] = self.lost.to_le_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = self.time.to_le_bytes();
        let [f0, f1, f2, f3, f4, f5, f6, f7] = self.filter.to_le_bytes();
        let (interface, flags) = (self.interface, self.flags.bits());
        // By places, which the compiler makes words of.
        [
            l0, l1, s0, s1, interface, flags, 0, 0, n0, n1, n2, n3, t0, t1, t2, t3, t4, t5, t6, t7,
            f0, f1, f2, f3, f4, f5, f6, f7,
        ]
    }

    /// The header that lies in memory so. Of flags that there are not nothing is known.
    pub fn from_octets(octets: &[u8; Self::OCTETS]) -> Self {
        let number = |at: usize, count: usize| {
            let octets = octets.iter().skip(at).take(count).rev();
            octets.fold(0, |number, &octet| number << 8 | u64::from(octet))
        };
        Self {
            state: number(0, 4) as u32,
            length: number(4, 2) as u16,
            stored: number(6, 2) as u16,
            interface: number(8, 1) as u8,
            flags: EntryFlags::from_bits_truncate(number(9, 1) as u8),
            reserved: 0,
            lost: number(12, 4) as u32,
            time: number(16, 8),
            filter: number(24, 8),
        }
    }
}

/// How large the entries of a ring are, header and frame together: 64 to 4,096 octets, as a logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySize(u8);

impl EntrySize {
    /// Entries that hold any frame.
    pub const WHOLE: EntrySize = EntrySize(11);

    /// Entries of 2 to the power of `logarithm` octets: 6 to 12.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub const fn new(logarithm: u64) -> Result<Self, Error> {
        match logarithm {
            6..=12 => Ok(Self(logarithm as u8)),
            _ => Err(Error::Malformed),
        }
    }

    /// The logarithm.
    pub const fn logarithm(self) -> u8 {
        self.0
    }

    /// Octets of an entry.
    pub const fn octets(self) -> usize {
        1 << self.0
    }

    /// Octets of a frame that an entry has room for.
    pub const fn room(self) -> usize {
        self.octets() - EntryHeader::OCTETS
    }

    /// Entries in a page.
    pub const fn per_page(self) -> usize {
        PAGE >> self.0
    }
}

/// The geometry of a ring: entries of one size in pages that are full of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    entry: EntrySize,
    pages: u8,
}

impl RingShape {
    /// A ring of so many pages, 1 to [`MAX_RING_PAGES`].
    ///
    /// # Errors
    /// [`Error::BadCount`].
    pub const fn new(entry: EntrySize, pages: u64) -> Result<Self, Error> {
        if pages == 0 || pages > MAX_RING_PAGES as u64 {
            return Err(Error::BadCount);
        }
        Ok(Self {
            entry,
            pages: pages as u8,
        })
    }

    /// Size of its entries.
    pub const fn entry(self) -> EntrySize {
        self.entry
    }

    /// Its pages.
    pub const fn pages(self) -> usize {
        self.pages as usize
    }

    /// Its entries.
    pub const fn entries(self) -> usize {
        self.pages() * self.entry.per_page()
    }

    /// Where an entry is: page, by its place in the ring, and offset there. Entry numbers go round.
    pub const fn place(self, entry: usize) -> (usize, usize) {
        let entry = entry % self.entries();
        let per_page = self.entry.per_page();
        (entry / per_page, (entry % per_page) << self.entry.0)
    }
}

const _: () = {
    assert!(size_of::<EntryHeader>() == EntryHeader::OCTETS);
    assert!(EntrySize::WHOLE.room() >= super::MOST_FRAME);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_lies_in_memory() {
        let header = EntryHeader {
            state: PROGRAM,
            length: 1514,
            stored: 96,
            interface: 3,
            flags: EntryFlags::TAP | EntryFlags::SENT,
            reserved: 0,
            lost: 0x0102_0304,
            time: 0x1122_3344_5566_7788,
            filter: 0x99aa_bbcc_ddee_ff01,
        };
        let mut octets = [0; EntryHeader::OCTETS];
        octets[0] = 1;
        octets[4..].copy_from_slice(&header.behind_state());
        assert_eq!(EntryHeader::from_octets(&octets), header);
        assert_eq!(octets[4..8], [0xea, 0x05, 96, 0]);
        assert_eq!(octets[8..16], [3, 3, 0, 0, 4, 3, 2, 1]);
        assert_eq!((octets[16], octets[24]), (0x88, 0x01));
        octets[9] = 0xfc;
        assert!(EntryHeader::from_octets(&octets).flags.is_empty());
    }

    #[test]
    fn entries_fill_their_pages_and_go_round() {
        for logarithm in 0..80 {
            let Ok(size) = EntrySize::new(logarithm) else {
                assert!(!(6..=12).contains(&logarithm));
                continue;
            };
            for pages in [1, 2, 63, 64] {
                let shape = RingShape::new(size, pages).unwrap();
                let mut places: Vec<_> = (0..shape.entries()).map(|n| shape.place(n)).collect();
                assert_eq!(shape.place(shape.entries()), places[0]);
                let end = places[places.len() - 1];
                assert_eq!(end, (pages as usize - 1, PAGE - size.octets()));
                assert!(places.is_sorted());
                places.dedup();
                assert_eq!(places.len() * size.octets(), pages as usize * PAGE);
            }
            assert_eq!(RingShape::new(size, 0), Err(Error::BadCount));
            assert_eq!(RingShape::new(size, 65), Err(Error::BadCount));
        }
    }
}
