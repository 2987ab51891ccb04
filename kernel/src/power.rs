//! The ends of the machine: off, with a status where somebody asks for one, or anew.

use exopi_bsp::boards::PowerSwitch;
use exopi_bsp::traits::Power;

use crate::arch::semihosting;
use crate::arch::smp::{self, Lock};
use crate::console;

static SWITCH: Lock<Option<PowerSwitch>> = Lock::new(None);

/// Takes the power switch over.
pub fn init(switch: PowerSwitch) {
    *SWITCH.lock() = Some(switch);
}

/// Sends what the console still has, and turns the machine off; the emulator ends with `status`.
pub fn off(status: u64) -> ! {
    console::drain();
    off_at_once(status)
}

/// The same, without a look at the console, and without waiting for any lock: this core may hold it.
pub fn off_at_once(status: u64) -> ! {
    semihosting::exit(status);
    if let Some(mut switch) = SWITCH.try_lock()
        && let Some(switch) = switch.as_mut()
    {
        // Nobody listens to a status here. A failure that nobody looks at should not wait for somebody
        // to pull the plug: start anew.
        if status == 0 {
            switch.power_off();
        } else {
            switch.reset();
        }
    }
    smp::sleep_for_good()
}

/// Sends what the console still has, and starts the machine anew.
pub fn reset() -> ! {
    console::drain();
    if let Some(switch) = SWITCH.lock().as_mut() {
        switch.reset();
    }
    smp::sleep_for_good()
}
