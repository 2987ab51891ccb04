//! What follows from calls on slices.

use exopi_abi::Call;
use exopi_abi::capability::{EnvironmentRights, Kind, SliceRights};
use exopi_abi::domain::ObjectName;

use super::authority::Caller;
use super::{Made, Oracle, Slice, Verdict};

impl Oracle {
    pub(super) fn time(&mut self, caller: &Caller<'_>, call: Call, made: &Made<'_>) -> Verdict {
        let [first, second, third, ..] = made.words;
        let new = ObjectName::from_word(made.reply.value);
        let schedules =
            |oracle: &Self, word| oracle.environment_of(caller, word, EnvironmentRights::SCHEDULE);
        match call {
            Call::slice_alloc => {
                let environment = schedules(self, third)?;
                let slice = Slice {
                    account: caller.facts.bound,
                    environment,
                };
                self.comes(new, [first, second], slice)
            }
            Call::slice_bind => {
                let name = self.slice_of(caller, made, first, SliceRights::USE)?;
                let environment = schedules(self, second)?;
                if let Some(slice) = self.slices.get_mut(&name) {
                    slice.environment = environment;
                }
                Ok(())
            }
            Call::slice_move => {
                let name = self.slice_of(caller, made, first, SliceRights::MOVE)?;
                let slice = self.slices.remove(&name).ok_or("it was known")?;
                self.comes(new, [second, third], slice)
            }
            _ => {
                let name = self.slice_of(caller, made, first, SliceRights::FREE)?;
                self.slices.remove(&name);
                Ok(())
            }
        }
    }

    /// A slice comes to a place: the one asked for, which was free, or has become so.
    fn comes(&mut self, name: ObjectName, [core, position]: [u64; 2], slice: Slice) -> Verdict {
        let place = u64::from(name.index);
        let asked = position == u64::MAX || core * 128 + position == place;
        if place / 128 != core || !asked {
            return Err(format!(
                "{name:?} is at neither {position} nor on core {core}"
            ));
        }
        let old = self.slices.keys().find(|old| old.index == name.index);
        if let Some(old) = old.copied() {
            let Slice {
                account,
                environment,
            } = self.slices[&old];
            let dying = self
                .environments
                .get(&environment)
                .is_none_or(|it| it.dying);
            if !dying && !self.is_ending(account) || old.epoch >= name.epoch {
                return Err(format!("{name:?} has the place of {old:?}"));
            }
            self.slices.remove(&old);
        }
        self.slices.insert(name, slice);
        Ok(())
    }

    /// The slice that a word means, of which the caller may do what `rights` say. The one that runs it may use as any
    /// other that is its account's.
    fn slice_of(
        &self,
        caller: &Caller<'_>,
        made: &Made<'_>,
        word: u64,
        rights: SliceRights,
    ) -> Verdict<ObjectName> {
        let owned = |name: &ObjectName| self.slices[name].account == caller.facts.bound;
        if word == 0 {
            let turn = made.turn.ok_or("no slice ran")?;
            return match self.slices.contains_key(&turn) && owned(&turn) {
                true => Ok(turn),
                false => Err(format!("{turn:?} was used as one's own")),
            };
        }
        let known = self.slices.keys();
        let own = caller.name;
        self.object(caller, word, own, known, owned, Kind::Slice, rights.bits())
    }
}
