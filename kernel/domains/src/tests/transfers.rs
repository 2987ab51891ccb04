//! Gates and transfers: what each refusal says, what becomes of a call whose ends are stopped, destroyed or made to
//! leave, and all of it together at random, with every step that a core makes without the lock as one of its own.

mod board;
#[cfg(not(miri))] // It would take hours there.
mod interleaved;

use exopi_abi::capability::{EnvironmentRights, Kind};
use exopi_abi::domain::{EnvironmentState, LifeWord};
use exopi_abi::{Error, PageNumber};

use EnvironmentState::{Asleep, Calling, Ready, Running, Stopped, Suspended};

use super::{Cap, Named};
use crate::Link;
use board::{Board, Memory, Outcome};

/// Server 1 rests, and the first environment has gate 0 to it; 2 and 3 are stopped.
fn board(memory: &mut Memory) -> Board<'_> {
    let mut board = Board::new(memory, 2, 4);
    assert_eq!(board.bind(0, 0, Named::Name(board.names[1])), Ok(()));
    board.rest(1);
    board
}

#[test]
fn a_call_enters_and_its_answer_comes_back() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    let before = board.life(1);
    assert_eq!((before.state(), before.core()), (Asleep, None));
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.on(0), Some(1));
    assert_eq!(board.life(0).state(), Calling);
    assert_eq!(board.life(1).state(), Running);
    assert_eq!(board.world.domains.callee_of(0), Some(1));
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    assert_eq!(board.on(0), Some(0));
    assert_eq!(board.life(1), before);
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn each_refusal_has_its_reason() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    for gate in [1, 15, 16, u64::MAX] {
        assert_eq!(board.call(0, gate, 0), Err(Error::NoGate));
    }
    assert_eq!(board.bind(0, 16, Named::Own), Err(Error::NoGate));
    assert_eq!(board.unbind(0, 15), Err(Error::NoGate));
    // A gate is good for the rights that there are.
    let cap = Cap::of(Kind::Environment, board.names[1]);
    let with = |rights| Named::Cap(cap.with(rights));
    assert_eq!(board.bind(0, 1, with(EnvironmentRights::SCHEDULE)), Ok(()));
    assert_eq!(board.call(0, 1, 0), Err(Error::MissingRight));
    assert_eq!(board.bind(0, 1, with(EnvironmentRights::CALL)), Ok(()));
    assert_eq!(board.give(0, 1), Err(Error::MissingRight));
    let others = EnvironmentRights::all() - EnvironmentRights::CALL - EnvironmentRights::SCHEDULE;
    assert_eq!(board.bind(0, 1, with(others)), Err(Error::MissingRight));
    let timed = Named::Cap(Cap { timed: true, ..cap });
    assert_eq!(board.bind(0, 1, timed), Err(Error::TimeLimited));
    assert_eq!(
        board.bind(0, 1, Named::Name(super::NEVER)),
        Err(Error::NotYours)
    );
    // What a refused bind has left alone.
    assert_eq!(board.call(0, 1, 0), Ok(()));
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    // States of the callee.
    assert_eq!(board.bind(0, 2, Named::Name(board.names[2])), Ok(()));
    assert_eq!(board.call(0, 2, 0), Err(Error::NotReady));
    board.run(2, 1);
    assert_eq!(board.call(0, 2, 0), Err(Error::Busy));
    board.give_up(1);
    assert_eq!(board.life(2).state(), Ready);
    assert_eq!(board.call(0, 2, 0), Err(Error::NotAccepting));
    board.set_flag(1, LifeWord::DEBT);
    assert_eq!(board.call(0, 0, 0), Err(Error::Indebted));
    board.clear_flag(1, LifeWord::DEBT);
    board.set_flag(1, LifeWord::CLOSED);
    assert_eq!(board.call(0, 0, 0), Err(Error::NotAccepting));
    board.clear_flag(1, LifeWord::CLOSED);
    board.destroy(0, 1);
    assert_eq!(board.call(0, 0, 0), Err(Error::Stale));
    assert_eq!(board.unbind(0, 0), Ok(()));
    assert_eq!(board.call(0, 0, 0), Err(Error::NoGate));
    // Another one in its place is not who was meant.
    assert_eq!(board.bind(0, 3, Named::Own), Ok(()));
    assert_eq!(board.call(0, 3, 0), Err(Error::Busy));
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn a_gate_leads_to_nobody_who_came_later() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    let old = board.names[1];
    board.destroy(0, 1);
    let new = board.create(1);
    assert_eq!(new.index, old.index);
    board.rest(1);
    assert_eq!(board.call(0, 0, 0), Err(Error::Stale));
    assert_eq!(board.call_fast(0, 0), None);
    assert_eq!(board.bind(0, 0, Named::Name(new)), Ok(()));
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
}

