//! The instruction that makes a call, on target.
#![expect(unsafe_code, reason = "the one place where EL0 enters the kernel")]

use core::arch::asm;

use crate::registers::Reply;

/// Makes call `NUMBER`. As far as the compiler knows it is a function call that keeps the FP
/// registers too: the kernel never touches them.
#[inline(always)]
pub(crate) fn call<const NUMBER: u16>(arguments: [u64; 6]) -> Reply {
    let (status, value);
    // SAFETY: the kernel keeps x19..x29 and SP, and writes no memory that the arguments do not name
    // as writable. Rows that change what memory is there have stubs that are `unsafe` themselves.
    unsafe {
        asm!(
            "svc #{number}",
            number = const NUMBER,
            inout("x0") arguments[0] => status,
            inout("x1") arguments[1] => value,
            inout("x2") arguments[2] => _,
            inout("x3") arguments[3] => _,
            inout("x4") arguments[4] => _,
            inout("x5") arguments[5] => _,
            out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _, out("x11") _,
            out("x12") _, out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
            out("x18") _, out("x30") _,
            options(nostack),
        );
    }
    Reply { status, value }
}
