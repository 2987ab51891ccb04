//! Laws of accounts, spaces and environments, as far as their records tell.

use std::collections::{HashMap, HashSet};

use exopi_abi::domain::{EnvironmentRecord, EnvironmentState, ObjectName};
use exopi_abi::layout::{PAGE_SIZE, TABLES_BASE, USER_START};
use exopi_abi::page::FrameType;

use super::frames::name;
use super::report::{Law, Report};
use super::state::{Environment, Space, State};

/// End of a queue.
const NOBODY: u16 = u16::MAX;

/// Checks all of it.
pub(super) fn check(state: &State, report: &mut Report) {
    tidiness(state, report);
    epochs(state, report);
    tree(state, report);
    spaces(state, report);
    for (index, environment) in state.live_environments() {
        self::environment(state, index, environment, report);
    }
    queues(state, report);
}

/// What must be zero is: reserved fields, and all of a record of nothing.
fn tidiness(state: &State, report: &mut Report) {
    let accounts = state.accounts.iter().map(|record| record.tidy);
    let spaces = state.spaces.iter().map(|record| record.tidy);
    let environments = state.environments.iter().map(|record| record.tidy);
    let all = [
        ("account", accounts.collect::<Vec<_>>()),
        ("space", spaces.collect()),
        ("environment", environments.collect()),
    ];
    for (what, tidy) in all {
        for (index, _) in tidy.iter().enumerate().filter(|(_, tidy)| !**tidy) {
            report.add(Law::Record, || {
                format!("{what} {index}: fields that must be zero are not")
            });
        }
    }
    let flags = state.live_accounts().map(|(_, account)| account.dying);
    let flags = flags.chain(state.live_spaces().map(|(_, space)| space.dying));
    let flags = flags.chain(state.live_environments().map(|(_, one)| one.debugged));
    for flag in flags.filter(|flag| *flag > 1) {
        report.add(Law::Record, || format!("a flag of an object is {flag}"));
    }
}

/// Each object was stamped by a counter that never repeats, by a call of its own but for what boot makes.
fn epochs(state: &State, report: &mut Report) {
    let kinds = [
        ("account", live(&state.accounts, |record| record.epoch)),
        ("space", live(&state.spaces, |record| record.epoch)),
        (
            "environment",
            live(&state.environments, |record| record.epoch),
        ),
    ];
    for (what, epochs) in kinds {
        let mut seen = HashMap::new();
        for (index, epoch) in epochs {
            report.require(epoch >> 48 == 0, Law::Epoch, || {
                format!("{what} {index} has an epoch beyond 48 bits: {epoch:#x}")
            });
            if let Some(other) = seen.insert(epoch, index) {
                report.add(Law::Epoch, || {
                    format!("{what}s {other} and {index} have the same epoch, {epoch}")
                });
            }
        }
    }
}

fn live<R>(records: &[R], epoch: impl Fn(&R) -> u64) -> Vec<(usize, u64)> {
    let epochs = records.iter().map(epoch).enumerate();
    epochs.filter(|(_, epoch)| *epoch != 0).collect()
}

/// One account is its own parent, and every other one leads to it in as many steps as there are accounts.
fn tree(state: &State, report: &mut Report) {
    let parents: HashMap<u16, u16> = state
        .live_accounts()
        .map(|(owner, account)| (owner.index(), account.parent))
        .collect();
    let mut roots: Vec<_> = parents
        .iter()
        .filter(|(own, parent)| own == parent)
        .collect();
    roots.sort_unstable();
    report.require(roots.len() == 1, Law::Tree, || {
        format!("{} accounts are their own parent: {roots:?}", roots.len())
    });
    let mut indices: Vec<_> = parents.keys().copied().collect();
    indices.sort_unstable();
    for index in indices {
        let mut at = index;
        for _ in 0..parents.len() {
            at = parents.get(&at).copied().unwrap_or(at);
        }
        report.require(parents.get(&at) == Some(&at), Law::Tree, || {
            format!("account {index} does not come from the first one: the way up ends at {at}")
        });
    }
}

fn spaces(state: &State, report: &mut Report) {
    let mut members: HashMap<u16, u64> = HashMap::new();
    for (_, environment) in state.live_environments() {
        *members.entry(environment.space).or_default() += 1;
    }
    let mut roots = HashMap::new();
    let mut asids = HashMap::new();
    for (index, space) in state.live_spaces() {
        one_space(state, index, space, report);
        if let Some(other) = roots.insert(space.root, index) {
            report.add(Law::Space, || {
                format!(
                    "spaces {other} and {index} have the same root, {:#x}",
                    space.root
                )
            });
        }
        if let Some(other) = asids.insert(space.asid, index) {
            report.add(Law::Space, || {
                format!(
                    "spaces {other} and {index} have the same ASID, {}",
                    space.asid
                )
            });
        }
        let real = members.get(&index).copied().unwrap_or(0);
        report.require(u64::from(space.members) == real, Law::Members, || {
            format!(
                "space {index} says that it has {} members, but it is {real}",
                space.members
            )
        });
    }
    for (number, _) in state
        .numbered()
        .filter(|(_, frame)| frame.is(FrameType::Root))
    {
        report.require(roots.contains_key(&(number as u32)), Law::Space, || {
            format!("frame {number:#x} is a root, but of no space")
        });
    }
}

