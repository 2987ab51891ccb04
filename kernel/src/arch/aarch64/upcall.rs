//! The way back from an upcall: the other half is in [`super::vectors`].
#![expect(unsafe_code, reason = "reads the u-area, and leaves for EL0")]

use core::mem::offset_of;

use aarch64_cpu::registers::{Readable, TPIDR_EL1};
use exopi_abi::uarea::{Frame, UArea, UpcallClass};

use super::core_data::Core;

unsafe extern "C" {
    /// Goes on with the state in `frame` (see `vectors`), leaving the kernel's stack empty.
    fn __resume(frame: *mut Frame, core: u64) -> !;
}

/// The frame of `class` in the u-area of the environment that runs here.
#[inline(always)]
pub fn frame(class: UpcallClass) -> *mut Frame {
    let frames = Core::uarea().wrapping_byte_add(offset_of!(UArea, frames));
    frames.cast::<Frame>().wrapping_add(class as usize)
}

/// Whether an upcall of `class` waits to be resumed.
#[inline(always)]
pub fn is_held(class: UpcallClass) -> bool {
    let held = frame(class).wrapping_byte_add(offset_of!(Frame, held));
    // SAFETY: the u-area of a running environment is a page of the linear window, and a class's number
    // is less than the number of frames. EL0 may write the word at any time, hence volatile.
    unsafe { held.cast::<u64>().read_volatile() != 0 }
}

/// Goes on with the state in the frame of `class`, which is released. Of the processor state it takes
/// the condition flags; whatever else the frame says, EL0 it is, with nothing masked.
#[inline(always)]
pub fn resume(class: UpcallClass) -> ! {
    // SAFETY: the frame is readable and writable, as in `is_held`; what it holds is the environment's own
    // registers. The call's stack frames are given up: nothing in them has a destructor to run.
    unsafe { __resume(frame(class), TPIDR_EL1.get()) }
}
