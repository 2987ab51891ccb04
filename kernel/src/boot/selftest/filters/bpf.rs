//! Classic BPF at its best: an interpreter that takes at most ten instructions for one of libpcap's.
//!
//! Filters are compared with it, so it is to be a fair opponent, and is written in assembly language for that: no place of
//! a program is checked while it runs, and each instruction's code ends with the way to the next one's. What it says is
//! compared with `exopi_filter::bpf`, of which tests on the host know that it says what libpcap does. It knows the
//! instructions that occur in [`five_tuple`].
#![expect(unsafe_code, reason = "an interpreter in assembly language")]

use core::arch::naked_asm;

use exopi_filter::bpf::{self, Instruction, code};

/// Instructions of a program.
const LENGTH: usize = 17;

/// A program as [`run`] takes it, each instruction a word: number of the code, both jumps, `k`, from the low end.
pub(super) type Words = [u64; LENGTH];

/// What libpcap's compiler makes of `tcp and src host A and src port P and dst host B and dst port Q`. What differs
/// between connections comes first, so that a program that is not the frame's ends as early as can be.
pub(super) fn five_tuple(
    source: [u8; 4],
    from: u16,
    destination: [u8; 4],
    to: u16,
) -> [Instruction; LENGTH] {
    let [source, destination] = [source, destination].map(u32::from_be_bytes);
    [
        (code::LOAD_16, 0, 0, 12),
        (code::EQUAL, 0, 14, 0x0800),
        (code::LOAD_8, 0, 0, 23),
        (code::EQUAL, 0, 12, 6),
        (code::LOAD_32, 0, 0, 26),
        (code::EQUAL, 0, 10, source),
        (code::LOAD_16, 0, 0, 20),
        (code::ANY_SET, 8, 0, 0x1fff),
        (code::HEADER_LENGTH, 0, 0, 14),
        (code::INDEXED_16, 0, 0, 14),
        (code::EQUAL, 0, 5, from.into()),
        (code::LOAD_32, 0, 0, 30),
        (code::EQUAL, 0, 3, destination),
        (code::INDEXED_16, 0, 0, 16),
        (code::EQUAL, 0, 1, to.into()),
        (code::RETURN, 0, 0, 262_144),
        (code::RETURN, 0, 0, 0),
    ]
    .map(|(code, if_true, if_false, k)| Instruction {
        code,
        if_true,
        if_false,
        k,
    })
}

/// A program as [`run`] takes it.
pub(super) fn words(program: &[Instruction; LENGTH]) -> Words {
    program.map(word)
}

/// An instruction as [`run`] takes it.
fn word(instruction: Instruction) -> u64 {
    let number = match instruction.code {
        code::LOAD_8 => 1,
        code::LOAD_16 => 2,
        code::LOAD_32 => 3,
        code::INDEXED_16 => 4,
        code::HEADER_LENGTH => 5,
        code::EQUAL => 6,
        code::ANY_SET => 7,
        // Of the others there is only one.
        _ => 0,
    };
    let Instruction {
        if_true,
        if_false,
        k,
        ..
    } = instruction;
    number | u64::from(if_true) << 8 | u64::from(if_false) << 16 | u64::from(k) << 32
}

/// Runs programs, which [`words`] has made, one after the other until one takes the frame; which one that is.
pub(super) fn first(programs: &[Words], frame: &[u8]) -> Option<usize> {
    // SAFETY: each program's jumps stay in it and a return ends it; loads are compared with the frame's length.
    let left = unsafe {
        run(
            programs.as_ptr(),
            programs.len(),
            frame.as_ptr(),
            frame.len(),
        )
    };
    (left > 0).then(|| programs.len() - left)
}

