//! What the kernel asks of a device that stores blocks.
//!
//! A device reads and writes *sectors* of 512 bytes, in one request at a time. Who orders, merges and cuts
//! requests sits above (4 KiB blocks, queues, turns); who moves data below knows nothing of it.
//!
//! ```text
//!              start                    the hardware is done            take_completion
//!   requester's ----> lent to the device ----------------> lent, ended ----------------> requester's
//! ```
//!
//! From [`BlockDevice::start`] to the [`Completion`] the memory that a request names is the device's: it may
//! read or write it at any time. A completion is given only when the driver *knows* that the hardware has
//! stopped, whatever has gone wrong; a driver that cannot come to know it gives none.

use core::fmt;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Most segments of a request.
pub const MOST_SEGMENTS: usize = 32;

/// Most sectors of a request: as many as fit into [`MOST_SEGMENTS`] pages of 4 KiB. It bounds what is done at a
/// time for one requester, caches' maintenance included.
pub const MOST_SECTORS: u32 = 256;

/// A run of memory that a request reads or fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Physical address: a multiple of [`SECTOR`].
    pub at: u64,
    /// Length in sectors, not 0.
    pub sectors: u32,
}

impl Segment {
    /// Length in bytes.
    pub const fn bytes(&self) -> usize {
        self.sectors as usize * SECTOR
    }
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the medium to memory.
    Read,
    /// From memory to the medium.
    Write,
}

/// What is asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'s> {
    /// Read or write.
    pub direction: Direction,
    /// First sector.
    pub first: u64,
    /// Where the sectors' contents go or come from, one run behind the other: 1 to [`MOST_SEGMENTS`] of them, of 1
    /// to [`MOST_SECTORS`] sectors in all.
    pub segments: &'s [Segment],
    /// The [`Medium::generation`] that is meant.
    pub generation: u32,
}

impl Request<'_> {
    /// How many sectors it is about; `None` if its segments are not what a request may have.
    pub fn sectors(&self) -> Option<u32> {
        let good = |segment: &&Segment| {
            let last = (segment.bytes() as u64).checked_sub(1);
            let end = last.and_then(|last| segment.at.checked_add(last));
            end.is_some() && segment.at.is_multiple_of(SECTOR as u64)
        };
        if self.segments.len() > MOST_SEGMENTS || !self.segments.iter().all(|it| good(&it)) {
            return None;
        }
        let each = self.segments.iter().map(|segment| segment.sectors);
        let sum = each.fold(0u32, u32::saturating_add);
        (1..=MOST_SECTORS).contains(&sum).then_some(sum)
    }
}

/// How a medium is addressed and made, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumKind {
    /// SD card of standard capacity: at most 2 GiB, addressed by byte.
    Sdsc,
    /// SD card of high capacity: more than 2 GiB and at most 32 GiB, addressed by sector.
    Sdhc,
    /// SD card of extended capacity: more than 32 GiB, addressed by sector.
    Sdxc,
}

impl fmt::Display for MediumKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdsc => "SDSC",
            Self::Sdhc => "SDHC",
            Self::Sdxc => "SDXC",
        })
    }
}

/// The medium that is in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// What it is.
    pub kind: MediumKind,
    /// How many sectors it has.
    pub sectors: u64,
    /// It takes no writes.
    pub read_only: bool,
    /// Another number for each medium that is put in. What was granted on one means nothing on the next.
    pub generation: u32,
}

/// Why a request was not begun. Nothing was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Another request is under way, or its completion has not been taken, or the medium is being set up.
    Busy,
    /// There is no medium.
    Absent,
    /// Another medium is in the device.
    Changed,
    /// Segments are too many, too long, misaligned or empty.
    Malformed,
    /// Sectors beyond the medium's end.
    OutOfRange,
    /// The medium takes no writes.
    ReadOnly,
}

/// Why a request has failed. Of a read nothing can be said of the memory's contents; of a write each of its
/// sectors may have been written, or not, or be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The medium is gone, or another one is in its place.
    Removed,
    /// Nothing came, or nothing went on, in the time that the device's specification allows.
    TimedOut,
    /// What came was damaged on its way, each time.
    Damaged,
    /// The medium says that these sectors are protected.
    Protected,
    /// The medium says that there are no such sectors.
    OutOfRange,
    /// The medium says that it could not: its contents are damaged, or it is.
    Failed,
}

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Sectors that are certain to be read or written: all or none.
    pub sectors: u32,
    /// What went wrong.
    pub result: Result<(), BlockError>,
}

