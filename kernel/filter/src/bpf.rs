//! What classic BPF means (McCanne and Jacobson, USENIX 1993), for comparison: an interpreter that is to be right, and
//! not fast.
//!
//! Those instructions are known that libpcap's compiler makes of `tests/expressions.txt`.

/// More instructions than any program has here.
pub const MOST: usize = 64;

/// Codes of instructions, by what they do. A load beyond the frame refuses it.
pub mod code {
    /// Ends: so many octets of the frame are taken, 0 being none.
    pub const RETURN: u16 = 0x06;
    /// Leaves `k` instructions out.
    pub const JUMP: u16 = 0x05;
    /// The accumulator is the octet at `k`.
    pub const LOAD_8: u16 = 0x30;
    /// The two octets at `k`.
    pub const LOAD_16: u16 = 0x28;
    /// The four octets at `k`.
    pub const LOAD_32: u16 = 0x20;
    /// As above, `k` behind the index.
    pub const INDEXED_8: u16 = 0x50;
    /// As above.
    pub const INDEXED_16: u16 = 0x48;
    /// As above.
    pub const INDEXED_32: u16 = 0x40;
    /// The index is four times the low half of the octet at `k`: the length of an IPv4 header.
    pub const HEADER_LENGTH: u16 = 0xb1;
    /// The accumulator keeps the bits of `k`.
    pub const AND: u16 = 0x54;
    /// Whether the accumulator is `k`.
    pub const EQUAL: u16 = 0x15;
    /// Whether it has one of the bits of `k`.
    pub const ANY_SET: u16 = 0x45;
}

/// An instruction as libpcap's compiler writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// What it does: one of [`code`].
    pub code: u16,
    /// Instructions that are left out if its condition holds.
    pub if_true: u8,
    /// And if it does not.
    pub if_false: u8,
    /// A number, whose meaning depends on the code.
    pub k: u32,
}

/// A program that ends, whatever the frame.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a>(&'a [Instruction]);

impl<'a> Program<'a> {
    /// [`None`] if it has [`MOST`] instructions or more, leads out of itself, or has an instruction that is not known.
    pub fn new(instructions: &'a [Instruction]) -> Option<Self> {
        if instructions.len() >= MOST {
            return None;
        }
        let mut left = instructions.len();
        for instruction in instructions {
            left -= 1;
            let farthest = match instruction.code {
                code::RETURN => continue,
                code::JUMP => instruction.k as usize,
                code::EQUAL | code::ANY_SET => instruction.if_true.max(instruction.if_false).into(),
                code::LOAD_8 | code::LOAD_16 | code::LOAD_32 | code::HEADER_LENGTH | code::AND => 0,
                code::INDEXED_8 | code::INDEXED_16 | code::INDEXED_32 => 0,
                _ => return None,
            };
            if farthest >= left {
                return None;
            }
        }
        (!instructions.is_empty()).then_some(Self(instructions))
    }

    /// Octets of a frame that it takes: 0 if it does not take it.
    pub fn run(&self, frame: &[u8]) -> u32 {
        self.walk(frame, &mut 0).unwrap_or(0)
    }

    /// How many instructions a run executes.
    pub fn executed(&self, frame: &[u8]) -> u64 {
        let mut count = 0;
        self.walk(frame, &mut count);
        count
    }

    fn walk(&self, frame: &[u8], count: &mut u64) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut rest = self.0;
        loop {
            let (instruction, behind) = rest.split_first()?;
            let Instruction {
                if_true,
                if_false,
                k,
                ..
            } = *instruction;
            *count += 1;
            let mut skipped = 0;
            let mut choose = |holds| skipped = if holds { if_true } else { if_false }.into();
            match instruction.code {
                code::RETURN => return Some(k),
                code::JUMP => skipped = k as usize,
                code::LOAD_8 => a = load(frame, k, 1)?,
                code::LOAD_16 => a = load(frame, k, 2)?,
                code::LOAD_32 => a = load(frame, k, 4)?,
                code::INDEXED_8 => a = load(frame, x.checked_add(k)?, 1)?,
                code::INDEXED_16 => a = load(frame, x.checked_add(k)?, 2)?,
                code::INDEXED_32 => a = load(frame, x.checked_add(k)?, 4)?,
                code::HEADER_LENGTH => x = (load(frame, k, 1)? & 15) * 4,
                code::AND => a &= k,
                code::EQUAL => choose(a == k),
                code::ANY_SET => choose(a & k != 0),
                _ => return None,
            }
            rest = behind.get(skipped..)?;
        }
    }
}

fn load(frame: &[u8], at: u32, octets: usize) -> Option<u32> {
    let octets = frame.get(at as usize..)?.get(..octets)?;
    let next = |number, octet: &u8| number << 8 | u32::from(*octet);
    Some(octets.iter().fold(0, next))
}
