//! The suites, and what must be there before they run.

mod accounts;
mod batches;
mod book;
mod calls;
mod capabilities;
mod caveats;
mod console;
mod exposed;
mod files;
mod frames;
mod giving;
mod hammer;
mod hostile;
mod ipc;
mod isolation;
mod keeping;
mod mapping;
mod memory;
mod msgrings;
mod notices;
mod pages;
mod pressure;
mod replay;
mod revocation;
mod rights;
mod runtime;
mod sched;
mod slices;
mod spaces;
mod superpages;
mod switching;
mod tables;
mod thousand;
mod timed;
mod transfers;
mod upcalls;
mod vm;
mod window;

use exopi_rt::println;

use crate::harness::Suite;
use crate::machine;

/// All suites, in the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    exposed::SUITE,
    memory::SUITE,
    console::SUITE,
    upcalls::SUITE,
    pages::SUITE,
    mapping::SUITE,
    tables::SUITE,
    window::SUITE,
    superpages::SUITE,
    batches::SUITE,
    capabilities::SUITE,
    caveats::SUITE,
    accounts::SUITE,
    giving::SUITE,
    runtime::SUITE,
    rights::SUITE,
    isolation::SUITE,
    book::SUITE,
    calls::SUITE,
    hostile::SUITE,
    switching::SUITE,
    notices::SUITE,
    keeping::SUITE,
    transfers::SUITE,
    slices::SUITE,
    timed::SUITE,
    spaces::SUITE,
    revocation::SUITE,
    pressure::SUITE,
    thousand::SUITE,
    ipc::SUITE,
    msgrings::SUITE,
    files::SUITE,
    frames::filters::SUITE,
    frames::rings::SUITE,
    frames::sending::SUITE,
    frames::ending::SUITE,
    vm::SUITE,
    hammer::SUITE,
    sched::SUITE,
    replay::SUITE,
];

/// Takes what lasts: the page of code, an address space with regions, and a heap on one that no case needs
/// to grow.
pub(crate) fn prepare() {
    vm::prepare();
    frames::prepare();
    memory::grow_heap();
    files::prepare();
    vm::settle();
    if let Err(error) = machine::prepare() {
        println!("no page of code: {error}");
    }
    memory::settle_heap();
}
