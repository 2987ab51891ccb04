//! A world as data, to which one can come back.

use std::collections::BTreeMap;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::page::{FrameType, PageRecord};
use exopi_cap::Epochs;
use exopi_pages::Pages;
use exopi_pages::model::Machine;

use super::{Storage, World, page};
use crate::bits::Bits;
use crate::cores::Core;
use crate::{Domains, Subject};

/// All state of a world, as data, but for the order of free frames and whose contents they hold.
pub(super) struct Snapshot {
    storage: Storage,
    hw: Machine,
    kept: Kept,
    on: [Option<Subject>; 4],
    told: u8,
    cores: u8,
    attached: BTreeMap<u16, u64>,
}

/// What [`Domains`] keeps besides the records.
struct Kept {
    last: Epoch,
    bits: [Bits; 5],
    turns: [u16; 2],
    cores: [Core; MAX_CORES],
    interrupts: u8,
    first: ObjectName,
}

impl World<'_> {
    pub(super) fn snapshot(&self) -> Snapshot {
        let domains = &self.domains;
        let frames = (0..self.frames).filter_map(|number| domains.pages.record(page(number)));
        let storage = Storage {
            pages: frames.copied().collect(),
            accounts: domains.accounts.to_vec(),
            spaces: domains.spaces.to_vec(),
            environments: domains.environments.to_vec(),
            lives: (0..domains.lives.len() as u16)
                .filter_map(|index| domains.lives.get(index).cloned())
                .collect(),
            // Nobody is asked for anything in these worlds.
            ..Storage::new(0, 0, 0, 0)
        };
        let kept = Kept {
            last: domains.epochs.last(),
            bits: [
                domains.free_accounts.clone(),
                domains.free_spaces.clone(),
                domains.free_environments.clone(),
                domains.ending_accounts.clone(),
                domains.ending_spaces.clone(),
            ],
            turns: [domains.turn_accounts, domains.turn_spaces],
            cores: domains.cores,
            interrupts: domains.interrupts,
            first: domains.first,
        };
        Snapshot {
            storage,
            hw: self.hw.clone(),
            kept,
            on: self.on,
            told: self.told,
            cores: self.cores,
            attached: self.attached.clone(),
        }
    }
}

impl Snapshot {
    /// Who runs where.
    pub(super) fn on(&self) -> [Option<Subject>; 4] {
        self.on
    }

    /// The world, in `storage`.
    pub(super) fn restore<'m>(&self, storage: &'m mut Storage) -> World<'m> {
        storage.clone_from(&self.storage);
        // Free frames go onto new lists; all others are already what they are.
        let free: Vec<u32> = (0..)
            .zip(&self.storage.pages)
            .filter(|(_, record)| record.kind == FrameType::Free)
            .map(|(number, _)| number)
            .collect();
        for number in &free {
            storage.pages[*number as usize] = PageRecord::KERNEL;
        }
        let mut pages = Pages::new(&mut storage.pages, 2);
        for number in free {
            assert_eq!(pages.add_free(page(number), 1).done, 1);
        }
        let kept = &self.kept;
        let [
            free_accounts,
            free_spaces,
            free_environments,
            ending_accounts,
            ending_spaces,
        ] = kept.bits.clone();
        let domains = Domains {
            epochs: Epochs::after(kept.last),
            free_accounts,
            free_spaces,
            free_environments,
            ending_accounts,
            ending_spaces,
            turn_accounts: kept.turns[0],
            turn_spaces: kept.turns[1],
            cores: kept.cores,
            interrupts: kept.interrupts,
            first: kept.first,
            ..Domains::new(
                pages,
                &mut storage.accounts,
                &mut storage.spaces,
                &mut storage.environments,
                &storage.lives,
                self.cores,
            )
        };
        World {
            hw: self.hw.clone(),
            domains,
            on: self.on,
            told: self.told,
            cores: self.cores,
            attached: self.attached.clone(),
            frames: self.storage.pages.len() as u32,
        }
    }
}
