//! Random calls by several environments on several cores, beside a model; everything is audited after each.

mod choices;
mod expect;

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use exopi_abi::capability::Kind;
use exopi_abi::domain::{EnvironmentState, ObjectName};
use exopi_abi::page::FrameType;
use exopi_abi::{Error, PageNumber, Reply};
use proptest::prelude::*;

use super::naive::{Environment, Naive};
use super::{Call, Named, Storage, World, page};
pub(super) use choices::{Choices, Step};
use expect::Expected;

pub(super) const FRAMES: u32 = 72;
pub(super) const CORES: u8 = 3;
/// Records in each table: few enough that all of them are met.
pub(super) const PLACES: u8 = 7;

/// Makes a call in both worlds.
fn both(world: &mut World<'_>, naive: &mut Naive, core: u8, call: Call) -> Reply {
    let by = world.on[usize::from(core)].expect("somebody runs");
    let free = world.domains.pages.free_pages();
    let expected = Expected::from(naive.expect(&by, call, free));
    let last = world.domains.epochs.last();
    let reply = world.call(core, call);
    let error = reply.error();
    let done = reply.status >> 16;
    let right = match expected {
        Expected::Refused(expected) => error == Some(expected) && done == 0,
        Expected::Done => error.is_none(),
        Expected::Busy => {
            matches!(call, Call::AccountDestroy(_)) && error.is_none() || error == Some(Error::Busy)
        }
        Expected::Items(items, stopped) => done == items && error == stopped,
        Expected::Perhaps => error
            .is_none_or(|error| !matches!(error, Error::Stale | Error::MissingRight | Error::Busy)),
    };
    assert!(right, "{call:?} by {by:?} gave {error:?} after {done}");
    if error.is_none()
        || done > 0
        || error == Some(Error::Busy) && matches!(expected, Expected::Busy)
    {
        naive.commit(&by, call, reply, world);
    } else if world.on[usize::from(core)].is_some() {
        // Whose caller left besides, to die, may have drawn some for that.
        assert_eq!(
            world.domains.epochs.last(),
            last,
            "{call:?} was refused, and drew an epoch"
        );
    }
    if world.on[usize::from(core)].is_none() {
        leave(naive, by.name.index, core);
    }
    reply
}

/// One has left `core`: if nothing else is known of it, its turn was over.
fn leave(naive: &mut Naive, index: u16, core: u8) {
    let is_over = |it: &Environment| it.state == EnvironmentState::Running;
    if naive.environments.get(&index).is_some_and(is_over) {
        naive.set(index, EnvironmentState::Ready, Some(core));
    }
    naive.leave(index);
}

/// What happened, for the sake of knowing that it does.
#[derive(Default)]
struct Seen {
    calls: BTreeMap<(String, bool), u32>,
}

/// Whether somebody runs on `core` to make a call. None may stop the first one, without which soon nothing
/// happens any more.
fn makes(world: &World<'_>, core: u8, call: Call) -> bool {
    let Some(by) = world.on[usize::from(core)] else {
        return false;
    };
    let first = match call {
        Call::Stop(Named::Own) | Call::Destroy(Named::Own) => by.name.index == 0,
        Call::Stop(Named::Index(index)) | Call::Destroy(Named::Index(index)) => index == 0,
        Call::Stop(Named::Cap(cap)) | Call::Destroy(Named::Cap(cap)) => cap.index == 0,
        _ => false,
    };
    !first
}

