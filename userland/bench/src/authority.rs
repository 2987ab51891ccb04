//! The rows about authority: capabilities, batches, spaces and environments.
//!
//! A kernel may remember capabilities that it has verified. What is measured here is one that it has never
//! seen: each round stamps the page anew and mints, which is not counted.

use exopi_rt::cap::PageCap;
use exopi_rt::capability::{Badge, Kind, PageRights};
use exopi_rt::domain::ObjectName;
use exopi_rt::pages::{self, Run};
use exopi_rt::registers::{Argument, Arguments, Reply, Value};
use exopi_rt::{
    Access, Call, Environment, Error, Object, Operation, PageNumber, PageSelect, PageSource, Space,
    TableLevel, VirtAddr, environment, memory,
};

use crate::measure::{self, Events, Sample};
use crate::rows::{Row, WINDOW, refused};

const RW: Access = Access::READ.union(Access::WRITE);
/// Pages of the row that divides by them: as many as one operation does.
const BATCH: u64 = 128;

/// Registers of arguments that are put one after the other.
pub(crate) struct Words(Arguments);

impl Words {
    pub(crate) fn new() -> Self {
        Self(Arguments::new([0; 6]))
    }

    pub(crate) fn with(mut self, argument: impl Argument) -> Self {
        argument.encode(&mut self.0);
        self
    }

    pub(crate) fn words(self) -> [u64; 6] {
        self.0.words()
    }
}

pub(crate) fn window() -> Result<VirtAddr, Error> {
    VirtAddr::new(WINDOW).ok_or(Error::BadAddress)
}

