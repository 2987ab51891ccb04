//! What transfers do to life words.

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{EnvironmentState, LifeWord};

use crate::life::Lives;

/// `rest`, or ready instead of asleep if something waits, by the word `now`, that does not let it sleep.
pub(super) fn roused(rest: LifeWord, now: LifeWord) -> LifeWord {
    match rest.state() {
        EnvironmentState::Asleep if now.has(LifeWord::ATTENTION) => {
            rest.to(EnvironmentState::Ready)
        }
        _ => rest,
    }
}

/// What transfers do to life words, beside what [`Lives`] has for all.
impl Lives<'_> {
    /// Gives `core` to one of `epoch` that takes calls. Its flags stay, but for [`LifeWord::LIGHT`].
    ///
    /// # Errors
    /// The word of one that takes none.
    pub(super) fn serve(self, index: u16, epoch: Epoch, core: u8) -> Result<LifeWord, LifeWord> {
        use EnvironmentState::{Asleep, Ready, Running};
        let takes = |word: LifeWord| {
            word.epoch() == epoch
                && matches!(word.state(), Ready | Asleep)
                && word.core().is_none()
                && word.has(LifeWord::LIGHT)
                && !word.has(LifeWord::DEBT | LifeWord::CLOSED)
        };
        let served = |word: LifeWord| word.to(Running).on(core).without(LifeWord::LIGHT);
        let before = self.change(index, |word| takes(word).then(|| served(word)))?;
        self.count_dispatch(index);
        Ok(before)
    }

    /// One that runs is what `rest` says from now on, but for what waits for it by now and what it owes. One that is to
    /// stop or to die keeps its core until it has departed. Gives the word before.
    pub(super) fn rest(self, index: u16, rest: LifeWord) -> LifeWord {
        const NOW: u64 = LifeWord::ATTENTION | LifeWord::DEBT;
        let rested = |word: LifeWord| roused(rest, word).without(NOW).with(word.bits() & NOW);
        let before = self.change(index, |word| match word.state() {
            EnvironmentState::Running => Some(rested(word)),
            _ => Some(word.with(LifeWord::LIGHT)),
        });
        before.unwrap_or_else(|word| word)
    }

    /// One that runs waits from now on, and has no core.
    ///
    /// # Errors
    /// The word of one that is to stop or to die.
    pub(super) fn wait(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            let waits = word.to(EnvironmentState::Calling).on(LifeWord::NOWHERE);
            (word.state() == EnvironmentState::Running).then_some(waits)
        })
    }

    /// Gives `core` to one that waits for an answer, by its word or because the link is a fast one on this core.
    ///
    /// # Errors
    /// The word of one that is to stop or to die.
    pub(super) fn go_on(self, index: u16, core: u8) -> Result<LifeWord, LifeWord> {
        use EnvironmentState::{Calling, Running};
        self.change(index, |word| {
            let may = match (word.state(), word.core()) {
                (Calling, None) => true,
                (Running, Some(at)) => at == core,
                _ => false,
            };
            may.then(|| word.to(Running).on(core))
        })
    }

    /// One that waits for an answer is ready.
    ///
    /// # Errors
    /// The word of one that does not.
    pub(super) fn give_up_waiting(self, index: u16) -> Result<LifeWord, LifeWord> {
        self.change(index, |word| {
            let waits = word.state() == EnvironmentState::Calling;
            waits.then(|| word.to(EnvironmentState::Ready))
        })
    }
}