fn happen(
    world: &mut World<'_>,
    naive: &mut Naive,
    step: Step,
    names: &mut Vec<(Kind, ObjectName)>,
    seen: &mut Seen,
) {
    match step {
        Step::Call(core, call) => {
            let others = (0..CORES).map(|other| (core + other) % CORES);
            let Some(core) = others.into_iter().find(|core| makes(world, *core, call)) else {
                return;
            };
            let reply = both(world, naive, core, call);
            let name = std::format!("{call:?}");
            let name = name.split('(').next().unwrap_or_default().into();
            *seen
                .calls
                .entry((name, reply.error().is_none()))
                .or_default() += 1;
            let kind = match call {
                Call::AccountCreate(_) => Kind::Account,
                Call::SpaceCreate(_) => Kind::Space,
                Call::EnvCreate(..) => Kind::Environment,
                Call::SliceAlloc(..) | Call::SliceMove(..) => Kind::Slice,
                _ => return,
            };
            if reply.error().is_none() {
                names.push((kind, ObjectName::from_word(reply.value)));
            }
        }
        Step::Dispatch(core) => {
            let idle = world.on[usize::from(core)].is_none();
            world.dispatch(core);
            if let Some(by) = world.on[usize::from(core)].filter(|_| idle) {
                let next = &naive.environments[&by.name.index];
                let given = next.core == Some(core);
                assert!(next.state == EnvironmentState::Ready || given, "{next:?}");
                let slices = world.domains.environment(by.name.index);
                let has = slices.is_some_and(|one| one.slices[usize::from(core)] != 0);
                assert!(given || has, "{by:?} has no slice there");
                // Who was given the core may have been stopped since, or doomed: it leaves at once.
                if next.state == EnvironmentState::Ready {
                    naive.set(by.name.index, EnvironmentState::Running, Some(core));
                }
            }
        }
        Step::Interrupt(core) => {
            world.now += 30;
            let before = world.on[usize::from(core)];
            world.interrupt(core);
            if let Some(by) = before.filter(|_| world.on[usize::from(core)].is_none()) {
                leave(naive, by.name.index, core);
            }
        }
        Step::Suspend(core) => {
            // The first one is left to go on, so that something happens.
            let by = world.on[usize::from(core)].filter(|by| by.name.index != 0);
            if let Some(by) = by {
                assert!(world.suspend(core));
                if naive.environments[&by.name.index].state != EnvironmentState::Dying {
                    naive.set(by.name.index, EnvironmentState::Suspended, None);
                    let suspended = naive.environments[&by.name.index].clone();
                    naive.tell_keeper(&suspended);
                }
            }
        }
        Step::Sweep => {
            let _ = world.sweep();
        }
    }
}

/// The plain frames, to which nothing refers, of the account that whoever runs on `core` draws on.
pub(super) fn spare(world: &World<'_>, core: u8) -> Vec<PageNumber> {
    let Some(by) = world.on[usize::from(core)] else {
        return Vec::new();
    };
    let frames = (0..world.frames).map(page);
    let is_spare = |page: &PageNumber| {
        let record = world.domains.pages.record(*page);
        record.is_some_and(|record| {
            record.charged_to() == by.owner
                && record.kind == FrameType::Plain
                && record.references == 0
        })
    };
    frames.filter(is_spare).collect()
}

/// Runs the steps that the bytes stand for; then ends everything that the first account has made.
fn run(steps: &[[u8; 10]], seen: &mut Seen) {
    let mut storage = Storage::new(FRAMES, PLACES.into(), PLACES.into(), PLACES.into());
    let mut world = World::new(&mut storage, CORES);
    let mut naive = Naive::of(&world);
    let mut names = Vec::from([(
        Kind::Account,
        ObjectName {
            index: 0,
            epoch: world.owner(0).epoch(),
        },
    )]);
    for bytes in steps {
        let choices = Choices {
            bytes: *bytes,
            names: &names,
            spare: spare(&world, bytes[1] % CORES),
        };
        let step = choices.step();
        happen(&mut world, &mut naive, step, &mut names, seen);
        assert_eq!(naive.sync(&world), Ok(()), "{step:?}");
        assert_eq!(world.check(), Ok(()), "{step:?}");
    }
}

#[cfg(not(miri))]
const STEPS: usize = 240;
#[cfg(miri)]
const STEPS: usize = 20;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn calls_do_what_the_table_says(steps in prop::collection::vec(any::<[u8; 10]>(), 1..STEPS)) {
        run(&steps, &mut Seen::default());
    }
}

/// Random calls prove nothing if all of them are refused.
#[cfg(not(miri))]
#[test]
fn every_call_succeeds_and_is_refused_often() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = Seen::default();
    let steps = prop::collection::vec(any::<[u8; 10]>(), STEPS);
    for _ in 0..300 {
        let tree = steps.new_tree(&mut runner).expect("there is one");
        run(&tree.current(), &mut seen);
    }
    for outcome in [true, false] {
        let calls = seen.calls.iter().filter(|((_, good), _)| *good == outcome);
        let names: Vec<_> = calls.filter(|(_, count)| **count >= 5).collect();
        // `page_accept` alone is hardly ever refused.
        let enough = if outcome { 29 } else { 28 };
        assert!(names.len() >= enough, "{outcome}: {names:?}");
    }
}