/// Takes pages that are given back after the work.
pub(crate) fn with_pages<T>(
    count: u64,
    work: impl FnOnce(Run<'static>) -> Result<T, Error>,
) -> Result<T, Error> {
    let run = Run::take_row(count)?;
    let outcome = work(run);
    run.free().unless_stopped()?;
    outcome
}

/// Maps the first page of `cap` in the window and takes the mapping away again; the first is measured.
fn mapped_by(cap: &PageCap) -> Result<Sample, Error> {
    let at = window()?;
    let run = cap.run(0).ok_or(Error::OutOfRange)?;
    let words = Words::new()
        .with(Object::Own)
        .with(at)
        .with(PageSource::Run(run));
    let words = words.with(1_u64).with(RW).words();
    // SAFETY: nothing is mapped there, and the kernel maps over nothing.
    let (sample, reply) = unsafe { measure::call::<{ Call::insert_pte as u16 }>(words) };
    refused(reply)?;
    // SAFETY: nobody uses the window.
    unsafe { memory::unmap(at) }?;
    Ok(sample)
}

/// A capability that nobody has seen for a page that was stamped just now.
fn fresh(run: Run<'static>) -> Result<PageCap, Error> {
    run.retire().unless_stopped()?;
    run.mint(PageRights::all())
}

/// One page by a capability without caveats, which the kernel reads from memory and verifies.
pub(crate) fn map_one(name: &'static str) -> Result<Row, Error> {
    with_pages(1, |run| Row::measured(name, || mapped_by(&fresh(run)?)))
}

/// What a caveat adds to that: the mean of one of each form, rounded up.
pub(crate) fn cap_caveat(name: &'static str) -> Result<Row, Error> {
    let me = environment::own().ok_or(Error::NotYours)?;
    let badge = Badge::new(1).ok_or(Error::Malformed)?;
    let rights = PageRights::READ | PageRights::WRITE;
    with_pages(1, |run| {
        let without = Row::measured(name, || mapped_by(&fresh(run)?))?;
        let with = Row::measured(name, || {
            let cap = fresh(run)?.keep(rights)?.badge(badge)?.only_for(me)?;
            mapped_by(&cap)
        })?;
        let more = |with: u64| with.saturating_sub(without.least.instructions).div_ceil(3);
        let mut row = with;
        row.least.instructions = more(with.least.instructions);
        row.least.events = Events::default();
        row.most = more(with.most);
        Ok(row)
    })
}

/// A page of a batch: one operation over 128 pages by one capability, its result written.
pub(crate) fn map_batch_page(name: &'static str) -> Result<Row, Error> {
    let at = window()?;
    with_pages(BATCH, |run| {
        Row::measured(name, || {
            let cap = fresh(run)?;
            let pages = cap.run(0).ok_or(Error::OutOfRange)?;
            let arguments = Words::new().with(at).with(PageSource::Run(pages));
            let [x0, x1, x2, x3, x4, _] = arguments.with(BATCH).with(RW).words();
            let mut operations = [Operation {
                call: Call::insert_pte.number().into(),
                arguments: [x0, x1, x2, x3, x4],
                ..Operation::default()
            }];
            let batch = Words::new().with(Object::Own);
            let words = batch
                .with(operations.as_mut_ptr() as u64)
                .with(1_u64)
                .with(0_u64);
            // SAFETY: nothing is mapped there, and the kernel maps over nothing.
            let (mut sample, reply) =
                unsafe { measure::call::<{ Call::pte_batch as u16 }>(words.words()) };
            refused(reply)?;
            // SAFETY: nobody uses the window.
            let removed = unsafe { Space::Own.remove(at, BATCH) };
            removed.unless_stopped()?;
            sample.instructions = sample.instructions.div_ceil(BATCH);
            Ok(sample)
        })
    })
}

/// A capability for a page of one's own, written to memory.
pub(crate) fn cap_mint(name: &'static str) -> Result<Row, Error> {
    with_pages(1, |run| {
        Row::measured(name, || {
            let mut words = [0_u64; 6];
            let what = Words::new()
                .with(Kind::Page)
                .with(u64::from(run.first().get()));
            let call = what.with(1_u64).with(1_u64).with(words.as_mut_ptr() as u64);
            // SAFETY: the kernel writes the six words and nothing else.
            let (sample, reply) =
                unsafe { measure::call::<{ Call::cap_mint as u16 }>(call.words()) };
            refused(reply).map(|()| sample)
        })
    })
}

/// A load that faults, whose handler maps a page of the program's own there.
pub(crate) fn fault_map(name: &'static str) -> Result<Row, Error> {
    let at = window()?;
    with_pages(1, |run| {
        Row::measured(name, || {
            let sample = measure::fault_map(at.get(), run.first());
            // SAFETY: nobody uses the window.
            unsafe { memory::unmap(at) }?;
            Ok(sample)
        })
    })
}

/// Adds what a call took to a sum, and gives its reply.
fn timed<const NUMBER: u16>(sum: &mut Sample, words: Words) -> Result<Reply, Error> {
    // SAFETY: the rows here make, change and end what nobody else uses.
    let (sample, reply) = unsafe { measure::call::<NUMBER>(words.words()) };
    sum.instructions += sample.instructions;
    for (sum, events) in sum.events.iter_mut().zip(sample.events) {
        *sum += events;
    }
    refused(reply)?;
    Ok(reply)
}

/// An environment in a new space, made and destroyed: the calls that it takes, on pages that are there.
fn environment_made(pages: [PageNumber; 6]) -> Result<Sample, Error> {
    let [root, table2, links2, table3, links3, uarea] = pages;
    let at = window()?;
    let mut sum = Sample {
        instructions: 0,
        events: Events::default(),
    };
    let reply = timed::<{ Call::space_create as u16 }>(&mut sum, Words::new().with(root))?;
    let space = Space::Owned(ObjectName::from_word(reply.value)).object();
    for (level, table, links) in [
        (TableLevel::Two, table2, links2),
        (TableLevel::Three, table3, links3),
    ] {
        let words = Words::new().with(space).with(at).with(level);
        timed::<{ Call::table_insert as u16 }>(&mut sum, words.with(table).with(links))?;
    }
    let words = Words::new().with(space).with(uarea).with(at);
    let reply = timed::<{ Call::env_create as u16 }>(&mut sum, words)?;
    let environment = Environment::Owned(<ObjectName as Value>::from_word(reply.value)).object();
    let mut begun = false;
    loop {
        let words = Words::new().with(environment);
        match timed::<{ Call::env_destroy as u16 }>(&mut sum, words) {
            Ok(reply) if reply.status >> 16 != 0 => return Ok(sum),
            Ok(_) => begun = true,
            // The kernel was first, on another core.
            Err(Error::NotYours) if begun => return Ok(sum),
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn env_create_destroy(name: &'static str) -> Result<Row, Error> {
    let mut pages = [PageNumber::new(0); 6];
    for page in &mut pages {
        *page = pages::take(PageSelect::Any)?;
    }
    let row = Row::measured(name, || environment_made(pages));
    for page in pages {
        memory::give_page(page)?;
    }
    row
}
