//! Senders on all cores: none of their messages is lost, torn, doubled or out of order, and none of them is held up by a
//! receiver that writes into its ring, or dies.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;

use exopi_ipc::Service;
use exopi_ipc::Wait;
use exopi_ipc::messages::{Asker, MessageRing, Sender, answer};
use exopi_rt::domain::ObjectName;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::pages::Run;
use exopi_rt::{Environment, Error, environment, exposed, msgring, time};

use super::{refused, ring, ring_page};
use crate::area::{AREA, RW, insert, place, record, remove};
use crate::crew::{self, Random};
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared, me, shared_words};

const SENDERS: u64 = 4;
/// The one that runs on the receiver's core, in turns with it.
const SHARES: u64 = 3;
/// Messages that a sender sends without a pause.
const BURST: u64 = 50;
/// Of each sender that has ended, one more than it has sent.
static ENDED: [AtomicU64; SENDERS as usize] = [const { AtomicU64::new(0) }; SENDERS as usize];
/// 1 while a sender sends alone.
static BATON: AtomicU64 = AtomicU64::new(0);
/// Where a ring of [`PAGES`] pages is, from page [`FIRST`] of the area on.
const FIRST: u64 = 8;
const PAGES: u64 = 16;
/// Most messages of each: with four senders 20,000, unless time is over before.
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
    for word in [&STOP, &SENT, &WRONG, &READY, &BATON] {
        word.store(0, Ordering::Release);
    }
    ENDED
        .iter()
        .for_each(|word| word.store(0, Ordering::Release));
    crew::begin();
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

/// Waits without calls, but on core 0, where somebody else is to have the core. Cores that wait for the kernel's lock wait
/// in turn, and where the emulator has fewer processors than the machine each turn takes as long as its host gives to
/// somebody else.
struct Pausing {
    end: u64,
    shares: bool,
    random: Random,
}

impl Pausing {
    fn new(shares: bool, seed: u64) -> Self {
        Self {
            end: time::ticks() + 20 * time::ticks_per_second(),
            shares,
            random: Random::new(seed),
        }
    }
}

impl Wait for Pausing {
    fn turn(&mut self) -> Result<(), Error> {
        if time::ticks() > self.end {
            return Err(Error::TimedOut);
        }
        if self.shares {
            environment::yield_now();
        }
        let pause = self.random.below(if self.shares { 500 } else { 20_000 });
        (0..pause).for_each(|turn| {
            let _ = core::hint::black_box(turn);
        });
        time::relax();
        Ok(())
    }
}

fn send(who: u64) {
    peer::begin();
    let Ok(sender) = receiver() else {
        return;
    };
    let mut wait = Pausing::new(who == SHARES, who);
    let mut sent = 0;
    for burst in crew::rounds(EACH / BURST).take(EACH as usize / BURST as usize) {
        let alone = burst % 8 != 0;
        if send_burst(&sender, who, sent..sent + BURST, alone, &mut wait).is_err() {
            WRONG.fetch_add(1, Ordering::Relaxed);
            break;
        }
        sent += BURST;
    }
    ENDED[who as usize].store(1 + sent, Ordering::Release);
}

/// Sends messages of these numbers, `alone` or while others do: where the host has fewer processors than the machine cores,
/// many at a time would take minutes.
fn send_burst(
    sender: &Sender,
    who: u64,
    numbers: Range<u64>,
    alone: bool,
    wait: &mut Pausing,
) -> Result<(), Error> {
    while alone && BATON.swap(1, Ordering::Acquire) != 0 {
        wait.turn()?;
    }
    let sent = numbers.into_iter().try_for_each(|number| {
        let mut bytes = [0; 240];
        sender.send(message(who, number, &mut bytes), wait)
    });
    if alone {
        BATON.store(0, Ordering::Release);
    }
    sent.and_then(|()| wait.turn())
}

