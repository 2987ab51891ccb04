//! Doing with less: which pages go first when somebody needs them back, or when there are no more to be had.
//!
//! ```text
//!   notice 31 --> giver::answer(Answering) --> AddressSpace::shrink --.
//!                                                                     v
//!   a touch for which there is no page ------> AddressSpace::shrink --> Policy::cost   which page is next
//!                                                                      Policy::save   what becomes of its contents
//! ```
//!
//! What a page is worth, only the program can tell: a [`Policy`] says it, and [`Cheapest`] is what everybody can
//! say. A program that has some medium to save pages on gives the address space another one. So it goes on within
//! whatever it is left, with more faults.

use exopi_rt::giver::Giver;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::revocation::RevocationRecord;
use exopi_rt::tables::Entry;
use exopi_rt::{Access, Note, PageNumber, VirtAddr};

use crate::bare::Bare;
use crate::error::Error;
use crate::machine::{self, Machine};
use crate::protect::{HIDDEN, to_next};
use crate::region::RegionInfo;
use crate::space::{AddressSpace, mapping};

/// Pages that one look at all of them finds: those that cost least.
const BATCH: usize = 32;
/// Pages that go at once when there is none for a touch.
pub(crate) const AT_ONCE: u32 = 8;

/// A page that could go.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Where it is mapped, and nowhere else.
    pub at: VirtAddr,
    /// Which one.
    pub page: PageNumber,
    /// The region that it is in.
    pub region: RegionInfo,
    /// Whether the program may write it.
    pub writable: bool,
    /// Whether its region has a pager, which answers when it is missing.
    pub paged: bool,
    /// Whether it holds nothing but zeros, and would do so again at the next touch.
    pub zeros: bool,
}

/// Which pages go first, and what becomes of what they hold.
///
/// # Safety
/// A page for which [`Policy::cost`] gives something and [`Policy::save`] gives no error is taken away. What the program
/// reads there later is what its region brings: zeros, or what its pager makes of the note. That must be what the
/// program can go on with.
#[expect(unsafe_code, reason = "memory disappears")]
pub unsafe trait Policy<M: Machine = Bare>: Send {
    /// What it costs to do without a page: the least goes first, and 0 is nothing. `None`: it stays.
    fn cost(&mut self, page: &Candidate) -> Option<u32>;

    /// A page goes. `read` gives its bytes. Returns the note that its region's pager is to find in its place, not 0 and
    /// less than 2^62; without one the place is as before the first touch.
    ///
    /// # Errors
    /// It stays.
    fn save(
        &mut self,
        page: &Candidate,
        read: &dyn Fn(usize) -> u8,
    ) -> Result<Option<Note>, Error> {
        let _ = (page, read);
        Ok(None)
    }
}

/// What costs nothing but a fault: pages of zeros, then pages that the program may not write and that a pager has made,
/// which makes them again. All else stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cheapest;

#[expect(unsafe_code, reason = "says that nothing is lost")]
// SAFETY: what the next touch brings is what was there.
unsafe impl<M: Machine> Policy<M> for Cheapest {
    fn cost(&mut self, page: &Candidate) -> Option<u32> {
        if page.zeros {
            Some(0)
        } else if page.paged && !page.writable {
            Some(1)
        } else {
            None
        }
    }
}

/// The cheapest pages of one look, in order.
struct Batch {
    found: [(u32, VirtAddr); BATCH],
    count: usize,
}

impl Batch {
    fn put(&mut self, cost: u32, at: VirtAddr) {
        let held = self.found.get(..self.count).unwrap_or(&[]);
        let place = held.partition_point(|(other, _)| *other <= cost);
        if place >= BATCH {
            return;
        }
        self.count = (self.count + 1).min(BATCH);
        if let Some(behind) = self.found.get_mut(place..self.count) {
            behind.rotate_right(1);
            if let Some(first) = behind.first_mut() {
                *first = (cost, at);
            }
        }
    }
}

impl Batch {
    /// Whether so many of the cheapest cost nothing: no others are cheaper.
    fn has_free(&self, enough: usize) -> bool {
        let last = enough.checked_sub(1).filter(|last| *last < self.count);
        last.and_then(|last| self.found.get(last))
            .is_some_and(|(cost, _)| *cost == 0)
    }
}

