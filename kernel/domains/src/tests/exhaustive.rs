//! Every state that a few calls can bring a small machine into.
//!
//! The start has two accounts, two spaces, two environments, one on each of two cores, and places for a third of
//! each. From there, breadth first: every call by whoever runs, on every object, by its owner's name and by
//! capability, and everything that a kernel does by itself. States that differ in what the epochs are, in the order of
//! free frames and in whose contents those hold count as one.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

use exopi_abi::PageSelect;
use exopi_abi::capability::{Epoch, Kind};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::{FrameType, Owner};

use super::snapshot::Snapshot;
use super::{Call, Cap, FIRST_AT, Named, Run, Storage, WRITE, World, at, page};

/// A spare page of each account, for whatever is to be made of it.
const SPARE: [u32; 2] = [20, 21];
const FRAMES: u32 = 22;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call, with objects by index: the names and capabilities are made as it is made.
    Call(u8, Call),
    Interrupt(u8),
    Dispatch(u8),
    Suspend(u8),
    Sweep,
}

/// How an object is named: `u16::MAX` for the caller's own.
fn names(world: &World<'_>, kind: Kind, indices: impl Iterator<Item = u16>) -> Vec<Named> {
    let mut names = Vec::from([Named::Own]);
    for index in indices {
        names.push(Named::Index(index));
        let epoch = match kind {
            Kind::Account => world.domains.account(index).map(|record| record.epoch),
            Kind::Space => world.domains.space(index).map(|record| record.epoch),
            _ => world.domains.environment(index).map(|record| record.epoch),
        };
        if let Some(epoch) = epoch {
            let epoch = Epoch::from_low_bits(epoch);
            names.push(Named::Cap(Cap::of(kind, ObjectName { index, epoch })));
        }
    }
    names
}

/// Everything that can happen in a state.
fn steps(world: &World<'_>) -> Vec<Step> {
    let mut calls = Vec::new();
    let environments = names(world, Kind::Environment, 0..3);
    for named in environments {
        calls.extend([
            Call::SliceAlloc(1, 1, named),
            Call::SliceBind(Named::Index(128), named),
            Call::Run(named),
            Call::Stop(named),
            Call::Yield(named),
            Call::Keep(named, 1),
            Call::Read(named, 0),
            Call::Destroy(named),
        ]);
    }
    for named in names(world, Kind::Account, 1..3) {
        calls.extend([Call::AccountBind(named), Call::AccountDestroy(named)]);
    }
    for named in names(world, Kind::Space, 0..3) {
        calls.push(Call::SpaceDestroy(named));
        for spare in SPARE {
            calls.push(Call::EnvCreate(named, page(spare), at(FIRST_AT + 0x1000)));
            let run = Run::Owned(page(spare));
            calls.push(Call::Insert(named, at(FIRST_AT + 0x2000), run, 1, WRITE));
        }
    }
    for spare in SPARE {
        calls.push(Call::SpaceCreate(page(spare)));
        calls.push(Call::Alloc(PageSelect::Exact(page(spare)), 1));
        calls.push(Call::Free(Run::Owned(page(spare)), 1));
        let to = (0..2)
            .map(|index| world.owner(index))
            .filter(|to| to.epoch() != Epoch::NONE);
        calls.extend(to.map(|to| Call::Give(page(spare), 1, to)));
    }
    for number in [0, 128, 129] {
        let named = Named::Index(number);
        calls.extend([Call::SliceMove(named, 1, u64::MAX), Call::SliceFree(named)]);
    }
    calls.extend([Call::AccountCreate([1, 0, 0, 0]), Call::Accept(1)]);
    let mut steps = Vec::from([Step::Sweep]);
    for core in 0..2 {
        steps.extend([Step::Interrupt(core), Step::Dispatch(core)]);
        if world.on[usize::from(core)].is_some() {
            steps.push(Step::Suspend(core));
            steps.extend(calls.iter().map(|call| Step::Call(core, *call)));
        }
    }
    steps
}

