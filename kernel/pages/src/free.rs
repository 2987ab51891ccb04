//! The free lists: one for each colour, linked both ways, so that any frame leaves its list in constant time.
//!
//! ```text
//!   colour 0   head --> record --first--> record --first--> ... record <-- tail
//!                       NONE <--second--  record <--second-- ...
//!   colour 1   head --> ...
//!   filled     bit c: the list of colour c is not empty
//! ```
//!
//! Freed frames go to the head, where their contents are likeliest to be in a cache; boot's go to the
//! tail, so that the lowest come first. The colour of a frame is its number modulo the number of colours.

use exopi_abi::page::{FrameType, MAX_COLOURS, NONE, PageRecord};
use exopi_abi::{Error, PageNumber, PageSelect, Progress};

use crate::Pages;

/// The frames of one colour that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

/// All lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeLists {
    pub(crate) lists: [List; MAX_COLOURS],
    /// The colours that are not empty, a bit for each.
    pub(crate) filled: u32,
    /// Number of colours - 1.
    pub(crate) mask: u32,
    /// The colour that "any" looks at first.
    pub(crate) turn: u32,
    /// Frames on all lists.
    pub(crate) count: u32,
}

// A rotation of `filled` takes every colour.
const _: () = assert!(MAX_COLOURS == u32::BITS as usize);

impl FreeLists {
    /// Empty ones of this many colours: a power of two up to [`MAX_COLOURS`]; anything else counts as 1.
    pub(crate) const fn new(colours: u8) -> Self {
        let valid = colours.is_power_of_two() && colours as usize <= MAX_COLOURS;
        let empty = List {
            head: NONE,
            tail: NONE,
        };
        Self {
            lists: [empty; MAX_COLOURS],
            filled: 0,
            mask: if valid { colours as u32 - 1 } else { 0 },
            turn: 0,
            count: 0,
        }
    }

    /// The colour of a frame.
    #[inline(always)]
    pub(crate) const fn colour(&self, page: PageNumber) -> u32 {
        page.get() & self.mask
    }

    #[inline(always)]
    const fn list(&mut self, colour: u32) -> &mut List {
        &mut self.lists[colour as usize % MAX_COLOURS]
    }

    #[inline(always)]
    const fn head(&self, colour: u32) -> u32 {
        self.lists[colour as usize % MAX_COLOURS].head
    }

    /// The frame that `which` selects, after `before` others of the same call; whether an exact one is free
    /// remains to be seen.
    ///
    /// "Any" goes round the colours that have something, starting with the one after the last that it took.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a number or colour that does not exist, [`Error::Exhausted`].
    #[inline(always)]
    pub(crate) fn select(&self, which: PageSelect, before: u64) -> Result<PageNumber, Error> {
        let colour = match which {
            PageSelect::Exact(first) => return first.plus(before).ok_or(Error::OutOfRange),
            PageSelect::Any => {
                let ahead = self.filled.rotate_right(self.turn).trailing_zeros();
                (self.turn + ahead) % MAX_COLOURS as u32
            }
            PageSelect::Colour(colour) if u32::from(colour) > self.mask => {
                return Err(Error::OutOfRange);
            }
            PageSelect::Colour(colour) => u32::from(colour),
        };
        match self.head(colour) {
            NONE => Err(Error::Exhausted),
            head => Ok(PageNumber::new(head)),
        }
    }
}

