//! What is done while there is nothing to do.
//!
//! Rings and pipes look at a word of shared memory and find that the other side has not changed it yet. What then
//! is a matter of taste and place: another program on this core should have it, one on another core only needs a
//! moment, a deadline may be near. So it is a trait, and whoever has threads, or sleeps until a predicate on the
//! word is true, writes another one.

use core::sync::atomic::AtomicU64;

use exopi_rt::{Error, environment, time};

use crate::gate::Gate;

/// What is done while there is nothing to do.
pub trait Wait {
    /// One turn of waiting, which may be as short as it likes: whoever waits looks again.
    ///
    /// # Errors
    /// The wait is over without success: [`Error::TimedOut`], [`Error::Stale`] if the other side is gone, or what
    /// else was refused.
    fn turn(&mut self) -> Result<(), Error>;

    /// Waits until `word` is not `seen` any more, or for a turn.
    ///
    /// # Errors
    /// As for [`Wait::turn`].
    #[inline(always)]
    fn until_changed(&mut self, _word: &AtomicU64, _seen: u64) -> Result<(), Error> {
        self.turn()
    }
}

impl<W: Wait> Wait for &mut W {
    #[inline(always)]
    fn turn(&mut self) -> Result<(), Error> {
        (**self).turn()
    }

    #[inline(always)]
    fn until_changed(&mut self, word: &AtomicU64, seen: u64) -> Result<(), Error> {
        (**self).until_changed(word, seen)
    }
}

/// Gives the core to whoever waits for it, for as long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Yielding;

impl Wait for Yielding {
    #[inline(always)]
    fn turn(&mut self) -> Result<(), Error> {
        environment::yield_now();
        time::relax();
        Ok(())
    }
}

/// Gives up at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl Wait for Never {
    #[inline(always)]
    fn turn(&mut self) -> Result<(), Error> {
        Err(Error::TimedOut)
    }
}

/// Another way of waiting, until a time.
#[derive(Clone, Copy, Debug)]
pub struct Until<W> {
    wait: W,
    deadline: u64,
}

impl<W: Wait> Until<W> {
    /// Until `deadline`, in ticks of the counter.
    pub const fn new(wait: W, deadline: u64) -> Self {
        Self { wait, deadline }
    }

    fn check(&self) -> Result<(), Error> {
        if time::ticks() >= self.deadline {
            Err(Error::TimedOut)
        } else {
            Ok(())
        }
    }
}

impl<W: Wait> Wait for Until<W> {
    fn turn(&mut self) -> Result<(), Error> {
        self.check()?;
        self.wait.turn()
    }

    fn until_changed(&mut self, word: &AtomicU64, seen: u64) -> Result<(), Error> {
        self.check()?;
        self.wait.until_changed(word, seen)
    }
}

/// Hands the core to the one that is waited for, which the gate leads to; if it cannot have it now, to whoever waits
/// for it. It is over when the other one is gone.
///
/// For an environment without a prologue, which goes on behind the call. One with a prologue would begin anew.
#[derive(Debug)]
pub struct HandOver<'g>(pub &'g Gate);

impl Wait for HandOver<'_> {
    #[inline(always)]
    fn turn(&mut self) -> Result<(), Error> {
        match self.0.yield_to() {
            Ok(()) => Ok(()),
            // On another core, at rest, or in debt: it needs a moment.
            Err(Error::NotReady | Error::Busy | Error::Indebted) => Yielding.turn(),
            Err(error) => Err(error),
        }
    }
}
