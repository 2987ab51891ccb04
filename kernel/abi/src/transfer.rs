//! Protected control transfer: how a message travels in registers from one environment to another, and back.
//!
//! ```text
//!             caller                     kernel                        callee
//!   x0..x7    message      -- svc pct_call -->  as they are     -->    message
//!   x8        gate                              who calls              its name: [`ObjectName::word`]
//!   x9        deadline                          the gate's badge       [`Call::from_registers`]
//!
//!   x0..x7    answer       <-- as they are      <-- svc pct_reply --   answer
//!   x8        0, or an error: then x0..x7 are the message still
//! ```
//!
//! A callee begins at its u-area's entry of class [`Pct`](crate::uarea::UpcallClass::Pct) with that entry's
//! stack pointer; x10..x18 and x30 are zero. The kernel moves nothing else: x19..x29 go through as they are, both
//! ways, so whoever does not trust the other side stores its own before and takes nothing for granted
//! afterwards. The vector registers are each environment's own throughout.

use crate::capability::Epoch;
use crate::domain::ObjectName;

/// Gates that each environment has.
pub const GATES: usize = 16;

/// Words of a message, and of an answer.
pub const MESSAGE_WORDS: usize = 8;

/// A message, or an answer: x0 to x7.
pub type Message = [u64; MESSAGE_WORDS];

/// No deadline: the caller waits for as long as it takes.
pub const FOREVER: u64 = 0;

/// What the kernel tells a callee of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls. The kernel vouches for it.
    pub caller: ObjectName,
    /// The badge of the capability that the gate was bound by, 24 bits; 0 if it has none.
    pub badge: u32,
    /// Nobody waits for an answer.
    pub one_way: bool,
}

/// In x9 beside the badge: nobody waits for an answer.
pub const ONE_WAY: u64 = 1 << 32;

impl Call {
    /// What x8 and x9 say at the callee's first instruction.
    pub const fn from_registers(x8: u64, x9: u64) -> Self {
        Self {
            caller: ObjectName {
                index: x8 as u16,
                epoch: Epoch::from_low_bits(x8 >> 16),
            },
            badge: x9 as u32,
            one_way: x9 & ONE_WAY != 0,
        }
    }

    /// The same the other way round.
    pub const fn into_registers(self) -> [u64; 2] {
        let one_way = if self.one_way { ONE_WAY } else { 0 };
        [self.caller.word(), self.badge as u64 | one_way]
    }
}

#[cfg(target_os = "none")]
pub use on_target::{call, reply, send, yield_to};

/// The instructions, which the call table's stubs cannot make: messages are in the registers of their arguments.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the instructions that enter the kernel")]
mod on_target {
    use core::arch::asm;

    use super::{FOREVER, Message};
    use crate::Error;
    use crate::calls::Call;

    /// Makes transfer `NUMBER` through `gate` with `message`, which becomes what comes back.
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

    /// Calls the environment behind `gate` with `message`, which becomes its answer; waits until `deadline`, in ticks
    /// of the counter, if that is not [`FOREVER`](super::FOREVER).
    ///
    /// # Errors
    /// As the row `pct_call` says; the message is what it was if the call was refused, and zeros if it has failed.
    #[inline(always)]
    pub fn call(gate: u64, deadline: u64, message: &mut Message) -> Result<(), Error> {
        transfer::<{ Call::pct_call as u16 }>(gate, deadline, message)
    }

    /// Sends `message` through `gate`, and goes on when the caller next has a core.
    ///
    /// # Errors
    /// As the row `pct_send` says.
    #[inline(always)]
    pub fn send(gate: u64, message: &Message) -> Result<(), Error> {
        transfer::<{ Call::pct_send as u16 }>(gate, FOREVER, &mut { *message })
    }

    /// Answers the call that is being served with `message`; if none is, the caller rests until it is called. It is
    /// entered anew for the next call: this comes back only to refuse.
    #[inline(always)]
    pub fn reply(message: &Message) -> Error {
        match transfer::<{ Call::pct_reply as u16 }>(0, FOREVER, &mut { *message }) {
            Err(error) => error,
            // Woken without a prologue: no answer is due.
            Ok(()) => Error::NotWaiting,
        }
    }

    /// Gives the core to the environment behind `gate`. A caller with a prologue is entered there when it next has a
    /// core, and this comes back to it only to refuse.
    ///
    /// # Errors
    /// As the row `gate_yield` says.
    #[inline(always)]
    pub fn yield_to(gate: u64) -> Result<(), Error> {
        transfer::<{ Call::gate_yield as u16 }>(gate, FOREVER, &mut [0; 8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_callee_is_told_comes_back_from_registers() {
        let call = Call {
            caller: ObjectName {
                index: 0xfedc,
                epoch: Epoch::from_low_bits(0x1234_5678_9abc),
            },
            badge: 0xff_ffff,
            one_way: true,
        };
        let [x8, x9] = call.into_registers();
        assert_eq!((x8, x9), (0x1234_5678_9abc_fedc, 0x1_00ff_ffff));
        assert_eq!(Call::from_registers(x8, x9), call);
        assert!(!Call::from_registers(x8, 7).one_way);
    }
}
