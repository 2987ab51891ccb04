//! Calls on accounts.

use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::{Error, Progress};
use exopi_domains::{Subject, Target};

use crate::arch::tables::Processor;
use crate::environment::{leave_if_dying, renew};
use crate::kernel::lock;
use crate::network;

pub(super) fn create(
    by: &Subject,
    pages: u32,
    environments: u32,
    spaces: u32,
    accounts: u32,
    guaranteed: u32,
) -> Result<ObjectName, Error> {
    lock().account_create(by, pages, environments, spaces, accounts, guaranteed)
}

pub(super) fn allow(
    by: &Subject,
    account: Target<'_>,
    resource: Resource,
    amount: u32,
) -> Result<u64, Error> {
    lock().account_allow(by, account, resource, amount)
}

pub(super) fn bind(by: &Subject, account: Target<'_>) -> Result<(), Error> {
    let mut kernel = lock();
    kernel.account_bind(by, account)?;
    renew(&kernel, by.name);
    Ok(())
}

pub(super) fn destroy(by: &Subject, account: Target<'_>) -> Progress {
    let mut kernel = lock();
    // What the account has of filters and rings goes between the steps, whoever makes them.
    if network::is_untidy(&kernel) {
        network::tidy(&mut kernel);
    }
    let progress = kernel.account_destroy(&mut Processor, by, account);
    kernel.show_free_pages();
    leave_if_dying(kernel);
    progress
}