#[test]
fn who_begins_has_no_links_of_who_was_there_before() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.bind(0, 1, Named::Name(board.names[2])), Ok(()));
    assert_eq!(board.call(0, 0, 0), Ok(()));
    // The callee dies as it serves, with gates of its own.
    assert_eq!(board.bind(0, 5, Named::Name(board.names[2])), Ok(()));
    board.destroy_own(0);
    board.create(1);
    board.run(1, 1);
    assert_eq!(board.call(1, 5, 0), Err(Error::NoGate));
    assert_eq!(board.reply(1), Ok(Outcome::Nobody));
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn a_one_way_message_leaves_its_sender_ready() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.send(0, 0), Ok(()));
    assert_eq!((board.on(0), board.life(0).state()), (Some(1), Ready));
    assert_eq!(board.reply(0), Ok(Outcome::Nobody));
    assert_eq!(board.life(1).state(), Asleep);
    board.world.dispatch(0);
    assert_eq!(board.on(0), Some(0));
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn an_answer_after_the_deadline_is_refused_and_the_call_has_failed() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    board.now = 99;
    assert_eq!(board.call(0, 0, 100), Ok(()));
    board.now = 100;
    assert_eq!(board.reply(0), Err(Error::TimedOut));
    assert_eq!(board.failure(0), Some(Error::TimedOut));
    assert_eq!(board.life(0).state(), Ready);
    // Who serves nobody any more rests.
    assert_eq!(board.reply(0), Ok(Outcome::Nobody));
    board.world.dispatch(0);
    assert_eq!(board.on(0), Some(0));
    // In time it goes as without.
    assert_eq!(board.call(0, 0, 102), Ok(()));
    board.now = 101;
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    assert_eq!(board.world.domains.alarms.of(0), None);
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn a_deadline_that_a_timer_finds_ends_the_call() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.call(0, 0, 100), Ok(()));
    assert_eq!(board.world.domains.alarms.take_due(0, 99), None);
    let due = board.world.domains.alarms.take_due(0, 100);
    assert_eq!(due, Some(0));
    board.world.domains.time_out(0);
    board.end_hold();
    assert_eq!(board.failure(0), Some(Error::TimedOut));
    assert_eq!(board.reply(0), Err(Error::NotWaiting));
    assert_eq!(board.reply(0), Ok(Outcome::Nobody));
    board.world.domains.time_out(0);
    board.end_hold();
    assert_eq!(board.failure(0), None);
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn a_caller_that_is_stopped_waits_no_more() {
    for destroyed in [false, true] {
        let mut memory = Memory::new(4);
        let mut board = board(&mut memory);
        assert_eq!(board.bind(0, 1, Named::Name(board.names[2])), Ok(()));
        board.run(2, 1);
        assert_eq!(board.call(0, 0, 0), Ok(()));
        if destroyed {
            board.destroy(1, 0);
            assert_eq!(board.failure(0), None);
        } else {
            assert_eq!(board.stop(1, 0), Ok(()));
            assert_eq!(board.failure(0), Some(Error::Interrupted));
            assert_eq!(board.life(0).state(), Stopped);
        }
        assert_eq!(board.reply(0), Err(Error::NotWaiting));
        assert_eq!(board.reply(0), Ok(Outcome::Nobody));
        assert_eq!(board.life(1).state(), Asleep);
        assert_eq!(board.world.check(), Ok(()));
    }
}

#[test]
fn a_callee_that_leaves_serves_on_when_it_comes_back() {
    for how in [Ready, Stopped, Suspended] {
        let mut memory = Memory::new(4);
        let mut board = board(&mut memory);
        assert!(board.call_fast(0, 0).is_some());
        match how {
            Ready => board.give_up(0),
            Stopped => board.stop_own(0),
            _ => {
                let _ = board.suspend(0);
            }
        }
        assert_eq!(board.on(0), None);
        assert_eq!(
            (board.life(0).state(), board.life(1).state()),
            (Calling, how)
        );
        assert_eq!(board.world.check(), Ok(()));
        if how != Ready {
            board.revive(1);
        }
        board.enter(1, 1);
        // It was called on core 0, and answers on core 1: the caller goes on there.
        assert_eq!(board.reply(1), Ok(Outcome::Caller(0)));
        assert_eq!(board.on(1), Some(0));
        assert_eq!(board.life(0).core(), Some(1));
        assert_eq!(board.world.check(), Ok(()));
    }
}

#[test]
fn a_callee_that_dies_fails_its_caller() {
    for fast in [false, true] {
        let mut memory = Memory::new(4);
        let mut board = board(&mut memory);
        if fast {
            assert!(board.call_fast(0, 0).is_some());
        } else {
            assert_eq!(board.call(0, 0, 0), Ok(()));
        }
        board.destroy_own(0);
        assert_eq!(board.failure(0), Some(Error::Stale));
        assert_eq!(board.failure(0), None);
        assert_eq!(board.life(0).state(), Ready);
        board.world.dispatch(0);
        assert_eq!(board.on(0), Some(0));
        assert_eq!(board.world.check(), Ok(()));
    }
}