/// What became of requests since the device was taken over. Counts wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Sectors read.
    pub sectors_read: u64,
    /// Sectors written.
    pub sectors_written: u64,
    /// Requests that ended well.
    pub done: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Tries that were repeated.
    pub retries: u64,
    /// Times that a medium was set up.
    pub set_up: u64,
    /// Requests for which data was moved by the processor.
    pub by_processor: u64,
}

/// A device that stores blocks. One request at a time.
///
/// Nothing here waits. Whoever holds it calls [`BlockDevice::serve`] when the device interrupts, and at the time that
/// [`BlockDevice::next_look`] names. Times are in microseconds since some moment that stays the same.
pub trait BlockDevice {
    /// The medium, once it is set up.
    fn medium(&self) -> Option<Medium>;
    /// Looks for a medium where there is none; [`BlockDevice::medium`] tells when one was found. Does nothing while
    /// there is one, or while one is looked for.
    fn look_for_medium(&mut self, now: u64);
    /// Whether a medium is being looked for or set up.
    fn is_setting_up(&self) -> bool;
    /// Begins a request, to which the segments' memory is lent until its completion.
    ///
    /// # Errors
    /// [`StartError`], with which nothing was begun.
    fn start(&mut self, request: &Request<'_>, now: u64) -> Result<(), StartError>;
    /// Acknowledges the device's interrupt, and goes on with what is due.
    fn serve(&mut self, now: u64);
    /// When to call [`BlockDevice::serve`] again at the latest, without an interrupt.
    fn next_look(&self) -> Option<u64>;
    /// How the request has ended, once it has. Its memory is the requester's again.
    fn take_completion(&mut self) -> Option<Completion>;
    /// What became of requests.
    fn counters(&self) -> BlockCounters;
}

/// Memory that segments lie in: any page of RAM.
///
/// The driver touches what a request has lent it and nothing else, between the request's start and its completion.
pub trait SegmentMemory {
    /// Where devices see a segment, if all of it is in their reach: below 4 GiB. Where they do not, the processor
    /// moves the data.
    fn bus_address(&self, segment: &Segment) -> Option<u32>;
    /// Makes what the processor wrote to a segment visible to devices, and ends only when it is.
    fn clean(&mut self, segment: &Segment);
    /// Drops what the caches hold of a segment, and ends only when it is done. What the processor has written
    /// there and not cleaned may be lost or not.
    fn invalidate(&mut self, segment: &Segment);
    /// Reads the sector at a physical address, as words in the order and with the byte order of memory.
    fn load(&self, at: u64, words: &mut [u32; SECTOR / 4]);
    /// Writes the sector at a physical address.
    fn store(&mut self, at: u64, words: &[u32; SECTOR / 4]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sectors(segments: &[Segment]) -> Option<u32> {
        let request = Request {
            direction: Direction::Read,
            first: 0,
            segments,
            generation: 1,
        };
        request.sectors()
    }

    fn segment(at: u64, sectors: u32) -> Segment {
        Segment { at, sectors }
    }

    #[test]
    fn a_request_has_some_segments_and_not_too_many() {
        assert_eq!(sectors(&[]), None);
        assert_eq!(sectors(&[segment(0, 8)]), Some(8));
        assert_eq!(sectors(&[segment(0, 8); MOST_SEGMENTS]), Some(MOST_SECTORS));
        assert_eq!(sectors(&[segment(0, 1); MOST_SEGMENTS + 1]), None);
        assert_eq!(sectors(&[segment(0, MOST_SECTORS)]), Some(MOST_SECTORS));
        assert_eq!(sectors(&[segment(0, MOST_SECTORS + 1)]), None);
        assert_eq!(sectors(&[segment(0, u32::MAX); 2]), None);
    }

    #[test]
    fn a_segment_is_aligned_and_ends_somewhere() {
        assert_eq!(sectors(&[segment(0x1200, 1)]), Some(1));
        assert_eq!(sectors(&[segment(0x1201, 1)]), None);
        assert_eq!(sectors(&[segment(0x1000, 1), segment(0x2000, 0)]), None);
        assert_eq!(sectors(&[segment(u64::MAX - 511, 1)]), Some(1));
        assert_eq!(sectors(&[segment(u64::MAX - 511, 2)]), None);
    }
}