fn one_space(state: &State, index: u16, space: &Space, report: &mut Report) {
    report.require(state.account(space.owner).is_some(), Law::Space, || {
        format!(
            "space {index} belongs to {}, which there is not",
            name(space.owner)
        )
    });
    // ASID 0 is of cores without a space.
    report.require(space.asid != 0, Law::Space, || {
        format!("space {index} has ASID 0")
    });
    let root = state.frame(space.root.into());
    let fits = root.is_some_and(|root| {
        root.is(FrameType::Root)
            && root.owner == space.owner
            && root.second == u32::from(space.asid)
    });
    report.require(fits, Law::Space, || {
        format!(
            "space {index}, {}, ASID {}: its root {:#x} is {root:x?}",
            name(space.owner),
            space.asid,
            space.root
        )
    });
}

fn environment(state: &State, index: u16, environment: &Environment, report: &mut Report) {
    let mut wrong = |what: String| {
        report.add(Law::Environment, || format!("environment {index}: {what}"));
    };
    if state.account(environment.account).is_none() {
        wrong(format!(
            "charged to {}, which there is not",
            name(environment.account)
        ));
    }
    let is_space = |at: u16| {
        state
            .spaces
            .get(usize::from(at))
            .is_some_and(|s| s.epoch != 0)
    };
    if !is_space(environment.space) {
        wrong(format!(
            "in space {}, which there is not",
            environment.space
        ));
    }
    let cores = state.cores;
    let on_core = u64::from(environment.core) < cores;
    let nowhere = environment.core == EnvironmentRecord::NOWHERE;
    match EnvironmentState::from_code(environment.state) {
        None | Some(EnvironmentState::Free) => wrong(format!("state {}", environment.state)),
        // What is dying has still to leave its core: otherwise it would be gone.
        Some(EnvironmentState::Ready | EnvironmentState::Running | EnvironmentState::Dying)
            if !on_core =>
        {
            wrong(format!("should have core {} of {cores}", environment.core));
        }
        // What was stopped may still have to leave.
        Some(EnvironmentState::Stopped | EnvironmentState::Suspended) if !on_core && !nowhere => {
            wrong(format!("has core {} of {cores}", environment.core));
        }
        Some(_) => {}
    }
    let uarea = state.frame(environment.uarea.into());
    let fits =
        uarea.is_some_and(|frame| frame.is(FrameType::UArea) && frame.owner == environment.account);
    if !fits {
        wrong(format!("its u-area {:#x} is {uarea:x?}", environment.uarea));
    }
    let at = environment.uarea_at;
    if !at.is_multiple_of(PAGE_SIZE) || !(USER_START..TABLES_BASE).contains(&at) {
        wrong(format!("its u-area is at {at:#x}"));
    }
    let keeper = ObjectName::from_word(environment.keeper);
    let is_one = environment.keeper == 0
        || usize::from(keeper.index) < state.environments.len() && keeper.epoch.bits() != 0;
    report.require(is_one && environment.keeper_bit < 32, Law::Keeper, || {
        format!(
            "environment {index}: keeper {:#x}, notice {}",
            environment.keeper, environment.keeper_bit
        )
    });
}

/// Environments that wait for a core are one chain, and others are on none. At most one has a core and does not
/// wait for it: it runs, or has still to leave.
fn queues(state: &State, report: &mut Report) {
    let is = |environment: &Environment, wanted: EnvironmentState| {
        EnvironmentState::from_code(environment.state) == Some(wanted)
    };
    for (index, environment) in state.live_environments() {
        let waits = is(environment, EnvironmentState::Ready);
        report.require(waits || environment.next == NOBODY, Law::Queue, || {
            format!(
                "environment {index} does not wait, but {} comes after it",
                environment.next
            )
        });
    }
    for core in 0..state.cores {
        let here = |environment: &Environment| u64::from(environment.core) == core;
        let waiting: HashMap<u16, u16> = state
            .live_environments()
            .filter(|(_, one)| is(one, EnvironmentState::Ready) && here(one))
            .map(|(index, one)| (index, one.next))
            .collect();
        let running: Vec<_> = state
            .live_environments()
            .filter(|(_, one)| !is(one, EnvironmentState::Ready) && here(one))
            .map(|(index, _)| index)
            .collect();
        report.require(running.len() <= 1, Law::Queue, || {
            format!("several environments have core {core}: {running:?}")
        });
        queue(core, &waiting, report);
    }
}

/// Checks that those who wait for a core, each with who is next, form one chain.
fn queue(core: u64, waiting: &HashMap<u16, u16>, report: &mut Report) {
    let followers: HashSet<u16> = waiting.values().copied().collect();
    let mut heads: Vec<_> = waiting
        .keys()
        .filter(|index| !followers.contains(index))
        .collect();
    heads.sort_unstable();
    report.require(
        heads.len() == usize::from(!waiting.is_empty()),
        Law::Queue,
        || format!("the queue of core {core} begins with {heads:?}"),
    );
    let mut length = 0;
    let mut at = heads.first().map_or(NOBODY, |head| **head);
    while at != NOBODY && length < waiting.len() {
        let Some(next) = waiting.get(&at) else {
            return report.add(Law::Queue, || {
                format!("environment {at} is in the queue of core {core}, but does not wait for it")
            });
        };
        length += 1;
        at = *next;
    }
    report.require(length == waiting.len() && at == NOBODY, Law::Queue, || {
        format!(
            "{} environments wait for core {core}, but its queue has {length} and ends with {at}",
            waiting.len()
        )
    });
}
