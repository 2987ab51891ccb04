//! A number for a state, the same for those that count as one.
//!
//! Two states count as one if no sequence of calls can tell them apart, but for these, of which each says why
//! nothing is lost by it:
//!
//! | left out | because |
//! | --- | --- |
//! | the values of epochs | they are only compared: what counts is which frames are stamped alike, and which names and capabilities are good for what is there; one that no record has any more is never given again |
//! | capabilities that are good for nothing any more | they stay so: all of them count as one |
//! | names of spare frames, if the moves name them all alike | a state with two of them exchanged has the exchanged moves; so does the account of who was given what |
//! | the order of free lists | it decides which frame "any" is, and every frame can be had by its number, too |
//! | what TLBs and walk caches hold | it must be what the tables say, and is checked after each move |
//! | where the background looks next, counters, words that calls only write | no decision depends on them |
//!
//! What the oracle knows is part of the state: where kernel and oracle differ in what somebody may, that must not
//! hide behind a state that looks the same to the kernel.

use std::hash::{DefaultHasher, Hash, Hasher};

use exopi_abi::capability::{Capability, Kind};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::{FrameType, NONE, Owner, PageRecord};
use exopi_abi::{PageNumber, layout};
use exopi_domains::Domains;
use exopi_pages::{Slot, pte};
use exopi_sequence::stage::{OPERATIONS, STORE, operations_address, slot_address};

use super::super::judge::Judged;
use super::super::oracle::{Words, renamed};
use super::stage::{BOARD, ROOM, SPARE};

/// Slots that moves use: one for capabilities for pages, one for others.
pub(super) const SLOTS: [usize; 2] = [0, 1];

/// The store of each space that has one.
type Stores = [Option<u32>; BOARD.spaces];

/// Other numbers for frames.
type Names = [u32; BOARD.frames as usize];

/// The place of an account in its table, if it is one.
fn account(domains: &Domains<'_>, owner: Owner) -> Option<u16> {
    let record = domains.account(owner.index())?;
    (record.epoch == owner.epoch().bits()).then_some(owner.index())
}

/// The state's number. With `alike`, spare frames have no names of their own.
pub(super) fn canonical(judged: &Judged<'_>, alike: bool) -> u64 {
    let orders: &[[usize; 3]] = if alike {
        &[
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ]
    } else {
        &[[0, 1, 2]]
    };
    // Only orders in which what is to be seen of the frames themselves ascends: the others give no less.
    let looks = SPARE.map(|frame| if alike { look(judged, frame) } else { 0 });
    let ascends = |order: &&[usize; 3]| order.is_sorted_by_key(|at| looks[*at]);
    let stores = core::array::from_fn(|space| judged.kernel.frame_in(space as u16, STORE));
    let numbers = orders.iter().filter(ascends).map(|order| {
        let mut names: Names = core::array::from_fn(|frame| frame as u32);
        for (place, at) in SPARE.iter().zip(order) {
            names[SPARE[*at] as usize] = *place;
        }
        number(judged, &names, &stores)
    });
    numbers.min().unwrap_or_default()
}

/// What of a frame does not depend on the names of others.
fn look(judged: &Judged<'_>, frame: u32) -> u64 {
    let domains = judged.kernel.domains();
    let mut state = DefaultHasher::new();
    let Some(record) = domains.pages.record(PageNumber::new(frame)) else {
        return 0;
    };
    (record.kind, record.references, record.foreign).hash(&mut state);
    (account(domains, record.owner), record.stamp.limit()).hash(&mut state);
    state.finish()
}

fn number(judged: &Judged<'_>, names: &Names, stores: &Stores) -> u64 {
    let mut state = DefaultHasher::new();
    frames(judged, names, stores, &mut state);
    objects(judged, names, &mut state);
    for store in stores {
        for slot in SLOTS {
            let words = store.map(|store| words_in(judged, store, slot));
            held(judged, names, words, &mut state);
        }
    }
    judged.oracle.digest(names, &mut state);
    state.finish()
}

/// The words in a slot of a store.
fn words_in(judged: &Judged<'_>, store: u32, slot: usize) -> Words {
    let contents = judged.kernel.machine().contents(PageNumber::new(store));
    let first = ((slot_address(slot) - STORE) / 8) as usize;
    core::array::from_fn(|word| contents.get(&(first + word)).copied().unwrap_or_default())
}

/// Frames in the order of their names.
fn frames(judged: &Judged<'_>, names: &Names, stores: &Stores, state: &mut DefaultHasher) {
    let domains = judged.kernel.domains();
    let machine = judged.kernel.machine();
    let mut order: [u32; BOARD.frames as usize] = core::array::from_fn(|frame| frame as u32);
    order.sort_by_key(|frame| renamed(names, *frame));
    let mut epochs = Vec::new();
    for number in order {
        let frame = PageNumber::new(number);
        let Some(record) = domains.pages.record(frame) else {
            continue;
        };
        let epoch = record.stamp.epoch();
        let alike = epochs.iter().position(|other| *other == epoch);
        let class = alike.unwrap_or(epochs.len());
        if alike.is_none() {
            epochs.push(epoch);
        }
        (record.kind, account(domains, record.owner), class).hash(state);
        (record.stamp.limit(), record.references, record.foreign).hash(state);
        (record.marks, words(record, names)).hash(state);
        if record.kind != FrameType::Kernel {
            machine.has_stale_code(frame).hash(state);
            for (index, word) in machine.contents(frame) {
                if !(stores.contains(&Some(number)) && is_private(*index)) {
                    (index, content(record.kind, *word, names)).hash(state);
                }
            }
        }
    }
}

