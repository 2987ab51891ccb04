//! Rings whose kernel is the test: letters in entries, what senders ask of the kernel, what hostile words do.

use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use exopi_rt::{Call, Reply, host};

use super::*;
use crate::wait::Never;

/// What was asked of the kernel.
type Asked = Rc<RefCell<Vec<(Call, [u64; 6])>>>;

/// Pages of words that last.
fn memory(pages: usize) -> &'static [AtomicU64] {
    let words: Vec<_> = (0..pages * 512).map(|_| AtomicU64::new(0)).collect();
    Box::leak(words.into_boxed_slice())
}

/// A kernel that notes what is asked, and has no room for `full` messages.
fn kernel(mut full: u32) -> Asked {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let log = calls.clone();
    host::serve(move |call, words| {
        log.borrow_mut().push((call, words));
        match call {
            Call::msgring_send if full > 0 => {
                full -= 1;
                Reply::refusal(Error::RingFull)
            }
            _ => Reply::success(0),
        }
    });
    calls
}

/// Puts message `number` into its entry, as the kernel does.
fn deliver(memory: &[AtomicU64], number: u64, sender: u64, badge: u32, bytes: &[u8]) {
    let (entries, _) = memory.as_chunks::<32>();
    let entry = &entries[number as usize % entries.len()];
    assert_eq!(entry[0].load(Ordering::Acquire), 0, "it is not free");
    entry[1].store(sender, Ordering::Relaxed);
    for (word, bytes) in entry[2..].iter().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
    }
    let head = Head {
        number: number as u32,
        badge,
        length: bytes.len() as u8,
    };
    entry[0].store(head.word(), Ordering::Release);
}

#[expect(unsafe_code, reason = "the kernel here writes nothing")]
fn ring(memory: &'static [AtomicU64]) -> MessageRing {
    // SAFETY: `deliver` writes through the words.
    unsafe { MessageRing::new(memory, PageNumber::new(7), 3) }.unwrap()
}

#[test]
fn letters_come_in_order_and_their_entries_go_back() {
    let calls = kernel(0);
    let memory = memory(2);
    let mut ring = ring(memory);
    assert_eq!(ring.capacity(), 32);
    assert_eq!(calls.borrow()[0], (Call::msgring_set, [7, 2, 3, 0, 0, 0]));
    for number in 0..100_u64 {
        let bytes: Vec<u8> = (0..number as u8 * 2).collect();
        deliver(memory, number, 5 + number, 9, &bytes);
        let letter = ring.look(|letter| {
            let mut copy = [0xee; 240];
            let mut short = [0; 3];
            assert!(bytes.starts_with(letter.copy(&mut short)) || bytes.len() < 3);
            assert_eq!(letter.words().len(), bytes.len() / 8);
            assert_eq!(letter.length(), bytes.len());
            (
                letter.sender.word(),
                letter.badge,
                letter.copy(&mut copy).to_vec(),
            )
        });
        assert_eq!(letter, Some((5 + number, 9, bytes)));
        assert!(ring.look(|_| ()).is_none());
    }
    drop(ring);
    assert_eq!(calls.borrow().last().unwrap().0, Call::msgring_clear);
    host::install(None);
}

#[test]
fn values_are_strict() {
    kernel(0);
    let memory = memory(1);
    let mut ring = ring(memory);
    let words = [3_u64.to_le_bytes(), 4_u64.to_le_bytes()].concat();
    deliver(memory, 0, 1, 0, &words);
    deliver(memory, 1, 1, 0, &words);
    deliver(memory, 2, 1, 0, &words[..15]);
    deliver(memory, 3, 1, 0, &[]);
    let value = |ring: &mut MessageRing| ring.try_receive::<(u64, u64)>().map(|it| it.2);
    assert_eq!(value(&mut ring), Some(Ok((3, 4))));
    let one = ring.try_receive::<u64>().map(|it| it.2);
    assert_eq!(one, Some(Err(Malformed)));
    assert_eq!(value(&mut ring), Some(Err(Malformed)));
    assert_eq!(value(&mut ring), Some(Err(Malformed)));
    assert_eq!(value(&mut ring), None);
    drop(ring);
    host::install(None);
}

#[test]
fn whatever_lies_in_the_pages_is_a_letter_or_none() {
    kernel(0);
    let memory = memory(1);
    let mut ring = ring(memory);
    let mut random = 0x1234_5678_9abc_def1_u64;
    for _ in 0..10_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memory[(random >> 8) as usize % 512].store(random | random << 40, Ordering::Relaxed);
        let mut copy = [0; 240];
        let _ = ring.look(|letter| {
            assert!(letter.copy(&mut copy).len() <= 240);
            letter.value::<(u64, u64)>().is_ok()
        });
    }
    drop(ring);
    host::install(None);
}

#[test]
fn senders_wait_for_room_and_for_nothing_else() {
    let calls = kernel(2);
    let sender = Sender::bind(Environment::Own).unwrap();
    assert_eq!(sender.try_send(b"x"), Err(Error::RingFull));
    assert_eq!(sender.send(b"x", &mut Never), Err(Error::TimedOut));
    assert_eq!(sender.send_value(&(1_u64, 2_u32), &mut Never), Ok(()));
    let (call, words) = *calls.borrow().last().unwrap();
    assert_eq!((call, words[0], words[2]), (Call::msgring_send, 0, 16));
    drop(sender);
    host::install(None);
}
