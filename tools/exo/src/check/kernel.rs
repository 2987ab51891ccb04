//! What the kernel's ELF file tells of the kernel in memory: where its parts are linked, and its names.
//!
//! The symbols that this needs are those of `kernel.ld`, the root of the kernel's tables, and, for the
//! census alone, [`KEY`]. A kernel that was stripped cannot be checked.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use exopi_abi::boot::{KERNEL_HEADER_OFFSET, KERNEL_MAGIC};
use exopi_abi::capability::siphash::Block;
use exopi_abi::layout::PAGE_SIZE;
use object::{Object, ObjectSymbol};

use super::descriptor::{self, Shape};
use super::memory::{Memory, words};
use crate::elf::LOAD_ADDRESS;
use crate::symbols::demangled;

/// The symbol of the key of all seals, without its hash: the key, low half first, or the four words of state
/// that SipHash begins with under it.
pub const KEY: &str = "exopi_kernel::seals::KEY";
/// Bytes of either.
const KEY_BYTES: [u64; 2] = [16, 32];
/// What the state is made of besides the key (Aumasson and Bernstein, "SipHash", section 2.1), and what the
/// reference code for 128 bits of output puts into its second word.
const INITIAL: [u64; 4] = [
    u64::from_be_bytes(*b"somepseu"),
    u64::from_be_bytes(*b"dorandom") ^ 0xee,
    u64::from_be_bytes(*b"lygenera"),
    u64::from_be_bytes(*b"tedbytes"),
];
/// Bits of a virtual address below the upper half's all-ones: 39.
const REGION_BITS: u32 = 39;

/// Where the kernel's parts are linked.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Code.
    pub text: Range<u64>,
    /// Constants.
    pub constants: Range<u64>,
    /// Variables, without stacks.
    pub variables: Range<u64>,
    /// Stacks, a slot for each core.
    pub stacks: Range<u64>,
    /// The root of its tables.
    pub root: u64,
    /// The key of all seals, if it has one.
    pub key: Option<Range<u64>>,
}

impl Kernel {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// It cannot be read, or lacks a symbol.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let elf = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::of(&elf).with_context(|| path.display().to_string())
    }

    /// Reads the symbols of an ELF file.
    ///
    /// # Errors
    /// It is none, or lacks one.
    pub fn of(elf: &[u8]) -> anyhow::Result<Self> {
        let file = object::File::parse(elf).context("not an ELF file")?;
        let find = |name: &str| {
            let mut symbols = file.symbols();
            let symbol = symbols.find(|symbol| symbol.name() == Ok(name));
            symbol.map(|symbol| symbol.address())
        };
        let key = file.symbols().find(|symbol| {
            KEY_BYTES.contains(&symbol.size())
                && symbol.name().is_ok_and(|name| demangled(name) == KEY)
        });
        let get = |name: &str| find(name).with_context(|| format!("the kernel has no {name}"));
        let text = get("__image_start")?;
        let constants = get("__rodata_start")?;
        let variables = get("__data_start")?;
        let stacks = get("__stacks_start")?;
        let end = get("__image_end")?;
        Ok(Self {
            text: text..constants,
            constants: constants..variables,
            variables: variables..stacks,
            stacks: stacks..end,
            root: get("__kernel_root")?,
            key: key.map(|symbol| symbol.address()..symbol.address() + symbol.size()),
        })
    }

    /// The whole image.
    pub fn image(&self) -> Range<u64> {
        self.text.start..self.stacks.end
    }

    /// Whether this address is in code.
    pub fn is_code(&self, address: u64) -> bool {
        self.text.contains(&address)
    }

    /// Where in memory the image lies. It runs from whatever page it was loaded at, and the tables in it say at
    /// which: the usual place is looked at first, then each page that begins like a kernel.
    pub fn locate(&self, memory: &Memory) -> Option<Located> {
        let usual = Some(LOAD_ADDRESS).filter(|at| self.is_at(memory, *at));
        let found = usual.or_else(|| {
            let pages = (0..memory.frames()).map(|frame| frame * PAGE_SIZE);
            let magic = u64::from_le_bytes(KERNEL_MAGIC);
            pages
                .filter(|at| memory.word(at + KERNEL_HEADER_OFFSET as u64) == Some(magic))
                .find(|at| self.is_at(memory, *at))
        });
        let image = self.image();
        let length = image.end.checked_sub(image.start)?;
        found.map(|at| Located {
            linked: image.start,
            physical: at..at.saturating_add(length),
        })
    }

    fn is_at(&self, memory: &Memory, at: u64) -> bool {
        let start = self.text.start;
        let root = self.root.wrapping_sub(start).wrapping_add(at) / PAGE_SIZE;
        translate(memory, root, start) == Some(at)
    }
}

