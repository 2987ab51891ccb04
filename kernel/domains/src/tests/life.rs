//! The words: each change from each word, and all orders in which cores can make theirs.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{EnvironmentState, Life, LifeWord, ObjectName};

use EnvironmentState::{Asleep, Calling, Dying, Free, Ready, Running, Stopped, Suspended};

use crate::Lives;

const FLAGS: [u64; 3] = [LifeWord::LIGHT, LifeWord::ATTENTION, LifeWord::DEBT];
const NOWHERE: u8 = LifeWord::NOWHERE;

fn name(index: u16) -> ObjectName {
    ObjectName {
        index,
        epoch: Epoch::from_low_bits(0x7_0000_0001 + u64::from(index)),
    }
}

fn word(index: u16, state: EnvironmentState, core: u8) -> LifeWord {
    LifeWord::new(name(index).epoch, state, core)
}

/// Lives whose words are these.
fn lives(words: &[LifeWord]) -> Vec<Life> {
    let lives: Vec<Life> = vec![Life::default(); words.len()];
    for (life, word) in lives.iter().zip(words) {
        life.word
            .store(word.bits(), core::sync::atomic::Ordering::Relaxed);
    }
    lives
}

/// Every word that an environment at index 0 can have on a machine with two cores.
fn all_words() -> Vec<LifeWord> {
    let mut words = Vec::new();
    for state in EnvironmentState::ALL.into_iter().filter(|s| *s != Free) {
        for core in [0, 1, NOWHERE] {
            for flags in 0..8u64 {
                let flags: u64 = (0..3)
                    .filter(|bit| flags >> bit & 1 != 0)
                    .map(|bit| FLAGS[bit])
                    .sum();
                words.push(word(0, state, core).with(flags));
            }
        }
    }
    words
}

type Change = fn(Lives<'_>) -> Result<LifeWord, LifeWord>;
/// What a change must make of a word; `None`: it refuses.
type Expected = fn(LifeWord) -> Option<LifeWord>;

/// Each change, on core 1 where it matters, and what it must do.
const CHANGES: [(&str, Change, Expected); 13] = [
    (
        "run",
        |l| l.run(0),
        |w| (w.state() == Stopped && w.core().is_none()).then(|| w.to(Ready)),
    ),
    (
        "claim",
        |l| l.claim(0, 1),
        |w| {
            let free = w.state() == Ready && w.core().is_none() && !w.has(LifeWord::DEBT);
            free.then(|| w.to(Running).on(1).without(LifeWord::LIGHT))
        },
    ),
    (
        "enter",
        |l| l.enter(name(0), 1),
        |w| {
            let light = |state| word(0, state, NOWHERE).with(LifeWord::LIGHT);
            let free = w == light(Ready) || w == light(Asleep);
            free.then(|| word(0, Running, 1))
        },
    ),
    (
        "resume",
        |l| l.resume(name(0), 1),
        |w| (w == word(0, Calling, NOWHERE).with(LifeWord::LIGHT)).then(|| word(0, Running, 1)),
    ),
    (
        "part",
        |l| l.part(name(0), 1, Calling),
        |w| (w == word(0, Running, 1)).then(|| word(0, Calling, NOWHERE).with(LifeWord::LIGHT)),
    ),
    (
        "give_up",
        |l| l.give_up(0, Asleep),
        |w| (w.state() == Running).then(|| w.to(Asleep)),
    ),
    (
        "stop",
        |l| l.stop(0),
        |w| (w.state() != Dying).then(|| w.to(Stopped)),
    ),
    (
        "suspend",
        |l| l.suspend(0),
        |w| (w.state() != Dying).then(|| w.to(Suspended)),
    ),
    ("doom", |l| l.doom(0), |w| Some(w.to(Dying))),
    (
        "wake",
        |l| l.wake(0),
        |w| (w.state() == Asleep).then(|| w.to(Ready)),
    ),
    (
        "attend",
        |l| l.attend(0),
        |w| Some(w.with(LifeWord::ATTENTION)),
    ),
    (
        "calm",
        |l| l.calm(0),
        |w| Some(w.without(LifeWord::ATTENTION)),
    ),
    ("left", |l| l.left(0), |w| Some(w.on(NOWHERE))),
];

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn each_change_makes_of_each_word_what_it_must() {
    for before in all_words() {
        for (what, change, expected) in CHANGES {
            let memory = lives(&[before]);
            let words = Lives::new(&memory);
            let told = change(words);
            let after = expected(before);
            assert_eq!(told.is_ok(), after.is_some(), "{what} of {before:?}");
            assert_eq!(told.unwrap_or_else(|word| word), before, "{what}");
            assert_eq!(
                words.word(0),
                after.unwrap_or(before),
                "{what} of {before:?}"
            );
        }
    }
}

#[test]
fn nobody_is_changed_where_there_is_none() {
    for (what, change, _) in CHANGES {
        let memory = lives(&[LifeWord::FREE]);
        assert_eq!(change(Lives::new(&memory)), Err(LifeWord::FREE), "{what}");
        assert_eq!(Lives::new(&memory).word(0), LifeWord::FREE);
        assert_eq!(change(Lives::new(&[])), Err(LifeWord::FREE), "{what}");
    }
    assert_eq!(Lives::new(&[]).word(3), LifeWord::FREE);
}

#[test]
fn a_name_of_before_enters_nobody() {
    let before = word(0, Ready, NOWHERE).with(LifeWord::LIGHT);
    let memory = lives(&[before]);
    let words = Lives::new(&memory);
    let old = ObjectName {
        index: 0,
        epoch: Epoch::from_low_bits(5),
    };
    assert_eq!(words.enter(old, 0), Err(before));
    assert!(!words.lives(old) && words.lives(name(0)));
    let none = ObjectName {
        index: 0,
        epoch: Epoch::NONE,
    };
    let free = lives(&[LifeWord::FREE]);
    assert!(!Lives::new(&free).lives(none));
}

/// A core's program: what it does next, by where it is and what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    /// A call without the lock: to enter environment 1 on this core, and wait.
    Enter,
    /// Environment 1 is this core's: 0 puts itself to wait.
    Part,
    /// 0 is to be looked after: 1 goes back to what it was, never having run.
    Undo,
    /// 1 runs here; 0 waits.
    Serve,
    /// 1 gives the core up again...
    Return,
    /// ...and 0 takes it.
    Back,
    /// To be done under the lock: environment `.0`, which has this core, is to stop or die, or nobody has it.
    Look(u16),
    Idle,
    Done,
}

