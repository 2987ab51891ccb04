//! Senders on all cores: none of their messages is lost, torn, doubled or out of order, and none of them is held up by a
//! receiver that writes into its ring, or dies.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;

use exopi_ipc::Service;
use exopi_ipc::messages::{Asker, Sender, answer};
use exopi_rt::domain::ObjectName;
use exopi_rt::{Environment, Error, environment, exposed, msgring, time};

use super::{patience, refused, ring, ring_page};
use crate::area::record;
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared, me, shared_words};

const SENDERS: u64 = 4;
/// Messages of each: with four senders 20,000.
const EACH: u64 = 5000;

/// Who is sent to, [`ObjectName::word`].
static TO: AtomicU64 = AtomicU64::new(0);
/// What sends peers home.
static STOP: AtomicU64 = AtomicU64::new(0);
/// Messages that were sent; messages that were refused for a reason that is none; whether somebody was there.
static SENT: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
static READY: AtomicU64 = AtomicU64::new(0);

fn begin(to: ObjectName) {
    TO.store(to.word(), Ordering::Relaxed);
    for word in [&STOP, &SENT, &WRONG, &READY] {
        word.store(0, Ordering::Release);
    }
}

fn receiver() -> Result<Sender, Error> {
    let to = ObjectName::from_word(TO.load(Ordering::Relaxed));
    Sender::bind(Environment::Owned(to))
}

/// Message `number` of a sender: of a length that depends on both, full of both.
fn message(who: u64, number: u64, into: &mut [u8; 240]) -> &[u8] {
    let length = 16 + ((who * 71 + number * 13) % 225) as usize;
    let (head, body) = into.split_at_mut(16);
    head[..8].copy_from_slice(&who.to_le_bytes());
    head[8..].copy_from_slice(&number.to_le_bytes());
    body.fill((who * 31 + number) as u8);
    &into[..length]
}

