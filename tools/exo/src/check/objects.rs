//! Laws of accounts, spaces and environments, as far as their records tell.

use std::collections::HashMap;

use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::layout::{PAGE_SIZE, TABLES_BASE, USER_START};
use exopi_abi::page::FrameType;
use exopi_abi::slice::SLICES_PER_CORE;

use super::frames::name;
use super::report::{Law, Report};
use super::state::{Environment, Space, State};

/// Checks all of it.
pub(super) fn check(state: &State, report: &mut Report) {
    tidiness(state, report);
    epochs(state, report);
    tree(state, report);
    spaces(state, report);
    for (index, environment) in state.live_environments() {
        self::environment(state, index, environment, report);
    }
    lives(state, report);
    slices(state, report);
}

/// What must be zero is: reserved fields, and all of a record of nothing.
fn tidiness(state: &State, report: &mut Report) {
    let accounts = state.accounts.iter().map(|record| record.tidy);
    let spaces = state.spaces.iter().map(|record| record.tidy);
    let environments = state.environments.iter().map(|record| record.tidy);
    let lives = state.lives.iter().map(|life| life.tidy);
    let slices = state.slices.iter().map(|slice| slice.tidy);
    let all = [
        ("account", accounts.collect::<Vec<_>>()),
        ("space", spaces.collect()),
        ("environment", environments.collect()),
        ("life", lives.collect()),
        ("slice", slices.collect()),
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
        ("slice", live(&state.slices, |record| record.epoch)),
        (
            "filter",
            live(&state.network.filters, |record| record.epoch),
        ),
        (
            "packet ring",
            live(&state.network.rings, |record| record.epoch),
        ),
        (
            "send capability",
            live(&state.network.sends, |record| record.epoch),
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

/// Each environment has its word, and no place without one has any. At most one environment has a core: it
/// runs there, or has still to leave.
fn lives(state: &State, report: &mut Report) {
    let mut running: HashMap<u8, Vec<u16>> = HashMap::new();
    for (index, life) in (0..).zip(&state.lives) {
        let word = life.word;
        let epoch = state
            .environments
            .get(usize::from(index))
            .map_or(0, |environment| environment.epoch);
        report.require(word.epoch().bits() == epoch, Law::Life, || {
            format!("environment {index} has epoch {epoch}, but its word is {word:?}")
        });
        if word.is_free() {
            continue;
        }
        one_life(state, index, word, report);
        if let Some(core) = word.core() {
            running.entry(core).or_default().push(index);
        }
    }
    for core in 0..state.cores as u8 {
        let running = running.remove(&core).unwrap_or_default();
        report.require(running.len() <= 1, Law::Life, || {
            format!("several environments have core {core}: {running:?}")
        });
    }
}

fn one_life(state: &State, index: u16, word: LifeWord, report: &mut Report) {
    let code = word.code();
    let known = EnvironmentState::from_code(code).filter(|it| *it != EnvironmentState::Free);
    report.require(known.is_some(), Law::Life, || {
        format!("environment {index}: state {code}")
    });
    let cores = state.cores;
    let core = word.core();
    // What is dying has still to leave its core: otherwise it would be gone. Others may have to.
    let needed = matches!(
        word.state(),
        EnvironmentState::Running | EnvironmentState::Dying
    );
    let fits = core.map_or(!needed, |core| u64::from(core) < cores);
    report.require(fits, Law::Life, || {
        format!("environment {index}: {word:?} with {cores} cores")
    });
}

/// Each slice belongs to an account, is bound to an environment, and carries no more than a slice length over. Each
/// environment has as many as it says.
fn slices(state: &State, report: &mut Report) {
    let mut bound: HashMap<u16, [u8; MAX_CORES]> = HashMap::new();
    for (number, slice) in state.live_slices() {
        let mut wrong = |what: String| {
            report.add(Law::Slice, || format!("slice {number}: {what}"));
        };
        if state.account(slice.account).is_none() {
            let account = name(slice.account);
            wrong(format!("charged to {account}, which there is not"));
        }
        let environment = ObjectName::from_word(slice.environment);
        let found = state.environments.get(usize::from(environment.index));
        if found.is_none_or(|one| one.epoch != environment.epoch.bits()) {
            wrong(format!("bound to {environment:?}, which there is not"));
        }
        if u64::from(slice.carry) > state.slice_ticks {
            wrong(format!("carries {} ticks over", slice.carry));
        }
        let core = usize::from(number) / SLICES_PER_CORE;
        if core as u64 >= state.cores {
            wrong(format!("on core {core} of {}", state.cores));
        }
        let counts = bound.entry(environment.index).or_default();
        if let Some(count) = counts.get_mut(core) {
            *count = count.saturating_add(1);
        }
    }
    for (index, environment) in state.live_environments() {
        let real = bound.remove(&index).unwrap_or_default();
        report.require(environment.slices == real, Law::Slice, || {
            format!(
                "environment {index} says that it has {:?} slices, but it is {real:?}",
                environment.slices
            )
        });
    }
}