pub(super) fn many_to_one() -> Outcome {
    let shared = Shared::new(1)?;
    let run = Run::take_row(PAGES)?;
    let at = place(AREA + FIRST * PAGE_SIZE)?;
    insert(at, run.first(), PAGES, RW).unless_stopped()?;
    let words = shared_words(FIRST, PAGES)?;
    // SAFETY: the pages are those that are mapped there.
    let mut ring = unsafe { MessageRing::new(words, run.first(), 3) }?;
    check_eq!(ring.capacity(), 256);
    begin(me()?);
    let mut peers = Vec::new();
    for who in 0..SENDERS {
        let core = (who + 1) % exposed::machine().cores;
        peers.push(Peer::here(who, core, send, who)?);
    }
    let mut next = [0; SENDERS as usize];
    let mut wait = Pausing::new(true, 0);
    loop {
        let ended = ENDED.iter().all(|count| count.load(Ordering::Acquire) != 0);
        let mut copy = [0; 240];
        let letter = ring.look(|letter| {
            let length = letter.copy(&mut copy).len();
            (length, (letter.sender, letter.badge))
        });
        let Some((length, found)) = letter else {
            if ended {
                break;
            }
            wait.turn()?;
            continue;
        };
        let who = u64::from(copy[0]);
        let place = next.get_mut(who as usize);
        let place = place.ok_or_else(|| Failure::new("a message that nobody sent"))?;
        let mut expected = [0; 240];
        check_eq!(&copy[..length], message(who, *place, &mut expected));
        check_eq!(found, (peers[who as usize].name(), 0));
        *place += 1;
    }
    let sent = ENDED
        .each_ref()
        .map(|count| count.load(Ordering::Relaxed) - 1);
    check_eq!(next, sent);
    check!(
        sent.iter().all(|count| *count > 0),
        "somebody has sent nothing"
    );
    check_eq!(WRONG.load(Ordering::Relaxed), 0);
    for peer in peers {
        peer.wait_for_end()?;
        peer.end()?;
    }
    drop(ring);
    remove(at, PAGES).unless_stopped()?;
    run.free().unless_stopped()?;
    shared.close()
}

/// Sends as long as there is somebody, however full the ring is.
fn pester(core: u64) {
    peer::begin();
    let mut random = Random::new(core);
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
        if core == 0 {
            environment::yield_now();
        }
        for _ in 0..random.below(3000) {
            time::relax();
        }
    }
}

/// Writes into the ring until so many messages were sent, or time is over.
fn scribble_until(words: &[AtomicU64], sent: u64) -> Outcome {
    const SEED: u64 = 0x77d1_05a3;
    let mut random = super::super::ipc::Random(SEED);
    let end = time::ticks() + 3 * time::ticks_per_second();
    while SENT.load(Ordering::Relaxed) < sent && time::ticks() < end {
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
        time::relax();
    }
    let through = SENT.load(Ordering::Relaxed);
    check!(through > 0, "seed {SEED:x}: nothing comes through");
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
        peers.push(Peer::here(who, core, pester, core)?);
    }
    scribble_until(shared.words(0, 1)?, 500)?;
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
        Ok(unsafe { MessageRing::new(words, page, 3) }?)
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
    for round in 0..6 {
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
            peers.push(Peer::here(who, core, pester, core)?);
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
        Ok(unsafe { MessageRing::new(words, page, 3) }?)
    });
    let Ok(mut ring) = set else {
        return;
    };
    let Ok(to) = Sender::bind(Environment::Owned(ObjectName::from_word(client))) else {
        return;
    };
    READY.store(1, Ordering::Release);
    let mut going = true;
    let [mut wait, mut room] = [1, 2].map(|seed| Pausing::new(false, seed));
    while going {
        let answered = ring.receive(
            |letter| {
                let product = |(a, b): (u64, u64)| {
                    going = (a, b) != (0, 0);
                    a.checked_mul(b)
                };
                answer::<Times>(&letter, &to, product, &mut room)
            },
            &mut wait,
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
    let mut wait = Pausing::new(false, 3);
    let mut asker = Asker::<Times>::new(sender, peer.name());
    for n in 1..200_u64 {
        if n % 7 == 0 {
            own.try_send(&n.to_le_bytes())?;
        }
        let answer = asker.call(&mut ring, (n, n << 32), &mut wait);
        check_eq!(answer, Ok(n.checked_mul(n << 32)));
    }
    let none = asker.call(&mut ring, (u64::MAX, 2), &mut wait);
    check_eq!(none, Ok(None));
    check_eq!(asker.call(&mut ring, (0, 0), &mut wait), Ok(Some(0)));
    peer.wait_for_end()?;
    peer.end()?;
    drop(ring);
    check_eq!(refused(own.try_send(b"x")), Some(Error::NotAccepting));
    shared.close()
}
