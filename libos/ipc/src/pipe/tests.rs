//! Pipes: against a queue of bytes, between threads, and with a hostile other side.

use std::collections::VecDeque;
use std::thread;
use std::vec::Vec;

use embedded_io::{Read, ReadReady, Write, WriteReady};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

use super::*;
use crate::wait::Never;

fn memory(data: usize) -> Vec<AtomicU64> {
    let memory: Vec<_> = (0..16 + data).map(|_| AtomicU64::new(!0)).collect();
    format(&memory).unwrap();
    memory
}

fn pair(memory: &[AtomicU64]) -> (Writer<'_, Never>, Reader<'_, Never>) {
    (
        Writer::new(memory, Never).unwrap(),
        Reader::new(memory, Never).unwrap(),
    )
}

/// Threads go on whenever they are let.
#[derive(Clone, Copy)]
struct Threads;

impl Wait for Threads {
    fn turn(&mut self) -> Result<(), Error> {
        thread::yield_now();
        Ok(())
    }
}

#[test]
fn the_smallest_pipe_has_eight_bytes() {
    let words: Vec<_> = (0..16).map(|_| AtomicU64::new(0)).collect();
    assert_eq!(format(&words), Err(TooSmall));
    let memory = memory(1);
    let (mut writer, mut reader) = pair(&memory);
    for round in 0..20u8 {
        assert_eq!(writer.write(&[round; 9]), Ok(8));
        assert_eq!(writer.try_write(&[1]), Ok(0));
        assert_eq!(writer.write(&[1]), Err(PipeError::Wait(Error::TimedOut)));
        assert_eq!(writer.write_ready(), Ok(false));
        let mut bytes = [0; 5];
        assert_eq!(reader.read(&mut bytes), Ok(5));
        assert_eq!(bytes, [round; 5]);
        assert_eq!(reader.read(&mut bytes), Ok(3));
        assert_eq!(reader.read_ready(), Ok(false));
        assert_eq!(reader.try_read(&mut bytes), Ok(None));
        assert_eq!(
            reader.read(&mut bytes),
            Err(PipeError::Wait(Error::TimedOut))
        );
    }
    assert_eq!(writer.write(&[]), Ok(0));
    assert_eq!(reader.read(&mut []), Ok(0));
}

#[test]
fn what_was_written_before_the_end_is_read() {
    let memory = memory(4);
    let (mut writer, mut reader) = pair(&memory);
    assert_eq!(writer.write_all(b"last words"), Ok(()));
    writer.close();
    let mut bytes = [0; 32];
    assert_eq!(reader.read_ready(), Ok(true));
    assert_eq!(reader.read(&mut bytes), Ok(10));
    assert_eq!(bytes.get(..10), Some(&b"last words"[..]));
    assert_eq!(reader.read(&mut bytes), Ok(0));
    assert_eq!(reader.try_read(&mut bytes), Ok(Some(0)));
    assert_eq!(reader.read_ready(), Ok(true));
}

#[test]
fn nobody_writes_to_who_does_not_read() {
    let memory = memory(4);
    let (mut writer, reader) = pair(&memory);
    assert_eq!(writer.write(&[1]), Ok(1));
    reader.close();
    assert_eq!(writer.write(&[1]), Err(PipeError::Closed));
    assert_eq!(writer.try_write(&[1]), Err(PipeError::Closed));
    assert_eq!(writer.write_ready(), Err(PipeError::Closed));
}

#[test]
fn the_last_bytes_of_one_that_is_gone_are_read() {
    /// While it waits the other side writes, and is gone.
    struct Gone<'m>(&'m [AtomicU64]);
    impl Wait for Gone<'_> {
        fn turn(&mut self) -> Result<(), Error> {
            let mut writer = Writer::new(self.0, Never).unwrap();
            let _ = writer.try_write(&[7]);
            core::mem::forget(writer);
            Err(Error::Stale)
        }
    }
    let memory = memory(4);
    let mut reader = Reader::new(&memory, Gone(&memory)).unwrap();
    let mut byte = [0];
    assert_eq!(reader.read(&mut byte), Ok(1));
    assert_eq!(byte, [7]);
    assert_eq!(reader.read(&mut byte), Err(PipeError::Wait(Error::Stale)));
}

