//! The words by which environments are claimed.
//!
//! Each method is one change of one word, by compare-and-swap, and says what the word was before it, or what it was
//! found to be. Most changes are made under the kernel lock, but not all: a core may enter an environment whose
//! registers are in no frame ([`LifeWord::LIGHT`]), and put itself to wait, without it. So what a word was a moment
//! ago proves nothing, and whoever has made a change goes by what came of it:
//!
//! ```text
//!   without the lock                      under the lock
//!     enter   Asleep, light, nowhere        claim    Ready, nowhere      -> Running, here
//!                      -> Running, here     stop     any, core kept      -> Stopped
//!     take    Ready, nowhere, no flags      doom     any, core kept      -> Dying
//!             but light -> Running, here    wake     Asleep, core kept   -> Ready
//!     resume  Calling, light, nowhere       give_up  Running             -> another, core kept
//!                      -> Running, here     left     any                 -> nowhere
//!     part    Running, here, no flags       attend   flag only
//!                      -> another, nowhere
//! ```
//!
//! * A word that names a core is changed to another core by nobody: what is not to go on is marked, its
//!   core interrupted, and `left` made by that core.
//! * Dying, once in the word, stays until the word is free: so one that is doomed and on no core is nobody else's
//!   any more, and one that is doomed on a core is taken apart when it has left.
//! * What a core wrote before it let go of a word is seen by the one that takes it next: changes release, and
//!   acquire.
//! * `part` and `enter` refuse a word with any flag that they do not expect: notices and wake-ups are
//!   looked after under the lock, never passed over.

use core::sync::atomic::Ordering;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{EnvironmentState, Life, LifeWord, ObjectName};

use EnvironmentState::{Asleep, Calling, Dying, Ready, Running, Stopped, Suspended};

/// The words of all environments, by index.
#[derive(Clone, Copy, Debug)]
pub struct Lives<'m>(&'m [Life]);

impl<'m> Lives<'m> {
    /// Those in `lives`.
    pub const fn new(lives: &'m [Life]) -> Self {
        Self(lives)
    }

