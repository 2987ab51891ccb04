//! The interface with a cable: an Ethernet adapter on the USB host.
//!
//! ```text
//!   interrupt --serve--> the driver moves transfers on         its own lock, no other
//!                |
//!                '-- attention --> work, under the kernel lock: frames to rings, frames to the device
//! ```
//!
//! What the driver does at an interrupt, and what one step of work does, is bounded; what is left, the next step does.
//! A device that is slow, pulled out or lies costs frames: a transfer is never waited for. Receiving uses at most a share
//! of a core while somebody wants that: beyond it, frames stay in the driver's places, and with all of those
//! in use it asks the device for no more.

#[cfg(feature = "selftest")]
mod rest;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use exopi_abi::net::{InterfaceState, MAX_PIECES};
use exopi_bsp::boards::{FirmwareMailbox, Network, UsbController};
use exopi_bsp::bus::DmaBuffer;
use exopi_bsp::drivers::ethernet::nic::Kind;
use exopi_bsp::traits::{Ethernet, Firmware, Link, SendError};
use exopi_domains::Domains;
use exopi_frames::{Arrival, Books, Budget, Frames, Outgoing, Went};

use super::memory::Memory;
use super::{Linear, address, classify, with};
use crate::arch::core_data::Core;
use crate::arch::smp::Lock;
use crate::arch::timer;

/// Its number.
pub const NUMBER: usize = 1;
/// Most frames that one step receives, and most that it sends.
const MOST_AT_ONCE: usize = 4;
/// Share of a core that receiving may use while somebody wants it, in percent, and of what, in microseconds.
const SHARE: u64 = 20;
const PERIOD: u64 = 1_000;
/// No time.
const NEVER: u64 = u64::MAX;

struct Wire {
    device: Network<Memory>,
    budget: Budget,
    #[cfg(feature = "selftest")]
    rest: rest::Rest,
}

static WIRE: Lock<Option<Wire>> = Lock::new(None);
/// When to look at the latest, in ticks.
static DUE: AtomicU64 = AtomicU64::new(NEVER);
/// Whether an interrupt has come since it was looked, or something was left to do.
static ASKED: AtomicBool = AtomicBool::new(false);

fn ticks(microseconds: u64) -> u64 {
    const SECOND: u64 = 1_000_000;
    let (whole, rest) = (microseconds / SECOND, microseconds % SECOND);
    let ticks = whole.checked_mul(timer::frequency());
    // A frequency has 32 bits (ARM DDI 0487, CNTFRQ_EL0), so that the rest of a second does not overflow.
    let rest = rest.saturating_mul(timer::frequency()) / SECOND;
    ticks
        .and_then(|ticks| ticks.checked_add(rest))
        .unwrap_or(NEVER)
}

/// Puts the interface together, if the controller gets power. It comes up while other things happen.
// Its large frame is gone from the boot's stack when it returns.
#[inline(never)]
pub fn begin<D: DmaBuffer>(usb: UsbController, firmware: &mut FirmwareMailbox<D>, memory: Memory) {
    if firmware.power_usb().is_err() {
        return;
    }
    let address = firmware.mac_address().ok();
    take_over(Network::new(usb, memory, address, Kind::Rndis));
}

/// Goes on with an interface that a self-test has used.
#[cfg(feature = "selftest")]
pub fn adopt(device: Network<Memory>) {
    take_over(device);
}

fn take_over(device: Network<Memory>) {
    *WIRE.lock() = Some(Wire {
        device,
        budget: Budget::new(ticks(PERIOD), SHARE),
        #[cfg(feature = "selftest")]
        rest: rest::Rest::default(),
    });
    ASKED.store(true, Ordering::Relaxed);
}

/// Serves the controller's interrupt.
pub fn serve() {
    if let Some(wire) = WIRE.lock().as_mut() {
        wire.device.serve(timer::microseconds(timer::now()));
        ASKED.store(true, Ordering::Relaxed);
        Core::ask_attention();
    }
}

/// When there is something to do at the latest, in ticks, for the core that is interrupted for it.
pub fn due() -> Option<u64> {
    if ASKED.load(Ordering::Relaxed) {
        return Some(0);
    }
    let due = DUE.load(Ordering::Relaxed);
    (due != NEVER).then_some(due)
}

/// One bounded step of what is to be done at `now`, if anything. `wanted`: somebody could run on this core meanwhile.
pub fn work(domains: &mut Domains<'static>, now: u64, wanted: bool) -> bool {
    if due().is_none_or(|due| due > now) {
        return false;
    }
    let mut place = WIRE.lock();
    let Some(wire) = place.as_mut() else {
        DUE.store(NEVER, Ordering::Relaxed);
        ASKED.store(false, Ordering::Relaxed);
        return false;
    };
    ASKED.store(false, Ordering::Relaxed);
    with(domains, |frames, books| {
        wire.step(frames, books, now, wanted)
    });
    true
}

