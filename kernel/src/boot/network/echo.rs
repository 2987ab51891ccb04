//! What arrives goes back with its two addresses swapped, until a frame says "end".
//!
//! After a frame that says "rest", no transfer is armed any more until the device has been set up anew. The one that was
//! armed ends with the next frame, which is to say so too, and then the console tells. The emulator ends itself when a
//! device is pulled out of which a transfer is still asked (an assertion in its controller), so that this is how a test
//! can pull it out.
//!
//! Frames are handled as the kernel's own work will be: interrupts tell of them, the core sleeps otherwise, and the
//! timer is set for the next look.

use exopi_bsp::boards::{Network, USB_INTERRUPT};
use exopi_bsp::traits::{Clock, Ethernet, MOST_FRAME};

use super::{Counter, PATIENCE};
use crate::arch::smp::{self, Lock};
use crate::arch::timer;
use crate::console::log;
use crate::interrupts;
use crate::network::memory::Memory;

/// The type of frames that are for us (IEEE 802: for experiments within one site), and what ends the test.
const TYPE: [u8; 2] = [0x88, 0xb5];
const END: &[u8] = b"end";
const REST: &[u8] = b"rest";

struct State {
    interface: Network<Memory>,
    interrupts: u64,
}

static STATE: Lock<Option<State>> = Lock::new(None);

/// Serves the controller's interrupt.
pub fn serve() {
    if let Some(state) = STATE.lock().as_mut() {
        state.interrupts += 1;
        state.interface.serve(Counter.microseconds());
    }
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Frames sent back.
    returned: u64,
    /// Frames that say "rest", and how often the device had been set up at the first.
    rests: u64,
    restarts: u64,
    /// Ticks from the first frame to the last, and how many of them the core slept.
    busy: u64,
    asleep: u64,
}

/// Sends back what comes, and tells of it. It keeps the interface.
pub(super) fn run(interface: Network<Memory>) -> Option<Network<Memory>> {
    *STATE.lock() = Some(State {
        interface,
        interrupts: 0,
    });
    interrupts::enable(USB_INTERRUPT);
    let Outcome {
        returned,
        busy,
        asleep,
        ..
    } = echo();
    if let Some(state) = STATE.lock().as_ref() {
        let counters = state.interface.counters();
        let interrupts = state.interrupts;
        let [busy, asleep] = [busy, asleep].map(timer::microseconds);
        let idle = asleep * 100 / busy.max(1);
        log!(
            "echo: {returned} frames back, {interrupts} interrupts, {idle} % idle of {busy} us, {counters:?}"
        );
    }
    None
}

/// Sends frames back until one says that it is over, or none comes for long.
fn echo() -> Outcome {
    let mut outcome = Outcome::default();
    // When the first frame came and the last, and the ticks asleep before the last.
    let (mut first, mut last, mut asleep) = (None, timer::now(), 0);
    loop {
        interrupts::serve();
        let now = Counter.microseconds();
        let mut guard = STATE.lock();
        let Some(interface) = guard.as_mut().map(|state| &mut state.interface) else {
            return outcome;
        };
        if interface.next_look().is_some_and(|due| now >= due) {
            interface.serve(now);
        }
        if outcome.rests > 0 && interface.counters().restarts != outcome.restarts {
            outcome.rests = 0;
            interface.set_receiving(true, now);
            log!("echo: goes on");
        }
        let before = outcome.returned;
        let over = send_back(interface, &mut outcome, now);
        let count = outcome.returned - before;
        if count > 0 {
            last = timer::now();
            let begin = *first.get_or_insert(last);
            outcome.busy = last - begin;
            outcome.asleep = asleep;
        }
        if over || timer::microseconds(timer::now() - last) > PATIENCE {
            return outcome;
        }
        if count > 0 || interface.in_flight().received > 0 {
            continue;
        }
        let due = interface.next_look().unwrap_or(now + PATIENCE).max(now);
        drop(guard);
        let ticks = (due - now).saturating_mul(timer::frequency()) / 1_000_000;
        let begin = timer::now();
        timer::set_deadline(begin + ticks);
        smp::sleep();
        if first.is_some() {
            asleep += timer::now() - begin;
        }
    }
}

/// Sends back all that has arrived; whether one of them was the last.
fn send_back(interface: &mut Network<Memory>, outcome: &mut Outcome, now: u64) -> bool {
    loop {
        let flight = interface.in_flight();
        if flight.sending >= flight.sending_most {
            return false;
        }
        let mut frame = [0; MOST_FRAME];
        let mut length = 0;
        let some = interface.try_receive(|bytes| {
            length = bytes.len().min(frame.len());
            frame[..length].copy_from_slice(&bytes[..length]);
        });
        let Some(frame) = frame.get(..length).filter(|_| some) else {
            return false;
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
            return true;
        }
        if payload.starts_with(REST) {
            if outcome.rests == 0 {
                interface.set_receiving(false, now);
                outcome.restarts = interface.counters().restarts;
            } else {
                log!("echo: rests");
            }
            outcome.rests += 1;
        } else if interface.try_send(&[from, to, rest], now).is_ok() {
            outcome.returned += 1;
        }
    }
}