#[test]
fn calls_nest() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    board.rest(2);
    board.rest(3);
    assert!(board.call_fast(0, 0).is_some());
    assert_eq!(board.bind(0, 0, Named::Name(board.names[2])), Ok(()));
    // Whoever serves a fast call makes a slow one, and its own becomes slow.
    assert_eq!(board.call_fast(0, 0), None);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.life(0).state(), Calling);
    assert_eq!(board.bind(0, 0, Named::Name(board.names[3])), Ok(()));
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.on(0), Some(3));
    assert_eq!(board.world.check(), Ok(()));
    for index in [2, 1, 0] {
        assert_eq!(board.reply(0), Ok(Outcome::Caller(index)));
        assert_eq!(board.world.check(), Ok(()));
    }
    // The middle of a chain dies: those before it hear of it, and the one behind it answers nobody.
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.on(0), Some(2));
    board.destroy(0, 1);
    assert_eq!(board.failure(0), Some(Error::Stale));
    assert_eq!(board.reply(0), Err(Error::NotWaiting));
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn notices_reach_whoever_a_transfer_enters() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    // The callee has one as it is entered: its core is to look after it.
    board.post(1);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    assert_eq!(board.told() & 1, 1);
    // And one for the caller as it waits.
    board.world.domains.take_notices(1);
    board.post(0);
    board.world.domains.take_interrupts();
    board.world.told = 0;
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    assert_eq!(board.told() & 1, 1);
    assert!(board.life(0).has(LifeWord::ATTENTION));
    // What was delivered does not come back with the callee's rest.
    assert!(!board.life(1).has(LifeWord::ATTENTION));
    board.world.domains.take_notices(0);
    assert_eq!(board.world.check(), Ok(()));
}

#[test]
fn nobody_sleeps_over_a_notice() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    board.post(1);
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    assert_eq!(board.life(1).state(), Ready);
    assert_eq!(board.world.check(), Ok(()));
    board.enter(1, 1);
}

#[test]
fn who_answers_with_upcalls_masked_takes_no_calls() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    board.masked = true;
    assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
    assert_eq!(board.call(0, 0, 0), Err(Error::NotAccepting));
    assert_eq!(board.call_fast(0, 0), None);
    let (domains, serving) = (&board.world.domains, LifeWord::CLOSED | LifeWord::LIGHT);
    assert_eq!(domains.flags_of_light(0, false), LifeWord::LIGHT);
    assert_eq!(domains.flags_of_light(0, true), serving);
    // One that has run again is open.
    board.masked = false;
    board.post(1);
    let _ = board.world.domains.words().wake(1);
    let _ = board.world.domains.words().claim(1, 1);
    assert!(!board.life(1).has(LifeWord::CLOSED));
}

#[test]
fn who_serves_leaves_closed() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    let closed = LifeWord::CLOSED | LifeWord::LIGHT;
    assert_eq!(board.world.domains.flags_of_light(1, false), closed);
    assert!(board.world.domains.serves(1) && !board.world.domains.serves(0));
}

#[test]
fn a_step_is_due_behind_a_call_that_was_made_by_one() {
    for fails in [false, true] {
        let mut memory = Memory::new(4);
        let mut board = board(&mut memory);
        board.steps = true;
        assert_eq!(board.call(0, 0, 0), Ok(()));
        if fails {
            board.destroy_own(0);
            let failed = board.failed.pop();
            assert_eq!(failed.map(|failed| failed.steps), Some(true));
        } else {
            assert_eq!(board.reply(0), Ok(Outcome::Caller(0)));
            assert!(board.stepped);
        }
    }
}

#[test]
fn words_of_links_are_apart() {
    for link in [Link::NOBODY, Link::ONE_WAY, Link::GONE] {
        assert_eq!(
            (link.place(), link.is_fast(), link.steps()),
            (None, false, false)
        );
    }
    let link = Link::slow(128);
    assert_eq!(
        (link.place(), link.is_fast(), link.steps()),
        (Some(128), false, false)
    );
    let stepping = link.stepping(true);
    assert_eq!((stepping.place(), stepping.steps()), (Some(128), true));
    assert_eq!(link.stepping(false), link);
}

#[test]
fn a_failure_tells_where_and_why() {
    let mut memory = Memory::new(4);
    let mut board = board(&mut memory);
    let uarea = board
        .world
        .domains
        .environment(0)
        .map(|record| record.uarea);
    assert_eq!(board.call(0, 0, 0), Ok(()));
    board.destroy_own(0);
    let failed = board.failed.pop().expect("the call has failed");
    assert_eq!(Some(failed.uarea), uarea.map(PageNumber::new));
    assert_eq!((failed.pc, failed.sp), board::behind(0));
    assert_eq!(failed.code, Error::Stale as u64);
}
