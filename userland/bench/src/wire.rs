//! The rows about frames and filters as programs meet them.
//!
//! [`insertion`] is about the interface whose cable leads back to it. The others want a cable at the adapter that leads
//! back: boot argument `rows=network`, and there they are the only rows.

use core::arch::asm;

use exopi_rt::domain::ObjectName;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::net::{
    self, Atom, Completion, EntrySize, Filter, InterfaceState, MOST_FRAME, Operation, Piece, Ring,
    Send, Width,
};
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{
    Access, Call, Error, ExitCode, Object, PageNumber, UserBytes, VirtAddr, exposed, memory,
    println, time,
};

use crate::measure::{self, Sample};
use crate::rows::{Row, refused};

/// The interface whose cable leads back to it, and the adapter.
const LOOPBACK: usize = 0;
pub(crate) const ADAPTER: usize = 1;
/// Where a ring is, and what is sent, far from all else.
const RING: u64 = 0x46_0000_0000;
const OUT: u64 = 0x46_4000_0000;
/// How long the adapter may take to come up, and a frame to come back, in microseconds.
const PATIENCE: u64 = 20_000_000;
/// Bytes of a short frame.
const SHORT: usize = 64;

/// Puts tables in place, which stay.
///
/// # Errors
/// No pages are left for them.
pub(crate) fn prepare() -> Result<(), Error> {
    for at in [RING, OUT] {
        memory::supply_tables(VirtAddr::new(at).ok_or(Error::BadAddress)?)?;
    }
    Ok(())
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

const US: u64 = 0x0a00_020f;
const PORT: u64 = 80;

/// Address and port of a connection's other end.
fn peer(number: u32) -> (u64, u64) {
    let address = 0x0a01_0000 + u64::from(number & 0xffff);
    (address, u64::from(40_000 + number * 7 % 1_000))
}

/// IPv4 without options and fragments, TCP, both addresses and both ports: those of a connection, or 0.
fn five_tuple(number: Option<u32>) -> [Atom; 4] {
    let value = |value| if number.is_some() { value } else { 0 };
    let (source, port) = peer(number.unwrap_or(0));
    [
        field(12, Width::Bits32, 0xffff_ff00, value(0x0800_4500)),
        field(20, Width::Bits32, 0x3fff_00ff, value(6)),
        field(26, Width::Bits64, u64::MAX, value(source << 32 | US)),
        field(34, Width::Bits32, 0xffff_ffff, value(port << 16 | PORT)),
    ]
}

/// A TCP segment of a connection, from an address to everybody; the rest is zeros.
fn segment(number: u32, from: [u8; 6], into: &mut [u8]) {
    let (source, port) = peer(number);
    let addresses = (source << 32 | US).to_be_bytes();
    let ports = ((port << 16 | PORT) as u32).to_be_bytes();
    let parts: [(usize, &[u8]); 6] = [
        (0, &[0xff; 6]),
        (6, &from),
        (12, &[0x08, 0x00, 0x45]),
        (23, &[6]),
        (26, &addresses),
        (34, &ports),
    ];
    into.fill(0);
    for (at, part) in parts {
        let places = into.iter_mut().skip(at);
        places.zip(part).for_each(|(place, byte)| *place = *byte);
    }
}

fn root(interface: usize) -> Result<Filter<'static>, Error> {
    Ok(Filter::Owned(net::root(interface).ok_or(Error::Stale)?))
}

/// Bytes of atoms, for a call that is measured.
fn bytes(atoms: &[Atom]) -> UserBytes<'_> {
    // SAFETY: an atom is three words without padding, of which each octet may be read.
    UserBytes::from(unsafe {
        core::slice::from_raw_parts(atoms.as_ptr().cast::<u8>(), size_of_val(atoms))
    })
}

/// The thousandth filter below one, of a connection each time that has had none.
pub(crate) fn insertion(name: &'static str) -> Result<Row, Error> {
    const BEFORE: u32 = 999;
    let root = root(LOOPBACK)?;
    let key = root.split(&five_tuple(None))?;
    let mut made = [ObjectName::from_word(0); BEFORE as usize];
    for (number, place) in (0..).zip(&mut made) {
        *place = root.insert(key, &five_tuple(Some(number)), None)?;
    }
    let mut number = BEFORE;
    let row = Row::measured(name, || {
        number += 1;
        let values = five_tuple(Some(number));
        let mut words = Arguments::new([0; 6]);
        root.object().encode(&mut words);
        words.put(key);
        bytes(&values).encode(&mut words);
        Object::Own.encode(&mut words);
        // SAFETY: the call reads the atoms.
        let (sample, reply) =
            unsafe { measure::call::<{ Call::dpf_insert as u16 }>(words.words()) };
        refused(reply)?;
        Filter::Owned(ObjectName::from_word(reply.value)).delete()?;
        Ok(sample)
    });
    for name in made {
        Filter::Owned(name).delete()?;
    }
    row
}