/// Sees that a program says of a frame, of each beginning of it, and of it with each octet changed, what is meant; gives
/// how many instructions it executes for the frame itself.
pub(super) fn checked(program: &[Instruction; LENGTH], frame: &[u8]) -> Option<u64> {
    let meant = bpf::Program::new(program)?;
    let agree = |frame: &[u8]| {
        let takes = first(&[words(program)], frame).is_some();
        takes == (meant.run(frame) != 0)
    };
    let mut good = (0..=frame.len()).all(|length| frame.get(..length).is_some_and(agree));
    let mut other = [0; 64];
    let other = other.get_mut(..frame.len())?;
    for at in 0..frame.len() {
        other.copy_from_slice(frame);
        if let Some(octet) = other.get_mut(at) {
            *octet ^= 1;
        }
        good &= agree(other);
    }
    good.then(|| meant.executed(frame))
}

/// Runs programs one after the other until one takes the frame; gives how many were left then, that one counted.
///
/// ```text
///   x0 program          x1 programs left    x2 frame    x3 its length, x6 less 2, x7 less 4
///   x4 index            x5 code of the instructions, 64 bytes each
///   x8 next instruction x9 the instruction  x12 k       w15 accumulator
/// ```
///
/// # Safety
/// There are `count` programs, and each ends; there are `length` octets at `frame`.
#[unsafe(naked)]
unsafe extern "C" fn run(
    programs: *const Words,
    count: usize,
    frame: *const u8,
    length: usize,
) -> usize {
    naked_asm!(
        ".macro bpf_next",
        "ldr x9, [x8], #8",
        "and x10, x9, #7",
        "add x11, x5, x10, lsl #6",
        "br x11",
        ".endm",
        ".macro bpf_branch, condition",
        "ubfx x13, x9, #8, #8",
        "ubfx x14, x9, #16, #8",
        "csel x13, x13, x14, \\condition",
        "add x8, x8, x13, lsl #3",
        "bpf_next",
        ".endm",
        "sub x6, x3, #2",
        "sub x7, x3, #4",
        "adr x5, 1f",
        "cbz x1, 8f",
        "7: mov x8, x0",
        "bpf_next",
        ".balign 64",
        // Return: the next program, or the end.
        "1: lsr x12, x9, #32",
        "cbnz x12, 8f",
        "9: add x0, x0, #{size}",
        "subs x1, x1, #1",
        "b.ne 7b",
        "8: mov x0, x1",
        "ret",
        ".balign 64",
        // An octet.
        "lsr x12, x9, #32",
        "cmp x12, x3",
        "b.hs 9b",
        "ldrb w15, [x2, x12]",
        "bpf_next",
        ".balign 64",
        // Two octets.
        "lsr x12, x9, #32",
        "cmp x12, x6",
        "b.gt 9b",
        "ldrh w15, [x2, x12]",
        "rev16 w15, w15",
        "bpf_next",
        ".balign 64",
        // Four octets.
        "lsr x12, x9, #32",
        "cmp x12, x7",
        "b.gt 9b",
        "ldr w15, [x2, x12]",
        "rev w15, w15",
        "bpf_next",
        ".balign 64",
        // Two octets behind the index.
        "add x12, x4, x9, lsr #32",
        "cmp x12, x6",
        "b.gt 9b",
        "ldrh w15, [x2, x12]",
        "rev16 w15, w15",
        "bpf_next",
        ".balign 64",
        // The length of a header.
        "lsr x12, x9, #32",
        "cmp x12, x3",
        "b.hs 9b",
        "ldrb w4, [x2, x12]",
        "ubfiz x4, x4, #2, #4",
        "bpf_next",
        ".balign 64",
        // Whether it is equal.
        "lsr x12, x9, #32",
        "cmp w15, w12",
        "bpf_branch eq",
        ".balign 64",
        // Whether some bits are set.
        "lsr x12, x9, #32",
        "tst w15, w12",
        "bpf_branch ne",
        ".purgem bpf_next",
        ".purgem bpf_branch",
        size = const size_of::<Words>(),
    )
}
