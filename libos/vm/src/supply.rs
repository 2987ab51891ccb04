//! Which frames are taken, and what becomes of those that come back.
//!
//! Without a supply of the program's own the kernel chooses, by the colours of the region. A program that
//! knows better gives the address space another [`Supply`].

use exopi_rt::{PageNumber, PageSelect, PageSource, VirtAddr};

use crate::colours::Colours;

/// A page to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Whichever the kernel finds, taken by the call that maps it.
    New(PageSelect),
    /// This one, which is the program's already, nothing refers to it, and the supply knows no more of it.
    Owned {
        /// The page.
        page: PageNumber,
        /// Whether it holds nothing but zeros.
        zeros: bool,
    },
}

impl Choice {
    /// As the call wants it.
    #[inline(always)]
    pub(crate) const fn source(self) -> PageSource<'static> {
        match self {
            Self::New(select) => PageSource::New(select),
            Self::Owned { page, .. } => PageSource::owned(page),
        }
    }

    /// Whether it may hold something else than zeros.
    ///
    /// A page that the kernel finds may: it is zeroed only if it last was somebody else's.
    #[inline(always)]
    pub(crate) const fn is_dirty(self) -> bool {
        !matches!(self, Self::Owned { zeros: true, .. })
    }
}

/// A policy for frames. It is asked while a fault is handled: what it uses must be mapped.
pub trait Supply: Send {
    /// The page for `at`, in a region of these colours on a machine with `machine` of them. After `refusals`
    /// times that there was no such page: the next best. `None` means that there is none at all.
    fn choose(
        &mut self,
        at: VirtAddr,
        colours: Colours,
        machine: u32,
        refusals: u32,
    ) -> Option<Choice>;

    /// A page that no region has any more, and to which nothing refers. Returns it if the supply does not
    /// want it, to be given back to the kernel.
    fn accept(&mut self, page: PageNumber) -> Option<PageNumber>;

    /// A page out of the supply's keeping, to be given back to the kernel.
    fn drain(&mut self) -> Option<PageNumber>;
}

/// Keeps up to `N` pages that come back and uses them first: no call to give back, none to allocate, and
/// nothing zeroed in a region that does not ask for zeros.
#[derive(Clone, Copy, Debug)]
pub struct Pool<const N: usize> {
    pages: [PageNumber; N],
    count: usize,
}

impl<const N: usize> Pool<N> {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            pages: [PageNumber::new(0); N],
            count: 0,
        }
    }

    /// Pages in it.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Takes the page at a place out.
    fn take(&mut self, place: usize) -> Option<PageNumber> {
        let page = *self.pages.get(..self.count)?.get(place)?;
        self.count -= 1;
        let last = *self.pages.get(self.count)?;
        *self.pages.get_mut(place)? = last;
        Some(page)
    }
}

impl<const N: usize> Default for Pool<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Supply for Pool<N> {
    fn choose(
        &mut self,
        at: VirtAddr,
        colours: Colours,
        machine: u32,
        refusals: u32,
    ) -> Option<Choice> {
        let select = colours.select(at, machine, refusals);
        let kept = self.pages.get(..self.count).unwrap_or(&[]);
        let place = match select {
            // The last one that came: its lines may still be in the cache.
            Some(PageSelect::Any) => kept.len().checked_sub(1),
            Some(PageSelect::Colour(colour)) => kept
                .iter()
                .position(|page| page.get() % machine.max(1) == u32::from(colour)),
            // Nothing of these colours is to be had any more: better another page than none.
            _ => kept.len().checked_sub(1),
        };
        match place.and_then(|place| self.take(place)) {
            Some(page) => Some(Choice::Owned { page, zeros: false }),
            None => select.map(Choice::New),
        }
    }

    fn accept(&mut self, page: PageNumber) -> Option<PageNumber> {
        match self.pages.get_mut(self.count) {
            Some(place) => {
                *place = page;
                self.count += 1;
                None
            }
            None => Some(page),
        }
    }

    fn drain(&mut self) -> Option<PageNumber> {
        self.take(self.count.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: VirtAddr = VirtAddr::new(0x50_0000_0000).unwrap();

    #[test]
    fn a_pool_keeps_what_it_has_room_for() {
        let mut pool = Pool::<2>::new();
        let [a, b, c] = [1, 2, 3].map(PageNumber::new);
        assert_eq!(pool.accept(a), None);
        assert_eq!(pool.accept(b), None);
        assert_eq!(pool.accept(c), Some(c));
        assert_eq!(pool.count(), 2);
        let owned = |page| Some(Choice::Owned { page, zeros: false });
        assert_eq!(pool.choose(AT, Colours::ALL, 16, 0), owned(b));
        assert_eq!(pool.drain(), Some(a));
        assert_eq!(pool.drain(), None);
        let any = Some(Choice::New(PageSelect::Any));
        assert_eq!(pool.choose(AT, Colours::ALL, 16, 0), any);
        assert_eq!(pool.choose(AT, Colours::ALL, 16, 1), None);
    }

    #[test]
    fn a_pool_looks_for_the_colour() {
        let mut pool = Pool::<4>::new();
        for page in [16, 33, 50] {
            assert_eq!(pool.accept(PageNumber::new(page)), None);
        }
        let page = PageNumber::new(33);
        let set = Colours::of([1]);
        let found = pool.choose(AT, set, 16, 0);
        assert_eq!(found, Some(Choice::Owned { page, zeros: false }));
        let select = PageSelect::Colour(1);
        assert_eq!(pool.choose(AT, set, 16, 0), Some(Choice::New(select)));
        // Colour 1 is used up: any page will do.
        assert!(matches!(
            pool.choose(AT, set, 16, 1),
            Some(Choice::Owned { .. })
        ));
        assert_eq!(pool.count(), 1);
    }
}