/// A number for a state, the same for those that count as one.
fn canonical(world: &World<'_>) -> u64 {
    let domains = &world.domains;
    let mut state = DefaultHasher::new();
    let owner = |owner: Owner| domains.charged(owner).map(|_| owner.index());
    for index in 0..4 {
        if let Some(record) = domains.account(index) {
            let rest = (record.accepts, record.dying, record.cursor);
            (index, record.parent, record.used, record.allowance, rest).hash(&mut state);
        }
        if let Some(record) = domains.space(index) {
            let rest = (record.root, record.members, record.dying, record.cursor);
            (index, owner(record.owner), rest).hash(&mut state);
        }
        if let Some(record) = domains.environment(index) {
            let keeper = ObjectName::from_word(record.keeper);
            let keeper = domains
                .lives(keeper)
                .then_some((keeper.index, record.keeper_bit));
            let who = (owner(record.account), owner(record.bound), record.space);
            // The epoch is left out.
            let life = domains.life(index).bits() & 0xffff;
            let place = (life, record.slices, record.notices);
            (index, who, place, keeper, record.uarea).hash(&mut state);
        }
    }
    for number in 0..world.frames {
        let record = domains.pages.record(page(number)).expect("it is there");
        (record.kind, owner(record.charged_to())).hash(&mut state);
        match record.kind {
            FrameType::Free | FrameType::Kernel => {}
            FrameType::Plain | FrameType::UArea => {
                (record.references, record.first, record.marks).hash(&mut state);
            }
            _ => {
                (record.first, record.second).hash(&mut state);
                world.hw.contents(page(number)).hash(&mut state);
            }
        }
    }
    domains.hash_cores(&mut state);
    for core in 0..2 {
        let on = world.on.get(core).copied().flatten();
        on.map(|by| by.name.index).hash(&mut state);
    }
    for (number, record) in (0u16..).zip(domains.slice_records()) {
        if !record.is_free() {
            let environment = ObjectName::from_word(record.environment).index;
            (number, environment, owner(record.account)).hash(&mut state);
        }
    }
    (world.told, world.left).hash(&mut state);
    state.finish()
}

/// Does a step. `false` says that it was refused.
fn happen(world: &mut World<'_>, step: Step) -> bool {
    match step {
        Step::Call(core, call) => {
            let reply = world.call(core, call);
            let busy = reply.error() == Some(exopi_abi::Error::Busy);
            return reply.error().is_none() || reply.status >> 16 != 0 || busy;
        }
        Step::Interrupt(core) => world.interrupt(core),
        Step::Dispatch(core) => world.dispatch(core),
        Step::Suspend(core) => {
            let _ = world.suspend(core);
        }
        Step::Sweep => {
            let _ = world.sweep();
        }
    }
    true
}

/// The start: a tenant on core 1, and a spare page for each account.
fn start(storage: &mut Storage) -> World<'_> {
    let mut world = World::new(storage, 2);
    let _ = world.tenant([8, 2, 2, 0], 1);
    for (core, spare) in (0..).zip(SPARE) {
        let alloc = Call::Alloc(PageSelect::Exact(page(spare)), 1);
        assert_eq!(world.call(core, alloc).error(), None);
    }
    world
}

/// Explores to `depth` steps. Gives how many states there were, and in which of them everything of the tenant's was
/// gone.
fn explore(depth: usize) -> (usize, usize) {
    let mut storage = Storage::new(FRAMES, 3, 3, 3);
    let first: Snapshot = start(&mut storage).snapshot();
    let mut seen = HashSet::new();
    let mut level = Vec::from([first]);
    let mut ended = 0;
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &level {
            let mut storage = Storage::new(FRAMES, 3, 3, 3);
            let all = steps(&state.restore(&mut storage));
            let before = canonical(&state.restore(&mut storage));
            for step in all {
                let mut world = state.restore(&mut storage);
                let done = happen(&mut world, step);
                let after = canonical(&world);
                if !done && world.on == state.on() {
                    assert_eq!(
                        after, before,
                        "refused, and something has changed: {step:?}"
                    );
                }
                if seen.insert(after) {
                    assert_eq!(world.check(), Ok(()), "{step:?}");
                    let live: BTreeSet<_> = (0..3)
                        .filter(|index| world.domains.account(*index).is_some())
                        .collect();
                    ended += usize::from(live.len() == 1);
                    next.push(world.snapshot());
                }
            }
        }
        level = next;
    }
    (seen.len(), ended)
}

#[test]
fn five_steps_lead_to_no_bad_state() {
    let (states, ended) = explore(5);
    assert!(
        states > 50_000 && ended > 200,
        "{states} states, {ended} of them after the end"
    );
}
