//! Copies of frames, which come from wherever a program has put them.
//!
//! `memcpy` has to work before the MMU is on and so makes no access that is wider than its alignment (see
//! [`memory`](super::memory)): between addresses that differ modulo eight it goes by bytes. Here memory is Normal, where
//! the processor takes any address (ARM DDI 0487, B2.5.2), and 128 bytes go in a round.
#![expect(unsafe_code, reason = "accesses wider than their alignment")]

use core::arch::asm;

/// Copies all of `from` to the beginning of `to`, as far as there is room. Both are Normal memory.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) {
    let length = to.len().min(from.len());
    // SAFETY: exactly `length` bytes are read and written, which both slices have; they do not overlap, since one of them
    // is borrowed alone. The loop loads and stores 128 bytes while so many are left; then each bit of the rest is a power
    // of two to be copied.
    unsafe {
        asm!(
            "subs {left}, {left}, #128",
            "b.lo 3f",
            "2: ldp {a}, {b}, [{from}], #128",
            "ldp {c}, {d}, [{from}, #-112]",
            "ldp {e}, {f}, [{from}, #-96]",
            "ldp {g}, {h}, [{from}, #-80]",
            "stp {a}, {b}, [{to}], #128",
            "stp {c}, {d}, [{to}, #-112]",
            "stp {e}, {f}, [{to}, #-96]",
            "stp {g}, {h}, [{to}, #-80]",
            "ldp {a}, {b}, [{from}, #-64]",
            "ldp {c}, {d}, [{from}, #-48]",
            "ldp {e}, {f}, [{from}, #-32]",
            "ldp {g}, {h}, [{from}, #-16]",
            "stp {a}, {b}, [{to}, #-64]",
            "stp {c}, {d}, [{to}, #-48]",
            "stp {e}, {f}, [{to}, #-32]",
            "stp {g}, {h}, [{to}, #-16]",
            "subs {left}, {left}, #128",
            "b.hs 2b",
            // The low seven bits are what is left, as they were before 128 was taken off too often.
            "3: tst {left}, #127",
            "b.eq 12f",
            "tbz {left}, #6, 4f",
            "ldp {a}, {b}, [{from}], #16",
            "ldp {c}, {d}, [{from}], #16",
            "ldp {e}, {f}, [{from}], #16",
            "ldp {g}, {h}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "stp {c}, {d}, [{to}], #16",
            "stp {e}, {f}, [{to}], #16",
            "stp {g}, {h}, [{to}], #16",
            "4: tbz {left}, #5, 5f",
            "ldp {a}, {b}, [{from}], #16",
            "ldp {c}, {d}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "stp {c}, {d}, [{to}], #16",
            "5: tbz {left}, #4, 6f",
            "ldp {a}, {b}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "6: tbz {left}, #3, 7f",
            "ldr {a}, [{from}], #8",
            "str {a}, [{to}], #8",
            "7: tbz {left}, #2, 8f",
            "ldr {a:w}, [{from}], #4",
            "str {a:w}, [{to}], #4",
            "8: tbz {left}, #1, 9f",
            "ldrh {a:w}, [{from}], #2",
            "strh {a:w}, [{to}], #2",
            "9: tbz {left}, #0, 12f",
            "ldrb {a:w}, [{from}]",
            "strb {a:w}, [{to}]",
            "12:",
            to = inout(reg) to.as_mut_ptr() => _,
            from = inout(reg) from.as_ptr() => _,
            left = inout(reg) length => _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            e = out(reg) _,
            f = out(reg) _,
            g = out(reg) _,
            h = out(reg) _,
            options(nostack),
        );
    }
}
