//! The rows: what a round of each is.
//!
//! Rows that take something give it back outside the measured part, so that rounds are alike.

use core::sync::atomic::Ordering;

use exopi_rt::page::{FrameType, Owner, PageRecord};
use exopi_rt::registers::{Argument, Arguments, Reply};
use exopi_rt::{
    Access, Call, Error, Object, PageNumber, PageSelect, PageSource, VirtAddr, exposed, memory,
};

use crate::authority;
use crate::measure::{self, Sample};
use crate::{handing, messages, pipe, slices, transfer, vm, wire};

/// Rounds of a row.
pub(crate) const ROUNDS: u64 = 1000;

/// What the rounds of a row gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Name in the benchmark table.
    pub(crate) name: &'static str,
    /// The round that took least.
    pub(crate) least: Sample,
    /// Instructions of the round that took most.
    pub(crate) most: u64,
}

impl Row {
    /// Runs the rounds, after some that are not counted.
    pub(crate) fn measured(
        name: &'static str,
        mut round: impl FnMut() -> Result<Sample, Error>,
    ) -> Result<Self, Error> {
        for _ in 0..4 {
            round()?;
        }
        let least = round()?;
        let mut row = Self {
            name,
            least,
            most: least.instructions,
        };
        for _ in 1..ROUNDS {
            let sample = round()?;
            row.most = row.most.max(sample.instructions);
            if sample.instructions < row.least.instructions {
                row.least = sample;
            }
        }
        Ok(row)
    }
}

/// A row of the table: its name, and how it is measured.
pub(crate) type Measured = (&'static str, fn(&'static str) -> Result<Row, Error>);

/// Every row, in the order of the table.
pub(crate) const ROWS: &[Measured] = &[
    ("null_call", null_call),
    ("fault_entry", |name| {
        Row::measured(name, || Ok(measure::undefined().entry))
    }),
    ("fault_roundtrip", |name| {
        Row::measured(name, || Ok(measure::undefined().roundtrip))
    }),
    ("svc0_reflect", |name| {
        Row::measured(name, || Ok(measure::svc0().entry))
    }),
    ("irq_upcall", slices::irq_upcall),
    ("slice_switch", slices::slice_switch),
    ("map_own", map_own),
    ("map_one", authority::map_one),
    ("cap_caveat", authority::cap_caveat),
    ("map_batch_page", authority::map_batch_page),
    ("unmap_one", unmap_one),
    ("page_alloc", page_alloc),
    ("page_alloc_zeroed", page_alloc_zeroed),
    ("cap_mint", authority::cap_mint),
    ("fault_map", authority::fault_map),
    ("env_create_destroy", authority::env_create_destroy),
    ("yield_to", handing::yield_to),
    ("ctx_switch", handing::ctx_switch),
    ("pct_oneway", transfer::oneway),
    ("pct_roundtrip", transfer::roundtrip),
    ("pct_roundtrip_fp", transfer::roundtrip_fp),
    ("pct_api", transfer::api),
    ("pipe_roundtrip", pipe::roundtrip),
    ("msgring_send", messages::send),
    ("msgring_receive", messages::receive),
    ("dpf_insert_1000", wire::insertion),
    ("trap", vm::trap),
    ("prot1", vm::prot1),
    ("prot100", vm::prot100),
    ("unprot100", vm::unprot100),
    ("appel1", vm::appel1),
    ("appel2", vm::appel2),
    ("demand_zero", vm::demand_zero),
];

/// The rows that need an adapter whose cable leads back.
pub(crate) const NETWORK: &[Measured] = &[("tx_frame", wire::send), ("rx_path", wire::receive)];

/// The refusal in a reply.
pub(crate) fn refused(reply: Reply) -> Result<(), Error> {
    reply.error().map_or(Ok(()), Err)
}

fn null_call(name: &'static str) -> Result<Row, Error> {
    Row::measured(name, || {
        // SAFETY: the call does nothing.
        let (sample, reply) = unsafe { measure::call::<{ Call::null as u16 }>([0; 6]) };
        refused(reply).map(|()| sample)
    })
}

/// Where pages are mapped to be measured: nothing else is there.
pub(crate) const WINDOW: u64 = 0x20_0000_0000;

/// Puts the window's tables in place; they stay.
///
/// # Errors
/// No pages are left for them.
pub(crate) fn prepare() -> Result<(), Error> {
    vm::prepare()?;
    memory::supply_tables(VirtAddr::new(WINDOW).ok_or(Error::BadAddress)?)
}

