//! The u-area: the one page that the kernel shares with an environment.
//!
//! The kernel leaves interrupted states here and reads from here where to enter the environment. It
//! believes nothing that it reads: an entry or a frame is the environment's own state, and a wrong
//! one harms that environment alone. Its address is in `TPIDRRO_EL0`.
//!
//! An upcall of a class goes like this:
//!
//! ```text
//!   event -- entry.pc = 0, or frame.held != 0 --> the environment is suspended
//!     |
//!     +--> frame := state, held := 1;  pc := entry.pc, sp := entry.sp
//!            handler runs ... may change the frame ... resume(class)
//!              state := frame, held := 0
//! ```

use crate::Error;
use crate::layout::PAGE_SIZE;
use crate::registers::{Argument, Arguments};

/// What an upcall is about. Each class has an entry and a frame of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum UpcallClass {
    /// A synchronous exception that the kernel has no use for, `svc #0` among them.
    Fault = 0,
    /// Something happened elsewhere: bits tell what. Asynchronous: it comes between two instructions,
    /// and can be masked.
    Notice = 1,
    /// Epilogue: the slice is at its end, and the environment saves what it likes before it gives the core away.
    SliceEnd = 2,
    /// Prologue: a slice begins, and the environment goes on as it likes.
    SliceBegin = 3,
    /// A protected control transfer comes in.
    Pct = 4,
}

impl UpcallClass {
    /// How many classes there are.
    pub const COUNT: usize = 5;
}

impl Argument for UpcallClass {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match from.take() {
            0 => Ok(Self::Fault),
            1 => Ok(Self::Notice),
            2 => Ok(Self::SliceEnd),
            3 => Ok(Self::SliceBegin),
            4 => Ok(Self::Pct),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

/// Where a class of upcalls enters the environment.
///
/// At the first instruction of a fault's handler x0 is the syndrome, x1 the faulting address and x2 the
/// interrupted PC, as the frame has them too. For a notice, x0 is the bits and x1 is zero. x3..x5, x16 and x17
/// are unspecified and hold nothing of the kernel's; SP is this entry's; all other registers are as they
/// were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// First instruction of the handler; 0 for none.
    pub pc: u64,
    /// Its stack pointer.
    pub sp: u64,
}

/// An interrupted state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frame {
    /// x0..x30.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Where it goes on. For a fault: the instruction itself; for `svc`: the one after it.
    pub pc: u64,
    /// Condition flags in bits 28..32; bit 21, single step, where the environment may be debugged. The kernel
    /// takes back nothing else. A step over a call that gives the core away, or that an interrupt comes in
    /// after, ends one instruction later.
    pub pstate: u64,
    /// What happened: the exception syndrome register (ARM DDI 0487, D24.2.40); of a notice, its bits.
    pub esr: u64,
    /// The address that faulted, where `esr` says that there is one.
    pub far: u64,
    /// Non-zero while the frame waits to be resumed; another upcall of the class is refused so long.
    pub held: u64,
}

/// The floating-point and vector registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Vectors {
    /// v0..v31.
    pub v: [u128; 32],
    /// FPCR.
    pub fpcr: u64,
    /// FPSR.
    pub fpsr: u64,
}

/// The page itself. What lies beyond these fields is the libOS's to use.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UArea {
    /// Entries by class.
    pub entries: [Entry; UpcallClass::COUNT],
    /// Frames by class.
    pub frames: [Frame; UpcallClass::COUNT],
    /// Not zero while asynchronous upcalls must wait. Written by the environment alone.
    pub masked: u64,
    /// Not zero if an asynchronous upcall has waited because of `masked`, or of its held frame. Set by the
    /// kernel, which clears it when it delivers; who unmasks looks here, and calls `upcall_deliver`.
    pub waiting: u64,
    /// The state while the environment is on no core: where it goes on. `held` is 1 so long. A suspended
    /// environment's tells in `esr` and `far` why it is.
    pub saved: Frame,
    /// `TPIDR_EL0` while it is on no core.
    pub thread: u64,
    /// Floating-point state while it is not in the registers.
    pub vectors: Vectors,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Frame>() == 37 * 8);
    assert!(offset_of!(Frame, sp) == 31 * 8);
    assert!(offset_of!(UArea, frames) == 16 * UpcallClass::COUNT);
    assert!(size_of::<Vectors>() == 33 * 16);
    assert!(size_of::<UArea>() as u64 <= PAGE_SIZE);
};
