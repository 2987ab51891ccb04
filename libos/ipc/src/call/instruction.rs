//! The instructions of a caller that does not trust its callee.

#[cfg(target_os = "none")]
pub(crate) use on_target::{call, send, yield_to};

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the instructions that enter the kernel")]
mod on_target {
    use core::arch::asm;

    pub(crate) use exopi_rt::transfer::yield_to;
    use exopi_rt::transfer::{FOREVER, Message};
    use exopi_rt::{Call, Error};

    /// Makes transfer `NUMBER` through `gate` with `message`, which becomes what comes back.
    ///
    /// Unlike `exopi_abi::transfer`'s it zeroes x19..x29, which the kernel would let the callee see as they are.
    #[inline(always)]
    fn transfer<const NUMBER: u16>(
        gate: u64,
        deadline: u64,
        message: &mut Message,
    ) -> Result<(), Error> {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = message;
        let status: u64;
        // SAFETY: the kernel writes no memory of the caller's, and comes back with SP, the vector registers and
        // the thread's pointer as they were. All others count as changed, but for x19 and x29, which the
        // compiler keeps for itself: they are stored here.
        unsafe {
            asm!(
                "stp x19, x29, [sp, #-16]!",
                "mov x19, xzr",
                "mov x20, xzr",
                "mov x21, xzr",
                "mov x22, xzr",
                "mov x23, xzr",
                "mov x24, xzr",
                "mov x25, xzr",
                "mov x26, xzr",
                "mov x27, xzr",
                "mov x28, xzr",
                "mov x29, xzr",
                "svc #{number}",
                "ldp x19, x29, [sp], #16",
                number = const NUMBER,
                inlateout("x0") *m0 => *m0,
                inlateout("x1") *m1 => *m1,
                inlateout("x2") *m2 => *m2,
                inlateout("x3") *m3 => *m3,
                inlateout("x4") *m4 => *m4,
                inlateout("x5") *m5 => *m5,
                inlateout("x6") *m6 => *m6,
                inlateout("x7") *m7 => *m7,
                inlateout("x8") gate => status,
                inlateout("x9") deadline => _,
                lateout("x10") _, lateout("x11") _, lateout("x12") _, lateout("x13") _,
                lateout("x14") _, lateout("x15") _, lateout("x16") _, lateout("x17") _,
                lateout("x18") _, lateout("x20") _, lateout("x21") _, lateout("x22") _,
                lateout("x23") _, lateout("x24") _, lateout("x25") _, lateout("x26") _,
                lateout("x27") _, lateout("x28") _, lateout("x30") _,
            );
        }
        // The kernel gives no code that is none.
        match status {
            0 => Ok(()),
            code => Err(Error::from_code(code as u16).unwrap_or(Error::Malformed)),
        }
    }

    #[inline(always)]
    pub(crate) fn call(gate: u64, deadline: u64, message: &mut Message) -> Result<(), Error> {
        transfer::<{ Call::pct_call as u16 }>(gate, deadline, message)
    }

    #[inline(always)]
    pub(crate) fn send(gate: u64, message: &Message) -> Result<(), Error> {
        transfer::<{ Call::pct_send as u16 }>(gate, FOREVER, &mut { *message })
    }
}

/// Off target no message leaves the thread: gates are bound there and lead nowhere.
#[cfg(not(target_os = "none"))]
mod off_target {
    use exopi_rt::Error;
    use exopi_rt::transfer::Message;

    pub(crate) fn call(_: u64, _: u64, _: &mut Message) -> Result<(), Error> {
        Err(Error::NotReady)
    }

    pub(crate) fn send(_: u64, _: &Message) -> Result<(), Error> {
        Err(Error::NotReady)
    }

    pub(crate) fn yield_to(_: u64) -> Result<(), Error> {
        Err(Error::NotReady)
    }
}

#[cfg(not(target_os = "none"))]
pub(crate) use off_target::{call, send, yield_to};