/// Maps `page` in the window.
fn timed_map(at: VirtAddr, page: PageNumber) -> Result<Sample, Error> {
    let mut words = Arguments::new([0; 6]);
    Object::Own.encode(&mut words);
    at.encode(&mut words);
    PageSource::owned(page).encode(&mut words);
    words.put(1);
    (Access::READ | Access::WRITE).encode(&mut words);
    // SAFETY: nothing is mapped there, and the kernel maps over nothing.
    let (sample, reply) = unsafe { measure::call::<{ Call::insert_pte as u16 }>(words.words()) };
    refused(reply).map(|()| sample)
}

/// Unmaps what is in the window.
fn timed_unmap(at: VirtAddr) -> Result<Sample, Error> {
    let mut words = Arguments::new([0; 6]);
    Object::Own.encode(&mut words);
    at.encode(&mut words);
    words.put(1);
    // SAFETY: nobody uses the window.
    let (sample, reply) = unsafe { measure::call::<{ Call::remove_pte as u16 }>(words.words()) };
    refused(reply).map(|()| sample)
}

/// Measures rounds of mapping and unmapping, each of which gives both samples.
fn mapping(name: &'static str, pick: fn([Sample; 2]) -> Sample) -> Result<Row, Error> {
    let at = VirtAddr::new(WINDOW).ok_or(Error::BadAddress)?;
    let page = memory::take_page()?;
    let row = Row::measured(name, || Ok(pick([timed_map(at, page)?, timed_unmap(at)?])));
    memory::give_page(page)?;
    row
}

fn map_own(name: &'static str) -> Result<Row, Error> {
    mapping(name, |[map, _]| map)
}

fn unmap_one(name: &'static str) -> Result<Row, Error> {
    mapping(name, |[_, unmap]| unmap)
}

/// Takes exactly `page`.
fn timed_alloc(page: PageNumber) -> Result<Sample, Error> {
    let mut words = Arguments::new([0; 6]);
    PageSelect::Exact(page).encode(&mut words);
    words.put(1);
    // SAFETY: a page that is allocated is mapped nowhere.
    let (sample, reply) = unsafe { measure::call::<{ Call::page_alloc as u16 }>(words.words()) };
    refused(reply).map(|()| sample)
}

/// One page again and again: its contents are this program's, so nothing is zeroed.
fn page_alloc(name: &'static str) -> Result<Row, Error> {
    let page = memory::take_page()?;
    memory::give_page(page)?;
    Row::measured(name, || {
        let sample = timed_alloc(page)?;
        memory::give_page(page)?;
        Ok(sample)
    })
}

/// Another page each time, which this program has never had.
fn page_alloc_zeroed(name: &'static str) -> Result<Row, Error> {
    let me = owner()?;
    let mut numbers = 0..u32::try_from(exposed::page_count()).unwrap_or(u32::MAX);
    let foreign = |record: PageRecord| record.kind == FrameType::Free && record.owner != me;
    Row::measured(name, || {
        let page = numbers
            .by_ref()
            .map(PageNumber::new)
            .find(|page| exposed::page(*page).is_some_and(foreign))
            .ok_or(Error::Exhausted)?;
        let sample = timed_alloc(page)?;
        memory::give_page(page)?;
        Ok(sample)
    })
}

/// Whom this program's pages are charged to.
pub(crate) fn owner() -> Result<Owner, Error> {
    let page = memory::take_page()?;
    let owner = exposed::page(page).map(|record| record.owner);
    memory::give_page(page)?;
    owner.ok_or(Error::OutOfRange)
}

/// Instructions from the kernel's entry to the first one at EL0, as the exposed region has noted it.
///
/// The clock has a tick of 16 instructions, which is the figure's resolution.
pub(crate) fn boot_to_el0() -> u64 {
    let machine = exposed::machine();
    instructions_in(machine.first_el0_ticks - machine.entry_ticks)
}

/// Longest time that the kernel's lock was held since boot, all rows before this included.
pub(crate) fn max_lock_hold() -> u64 {
    let header = exposed::header();
    instructions_in(header.longest_hold_ticks.load(Ordering::Relaxed))
}

/// Longest time that interrupts were masked since boot, likewise.
pub(crate) fn max_irq_masked() -> u64 {
    let header = exposed::header();
    instructions_in(header.longest_masked_ticks.load(Ordering::Relaxed))
}

/// Instructions in so many ticks: a nanosecond each, in the emulator under `-icount shift=0`.
fn instructions_in(ticks: u64) -> u64 {
    ticks * 1_000_000_000 / exposed::machine().ticks_per_second.max(1)
}