impl Pages<'_> {
    /// Hands RAM that boot has no use for to the free lists, behind what is there: `count` frames from
    /// `first` on, in ascending order. Their contents count as used by nobody.
    ///
    /// Stops at the first frame that is not the kernel's ([`Error::Taken`]) or that does not exist
    /// ([`Error::OutOfRange`]). Has no bound: for boot alone.
    pub fn add_free(&mut self, first: PageNumber, count: u64) -> Progress {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let run = self.records.get_mut(first.index()..).unwrap_or_default();
        let end = wanted.min(run.len());
        let run = run.get_mut(..end).unwrap_or_default();
        let done = leading_kernel(run);
        let colours = self.free.mask + 1;
        link_run(
            run.get_mut(..done).unwrap_or_default(),
            first.get(),
            colours,
        );
        // The first and the last of each colour have neighbours outside the run.
        for offset in 0..colours.min(done as u32) {
            let begin = first.get() + offset;
            let last = begin + (done as u32 - 1 - offset) / colours * colours;
            self.append(PageNumber::new(begin), PageNumber::new(last));
        }
        self.free.count += done as u32;
        let stopped = match (done < end, end < wanted) {
            (true, _) => Some(Error::Taken),
            (false, true) => Some(Error::OutOfRange),
            (false, false) => None,
        };
        Progress {
            done: done as u64,
            stopped,
        }
    }

    /// Puts a chain of free frames of one colour behind the list of that colour.
    fn append(&mut self, first: PageNumber, last: PageNumber) {
        let colour = self.free.colour(first);
        let tail = self.free.list(colour).tail;
        self.update(first, |record| record.second = tail);
        self.update(last, |record| record.first = NONE);
        self.follow(colour, tail, first.get());
        self.free.list(colour).tail = last.get();
        self.free.filled |= 1 << colour;
    }

    /// Puts a frame whose record says that it is free at the head of its list.
    #[inline(always)]
    pub(crate) fn push_free(&mut self, page: PageNumber) {
        let colour = self.free.colour(page);
        let head = self.free.head(colour);
        self.update(page, |record| {
            record.first = head;
            record.second = NONE;
        });
        self.precede(colour, head, page.get());
        self.free.list(colour).head = page.get();
        self.free.filled |= 1 << colour;
        self.free.count += 1;
    }

    /// Takes a free frame, whose record had these neighbours, off its list.
    #[inline(always)]
    pub(crate) fn take_free(&mut self, page: PageNumber, next: u32, previous: u32) {
        let colour = self.free.colour(page);
        self.follow(colour, previous, next);
        self.precede(colour, next, previous);
        if self.free.head(colour) == NONE {
            self.free.filled &= !(1 << colour);
        }
        self.free.count -= 1;
    }

    /// Makes `next` the one after `place` on a list, or its head if there is no `place`.
    #[inline(always)]
    fn follow(&mut self, colour: u32, place: u32, next: u32) {
        if place == NONE {
            self.free.list(colour).head = next;
        } else {
            self.update(PageNumber::new(place), |record| record.first = next);
        }
    }

    /// Makes `previous` the one before `place` on a list, or its tail if there is no `place`.
    #[inline(always)]
    fn precede(&mut self, colour: u32, place: u32, previous: u32) {
        if place == NONE {
            self.free.list(colour).tail = previous;
        } else {
            self.update(PageNumber::new(place), |record| record.second = previous);
        }
    }
}

/// Records that boot's loops handle at a time: there are a quarter of a million.
const CHUNK: usize = 8;

/// How many records at the begin of `run` are the kernel's.
fn leading_kernel(run: &[PageRecord]) -> usize {
    let kernel = |record: &&PageRecord| record.kind == FrameType::Kernel;
    let (chunks, _) = run.as_chunks::<CHUNK>();
    let all = |chunk: &&[PageRecord; CHUNK]| chunk.iter().all(|record| kernel(&record));
    let whole = CHUNK * chunks.iter().take_while(all).count();
    whole + run.iter().skip(whole).take_while(kernel).count()
}

/// Makes the kernel's frames from number `first` on free, each linked to its neighbours of the same colour,
/// which those at the ends of the run need not have.
fn link_run(run: &mut [PageRecord], first: u32, colours: u32) {
    let link = |record: &mut PageRecord, number: u32| {
        record.kind = FrameType::Free;
        record.first = number.wrapping_add(colours);
        record.second = number.wrapping_sub(colours);
    };
    let (chunks, rest) = run.as_chunks_mut::<CHUNK>();
    let mut number = first;
    for chunk in chunks {
        for (record, offset) in chunk.iter_mut().zip(0..) {
            link(record, number.wrapping_add(offset));
        }
        number = number.wrapping_add(CHUNK as u32);
    }
    for (record, offset) in rest.iter_mut().zip(0..) {
        link(record, number.wrapping_add(offset));
    }
}