fn send(who: u64) {
    peer::begin();
    let Ok(sender) = receiver() else {
        return;
    };
    for number in 0..EACH {
        let mut bytes = [0; 240];
        if sender
            .send(message(who, number, &mut bytes), &mut patience())
            .is_err()
        {
            WRONG.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}

pub(super) fn many_to_one() -> Outcome {
    let shared = Shared::new(1)?;
    let mut ring = ring(&shared)?;
    begin(me()?);
    let mut peers = Vec::new();
    for who in 0..SENDERS {
        let core = (who + 1) % exposed::machine().cores;
        peers.push(Peer::here(who, core, send, who)?);
    }
    let mut next = [0; SENDERS as usize];
    for _ in 0..SENDERS * EACH {
        let mut copy = [0; 240];
        let mut found = (ObjectName::from_word(0), 0);
        let length = ring.receive(
            |letter| {
                found = (letter.sender, letter.badge);
                letter.copy(&mut copy).len()
            },
            &mut patience(),
        )?;
        let who = u64::from(copy[0]);
        let place = next.get_mut(who as usize);
        let place = place.ok_or_else(|| Failure::new("a message that nobody sent"))?;
        let mut expected = [0; 240];
        check_eq!(&copy[..length], message(who, *place, &mut expected));
        check_eq!(found, (peers[who as usize].name(), 0));
        *place += 1;
    }
    check_eq!(next, [EACH; SENDERS as usize]);
    check!(ring.look(|_| ()).is_none(), "one too many");
    check_eq!(WRONG.load(Ordering::Relaxed), 0);
    for peer in peers {
        peer.wait_for_end()?;
        peer.end()?;
    }
    drop(ring);
    shared.close()
}

/// Sends as long as there is somebody, however full the ring is.
fn pester(_: u64) {
    peer::begin();
    let Ok(sender) = receiver() else {
        return;
    };
    READY.fetch_add(1, Ordering::Relaxed);
    while STOP.load(Ordering::Relaxed) == 0 {
        match sender.try_send(b"are you there?") {
            Ok(()) => {
                SENT.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::RingFull) => {}
            Err(Error::Stale | Error::NotAccepting) => return,
            Err(error) => WRONG.store(error as u64, Ordering::Relaxed),
        }
        for _ in 0..200 {
            time::relax();
        }
    }
}

/// Waits until so many messages were sent, writing into the ring meanwhile.
fn scribble_until(words: &[AtomicU64], sent: u64) -> Outcome {
    const SEED: u64 = 0x77d1_05a3;
    let mut random = super::super::ipc::Random(SEED);
    let end = time::ticks() + 20 * time::ticks_per_second();
    while SENT.load(Ordering::Relaxed) < sent {
        check!(time::ticks() < end, "seed {SEED:x}: nothing comes through");
        let word = random.next();
        let at = word as usize % words.len();
        // Mostly a head, and often one that is free.
        let at = if word >> 20 & 3 == 0 { at } else { at & !31 };
        let value = if word >> 24 & 1 == 0 {
            0
        } else {
            random.next()
        };
        words[at].store(value, Ordering::Relaxed);
        if word >> 32 & 63 == 0 {
            environment::yield_now();
        }
    }
    Ok(())
}

pub(super) fn scribbling() -> Outcome {
    let shared = Shared::new(2)?;
    let mut ring = ring(&shared)?;
    begin(me()?);
    let beside = shared.words(1, 1)?;
    let mut peers = Vec::new();
    for who in 0..3 {
        let core = (who + 1) % exposed::machine().cores;
        peers.push(Peer::here(who, core, pester, who)?);
    }
    scribble_until(shared.words(0, 1)?, 2000)?;
    STOP.store(1, Ordering::Relaxed);
    for peer in peers {
        peer.wait_for_end()?;
        peer.end()?;
    }
    check_eq!(WRONG.load(Ordering::Relaxed), 0);
    check!(
        beside.iter().all(|word| word.load(Ordering::Relaxed) == 0),
        "the page beside the ring was written"
    );
    // Whatever lies there now is a letter or none.
    for _ in 0..100 {
        let _ = ring.look(|letter| letter.value::<u64>().is_ok());
    }
    drop(ring);
    let mut ring = super::ring(&shared)?;
    let sender = Sender::bind(Environment::Own)?;
    sender.try_send(b"again")?;
    check_eq!(ring.look(|letter| letter.length()), Some(5));
    drop(ring);
    shared.close()
}

/// A receiver that never looks: it gives back what comes.
fn receive(_: u64) {
    peer::begin();
    let set = ring_page().and_then(|page| {
        let words = shared_words(0, 1)?;
        // SAFETY: the page is the one that is mapped there.
        Ok(unsafe { exopi_ipc::MessageRing::new(words, page, 3) }?)
    });
    let Ok(mut ring) = set else {
        return;
    };
    READY.fetch_add(1, Ordering::Release);
    loop {
        let _ = ring.look(|_| ());
        time::relax();
    }
}

pub(super) fn dying() -> Outcome {
    let shared = Shared::new(1)?;
    let page = ring_page()?;
    for round in 0..8 {
        begin(ObjectName::from_word(0));
        let cores = exposed::machine().cores;
        let victim = Peer::here(0, 1 % cores, receive, 0)?;
        TO.store(victim.name().word(), Ordering::Relaxed);
        let ready = |count| {
            crate::other::wait(
                || Ok(READY.load(Ordering::Acquire) >= count),
                || alloc::format!("round {round}: {} ready", READY.load(Ordering::Relaxed)),
            )
        };
        ready(1)?;
        let mut peers = Vec::new();
        for who in 1..4 {
            let core = [2, 3, 0][who as usize - 1] % cores;
            peers.push(Peer::here(who, core, pester, who)?);
        }
        ready(4)?;
        crate::other::wait(
            || Ok(SENT.load(Ordering::Relaxed) > 20 * round),
            || "nothing is sent".into(),
        )?;
        let index = victim.name().index;
        victim.end()?;
        // They hear of it at their next message.
        for peer in peers {
            peer.wait_for_end()?;
            peer.end()?;
        }
        check_eq!(WRONG.load(Ordering::Relaxed), 0, "round {round}");
        let left = exposed::message_ring_at(index);
        check_eq!(left, Some(msgring::MessageRingRecord::NONE));
        check_eq!((record(page)?.pins(), record(page)?.references), (0, 1));
    }
    shared.close()
}

/// Multiplies.
struct Times;

impl Service for Times {
    type Request = (u64, u64);
    type Answer = Option<u64>;
}

/// A server that answers by messages whatever is asked, until it is asked for 0 times 0.
fn serve(client: u64) {
    peer::begin();
    let set = ring_page().and_then(|_| {
        let words = shared_words(1, 1)?;
        let mapping = exopi_rt::tables::mapping_of(words.as_ptr() as u64);
        let page = mapping
            .ok_or_else(|| Failure::new("nothing is mapped"))?
            .page;
        // SAFETY: the page is the one that is mapped there.
        Ok(unsafe { exopi_ipc::MessageRing::new(words, page, 3) }?)
    });
    let Ok(mut ring) = set else {
        return;
    };
    let Ok(to) = Sender::bind(Environment::Owned(ObjectName::from_word(client))) else {
        return;
    };
    READY.store(1, Ordering::Release);
    let mut going = true;
    while going {
        let answered = ring.receive(
            |letter| {
                let product = |(a, b): (u64, u64)| {
                    going = (a, b) != (0, 0);
                    a.checked_mul(b)
                };
                answer::<Times>(&letter, &to, product, &mut patience())
            },
            &mut patience(),
        );
        if answered.is_err() {
            return;
        }
    }
}

pub(super) fn typed_calls() -> Outcome {
    let shared = Shared::new(2)?;
    let mut ring = ring(&shared)?;
    begin(me()?);
    let peer = Peer::here(0, exposed::machine().cores - 1, serve, me()?.word())?;
    crate::other::wait(
        || Ok(READY.load(Ordering::Acquire) == 1),
        || "the server is not ready".into(),
    )?;
    // What comes from somebody else is no answer.
    let own = Sender::bind(Environment::Own)?;
    let sender = Sender::bind(peer.environment())?;
    let mut asker = Asker::<Times>::new(sender, peer.name());
    for n in 1..500_u64 {
        if n % 7 == 0 {
            own.try_send(&n.to_le_bytes())?;
        }
        let answer = asker.call(&mut ring, (n, n << 32), &mut patience());
        check_eq!(answer, Ok(n.checked_mul(n << 32)));
    }
    let none = asker.call(&mut ring, (u64::MAX, 2), &mut patience());
    check_eq!(none, Ok(None));
    check_eq!(asker.call(&mut ring, (0, 0), &mut patience()), Ok(Some(0)));
    peer.wait_for_end()?;
    peer.end()?;
    drop(ring);
    check_eq!(refused(own.try_send(b"x")), Some(Error::NotAccepting));
    shared.close()
}
