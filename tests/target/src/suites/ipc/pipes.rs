//! Pipes between programs.

use core::sync::atomic::{AtomicU64, Ordering};

use embedded_io::{Read, Write};
use exopi_ipc::Gate;
use exopi_ipc::pipe::{self, PipeError, Reader, TooSmall, Writer};
use exopi_ipc::wait::{HandOver, Until, Wait, Yielding};
use exopi_rt::domain::ObjectName;
use exopi_rt::{Call, Environment, Error, environment, exposed, time};

use super::Random;
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared, shared_words};

/// Where the pipes are in the shared pages: first page and number of pages. Page 0 is for words.
const THERE: (u64, u64) = (1, 2);
const BACK: (u64, u64) = (3, 1);
const PAGES: u64 = 4;

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u64)]
enum Task {
    /// Sends back what it reads, changed, until the end; waits by giving its core to the program.
    EchoByGate = 1,
    /// The same, waiting for its turn.
    Echo = 2,
    /// Reads three bytes, and no more.
    ReadThree = 3,
    /// Writes two bytes, and dies without a word.
    Die = 4,
    /// Writes anything anywhere.
    Scribble = 5,
}

impl From<PipeError> for Failure {
    #[track_caller]
    fn from(error: PipeError) -> Self {
        Self::new(alloc::format!("{error}"))
    }
}

impl From<TooSmall> for Failure {
    #[track_caller]
    fn from(_: TooSmall) -> Self {
        Self::new("too small")
    }
}

/// How a byte comes back.
const fn changed(byte: u8) -> u8 {
    byte.rotate_left(3) ^ 0x5a
}

/// Echoes until the end; what a reader that is gone refuses is the end too.
fn echo<W: Wait>(reader: &mut Reader<'_, W>, writer: &mut Writer<'_, W>) -> Result<(), PipeError> {
    let mut bytes = [0; 700];
    loop {
        let count = reader.read(&mut bytes)?;
        let Some(read) = bytes.get_mut(..count).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        for byte in read.iter_mut() {
            *byte = changed(*byte);
        }
        writer.write_all(read)?;
    }
}

fn scribble(words: &[AtomicU64]) {
    let mut random = Random(0x5eed_0001);
    for _ in 0..100_000 {
        let word = random.next() >> (random.next() % 64);
        let at = random.next() as usize % words.len();
        let at = if random.next().is_multiple_of(4) {
            at
        } else {
            at & 8
        };
        if let Some(place) = words.get(at) {
            place.store(word, Ordering::Relaxed);
        }
        time::relax();
    }
}

/// What a peer runs: its argument is a task, and the first shared word the program's name.
fn peer_main(task: u64) {
    peer::begin();
    if let Err(error) = peer_task(task) {
        exopi_rt::println!("peer: {error:?}");
    }
}

fn peer_task(task: u64) -> Outcome {
    let control = shared_words(0, 1)?;
    let program = ObjectName::from_word(control[0].load(Ordering::Acquire));
    let (there, back) = (
        shared_words(THERE.0, THERE.1)?,
        shared_words(BACK.0, BACK.1)?,
    );
    let gate = Gate::bind(Environment::Owned(program))?;
    let tasks = [
        Task::EchoByGate,
        Task::Echo,
        Task::ReadThree,
        Task::Die,
        Task::Scribble,
    ];
    match tasks.into_iter().find(|known| *known as u64 == task) {
        Some(Task::EchoByGate) => {
            let mut reader = Reader::new(there, HandOver(&gate))?;
            let mut writer = Writer::new(back, HandOver(&gate))?;
            Ok(echo(&mut reader, &mut writer)?)
        }
        Some(Task::Echo) => {
            let mut reader = Reader::new(there, Yielding)?;
            let mut writer = Writer::new(back, Yielding)?;
            Ok(echo(&mut reader, &mut writer)?)
        }
        Some(Task::ReadThree) => {
            let mut reader = Reader::new(there, Yielding)?;
            let mut bytes = [0; 3];
            check_eq!(reader.read_exact(&mut bytes), Ok(()));
            Ok(())
        }
        Some(Task::Die) => {
            let mut writer = Writer::new(back, Yielding)?;
            writer.write_all(&[7, 8])?;
            environment::leave()
        }
        Some(Task::Scribble) => {
            scribble(there);
            Ok(())
        }
        None => Err(Failure::new("no such task")),
    }
}

