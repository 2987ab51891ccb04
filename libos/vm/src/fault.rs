//! From a fault to what is done about it.
//!
//! ```text
//!   region?      none                                      --> passed on
//!   guard page, or an access that the program does not allow --> Pager::refused    default: passed on
//!   nothing is mapped there                                --> Pager::missing     default: zeros
//!   the mapping allows less than the program               --> Pager::shared      default: take or copy
//!   no page for one of the last two                        --> Pager::exhausted   default: passed on
//! ```

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::uarea::Frame;
use exopi_rt::{Access, Error as Refusal, Note, VirtAddr};

use crate::bare::Bare;
use crate::error::Error;
use crate::machine::{Machine, PageBytes};
use crate::pager::Pager;
use crate::protect::allowed_in;
use crate::space::AddressSpace;
use exopi_rt::tables::Entry;

/// What becomes of the code that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// It tries again.
    Resume,
    /// It goes on behind the instruction.
    StepOver,
    /// This fault is for somebody else to handle.
    PassOn,
}

/// Why an access could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program does not allow it.
    Refused,
    /// The program allows it, and no page is there.
    Missing,
    /// The program allows it, and the mapping does not.
    Shared,
}

/// What the processor says of an access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    /// What it wanted.
    wanted: Access,
    /// Whether something is mapped there.
    mapped: bool,
}

impl Attempt {
    /// From a syndrome (ARM DDI 0487, ESR_EL1): an abort from EL0 by a mapping, or nothing for this library.
    #[inline(always)]
    const fn decode(esr: u64) -> Option<Self> {
        const INSTRUCTION_ABORT: u64 = 0x20 << 26;
        const DATA_ABORT: u64 = 0x24 << 26;
        const CLASS: u64 = 0x3f << 26;
        /// "Write, not read" of a data abort.
        const WRITE: u64 = 1 << 6;
        /// Set for cache maintenance, which counts as a write and needs no right to write.
        const MAINTENANCE: u64 = 1 << 8;
        /// The status code without the level: 0001 is a translation fault, 0011 a permission fault.
        const STATUS: u64 = 0b1111 << 2;
        const TRANSLATION: u64 = 0b0001 << 2;
        const PERMISSION: u64 = 0b0010 << 2;
        // One comparison for the usual case, loads and stores.
        let usual = DATA_ABORT | TRANSLATION;
        let wanted = if esr & (CLASS | MAINTENANCE | STATUS & !PERMISSION) == usual {
            if esr & WRITE == 0 {
                Access::READ
            } else {
                Access::WRITE
            }
        } else if esr & (STATUS & !PERMISSION) != TRANSLATION {
            return None;
        } else {
            match esr & CLASS {
                DATA_ABORT => Access::READ,
                INSTRUCTION_ABORT => Access::EXECUTE,
                _ => return None,
            }
        };
        let mapped = esr & PERMISSION != 0;
        Some(Self { wanted, mapped })
    }
}

/// A fault on a region, as its pager sees it.
pub struct Fault<'a, M: Machine = Bare> {
    /// The interrupted state. Who changes it answers for what the program makes of that.
    pub frame: &'a mut Frame,
    space: &'a mut AddressSpace<M>,
    address: u64,
    at: VirtAddr,
    region: VirtAddr,
    wanted: Access,
    kind: Kind,
}

impl<M: Machine> Fault<'_, M> {
    /// The address.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// The page that it is in.
    pub const fn page(&self) -> VirtAddr {
        self.at
    }

    /// The first page of the region that it is in.
    pub const fn region(&self) -> VirtAddr {
        self.region
    }

    /// How far the address is from the region's first; negative in a guard page before it.
    pub const fn offset(&self) -> i64 {
        self.address.wrapping_sub(self.region.get()) as i64
    }

    /// What the access wanted: one of read, write, execute.
    pub const fn wanted(&self) -> Access {
        self.wanted
    }

    /// Why it failed.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The address space, for anything that can be done with it.
    pub const fn space(&mut self) -> &mut AddressSpace<M> {
        self.space
    }

    /// Which place the region has now.
    #[inline(always)]
    fn place(&mut self) -> Result<usize, Error> {
        Ok(self.space.regions.covering(self.at, 1)?.0)
    }

    /// What [`AddressSpace::evict`] has left where the page was.
    pub fn note(&self) -> Option<u64> {
        match self.space.machine.entry(self.at) {
            Entry::Note(note) if note != Note::default() => Some(note.get()),
            _ => None,
        }
    }

    /// Maps a page of zeros: what happens to a missing page by default.
    ///
    /// # Errors
    /// No page.
    #[inline(always)]
    pub fn zero_fill(&mut self) -> Result<(), Error> {
        let place = self.place()?;
        self.space.zero_fill(place, self.at)
    }

    /// Maps a page whose contents `fill` writes; they are anything before. Nobody sees the page earlier.
    ///
    /// # Errors
    /// No page, or that of `fill`.
    pub fn fill(
        &mut self,
        fill: impl FnOnce(&mut PageBytes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let place = self.place()?;
        self.space
            .fill_aside(place, self.at, |machine, at| fill(machine.page_mut(at)))
    }

    /// Makes a page that is mapped the region's alone: what happens to a shared page by default.
    ///
    /// # Errors
    /// No page.
    #[inline(always)]
    pub fn unshare(&mut self) -> Result<(), Error> {
        let place = self.place()?;
        self.space.unshare(place, self.at)
    }

    /// From now on the program may use the page for `access`.
    ///
    /// # Errors
    /// Those of [`AddressSpace::protect`].
    #[inline(always)]
    pub fn protect(&mut self, access: Access) -> Result<(), Error> {
        self.space.protect(self.at, 1, access)
    }
}