    /// How many environments there can be.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there can be none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// What is kept of the environment at `index`.
    #[inline(always)]
    pub fn get(self, index: u16) -> Option<&'m Life> {
        self.0.get(usize::from(index))
    }

    /// The word of the environment at `index`; [`LifeWord::FREE`] if there is none.
    #[inline(always)]
    pub fn word(self, index: u16) -> LifeWord {
        self.get(index).map_or(LifeWord::FREE, Life::load)
    }

    /// Changes a word by `step`, which sees it as it is then, and refuses by `None`.
    ///
    /// # Errors
    /// The word that was refused.
    #[inline(always)]
    pub(crate) fn change(
        self,
        index: u16,
        step: impl Fn(LifeWord) -> Option<LifeWord>,
    ) -> Result<LifeWord, LifeWord> {
        let Some(life) = self.get(index) else {
            return Err(LifeWord::FREE);
        };
        let step = |bits| {
            let word = LifeWord::from_bits(bits);
            if word.is_free() {
                return None;
            }
            step(word).map(LifeWord::bits)
        };
        life.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .map(LifeWord::from_bits)
            .map_err(LifeWord::from_bits)
    }

    /// A new environment, which is stopped. Its place is free, and nobody knows its epoch yet.
    pub(crate) fn begin(self, name: ObjectName) {
        if let Some(life) = self.get(name.index) {
            let word = LifeWord::new(name.epoch, Stopped, LifeWord::NOWHERE);
            life.ticks.store(0, Ordering::Relaxed);
            life.dispatches.store(0, Ordering::Relaxed);
            life.debt.store(0, Ordering::Relaxed);
            life.word.store(word.bits(), Ordering::Release);
        }
    }

    /// There is no environment any more. It was doomed, and on no core.
    pub(crate) fn end(self, index: u16) {
        if let Some(life) = self.get(index) {
            life.ticks.store(0, Ordering::Relaxed);
            life.dispatches.store(0, Ordering::Relaxed);
            life.debt.store(0, Ordering::Relaxed);
            life.word.store(LifeWord::FREE.bits(), Ordering::Release);
        }
    }

    /// Lets one run that is stopped and has left its core.
    ///
    /// # Errors
    /// The word of one that is not.
    pub fn run(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            (word.state() == Stopped && word.core().is_none()).then(|| word.to(Ready))
        })
    }

    /// Whether `core` could claim it now.
    pub fn is_ready(self, index: u16) -> bool {
        may_be_claimed(self.word(index))
    }

    /// Gives `core` to one that is ready and on no core. Its flag [`LifeWord::LIGHT`], as it was, is in the
    /// answer: it says how the environment is entered.
    ///
    /// # Errors
    /// The word of one that is not, or owes too much.
    pub fn claim(self, index: u16, core: u8) -> Result<LifeWord, LifeWord> {
        let given = |word: LifeWord| word.without(LifeWord::LIGHT | LifeWord::CLOSED);
        let before = self.change(index, |word| {
            may_be_claimed(word).then(|| given(word).to(Running).on(core))
        })?;
        self.count_dispatch(index);
        Ok(before)
    }

    /// `core`, which has claimed it, has not entered it after all: unless it is to stop or to die by now, its word is
    /// what it was, `before`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn decline(
        self,
        index: u16,
        core: u8,
        before: LifeWord,
    ) -> Result<LifeWord, LifeWord> {
        let light = before.bits() & (LifeWord::LIGHT | LifeWord::CLOSED);
        self.change(index, |word| {
            let word = if word.state() == Running && word.core() == Some(core) {
                word.to(Ready)
            } else {
                word
            };
            Some(word.on(LifeWord::NOWHERE).with(light))
        })
    }

    /// Without the lock: gives `core` to `name`, which is asleep, on no core, light, and for which nothing
    /// waits.
    ///
    /// # Errors
    /// The word that was found: nothing has changed.
    pub fn enter(self, name: ObjectName, core: u8) -> Result<LifeWord, LifeWord> {
        let asleep = LifeWord::new(name.epoch, Asleep, LifeWord::NOWHERE).with(LifeWord::LIGHT);
        let before = self.change(name.index, |word| {
            (word == asleep).then(|| LifeWord::new(name.epoch, Running, core))
        })?;
        self.count_dispatch(name.index);
        Ok(before)
    }

    /// Without the lock: gives `core` back to `name`, which waits for a reply and for which nothing else waits.
    ///
    /// # Errors
    /// The word that was found: nothing has changed.
    pub fn resume(self, name: ObjectName, core: u8) -> Result<LifeWord, LifeWord> {
        let waits = LifeWord::new(name.epoch, Calling, LifeWord::NOWHERE).with(LifeWord::LIGHT);
        self.change(name.index, |word| {
            (word == waits).then(|| LifeWord::new(name.epoch, Running, core))
        })
    }

    /// Without the lock: `name`, which runs on `core` and for which nothing waits, gives it up and is in `state`
    /// from now on, light. All that is kept of it was put away before.
    ///
    /// # Errors
    /// The word that was found: it is to stop, to die or to hear something, and still has the core.
    pub fn part(
        self,
        name: ObjectName,
        core: u8,
        state: EnvironmentState,
    ) -> Result<LifeWord, LifeWord> {
        self.change(name.index, |word| {
            let gone = LifeWord::new(name.epoch, state, LifeWord::NOWHERE).with(LifeWord::LIGHT);
            (word == LifeWord::new(name.epoch, Running, core)).then_some(gone)
        })
    }

    /// One that runs is in `state` from now on; it still has its core.
    ///
    /// # Errors
    /// The word of one that does not run: it is to stop or to die.
    pub fn give_up(self, index: u16, state: EnvironmentState) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            (word.state() == Running).then(|| word.to(state))
        })
    }

    /// It is to stop. Who has a core still has it.
    ///
    /// # Errors
    /// The word of one that is dying.
    pub fn stop(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            (word.state() != Dying).then(|| word.to(Stopped))
        })
    }

    /// It is suspended. Who has a core still has it.
    ///
    /// # Errors
    /// The word of one that is dying.
    pub fn suspend(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            (word.state() != Dying).then(|| word.to(Suspended))
        })
    }

    /// It is to die. If no core has it, it is nobody's from now on but the caller's, to take apart.
    ///
    /// # Errors
    /// There is none.
    pub fn doom(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| Some(word.to(Dying)))
    }

    /// One that sleeps is ready.
    ///
    /// # Errors
    /// The word of one that does not.
    pub fn wake(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            (word.state() == Asleep).then(|| word.to(Ready))
        })
    }

    /// Something waits for it from now on that no core passes over.
    ///
    /// # Errors
    /// There is none.
    pub fn attend(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| Some(word.with(LifeWord::ATTENTION)))
    }

    /// Nothing waits for it any more.
    ///
    /// # Errors
    /// There is none.
    pub fn calm(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| Some(word.without(LifeWord::ATTENTION)))
    }

    /// It owes too much to be entered, or not any more.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn mark_debt(self, index: u16, indebted: bool) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            Some(match indebted {
                true => word.with(LifeWord::DEBT),
                false => word.without(LifeWord::DEBT),
            })
        })
    }

    /// What it owes, in ticks.
    pub fn debt(self, index: u16) -> u64 {
        self.get(index)
            .map_or(0, |life| life.debt.load(Ordering::Relaxed))
    }

    pub(crate) fn set_debt(self, index: u16, debt: u64) {
        if let Some(life) = self.get(index) {
            life.debt.store(debt, Ordering::Relaxed);
        }
    }

    /// Whoever had a core has left it, with `flags`, and all that is kept of it was put away before.
    ///
    /// # Errors
    /// There is none.
    pub fn left(self, index: u16, flags: u64) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| Some(word.on(LifeWord::NOWHERE).with(flags)))
    }

    /// Whether there is an environment of this name, and it is not at its end.
    #[inline(always)]
    pub fn lives(self, name: ObjectName) -> bool {
        let word = self.word(name.index);
        word.epoch() == name.epoch && name.epoch != Epoch::NONE && word.state() != Dying
    }

    /// Whether `name` runs, and nobody wants it to stop.
    #[inline(always)]
    pub fn runs(self, name: ObjectName) -> bool {
        let word = self.word(name.index);
        word.epoch() == name.epoch && word.state() == Running
    }

    /// One core has it, which alone counts.
    pub(crate) fn count_dispatch(self, index: u16) {
        if let Some(life) = self.get(index) {
            let count = life.dispatches.load(Ordering::Relaxed);
            life.dispatches
                .store(count.wrapping_add(1), Ordering::Relaxed);
        }
    }
}

const fn may_be_claimed(word: LifeWord) -> bool {
    matches!(word.state(), Ready) && word.core().is_none() && !word.has(LifeWord::DEBT)
}
