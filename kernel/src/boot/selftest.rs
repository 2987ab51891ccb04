//! Failures on purpose, for the tests of the kernel's last words: boot argument `selftest=...`, in
//! builds with feature `selftest` alone.
#![expect(unsafe_code, reason = "fails on purpose")]

use core::fmt;
use core::hint::black_box;

use crate::arch::mmu;

/// Does what the boot argument `selftest=` asks for, if there is one.
pub(super) fn run(arguments: &[u8]) {
    let asked = arguments
        .split(u8::is_ascii_whitespace)
        .find_map(|word| word.strip_prefix(b"selftest="));
    match asked {
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
