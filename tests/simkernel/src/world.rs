//! What an environment sees of the simulated kernel, for [`exopi_sequence`].

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_abi::page::PageRecord;
use exopi_abi::slice::SliceRecord;
use exopi_abi::{PageNumber, layout};
use exopi_sequence::World;

use crate::Kernel;

/// The running environment's view.
#[derive(Debug)]
pub struct SimulatedWorld<'k, 'm>(pub &'k Kernel<'m>);

impl World for SimulatedWorld<'_, '_> {
    fn page(&self, page: PageNumber) -> Option<PageRecord> {
        self.0.domains().pages.record(page).copied()
    }

    fn account(&self, index: u16) -> Option<AccountRecord> {
        self.0.domains().account(index).copied()
    }

    fn space(&self, index: u16) -> Option<SpaceRecord> {
        self.0.domains().space(index).copied()
    }

    fn environment(&self, index: u16) -> Option<EnvironmentRecord> {
        self.0.domains().environment(index).copied()
    }

    fn life(&self, index: u16) -> LifeWord {
        self.0.domains().life(index)
    }

    fn slice(&self, number: u16) -> Option<SliceRecord> {
        let records = self.0.domains().slice_records();
        let record = records.get(usize::from(number)).copied()?;
        (!record.is_free()).then_some(record)
    }

    fn entry(&self, at: u64) -> u64 {
        self.0.load(layout::table_entry(at)).unwrap_or_default()
    }

    fn stored(&self, at: u64) -> u64 {
        self.0.load(at).unwrap_or_default()
    }

    fn me(&self) -> ObjectName {
        self.0.running()
    }
}
