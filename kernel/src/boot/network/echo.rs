//! What arrives goes back with its two addresses swapped, until a frame says "end".
//!
//! Frames are handled as the kernel's own work will be: interrupts tell of them, the core sleeps otherwise, and the
//! timer is set for the next look.

use exopi_bsp::boards::{Network, USB_INTERRUPT};
use exopi_bsp::traits::{Clock, Ethernet, MOST_FRAME};
use spin::mutex::TicketMutex;

use super::memory::Memory;
use super::{Counter, PATIENCE};
use crate::arch::{smp, timer};
use crate::console::log;
use crate::interrupts;

/// The type of frames that are for us (IEEE 802: for experiments within one site), and what ends the test.
const TYPE: [u8; 2] = [0x88, 0xb5];
const END: &[u8] = b"end";

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

/// Sends back what comes, and tells of it.
pub(super) fn run(interface: Network<Memory>) {
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
        let some = interface.try_receive(|bytes| {
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