/// All that counts of a machine: two words, three programs, who is using what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    words: [u64; 2],
    at: [At; 2],
    /// What core 2 does under the lock, and how far it is.
    lock: usize,
    /// Whose registers each of the first two cores uses.
    uses: [Option<u16>; 2],
    taken_apart: [bool; 2],
}

/// What the core with the lock does to environment 1 or 0, in order.
type Script = &'static [(Locked, u16)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    Stop,
    Doom,
    Run,
    Attend,
}

const SCRIPTS: [Script; 8] = {
    use Locked::{Attend, Doom, Run, Stop};
    [
        &[(Stop, 1)],
        &[(Doom, 1)],
        &[(Stop, 0)],
        &[(Doom, 0)],
        &[(Stop, 1), (Run, 1), (Doom, 1)],
        &[(Attend, 1), (Doom, 0)],
        &[(Attend, 0), (Stop, 1), (Doom, 1)],
        &[(Doom, 0), (Doom, 1)],
    ]
};

/// One step of `core`, which runs environment 0 at first; `None` if it has none.
fn step(state: &State, core: usize) -> Option<State> {
    let mut next = state.clone();
    let memory = lives(&state.words.map(LifeWord::from_bits));
    let words = Lives::new(&memory);
    let here = core as u8;
    next.at[core] = match state.at[core] {
        At::Enter => match words.enter(name(1), here) {
            Ok(_) => At::Part,
            Err(_) => At::Done,
        },
        At::Part => match words.part(name(0), here, Calling) {
            Ok(_) => {
                next.uses[core] = Some(1);
                At::Serve
            }
            Err(_) => At::Undo,
        },
        // It has not run: what it is to become by now is seen after.
        At::Undo => match words.part(name(1), here, Ready) {
            Ok(_) => At::Look(0),
            Err(_) => {
                leave(words, 1, &mut next);
                At::Look(0)
            }
        },
        At::Serve => At::Return,
        At::Return => {
            next.uses[core] = None;
            match words.part(name(1), here, Ready) {
                Ok(_) => At::Back,
                Err(_) => At::Look(1),
            }
        }
        At::Back => match words.resume(name(0), here) {
            Ok(_) => {
                next.uses[core] = Some(0);
                At::Done
            }
            Err(_) => At::Idle,
        },
        At::Look(index) => {
            next.uses[core] = None;
            leave(words, index, &mut next);
            At::Idle
        }
        At::Idle | At::Done => return None,
    };
    next.words = [words.word(0).bits(), words.word(1).bits()];
    Some(next)
}

/// `left`, and the end of who was doomed.
fn leave(words: Lives<'_>, index: u16, next: &mut State) {
    let _ = words.left(index);
    if words.word(index).state() == Dying {
        next.taken_apart[usize::from(index)] = true;
        words.end(index);
    }
}

/// One step of who has the lock.
fn locked(state: &State, script: Script) -> Option<State> {
    let (change, index) = *script.get(state.lock)?;
    let mut next = state.clone();
    next.lock += 1;
    let memory = lives(&state.words.map(LifeWord::from_bits));
    let words = Lives::new(&memory);
    let before = match change {
        Locked::Stop => words.stop(index),
        Locked::Doom => words.doom(index),
        Locked::Run => words.run(index),
        Locked::Attend => words.attend(index),
    };
    if let Ok(before) = before
        && words.word(index).state() == Dying
        && before.core().is_none()
    {
        next.taken_apart[usize::from(index)] = true;
        words.end(index);
    }
    next.words = [words.word(0).bits(), words.word(1).bits()];
    Some(next)
}

