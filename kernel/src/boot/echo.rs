//! The network interface alone, before anything else runs: boot argument `selftest=echo`, in builds with feature
//! `selftest` alone. What arrives goes back with its two addresses swapped, until a frame says "end".
//!
//! `selftest=echo-cdc` is the same by CDC Ethernet, where a device has both. Frames are handled as the kernel's
//! own work will be: interrupts tell of them, the core sleeps otherwise, and the timer is set for the next look.
#![expect(unsafe_code, reason = "memory that a device writes to")]

use core::cell::UnsafeCell;
use core::ops::Range;

use exopi_bsp::boards::{
    BUS_ALIAS, FirmwareMailbox, NETWORK_MEMORY, Network, USB_INTERRUPT, UsbController,
};
use exopi_bsp::dma::DmaMemory;
use exopi_bsp::drivers::ethernet::nic::Kind;
use exopi_bsp::traits::{Clock, Ethernet, Firmware, MOST_FRAME};
use spin::mutex::TicketMutex;

use super::firmware::Message;
use super::selftest;
use crate::arch::{cache, mmu, smp, timer};
use crate::console::log;
use crate::interrupts;

/// How long the interface may take to come up, and how long frames may fail to come, in microseconds.
const PATIENCE: u64 = 15_000_000;
/// The type of frames that are for us (IEEE 802: for experiments within one site), and what ends the test.
const TYPE: [u8; 2] = [0x88, 0xb5];
const END: &[u8] = b"end";

/// Pages of the kernel's that the interface's controller reads and writes.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[u8; NETWORK_MEMORY]>);

// SAFETY: `Memory` is the only way to it, and there is one.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; NETWORK_MEMORY]));

/// The memory of the interface.
struct Memory(());

impl Memory {
    /// Where a range is, if it is inside; or else an empty one.
    fn place(range: &Range<usize>) -> (*mut u8, usize) {
        let inside = range.start <= range.end && range.end <= NETWORK_MEMORY;
        let (start, length) = match inside {
            true => (range.start, range.end - range.start),
            false => (0, 0),
        };
        (PAGES.0.get().cast::<u8>().wrapping_add(start), length)
    }
}

impl DmaMemory for Memory {
    fn len(&self) -> usize {
        NETWORK_MEMORY
    }

    fn bus_address(&self) -> u32 {
        mmu::physical_of_image(PAGES.0.get() as usize) as u32 | BUS_ALIAS
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: the place is inside the pages, to which this borrowed value is the only way; the driver asks for no
        // range that the device has.
        unsafe { core::slice::from_raw_parts(start, length) }
    }

    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: as above, and this value is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(start, length) }
    }

    fn clean(&mut self, range: Range<usize>) {
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }

    fn invalidate(&mut self, range: Range<usize>) {
        // Dropping what was never written back could lose it; cleaning it first cannot: it is done before the
        // device writes, and after that there is nothing to be written back.
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }
}

struct Counter;

impl Clock for Counter {
    fn microseconds(&self) -> u64 {
        timer::microseconds(timer::now())
    }
}

struct State {
    interface: Network<Memory>,
    interrupts: u64,
}

static STATE: TicketMutex<Option<State>> = TicketMutex::new(None);

/// Serves the controller's interrupt.
pub fn serve() {
    if let Some(state) = STATE.lock().as_mut() {
        state.interrupts += 1;
        state.interface.serve(Counter.microseconds());
    }
}

/// Does what the boot arguments ask for.
// Its large frame is gone from the boot's stack when it returns.
#[inline(never)]
pub(super) fn run(arguments: &[u8], usb: UsbController, mut firmware: FirmwareMailbox<Message>) {
    let best = match selftest::asked(arguments) {
        Some(b"echo") => Kind::Rndis,
        Some(b"echo-cdc") => Kind::Cdc,
        _ => return,
    };
    if let Err(error) = firmware.power_usb() {
        log!("echo: the USB controller gets no power: {error:?}");
        return;
    }
    let mut interface = Network::new(usb, Memory(()), firmware.mac_address().ok(), best);
    let begin = Counter.microseconds();
    let started = interface.start(&Counter, PATIENCE);
    let took = Counter.microseconds() - begin;
    let (Ok(()), Some(address), Some(kind)) = (started, interface.address(), interface.kind())
    else {
        log!("echo: no interface");
        return;
    };
    log!("echo: {kind:?} {address}, up after {took} us");
    *STATE.lock() = Some(State {
        interface,
        interrupts: 0,
    });
    interrupts::enable(USB_INTERRUPT);
    let returned = echo();
    if let Some(state) = STATE.lock().as_ref() {
        let counters = state.interface.counters();
        let interrupts = state.interrupts;
        log!("echo: {returned} frames back, {interrupts} interrupts, {counters:?}");
    }
}

/// Sends frames back until one says that it is over, or none comes for long; how many were.
fn echo() -> u64 {
    let mut returned = 0;
    let mut last = Counter.microseconds();
    loop {
        interrupts::serve();
        let now = Counter.microseconds();
        let mut guard = STATE.lock();
        let Some(interface) = guard.as_mut().map(|state| &mut state.interface) else {
            return returned;
        };
        if interface.next_look().is_some_and(|due| now >= due) {
            interface.serve(now);
        }
        let (count, over) = send_back(interface, now);
        returned += count;
        if count > 0 {
            last = now;
        }
        if over || now - last > PATIENCE {
            return returned;
        }
        if count > 0 || interface.in_flight().received > 0 {
            continue;
        }
        let due = interface.next_look().unwrap_or(now + PATIENCE).max(now);
        drop(guard);
        let ticks = (due - now).saturating_mul(timer::frequency()) / 1_000_000;
        timer::set_deadline(timer::now() + ticks);
        smp::sleep();
    }
}

/// Sends back all that has arrived, and whether one of them was the last.
fn send_back(interface: &mut Network<Memory>, now: u64) -> (u64, bool) {
    let mut count = 0;
    loop {
        let flight = interface.in_flight();
        if flight.sending >= flight.sending_most {
            return (count, false);
        }
        let mut frame = [0; MOST_FRAME];
        let mut length = 0;
        let some = interface.try_receive(&mut |bytes| {
            length = bytes.len().min(frame.len());
            frame[..length].copy_from_slice(&bytes[..length]);
        });
        let Some(frame) = frame.get(..length).filter(|_| some) else {
            return (count, false);
        };
        let Some((to, rest)) = frame.split_at_checked(6) else {
            continue;
        };
        let Some((from, rest)) = rest.split_at_checked(6) else {
            continue;
        };
        let Some(payload) = rest.strip_prefix(&TYPE) else {
            continue;
        };
        if payload.starts_with(END) {
            return (count, true);
        }
        if interface.try_send(&[from, to, rest], now).is_ok() {
            count += 1;
        }
    }
}
