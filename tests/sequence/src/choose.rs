//! Chooses the next step of an environment: at random, by what there is.
//!
//! A call with random words is refused at its first argument, so most choices are sensible: pages of the
//! caller's own, capabilities of the kind that is wanted, places with tables. A share of each is not: what
//! belongs to others, what is stale, forged or of another kind, borders of counts. And of a few calls
//! one word is anything at all.

use exopi_abi::capability::Kind;
use exopi_abi::domain::ObjectName;
use exopi_abi::page::{FrameType, PageRecord};
use exopi_abi::{Call, Operation, PageNumber};

use crate::stage::{
    BAD_PLACES, BYTES, OPERATIONS, PLACES, SLOTS, bytes_address, operations_address, slot_address,
};
use crate::{Names, Random, Step, World};

mod edits;
mod objects;
mod replayable;

use replayable::{names_no_other, replayable};

/// For what a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look for a way past the rules, in a simulated kernel: anything goes.
    Search,
    /// To be made on the target by the program that tells of it, and again on the simulated kernel:
    /// nothing that stops the program, takes its console or depends on what other cores do meanwhile.
    Replay,
}

/// How often each call is made, relative to the others.
const WEIGHTS: [(Call, u64); 69] = [
    (Call::null, 1),
    (Call::page_alloc, 8),
    (Call::page_free, 5),
    (Call::table_insert, 6),
    (Call::table_remove, 3),
    (Call::insert_pte, 14),
    (Call::remove_pte, 5),
    (Call::resume, 1),
    (Call::console_write, 1),
    (Call::console_read, 1),
    (Call::board_exit, 1),
    (Call::board_reset, 1),
    (Call::protect_pte, 5),
    (Call::insert_superpage, 3),
    (Call::pte_note, 2),
    (Call::pte_batch, 5),
    (Call::cap_mint, 9),
    (Call::cap_narrow, 5),
    (Call::page_give, 4),
    (Call::page_accept, 3),
    (Call::page_retire, 3),
    (Call::page_break, 3),
    (Call::page_limit, 2),
    (Call::account_create, 3),
    (Call::account_bind, 4),
    (Call::account_destroy, 2),
    (Call::space_create, 4),
    (Call::space_destroy, 2),
    (Call::env_create, 4),
    (Call::env_run, 2),
    (Call::env_stop, 1),
    (Call::env_yield, 2),
    (Call::env_keep, 2),
    (Call::env_debug, 1),
    (Call::env_read, 2),
    (Call::env_write, 2),
    (Call::env_destroy, 2),
    (Call::upcall_deliver, 1),
    (Call::console_give, 1),
    (Call::gate_bind, 4),
    (Call::gate_unbind, 1),
    (Call::gate_yield, 2),
    (Call::pct_call, 4),
    (Call::pct_send, 2),
    (Call::pct_reply, 4),
    // What it leads to depends on the time, and is looked at with a clock in the tests of `exopi-domains`.
    (Call::revoke_request, 0),
    (Call::revoke_answer, 1),
    (Call::revoke_setup, 3),
    (Call::msgring_set, 3),
    (Call::msgring_clear, 1),
    (Call::msgring_send, 4),
    // Frames have random searches of their own in the tests of `exopi-frames`.
    (Call::account_allow, 3),
    (Call::dpf_split, 0),
    (Call::dpf_insert, 0),
    (Call::dpf_delete, 0),
    (Call::dpf_ref, 0),
    (Call::dpf_unref, 0),
    (Call::dpf_pktring, 0),
    (Call::pktring_setring, 0),
    (Call::pktring_modring, 0),
    (Call::pktring_delring, 0),
    (Call::nettap, 0),
    (Call::send_refine, 0),
    (Call::send_delete, 0),
    (Call::net_xmit, 0),
    (Call::slice_alloc, 4),
    (Call::slice_bind, 3),
    (Call::slice_move, 3),
    (Call::slice_free, 2),
];

