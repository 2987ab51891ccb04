//! A world as data, to which one can come back.

use std::collections::BTreeMap;

use exopi_pages::Pages;
use exopi_pages::model::Machine;

use super::world::LENGTHS;
use super::{Storage, World};
use crate::saved::Saved;
use crate::{Domains, Subject};

/// All state of a world.
pub(super) struct Snapshot {
    domains: Saved,
    hw: Machine,
    on: [Option<Subject>; 4],
    told: u8,
    armed: [Option<u64>; 4],
    cores: u8,
    attached: BTreeMap<u16, u64>,
    frames: u32,
    now: u64,
    left: u8,
}

impl World<'_> {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            domains: self.domains.saved(),
            hw: self.hw.clone(),
            on: self.on,
            told: self.told,
            armed: self.armed,
            cores: self.cores,
            attached: self.attached.clone(),
            frames: self.frames,
            now: self.now,
            left: self.left,
        }
    }
}

impl Snapshot {
    /// Who runs where.
    pub(super) fn on(&self) -> [Option<Subject>; 4] {
        self.on
    }

    /// The world, in `storage`, which is as large as the one that it was in.
    pub(super) fn restore<'m>(&self, storage: &'m mut Storage) -> World<'m> {
        let (tables, revocations, rings) = storage.tables(|records| Pages::new(records, 2));
        let mut domains = Domains::none();
        domains.set_tables(tables, LENGTHS, self.cores);
        domains.set_revocations(revocations);
        domains.set_message_rings(rings);
        domains.return_to(&self.domains);
        World {
            hw: self.hw.clone(),
            domains,
            on: self.on,
            told: self.told,
            armed: self.armed,
            cores: self.cores,
            attached: self.attached.clone(),
            frames: self.frames,
            now: self.now,
            left: self.left,
        }
    }
}
