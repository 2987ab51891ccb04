//! The calls that an exploration makes, with few values for each argument, by whoever runs on either core.

use exopi_abi::Call;
use exopi_abi::capability::{Kind, PageRights};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::{DEFAULT_LIMIT, FrameType};
use exopi_sequence::stage::{STORE, slot_address};

use super::canonical::SLOTS;
use super::moves::{Arg, Limit, Move};
use super::stage::{ONE, PLACES, ROOM, TABLELESS, TABOO, UAREAS};

/// READ, WRITE, EXECUTE as they travel.
const READ: u64 = 1;
const WRITE: u64 = 3;
const EXECUTE: u64 = 5;
/// Forms of arguments.
const PRESENTED: u64 = 1 << 56;
const NEW: u64 = 2 << 56;
const NEW_ANY: u64 = 3 << 56;
const ANY: u64 = 1 << 56;

/// The slots: of capabilities for pages, and for others.
const PAGE_SLOT: u64 = slot_address(SLOTS[0]);
const OBJECT_SLOT: u64 = slot_address(SLOTS[1]);

/// All rights that there are for a kind.
fn all(kind: Kind) -> u64 {
    kind.rights().bits().into()
}

/// Collects moves.
#[derive(Debug, Default)]
pub(super) struct Alphabet(pub(super) Vec<Move>);

fn args<const N: usize>(words: [Arg; N]) -> [Arg; 6] {
    let mut all = [Arg::Word(0); 6];
    all[..N].copy_from_slice(&words);
    all
}

impl Alphabet {
    /// A call by whoever runs on either core.
    fn call<const N: usize>(&mut self, call: Call, words: [u64; N]) {
        self.named(call, words.map(Arg::Word));
    }

    fn named<const N: usize>(&mut self, call: Call, words: [Arg; N]) {
        let both = [0, 1].map(|core| Move::Call(core, call, args(words)));
        self.0.extend(both);
    }

    fn both(&mut self, of: impl Fn(u8) -> Move) {
        self.0.extend([0, 1].map(of));
    }

    /// What changes owner, stamp or references of a page, by its owner and by who has been given it.
    pub(super) fn pages(mut self, pages: &[u32]) -> Self {
        for page in pages.iter().map(|page| u64::from(*page)) {
            self.call(Call::page_alloc, [page, 1]);
            self.call(Call::page_limit, [page, 1, 0]);
            self.call(Call::page_limit, [page, 1, DEFAULT_LIMIT.into()]);
            for to in [0, 1] {
                let words = [Arg::Word(page), Arg::Word(1), Arg::Owner(to)];
                self.named(Call::page_give, words);
            }
            for run in [[page, 0], [PRESENTED | page, PAGE_SLOT]] {
                for call in [Call::page_free, Call::page_retire, Call::page_break] {
                    self.call(call, [run[0], run[1], 1]);
                }
            }
        }
        for count in [0, 1] {
            self.call(Call::page_accept, [count]);
        }
        self
    }

    /// What maps pages, and changes that.
    pub(super) fn mappings(mut self, pages: &[u32], places: &[u64]) -> Self {
        for page in pages.iter().map(|page| u64::from(*page)) {
            for at in places.iter().copied() {
                self.call(Call::insert_pte, [0, at, page, 0, 1, WRITE]);
                let shared = [0, at, PRESENTED | page, PAGE_SLOT, 1];
                for access in [READ, WRITE] {
                    let [space, at, form, slot, count] = shared;
                    self.call(Call::insert_pte, [space, at, form, slot, count, access]);
                }
            }
            self.call(Call::insert_pte, [0, places[0], page, 0, 1, EXECUTE]);
            self.call(Call::insert_pte, [0, places[0], NEW | page, 0, 1, WRITE]);
            // In another's space, by a capability for that.
            self.call(
                Call::insert_pte,
                [OBJECT_SLOT, places[0], page, 0, 1, WRITE],
            );
        }
        for at in places.iter().copied() {
            self.call(Call::remove_pte, [0, at, 1]);
            self.call(Call::protect_pte, [0, at, 1, READ]);
        }
        for access in [WRITE, EXECUTE] {
            self.call(Call::protect_pte, [0, places[0], 1, access]);
        }
        self.call(Call::remove_pte, [OBJECT_SLOT, places[0], 1]);
        self.call(Call::pte_note, [0, places[0], 1]);
        self.both(|core| Move::Store(core, places[0]));
        self.both(|core| Move::Load(core, places[0]));
        self.both(|core| Move::Fetch(core, places[0]));
        self
    }

