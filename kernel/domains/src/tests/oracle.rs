//! An environment reaches its own pages and no others, and finds nothing in them that somebody else left.
//!
//! A tenant and its children, of any number of environments, make random calls and name whatever there is; they
//! have been given nothing. Beside them the first environment writes a secret into pages and frees some.

use std::vec::Vec;

use exopi_abi::PageSelect;
use exopi_abi::capability::Kind;
use exopi_abi::domain::{EnvironmentState, ObjectName};
use exopi_abi::page::{FrameType, Owner};
use exopi_pages::Index;
use proptest::prelude::*;

use super::random::{CORES, Choices, FRAMES, PLACES, Step, spare};
use super::{Call, Cap, Named, Run, Storage, WRITE, World, page};

const SECRET: u64 = 0x5ec2_e700_5ec2_e700;

/// The owners of the tree of accounts below the one at `index`, itself among them.
fn tree(world: &World<'_>, index: u16) -> Vec<Owner> {
    let mut owners = Vec::from([world.owner(index)]);
    let mut next = 0;
    while let Some(owner) = owners.get(next).copied() {
        let children = (0..u16::from(PLACES)).filter(|child| {
            let parent = world.domains.account(*child).map(|record| record.parent);
            parent == Some(owner.index()) && *child != owner.index()
        });
        owners.extend(children.map(|child| world.owner(child)));
        next += 1;
    }
    owners
}

/// What the first environment does meanwhile: it fills a page, or gives one back.
fn first(world: &mut World<'_>, byte: u8) {
    let spare = spare(world, 0);
    match spare.get(usize::from(byte) / 2 % spare.len().max(1)) {
        Some(page) if byte.is_multiple_of(2) => {
            let _ = world.call(0, Call::Free(Run::Owned(*page), 1));
        }
        _ => {
            let reply = world.call(0, Call::Alloc(PageSelect::Any, 1));
            if reply.error().is_none() {
                let page = page(reply.value as u32);
                world.hw.write(page, Index::truncate(byte.into()), SECRET);
            }
        }
    }
}

/// Lets a tenant that has stopped go on: by the first environment, which has the right to.
fn revive(world: &mut World<'_>, core: u8) {
    for index in 1..u16::from(PLACES) {
        if let Some(record) = world.domains.environment(index) {
            let name = ObjectName::from_word(record.epoch << 16 | u64::from(index));
            let named = Named::Cap(Cap::of(Kind::Environment, name));
            if world.domains.life(index).state() == EnvironmentState::Suspended {
                let _ = world.call(0, Call::Stop(named));
            }
            let _ = world.run(0, named, core.into());
        }
    }
    world.dispatch(core);
}

/// Everything that the tree's environments can see.
fn check(world: &World<'_>, owners: &[Owner]) {
    for space in (0..u16::from(PLACES)).filter_map(|index| world.domains.space(index)) {
        let theirs = owners.contains(&space.owner);
        let all = world
            .hw
            .translations()
            .filter(|(asid, ..)| *asid == space.asid);
        for (_, at, reached) in all {
            let record = world.domains.pages.record(reached.frame);
            let charged = record.map_or(Owner::NOBODY, |record| record.charged_to());
            assert_eq!(
                owners.contains(&charged),
                theirs,
                "{at:#x} reaches {reached:?}"
            );
        }
    }
    for number in 0..world.frames {
        let record = world
            .domains
            .pages
            .record(page(number))
            .expect("it is there");
        if owners.contains(&record.charged_to()) && record.kind != FrameType::Links {
            let secret = world
                .hw
                .contents(page(number))
                .values()
                .any(|word| *word == SECRET);
            assert!(!secret, "frame {number} holds what another has left");
        }
    }
}

fn run(steps: &[[u8; 10]]) -> u64 {
    let mut storage = Storage::new(FRAMES, PLACES.into(), PLACES.into(), PLACES.into());
    let mut world = World::new(&mut storage, CORES);
    for byte in 0..20 {
        first(&mut world, byte * 2 + 1);
    }
    let (account, environment) = world.tenant([30, 4, 3, 2], 1);
    let space = world
        .domains
        .environment(environment.index)
        .expect("it is there")
        .space;
    let epoch = world.domains.space(space).expect("it is there").epoch;
    let space = ObjectName::from_word(epoch << 16 | u64::from(space));
    let mut names = Vec::from([(Kind::Environment, environment), (Kind::Space, space)]);
    let mut done = 0;
    for bytes in steps {
        let core = 1 + bytes[1] % (CORES - 1);
        let choices = Choices {
            bytes: *bytes,
            names: &names,
            spare: spare(&world, core),
        };
        match choices.step() {
            Step::Call(_, call) if world.on[usize::from(core)].is_some() => {
                let kills = matches!(call, Call::Destroy(_) | Call::AccountDestroy(_));
                if kills && bytes[7] % 4 != 0 {
                    continue;
                }
                let reply = world.call(core, call);
                let kind = match call {
                    Call::AccountCreate(_) => Kind::Account,
                    Call::SpaceCreate(_) => Kind::Space,
                    _ => Kind::Environment,
                };
                let made = matches!(
                    call,
                    Call::AccountCreate(_) | Call::SpaceCreate(_) | Call::EnvCreate(..)
                );
                if reply.error().is_none() {
                    done += 1;
                }
                if made && reply.error().is_none() {
                    names.push((kind, ObjectName::from_word(reply.value)));
                }
            }
            Step::Call(..) => revive(&mut world, core),
            Step::Sweep => first(&mut world, bytes[2]),
            _ => {
                world.interrupt(core);
                world.dispatch(core);
            }
        }
        let owners = tree(&world, account.index);
        check(&world, &owners);
        assert_eq!(world.on[0].map(|by| by.name.index), Some(0));
    }
    assert_eq!(world.check(), Ok(()));
    done
}

#[cfg(not(miri))]
const STEPS: usize = 200;
#[cfg(miri)]
const STEPS: usize = 15;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_tenant_reaches_nothing_but_its_own(steps in prop::collection::vec(any::<[u8; 10]>(), 1..STEPS)) {
        run(&steps);
    }
}

/// It would prove nothing if all calls were refused.
#[cfg(not(miri))]
#[test]
fn a_tenant_does_much() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(any::<[u8; 10]>(), STEPS);
    let trees = (0..100).map(|_| steps.new_tree(&mut runner).expect("there is one"));
    let done: u64 = trees.map(|tree| run(&tree.current())).sum();
    assert!(done > 1500, "{done} calls were not refused");
}

/// With one page it may do what it likes with that one.
#[test]
fn one_page_is_one_page() {
    let mut storage = Storage::new(FRAMES, PLACES.into(), PLACES.into(), PLACES.into());
    let mut world = World::new(&mut storage, CORES);
    for byte in 0..20 {
        first(&mut world, byte * 2 + 1);
    }
    // A root, four of tables, a u-area, and one page.
    let (account, _) = world.tenant([7, 1, 1, 0], 1);
    let own = world.alloc(1);
    let at = super::at(super::FIRST_AT + 0x3000);
    for number in 0..FRAMES + 1 {
        let run = Run::Owned(page(number));
        let reply = world.call(1, Call::Insert(Named::Own, at, run, 1, WRITE));
        assert_eq!(
            reply.error().is_none(),
            page(number) == own,
            "frame {number}"
        );
        check(&world, &tree(&world, account.index));
    }
    assert_eq!(world.check(), Ok(()));
}