fn check(state: &State) {
    for index in 0..2u16 {
        let word = LifeWord::from_bits(state.words[usize::from(index)]);
        let users: Vec<u8> = (0..2)
            .filter(|core| state.uses[usize::from(*core)] == Some(index))
            .collect();
        assert!(users.len() <= 1, "two cores use {index}: {state:?}");
        if let [core] = users[..] {
            assert_eq!(word.core(), Some(core), "{state:?}");
            assert!(!state.taken_apart[usize::from(index)], "{state:?}");
        }
        assert_eq!(word.is_free(), state.taken_apart[usize::from(index)]);
        let sane = !matches!(word.state(), Ready | Asleep | Calling) || word.core().is_none();
        assert!(sane || !word.has(LifeWord::LIGHT), "{state:?}");
    }
}

/// Everything that can happen from `first` on; gives how it can end.
fn explore(first: State, script: Script) -> Vec<State> {
    let mut seen = BTreeSet::from([first.clone()]);
    let mut work = vec![first];
    let mut ends = Vec::new();
    while let Some(state) = work.pop() {
        check(&state);
        let all = [step(&state, 0), step(&state, 1), locked(&state, script)];
        if all.iter().all(Option::is_none) {
            ends.push(state);
            continue;
        }
        for next in all.into_iter().flatten() {
            if seen.insert(next.clone()) {
                work.push(next);
            }
        }
    }
    ends
}

/// Core 0 enters and leaves environment 1 without the lock while another core, under it, stops and destroys either.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_claim_without_the_lock_meets_an_end_under_it() {
    for (number, script) in SCRIPTS.into_iter().enumerate() {
        let first = State {
            words: [
                word(0, Running, 0).bits(),
                word(1, Ready, NOWHERE).with(LifeWord::LIGHT).bits(),
            ],
            at: [At::Enter, At::Done],
            lock: 0,
            uses: [Some(0), None],
            taken_apart: [false; 2],
        };
        let ends = explore(first, script);
        let dooms: Vec<u16> = script
            .iter()
            .filter(|(change, _)| *change == Locked::Doom)
            .map(|(_, index)| *index)
            .collect();
        let mut passed = BTreeSet::new();
        for mut end in ends {
            // Whoever is marked on a core is told, and leaves: then nothing of it is left.
            for index in 0..2u16 {
                let bits = end.words[usize::from(index)];
                let word = LifeWord::from_bits(bits);
                let wanted = matches!(word.state(), Dying | Stopped) && word.core().is_some();
                if wanted {
                    let memory = lives(&end.words.map(LifeWord::from_bits));
                    leave(Lives::new(&memory), index, &mut end);
                    end.words = [0, 1].map(|index| Lives::new(&memory).word(index).bits());
                }
                let gone = end.taken_apart[usize::from(index)];
                assert_eq!(gone, dooms.contains(&index), "script {number}: {end:?}");
            }
            passed.insert(end.at[0]);
        }
        // Not one and the same end each time: the orders were different.
        assert!(passed.len() >= 2, "script {number}: {passed:?}");
    }
}

/// Two cores want the same one; one gets it.
#[test]
fn two_claims_without_the_lock_meet() {
    let light = word(1, Asleep, NOWHERE).with(LifeWord::LIGHT);
    for order in [[0, 1], [1, 0]] {
        let memory = lives(&[word(0, Running, 0), light]);
        let words = Lives::new(&memory);
        let got: Vec<bool> = order
            .map(|core| words.enter(name(1), core).is_ok())
            .to_vec();
        assert_eq!(got, [true, false]);
        assert_eq!(words.word(1).core(), Some(order[0]));
    }
}

/// The same with real threads: whoever has claimed it has it alone.
#[test]
fn many_threads_claim_one() {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    const TURNS: u64 = if cfg!(miri) { 20 } else { 20_000 };
    let memory = lives(&[word(0, Ready, NOWHERE).with(LifeWord::LIGHT)]);
    let inside = AtomicU64::new(0);
    let turns = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for core in 0..3u8 {
            let (memory, inside, turns) = (&memory, &inside, &turns);
            scope.spawn(move || {
                let words = Lives::new(memory);
                while turns.load(Relaxed) < TURNS {
                    let got = words.enter(name(0), core);
                    if got.or_else(|_| words.claim(0, core)).is_err() {
                        continue;
                    }
                    assert_eq!(inside.fetch_add(1, Relaxed), 0);
                    turns.fetch_add(1, Relaxed);
                    assert_eq!(inside.fetch_sub(1, Relaxed), 1);
                    if words.part(name(0), core, Ready).is_err() {
                        let _ = words.left(0);
                        let _ = words.run(0);
                    }
                }
            });
        }
        let (memory, turns) = (&memory, &turns);
        scope.spawn(move || {
            let words = Lives::new(memory);
            while turns.load(Relaxed) < TURNS {
                if words.stop(0).is_ok_and(|before| before.core().is_none()) {
                    let _ = words.run(0);
                }
            }
        });
    });
    let life = &memory[0];
    assert_eq!(life.dispatches.load(Relaxed), turns.load(Relaxed));
}
