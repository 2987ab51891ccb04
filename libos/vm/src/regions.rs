//! The table of regions: sorted by address, in memory that whoever makes it provides.
//!
//! A sorted array rather than a tree: it is searched at each fault and changed seldom, binary search touches
//! few lines of it, and it needs no memory of its own beyond the places. Its size is fixed when it is made,
//! so that no fault ever waits for it to grow. The place of the last region that was found is looked at
//! first: faults come in runs.

use exopi_rt::VirtAddr;

use crate::error::Error;
use crate::machine::Machine;
use crate::region::Region;

/// A place for a region.
pub struct Slot<M: Machine>(Region<M>);

impl<M: Machine> Slot<M> {
    /// An empty place.
    pub const EMPTY: Self = Self(Region::NONE);
}

impl<M: Machine> core::fmt::Debug for Slot<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.info().fmt(f)
    }
}

/// Regions that do not overlap, by address.
pub(crate) struct Regions<M: Machine> {
    /// The first `count` are taken, sorted; the others are empty.
    slots: &'static mut [Slot<M>],
    count: usize,
    /// Where the last region was found.
    last: usize,
}

impl<M: Machine> Regions<M> {
    /// An empty table in these places.
    pub(crate) fn new(slots: &'static mut [Slot<M>]) -> Self {
        slots.fill_with(|| Slot::EMPTY);
        Self {
            slots,
            count: 0,
            last: 0,
        }
    }

    /// The region at a place, if there is such a place.
    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> Option<&Region<M>> {
        Some(&self.slots.get(place)?.0)
    }

    /// The same, to be changed; not its addresses.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Region<M>> {
        Some(&mut self.slots.get_mut(place)?.0)
    }

    /// All, in the order of their addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Region<M>> {
        self.slots.iter().take(self.count).map(|slot| &slot.0)
    }

    /// The place of the first region that ends beyond `address`.
    fn first_beyond(&self, address: u64) -> usize {
        let taken = self.slots.get(..self.count).unwrap_or(&[]);
        taken.partition_point(|slot| slot.0.to() <= address)
    }

    /// The place of the region that `address` is in, guard pages included.
    #[inline(always)]
    pub(crate) fn find(&mut self, address: u64) -> Option<usize> {
        Some(self.find_mut(address)?.0)
    }

    /// The region that `address` is in, guard pages included, and its place.
    #[inline(always)]
    pub(crate) fn find_mut(&mut self, address: u64) -> Option<(usize, &mut Region<M>)> {
        let mut place = self.last;
        if !self.get(place)?.contains(address) {
            place = self.search(address)?;
        }
        Some((place, self.get_mut(place)?))
    }

    /// The place of the region that `address` is in, found by halving.
    #[cold]
    #[inline(never)]
    fn search(&mut self, address: u64) -> Option<usize> {
        let place = self.first_beyond(address);
        let found = self.get(place)?.contains(address);
        found.then(|| {
            self.last = place;
            place
        })
    }

    /// The place of the region that begins with the page `start`.
    pub(crate) fn starting(&mut self, start: VirtAddr) -> Result<usize, Error> {
        match self.find_mut(start.get()) {
            Some((place, region)) if region.start == start => Ok(place),
            _ => Err(Error::NoRegion),
        }
    }

    /// The region that all of these pages are in, and its place.
    pub(crate) fn covering(
        &mut self,
        at: VirtAddr,
        pages: u64,
    ) -> Result<(usize, &mut Region<M>), Error> {
        match self.find_mut(at.get()) {
            Some((place, region)) if region.covers(at, pages) => Ok((place, region)),
            _ => Err(Error::NoRegion),
        }
    }

    /// Whether some region has a part of `from..to`.
    pub(crate) fn overlaps(&self, from: u64, to: u64) -> bool {
        let mut taken = self.iter().skip(self.first_beyond(from));
        taken.next().is_some_and(|region| region.from < to)
    }

    /// The lowest multiple of `align` (a power of two) between `from` and `to` from which on `size` bytes are in
    /// no region, `offset` bytes before it included.
    pub(crate) fn gap(
        &self,
        from: u64,
        to: u64,
        (offset, size): (u64, u64),
        align: u64,
    ) -> Option<u64> {
        let mut taken = self.iter().skip(self.first_beyond(from));
        let mut low = from;
        while low < to {
            let next = taken.next();
            let high = next.map_or(to, |region| region.from.min(to));
            let start = low.checked_add(offset)?.checked_next_multiple_of(align)?;
            if start.checked_add(size)? <= high {
                return Some(start);
            }
            low = next?.to();
        }
        None
    }

    /// Adds a region.
    pub(crate) fn insert(&mut self, region: Region<M>) -> Result<(), Error> {
        if self.overlaps(region.from, region.to()) {
            return Err(Error::Overlap);
        }
        let place = self.first_beyond(region.from);
        let moved = self.slots.get_mut(place..=self.count);
        let moved = moved.ok_or(Error::TooManyRegions)?;
        moved.rotate_right(1);
        if let Some(first) = moved.first_mut() {
            *first = Slot(region);
        }
        self.count += 1;
        Ok(())
    }

    /// Takes the region at a place out.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Region<M>> {
        let moved = self.slots.get_mut(place..self.count)?;
        let region = core::mem::replace(moved.first_mut()?, Slot::EMPTY);
        moved.rotate_left(1);
        self.count -= 1;
        Some(region.0)
    }
}