/// Gives frames that wait to the device, as far as it has places.
pub fn depart(frames: &mut Frames<'static>, books: &mut Books<'_, 'static>) {
    // Nothing waits if it is not up.
    if frames.next(NUMBER).is_none() {
        return;
    }
    let mut place = WIRE.lock();
    let Some(wire) = place.as_mut() else {
        return;
    };
    let now = timer::now();
    wire.send(frames, books, now);
    wire.plan(now, false, false);
}

impl Wire {
    fn step(
        &mut self,
        frames: &mut Frames<'static>,
        books: &mut Books<'_, 'static>,
        now: u64,
        wanted: bool,
    ) {
        self.look(now);
        self.follow(frames);
        let allowed = self.budget.allows(now, wanted);
        if allowed {
            self.receive(frames, books, now);
            self.budget.spend(now, timer::now());
        }
        #[cfg(feature = "selftest")]
        self.rest.follow(&mut self.device, timer::microseconds(now));
        let sends = self.send(frames, books, now);
        // Places that were taken off can be armed.
        self.look(now);
        self.plan(now, sends, !allowed);
    }

    /// Has the driver do what is due.
    fn look(&mut self, now: u64) {
        let now = timer::microseconds(now);
        if self.device.next_look().is_some_and(|due| now >= due) {
            self.device.serve(now);
        }
    }

    /// Tells when to go on.
    fn plan(&mut self, now: u64, more: bool, over_budget: bool) {
        let look = self.device.next_look().map_or(NEVER, ticks);
        let received = self.device.in_flight().received > 0;
        let resume = match (received, over_budget) {
            (true, true) => self.budget.resumes(),
            (true, false) => now,
            (false, _) => NEVER,
        };
        DUE.store(look.min(resume), Ordering::Relaxed);
        if more {
            ASKED.store(true, Ordering::Relaxed);
        }
    }

    /// Shows how the interface stands.
    fn follow(&self, frames: &mut Frames<'static>) {
        let state = match self.device.link() {
            Link::Up => InterfaceState::Up,
            Link::Down => InterfaceState::Down,
            Link::Absent => InterfaceState::Absent,
        };
        let address = self.device.address().map_or([0; 6], |address| address.0);
        frames.set_state(NUMBER, state, address);
    }

    fn receive(&mut self, frames: &mut Frames<'static>, books: &mut Books<'_, 'static>, time: u64) {
        let mut memory = Linear::new();
        for _ in 0..MOST_AT_ONCE {
            let some = self.device.try_receive(|frame| {
                #[cfg(feature = "selftest")]
                self.rest.see(frame);
                let arrival = Arrival {
                    interface: NUMBER,
                    frame,
                    time,
                };
                frames.deliver(arrival, classify(NUMBER, frame), &mut memory);
            });
            memory.tell_all(books.0);
            if !some {
                return;
            }
        }
    }

    /// Gives frames to the device; whether more wait that it has a place for.
    fn send(
        &mut self,
        frames: &mut Frames<'static>,
        books: &mut Books<'_, 'static>,
        now: u64,
    ) -> bool {
        let mut memory = Linear::new();
        for _ in 0..MOST_AT_ONCE {
            let Some(out) = frames.next(NUMBER) else {
                return false;
            };
            let token = out.token;
            let went = match self.take(&out, now) {
                Ok(()) => Went::Copied,
                // The transfer's end interrupts.
                Err(SendError::Full) => return false,
                Err(SendError::Length | SendError::Down) => Went::Lost,
            };
            frames.went(token, went, now, &mut memory, books);
            memory.tell_all(books.0);
        }
        frames.next(NUMBER).is_some()
    }

    /// Has the device copy a frame.
    fn take(&mut self, out: &Outgoing<'_>, now: u64) -> Result<(), SendError> {
        let mut pieces: [&[u8]; MAX_PIECES + 1] = [&[]; MAX_PIECES + 1];
        let [head, rest @ ..] = &mut pieces;
        *head = out.head;
        for (place, piece) in rest.iter_mut().zip(out.pieces) {
            let length = usize::from(piece.length);
            let Some(at) = address(piece.page, piece.offset.into(), length) else {
                return Err(SendError::Length);
            };
            // SAFETY: within a pinned page, which is RAM in the linear window and stays there. Its owner may write it
            // meanwhile: the driver copies these bytes and decides nothing by them.
            *place = unsafe { core::slice::from_raw_parts(at as *const u8, length) };
        }
        let now = timer::microseconds(now);
        self.device.try_send(&pieces, now)
    }
}