/// A page with a frame in it, and a send capability for the adapter.
struct Sending {
    page: PageNumber,
    at: VirtAddr,
    send: ObjectName,
    length: u16,
}

impl Sending {
    /// Frames of connection `number`, once the adapter is up. They must have its address as the sender's.
    fn new(number: u32, length: usize) -> Result<Self, Error> {
        let [a, b, c, d, e, f] = come_up()?;
        let at = VirtAddr::new(OUT).ok_or(Error::BadAddress)?;
        let page = memory::map_new(at, Access::READ | Access::WRITE)?;
        // SAFETY: the page was mapped there just now.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at.get() as *mut u8, MOST_FRAME) };
        segment(number, [a, b, c, d, e, f], bytes);
        let all = Send::Owned(net::first_send(ADAPTER).ok_or(Error::Stale)?);
        let high = u32::from_be_bytes([a, b, c, d]).into();
        let low = u16::from_be_bytes([e, f]).into();
        let send = all.refine(&[
            field(6, Width::Bits32, 0xffff_ffff, high),
            field(10, Width::Bits16, 0xffff, low),
        ])?;
        Ok(Self {
            page,
            at,
            send,
            length: length as u16,
        })
    }

    fn send(&self) -> Result<Sample, Error> {
        let piece = Piece {
            page: self.page,
            offset: 0,
            length: self.length,
            last: true,
        };
        let word = piece.into_word().to_ne_bytes();
        let mut words = Arguments::new([0; 6]);
        Object::Owned(self.send).encode(&mut words);
        UserBytes::from(&word[..]).encode(&mut words);
        Completion::Nowhere.encode(&mut words);
        // SAFETY: the call reads the word, and the page, which stays.
        let (sample, reply) = unsafe { measure::call::<{ Call::net_xmit as u16 }>(words.words()) };
        refused(reply).map(|()| sample)
    }

    fn close(self) -> Result<(), Error> {
        Send::Owned(self.send).delete()?;
        // SAFETY: nothing refers to it any more.
        unsafe { memory::unmap_and_give(self.at, self.page) }
    }
}

/// The adapter's address, once it is up.
///
/// # Errors
/// It is not in time.
pub(crate) fn come_up() -> Result<[u8; 6], Error> {
    let begin = time::ticks();
    while time::microseconds(time::ticks() - begin) < PATIENCE {
        let record = exposed::interface_at(ADAPTER).ok_or(Error::OutOfRange)?;
        if record.state == InterfaceState::Up {
            return Ok(record.address);
        }
        time::relax();
    }
    Err(Error::NotReady)
}

/// Filters of ten connections, and a ring for the last one's frames.
struct Receiving {
    filters: [ObjectName; Self::FILTERS as usize],
    ring: Ring,
}

impl Receiving {
    const FILTERS: u32 = 10;
    const LAST: u32 = Self::FILTERS - 1;

    fn new() -> Result<Self, Error> {
        let at = VirtAddr::new(RING).ok_or(Error::BadAddress)?;
        let ring = Ring::create(at, 4, EntrySize::WHOLE, None)?;
        let root = root(ADAPTER)?;
        let key = root.split(&five_tuple(None))?;
        let mut filters = [ObjectName::from_word(0); Self::FILTERS as usize];
        for (number, place) in (0..).zip(&mut filters) {
            let to = (number == Self::LAST).then_some(ring.name());
            *place = root.insert(key, &five_tuple(Some(number)), to)?;
        }
        Ok(Self { filters, ring })
    }

    /// Where the state of the entry stands that a frame of this number comes to.
    fn state(&self, frame: usize) -> u64 {
        let (page, offset) = self.ring.shape().place(frame);
        RING + page as u64 * PAGE_SIZE + offset as u64
    }

