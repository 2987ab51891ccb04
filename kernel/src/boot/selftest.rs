//! Failures on purpose, for the tests of the kernel's last words, a key that is no secret, for runs that are to be
//! compared, and what can be tested on the processor alone: boot argument `selftest=...`, in builds with feature `selftest` alone.
#![expect(unsafe_code, reason = "fails on purpose")]

mod card;
mod code;
mod filters;

use core::fmt;
use core::hint::black_box;

use exopi_bsp::traits::{DeviceError, MemoryRange, Random};
use exopi_domains::Subject;

use super::random::{self, Drawn};
use crate::arch::{arena, mmu};

/// What the boot argument `selftest=` asks for, if there is one.
pub(super) fn asked(arguments: &[u8]) -> Option<&[u8]> {
    arguments
        .split(u8::is_ascii_whitespace)
        .find_map(|word| word.strip_prefix(b"selftest="))
}

/// A generator that never answers.
struct Silent;

impl Random for Silent {
    fn init(&mut self) {}

    fn try_next(&mut self) -> Result<u32, DeviceError> {
        Err(DeviceError::TimedOut)
    }
}

/// Does what the boot arguments ask for: fails, or says what is to be taken for random numbers.
pub(super) fn run(arguments: &[u8]) -> Option<Result<Drawn, DeviceError>> {
    match asked(arguments) {
        // Where filters lie in their table depends on the secrets.
        Some(b"fixed-key" | b"filters") => {
            return Some(Ok(Drawn {
                key: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
                boot_id: 0,
                secrets: [0x1716_1514_1312_1110, 0x1f1e_1d1c_1b1a_1918],
            }));
        }
        Some(b"no-generator") => return Some(random::draw(&mut Silent, 0)),
        Some(b"stack-overflow") => {
            black_box(overflow_the_stack(black_box(1)));
        }
        Some(b"null") => {
            // SAFETY: none: this is to fault.
            black_box(unsafe { black_box(core::ptr::null::<u64>()).read_volatile() });
        }
        Some(b"abort") => {
            let text = black_box(mmu::vectors()) as *mut u64;
            // SAFETY: none: this is to fault, since the kernel's code cannot be written.
            unsafe { text.write_volatile(0) };
        }
        Some(b"panic") => panic!("asked to"),
        Some(b"twice") => panic!("asked to, by {}", FaultWhenPrinted),
        _ => {}
    }
    None
}

/// Copies blocks about on the card, if the boot arguments ask for it. All of `memory` is in the linear window, and most of
/// it is nobody's yet.
pub(super) fn run_card(arguments: &[u8], memory: &MemoryRange) {
    match asked(arguments) {
        Some(b"card") => card::run(memory, true),
        Some(b"card-by-processor") => card::run(memory, false),
        _ => {}
    }
}

/// Does what the boot arguments ask for when all memory has its use.
pub(super) fn run_with_memory(arguments: &[u8]) {
    match asked(arguments) {
        Some(b"generated-code") => code::run(),
        Some(b"store-to-code") => {
            let code = black_box(arena::ARENA) as *mut u32;
            // SAFETY: none: this is to fault, since generated code cannot be written where it runs.
            unsafe { code.write_volatile(0) };
        }
        _ => {}
    }
}

/// Does what the boot arguments ask for when there are interfaces, which are `first`'s.
pub(super) fn run_with_network(arguments: &[u8], first: &Subject) {
    if asked(arguments) == Some(b"filters") {
        filters::run(first);
    }
}

/// Faults while the kernel prints it, with the console in hand.
struct FaultWhenPrinted;

impl fmt::Display for FaultWhenPrinted {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: none: this is to fault.
        black_box(unsafe { black_box(core::ptr::null::<u64>()).read_volatile() });
        Ok(())
    }
}

/// Calls itself until the stack ends.
#[inline(never)]
#[expect(unconditional_recursion, reason = "it is to run out of stack")]
fn overflow_the_stack(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    overflow_the_stack(depth + 1).wrapping_add(frame[depth as usize % 64])
}