const _: () = assert!(WEIGHTS.len() == Call::ALL.len());

/// Whether a call is about gates or goes through one.
const fn goes_through_a_gate(call: Call) -> bool {
    use Call::{gate_bind, gate_unbind, gate_yield, msgring_send, pct_call, pct_reply, pct_send};
    matches!(
        call,
        gate_bind | gate_unbind | gate_yield | pct_call | pct_send | pct_reply | msgring_send
    )
}

/// Values at which something begins or ends.
const BORDERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    17,
    32,
    64,
    65,
    128,
    129,
    255,
    256,
    257,
    511,
    512,
    513,
    0xffff,
    1 << 24,
    1 << 32,
    u64::MAX,
];

/// Chooses steps.
#[derive(Clone, Debug)]
pub struct Chooser {
    random: Random,
    purpose: Purpose,
}

impl Chooser {
    /// The steps of a seed.
    pub const fn new(seed: u64, purpose: Purpose) -> Self {
        Self {
            random: Random::new(seed),
            purpose,
        }
    }

    /// The next step of the environment that sees `world`.
    pub fn step<W: World>(&mut self, world: &W, names: &Names) -> Step {
        match self.random.below(100) {
            0..12 => Step::Edit(self.edit(world, names)),
            12..17 => Step::Load { at: self.touched() },
            17..22 => Step::Store {
                at: self.touched(),
                value: self.random.word(),
            },
            22..24 if self.purpose == Purpose::Search => Step::Fetch { at: self.touched() },
            _ => self.allowed_call(world, names),
        }
    }

    /// A call that the purpose allows.
    fn allowed_call<W: World>(&mut self, world: &W, names: &Names) -> Step {
        let step = self.call(world, names);
        match (self.purpose, step) {
            (Purpose::Replay, Step::Call { number, words, .. })
                if !replayable(world, names, number, &words) =>
            {
                Step::Call {
                    number: Call::null.number(),
                    words: [0; 6],
                    operations: None,
                }
            }
            _ => step,
        }
    }

    fn call<W: World>(&mut self, world: &W, names: &Names) -> Step {
        // What leads to others cannot be made again, and is not drawn for it.
        let search = self.purpose == Purpose::Search;
        let weights = || {
            let drawn = WEIGHTS.iter();
            drawn.filter(move |(call, _)| search || !goes_through_a_gate(*call))
        };
        let total = weights().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(total);
        let drawn = weights().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let call = drawn.map_or(Call::null, |(call, _)| *call);
        let number = if self.random.below(300) == 0 {
            self.random.below(80) as u16
        } else {
            call.number()
        };
        // Words that are sensible for another call name what has other numbers on every machine.
        let meant = Call::from_number(number).filter(|_| !search);
        let mut words = self.words(meant.unwrap_or(call), world, names);
        if self.random.chance(4) {
            self.spoil(&mut words, names);
        }
        let operations = (number == Call::pte_batch.number())
            .then(|| core::array::from_fn(|_| self.operation(world, names)));
        Step::Call {
            number,
            words,
            operations,
        }
    }

    /// Makes one word anything.
    fn spoil(&mut self, words: &mut [u64; 6], names: &Names) {
        let at = self.random.below(6) as usize;
        let value = match self.random.below(5) {
            0 => self.random.pick(&BORDERS),
            1 => self.random.pick(&BAD_PLACES),
            2 => words[at] ^ 1 << self.bit_of_word(),
            // A number that is not the same on every machine may mean anything where no page is meant.
            3 if self.purpose == Purpose::Search => self.any_page(names),
            _ => self.random.word(),
        };
        words[at] = value;
    }

    /// Where the sequence is made twice, not one that makes another page's number of a page's.
    fn bit_of_word(&mut self) -> u64 {
        let bit = self.random.below(64);
        match self.purpose {
            Purpose::Replay => bit | 32,
            Purpose::Search => bit,
        }
    }

