//! A directory entry's 32 bytes.
//!
//! ```text
//!   short   0 name  11 attributes  12 case  13 made (10 ms, time, date)  18 read  20 cluster high  22 written (time,
//!           date)  26 cluster low  28 size
//!   long    0 number, 0x40 for the last part  1 five units  11 0x0f  13 checksum  14 six units  28 two units
//! ```

use super::geometry::{SLOT, Width};
use super::names::{Short, UNITS};
use crate::filesystem::Stamp;

/// The bytes.
pub(super) type Slot = [u8; SLOT];

pub(super) const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;
const LONG: u8 = 0x0f;

/// First byte of an entry that is free, and of the first of those that all are.
pub(super) const FREE: u8 = 0xe5;
pub(super) const END: u8 = 0;
/// First byte of a long name's first entry, its last part, beside the number.
const LAST: u8 = 0x40;

pub(super) const DOT: Short = *b".          ";
pub(super) const DOT_DOT: Short = *b"..         ";

/// Where the units of a long name are.
const UNIT_AT: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Free, and so are all behind it.
    End,
    /// Free.
    Free,
    /// Part of a long name.
    Long(Part),
    /// The volume's name: of no use here.
    Label,
    /// A file or directory.
    Short,
}

/// A part of a long name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u8,
    pub(super) is_last: bool,
    pub(super) checksum: u8,
    pub(super) units: [u16; UNITS],
}

pub(super) fn form(slot: &Slot) -> Form {
    match (slot[0], slot[11]) {
        (END, _) => Form::End,
        (FREE, _) => Form::Free,
        (number, attributes) if attributes & 0x3f == LONG => Form::Long(Part {
            number: number & 0x3f,
            is_last: number & LAST != 0,
            checksum: slot[13],
            units: UNIT_AT.map(|at| u16::from_le_bytes([slot[at], slot[at + 1]])),
        }),
        (_, attributes) if attributes & LABEL != 0 => Form::Label,
        _ => Form::Short,
    }
}

/// The entries of a long name, in the order in which they lie.
pub(super) fn long(name: &[u16], checksum: u8) -> impl Iterator<Item = Slot> {
    let count = name.len().div_ceil(UNITS);
    let parts = name.chunks(UNITS).enumerate().rev();
    parts.map(move |(index, units)| {
        let mut slot = [0; SLOT];
        // A name has at most 20 parts.
        let number = (index + 1) as u8;
        slot[0] = if index + 1 == count {
            number | LAST
        } else {
            number
        };
        slot[11] = LONG;
        slot[13] = checksum;
        // A zero ends it if the part is not full, and ones fill it up.
        let filled = units
            .iter()
            .copied()
            .chain([0])
            .chain(core::iter::repeat(0xffff));
        for (at, unit) in UNIT_AT.into_iter().zip(filled) {
            slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        slot
    })
}

/// What a short entry says besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) attributes: u8,
    pub(super) cluster: u32,
    pub(super) size: u32,
    pub(super) modified: Stamp,
}

impl Facts {
    pub(super) fn of(slot: &Slot, width: Width) -> Self {
        let half = |at: usize| u32::from(u16::from_le_bytes([slot[at], slot[at + 1]]));
        let high = match width {
            Width::Fat16 => 0,
            Width::Fat32 => half(20) << 16,
        };
        Self {
            attributes: slot[11],
            cluster: half(26) | high,
            size: half(28) | half(30) << 16,
            modified: stamp(half(24), half(22)),
        }
    }

    /// A new entry, made and written at the same time.
    pub(super) fn slot(&self, name: &Short) -> Slot {
        let mut slot = [0; SLOT];
        slot[..11].copy_from_slice(name);
        slot[11] = self.attributes;
        let (date, time) = numbers(self.modified);
        slot[14..16].copy_from_slice(&time.to_le_bytes());
        slot[16..18].copy_from_slice(&date.to_le_bytes());
        self.put(&mut slot);
        slot
    }

    /// Puts contents and time of writing into an entry that is there.
    pub(super) fn put(&self, slot: &mut Slot) {
        let (date, time) = numbers(self.modified);
        let [low0, low1, high0, high1] = self.cluster.to_le_bytes();
        slot[11] = self.attributes;
        slot[18..20].copy_from_slice(&date.to_le_bytes());
        slot[20..22].copy_from_slice(&[high0, high1]);
        slot[22..24].copy_from_slice(&time.to_le_bytes());
        slot[24..26].copy_from_slice(&date.to_le_bytes());
        slot[26..28].copy_from_slice(&[low0, low1]);
        slot[28..32].copy_from_slice(&self.size.to_le_bytes());
    }

    pub(super) const fn is_directory(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }
}

/// FAT's date and time.
fn numbers(stamp: Stamp) -> (u16, u16) {
    let year = stamp.year.clamp(1980, 2107) - 1980;
    let date = year << 9 | u16::from(stamp.month & 15) << 5 | u16::from(stamp.day & 31);
    let (hour, minute) = (u16::from(stamp.hour & 31), u16::from(stamp.minute & 63));
    (
        date,
        hour << 11 | minute << 5 | (u16::from(stamp.second & 63) / 2),
    )
}

/// Numbers that are no date become the nearest one.
fn stamp(date: u32, time: u32) -> Stamp {
    Stamp {
        year: 1980 + (date >> 9 & 0x7f) as u16,
        month: (date >> 5 & 15).clamp(1, 12) as u8,
        day: (date & 31).max(1) as u8,
        hour: (time >> 11 & 31).min(23) as u8,
        minute: (time >> 5 & 63).min(59) as u8,
        second: (time & 31).min(29) as u8 * 2,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::names;
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        let facts = Facts {
            attributes: ARCHIVE,
            cluster: 0x0123_4567,
            size: 0x89ab_cdef,
            modified: Stamp {
                year: 2026,
                month: 11,
                day: 22,
                hour: 23,
                minute: 59,
                second: 58,
            },
        };
        let slot = facts.slot(b"NAME    TXT");
        assert_eq!(form(&slot), Form::Short);
        assert_eq!(Facts::of(&slot, Width::Fat32), facts);
        let short = Facts::of(&slot, Width::Fat16);
        assert_eq!(short.cluster, 0x4567);
    }

    #[test]
    fn parts_of_a_long_name_come_last_first() {
        let name: Vec<u16> = "a name of 26 units exactly".encode_utf16().collect();
        let slots: Vec<Slot> = long(&name, 7).collect();
        let parts: Vec<Part> = slots
            .iter()
            .map(|slot| match form(slot) {
                Form::Long(part) => part,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(parts.len(), 2);
        assert!(parts[0].is_last && parts[0].number == 2 && parts[0].checksum == 7);
        assert!(!parts[1].is_last && parts[1].number == 1);
        let units: Vec<u16> = parts.iter().rev().flat_map(|part| part.units).collect();
        assert_eq!(units, name);
        assert_eq!(names::decode(&units).unwrap().len(), 26);
    }
}
