//! A turn: from the pass that gave it to its end, and what it has cost.
//!
//! ```text
//!   began        end         now          alone: nobody else could run, so the end was not waited for
//!     |-- length --|-- excess --|             |-- length --|-- slice --|-- slice --|   <- turns that follow
//!     |-- used ---|- unused -|                |----------- used --------------|-un-|      by themselves
//! ```
//!
//! While no other environment of the core could run there is no timer, and turn follows turn in the same
//! slice. What the environment then takes is owed to nobody. As soon as somebody else can run, the turn that it is in
//! by then goes to its end and not further.

use exopi_abi::domain::ObjectName;

use crate::{Runnable, Slices};

/// A turn that was given and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    /// The slice, by the name it has now.
    pub(crate) slice: ObjectName,
    /// The environment that it was given to.
    pub(crate) environment: u64,
    /// Ticks.
    pub(crate) length: u64,
    /// When it began; `None` until somebody runs.
    pub(crate) began: Option<u64>,
    /// Nobody else could run when that was last asked.
    pub(crate) alone: bool,
}

impl Open {
    /// Lets turn follow turn until one ends later than `now`.
    fn renew(&mut self, now: u64, slice: u64) {
        let passed = |_| now.checked_sub(self.end());
        let Some(over) = self.began.and_then(passed) else {
            return;
        };
        // As many whole slices as have ended since, and the one that has not.
        let more = (over / slice.max(1)).saturating_add(1);
        self.length = self.length.saturating_add(more.saturating_mul(slice));
    }

    /// When it ends, if it has begun; the farthest time if not.
    fn end(&self) -> u64 {
        match self.began {
            Some(began) => began.saturating_add(self.length),
            None => u64::MAX,
        }
    }
}

/// The turn of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The slice, by the name that it has now. It may have been freed meanwhile.
    pub slice: ObjectName,
    /// The [`ObjectName::word`] of the environment that the turn was given to.
    pub environment: u64,
    /// When it began, in ticks.
    pub began: u64,
    /// When it ends, in ticks. If nobody else could run, it may have passed.
    pub end: u64,
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The slice, by the name that it has now. It may have been freed meanwhile.
    pub slice: ObjectName,
    /// Ticks that were run, the excess among them.
    pub used: u64,
    /// Ticks that were left. They carry over, up to one slice length.
    pub unused: u64,
    /// Ticks that were run after the end while others could run: to be charged
    /// ([`Lengths::charged`](crate::Lengths::charged)) to whoever has left.
    pub excess: u64,
}

impl Slices<'_> {
    /// The environment of the turn that [`Slices::pass`] gave runs from `now` on. Gives the turn's end. Without a
    /// turn there is none: the farthest time.
    pub fn began(&mut self, core: u8, now: u64) -> u64 {
        match self.open_mut(core) {
            Some(open) => {
                open.began = Some(now);
                open.end()
            }
            None => u64::MAX,
        }
    }

    /// The environment of the turn that [`Slices::pass`] gave could not be had after all: another core was
    /// faster. The whole turn carries over, as if it had not been ready. One that has begun is over, and nothing
    /// of it is left.
    pub fn declined(&mut self, core: u8) {
        let open = self.core_mut(core).and_then(|core| core.open.take());
        if let Some(open) = open.filter(|open| open.began.is_none()) {
            self.carry(open.slice, open.length);
        }
    }

    /// The turn that runs on a core.
    pub fn turn(&self, core: u8) -> Option<Turn> {
        let open = self.core(core)?.open?;
        Some(Turn {
            slice: open.slice,
            environment: open.environment,
            began: open.began?,
            end: open.end(),
        })
    }

    /// When the timer must take the core from `running` (an [`ObjectName::word`]), or `None` if nobody else could
    /// run: see [`Slices::others_runnable`], which is asked. A core that runs nobody in a turn has none.
    pub fn deadline(
        &mut self,
        core: u8,
        running: u64,
        now: u64,
        look: impl FnMut(u64) -> Runnable,
    ) -> Option<u64> {
        let others = self.others_runnable(core, running, look);
        let slice = self.lengths.slice();
        let open = self.open_mut(core)?;
        if open.alone {
            open.renew(now, slice);
        }
        open.alone = !others;
        others.then(|| open.end())
    }

    /// Ends the turn of a core at `now`: somebody else has the core from then on, or nobody. What is left carries
    /// over. `None` if there was no turn, or it had not begun.
    pub fn ended(&mut self, core: u8, now: u64) -> Option<Ended> {
        let slice = self.lengths.slice();
        let place = self.core_mut(core)?;
        let began = place.open?.began?;
        let mut open = place.open.take()?;
        if open.alone {
            open.renew(now, slice);
        }
        let used = now.saturating_sub(began);
        let unused = open.length.saturating_sub(used);
        self.carry(open.slice, unused);
        Some(Ended {
            slice: open.slice,
            used,
            unused,
            excess: used.saturating_sub(open.length),
        })
    }

    /// Adds to what a slice has for its next turn. One that was freed has none.
    fn carry(&mut self, slice: ObjectName, ticks: u64) {
        let most = self.lengths.slice();
        if self.get(slice).is_none() {
            return;
        }
        if let Some(record) = self.records.get_mut(usize::from(slice.index)) {
            let carry = u64::from(record.carry).saturating_add(ticks).min(most);
            record.carry = u32::try_from(carry).unwrap_or(u32::MAX);
        }
    }

    fn open_mut(&mut self, core: u8) -> Option<&mut Open> {
        self.core_mut(core)?.open.as_mut()
    }
}