/// The image, where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    linked: u64,
    /// Its bytes.
    pub physical: Range<u64>,
}

impl Located {
    /// Where something of the image lies.
    pub fn physical_of(&self, linked: u64) -> Option<u64> {
        let at = self
            .physical
            .start
            .checked_add(linked.checked_sub(self.linked)?)?;
        self.physical.contains(&at).then_some(at)
    }

    /// Its frames.
    pub fn frames(&self) -> Range<u64> {
        self.physical.start / PAGE_SIZE..self.physical.end.div_ceil(PAGE_SIZE)
    }

    /// The key of all seals, if the kernel has one and it lies in the image.
    pub fn key(&self, memory: &Memory, kernel: &Kernel) -> Option<Block> {
        let key = kernel.key.as_ref()?;
        let length = key.end.checked_sub(key.start)?;
        let bytes = memory.read(self.physical_of(key.start)?, length as usize)?;
        key_in(&words(&bytes))
    }
}

/// The key in these words. A state has it twice, which tells it from anything else.
fn key_in(words: &[u64]) -> Option<Block> {
    match *words {
        [low, high] => Some([low, high]),
        [v0, v1, v2, v3] => {
            let key = [v0 ^ INITIAL[0], v1 ^ INITIAL[1]];
            (key == [v2 ^ INITIAL[2], v3 ^ INITIAL[3]]).then_some(key)
        }
        _ => None,
    }
}

/// Where in memory `address` is, by the tables below the root in this frame.
pub fn translate(memory: &Memory, root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for level in 1..=3 {
        let shift = REGION_BITS - 9 * u32::from(level);
        let index = address >> shift & 511;
        let entry = memory.word(table.checked_mul(PAGE_SIZE)?.checked_add(index * 8)?)?;
        let named = descriptor::frame(entry);
        match descriptor::shape(entry, level) {
            Shape::Nothing => return None,
            Shape::Table => table = named,
            Shape::Leaf => {
                return Some(named * PAGE_SIZE + (address & ((1 << shift) - 1)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fake;

    #[test]
    fn what_has_no_symbols_is_refused() {
        assert!(Kernel::of(b"kernel").is_err());
        let error = Kernel::of(&fake::kernel()).unwrap_err().to_string();
        assert_eq!(error, "the kernel has no __image_start");
    }

    #[test]
    fn key_is_found_in_either_form() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        // The state for this key, as the paper's appendix has it, but for 0xee.
        let state = [
            0x7469_6861_7371_6475,
            0x6b61_7f6d_656e_6665 ^ 0xee,
            0x6b7f_6261_6d67_7361,
            0x7b6b_696e_727e_6c7b,
        ];
        assert_eq!(key_in(&key), Some(key));
        assert_eq!(key_in(&state), Some(key));
        let mut other = state;
        other[3] ^= 1;
        assert_eq!(key_in(&other), None);
        assert_eq!(key_in(&state[..3]), None);
    }

    #[test]
    fn places_of_the_image_are_within_it() {
        let located = Located {
            linked: 0x1000,
            physical: 0x8_0000..0x8_2800,
        };
        assert_eq!(located.physical_of(0x1008), Some(0x8_0008));
        assert_eq!(located.physical_of(0x37ff), Some(0x8_27ff));
        for outside in [0, 0xfff, 0x3800, u64::MAX] {
            assert_eq!(located.physical_of(outside), None, "{outside:#x}");
        }
        assert_eq!(located.frames(), 0x80..0x83);
    }
}
