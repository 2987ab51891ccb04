//! What it takes to find a frame's filter, by the function that the kernel itself calls, and what the same takes by classic
//! BPF: boot argument `selftest=filters`. Rows of the benchmark table, for which the emulator must count
//! instructions (`-icount`).
//!
//! ```text
//!   dpf_N            classify(frame of the last of N filters), call and return in it
//!   dpf_growth       dpf_1000 less dpf_1
//!   bpf_instruction  what one of libpcap's instructions takes here, rounded up
//!   dpf_vs_bpf_100   what 100 programs of libpcap's take, one after the other, of which the last one takes the frame,
//!                    divided by dpf_100
//! ```
//!
//! A filter asks for Ethernet type, IPv4 without options and fragments, TCP, both addresses and both ports. A program
//! ([`bpf`]) does the same, but for options, which libpcap's compiler always allows: it looks how long the header is. The frame
//! has none.

use core::fmt::Display;
use core::hint::black_box;

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Atom, Operation, Program, Width, filter_index};
use exopi_domains::Subject;
use exopi_filter::FilterId;
use exopi_frames::{Claim, Frames};
use spin::mutex::TicketMutex;

mod bpf;

use crate::arch::pmu;
use crate::console::{self, log};
use crate::kernel;
use crate::network::{Arena, LOOPBACK, by, classify, with};

/// Filters among which a frame is classified.
const COUNTS: [usize; 4] = [1, 10, 100, 1000];
/// How many programs are run, one after the other.
const PROGRAMS: u32 = 100;
/// Frames of which each is measured by itself; the least is told.
const ROUNDS: usize = 50;
/// Our address, and that of a frame's sender but for its number.
const US: [u8; 4] = [10, 0, 2, 15];
const PEERS: [u8; 2] = [10, 1];
const PORT: u16 = 80;

type Frame = [u8; 54];

/// The programs: too large for a stack.
static OPPONENT: TicketMutex<[bpf::Words; PROGRAMS as usize]> =
    TicketMutex::new([[0; _]; PROGRAMS as usize]);

/// Address and port of a connection's other end.
fn peer(number: u32) -> ([u8; 4], u16) {
    let [_, _, high, low] = number.to_be_bytes();
    let [first, second] = PEERS;
    let port = 40_000 + number * 7 % 1_000;
    ([first, second, high, low], port as u16)
}

/// A TCP segment of a connection, without data.
fn segment(number: u32) -> Frame {
    let mut frame = [0; 54];
    let (source, port) = peer(number);
    let parts: [(usize, &[u8]); 6] = [
        (12, &[0x08, 0x00, 0x45]),
        (23, &[6]),
        (26, &source),
        (30, &US),
        (34, &port.to_be_bytes()),
        (36, &PORT.to_be_bytes()),
    ];
    for (at, part) in parts {
        frame
            .iter_mut()
            .skip(at)
            .zip(part)
            .for_each(|(place, byte)| *place = *byte);
    }
    frame
}

fn field(offset: u16, width: Width, mask: u64, value: u64) -> Atom {
    Operation::Equal {
        offset,
        width,
        mask,
        value,
    }
    .encode()
}

/// What a filter asks for, all values being 0, or those of a connection.
fn five_tuple(number: Option<u32>) -> [Atom; 4] {
    let value = |value| if number.is_some() { value } else { 0 };
    let (source, port) = peer(number.unwrap_or(0));
    let addresses = u64::from(u32::from_be_bytes(source)) << 32 | u64::from(u32::from_be_bytes(US));
    let ports = u64::from(port) << 16 | u64::from(PORT);
    [
        field(12, Width::Bits32, 0xffff_ff00, value(0x0800_4500)),
        field(20, Width::Bits32, 0x3fff_00ff, value(6)),
        field(26, Width::Bits64, u64::MAX, value(addresses)),
        field(34, Width::Bits32, 0xffff_ffff, value(ports)),
    ]
}

/// The name of a filter of the interface whose cable leads back to it.
fn name(frames: &Frames<'_>, number: usize) -> Option<ObjectName> {
    let record = frames.filters(LOOPBACK).get(number)?;
    let index = filter_index(LOOPBACK, number)?;
    let epoch = exopi_abi::capability::Epoch::from_low_bits(record.epoch);
    Some(ObjectName { index, epoch })
}

/// Measures and tells. The filters stay: nothing comes by that interface but what a program sends itself.
#[inline(never)]
pub(super) fn run(first: &Subject) {
    match measure(first) {
        Some(()) => log!("filters: measured"),
        None => log!("filters: a filter or a program was refused, or took the wrong frame"),
    }
}

