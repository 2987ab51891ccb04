//! Sends frames back to where they came from: a program on the bare interface, without a network stack.
//!
//! ```text
//!   wire --> filter "type 0x88b5" --> ring --> addresses swapped --> send capability --> wire
//! ```
//!
//! It splits the interface by types of frames, takes one type for itself and leaves all others to nobody. What it sends
//! must have its own address as the sender's, or the kernel refuses it. Nothing here calls the kernel for a frame that
//! comes: it looks at the ring.
//!
//! A frame that says "end" ends it; "rule" has it try to send with a wrong address. Boot arguments: `interface=N`, 1
//! unless said otherwise; `wait=MS` is how long the interface may take to come up, and frames to come.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use exopi_rt::net::{
    self, Atom, Completion, EntrySize, Filter, InterfaceRecord, InterfaceState, MOST_FRAME,
    Operation, Piece, Ring, Send, Width,
};
use exopi_rt::{Error, ExitCode, VirtAddr, args, exposed, memory, println, time};

mod out;

use out::Out;

exopi_rt::entry!(main);

/// The type of frames that are for us: for experiments within one site (IEEE 802, 9.2.3).
const TYPE: u16 = 0x88b5;
/// Where the ring is, and what is sent.
const RING: u64 = 0x40_0000_0000;
const OUT: u64 = 0x40_4000_0000;
/// Pages of the ring.
const PAGES: usize = 32;

fn main() -> ExitCode {
    let interface = args().parsed("interface").unwrap_or(1);
    let patience = 1000 * args().parsed::<u64>("wait").unwrap_or(20_000);
    let Some(record) = come_up(interface, patience) else {
        println!("reflect: interface {interface} is not up");
        return ExitCode::FAILURE;
    };
    match serve(interface, &record, patience) {
        Ok(()) => {
            println!("reflect: done");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("reflect: refused: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for a link.
fn come_up(interface: usize, patience: u64) -> Option<InterfaceRecord> {
    let begin = time::ticks();
    while time::microseconds(time::ticks() - begin) < patience {
        let record = exposed::interface_at(interface)?;
        if record.state == InterfaceState::Up {
            return Some(record);
        }
        time::relax();
    }
    None
}

fn field(offset: u16, width: Width, value: u64) -> Atom {
    let mask = width.ones();
    Operation::Equal {
        offset,
        width,
        mask,
        value,
    }
    .encode()
}

/// What came of it.
#[derive(Default)]
struct Counts {
    returned: u64,
    refused: u64,
    /// Looks at the ring that found nothing.
    idle: u64,
}

fn serve(interface: usize, record: &InterfaceRecord, patience: u64) -> Result<(), Error> {
    let root = Filter::Owned(net::root(interface).ok_or(Error::OutOfRange)?);
    let all = Send::Owned(net::first_send(interface).ok_or(Error::OutOfRange)?);
    let place = |at| VirtAddr::new(at).ok_or(Error::BadAddress);
    let mut ring = Ring::create(place(RING)?, PAGES, EntrySize::WHOLE, None)?;
    let key = root.split(&[field(12, Width::Bits16, 0)])?;
    let name = root.insert(
        key,
        &[field(12, Width::Bits16, TYPE.into())],
        Some(ring.name()),
    )?;
    let [a, b, c, d, e, f] = record.address;
    let mine = all.refine(&[
        field(6, Width::Bits32, u32::from_be_bytes([a, b, c, d]).into()),
        field(10, Width::Bits16, u16::from_be_bytes([e, f]).into()),
    ])?;
    let mut out = Out::new(place(OUT)?)?;
    println!("reflect: listening");
    let mut counts = Counts::default();
    let mut last = time::ticks();
    loop {
        let Some(entry) = ring.take() else {
            counts.idle += 1;
            time::relax();
            if time::microseconds(time::ticks() - last) > patience {
                break;
            }
            continue;
        };
        last = time::ticks();
        let Some((header, payload)) = entry.frame().split_at_checked(14) else {
            continue;
        };
        if payload.starts_with(b"end") {
            break;
        }
        let mut frame = [0; MOST_FRAME];
        let forged = payload.starts_with(b"rule");
        let from = if forged { [2; 6] } else { record.address };
        let parts = [&header[6..12], &from, &header[12..], payload];
        let length = fill(&mut frame, &parts);
        drop(entry);
        match out.send(Send::Owned(mine), frame.get(..length).unwrap_or_default()) {
            Ok(()) => counts.returned += 1,
            Err(Error::MissingRight) => counts.refused += 1,
            // The link went down meanwhile: frames may be lost.
            Err(Error::NotReady) => {}
            Err(error) => return Err(error),
        }
    }
    let told = exposed::ring_at(ring.name().index).ok_or(Error::OutOfRange)?;
    let Counts {
        returned,
        refused,
        idle,
    } = counts;
    let lost = told.lost;
    println!(
        "reflect: {returned} frames back, {refused} refused, {lost} lost, {idle} looks at nothing"
    );
    if let Some(now) = exposed::interface_at(interface) {
        println!("reflect: {now:?}");
    }
    Send::Owned(mine).delete()?;
    Filter::Owned(name).delete()?;
    ring.close()?;
    out.close()
}

/// Puts parts one behind the other; how long that is.
fn fill(frame: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut length = 0;
    for part in parts {
        if let Some(place) = frame.get_mut(length..length + part.len()) {
            place.copy_from_slice(part);
            length += part.len();
        }
    }
    length
}
