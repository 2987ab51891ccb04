//! Calls on the console.

use exopi_abi::{Error, Progress, UserBytes, UserBytesMut};

use crate::arch::user;
use crate::console;

/// Most bytes that one call moves: what fits the kernel's stack with ease, and its time.
const MOST: usize = 256;

/// How far a copy came, as a call tells it: a short one means that memory was not there.
fn progress(done: usize, wanted: u64) -> Progress {
    let stopped = (done == 0 && wanted > 0).then_some(Error::BadAddress);
    Progress {
        done: done as u64,
        stopped,
    }
}

pub(super) fn write(bytes: &UserBytes<'_>) -> Progress {
    let mut buffer = [0; MOST];
    let copied = user::copy_in(bytes, &mut buffer);
    if copied == 0 {
        return progress(0, bytes.length());
    }
    let taken = console::write(&buffer[..copied]);
    Progress {
        done: taken as u64,
        stopped: None,
    }
}

pub(super) fn read(into: &UserBytesMut<'_>) -> Progress {
    let mut buffer = [0; MOST];
    let wanted = into.length().min(MOST as u64) as usize;
    let waiting = console::peek(&mut buffer[..wanted]);
    let delivered = user::copy_out(&buffer[..waiting], into);
    console::consume(delivered);
    progress(delivered, waiting as u64)
}
