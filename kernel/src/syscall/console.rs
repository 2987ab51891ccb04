//! Calls on the console, by the environment that owns it.

use exopi_abi::{Error, Progress, UserBytes, UserBytesMut};
use exopi_domains::{Subject, Target};

use crate::arch::user;
use crate::console;
use crate::kernel::lock;

/// Most bytes that one call moves: what fits the kernel's stack with ease, and its time.
const MOST: usize = 256;

/// Whether the caller owns the console. When its owner has died the first environment does, and takes it.
///
/// # Errors
/// [`Error::MissingRight`].
fn must_own(by: &Subject) -> Result<(), Error> {
    let owner = console::owner();
    if owner == by.name {
        return Ok(());
    }
    let kernel = lock();
    if kernel.is_first(by.name) && !kernel.lives(owner) {
        console::set_owner(by.name);
        Ok(())
    } else {
        Err(Error::MissingRight)
    }
}

pub(super) fn write(by: &Subject, bytes: &UserBytes<'_>) -> Progress {
    if let Err(error) = must_own(by) {
        return Progress::refused(error);
    }
    let mut buffer = [0; MOST];
    let copied = user::copy_in(bytes, &mut buffer);
    if copied == 0 {
        return user::progress(0, bytes.length());
    }
    let taken = console::write(&buffer[..copied]);
    Progress {
        done: taken as u64,
        stopped: None,
    }
}

pub(super) fn read(by: &Subject, into: &UserBytesMut<'_>) -> Progress {
    if let Err(error) = must_own(by) {
        return Progress::refused(error);
    }
    let mut buffer = [0; MOST];
    let wanted = into.length().min(MOST as u64) as usize;
    let waiting = console::peek(&mut buffer[..wanted]);
    let delivered = user::copy_out(&buffer[..waiting], into);
    console::consume(delivered);
    user::progress(delivered, waiting as u64)
}

pub(super) fn give(by: &Subject, to: Target<'_>) -> Result<(), Error> {
    must_own(by)?;
    // Under the lock, so that the new owner cannot have died before it is one.
    let kernel = lock();
    console::set_owner(kernel.console_give(by, to)?);
    Ok(())
}
