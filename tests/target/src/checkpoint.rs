//! Checkpoints: where the kernel is looked at from outside, and what it then may find in memory.
//!
//! After each suite the program waits, in its own code, for a byte on the console. Whoever follows it stops the
//! machine meanwhile and checks the kernel's invariants (`cargo exo check`), or has nothing to look at and
//! answers at once.

use alloc::format;

use exopi_protocol::Record;
use exopi_rt::capability::Kind;
use exopi_rt::{println, stubs, time};

/// Seconds after which it goes on by itself: somebody has booted it by hand and is reading along. A machine
/// that is stopped to be looked at does not count them.
const PATIENCE: u64 = 10;
/// How many times in a second it looks for the answer. In between it is not in the kernel, so that the machine
/// can be stopped where nothing is half done.
const LOOKS: u64 = 2000;

/// Says that `suite` is done, and waits.
pub(crate) fn reach(suite: &str) {
    // What a case has left unread is not the answer.
    while read() > 0 {}
    println!("{}", Record::Checkpoint { suite });
    let second = time::ticks_per_second();
    let begin = time::ticks();
    while time::ticks() - begin < PATIENCE * second {
        let look = time::ticks();
        while time::ticks() - look < second / LOOKS {
            time::relax();
        }
        if read() > 0 {
            return;
        }
    }
}

/// Says that a capability was minted that may lie in memory from now on, and be worth something.
pub(crate) fn granted(kind: Kind, index: u32, count: u32, rights: u16) {
    let kind = &format!("{kind:?}").to_lowercase();
    println!(
        "{}",
        Record::Grant {
            kind,
            index,
            count,
            rights,
        }
    );
}

/// Takes bytes from the console, and returns how many there were.
fn read() -> u64 {
    let mut bytes = [0; 64];
    stubs::console_read(bytes.as_mut_slice().into()).done
}
