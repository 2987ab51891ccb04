//! Every order in which two cores can make a few transfers and do to each other's environments what the lock lets them,
//! with each step that a core makes without the lock as one of its own; and long random ones on three cores.
//!
//! ```text
//!   core 0:  0 --gate 0--> 2 (rests)     --gate 1--> 1
//!   core 1:  1 --gate 0--> 2             --gate 1--> 0
//! ```

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

use exopi_abi::domain::EnvironmentState;

use super::board::{At, Board, Memory};
use crate::links::{Places, Table};
use crate::tests::Named;

/// Something that happens on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The next step without the lock.
    Advance,
    Call(u64),
    Send(u64),
    Give(u64),
    Reply,
    Interrupt,
    Dispatch,
    Yield,
    Suspend,
    Stop(u16),
    Destroy(u16),
    Post(u16),
}

/// How many of each sort may still happen.
#[derive(Clone, Copy, Debug, Hash)]
struct Left {
    transfers: u8,
    others: u8,
}

fn start(memory: &mut Memory, cores: u8, environments: u16) -> Board<'_> {
    let mut board = Board::new(memory, cores, environments);
    for index in 2..environments {
        board.rest(index);
    }
    board.run(1, 1);
    for (core, other) in [(0, 1), (1, 0)] {
        for (gate, to) in [(0, 2), (1, other), (2, environments - 1)] {
            let to = Named::Name(board.names[to as usize]);
            assert_eq!(board.bind(core, gate, to), Ok(()));
        }
    }
    board.world.told = 0;
    board
}

/// What can happen next on `core`.
fn events(board: &Board<'_>, core: u8, left: Left) -> Vec<Event> {
    if board.at[usize::from(core)] != At::El0 {
        return Vec::from([Event::Advance]);
    }
    let Some(me) = board.on(core) else {
        return Vec::from([Event::Dispatch]);
    };
    let mut events = Vec::new();
    if board.told() >> core & 1 != 0 {
        events.push(Event::Interrupt);
    }
    if left.transfers > 0 {
        events.extend([Event::Call(0), Event::Call(1), Event::Give(1), Event::Reply]);
    }
    if left.others > 0 {
        events.extend([Event::Yield, Event::Suspend, Event::Send(0)]);
        for index in (0..board.names.len() as u16).filter(|index| !board.life(*index).is_free()) {
            events.extend([Event::Stop(index), Event::Destroy(index)]);
            if index != me {
                events.push(Event::Post(index));
            }
        }
    }
    events
}

fn happen(board: &mut Board<'_>, core: u8, event: Event, left: &mut Left) {
    match event {
        Event::Advance | Event::Interrupt | Event::Dispatch => {}
        Event::Call(_) | Event::Give(_) | Event::Reply => left.transfers -= 1,
        _ => left.others -= 1,
    }
    match event {
        Event::Advance => board.advance(core),
        Event::Call(gate) => {
            if board.begin_call(core, gate).is_none() {
                let _ = board.call(core, gate, 0);
            }
        }
        Event::Send(gate) => {
            let _ = board.send(core, gate);
        }
        Event::Give(gate) => {
            if board.begin_give(core, gate).is_none() {
                let _ = board.give(core, gate);
            }
        }
        Event::Reply => {
            if board.begin_reply(core).is_none() {
                let _ = board.reply(core);
            }
        }
        // Who is entered with a notice takes it.
        Event::Interrupt => {
            board.interrupt(core);
            if let Some(index) = board.on(core) {
                board.world.domains.take_notices(index);
            }
        }
        Event::Dispatch => board.dispatch(core),
        Event::Yield => board.give_up(core),
        Event::Suspend => {
            let _ = board.suspend(core);
        }
        Event::Stop(index) => {
            let _ = board.stop(core, index);
        }
        Event::Destroy(index) => board.destroy(core, index),
        Event::Post(index) => board.post(index),
    }
    board.failed.clear();
}

