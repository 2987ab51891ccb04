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
pub struct Slot<M: Machine>(Option<Region<M>>);

impl<M: Machine> Slot<M> {
    /// An empty place.
    pub const EMPTY: Self = Self(None);
}

impl<M: Machine> core::fmt::Debug for Slot<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.as_ref().map(Region::info).fmt(f)
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

    /// The region at a place, if it is taken.
    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> Option<&Region<M>> {
        self.slots.get(place)?.0.as_ref()
    }

    /// The same, to be changed; not its addresses.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Region<M>> {
        self.slots.get_mut(place)?.0.as_mut()
    }

    /// All, in the order of their addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Region<M>> {
        self.slots.iter().map_while(|slot| slot.0.as_ref())
    }

    /// The place of the first region that ends beyond `address`.
    fn first_beyond(&self, address: u64) -> usize {
        let taken = self.slots.get(..self.count).unwrap_or(&[]);
        taken.partition_point(|slot| slot.0.as_ref().is_some_and(|region| region.to <= address))
    }

    /// The place of the region that `address` is in, guard pages included.
    #[inline(always)]
    pub(crate) fn find(&mut self, address: u64) -> Option<usize> {
        let inside = |region: &Region<M>| address >= region.from && address < region.to;
        if self.get(self.last).is_some_and(inside) {
            return Some(self.last);
        }
        self.search(address)
    }

    /// The region that `address` is in, guard pages included, and its place.
    #[inline(always)]
    pub(crate) fn find_mut(&mut self, address: u64) -> Option<(usize, &mut Region<M>)> {
        let place = self.find(address)?;
        Some((place, self.slots.get_mut(place)?.0.as_mut()?))
    }

    /// The same without the short way.
    #[inline(never)]
    fn search(&mut self, address: u64) -> Option<usize> {
        let place = self.first_beyond(address);
        let found = self.get(place).is_some_and(|region| region.from <= address);
        found.then(|| {
            self.last = place;
            place
        })
    }

    /// The place of the region that begins with the page `start`.
    pub(crate) fn starting(&mut self, start: VirtAddr) -> Result<usize, Error> {
        let place = self.find(start.get()).ok_or(Error::NoRegion)?;
        match self.get(place) {
            Some(region) if region.start == start => Ok(place),
            _ => Err(Error::NoRegion),
        }
    }

    /// The region that all of these pages are in, and its place.
    pub(crate) fn covering(
        &mut self,
        at: VirtAddr,
        pages: u64,
    ) -> Result<(usize, &mut Region<M>), Error> {
        let place = self.find(at.get()).ok_or(Error::NoRegion)?;
        match self.get_mut(place) {
            Some(region) if region.covers(at, pages) => Ok((place, region)),
            _ => Err(Error::NoRegion),
        }
    }

    /// Whether some region has a part of `from..to`.
    pub(crate) fn overlaps(&self, from: u64, to: u64) -> bool {
        self.get(self.first_beyond(from))
            .is_some_and(|region| region.from < to)
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
        let mut place = self.first_beyond(from);
        let mut low = from;
        loop {
            let next = self.get(place);
            let high = next.map_or(to, |region| region.from.min(to));
            let start = low.checked_add(offset)?.checked_next_multiple_of(align)?;
            if start.checked_add(size)? <= high {
                return Some(start);
            }
            low = next?.to;
            if low >= to {
                return None;
            }
            place += 1;
        }
    }

    /// Adds a region.
    pub(crate) fn insert(&mut self, region: Region<M>) -> Result<(), Error> {
        if self.overlaps(region.from, region.to) {
            return Err(Error::Overlap);
        }
        let place = self.first_beyond(region.from);
        let moved = self.slots.get_mut(place..=self.count);
        let moved = moved.ok_or(Error::TooManyRegions)?;
        moved.rotate_right(1);
        if let Some(first) = moved.first_mut() {
            *first = Slot(Some(region));
        }
        self.count += 1;
        Ok(())
    }

    /// Takes the region at a place out.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Region<M>> {
        let moved = self.slots.get_mut(place..self.count)?;
        let region = moved.first_mut()?.0.take();
        moved.rotate_left(1);
        self.count -= 1;
        region
    }
}