#[test]
fn impossible_counts_are_told() {
    let memory = memory(2);
    let (mut writer, mut reader) = pair(&memory);
    for count in [17, u64::MAX, 1 << 63] {
        memory[0].store(count, Ordering::Relaxed);
        assert_eq!(reader.read(&mut [0; 4]), Err(PipeError::Corrupt));
        assert_eq!(reader.try_read(&mut [0; 4]), Err(PipeError::Corrupt));
        memory[0].store(0, Ordering::Relaxed);
    }
    // It has not read more than was written.
    for count in [1, 17, 1 << 63] {
        memory[8].store(count, Ordering::Relaxed);
        assert_eq!(writer.write(&[0; 4]), Err(PipeError::Corrupt));
        assert_eq!(writer.write_ready(), Err(PipeError::Corrupt));
    }
    assert_eq!(
        PipeError::Wait(Error::TimedOut).to_string(),
        "waiting is over: TimedOut"
    );
}

#[test]
fn megabytes_go_between_threads() {
    const BYTES: usize = 4 << 20;
    let memory = memory(61);
    let byte = |n: usize| (n as u32).wrapping_mul(0x9e37_79b9).to_le_bytes()[3];
    let mut writer = Writer::new(&memory, Threads).unwrap();
    let mut reader = Reader::new(&memory, Threads).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut done = 0;
            while done < BYTES {
                let length = (1 + done % 97).min(BYTES - done);
                let bytes: Vec<_> = (done..done + length).map(byte).collect();
                writer.write_all(&bytes).unwrap();
                done += length;
            }
        });
        let mut done = 0;
        let mut bytes = [0; 113];
        loop {
            let length = 1 + done % bytes.len();
            let count = reader.read(&mut bytes[..length]).unwrap();
            if count == 0 {
                break;
            }
            for read in &bytes[..count] {
                assert_eq!(*read, byte(done), "byte {done}");
                done += 1;
            }
        }
        assert_eq!(done, BYTES);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Read(usize),
    /// Somebody writes a word.
    Damage(usize, u64),
}

fn steps(damage: bool) -> impl Strategy<Value = Vec<Step>> {
    let kinds = if damage { 3 } else { 2 };
    let step = (
        0..kinds,
        vec(any::<u8>(), 0..40),
        0..40usize,
        0..24usize,
        any::<u64>(),
    )
        .prop_map(|(kind, bytes, length, at, word)| match kind {
            0 => Step::Write(bytes),
            1 => Step::Read(length),
            _ => Step::Damage(at, word),
        });
    vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_pipe_is_a_bounded_queue(steps in steps(false), data in 1..6usize) {
        let memory = memory(data);
        let (mut writer, mut reader) = pair(&memory);
        let mut queue = VecDeque::new();
        for step in steps {
            match step {
                Step::Write(bytes) => {
                    let room = (data * 8 - queue.len()).min(bytes.len());
                    assert_eq!(writer.try_write(&bytes), Ok(room));
                    queue.extend(&bytes[..room]);
                }
                Step::Read(length) => {
                    let mut bytes = std::vec![0; length];
                    let there = length.min(queue.len());
                    let expected = (length == 0 || !queue.is_empty()).then_some(there);
                    assert_eq!(reader.try_read(&mut bytes), Ok(expected));
                    let expected: Vec<u8> = queue.drain(..there).collect();
                    assert_eq!(bytes.get(..there), Some(&expected[..]));
                }
                Step::Damage(..) => unreachable!("there is none"),
            }
        }
    }

    /// Whatever the other side writes: every operation comes back, and bytes beyond the pipe are as they were.
    #[test]
    fn a_hostile_other_side_harms_nobody(
        steps in steps(true),
        small in prop_oneof![proptest::prelude::Just(u64::MAX), 0..100u64],
    ) {
        let memory = memory(8);
        memory[23].store(0x5a5a, Ordering::Relaxed);
        let (mut writer, mut reader) = pair(&memory[..23]);
        for step in steps {
            match step {
                Step::Write(bytes) => { let _ = writer.try_write(&bytes); }
                Step::Read(length) => {
                    let mut bytes = std::vec![0x77; length + 1];
                    if let Ok(Some(count)) = reader.try_read(&mut bytes[..length]) {
                        assert!(count <= length);
                    }
                    assert_eq!(bytes[length], 0x77);
                }
                Step::Damage(at, word) => {
                    if let Some(place) = memory[..23].get(at) {
                        place.store(word & small, Ordering::Relaxed);
                    }
                }
            }
        }
        assert_eq!(memory[23].load(Ordering::Relaxed), 0x5a5a);
    }
}
