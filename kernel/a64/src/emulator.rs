//! Executes what this crate encodes, on the host: every access to memory is checked, every instruction
//! counted.
//!
//! It decodes words by itself, from the manual's tables, and shares no code with the encoder, so that one
//! mistake is not made twice. What is outside the subset is [`Fault::Undefined`]. Timing, caches and
//! permissions other than "writable" are not modelled.

use std::vec::Vec;

mod decode;
#[cfg(test)]
mod tests;

/// Why execution stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No instruction of the subset: the word, and where it lay.
    Undefined(u32, u64),
    /// A load from where nothing is mapped: address and bytes.
    Load(u64, usize),
    /// A store to where nothing writable is mapped: address and bytes.
    Store(u64, usize),
    /// A fetch from where no code is.
    Fetch(u64),
    /// More instructions than were allowed.
    Endless,
    /// The function changed this register, which belongs to its caller.
    Clobbered(usize),
}

/// Bytes at an address.
#[derive(Clone, Debug)]
struct Region {
    base: u64,
    bytes: Vec<u8>,
    writable: bool,
}

impl Region {
    /// Where in the region the access lies, if it lies in it wholly.
    fn range(&self, address: u64, size: usize) -> Option<core::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
        let end = start.checked_add(size)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

/// A core with its memory.
#[derive(Clone, Debug)]
pub struct Machine {
    /// x0 to x30.
    pub registers: [u64; 31],
    /// Instructions executed since the machine was made.
    pub executed: u64,
    flags: Flags,
    pc: u64,
    code: Vec<u32>,
    code_base: u64,
    regions: Vec<Region>,
}

/// The condition flags.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    n: bool,
    z: bool,
    c: bool,
    v: bool,
}

/// What a callee's `ret` leads to: nobody's address, so that running on from it is noticed.
const RETURN: u64 = 0xdead_beef_0000_0ff0;
/// What registers that hold no argument begin with; the number is added.
const GARBAGE: u64 = 0xa5a5_5a5a_c3c3_3c00;

impl Machine {
    /// A core whose code lies at `base`, which must be a multiple of 4.
    pub fn new(code: &[u32], base: u64) -> Self {
        Self {
            registers: [0; 31],
            executed: 0,
            flags: Flags::default(),
            pc: base,
            code: code.to_vec(),
            code_base: base,
            regions: Vec::new(),
        }
    }

    /// Maps a copy of `bytes` at `base`. Nothing else is mapped around it.
    pub fn map(&mut self, base: u64, bytes: &[u8], writable: bool) {
        self.regions.push(Region {
            base,
            bytes: bytes.to_vec(),
            writable,
        });
    }

    /// Forgets the mapping at `base`.
    pub fn unmap(&mut self, base: u64) {
        self.regions.retain(|region| region.base != base);
    }

    /// What is mapped at `base` now.
    pub fn bytes(&self, base: u64) -> Option<&[u8]> {
        let region = self.regions.iter().find(|region| region.base == base)?;
        Some(&region.bytes)
    }

    /// Calls the function at `entry` by the procedure call standard (AAPCS64): up to eight arguments,
    /// result in x0, x19 to x29 kept. Other registers begin as garbage.
    ///
    /// # Errors
    /// Any [`Fault`]; [`Fault::Endless`] after `most` instructions.
    pub fn call(&mut self, entry: u64, arguments: &[u64], most: u64) -> Result<u64, Fault> {
        for (number, register) in self.registers.iter_mut().enumerate() {
            *register = arguments
                .get(number)
                .copied()
                .unwrap_or(GARBAGE + number as u64);
        }
        self.registers[30] = RETURN;
        self.pc = entry;
        let end = self.executed.saturating_add(most);
        while self.pc != RETURN {
            if self.executed == end {
                return Err(Fault::Endless);
            }
            self.step()?;
        }
        for number in 19..30 {
            if self.registers[number] != GARBAGE + number as u64 {
                return Err(Fault::Clobbered(number));
            }
        }
        Ok(self.registers[0])
    }

    /// Executes one instruction at the address `at`, whatever was executed before.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::Endless`] and [`Fault::Clobbered`].
    pub fn step_at(&mut self, at: u64) -> Result<u64, Fault> {
        self.pc = at;
        self.step()?;
        Ok(self.pc)
    }

    fn step(&mut self) -> Result<(), Fault> {
        let offset = self.pc.wrapping_sub(self.code_base);
        let word = self.code.get((offset / 4) as usize);
        let (Some(&word), true) = (word, offset.is_multiple_of(4)) else {
            return Err(Fault::Fetch(self.pc));
        };
        self.executed += 1;
        let next = self.pc.wrapping_add(4);
        self.pc = self.execute(word)?.unwrap_or(next);
        Ok(())
    }

    fn load(&self, address: u64, size: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        for region in &self.regions {
            if let Some(range) = region.range(address, size) {
                bytes[..size].copy_from_slice(&region.bytes[range]);
                return Ok(u64::from_le_bytes(bytes));
            }
        }
        Err(Fault::Load(address, size))
    }

    fn store(&mut self, address: u64, size: usize, value: u64) -> Result<(), Fault> {
        for region in self.regions.iter_mut().filter(|region| region.writable) {
            if let Some(range) = region.range(address, size) {
                region.bytes[range].copy_from_slice(&value.to_le_bytes()[..size]);
                return Ok(());
            }
        }
        Err(Fault::Store(address, size))
    }
}