/// A case with a peer in a space of its own, on `core`, and pipes to and from it.
fn with_peer(
    task: Task,
    core: u64,
    case: impl FnOnce(&Peer, &[AtomicU64], &[AtomicU64]) -> Outcome,
) -> Outcome {
    let shared = Shared::new(PAGES)?;
    let (there, back) = (
        shared.words(THERE.0, THERE.1)?,
        shared.words(BACK.0, BACK.1)?,
    );
    pipe::format(there)?;
    pipe::format(back)?;
    shared.words(0, 1)?[0].store(peer::me()?.word(), Ordering::Release);
    let peer = Peer::elsewhere(&shared, core, peer_main, task as u64)?;
    case(&peer, there, back)?;
    peer.end()?;
    shared.close()
}

/// Sends `total` bytes there and back, as much at a time as there is room for, and compares. Writing never waits
/// while something can be read: with both pipes full nobody would go on.
fn round_trip<W: Wait + Copy>(
    there: &[AtomicU64],
    back: &[AtomicU64],
    total: u64,
    mut wait: W,
) -> Outcome {
    let mut writer = Writer::new(there, wait)?;
    let mut reader = Reader::new(back, wait)?;
    let (mut out, mut expected) = (Random(1), Random(1));
    let (mut written, mut read) = (0, 0);
    let mut pending: &[u8] = &[];
    let mut chunk = [0; 1024];
    let mut input = [0; 900];
    let [mut sent_sum, mut read_sum] = [0u64; 2];
    while read < total {
        if pending.is_empty() && written < total {
            let length = (1 + out.next() % 1000).min(total - written) as usize;
            for (byte, n) in chunk.iter_mut().take(length).zip(written..) {
                *byte = (n ^ n >> 8 ^ n >> 16) as u8;
            }
            pending = &[];
            let part = chunk.get(..length).unwrap_or_default();
            let done = writer.try_write(part)?;
            for byte in part.iter().take(done) {
                sent_sum = sent_sum.rotate_left(5) ^ u64::from(changed(*byte));
            }
            written += done as u64;
        }
        let length = (1 + expected.next() % 900) as usize;
        let part = input.get_mut(..length).unwrap_or_default();
        match reader.try_read(part)? {
            Some(count) => {
                for byte in part.iter().take(count) {
                    let n = read;
                    check_eq!(*byte, changed((n ^ n >> 8 ^ n >> 16) as u8), "byte {n}");
                    read_sum = read_sum.rotate_left(5) ^ u64::from(*byte);
                    read += 1;
                }
            }
            None => wait.turn()?,
        }
    }
    check_eq!(read_sum, sent_sum, "checksum");
    writer.close();
    // The end comes back as well.
    check_eq!(reader.read(&mut input), Ok(0));
    Ok(())
}

/// Bytes of a long stream.
const MEGABYTES: u64 = 2 << 20;

pub(super) fn on_one_core() -> Outcome {
    with_peer(Task::EchoByGate, 0, |peer, there, back| {
        let gate = Gate::bind(peer.environment())?;
        #[derive(Clone, Copy)]
        struct To<'g>(&'g Gate);
        impl Wait for To<'_> {
            fn turn(&mut self) -> Result<(), Error> {
                // Its stream ends, and then it does.
                match HandOver(self.0).turn() {
                    Err(Error::Stale) => Ok(()),
                    outcome => outcome,
                }
            }
        }
        round_trip(there, back, MEGABYTES, To(&gate))?;
        peer.wait_for_end()
    })
}

pub(super) fn across_cores() -> Outcome {
    let core = exposed::machine().cores - 1;
    with_peer(Task::Echo, core, |peer, there, back| {
        round_trip(there, back, MEGABYTES, Yielding)?;
        peer.wait_for_end()
    })
}