impl<M: Machine> Fault<'_, M> {
    /// Asks a pager for an access that the program allows.
    #[inline(never)]
    fn ask(&mut self, pager: &mut dyn Pager<M>) -> Verdict {
        let outcome = match self.kind {
            Kind::Missing => pager.missing(self),
            _ => pager.shared(self),
        };
        match outcome {
            Ok(verdict) => verdict,
            Err(error) if is_settled(error) => Verdict::Resume,
            Err(error) => pager.exhausted(self, error),
        }
    }
}

impl<M: Machine> core::fmt::Debug for Fault<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fault")
            .field("address", &self.address)
            .field("wanted", &self.wanted)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> AddressSpace<M> {
    /// Handles a fault: finds its region and does what that wants. [`Verdict::StepOver`] has been carried out
    /// in the frame when it is returned.
    #[inline]
    pub fn fault(&mut self, frame: &mut Frame) -> Verdict {
        let Some(Attempt { wanted, mapped }) = Attempt::decode(frame.esr) else {
            return Verdict::PassOn;
        };
        let address = frame.far;
        let Some((place, region)) = self.regions.find_mut(address) else {
            return Verdict::PassOn;
        };
        let Some(at) = VirtAddr::new(address & !(PAGE_SIZE - 1)) else {
            return Verdict::PassOn;
        };
        let start = region.start;
        let allows = || allowed_in(region, &self.machine, &self.layout, at).contains(wanted);
        let kind = if !region.covers(at, 1) || !allows() {
            Kind::Refused
        } else if mapped {
            Kind::Shared
        } else {
            Kind::Missing
        };
        let pager = region.pager.take();
        let Some(pager) = pager else {
            return self.by_default(place, at, kind);
        };
        let mut fault = Fault {
            frame,
            space: self,
            address,
            at,
            region: start,
            wanted,
            kind,
        };
        let verdict = match kind {
            Kind::Refused => pager.refused(&mut fault),
            Kind::Missing | Kind::Shared => fault.ask(pager),
        };
        if verdict == Verdict::StepOver {
            fault.frame.pc = fault.frame.pc.wrapping_add(4);
        }
        self.put_back(place, start, pager);
        verdict
    }

    /// Gives a pager back to the region that began at `start` and was in `place`. The pager itself may have moved
    /// that in the table, given it another pager, or ended it.
    #[inline(always)]
    fn put_back(&mut self, place: usize, start: VirtAddr, pager: &'static mut dyn Pager<M>) {
        let mut region = self.regions.get_mut(place);
        if region.as_ref().is_none_or(|region| region.start != start) {
            region = self
                .regions
                .starting(start)
                .ok()
                .and_then(|place| self.regions.get_mut(place));
        }
        if let Some(region) = region
            && region.pager.is_none()
        {
            region.pager = Some(pager);
        }
    }

    /// What a region without a pager does.
    #[inline(never)]
    fn by_default(&mut self, place: usize, at: VirtAddr, kind: Kind) -> Verdict {
        let done = match kind {
            Kind::Refused => return Verdict::PassOn,
            Kind::Missing => self.zero_fill(place, at),
            Kind::Shared => self.unshare(place, at),
        };
        match done {
            Ok(()) => Verdict::Resume,
            Err(error) if is_settled(error) => Verdict::Resume,
            Err(_) => Verdict::PassOn,
        }
    }
}

/// Whether it means that another environment of the space has done it meanwhile.
const fn is_settled(error: Error) -> bool {
    matches!(error, Error::Refused(Refusal::Occupied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syndromes_as_processors_give_them() {
        let decoded = |esr| Attempt::decode(esr).map(|access| (access.wanted, access.mapped));
        for (esr, expected) in [
            (0x9200_0007, Some((Access::READ, false))),
            (0x9200_0045, Some((Access::WRITE, false))),
            (0x9200_004f, Some((Access::WRITE, true))),
            (0x9200_014f, Some((Access::READ, true))),
            (0x8200_000f, Some((Access::EXECUTE, true))),
            (0x8200_0006, Some((Access::EXECUTE, false))),
            // Alignment, access flag, undefined instruction, svc.
            (0x9200_0021, None),
            (0x9200_000b, None),
            (0x0200_0000, None),
            (0x5600_0000, None),
        ] {
            assert_eq!(decoded(esr), expected, "{esr:#x}");
        }
    }
}