/// The state, as far as anything depends on it.
fn canonical(board: &Board<'_>, left: Left) -> u64 {
    let mut state = DefaultHasher::new();
    left.hash(&mut state);
    for index in 0..board.names.len() as u16 {
        board.ends_words(index).hash(&mut state);
        (board.life(index).bits() & 0xffff).hash(&mut state);
        let record = board.world.domains.environment(index);
        record.map(|record| record.notices).hash(&mut state);
    }
    board.world.domains.hash_cores(&mut state);
    board.world.armed.hash(&mut state);
    for core in 0..board.world.cores {
        (board.on(core), board.at[usize::from(core)], board.told()).hash(&mut state);
    }
    state.finish()
}

/// Explores from the start, breadth first, each state by the way that leads there.
fn explore(budget: Left, depth: usize) -> usize {
    let mut seen = HashSet::new();
    let mut level: Vec<Vec<(u8, Event)>> = Vec::from([Vec::new()]);
    for _ in 0..depth {
        let mut next = Vec::new();
        for way in &level {
            let walk = |memory: &mut Memory, more: Option<(u8, Event)>| {
                let mut board = start(memory, 2, 3);
                let mut left = budget;
                for (core, event) in way.iter().copied().chain(more) {
                    happen(&mut board, core, event, &mut left);
                }
                let choices: Vec<(u8, Event)> = (0..2)
                    .flat_map(|core| {
                        let events = events(&board, core, left);
                        events.into_iter().map(move |event| (core, event))
                    })
                    .collect();
                (board.check(), canonical(&board, left), choices)
            };
            let (_, _, choices) = walk(&mut Memory::new(3), None);
            for choice in choices {
                let (checked, state, _) = walk(&mut Memory::new(3), Some(choice));
                if seen.insert(state) {
                    let mut longer = way.clone();
                    longer.push(choice);
                    assert_eq!(checked, Ok(()), "{longer:?}");
                    next.push(longer);
                }
            }
        }
        level = next;
    }
    seen.len()
}

#[test]
fn every_order_of_steps_keeps_the_rules() {
    let budget = Left {
        transfers: 3,
        others: 2,
    };
    let states = explore(budget, 9);
    assert!(states > 10_000, "{states} states");
}

/// What an xorshift generator gives next, below `bound`.
fn random(state: &mut u64, bound: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % bound as u64) as usize
}

#[test]
fn long_random_orders_keep_the_rules() {
    let mut transfers = 0;
    for seed in 1..=1500_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut memory = Memory::new(4);
        let mut board = start(&mut memory, 3, 4);
        if seed % 2 == 0 {
            board.spread();
        }
        for step in 0..300 {
            let core = random(&mut state, 3) as u8;
            // Ends are rare, so that there is somebody to go on with.
            let often = random(&mut state, 30) == 0;
            let mut left = Left {
                transfers: 1,
                others: often.into(),
            };
            let all = events(&board, core, left);
            let event = all[random(&mut state, all.len())];
            transfers += u32::from(event == Event::Advance);
            happen(&mut board, core, event, &mut left);
            revive(&mut board, &mut state);
            let checked = board.check();
            let lives: Vec<_> = (0..4).map(|index| board.life(index)).collect();
            assert_eq!(
                checked,
                Ok(()),
                "seed {seed}, step {step}: {event:?} on {core}, {lives:?}"
            );
        }
    }
    assert!(transfers > 15_000, "{transfers} steps without the lock");
}

/// Now and then, whoever is stopped or suspended goes on.
fn revive(board: &mut Board<'_>, state: &mut u64) {
    use EnvironmentState::{Stopped, Suspended};
    let index = random(state, 4) as u16;
    let word = board.life(index);
    let rests = matches!(word.state(), Stopped | Suspended) && word.core().is_none();
    if rests && random(state, 4) == 0 {
        board.revive(index);
    }
}

impl Board<'_> {
    /// The words of somebody's links, but for gates and what is only copied.
    fn ends_words(&self, index: u16) -> [u64; 2] {
        let links = self.links().links(index);
        links.map_or([0; 2], |links| {
            [links.caller().word(), links.callee().word()]
        })
    }

    fn links(&self) -> &Table {
        self.table
    }
}
