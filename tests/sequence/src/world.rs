//! What a sequence looks at before it chooses, and what tells of it afterwards: the records that the kernel
//! exposes, and the capabilities that the environment holds.

use exopi_abi::PageNumber;
use exopi_abi::capability::{CAPABILITY_WORDS, Capability, Kind};
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_abi::page::{Owner, PageRecord};
use exopi_abi::slice::SliceRecord;

use crate::stage::slot_word;

/// The state that one environment sees: on the target through the exposed region, its own tables and
/// its own memory; of the simulated kernel through its parts.
pub trait World {
    /// The record of a page, if there is such a page.
    fn page(&self, page: PageNumber) -> Option<PageRecord>;
    /// The record of an account.
    fn account(&self, index: u16) -> Option<AccountRecord>;
    /// The record of a space.
    fn space(&self, index: u16) -> Option<SpaceRecord>;
    /// The record of an environment.
    fn environment(&self, index: u16) -> Option<EnvironmentRecord>;
    /// The word of an environment; that of none if there is none.
    fn life(&self, index: u16) -> LifeWord;
    /// The record of a slice; `None` if there is none.
    fn slice(&self, number: u16) -> Option<SliceRecord>;
    /// The level-3 entry for `at` in the environment's own space; 0 if there is no table.
    fn entry(&self, at: u64) -> u64;
    /// A word of the environment's store.
    fn stored(&self, at: u64) -> u64;
    /// Who the environment is.
    fn me(&self) -> ObjectName;

    /// The words in a slot of the store.
    fn slot(&self, slot: usize) -> [u64; CAPABILITY_WORDS] {
        core::array::from_fn(|word| self.stored(slot_word(slot, word)))
    }

    /// The capability in a slot, if what lies there has the form of one.
    fn capability(&self, slot: usize) -> Option<Capability> {
        Capability::from_words(self.slot(slot)).ok()
    }

    /// The account that the environment draws on.
    fn bound(&self) -> Owner {
        let record = self.environment(self.me().index);
        record.map_or(Owner::NOBODY, |record| record.bound)
    }

    /// The account that the environment is charged to.
    fn charged(&self) -> Owner {
        let record = self.environment(self.me().index);
        record.map_or(Owner::NOBODY, |record| record.account)
    }

    /// Whether there is still an object of this kind and name.
    fn is_alive(&self, kind: Kind, name: ObjectName) -> bool {
        let epoch = match kind {
            Kind::Account => self.account(name.index).map(|record| record.epoch),
            Kind::Space => self.space(name.index).map(|record| record.epoch),
            Kind::Environment => self.environment(name.index).map(|record| record.epoch),
            Kind::Slice => self.slice(name.index).map(|record| record.epoch),
            _ => None,
        };
        epoch == Some(name.epoch.bits())
    }
}