/// The two words of a record that are by type.
fn words(record: &PageRecord, names: &Names) -> [u32; 2] {
    let slot = |word: u32| match Slot::from_word(word) {
        slot if slot.is_none() => NONE,
        slot => renamed(names, slot.table().get()) << 9 | slot.index().get() as u32,
    };
    let frame = |word: u32| renamed(names, word);
    match record.kind {
        FrameType::Kernel | FrameType::Free => [0; 2],
        FrameType::Plain | FrameType::UArea => [slot(record.first), slot(record.second)],
        FrameType::Root => [record.first, record.second],
        FrameType::Table2 | FrameType::Table3 => [record.first, frame(record.second)],
        FrameType::Links => [frame(record.first), slot(record.second)],
    }
}

/// A word of a frame, by what the frame is.
fn content(kind: FrameType, word: u64, names: &Names) -> u64 {
    match kind {
        FrameType::Root | FrameType::Table2 | FrameType::Table3 if pte::is_valid(word) => {
            let frame = u64::from(pte::frame(word).get());
            let name = u64::from(renamed(names, frame as u32));
            word ^ (frame ^ name) << layout::PAGE_SIZE.trailing_zeros()
        }
        FrameType::Links => {
            let half = |half: u32| match Slot::from_word(!half) {
                slot if slot.is_none() => half,
                slot => !(renamed(names, slot.table().get()) << 9 | slot.index().get() as u32),
            };
            u64::from(half((word >> 32) as u32)) << 32 | u64::from(half(word as u32))
        }
        _ => word,
    }
}

/// Words of a store that are told by what they mean ([`held`]), or that calls write and nothing reads.
fn is_private(index: usize) -> bool {
    let at = STORE + 8 * index as u64;
    let slots = slot_address(0)..slot_address(SLOTS.len());
    let operations = operations_address();
    let operations = operations..operations + (64 * OPERATIONS) as u64;
    slots.contains(&at) || operations.contains(&at) || (ROOM..ROOM + 64).contains(&at)
}

/// Accounts, spaces, environments and cores.
fn objects(judged: &Judged<'_>, names: &Names, state: &mut DefaultHasher) {
    let domains = judged.kernel.domains();
    let environment = |name: ObjectName| domains.lives(name).then_some(name.index);
    for index in 0..BOARD.accounts as u16 {
        let record = domains.account(index).map(|record| {
            let spent = (record.used, record.allowance, record.accepts);
            (record.parent, record.dying, record.cursor, spent)
        });
        record.hash(state);
    }
    for index in 0..BOARD.spaces as u16 {
        let record = domains.space(index).map(|record| {
            let root = (renamed(names, record.root), record.asid);
            let end = (record.members, record.dying, record.cursor);
            (account(domains, record.owner), root, end)
        });
        record.hash(state);
    }
    for index in 0..BOARD.environments as u16 {
        let record = domains.environment(index).map(|record| {
            let keeper = environment(ObjectName::from_word(record.keeper));
            let owners = [record.account, record.bound].map(|owner| account(domains, owner));
            // A word without its epoch.
            let life = domains.life(index).bits() as u16;
            let place = (life, record.slices, record.debugged);
            let told = (
                keeper.map(|keeper| (keeper, record.keeper_bit)),
                record.notices,
            );
            let uarea = (renamed(names, record.uarea), record.uarea_at);
            (owners, record.space, place, told, uarea)
        });
        record.hash(state);
    }
    domains.hash_cores(state);
    environment(judged.kernel.console()).hash(state);
    judged.kernel.power().is_some().hash(state);
}

/// A capability in a slot: what kernel and oracle say that it is good for.
fn held(judged: &Judged<'_>, names: &Names, words: Option<Words>, state: &mut DefaultHasher) {
    let domains = judged.kernel.domains();
    let found = words.and_then(|words| Some((words, Capability::from_words(words).ok()?)));
    let Some((words, capability)) = found else {
        words.is_some().hash(state);
        return;
    };
    let body = capability.body();
    let index = body.index();
    let object = |epoch: Option<u64>| epoch == Some(body.epoch().bits());
    let page = |page: u32| {
        let record = domains.pages.record(PageNumber::new(page));
        record.is_some_and(|record| record.stamp.epoch() == body.epoch())
    };
    let good: Vec<bool> = match body.kind() {
        Kind::Page => (index..index + body.count()).map(page).collect(),
        Kind::Account => vec![object(domains.account(index as u16).map(|it| it.epoch))],
        Kind::Space => vec![object(domains.space(index as u16).map(|it| it.epoch))],
        _ => vec![object(domains.environment(index as u16).map(|it| it.epoch))],
    };
    let known = judged.oracle.held(&words, state);
    if !known && !good.contains(&true) {
        u8::MAX.hash(state);
        return;
    }
    let name = match body.kind() {
        Kind::Page => renamed(names, index),
        _ => index,
    };
    (good, body.kind(), name, body.count(), body.rights().bits()).hash(state);
    for caveat in capability.caveats() {
        // A holder's identity is the oracle's to tell, the time is always the same.
        (caveat.word() >> 24).hash(state);
    }
}