    /// Capabilities for these are minted and handed over.
    pub(super) fn shared(mut self, pages: &[u32]) -> Self {
        for page in pages.iter().map(|page| u64::from(*page)) {
            self.call(
                Call::cap_mint,
                [Kind::Page as u64, page, 1, all(Kind::Page), PAGE_SLOT],
            );
        }
        self.both(|core| Move::HandOver(core, SLOTS[0]));
        self
    }

    /// What holders of capabilities for these do by themselves, keeping one of these sets of rights.
    pub(super) fn narrowed(mut self, pages: &[u32], rights: &[PageRights]) -> Self {
        for page in pages.iter().map(|page| u64::from(*page)) {
            let part = [PAGE_SLOT, page, 1, READ, PAGE_SLOT];
            self.call(Call::cap_narrow, part);
        }
        self.limits(SLOTS[0], rights.iter().map(|rights| rights.bits()));
        self
    }

    fn limits(&mut self, slot: usize, rights: impl Iterator<Item = u16>) {
        let others = [Limit::Holder(0), Limit::Holder(1), Limit::Ended];
        for limit in rights.map(Limit::Rights).chain(others) {
            self.both(|core| Move::Limit(core, slot, limit));
        }
    }

    /// Capabilities for one object of each of these kinds, by index, and what holders do with them, keeping one of
    /// these sets of rights.
    pub(super) fn object_capabilities(mut self, objects: &[(Kind, u64)], rights: &[u16]) -> Self {
        for (kind, index) in objects.iter().copied() {
            let words = [kind as u64, index, 1, all(kind), OBJECT_SLOT];
            self.call(Call::cap_mint, words);
            self.call(Call::cap_narrow, [OBJECT_SLOT, index, 1, 1, OBJECT_SLOT]);
        }
        self.limits(SLOTS[1], rights.iter().copied());
        self.both(|core| Move::HandOver(core, SLOTS[1]));
        self
    }

    /// What builds tables out of any two of these pages, takes them out, and maps below them.
    pub(super) fn tables(mut self, pages: &[u32]) -> Self {
        let pages: Vec<u64> = pages.iter().map(|page| u64::from(*page)).collect();
        let [below, far] = TABLELESS;
        for table in pages.iter().copied() {
            for links in pages.iter().copied().filter(|links| *links != table) {
                for (at, level) in [(below, 3), (far, 2)] {
                    self.call(Call::table_insert, [0, at, level, table, links]);
                    let abroad = [OBJECT_SLOT, at, level, table, links];
                    self.call(Call::table_insert, abroad);
                }
            }
            self.call(Call::insert_pte, [0, below, table, 0, 1, WRITE]);
            self.call(Call::space_create, [table]);
            let uarea = [Arg::Word(0), Arg::Word(table), Arg::Word(UAREAS[1])];
            self.named(Call::env_create, uarea);
        }
        for (at, level) in [(below, 3), (far, 2), (STORE, 3), (STORE, 2)] {
            self.call(Call::table_remove, [0, at, level]);
        }
        self.call(Call::table_remove, [OBJECT_SLOT, below, 3]);
        self.call(Call::remove_pte, [0, below, 1]);
        self.call(Call::pte_note, [0, below, 1]);
        for space in 0..3 {
            self.named(Call::space_destroy, [Arg::Space(space)]);
        }
        self
    }

    /// What is done with environments, accounts and spaces; `page` is what some are made of.
    pub(super) fn domains(mut self, page: u32) -> Self {
        self = self.environments();
        let page = u64::from(page);
        for account in [
            Arg::Word(0),
            Arg::Account(1),
            Arg::Account(2),
            Arg::Word(OBJECT_SLOT),
        ] {
            self.named(Call::account_bind, [account]);
            self.named(Call::account_destroy, [account]);
        }
        let none = [1, 0, 0, 0];
        for allowance in [none, [2, 1, 1, 0]] {
            self.call(Call::account_create, allowance);
        }
        for space in [
            Arg::Word(0),
            Arg::Space(1),
            Arg::Space(2),
            Arg::Word(OBJECT_SLOT),
        ] {
            self.named(Call::space_destroy, [space]);
            let uarea = [space, Arg::Word(page), Arg::Word(UAREAS[1])];
            self.named(Call::env_create, uarea);
        }
        self.call(Call::space_create, [page]);
        self.both(Move::Fault);
        self.0.push(Move::Sweep);
        self
    }

