//! Rings: against a queue, between threads, and in memory that somebody else writes.

use std::collections::VecDeque;
use std::thread;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

use super::*;

fn memory(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|_| AtomicU64::new(0xdead)).collect()
}

/// A message that says what it is in every word.
fn message(number: u64) -> Message {
    core::array::from_fn(|n| number << 8 | n as u64)
}

struct Turns(u32);

impl Wait for Turns {
    fn turn(&mut self) -> Result<(), Error> {
        self.0 = self.0.checked_sub(1).ok_or(Error::TimedOut)?;
        thread::yield_now();
        Ok(())
    }
}

#[test]
fn room_is_a_power_of_two_of_entries() {
    for (words, capacity) in [(24, 2), (39, 2), (40, 4), (512, 32), (1024, 64)] {
        let memory = memory(words);
        assert_eq!(Receiver::new(&memory).unwrap().capacity(), capacity);
    }
    for words in [0, 7, 8, 16, 23] {
        assert_eq!(Receiver::new(&memory(words)).err(), Some(TooSmall));
        assert_eq!(Sender::new(&memory(words)).err(), Some(TooSmall));
    }
}

#[test]
fn a_full_ring_and_an_empty_one_say_so() {
    let memory = memory(8 + 4 * 8);
    let mut receiver = Receiver::new(&memory).unwrap();
    let sender = Sender::new(&memory).unwrap();
    for round in 0..10 {
        assert_eq!(receiver.try_receive(), Err(ReceiveError::Empty));
        for n in 0..4 {
            assert_eq!(sender.try_send(&message(round + n)), Ok(()));
        }
        assert_eq!(sender.try_send(&message(9)), Err(SendError::Full));
        assert_eq!(
            sender.send(&message(9), &mut Turns(3)),
            Err(Error::TimedOut)
        );
        for n in 0..4 {
            assert_eq!(receiver.try_receive(), Ok(message(round + n)));
        }
        assert_eq!(receiver.receive(&mut Turns(3)), Err(Error::TimedOut));
    }
}

#[test]
fn a_place_that_is_taken_and_not_filled_is_seen() {
    let memory = memory(64);
    let mut receiver = Receiver::new(&memory).unwrap();
    let sender = Sender::new(&memory).unwrap();
    assert!(!receiver.is_held_up());
    // What a sender does that dies at the wrong moment.
    memory[0].fetch_add(1, Ordering::Relaxed);
    assert_eq!(sender.try_send(&message(2)), Ok(()));
    assert_eq!(receiver.try_receive(), Err(ReceiveError::Empty));
    assert!(receiver.is_held_up());
    receiver.reset();
    assert!(!receiver.is_held_up());
    assert_eq!(sender.try_send(&message(3)), Ok(()));
    assert!(!receiver.is_held_up());
    assert_eq!(receiver.try_receive(), Ok(message(3)));
}

#[test]
fn threads_lose_nothing_and_keep_their_order() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 20_000;
    let memory = memory(8 + 16 * 8);
    let mut receiver = Receiver::new(&memory).unwrap();
    thread::scope(|scope| {
        for who in 0..SENDERS {
            let sender = Sender::new(&memory).unwrap();
            scope.spawn(move || {
                for n in 0..EACH {
                    let number = who << 32 | n;
                    sender.send(&message(number), &mut Turns(u32::MAX)).unwrap();
                }
            });
        }
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * EACH {
            let words = receiver.receive(&mut Turns(u32::MAX)).unwrap();
            let number = words[0] >> 8;
            assert_eq!(words, message(number), "torn");
            let expected = &mut next[(number >> 32) as usize];
            assert_eq!(number & 0xffff_ffff, *expected);
            *expected += 1;
        }
        assert_eq!(next, [EACH; SENDERS as usize]);
        assert_eq!(receiver.try_receive(), Err(ReceiveError::Empty));
    });
}

/// What a test does to a ring.
#[derive(Clone, Debug)]
enum Step {
    Send(u64),
    Receive,
    /// Somebody writes a word.
    Write(usize, u64),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![
            any::<u32>().prop_map(|n| Step::Send(n.into())),
            proptest::prelude::Just(Step::Receive)
        ],
        0..200,
    )
}

fn hostile_steps() -> impl Strategy<Value = Vec<Step>> {
    let word = prop_oneof![
        any::<u64>(),
        0..70u64,
        (0..70u64).prop_map(u64::wrapping_neg)
    ];
    vec(
        prop_oneof![
            any::<u32>().prop_map(|n| Step::Send(n.into())),
            proptest::prelude::Just(Step::Receive),
            (0..48usize, word).prop_map(|(at, word)| Step::Write(at, word)),
            proptest::prelude::Just(Step::Reset),
        ],
        0..300,
    )
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(steps in steps(), entries in 2..9usize) {
        let memory = memory(8 + entries * 8);
        let mut receiver = Receiver::new(&memory).unwrap();
        let sender = Sender::new(&memory).unwrap();
        let capacity = receiver.capacity() as usize;
        let mut queue = VecDeque::new();
        for step in steps {
            match step {
                Step::Send(n) if queue.len() < capacity => {
                    assert_eq!(sender.try_send(&message(n)), Ok(()));
                    queue.push_back(n);
                }
                Step::Send(n) => assert_eq!(sender.try_send(&message(n)), Err(SendError::Full)),
                _ => {
                    let expected = queue.pop_front().map(message).ok_or(ReceiveError::Empty);
                    assert_eq!(receiver.try_receive(), expected);
                }
            }
            assert!(!receiver.is_held_up());
        }
    }

    /// Whatever is in the memory: every operation comes back, writes nothing outside its words, and after a reset
    /// the ring works.
    #[test]
    fn hostile_words_harm_nobody(steps in hostile_steps()) {
        let memory = memory(48 + 8);
        let (words, beyond) = memory.split_at(48);
        let mut receiver = Receiver::new(words).unwrap();
        let sender = Sender::new(words).unwrap();
        for step in steps {
            match step {
                Step::Send(n) => { let _ = sender.try_send(&message(n)); }
                Step::Receive => { let _ = receiver.try_receive(); }
                Step::Write(at, word) => words[at].store(word, Ordering::Relaxed),
                Step::Reset => receiver.reset(),
            }
            let _ = receiver.is_held_up();
        }
        assert!(beyond.iter().all(|word| word.load(Ordering::Relaxed) == 0xdead));
        receiver.reset();
        assert_eq!(sender.try_send(&message(1)), Ok(()));
        assert_eq!(receiver.try_receive(), Ok(message(1)));
    }
}
