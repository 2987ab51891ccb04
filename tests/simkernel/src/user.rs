//! Memory that calls are given addresses of.
//!
//! | mode | an address is | used by |
//! | --- | --- | --- |
//! | [`Translated`] | one of the running environment's space; what is not mapped there faults | tests that play the environments |
//! | [`HostProcess`] | one of the test's own process | libOS crates that run under `cargo test`, whose stubs hand over references |
//!
//! The real kernel's routines are followed to the byte: a copy goes on until the first byte that cannot be
//! copied, a capability is written whole or not at all.
#![expect(unsafe_code, reason = "stubs hand over addresses of the test's own process")]

use exopi_abi::capability::CAPABILITY_WORDS;
use exopi_abi::layout::USER_START;
use exopi_abi::{Error, PageNumber};
use exopi_pages::Index;
use exopi_pages::model::Machine;

use crate::el0::{self, Use};

/// Memory of the one who makes a call.
pub trait UserMemory {
    /// Reads from `at` on; returns how many bytes could be read.
    fn read(&mut self, at: u64, into: &mut [u8]) -> usize;

    /// Writes from `at` on; returns how many bytes could be written.
    fn write(&mut self, at: u64, from: &[u8]) -> usize;

    /// Six words at a multiple of 8.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if one cannot be read.
    fn read_words(&mut self, at: u64) -> Result<[u64; CAPABILITY_WORDS], Error> {
        let mut words = [0; CAPABILITY_WORDS];
        for (word, at) in words.iter_mut().zip((at..).step_by(8)) {
            *word = self.read_word(at)?;
        }
        Ok(words)
    }

    /// A word at a multiple of 8.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    fn read_word(&mut self, at: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        match self.read(at, &mut bytes) {
            8 => Ok(u64::from_le_bytes(bytes)),
            _ => Err(Error::BadAddress),
        }
    }

    /// Writes a word at a multiple of 8.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    fn write_word(&mut self, at: u64, word: u64) -> Result<(), Error> {
        match self.write(at, &word.to_le_bytes()) {
            8 => Ok(()),
            _ => Err(Error::BadAddress),
        }
    }

    /// Writes the words of a capability, all or none: the last one first, then the others, since those two lie
    /// on whatever pages it lies on.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    fn write_capability(&mut self, at: u64, words: [u64; CAPABILITY_WORDS]) -> Result<(), Error> {
        let [first, middle @ .., last] = words;
        let last_at = at + 8 * (CAPABILITY_WORDS as u64 - 1);
        let before = self.read_word(last_at)?;
        self.write_word(last_at, last)?;
        if let Err(error) = self.write_word(at, first) {
            self.write_word(last_at, before)?;
            return Err(error);
        }
        for (word, at) in middle.into_iter().zip((at + 8..).step_by(8)) {
            self.write_word(at, word)?;
        }
        Ok(())
    }
}

/// The memory of a space, as a core that runs in it sees it.
#[derive(Debug)]
pub struct Translated<'k> {
    /// The machine.
    pub machine: &'k mut Machine,
    /// The space's ASID.
    pub asid: u16,
}

impl Translated<'_> {
    /// The page, the word in it and the first byte in that which `at` is, for an access.
    fn find(&self, at: u64, what: Use) -> Option<(PageNumber, Index, usize)> {
        let frame = el0::translate(self.machine, self.asid, at, what).ok()?;
        Some((frame, Index::truncate(at / 8), (at % 8) as usize))
    }
}

impl UserMemory for Translated<'_> {
    fn read(&mut self, at: u64, into: &mut [u8]) -> usize {
        for (done, byte) in into.iter_mut().enumerate() {
            let Some((page, index, offset)) = self.find(at + done as u64, Use::Load) else {
                return done;
            };
            *byte = el0::word(self.machine, page, index).to_le_bytes()[offset];
        }
        into.len()
    }

    fn write(&mut self, at: u64, from: &[u8]) -> usize {
        for (done, byte) in from.iter().enumerate() {
            let Some((page, index, offset)) = self.find(at + done as u64, Use::Store) else {
                return done;
            };
            let mut bytes = el0::word(self.machine, page, index).to_le_bytes();
            bytes[offset] = *byte;
            self.machine.write(page, index, u64::from_le_bytes(bytes));
        }
        from.len()
    }

    fn read_word(&mut self, at: u64) -> Result<u64, Error> {
        match self.find(at, Use::Load) {
            Some((page, index, 0)) => Ok(el0::word(self.machine, page, index)),
            _ => Err(Error::BadAddress),
        }
    }

    fn write_word(&mut self, at: u64, word: u64) -> Result<(), Error> {
        match self.find(at, Use::Store) {
            Some((page, index, 0)) => {
                self.machine.write(page, index, word);
                Ok(())
            }
            _ => Err(Error::BadAddress),
        }
    }
}

/// The memory of the process that the test runs in.
///
/// Addresses below [`USER_START`] are refused, as they are by a space in which nothing is mapped there.
/// All others are believed. They come from the stubs of `exopi_abi`, whose argument types hold borrows of what
/// they name until the call returns; a test that makes up addresses uses [`Translated`].
#[derive(Clone, Copy, Debug, Default)]
pub struct HostProcess;

impl UserMemory for HostProcess {
    fn read(&mut self, at: u64, into: &mut [u8]) -> usize {
        if at < USER_START {
            return 0;
        }
        // SAFETY: the address and length are those of a slice or record that the stub's caller borrows to the
        // call (see the type), so they can be read for as long as this runs; `into` is the kernel's own, and
        // does not overlap with what is borrowed.
        unsafe { core::ptr::copy_nonoverlapping(at as *const u8, into.as_mut_ptr(), into.len()) };
        into.len()
    }

    fn write(&mut self, at: u64, from: &[u8]) -> usize {
        if at < USER_START {
            return 0;
        }
        // SAFETY: as for reading; what calls write the stub's caller has borrowed to them mutably.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), at as *mut u8, from.len()) };
        from.len()
    }
}
