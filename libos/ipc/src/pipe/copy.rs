//! Bytes into words and out of them, where the other side may look on, or write, at any time.
//!
//! By whole words, each loaded or stored once: no reference to the bytes exists, so there is no data race whoever
//! writes what. A word of which the reader may read one part while the writer fills another keeps what it held
//! there: the writer stores it as it was.

use core::sync::atomic::{AtomicU64, Ordering};

const WORD: usize = 8;

/// The words from byte `place` on, and how far into the first one that is.
#[inline(always)]
fn from(data: &[AtomicU64], place: usize) -> (&[AtomicU64], usize) {
    (data.get(place / WORD..).unwrap_or(&[]), place % WORD)
}

/// Stores `bytes` from byte `place` on. What does not fit is dropped.
#[inline(always)]
pub(super) fn into(data: &[AtomicU64], place: usize, bytes: &[u8]) {
    let (words, inside) = from(data, place);
    // Requests and answers are small: a few bytes in one word take no way around.
    if let Some(word) = words.first()
        && bytes.len() <= WORD - inside
    {
        merge(word, inside, bytes);
    } else {
        into_many(words, inside, bytes);
    }
}

fn into_many(words: &[AtomicU64], inside: usize, bytes: &[u8]) {
    let (mut words, mut bytes) = (words, bytes);
    if inside > 0 {
        let head = bytes.len().min(WORD - inside);
        let (part, rest) = bytes.split_at_checked(head).unwrap_or((bytes, &[]));
        if let Some((word, after)) = words.split_first() {
            merge(word, inside, part);
            words = after;
        }
        bytes = rest;
    }
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty()
        && let Some(word) = words.get(whole.len())
    {
        merge(word, 0, rest);
    }
}

/// Stores a few bytes from byte `inside` of a word on.
#[inline(always)]
fn merge(word: &AtomicU64, inside: usize, bytes: &[u8]) {
    let mut all = word.load(Ordering::Relaxed);
    for (byte, at) in bytes.iter().zip(inside..WORD) {
        let shift = 8 * at;
        all = all & !(0xff << shift) | u64::from(*byte) << shift;
    }
    word.store(all, Ordering::Relaxed);
}

/// Loads bytes from byte `place` on. What is not there leaves what was.
#[inline(always)]
pub(super) fn out_of(data: &[AtomicU64], place: usize, bytes: &mut [u8]) {
    let (words, inside) = from(data, place);
    if let Some(word) = words.first()
        && bytes.len() <= WORD - inside
    {
        extract(word, inside, bytes);
    } else {
        out_of_many(words, inside, bytes);
    }
}

fn out_of_many(words: &[AtomicU64], inside: usize, bytes: &mut [u8]) {
    let (mut words, mut bytes) = (words, bytes);
    if inside > 0 {
        let head = bytes.len().min(WORD - inside);
        let (part, rest) = bytes.split_at_mut_checked(head).unwrap_or_default();
        if let Some((word, after)) = words.split_first() {
            extract(word, inside, part);
            words = after;
        }
        bytes = rest;
    }
    let (whole, rest) = bytes.as_chunks_mut::<WORD>();
    let count = whole.len();
    for (bytes, word) in whole.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if !rest.is_empty()
        && let Some(word) = words.get(count)
    {
        extract(word, 0, rest);
    }
}

/// Loads a few bytes from byte `inside` of a word on.
#[inline(always)]
fn extract(word: &AtomicU64, inside: usize, bytes: &mut [u8]) {
    let mut all = word.load(Ordering::Relaxed) >> (8 * inside as u32 % 64);
    for byte in bytes {
        *byte = all as u8;
        all >>= 8;
    }
}
