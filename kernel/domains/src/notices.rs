//! Notices: bits that wait in a record until the kernel delivers them, and keepers, whom they tell.
//!
//! Whatever state an environment is in, a notice for it waits: it is delivered when it next has a core. One that
//! runs is interrupted for it, and one that sleeps is woken.

use exopi_abi::domain::{EnvironmentState, ObjectName};

use crate::Domains;

impl Domains<'_> {
    /// Leaves notices, of which at least one is set in `bits`, for the environment `to`. `false` if there is none
    /// of this name any more.
    pub fn post(&mut self, to: ObjectName, bits: u32) -> bool {
        if !self.lives(to) {
            return false;
        }
        self.update_environment(to.index, |record| record.notices |= bits);
        let Ok(word) = self.lives.attend(to.index) else {
            return false;
        };
        match (word.state(), word.core()) {
            (EnvironmentState::Running, Some(core)) => self.interrupt(core),
            (EnvironmentState::Asleep, core) => {
                let _ = self.lives.wake(to.index);
                // One that has still to leave its core is seen to by `left`.
                if core.is_none() {
                    self.tell_cores(to.index, u8::MAX);
                }
            }
            _ => {}
        }
        true
    }

    /// The notices that wait for the environment at `index`, which are delivered with this.
    pub fn take_notices(&mut self, index: u16) -> u32 {
        let bits = self.environment(index).map_or(0, |record| record.notices);
        self.update_environment(index, |record| record.notices = 0);
        let _ = self.lives.calm(index);
        bits
    }

    /// Tells the keeper of the environment at `index` that it is suspended or has died. `false` if nobody keeps it,
    /// or who did is gone.
    pub(crate) fn tell_keeper(&mut self, index: u16) -> bool {
        let Some(record) = self.environment(index) else {
            return false;
        };
        let (keeper, bit) = (record.keeper, record.keeper_bit);
        keeper != 0 && self.post(ObjectName::from_word(keeper), 1 << (bit % 32))
    }
}