pub(super) fn ends() -> Outcome {
    let deadline = || time::ticks() + 5 * time::ticks_per_second();
    with_peer(Task::ReadThree, 0, |peer, there, _| {
        let mut writer = Writer::new(there, Until::new(Yielding, deadline()))?;
        check_eq!(writer.write_all(&[1, 2, 3]), Ok(()));
        peer.wait_for_end()?;
        // The reader has closed, and refuses.
        check_eq!(writer.write(&[4]), Err(PipeError::Closed));
        Ok(())
    })?;
    with_peer(Task::Echo, 0, |peer, there, back| {
        let mut reader = Reader::new(back, Until::new(Yielding, deadline()))?;
        let mut writer = Writer::new(there, Until::new(Yielding, deadline()))?;
        check_eq!(writer.write_all(&[1, 2, 3]), Ok(()));
        writer.close();
        let mut bytes = [0; 8];
        let mut read = 0;
        loop {
            match reader.read(bytes.get_mut(read..).unwrap_or_default())? {
                0 => break,
                count => read += count,
            }
        }
        check_eq!(
            bytes,
            [1, 2, 3, 0, 0, 0, 0, 0].map(|byte| match byte {
                0 => 0,
                byte => changed(byte),
            })
        );
        peer.wait_for_end()
    })
}

pub(super) fn dying() -> Outcome {
    with_peer(Task::Die, 0, |peer, _, back| {
        let gate = Gate::bind(peer.environment())?;
        let mut reader = Reader::new(back, HandOver(&gate))?;
        let mut bytes = [0; 2];
        check_eq!(reader.read_exact(&mut bytes).is_ok(), true);
        check_eq!(bytes, [7, 8]);
        let gone = Err(PipeError::Wait(Error::Stale));
        check_eq!(reader.read(&mut bytes), gone);
        peer.wait_for_end()
    })
}

/// A case with one whom a byte can be sent, and whose answer is waited for.
fn with_echo(case: impl FnOnce(&Peer, &mut dyn FnMut(u8) -> Outcome) -> Outcome) -> Outcome {
    with_peer(Task::EchoByGate, 0, |peer, there, back| {
        let gate = Gate::bind(peer.environment())?;
        let mut writer = Writer::new(there, HandOver(&gate))?;
        let mut reader = Reader::new(back, HandOver(&gate))?;
        let mut ask = |byte: u8| -> Outcome {
            let mut answer = [0];
            writer.write_all(&[byte])?;
            check_eq!(reader.read(&mut answer), Ok(1));
            check_eq!(answer, [changed(byte)]);
            Ok(())
        };
        // The first one finds it at its beginning.
        ask(0)?;
        case(peer, &mut ask)
    })
}

pub(super) fn requests() -> Outcome {
    with_echo(|_, ask| (0..=u8::MAX).cycle().take(1000).try_for_each(ask))
}

/// To be counted where nobody's turn ends but as it is to.
pub(in super::super) fn switches() -> Outcome {
    const ROUNDS: u64 = 100;
    with_echo(|peer, ask| {
        let lives = [peer::me()?, peer.name()].map(|name| exposed::live_at(name.index));
        let dispatches =
            || lives.map(|life| life.map_or(0, |life| life.dispatches.load(Ordering::Relaxed)));
        // A turn begins here that is longer than all of this: none ends in between.
        environment::yield_now();
        let yields = || [Call::gate_yield, Call::env_yield].map(|call| exposed::calls(0, call));
        let before = (dispatches(), yields());
        for byte in 0..ROUNDS as u8 {
            ask(byte)?;
        }
        // Each was given the core once for each request: two switches, and two calls.
        check_eq!(dispatches(), before.0.map(|count| count + ROUNDS));
        check_eq!(yields(), [before.1[0] + 2 * ROUNDS, before.1[1]]);
        Ok(())
    })
}

pub(super) fn hostile() -> Outcome {
    let core = exposed::machine().cores - 1;
    with_peer(Task::Scribble, core, |peer, there, _| {
        let mut corrupt = 0;
        let mut bytes = [0; 64];
        while peer.environment().state() != exopi_rt::domain::EnvironmentState::Free {
            let mut writer = Writer::new(there, Yielding)?;
            let mut reader = Reader::new(there, Yielding)?;
            for _ in 0..50 {
                let wrote = writer.try_write(&bytes);
                let read = reader.try_read(&mut bytes);
                corrupt += u64::from(wrote == Err(PipeError::Corrupt));
                corrupt += u64::from(read == Err(PipeError::Corrupt));
            }
            environment::yield_now();
        }
        check!(corrupt > 0, "nothing was corrupt");
        Ok(())
    })
}
