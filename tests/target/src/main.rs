//! The suites that run at EL0 on the target: the kernel as a hostile program sees it.
//!
//! It prints the line protocol of `exopi-protocol`. Boot arguments: `suite=NAME` runs one suite,
//! `case=TEXT` the cases whose names contain it; without them everything runs.
//!
//! * `harness`: cases, their selection, what is printed. A case that loses a page fails.
//! * `checkpoint`: where it waits to be looked at from outside.
//! * `catch`: faults, both those that a case provokes and those that end it.
//! * `area`: pages mapped for a case, and given back after it.
//! * `counters`: all that is exposed of what is in use. `crew`: environments that run at the same time as a case.
//! * `domain`: who this program is. `granted`: capabilities, genuine and not.
//! * `machine`: calls with every register in view, by instructions written at run time.
//! * `second`: another environment, which owns nothing, to make calls.
//! * `other`: other environments.
//! * `peer`: programs to talk with.
//! * `suites`: the cases.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "a hostile program: bad instructions, addresses and registers are its trade"
    )
)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[macro_use]
mod harness;
#[cfg(target_os = "none")]
mod area;
#[cfg(target_os = "none")]
#[macro_use]
mod catch;
#[cfg(target_os = "none")]
mod checkpoint;
#[cfg(target_os = "none")]
mod counters;
#[cfg(target_os = "none")]
mod crew;
#[cfg(target_os = "none")]
mod domain;
#[cfg(target_os = "none")]
mod granted;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod other;
#[cfg(target_os = "none")]
mod peer;
#[cfg(target_os = "none")]
mod second;
#[cfg(target_os = "none")]
mod suites;

#[cfg(target_os = "none")]
exopi_rt::entry!(main);

#[cfg(target_os = "none")]
use harness::main;

/// Off target there is nothing to test.
#[cfg(not(target_os = "none"))]
fn main() {}
