//! The way back from an upcall: the other half is in [`super::vectors`].
#![expect(unsafe_code, reason = "reads the u-area, and leaves for EL0")]

use core::mem::offset_of;

use exopi_abi::uarea::{Frame, UArea, UpcallClass};

use super::core_data::{Core, CoreAddress};

unsafe extern "C" {
    /// Goes on with the state in `frame` (see `vectors`), leaving the kernel's stack empty.
    fn __resume(frame: *mut Frame, core: CoreAddress) -> !;
}

/// The frame of `class` in a u-area.
#[inline(always)]
fn frame_in(uarea: *mut UArea, class: UpcallClass) -> *mut Frame {
    let frames = uarea.wrapping_byte_add(offset_of!(UArea, frames));
    frames.cast::<Frame>().wrapping_add(class as usize)
}

/// What the frame of `class` holds, in the u-area of the environment that runs here.
pub fn read(class: UpcallClass) -> Frame {
    let frame = frame_in(Core::uarea(), class);
    // SAFETY: the u-area of a running environment is a page of the linear window, and a class's number
    // is less than the number of frames. EL0 may write it at any time, hence volatile.
    unsafe { frame.read_volatile() }
}

/// Goes on with the state in the frame of `class`, which is released; comes back if none is held. Of the
/// processor state it takes the condition flags: whatever else the frame says, EL0 it is, with nothing
/// masked.
#[inline(always)]
pub fn resume(class: UpcallClass) {
    let core = Core::address();
    let frame = frame_in(Core::uarea_at(core), class);
    let held = frame.wrapping_byte_add(offset_of!(Frame, held));
    // SAFETY: as in `read`.
    if unsafe { held.cast::<u64>().read_volatile() } != 0 {
        // SAFETY: the frame is readable and writable; what it holds is the environment's own registers.
        // The call's stack frames are given up: nothing in them has a destructor to run.
        unsafe { __resume(frame, core) }
    }
}
