//! Everybody in turn.

use super::{Policy, Refused, Share, ThreadIndex};

/// Round robin over at most `N` threads: who becomes ready goes to the end of one queue.
#[derive(Clone, Debug)]
pub struct RoundRobin<const N: usize> {
    /// The queue: a ring of numbers.
    ring: [u16; N],
    first: usize,
    len: usize,
}

impl<const N: usize> RoundRobin<N> {
    /// Without threads.
    pub const fn new() -> Self {
        Self {
            ring: [0; N],
            first: 0,
            len: 0,
        }
    }

    fn place(&self, position: usize) -> usize {
        (self.first + position).checked_rem(N).unwrap_or(0)
    }

    fn at(&self, position: usize) -> Option<ThreadIndex> {
        let number = self.ring.get(self.place(position))?;
        ThreadIndex::new((*number).into())
    }
}

impl<const N: usize> Default for RoundRobin<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Policy for RoundRobin<N> {
    fn admit(&mut self, thread: ThreadIndex, _: Share, _: u64) -> Result<(), Refused> {
        if thread.get() < N {
            Ok(())
        } else {
            Err(Refused::Full)
        }
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn leave(&mut self, _: ThreadIndex) {}

    fn ready(&mut self, thread: ThreadIndex, _: u64) {
        let place = self.place(self.len);
        // No thread is there twice, so as many as are admitted have room.
        if let Some(cell) = self.ring.get_mut(place).filter(|_| self.len < N) {
            *cell = thread.get() as u16;
            self.len += 1;
        }
    }

    fn block(&mut self, _: ThreadIndex, _: u64) {}

    fn pick(&mut self, _: u64, may: &mut dyn FnMut(ThreadIndex) -> bool) -> Option<ThreadIndex> {
        let mut threads = (0..self.len).map_while(|position| self.at(position));
        let found = threads.position(may)?;
        let thread = self.at(found);
        // Those before it, which go on elsewhere, keep their order and move up by one.
        for position in (0..found).rev() {
            let (from, to) = (self.place(position), self.place(position + 1));
            if let Some(number) = self.ring.get(from).copied()
                && let Some(cell) = self.ring.get_mut(to)
            {
                *cell = number;
            }
        }
        self.first = self.place(1);
        self.len -= 1;
        thread
    }

    fn charge(&mut self, _: ThreadIndex, _: u64, _: u64) {}
}
