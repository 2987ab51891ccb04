//! The places of frames in the adapter's memory, and who has each.
//!
//! ```text
//!   receiving: | lent in order ... | armed (the controller's) | free ... |
//!              oldest               head
//!   sending:   | in doubt ... | under way | waiting ... | free ... |
//!              oldest                                   head
//! ```
//!
//! Both are rings, so that order is kept and a place is one number.
//!
//! **A place is never given up on a guess.** The place at the receiving head is the controller's from the
//! moment a transfer is armed until that has ended; after a transfer that was stopped it is armed again,
//! and not lent in between. A place of a frame whose sending was stopped stays *in doubt* until another
//! transfer on the channel has ended by itself.

use core::ops::Range;

use crate::dma::LINE;

/// Bytes for a transfer. More than the longest frame with whatever is around it, and than the emulator's 1,536
/// (see [`rndis`](super::rndis)).
pub(super) const ROOM: usize = 2048;
/// Bytes of a place: a transfer may begin a few bytes into it, so that its frame is aligned.
pub(super) const PLACE: usize = ROOM + LINE;
/// Places for receiving and for sending.
pub(super) const RECEIVING: usize = 16;
pub(super) const SENDING: usize = 8;
/// Most places in doubt. Before there would be more, the oldest is free: the channel's memory register has
/// been written so many times since that nothing can still go there.
const MOST_DOUBT: usize = 2;

const _: () = assert!(PLACE.is_multiple_of(LINE));
const _: () = assert!(MOST_DOUBT + 1 < SENDING);

/// Received transfers, oldest first.
#[derive(Debug)]
pub(super) struct Receiving {
    lengths: [usize; RECEIVING],
    head: usize,
    held: usize,
    /// How much of the oldest was taken.
    taken: usize,
}

impl Receiving {
    pub(super) const fn new() -> Self {
        Self {
            lengths: [0; RECEIVING],
            head: 0,
            held: 0,
            taken: 0,
        }
    }

    /// Transfers that hold frames.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The place to arm, if it is free.
    #[inline]
    pub(super) fn head(&self) -> Option<usize> {
        (self.held < RECEIVING).then_some(self.head)
    }

    /// The place at the head has received so many bytes. None is no reason to move on.
    #[inline]
    pub(super) fn filled(&mut self, bytes: usize) {
        if bytes == 0 || self.held >= RECEIVING {
            return;
        }
        if let Some(length) = self.lengths.get_mut(self.head) {
            *length = bytes.min(ROOM);
        }
        self.head = (self.head + 1) % RECEIVING;
        self.held += 1;
    }

    /// What is left of the oldest transfer: its place and the bytes there, and whether it is all of it.
    #[inline]
    pub(super) fn oldest(&self) -> Option<(usize, Range<usize>, bool)> {
        if self.held == 0 {
            return None;
        }
        let place = (self.head + RECEIVING - self.held) % RECEIVING;
        let length = *self.lengths.get(place)?;
        Some((place, self.taken..length, self.taken == 0))
    }

    /// Takes bytes off the oldest transfer, and the transfer with the last of them.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) {
        let Some((_, left, _)) = self.oldest() else {
            return;
        };
        if bytes < left.len() {
            self.taken += bytes;
        } else {
            self.taken = 0;
            self.held -= 1;
        }
    }

    /// Drops what was not taken.
    pub(super) fn clear(&mut self) {
        self.held = 0;
        self.taken = 0;
    }
}

/// A frame that waits to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outgoing {
    /// Where in the memory the transfer begins: a multiple of 4.
    pub at: usize,
    /// Bytes of the transfer.
    pub bytes: usize,
}

/// Frames to be sent, oldest first.
#[derive(Debug)]
pub(super) struct Sending {
    frames: [Outgoing; SENDING],
    oldest: usize,
    doubtful: usize,
    waiting: usize,
}

impl Sending {
    pub(super) const fn new() -> Self {
        const NONE: Outgoing = Outgoing { at: 0, bytes: 0 };
        Self {
            frames: [NONE; SENDING],
            oldest: 0,
            doubtful: 0,
            waiting: 0,
        }
    }

    /// Frames that wait or are under way.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether no frame waits or is under way, and no place is in doubt.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0 && self.doubtful == 0
    }

    /// The place for another frame.
    #[inline]
    pub(super) fn free(&self) -> Option<usize> {
        let used = self.doubtful + self.waiting;
        (used < SENDING).then_some((self.oldest + used) % SENDING)
    }

    /// The place that [`Sending::free`] gave has a frame now.
    #[inline]
    pub(super) fn add(&mut self, frame: Outgoing) {
        if let Some(place) = self.free()
            && let Some(entry) = self.frames.get_mut(place)
        {
            *entry = frame;
            self.waiting += 1;
        }
    }

    /// The frame to be sent next.
    #[inline]
    pub(super) fn first(&self) -> Option<Outgoing> {
        if self.waiting == 0 {
            return None;
        }
        let place = (self.oldest + self.doubtful) % SENDING;
        self.frames.get(place).copied()
    }

    /// The first frame is done with, and nothing is in doubt any more.
    #[inline]
    pub(super) fn done(&mut self) {
        if self.waiting > 0 {
            self.oldest = (self.oldest + self.doubtful + 1) % SENDING;
            self.doubtful = 0;
            self.waiting -= 1;
        }
    }

    /// The first frame's transfer was stopped.
    pub(super) fn doubt(&mut self) {
        if self.waiting == 0 {
            return;
        }
        self.waiting -= 1;
        self.doubtful += 1;
        if self.doubtful > MOST_DOUBT {
            self.oldest = (self.oldest + 1) % SENDING;
            self.doubtful -= 1;
        }
    }

    /// Drops frames that wait, but not the first if that is under way; how many.
    pub(super) fn clear(&mut self, under_way: bool) -> usize {
        let kept = usize::from(under_way).min(self.waiting);
        let dropped = self.waiting - kept;
        self.waiting = kept;
        dropped
    }
}
