//! All state as data, to which one can come back. For tests that explore.

use core::sync::atomic::Ordering::Relaxed;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, ObjectName, SpaceRecord};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::revocation::RevocationRecord;
use exopi_cap::Epochs;
use exopi_pages::saved::Saved as SavedPages;
use exopi_slices::saved::Saved as SavedSlices;

use crate::Domains;
use crate::bits::Bits;
use crate::cores::Core;
use crate::life::Lives;

/// A [`Domains`] as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pages: SavedPages,
    accounts: Vec<AccountRecord>,
    spaces: Vec<SpaceRecord>,
    environments: Vec<EnvironmentRecord>,
    /// Of each environment: word, ticks, dispatches, debt.
    lives: Vec<[u64; 4]>,
    revocations: Vec<RevocationRecord>,
    message_rings: Vec<MessageRingRecord>,
    last: Epoch,
    /// Those of [`Domains`], in the order of its fields.
    bits: [Bits; 6],
    turns: [u16; 2],
    slices: SavedSlices,
    cores: [Core; MAX_CORES],
    core_count: u8,
    interrupts: u8,
    first: ObjectName,
}

impl Domains<'_> {
    /// What there is now.
    pub fn saved(&self) -> Saved {
        Saved {
            pages: self.pages.saved(),
            accounts: self.accounts.to_vec(),
            spaces: self.spaces.to_vec(),
            environments: self.environments.to_vec(),
            lives: self.lives.values(),
            revocations: self.revocations.records.to_vec(),
            message_rings: self.message_rings.to_vec(),
            last: self.epochs.last(),
            bits: [
                self.free_accounts.clone(),
                self.free_spaces.clone(),
                self.free_environments.clone(),
                self.ending_accounts.clone(),
                self.ending_spaces.clone(),
                self.ending_environments.clone(),
            ],
            turns: [self.turn_accounts, self.turn_spaces],
            slices: self.slices.saved(),
            cores: self.cores,
            core_count: self.core_count,
            interrupts: self.interrupts,
            first: self.first,
        }
    }

    /// Back to what there was.
    ///
    /// # Panics
    /// There were other numbers of frames, accounts, spaces or environments.
    pub fn return_to(&mut self, saved: &Saved) {
        self.pages.return_to(&saved.pages);
        self.accounts.copy_from_slice(&saved.accounts);
        self.spaces.copy_from_slice(&saved.spaces);
        self.environments.copy_from_slice(&saved.environments);
        self.lives.set_values(&saved.lives);
        self.revocations.return_to(&saved.revocations);
        self.message_rings.copy_from_slice(&saved.message_rings);
        self.epochs = Epochs::after(saved.last);
        [
            self.free_accounts,
            self.free_spaces,
            self.free_environments,
            self.ending_accounts,
            self.ending_spaces,
            self.ending_environments,
        ] = saved.bits.clone();
        [self.turn_accounts, self.turn_spaces] = saved.turns;
        self.slices.return_to(&saved.slices);
        self.cores = saved.cores;
        self.core_count = saved.core_count;
        self.interrupts = saved.interrupts;
        self.first = saved.first;
    }

    /// Adds who has each core, or has been claimed for it, and how far its turns are to a hash, but for epochs and
    /// times.
    pub fn hash_cores(&self, state: &mut impl core::hash::Hasher) {
        use core::hash::Hash;
        for core in self.cores.iter().take(self.core_count.into()) {
            (core.running, core.gift, core.alone).hash(state);
        }
        self.slices.hash_places(state);
    }
}

impl Lives<'_> {
    fn values(self) -> Vec<[u64; 4]> {
        let lives = (0..self.len() as u16).filter_map(|index| self.get(index));
        let words = |life: &Life| {
            [&life.word, &life.ticks, &life.dispatches, &life.debt].map(|it| it.load(Relaxed))
        };
        lives.map(words).collect()
    }

    fn set_values(self, values: &[[u64; 4]]) {
        for (index, values) in (0..self.len() as u16).zip(values) {
            if let Some(life) = self.get(index) {
                let words = [&life.word, &life.ticks, &life.dispatches, &life.debt];
                for (word, value) in words.into_iter().zip(values) {
                    word.store(*value, Relaxed);
                }
            }
        }
    }
}
