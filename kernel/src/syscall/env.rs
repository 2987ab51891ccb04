//! Calls on environments.

use exopi_abi::domain::ObjectName;
use exopi_abi::{Error, PageNumber, Progress, UserBytes, UserBytesMut, VirtAddr};
use exopi_domains::{STATE_BOUND, Subject, Target};

use crate::arch::tables::Processor;
use crate::arch::{context, timer, uarea, user};
use crate::environment::{leave_if_dying, renew, settle, settle_yield, sweep};
use crate::kernel::lock;

pub(super) fn create(
    by: &Subject,
    space: Target<'_>,
    uarea: PageNumber,
    at: VirtAddr,
) -> Result<ObjectName, Error> {
    let mut kernel = lock();
    let name = kernel.env_create(&mut Processor, by, space, uarea, at)?;
    context::fill(&kernel, name.index);
    Ok(name)
}

pub(super) fn run(by: &Subject, environment: Target<'_>) -> Result<(), Error> {
    lock().env_run(by, environment)
}

pub(super) fn stop(by: &Subject, environment: Target<'_>) -> Result<(), Error> {
    let mut kernel = lock();
    kernel.env_stop(by, environment)?;
    settle(kernel);
    Ok(())
}

pub(super) fn yield_to(by: &Subject, to: Target<'_>) -> Result<(), Error> {
    let mut kernel = lock();
    kernel.env_yield(by, to, timer::now())?;
    settle_yield(kernel);
    sweep();
    Ok(())
}

pub(super) fn keep(by: &Subject, environment: Target<'_>, bit: u64) -> Result<(), Error> {
    lock().env_keep(by, environment, bit)
}

pub(super) fn debug(by: &Subject, environment: Target<'_>, on: u64) -> Result<(), Error> {
    let mut kernel = lock();
    let name = kernel.env_debug(by, environment, on)?;
    renew(&kernel, name);
    Ok(())
}

pub(super) fn destroy(by: &Subject, environment: Target<'_>) -> Progress {
    let mut kernel = lock();
    let progress = kernel.env_destroy(&mut Processor, by, environment);
    leave_if_dying(kernel);
    progress
}

pub(super) fn read(
    by: &Subject,
    environment: Target<'_>,
    offset: u64,
    into: &UserBytesMut<'_>,
) -> Progress {
    let mut buffer = [0; STATE_BOUND as usize];
    let found = {
        let kernel = lock();
        let window = kernel.env_read(by, environment, offset, into.length());
        window.map(|window| uarea::read_frame(&window, &mut buffer))
    };
    match found {
        Ok(contents) => user::progress(user::copy_out(contents, into), contents.len() as u64),
        Err(error) => Progress::refused(error),
    }
}

pub(super) fn write(
    by: &Subject,
    environment: Target<'_>,
    offset: u64,
    from: &UserBytes<'_>,
) -> Progress {
    let mut buffer = [0; STATE_BOUND as usize];
    let copied = user::copy_in(from, &mut buffer);
    let contents = buffer.get(..copied).unwrap_or_default();
    let kernel = lock();
    match kernel.env_write(by, environment, offset, from.length()) {
        Ok(window) => {
            let written = uarea::write_frame(&window, contents);
            user::progress(written, window.length)
        }
        Err(error) => Progress::refused(error),
    }
}