impl<M: Machine> AddressSpace<M> {
    /// From now on `policy` says which pages go when there is none for a touch; returns who said so before. Without
    /// one such a touch is the pager's affair, or the program's end.
    pub fn set_policy(
        &mut self,
        policy: Option<&'static mut dyn Policy<M>>,
    ) -> Option<&'static mut dyn Policy<M>> {
        core::mem::replace(&mut self.policy, policy)
    }

    /// Gives up to `count` pages back to the kernel: those that the supply keeps, then those of regions that cost least
    /// as `policy` has it. Returns how many.
    pub fn shrink(&mut self, policy: &mut dyn Policy<M>, count: u32) -> u32 {
        self.shrink_where(policy, count, &|_| true)
    }

    /// The same with pages alone that are `wanted`.
    fn shrink_where(
        &mut self,
        policy: &mut dyn Policy<M>,
        count: u32,
        wanted: &dyn Fn(PageNumber) -> bool,
    ) -> u32 {
        let mut gone = 0;
        while gone < count
            && let Some(page) = self.supply.as_mut().and_then(|supply| supply.drain())
        {
            self.free_run(page, 1);
            gone += 1;
        }
        while gone < count {
            let batch = self.cheapest(policy, (count - gone) as usize, wanted);
            let before = gone;
            for (_, at) in batch.found.iter().take(batch.count) {
                if gone < count && self.give_up(policy, *at) {
                    gone += 1;
                }
            }
            if gone == before {
                break;
            }
        }
        gone
    }

    /// With the space's own policy, if it has one: whether a page has come of it.
    #[cold]
    pub(crate) fn make_room(&mut self) -> bool {
        let Some(policy) = self.policy.take() else {
            return false;
        };
        let gone = self.shrink(policy, AT_ONCE);
        self.policy = Some(policy);
        gone != 0
    }

    /// Looks at every page of every region, until there are `enough` that cost nothing.
    fn cheapest(
        &mut self,
        policy: &mut dyn Policy<M>,
        enough: usize,
        wanted: &dyn Fn(PageNumber) -> bool,
    ) -> Batch {
        let mut batch = Batch {
            found: [(0, self.layout.scratch); BATCH],
            count: 0,
        };
        let mut place = 0;
        while let Some(region) = self.regions.get(place) {
            let (start, pages) = (region.start, region.pages);
            let mut page = 0;
            while page < pages
                && let Some(at) = start.plus(page)
            {
                page += match self.machine.entry(at) {
                    Entry::NoTable(level) => to_next(at, level),
                    _ => 1,
                };
                let cost = self
                    .candidate(place, at)
                    .filter(|candidate| wanted(candidate.page))
                    .and_then(|candidate| policy.cost(&candidate));
                if let Some(cost) = cost {
                    batch.put(cost, at);
                }
                if batch.has_free(enough.min(BATCH)) {
                    return batch;
                }
            }
            place += 1;
        }
        batch
    }

    /// The page at `at` in the region in `place`, if it is the space's own and mapped there alone.
    fn candidate(&self, place: usize, at: VirtAddr) -> Option<Candidate> {
        let region = self.regions.get(place)?;
        let mapped = mapping(self.machine.entry(at))?;
        if mapped.superpage || !self.is_sole(mapped) {
            return None;
        }
        let begins_as_zeros = region.zeroed && !region.paged;
        Some(Candidate {
            at,
            page: mapped.page,
            region: region.info(),
            writable: self.allowed(place, at).contains(Access::WRITE),
            paged: region.paged,
            zeros: begins_as_zeros && self.machine.is_zero(at),
        })
    }

    /// Gives up the page at `at`. Whether it is gone.
    fn give_up(&mut self, policy: &mut dyn Policy<M>, at: VirtAddr) -> bool {
        let Ok((place, _)) = self.regions.covering(at, 1) else {
            return false;
        };
        // Nobody writes it from here on: others of this space wait for it in their handler of faults.
        let was = self.candidate(place, at).map(|page| page.writable);
        let _ = self.machine.protect_pte(at, 1, Access::READ);
        let gone = self.save_and_remove(policy, place, at);
        if gone.is_err() && was.is_some() {
            let _ = self.restrict(at, self.allowed(place, at));
        }
        gone.is_ok()
    }

    fn save_and_remove(
        &mut self,
        policy: &mut dyn Policy<M>,
        place: usize,
        at: VirtAddr,
    ) -> Result<(), Error> {
        let page = self.candidate(place, at).ok_or(Error::Unsuitable)?;
        policy.cost(&page).ok_or(Error::Unsuitable)?;
        let machine = &self.machine;
        let read = |offset: usize| {
            let inside = offset as u64 % PAGE_SIZE;
            machine.byte(at.get() + inside)
        };
        match policy.save(&page, &read)? {
            Some(note) if note.get() == 0 || note.get() >= HIDDEN => return Err(Error::BadRange),
            Some(note) => self.batch([machine::remove(at, 1), machine::note(at, note)])?,
            None => self.unmap_run(at, 1)?,
        }
        self.free_run(page.page, 1);
        Ok(())
    }
}

/// Answers requests with pages of an address space: hand it to [`exopi_rt::giver::answer`], alone or among others.
pub struct Answering<'s, M: Machine = Bare> {
    /// Whose pages.
    pub space: &'s mut AddressSpace<M>,
    /// In which order.
    pub policy: &'s mut dyn Policy<M>,
}

impl<M: Machine> core::fmt::Debug for Answering<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Answering").field(&self.space).finish()
    }
}

impl<M: Machine> Giver for Answering<'_, M> {
    fn give(&mut self, asked: &RevocationRecord, missing: u32) -> u32 {
        let named = |page: PageNumber| asked.names(page);
        match asked.named {
            0 => self.space.shrink(self.policy, missing),
            count => self
                .space
                .shrink_where(self.policy, missing.max(count.into()), &named),
        }
    }
}
