//! Upcalls: the delivery of those that come between two instructions, and the way back. That of faults is in
//! [`super::vectors`].
//!
//! Each takes the environment's state, which is in `saved`, into the frame of its class, and leaves in `saved` how the
//! handler begins.
#![expect(unsafe_code, reason = "leaves for EL0")]

use exopi_abi::uarea::UpcallClass;

use super::core_data::{Core, count};
use super::switch;
use super::uarea::OwnUArea;

/// Goes on with the state in the frame of `class`, which is released; comes back if none is held. Of the
/// processor state it takes the condition flags, and single step where the environment is debugged:
/// whatever else the frame says, EL0 it is, with nothing masked. (A fault that is held does not come here:
/// `switch` goes on with it at once.)
#[inline(always)]
pub fn resume(class: UpcallClass) {
    let core = Core::address();
    let area = Core::uarea_at(core);
    if area.holds(class) {
        // SAFETY: it is a frame of the u-area; the call's stack frames have no destructor to run.
        unsafe { switch::resume(area.frame(class), core) }
    }
}

/// Where the environment that runs here takes an upcall of `class` now, if it does.
fn takes(area: OwnUArea, class: UpcallClass) -> Option<[u64; 2]> {
    let entry = area.entry(class);
    let free = area.read(OwnUArea::MASKED) == 0 && !area.holds(class);
    (free && entry[0] != 0).then_some(entry)
}

/// Whether the environment that runs here takes a notice now. If not, its u-area says from now on that one
/// waits.
pub fn takes_notice() -> bool {
    let area = Core::uarea();
    let takes = takes(area, UpcallClass::Notice).is_some();
    if !takes {
        area.write(OwnUArea::WAITING, 1);
    }
    takes
}

/// Delivers `bits` to the environment that runs here, which takes a notice now.
pub fn deliver_notice(bits: u64) {
    let area = Core::uarea();
    let pc = area.read(OwnUArea::SAVED_PC);
    area.hold_saved(UpcallClass::Notice, bits);
    area.write(OwnUArea::WAITING, 0);
    area.go_on_at(area.entry(UpcallClass::Notice), [bits, 0, pc]);
    count(&Core::counters().upcalls);
}

/// What an environment makes of the end of its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceEnd {
    /// Its epilogue was delivered.
    Delivered,
    /// It has one, and masks upcalls: its u-area says that one waits.
    Waits,
    /// It has none, or is in it.
    Nothing,
}

/// Whether the environment that runs here takes its epilogue now.
pub fn takes_slice_end() -> bool {
    takes(Core::uarea(), UpcallClass::SliceEnd).is_some()
}

/// Tells the environment that runs here that its slice is at its end, and that it has so many ticks to leave.
pub fn deliver_slice_end(ticks: u64) -> SliceEnd {
    let area = Core::uarea();
    if let Some(entry) = takes(area, UpcallClass::SliceEnd) {
        let pc = area.read(OwnUArea::SAVED_PC);
        area.hold_saved(UpcallClass::SliceEnd, 0);
        area.go_on_at(entry, [ticks, 0, pc]);
        count(&Core::counters().upcalls);
        return SliceEnd::Delivered;
    }
    let [pc, _] = area.entry(UpcallClass::SliceEnd);
    if pc == 0 || area.holds(UpcallClass::SliceEnd) {
        return SliceEnd::Nothing;
    }
    area.write(OwnUArea::WAITING, 1);
    SliceEnd::Waits
}

/// Lets the environment that was given this core begin its slice, of so many ticks and this number, at its prologue, if
/// it has one and takes it. `light`: it gave its core away itself, and `saved` is nothing that it would miss; one
/// without a prologue goes on there all the same, behind the answer with which it went to rest.
pub fn begin_slice(light: bool, ticks: u64, slice: u16) {
    let area = Core::uarea();
    let entry = area.entry(UpcallClass::SliceBegin);
    if light && entry[0] != 0 {
        area.go_on_at(entry, [0, ticks, slice.into()]);
    } else if !light && takes(area, UpcallClass::SliceBegin).is_some() {
        area.hold_saved(UpcallClass::SliceBegin, 0);
        area.go_on_at(entry, [1, ticks, slice.into()]);
    } else {
        return;
    }
    count(&Core::counters().upcalls);
}