fn measure(first: &Subject) -> Option<()> {
    let begin = pmu::instructions();
    let reading = pmu::instructions().wrapping_sub(begin);
    split(first).ok()?;
    let mut found = [FilterId::ROOT; COUNTS[COUNTS.len() - 1]];
    let mut costs = [0; COUNTS.len()];
    let mut made = 0;
    for (count, cost) in COUNTS.into_iter().zip(&mut costs) {
        for place in found.get_mut(made..count)? {
            *place = insert(first, made as u32)?;
            made += 1;
        }
        *cost = one(&found, made - 1, reading)?;
        row(&format_args!("dpf_{count}"), *cost, "instructions");
    }
    let [of_one, _, of_hundred, of_all] = costs;
    row(&"dpf_growth", of_all.saturating_sub(of_one), "instructions");
    // Whose place in the table was taken is found later, and who that is depends on the secrets.
    let (mut least, mut most) = (u32::MAX, 0);
    for number in 0..made {
        let cost = one(&found, number, reading)?;
        (least, most) = (least.min(cost), most.max(cost));
    }
    log!("filters: a frame of each of {made} takes {least} to {most}");
    against_bpf(reading, of_hundred)
}

/// What a frame of one of the filters takes.
fn one(filters: &[FilterId], number: usize, reading: u32) -> Option<u32> {
    let filter = *filters.get(number)?;
    let frame = segment(number as u32);
    let frame: &[u8] = black_box(&frame);
    least(reading, || {
        (classify(LOOPBACK, frame) == filter).then_some(())
    })
}

/// Splits the first filter by what [`five_tuple`] asks for.
fn split(first: &Subject) -> Result<usize, Error> {
    with(&mut kernel::lock(), |frames, books| {
        let root = name(frames, 0).ok_or(Error::OutOfRange)?;
        let asked = five_tuple(None);
        let key = Program::new(&asked).map_err(|_| Error::Malformed)?;
        frames.dpf_split(&by(first), Claim::Owned(root), key, books, &mut Arena)
    })
}

/// A filter for one more connection.
fn insert(first: &Subject, number: u32) -> Option<FilterId> {
    with(&mut kernel::lock(), |frames, books| {
        let root = Claim::Owned(name(frames, 0)?);
        let values = five_tuple(Some(number));
        let values = Program::new(&values).ok()?;
        let made = frames
            .dpf_insert(&by(first), root, 0, values, None, books)
            .ok()?;
        Some(FilterId(exopi_abi::net::filter_place(made.index).1 as u32))
    })
}

/// Runs as many programs one after the other as would have to be run.
fn against_bpf(reading: u32, of_hundred: u32) -> Option<()> {
    let last = segment(PROGRAMS - 1);
    let frame: &[u8] = black_box(&last);
    let mut executed = 0;
    let mut programs = OPPONENT.lock();
    for (number, place) in (0..).zip(programs.iter_mut()) {
        let (source, port) = peer(number);
        let program = bpf::five_tuple(source, port, US, PORT);
        *place = bpf::words(&program);
        executed += bpf::checked(&program, frame)?;
    }
    let cost = least(reading, || {
        let took = bpf::first(&*programs, frame);
        (took == Some(programs.len() - 1)).then_some(())
    })?;
    let each = u64::from(cost).div_ceil(executed.max(1));
    log!("filters: {PROGRAMS} programs, {executed} of libpcap's instructions in {cost}");
    row(&"bpf_instruction", each as u32, "instructions");
    row(&"dpf_vs_bpf_100", cost / of_hundred.max(1), "times");
    Some(())
}

/// Tells a row, if the emulator counts.
fn row(name: &dyn Display, value: u32, unit: &str) {
    let begin = pmu::instructions();
    if pmu::instructions() == begin {
        return;
    }
    console::print(format_args!("B {name} {value} {unit}\n"));
}

/// The fewest instructions that `work` takes, which must do what it is to each time.
fn least(reading: u32, mut work: impl FnMut() -> Option<()>) -> Option<u32> {
    let _domains = kernel::lock();
    let mut least = u32::MAX;
    for _ in 0..ROUNDS {
        let begin = pmu::instructions();
        let good = work();
        let end = pmu::instructions();
        good?;
        least = least.min(end.wrapping_sub(begin).wrapping_sub(reading));
    }
    Some(least)
}