    fn words<W: World>(&mut self, call: Call, world: &W, names: &Names) -> [u64; 6] {
        use Call::*;
        match call {
            page_alloc => {
                let (which, count) = self.new_pages(world, names);
                [which, count, 0, 0, 0, 0]
            }
            page_free | page_retire | page_break => {
                let [page, capability] = self.run(world, names);
                [page, capability, self.count(), 0, 0, 0]
            }
            table_insert | table_remove | insert_pte | remove_pte | protect_pte
            | insert_superpage | pte_note => self.mapping(call, world, names),
            pte_batch => {
                let count = self.random.pick(&[1, 2, 3, 4, 4, 4, 0, 5, 17]);
                let space = self.object(Kind::Space, world, names);
                [space, self.operations(), count, self.random.below(2), 0, 0]
            }
            cap_mint => self.mint(world, names),
            cap_narrow => self.narrow(world, names),
            page_give => {
                let page = self.own_page(world, names);
                [page, self.count(), self.account_word(names), 0, 0, 0]
            }
            page_accept => [self.random.pick(&[0, 1, 2, 3, 8, 1 << 31]), 0, 0, 0, 0, 0],
            page_limit => {
                let page = self.own_page(world, names);
                let limit = self.random.pick(&[0, 1, 2, 64, 0xffff, 0x1_0000]);
                [page, self.count(), limit, 0, 0, 0]
            }
            _ => self.domain_words(call, world, names),
        }
    }

    /// Words of the calls that are about a space's tables and entries.
    fn mapping<W: World>(&mut self, call: Call, world: &W, names: &Names) -> [u64; 6] {
        let space = self.object(Kind::Space, world, names);
        let at = match call {
            Call::remove_pte | Call::protect_pte => self.place_that(world, true),
            Call::insert_pte => self.place_that(world, false),
            _ => self.place(),
        };
        match call {
            Call::table_insert => {
                let level = self.random.pick(&[3, 3, 3, 2, 2, 1, 4]);
                let [table, links] = [0; 2].map(|_| self.spare_page(world, names));
                [space, at, level, table, links, 0]
            }
            Call::table_remove => [space, at, self.random.pick(&[3, 3, 3, 2, 2, 4]), 0, 0, 0],
            Call::insert_pte => {
                let ([first, second], count) = if self.random.chance(15) {
                    let (which, count) = self.new_pages(world, names);
                    ([which.wrapping_add(2 << 56), 0], count)
                } else {
                    (self.run(world, names), self.count())
                };
                [space, at, first, second, count, self.access()]
            }
            Call::insert_superpage => {
                let at = self.random.pick(&[PLACES[7], PLACES[8], PLACES[0], at]);
                let [mut page, capability] = self.run(world, names);
                if self.random.chance(90) {
                    // Around a page from a free list there is another superpage on each machine.
                    page = match (self.purpose, names.pages().first()) {
                        (Purpose::Replay, Some(first)) => {
                            page >> 56 << 56 | u64::from(first.get()) & !511
                        }
                        _ => page & !511,
                    };
                }
                let count = self.random.pick(&[1, 1, 1, 2, 3, 0]);
                [space, at, page, capability, count, self.access()]
            }
            Call::remove_pte => [space, at, self.count(), 0, 0, 0],
            Call::protect_pte => [space, at, self.count(), self.access(), 0, 0],
            _ => [
                space,
                at,
                self.random.pick(&[0, 1, 0x1234, u64::MAX >> 1, u64::MAX]),
                0,
                0,
                0,
            ],
        }
    }