    fn close(self) -> Result<(), Error> {
        for filter in self.filters {
            Filter::Owned(filter).delete()?;
        }
        self.ring.close()
    }
}

/// Looks at a ring until a frame is there; how many instructions were executed meanwhile that are not of this loop: those of
/// interrupts. Nothing if the frame was there before.
fn interrupted(ring: &mut Ring, at: u64, length: usize) -> Result<Option<u64>, Error> {
    /// Looks after which none comes any more.
    const MOST: u64 = 1 << 32;
    /// Instructions of a look.
    const LOOK: u64 = 4;
    let (begin, end, left): (u64, u64, u64);
    // SAFETY: reads the counter and the state of the ring's next entry, which is mapped.
    unsafe {
        asm!(
            "mrs {begin}, pmccntr_el0",
            "2: ldr {state:w}, [{at}]",
            "subs {left}, {left}, #1",
            "ccmp {state:w}, #0, #0, ne",
            "b.eq 2b",
            "mrs {end}, pmccntr_el0",
            begin = out(reg) begin,
            end = out(reg) end,
            state = out(reg) _,
            left = inout(reg) MOST => left,
            at = in(reg) at,
            options(nostack),
        );
    }
    let entry = ring.take().ok_or(Error::Vacant)?;
    if entry.frame().len() != length {
        return Err(Error::BadCount);
    }
    let own = measure::overhead() + (MOST - left) * LOOK;
    Ok(Some(end - begin - own).filter(|interrupts| *interrupts > 0))
}

/// Which way of a frame is measured.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// Sends frames of a length, each of which comes back; what either way takes.
fn both_ways(name: &'static str, length: usize, which: Way) -> Result<Row, Error> {
    let sending = Sending::new(Receiving::LAST, length)?;
    let mut receiving = Receiving::new()?;
    let mut next = 0;
    let row = Row::measured(name, || {
        loop {
            let state = receiving.state(next);
            next += 1;
            let sent = sending.send()?;
            let before = measure::events();
            let instructions = interrupted(&mut receiving.ring, state, length)?;
            let events = measure::between(before, measure::events());
            match (which, instructions) {
                (Way::Out, _) => return Ok(sent),
                (Way::In, Some(instructions)) => {
                    return Ok(Sample {
                        instructions,
                        events,
                    });
                }
                // It came before the loop began.
                (Way::In, None) => {}
            }
        }
    });
    receiving.close()?;
    sending.close()?;
    row
}

/// A frame of the greatest length out.
pub(crate) fn send(name: &'static str) -> Result<Row, Error> {
    both_ways(name, MOST_FRAME, Way::Out)
}

/// A short frame in.
pub(crate) fn receive(name: &'static str) -> Result<Row, Error> {
    both_ways(name, SHORT, Way::In)
}

/// Frames that are timed, and how many are on their way at a time: as the kernel's self-test of the driver alone has it.
const LOOP: usize = 4_000;
const WINDOW: usize = 8;

/// Sends and receives, and tells how long it takes.
pub(crate) fn rates() -> ExitCode {
    for length in [SHORT, MOST_FRAME] {
        match prepare().and_then(|()| rate(length)) {
            Ok(microseconds) => println!(
                "rate: {LOOP} of {length} bytes sent and received in {microseconds} us: {}/s, {} KB/s",
                LOOP as u64 * 1_000_000 / microseconds.max(1),
                (LOOP * length) as u64 * 1_000 / microseconds.max(1),
            ),
            Err(error) => {
                println!("rate: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Sends frames that come back, some on their way at a time; how long it takes, in microseconds.
fn rate(length: usize) -> Result<u64, Error> {
    let sending = Sending::new(Receiving::LAST, length)?;
    let mut receiving = Receiving::new()?;
    let begin = time::ticks();
    let (mut sent, mut count, mut last) = (0, 0, begin);
    while count < LOOP {
        while sent < LOOP && sent - count < WINDOW {
            sending.send()?;
            sent += 1;
        }
        match receiving.ring.take() {
            Some(entry) if entry.frame().len() == length => {
                count += 1;
                last = time::ticks();
            }
            Some(_) => return Err(Error::BadCount),
            None if time::microseconds(time::ticks() - last) > PATIENCE => {
                return Err(Error::Vacant);
            }
            None => {}
        }
    }
    let microseconds = time::microseconds(last - begin);
    receiving.close()?;
    sending.close()?;
    Ok(microseconds)
}
