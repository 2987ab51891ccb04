//! Copying, filling, and the heap of `exopi-rt`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{heap, memory};

use crate::area::{Area, RW};
use crate::harness::{Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "memory",
    cases: &[
        (
            "copies_of_every_size_and_place",
            copies_of_every_size_and_place,
        ),
        ("moves_that_overlap", moves_that_overlap),
        (
            "fills_of_every_size_and_place",
            fills_of_every_size_and_place,
        ),
        (
            "nothing_beyond_the_range_is_touched",
            nothing_beyond_the_range_is_touched,
        ),
        ("heap_grew_page_by_page", heap_grew_page_by_page),
        ("many_allocations", many_allocations),
        ("alignments", alignments),
        ("heap_fails_gracefully", heap_fails_gracefully),
    ],
};

/// Pseudo-random words (xorshift), the same in each run.
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn pattern(length: usize, random: &mut Random) -> Vec<u8> {
    (0..length).map(|_| random.next() as u8).collect()
}

/// Sizes around every border of the routines, and some beyond.
fn sizes() -> impl Iterator<Item = usize> {
    (0..=300).chain([383, 384, 385, 511, 512, 513, 1000, 4096, 5000])
}

/// What a slow loop makes of a copy, byte by byte, that the compiler cannot make a call of.
fn naive_copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = core::hint::black_box(*from);
    }
}

fn copies_of_every_size_and_place() -> Outcome {
    let random = &mut Random::new();
    let source = pattern(5100, random);
    for size in sizes() {
        for _ in 0..8 {
            let (from, to) = (random.below(64), random.below(64));
            let mut copied = pattern(5200, random);
            let mut expected = copied.clone();
            naive_copy(&mut expected[to..to + size], &source[from..from + size]);
            copied[to..to + size].copy_from_slice(&source[from..from + size]);
            check!(copied == expected, "{size} bytes from {from} to {to}");
        }
    }
    Ok(())
}

fn moves_that_overlap() -> Outcome {
    let random = &mut Random::new();
    for size in sizes().filter(|size| *size <= 1000) {
        for distance in [0, 1, 7, 8, 16, 31, 64, 127, 128, 129, 200, 500] {
            let original = pattern(size + distance, random);
            let mut up = original.clone();
            up.copy_within(..size, distance);
            check!(
                up[distance..] == original[..size],
                "{size} up by {distance}"
            );
            check!(
                up[..distance] == original[..distance],
                "{size} up by {distance}"
            );
            let mut down = original.clone();
            down.copy_within(distance.., 0);
            check!(
                down[..size] == original[distance..],
                "{size} down by {distance}"
            );
            check!(
                down[size..] == original[size..],
                "{size} down by {distance}"
            );
        }
    }
    Ok(())
}

fn fills_of_every_size_and_place() -> Outcome {
    let random = &mut Random::new();
    for size in sizes() {
        for _ in 0..4 {
            let (at, byte) = (random.below(64), random.next() as u8);
            let mut filled = pattern(5100, random);
            let mut expected = filled.clone();
            for place in &mut expected[at..at + size] {
                *place = core::hint::black_box(byte);
            }
            filled[at..at + size].fill(byte);
            check!(filled == expected, "{size} bytes at {at}");
        }
    }
    Ok(())
}

/// Up to the last byte of a page, with nothing mapped behind it or before it.
fn nothing_beyond_the_range_is_touched() -> Outcome {
    let mut area = Area::new()?;
    area.map(1, RW)?;
    let source = vec![7; PAGE_SIZE as usize];
    // SAFETY: the page was just mapped, and nothing else refers to it.
    let page =
        unsafe { core::slice::from_raw_parts_mut(Area::address(1) as *mut u8, PAGE_SIZE as usize) };
    for size in sizes().filter(|size| *size as u64 <= PAGE_SIZE) {
        let begin = page.len() - size;
        page[begin..].copy_from_slice(&source[begin..]);
        page[..size].copy_from_slice(&source[..size]);
        page[begin..].fill(9);
        page[..size].fill(9);
        check!(page[begin..].iter().all(|byte| *byte == 9), "{size} bytes");
    }
    area.close()
}

/// Pages of the heap before it grew, after that, and what was wrong with its contents.
static GROWTH: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Bytes that the heap is grown by before the suites, more than any case needs.
const GROWN: usize = 3 << 20;

/// Grows the heap, for good; `heap_grew_page_by_page` tells what came of it.
pub(crate) fn grow_heap() {
    let before = heap::pages();
    let words: Vec<u64> = (0..(GROWN / 8) as u64).collect();
    let wrong = (0..).zip(&words).filter(|(n, word)| n != *word).count();
    for (place, word) in GROWTH.iter().zip([before, heap::pages(), wrong as u64]) {
        place.store(word, Ordering::Relaxed);
    }
}

/// Pages of the heap when all preparation was done.
static SETTLED: AtomicU64 = AtomicU64::new(0);

/// Notes how large the heap is, which no case changes.
pub(crate) fn settle_heap() {
    SETTLED.store(heap::pages(), Ordering::Relaxed);
}

fn heap_grew_page_by_page() -> Outcome {
    let [before, after, wrong] = [0, 1, 2].map(|n: usize| GROWTH[n].load(Ordering::Relaxed));
    check!(
        after - before >= GROWN as u64 / PAGE_SIZE,
        "from {before} pages to {after}"
    );
    check_eq!(wrong, 0, "wrong words");
    let settled = SETTLED.load(Ordering::Relaxed);
    check!(settled >= after, "from {after} pages to {settled}");
    check_eq!(heap::pages(), settled, "pages since then");
    Ok(())
}

fn many_allocations() -> Outcome {
    let random = &mut Random::new();
    let pages = heap::pages();
    let mut kept: BTreeMap<usize, Box<[u8]>> = BTreeMap::new();
    for round in 0..5000 {
        let key = random.below(200);
        match kept.remove(&key) {
            Some(old) => check!(
                old.iter().all(|byte| *byte == key as u8),
                "round {round}: block {key} has changed"
            ),
            None => {
                let size = random.below(2000);
                kept.insert(key, vec![key as u8; size].into());
            }
        }
    }
    for (key, block) in kept {
        check!(
            block.iter().all(|byte| *byte == key as u8),
            "block {key} has changed"
        );
    }
    check_eq!(heap::pages(), pages, "pages of the heap");
    check_eq!(12345.to_string(), "12345");
    Ok(())
}

fn alignments() -> Outcome {
    #[repr(align(256))]
    struct Aligned([u8; 100]);
    for _ in 0..50 {
        let byte = Box::new(1u8);
        let aligned = Box::new(Aligned([2; 100]));
        check_eq!((&raw const *aligned) as usize % 256, 0);
        check!(aligned.0.iter().all(|byte| *byte == 2));
        check_eq!(*byte, 1);
    }
    Ok(())
}

/// More than there is: refused, and what is there stays usable.
fn heap_fails_gracefully() -> Outcome {
    let mut bytes = Vec::<u8>::new();
    check!(bytes.try_reserve_exact(usize::MAX / 4).is_err());
    check!(bytes.try_reserve_exact(1000).is_ok());
    bytes.resize(1000, 3);
    check!(bytes.iter().all(|byte| *byte == 3));
    memory::give_page(memory::take_page()?)?;
    Ok(())
}