    /// An operation of a batch: a call without its space.
    fn operation<W: World>(&mut self, world: &W, names: &Names) -> Operation {
        use Call::*;
        let calls = [
            insert_pte,
            insert_pte,
            insert_pte,
            remove_pte,
            protect_pte,
            insert_superpage,
            pte_note,
            page_free,
        ];
        let call = self.random.pick(&calls);
        let mut words = match call {
            page_free => [0; 6],
            _ => self.mapping(call, world, names),
        };
        // What a batch allocates nobody tells; a sequence that is replayed does without.
        let told = words[2] >> 56 <= 2 && names_no_other(names, call, &words);
        let pages = matches!(call, insert_pte | insert_superpage);
        if pages && self.purpose != Purpose::Search && !told {
            words[2] = self.own_page(world, names);
        }
        let [_, arguments @ ..] = words;
        Operation {
            call: call.number().into(),
            arguments,
            status: 0,
            value: 0,
        }
    }

    fn operations(&mut self) -> u64 {
        if self.random.chance(95) {
            operations_address()
        } else {
            self.random.pick(&[
                0,
                operations_address() + 4,
                bytes_address() + 2040,
                PLACES[0],
            ])
        }
    }

    /// A count, mostly a small one.
    fn count(&mut self) -> u64 {
        match self.random.below(20) {
            0 => self.random.pick(&BORDERS),
            1..6 => self.random.below(5),
            _ => 1,
        }
    }

    fn access(&mut self) -> u64 {
        self.random
            .pick(&[1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 7, 7, 0, 2, 6, 8])
    }

    /// A place to map at; the first ones most.
    fn place(&mut self) -> u64 {
        if self.random.chance(3) {
            return self.random.pick(&BAD_PLACES);
        }
        let few = self.random.chance(60);
        let end = if few { 4 } else { PLACES.len() as u64 };
        let place = PLACES[self.random.below(end) as usize];
        // What is mapped at the lowest addresses is the business of the program that replays.
        if self.purpose != Purpose::Search && place < PLACES[0] {
            PLACES[0]
        } else {
            place
        }
    }

    /// Mostly a place at which something is mapped, or nothing, in the caller's own space.
    fn place_that<W: World>(&mut self, world: &W, mapped: bool) -> u64 {
        let start = self.place();
        if self.random.chance(25) {
            return start;
        }
        let first = PLACES.iter().position(|place| *place == start).unwrap_or(0);
        let turned = PLACES.iter().skip(first).chain(PLACES.iter().take(first));
        let mut found = turned.copied().filter(|place| *place >= PLACES[0]);
        found
            .find(|place| (world.entry(*place) & 1 == 1) == mapped)
            .unwrap_or(start)
    }

    /// An address that the program itself uses.
    fn touched(&mut self) -> u64 {
        let place = PLACES[self.random.below(12) as usize];
        place + 8 * self.random.below(512)
    }

    /// Which pages to allocate, and how many.
    fn new_pages<W: World>(&mut self, world: &W, names: &Names) -> (u64, u64) {
        match self.random.below(10) {
            0..5 => (self.free_page(world, names), self.count()),
            5..7 => (1 << 56, self.listed_count()),
            7..9 => (2 << 56 | self.random.below(8), self.listed_count()),
            _ => (self.any_page(names), self.count()),
        }
    }

    /// How many from free lists. Nobody tells the numbers of the second and later ones, and a sequence that is
    /// replayed has no other way to know them.
    fn listed_count(&mut self) -> u64 {
        match self.purpose {
            Purpose::Search => self.count(),
            Purpose::Replay => 1,
        }
    }

    /// A page with a name, or nearly.
    fn any_page(&mut self, names: &Names) -> u64 {
        match self.random.below(12) {
            0 => self.random.pick(&[0, 1, u32::MAX.into(), 1 << 32, 1 << 23]),
            _ if names.pages().is_empty() => 0,
            _ => self.random.pick(names.pages()).get().into(),
        }
    }

