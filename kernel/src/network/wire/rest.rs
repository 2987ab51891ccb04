//! A pause in receiving, in builds with feature `selftest` alone, for the test that pulls the adapter out under a program.
//!
//! After a frame that says "rest", no transfer is armed any more until the device has been set up anew. The one that was
//! armed ends with the next frame, which is to say so too and to be sent when the first one has been seen; then the console
//! tells. The emulator ends itself when a device is pulled out of which a transfer is still asked (an assertion in its
//! controller).

use exopi_bsp::boards::Network;
use exopi_bsp::traits::Ethernet;

use crate::console::log;
use crate::network::memory::Memory;

/// Where a frame's type begins, and what it says: for experiments within one site (IEEE 802), and the word.
const TYPE: usize = 12;
const REST: &[u8] = b"\x88\xb5rest";

/// What has been asked for.
#[derive(Default)]
pub(super) struct Rest {
    /// Frames that say so, and how many of them have been followed.
    asked: u64,
    followed: u64,
    /// How often the device had been set up at the first.
    restarts: u64,
}

impl Rest {
    /// A frame has come.
    pub(super) fn see(&mut self, frame: &[u8]) {
        let says = frame.get(TYPE..).is_some_and(|rest| rest.starts_with(REST));
        self.asked += u64::from(says);
    }

    /// Does what was asked for.
    pub(super) fn follow(&mut self, device: &mut Network<Memory>, microseconds: u64) {
        let restarts = device.counters().restarts;
        if self.followed > 0 && restarts != self.restarts {
            *self = Self::default();
            device.set_receiving(true, microseconds);
            log!("network: goes on");
        }
        if self.asked == self.followed {
            return;
        }
        if self.followed == 0 {
            device.set_receiving(false, microseconds);
            // Whatever came with it, a transfer is armed.
            (self.asked, self.restarts) = (1, restarts);
        } else {
            log!("network: rests");
        }
        self.followed = self.asked;
    }
}
