//! Upcalls: the delivery of notices, and the way back. That of faults is in [`super::vectors`].
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

/// Whether the environment that runs here takes a notice now. If not, its u-area says from now on that one
/// waits.
pub fn takes_notice() -> bool {
    let area = Core::uarea();
    let takes = area.read(OwnUArea::MASKED) == 0
        && !area.holds(UpcallClass::Notice)
        && area.read(OwnUArea::NOTICE_PC) != 0;
    if !takes {
        area.write(OwnUArea::WAITING, 1);
    }
    takes
}

/// Delivers `bits` to the environment that runs here: its state, which is in `saved`, goes to the frame of
/// notices, and `saved` says how the handler begins.
pub fn deliver_notice(bits: u64) {
    let area = Core::uarea();
    let pc = area.read(OwnUArea::SAVED_PC);
    area.copy_saved_to_notice();
    area.write(OwnUArea::NOTICE_ESR, bits);
    area.write(OwnUArea::NOTICE_FAR, 0);
    area.write(OwnUArea::NOTICE_HELD, 1);
    area.write(OwnUArea::WAITING, 0);
    area.write(OwnUArea::saved_x(0), bits);
    area.write(OwnUArea::saved_x(1), 0);
    area.write(OwnUArea::saved_x(2), pc);
    area.write(OwnUArea::SAVED_SP, area.read(OwnUArea::NOTICE_SP));
    area.write(OwnUArea::SAVED_PC, area.read(OwnUArea::NOTICE_PC));
    area.write(OwnUArea::SAVED_PSTATE, 0);
    count(&Core::counters().upcalls);
}