    /// A named page for which `wanted` holds, if there is one; else any.
    fn page<W: World>(
        &mut self,
        world: &W,
        names: &Names,
        wanted: impl Fn(&PageRecord) -> bool,
    ) -> u64 {
        let pages = names.pages();
        if self.random.chance(88) {
            let start = self.random.below(pages.len() as u64) as usize;
            let turned = pages.iter().skip(start).chain(pages.iter().take(start));
            for page in turned {
                if world.page(*page).is_some_and(|record| wanted(&record)) {
                    return page.get().into();
                }
            }
        }
        self.any_page(names)
    }

    /// Mostly a plain page of the account that is drawn on.
    fn own_page<W: World>(&mut self, world: &W, names: &Names) -> u64 {
        let bound = world.bound();
        self.page(world, names, |record| {
            record.kind == FrameType::Plain && record.owner == bound
        })
    }

    /// Mostly one to which nothing refers, too.
    fn spare_page<W: World>(&mut self, world: &W, names: &Names) -> u64 {
        let bound = world.bound();
        self.page(world, names, |record| {
            record.kind == FrameType::Plain && record.owner == bound && record.references == 0
        })
    }

    fn free_page<W: World>(&mut self, world: &W, names: &Names) -> u64 {
        self.page(world, names, |record| record.kind == FrameType::Free)
    }

    /// Pages and the right by which they are named: the words of a `PageRun`.
    fn run<W: World>(&mut self, world: &W, names: &Names) -> [u64; 2] {
        if self.random.chance(55) {
            return [self.own_page(world, names), 0];
        }
        let slot = self.slot(Kind::Page, world);
        let page = match world.capability(slot) {
            Some(capability) if self.random.chance(90) => {
                let body = capability.body();
                u64::from(body.index()) + self.random.below(u64::from(body.count()).min(600))
            }
            _ => self.any_page(names),
        };
        [1 << 56 | page & 0xffff_ffff, slot_address(slot)]
    }

    /// Mostly a slot with a capability of this kind.
    fn slot<W: World>(&mut self, kind: Kind, world: &W) -> usize {
        let start = self.random.below(SLOTS as u64) as usize;
        if self.random.chance(90) {
            for slot in (start..SLOTS).chain(0..start) {
                let found = world.capability(slot);
                if found.is_some_and(|capability| capability.body().kind() == kind) {
                    return slot;
                }
            }
        }
        start
    }

    fn any_slot(&mut self) -> usize {
        self.random.below(SLOTS as u64) as usize
    }
}

/// Gives names to what a call has made.
pub fn learn<W: World>(
    names: &mut Names,
    world: &W,
    number: u16,
    words: &[u64; 6],
    reply: exopi_abi::Reply,
) {
    use Call::*;
    let made = |kind| (kind, ObjectName::from_word(reply.value));
    let (kind, name) = match Call::from_number(number) {
        Some(page_alloc) if reply.status >> 16 > 0 => {
            return names.add_page(PageNumber::new(reply.value as u32));
        }
        Some(insert_pte) if words[2] >> 56 > 2 && words[0] == 0 => {
            let entry = world.entry(words[1]);
            if reply.status >> 16 > 0 && entry & 1 == 1 {
                names.add_page(PageNumber::new((entry >> 12) as u32));
            }
            return;
        }
        Some(account_create) => made(Kind::Account),
        Some(space_create) => made(Kind::Space),
        Some(env_create) => made(Kind::Environment),
        Some(slice_alloc | slice_move) => made(Kind::Slice),
        _ => return,
    };
    if reply.error().is_none() {
        names.add(kind, name);
    }
}

/// Whether a call has to be made again until what it destroys is gone. The kernel goes on meanwhile, so how
/// often that is, nobody knows beforehand.
pub fn is_unfinished(number: u16, reply: exopi_abi::Reply) -> bool {
    use Call::*;
    let destroys = matches!(
        Call::from_number(number),
        Some(account_destroy | space_destroy | env_destroy)
    );
    destroys && reply.status == 0
}

/// Longest range of bytes that a call is given.
const LONGEST: u64 = BYTES;
const _: () = assert!(OPERATIONS == 4 && LONGEST >= 512);