    fn environments(mut self) -> Self {
        let presented = Arg::Word(OBJECT_SLOT);
        let owned = [0, 1, 2].map(Arg::Environment);
        for one in [Arg::Word(0), presented].into_iter().chain(owned) {
            for core in [0, 1] {
                self.named(Call::env_run, [one, Arg::Word(core)]);
            }
            for call in [
                Call::env_stop,
                Call::env_yield,
                Call::env_destroy,
                Call::console_give,
            ] {
                self.named(call, [one]);
            }
            self.named(Call::env_keep, [one, Arg::Word(3)]);
            self.named(Call::env_debug, [one, Arg::Word(1)]);
            let masked = core::mem::offset_of!(exopi_abi::uarea::UArea, masked) as u64;
            let [read, write] = [ROOM, ONE].map(|at| [masked, at, 8].map(Arg::Word));
            self.named(Call::env_read, [one, read[0], read[1], read[2]]);
            self.named(Call::env_write, [one, write[0], write[1], write[2]]);
        }
        self.call(Call::upcall_deliver, []);
        self.call(Call::resume, [1]);
        self.call(Call::board_exit, [0]);
        self
    }

    /// Several at once: runs that begin with one of these, "any", and batches.
    pub(super) fn runs(mut self, first: u32) -> Self {
        let page = u64::from(first);
        self.call(Call::page_alloc, [page, 2]);
        self.call(Call::page_alloc, [ANY, 2]);
        self.call(Call::page_free, [page, 0, 2]);
        self.call(Call::page_retire, [page, 0, 2]);
        self.call(Call::page_break, [page, 0, 2]);
        self.call(
            Call::cap_mint,
            [Kind::Page as u64, page, 2, all(Kind::Page), PAGE_SLOT],
        );
        let give = [Arg::Word(page), Arg::Word(2), Arg::Owner(1)];
        self.named(Call::page_give, give);
        for [form, slot] in [[page, 0], [PRESENTED | page, PAGE_SLOT], [NEW_ANY, 0]] {
            self.call(Call::insert_pte, [0, PLACES[0], form, slot, 2, WRITE]);
        }
        self.call(Call::remove_pte, [0, PLACES[0], 2]);
        self.call(Call::protect_pte, [0, PLACES[0], 2, READ]);
        let map = (Call::insert_pte, [PLACES[0], page, 0, 1, WRITE]);
        let new = (Call::insert_pte, [PLACES[1], NEW_ANY, 0, 1, WRITE]);
        let take = (Call::remove_pte, [PLACES[0], 1, 0, 0, 0]);
        let lower = (Call::protect_pte, [PLACES[0], 1, READ, 0, 0]);
        for (pair, on_refusal) in [([map, lower], 0), ([take, map], 1), ([take, new], 1)] {
            self.both(|core| Move::Batch(core, pair, on_refusal));
        }
        self
    }

    /// What nobody may do, with frames that are somebody's for good.
    pub(super) fn hostile(mut self) -> Self {
        for page in TABOO.map(u64::from) {
            self.call(Call::insert_pte, [0, PLACES[0], page, 0, 1, WRITE]);
            self.call(
                Call::insert_pte,
                [0, PLACES[0], PRESENTED | page, PAGE_SLOT, 1, READ],
            );
            self.call(Call::page_alloc, [page, 1]);
            self.call(Call::page_free, [page, 0, 1]);
            self.call(Call::page_break, [PRESENTED | page, PAGE_SLOT, 1]);
            self.call(
                Call::cap_mint,
                [Kind::Page as u64, page, 1, all(Kind::Page), PAGE_SLOT],
            );
            self.call(Call::table_insert, [0, TABLELESS[0], 3, page, page]);
            self.call(Call::space_create, [page]);
        }
        let superpage = [0, TABLELESS[0], 0, 0, 1, WRITE];
        self.call(Call::insert_superpage, superpage);
        let window = exopi_abi::layout::table_entry(PLACES[0]) & !(PAGE_SIZE - 1);
        self.call(Call::insert_pte, [0, window, TABOO[5].into(), 0, 1, WRITE]);
        self.both(|core| Move::Load(core, window));
        self.call(Call::remove_pte, [0, UAREAS[0], 1]);
        self.call(Call::protect_pte, [0, UAREAS[0], 1, EXECUTE]);
        self
    }
}

/// Whether EL0 may have a mapping of a frame for loads, and one for stores.
pub(super) const fn may_be_seen(kind: FrameType) -> bool {
    matches!(kind, FrameType::Plain | FrameType::UArea)
}
