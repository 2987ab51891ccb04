//! Calls of revocation.

use exopi_abi::revocation::{Answer, Wanted};
use exopi_abi::{Error, PageNumber};
use exopi_domains::{Clock, Subject, Target};

use crate::arch::tables::Processor;
use crate::arch::timer;
use crate::environment;
use crate::kernel::lock;

pub(super) fn request(
    by: &Subject,
    of: Target<'_>,
    wanted: Wanted,
    count: u32,
    [after, extension]: [u64; 2],
    bit: u64,
) -> Result<u64, Error> {
    let clock = Clock {
        now: timer::now(),
        second: timer::frequency(),
    };
    let mut kernel = lock();
    let asked = kernel.revoke_request(by, of, wanted, count, after, extension, bit, clock);
    // Whoever asks has the core on which the time is looked after at least.
    environment::set_timer(&kernel);
    asked
}

pub(super) fn answer(by: &Subject, serial: u64, answer: Answer) -> Result<(), Error> {
    lock().revoke_answer(by, serial, answer, timer::now())
}

pub(super) fn set_up(
    by: &Subject,
    vector: PageNumber,
    count: u64,
    order: PageNumber,
) -> Result<(), Error> {
    lock().revoke_setup(&mut Processor, by, vector, count, order)
}
