//! Requests, what is set up for them, and pins.

use std::collections::BTreeMap;

use exopi_abi::PageNumber;
use exopi_abi::msgring::{MAX_PAGES, MessageRingRecord};
use exopi_abi::revocation::{MAX_GUARANTEED, RevocationRecord, RevocationState};

use super::Violation;
use crate::Domains;

impl Domains<'_> {
    /// Every pin, from the records that tell of them.
    pub(super) fn pins(&self) -> BTreeMap<PageNumber, u8> {
        let mut pins = BTreeMap::new();
        for record in self.revocations.records.iter() {
            let vector = (0..record.vector_pages).map(|n| record.vector + u32::from(n));
            let order = Some(record.order).filter(|order| *order != 0);
            for page in vector.chain(order) {
                *pins.entry(PageNumber::new(page)).or_default() += 1;
            }
        }
        for ring in self.message_rings.iter() {
            for page in ring.set_up() {
                *pins.entry(page).or_default() += 1;
            }
        }
        pins
    }

    /// Rings are those of environments that there are, in pages of theirs.
    pub(super) fn check_message_rings(&self) -> Result<(), Violation> {
        for (index, ring) in (0u16..).zip(self.message_rings.iter()) {
            let account = self.environment(index).map(|record| record.account);
            let owned = ring.set_up().all(|page| {
                let owner = self.pages.record(page).map(|frame| frame.owner);
                owner.is_some() && owner == account
            });
            let sound = u64::from(ring.pages) <= MAX_PAGES
                && ring.bit < 32
                && (ring.is_set() || *ring == MessageRingRecord::NONE);
            if !owned || !sound {
                return Err(Violation::MessageRing(index));
            }
        }
        Ok(())
    }

    pub(super) fn check_revocations(&self) -> Result<(), Violation> {
        let mut asked = BTreeMap::new();
        for (index, record) in (0u16..).zip(self.revocations.records.iter()) {
            if record.state().is_open() {
                let owner = record.owner();
                let there = self.charged(owner).is_some();
                if there && asked.insert(owner.index(), *record).is_some() {
                    return Err(Violation::Revocation(index));
                }
            }
            if !self.is_sound(index, record) {
                return Err(Violation::Revocation(index));
            }
        }
        for (index, account) in (0u16..).zip(self.accounts.iter()) {
            let told = match asked.get(&index) {
                None => (account.asked, account.ceiling) == (0, 0),
                Some(record) => {
                    let taking = record.state() == RevocationState::Taking;
                    let most = record.target + record.asked;
                    let used = account.used[usize::from(record.resource)];
                    account.asked == record.resource + 1
                        && account.ceiling == if taking { 0 } else { most }
                        && used <= most
                }
            };
            let frozen = account.frozen == 0 || self.is_in_family(index, account.frozen);
            if !told || !frozen || account.guaranteed as usize > MAX_GUARANTEED {
                return Err(Violation::Revocation(index));
            }
        }
        Ok(())
    }

    /// Whether an account is below the one for whose request accounts are frozen.
    fn is_in_family(&self, index: u16, frozen: u8) -> bool {
        let family = self
            .revocations
            .records
            .get(usize::from(self.revocations.family));
        let Some(asked) = family.filter(|record| record.state() == RevocationState::Taking) else {
            return false;
        };
        let parent = |index: u16| self.accounts.get(usize::from(index)).map(|it| it.parent);
        let above = core::iter::successors(parent(index), |at| parent(*at));
        let below = above
            .take(self.accounts.len())
            .any(|at| at == asked.owner().index());
        below && index != asked.owner().index() && frozen == asked.resource + 1
    }

    /// What can be told of one record.
    fn is_sound(&self, index: u16, record: &RevocationRecord) -> bool {
        let environment = self.environment(index);
        let set_up = (record.vector_pages, record.order) != (0, 0);
        let owned = (0..self.pages.len() as u32)
            .map(PageNumber::new)
            .filter(|page| {
                let number = page.get();
                let vector = number.wrapping_sub(record.vector) < record.vector_pages.into();
                vector || record.order == number && number != 0
            })
            .all(|page| {
                let owner = self.pages.record(page).map(|frame| frame.owner);
                owner == environment.map(|environment| environment.account)
            });
        let state = record.state();
        let taking = state == RevocationState::Taking;
        let waits = matches!(state, RevocationState::Asked | RevocationState::Extended);
        let alarm = waits.then_some(record.deadline);
        let kept = usize::from(record.kept_count) <= MAX_GUARANTEED;
        let open = state.is_open();
        (environment.is_some() || !set_up)
            && owned
            && taking == self.revocations.taking.contains(index)
            && alarm == self.revocations.deadline_of(index)
            && kept
            && (taking || record.pending == [0; 2])
            && (!open || record.given == 0)
            && (!waits || record.taken == 0)
            && record.missed <= record.taken
            && record.bit < 32
            && (open || record.given <= record.asked)
    }
}
