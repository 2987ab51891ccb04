//! Message rings in shared memory.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_ipc::ring::{Message, ReceiveError, Receiver, Sender};
use exopi_ipc::wait::{Until, Yielding};
use exopi_rt::{Error, environment, exposed, time};

use super::Random;
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared, shared_words};

const SENDERS: u64 = 4;
/// Messages of each.
const EACH: u64 = 2000;

/// What sends a hostile peer home.
static STOP: AtomicU64 = AtomicU64::new(0);

/// How long anybody waits.
fn patience() -> Until<Yielding> {
    Until::new(Yielding, time::ticks() + 10 * time::ticks_per_second())
}

/// A message that says in every word what it is.
fn message(sender: u64, number: u64) -> Message {
    core::array::from_fn(|n| sender << 48 | number << 8 | n as u64)
}

/// What a sender runs; failures show as messages that do not come.
fn send(who: u64) {
    peer::begin();
    if let Ok(words) = shared_words(0, 1)
        && let Ok(sender) = Sender::new(words)
    {
        for number in 0..EACH {
            if sender.send(&message(who, number), &mut patience()).is_err() {
                return;
            }
        }
    }
}

fn small<T>(_: T) -> Failure {
    Failure::new("too small")
}

pub(super) fn across_cores() -> Outcome {
    let shared = Shared::new(1)?;
    let mut receiver = Receiver::new(shared.words(0, 1)?).map_err(small)?;
    check_eq!(receiver.capacity(), 32);
    let mut peers = alloc::vec::Vec::new();
    for who in 0..SENDERS {
        let core = (who + 1) % exposed::machine().cores;
        peers.push(Peer::here(who, core, send, who)?);
    }
    let mut next = [0; SENDERS as usize];
    for _ in 0..SENDERS * EACH {
        let words = receiver.receive(&mut patience())?;
        let sender = words[0] >> 48;
        let expected = next
            .get_mut(sender as usize)
            .ok_or_else(|| Failure::new("a message that nobody sent"))?;
        check_eq!(words, message(sender, *expected));
        *expected += 1;
    }
    check_eq!(next, [EACH; SENDERS as usize]);
    check_eq!(receiver.try_receive(), Err(ReceiveError::Empty));
    check!(!receiver.is_held_up());
    for peer in peers {
        peer.wait_for_end()?;
        peer.end()?;
    }
    shared.close()
}

/// What a hostile peer runs: it writes anything anywhere in the shared page, as fast as it can.
fn scribble(seed: u64) {
    peer::begin();
    let mut random = Random(seed);
    if let Ok(words) = shared_words(0, 1) {
        while STOP.load(Ordering::Relaxed) == 0 {
            let word = random.next() >> (random.next() % 64);
            let at = random.next() as usize % words.len();
            // Mostly where it hurts: tail and owners.
            let at = if random.next().is_multiple_of(4) {
                at
            } else {
                at & !7
            };
            words[at].store(word, Ordering::Relaxed);
            time::relax();
        }
    }
}

pub(super) fn hostile() -> Outcome {
    const SEED: u64 = 0x5c21_bb1e;
    let shared = Shared::new(1)?;
    let words = shared.words(0, 1)?;
    let mut receiver = Receiver::new(words).map_err(small)?;
    let sender = Sender::new(words).map_err(small)?;
    STOP.store(0, Ordering::Relaxed);
    let peer = Peer::here(0, exposed::machine().cores - 1, scribble, SEED)?;
    let mut counts = [0u64; 5];
    let mut random = Random(!SEED);
    for round in 0..20_000 {
        // However little the peer comes to run on a slow host, some of it is there.
        if round % 64 == 0 {
            let at = (random.next() as usize % words.len()) & !7;
            words[at].store(random.next(), Ordering::Relaxed);
        }
        let sent = sender.try_send(&message(9, round));
        counts[usize::from(sent.is_err())] += 1;
        match receiver.try_receive() {
            Ok(_) => counts[2] += 1,
            Err(ReceiveError::Empty) => counts[3] += 1,
            Err(ReceiveError::Corrupt) => {
                counts[4] += 1;
                receiver.reset();
            }
        }
        if round % 512 == 0 {
            environment::yield_now();
        }
    }
    STOP.store(1, Ordering::Relaxed);
    peer.wait_for_end()?;
    peer.end()?;
    check!(
        counts[4] > 0,
        "seed {SEED:x}: nothing was corrupt: {counts:?}"
    );
    receiver.reset();
    check_eq!(sender.try_send(&message(1, 2)), Ok(()));
    check_eq!(receiver.try_receive(), Ok(message(1, 2)));
    let mut now = Until::new(Yielding, 0);
    check_eq!(receiver.receive(&mut now), Err(Error::TimedOut));
    shared.close()
}
