//! A binary heap of threads by a key: the least first, and any of them removed by its number.
//!
//! ```text
//!   by position   thread    0 .. len: parents before children
//!   by thread     key, position
//! ```
//!
//! Both columns are in one array of cells that the owner brings, so that the heap allocates nothing, and
//! an array of a policy and memory of a program serve alike. Equal keys come out in no order of their own:
//! who wants one puts it into the key.

use crate::table::ThreadIndex;

/// A row of the two columns.
#[derive(Clone, Copy, Debug)]
pub struct Cell<K> {
    /// The thread at this position.
    thread: u16,
    /// Where the thread of this number is; [`NOWHERE`] if it is in no position.
    position: u16,
    /// The key of the thread of this number.
    key: K,
}

/// The position of threads that are not in the heap.
const NOWHERE: u16 = u16::MAX;

impl<K> Cell<K> {
    /// No thread at the position, and the thread nowhere.
    pub const fn empty(key: K) -> Self {
        Self {
            thread: NOWHERE,
            position: NOWHERE,
            key,
        }
    }
}

/// A heap in cells of `S`: an array, or a slice that somebody lends.
#[derive(Clone, Debug)]
pub struct Heap<S> {
    cells: S,
    len: usize,
}

impl<S> Heap<S> {
    /// An empty one; the cells must be [`Cell::empty`].
    pub const fn new(cells: S) -> Self {
        Self { cells, len: 0 }
    }

    /// All of it.
    fn cells<K>(&self) -> &[Cell<K>]
    where
        S: AsRef<[Cell<K>]>,
    {
        self.cells.as_ref()
    }

    fn thread_at<K>(&self, position: usize) -> Option<usize>
    where
        S: AsRef<[Cell<K>]>,
    {
        let cell = self.cells().get(position).filter(|_| position < self.len)?;
        Some(cell.thread.into())
    }

    fn key_at<K: Copy>(&self, position: usize) -> Option<K>
    where
        S: AsRef<[Cell<K>]>,
    {
        let thread = self.thread_at(position)?;
        self.cells().get(thread).map(|cell| cell.key)
    }

    /// The thread with the least key, and that.
    pub fn first<K: Copy>(&self) -> Option<(ThreadIndex, K)>
    where
        S: AsRef<[Cell<K>]>,
    {
        let thread = self.thread_at(0)?;
        Some((ThreadIndex::new(thread)?, self.key_at(0)?))
    }

    /// The thread with the least key of those that `may`: looks at all if the first may not.
    pub fn first_that<K: Copy + Ord>(
        &self,
        may: &mut dyn FnMut(ThreadIndex) -> bool,
    ) -> Option<ThreadIndex>
    where
        S: AsRef<[Cell<K>]>,
    {
        let (first, _) = self.first()?;
        if may(first) {
            return Some(first);
        }
        (1..self.len)
            .filter_map(|position| {
                let thread = ThreadIndex::new(self.thread_at(position)?)?;
                Some((self.key_at(position)?, thread))
            })
            .filter(|(_, thread)| may(*thread))
            .min_by_key(|(key, _)| *key)
            .map(|(_, thread)| thread)
    }

    /// The key of a thread that is in the heap.
    pub fn key<K: Copy>(&self, thread: ThreadIndex) -> Option<K>
    where
        S: AsRef<[Cell<K>]>,
    {
        let cell = self.cells().get(thread.get())?;
        (cell.position != NOWHERE).then_some(cell.key)
    }

    /// Puts a thread in, or gives it another key. False if there is no cell for it.
    pub fn insert<K: Copy + Ord>(&mut self, thread: ThreadIndex, key: K) -> bool
    where
        S: AsRef<[Cell<K>]> + AsMut<[Cell<K>]>,
    {
        self.remove(thread);
        let position = self.len;
        let Some(cell) = self.cells.as_mut().get_mut(thread.get()) else {
            return false;
        };
        cell.key = key;
        self.len += 1;
        self.put(position, thread.get());
        self.rise(position);
        true
    }

    /// Takes a thread out. False if it was not there.
    pub fn remove<K: Copy + Ord>(&mut self, thread: ThreadIndex) -> bool
    where
        S: AsRef<[Cell<K>]> + AsMut<[Cell<K>]>,
    {
        let Some(cell) = self.cells.as_mut().get_mut(thread.get()) else {
            return false;
        };
        let position = usize::from(core::mem::replace(&mut cell.position, NOWHERE));
        if position >= self.len {
            return false;
        }
        let last = self.len - 1;
        let moved = self.thread_at(last);
        self.len = last;
        if let Some(moved) = moved.filter(|_| position != last) {
            self.put(position, moved);
            let position = self.rise(position);
            self.sink(position);
        }
        true
    }

    /// Takes all out.
    pub fn clear<K>(&mut self)
    where
        S: AsMut<[Cell<K>]>,
    {
        self.len = 0;
        for cell in self.cells.as_mut() {
            cell.position = NOWHERE;
        }
    }

    /// The thread is at the position from now on, in both columns.
    fn put<K>(&mut self, position: usize, thread: usize)
    where
        S: AsMut<[Cell<K>]>,
    {
        let cells = self.cells.as_mut();
        if let Some(cell) = cells.get_mut(position) {
            cell.thread = thread as u16;
        }
        if let Some(cell) = cells.get_mut(thread) {
            cell.position = position as u16;
        }
    }

    /// Swaps two positions if the second belongs before the first.
    fn order<K: Copy + Ord>(&mut self, upper: usize, lower: usize) -> bool
    where
        S: AsRef<[Cell<K>]> + AsMut<[Cell<K>]>,
    {
        let (Some(a), Some(b)) = (self.thread_at(upper), self.thread_at(lower)) else {
            return false;
        };
        if self.key_at(lower) >= self.key_at(upper) {
            return false;
        }
        self.put(upper, b);
        self.put(lower, a);
        true
    }

    /// Moves what is at a position up to where it belongs; returns where that is.
    fn rise<K: Copy + Ord>(&mut self, mut position: usize) -> usize
    where
        S: AsRef<[Cell<K>]> + AsMut<[Cell<K>]>,
    {
        while position > 0 {
            let parent = (position - 1) / 2;
            if !self.order(parent, position) {
                break;
            }
            position = parent;
        }
        position
    }

    /// Moves what is at a position down to where it belongs.
    fn sink<K: Copy + Ord>(&mut self, mut position: usize)
    where
        S: AsRef<[Cell<K>]> + AsMut<[Cell<K>]>,
    {
        loop {
            let left = 2 * position + 1;
            let lesser = match (self.key_at(left), self.key_at(left + 1)) {
                (Some(a), Some(b)) if b < a => left + 1,
                _ => left,
            };
            if !self.order(position, lesser) {
                return;
            }
            position = lesser;
        }
    }
}
