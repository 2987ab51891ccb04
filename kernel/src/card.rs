//! The card's slot: its memory, its interrupt, and what the boot report says of the card.
//!
//! No call reads or writes blocks yet: the boot looks for a card, and a self-test uses it.
#![expect(unsafe_code, reason = "memory that a device reads and writes")]

use core::cell::UnsafeCell;
use core::ops::Range;

use exopi_bsp::block::{BlockDevice, SECTOR, Segment, SegmentMemory};
use exopi_bsp::boards::{BUS_ALIAS, CARD_INTERRUPT, CARD_MEMORY, CardParts, CardSlot, Pins};
use exopi_bsp::dma::{DmaMemory, LINE};
use exopi_bsp::traits::{Clock, Firmware, Source};

use crate::arch::smp::Lock;
use crate::arch::{cache, mmu, timer};
use crate::console::log;
use crate::interrupts;

/// The interrupt that [`serve`] is for.
pub const INTERRUPT: Source = CARD_INTERRUPT;

/// How long the boot waits for a card that is there, in microseconds: three set-ups of a card that never gets ready.
const PATIENCE: u64 = 4_000_000;
/// What the boot waits for in one go while it looks for a card, in microseconds.
const SOON: u64 = 100;
/// What devices reach: all of RAM.
const REACH: u64 = 0x4000_0000;

/// What the DMA engine is told, in lines of its own.
#[repr(C, align(64))]
struct BlockMemory(UnsafeCell<[u8; CARD_MEMORY]>);

const _: () = assert!(align_of::<BlockMemory>() == LINE);

// SAFETY: `Blocks` is the only way to it, and there is one.
unsafe impl Sync for BlockMemory {}

static BLOCKS: BlockMemory = BlockMemory(UnsafeCell::new([0; CARD_MEMORY]));

/// The memory in which the engine is told what to do.
pub struct Blocks(());

impl Blocks {
    /// Where a range is, if it is inside; or else an empty one.
    fn place(range: &Range<usize>) -> (*mut u8, usize) {
        let inside = range.start <= range.end && range.end <= CARD_MEMORY;
        let (start, length) = match inside {
            true => (range.start, range.end - range.start),
            false => (0, 0),
        };
        (BLOCKS.0.get().cast::<u8>().wrapping_add(start), length)
    }
}

impl DmaMemory for Blocks {
    fn len(&self) -> usize {
        CARD_MEMORY
    }

    fn bus_address(&self) -> u32 {
        mmu::physical_of_image(BLOCKS.0.get() as usize) as u32 | BUS_ALIAS
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: the place is inside the memory, to which this borrowed value is the only way; the driver asks for no
        // range that the engine writes.
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
        self.clean(range);
    }
}

/// The memory of requests: RAM, as it appears in the linear window.
///
/// Who starts a request vouches for its segments: they are RAM that nothing else uses until the completion.
pub struct Memory {
    /// Physical address from which on devices reach nothing.
    reach: u64,
}

impl SegmentMemory for Memory {
    fn bus_address(&self, segment: &Segment) -> Option<u32> {
        let end = segment.at.checked_add(segment.bytes() as u64)?;
        (end <= self.reach).then_some(segment.at as u32 | BUS_ALIAS)
    }

    fn clean(&mut self, segment: &Segment) {
        cache::clean_and_invalidate(mmu::linear(segment.at), segment.bytes());
    }

    fn invalidate(&mut self, segment: &Segment) {
        // Dropping what was never written back could lose a neighbour's; cleaning it first cannot: it is done before the
        // device writes, and after that there is nothing to be written back.
        self.clean(segment);
    }

    fn load(&self, at: u64, words: &mut [u32; SECTOR / 4]) {
        let from = mmu::linear(at) as *const [u32; SECTOR / 4];
        // SAFETY: a sector of a segment that is lent to the device, of which whoever started the request vouches that it is
        // RAM that nobody else writes.
        *words = unsafe { from.read_volatile() };
    }

    fn store(&mut self, at: u64, words: &[u32; SECTOR / 4]) {
        let to = mmu::linear(at) as *mut [u32; SECTOR / 4];
        // SAFETY: as above, and that nobody else uses.
        unsafe { to.write_volatile(*words) };
    }
}

struct Counter;

impl Clock for Counter {
    fn microseconds(&self) -> u64 {
        now()
    }
}

/// The time that the slot goes by, in microseconds.
pub fn now() -> u64 {
    timer::microseconds(timer::now())
}

/// The slot, and how often it has interrupted.
pub struct Slot {
    device: CardSlot<Blocks, Memory>,
    interrupts: u64,
}

static SLOT: Lock<Option<Slot>> = Lock::new(None);

/// Puts the slot together and begins to look for a card. The time for which a card's supply must be stable then passes
/// while the boot does other things; [`report`] does the rest.
// Its large frame is gone from the boot's stack when it returns.
#[inline(never)]
pub fn begin(parts: CardParts, pins: &mut Pins, firmware: &mut impl Firmware) {
    let mut device = parts.assemble(pins, firmware, Blocks(()), Memory { reach: REACH });
    device.look_for_medium(now());
    device.settle(&Counter, PATIENCE, SOON);
    *SLOT.lock() = Some(Slot {
        device,
        interrupts: 0,
    });
}

/// Waits until it is known whether there is a card.
pub fn settle() {
    if let Some(slot) = SLOT.lock().as_mut() {
        slot.device.settle(&Counter, PATIENCE, PATIENCE);
    }
    interrupts::enable(INTERRUPT);
}

/// Tells what card there is, as soon as that is known.
#[inline(never)]
pub fn report() {
    settle();
    let found = SLOT
        .lock()
        .as_ref()
        .and_then(|slot| slot.device.medium().zip(slot.device.details()));
    let Some((medium, details)) = found else {
        log!("card: none");
        return;
    };
    let mib = medium.sectors / ((1 << 20) / SECTOR as u64);
    let name = str::from_utf8(&details.product).unwrap_or_default();
    let writes = if medium.read_only { ", read only" } else { "" };
    let (kind, lines, mhz) = (medium.kind, details.lines, details.hertz / 1_000_000);
    log!("card: {mib} MiB {kind}, {name:?}, {lines} data lines, at most {mhz} MHz{writes}");
}

/// Serves the controller's interrupt.
pub fn serve() {
    if let Some(slot) = SLOT.lock().as_mut() {
        slot.interrupts = slot.interrupts.wrapping_add(1);
        slot.device.serve(now());
    }
}

#[cfg(feature = "selftest")]
pub use on_request::with;

/// What a self-test asks of the slot.
#[cfg(feature = "selftest")]
mod on_request {
    use exopi_bsp::block::{BlockCounters, Completion, Medium, Request, StartError};
    use exopi_bsp::drivers::sd::commands::Command;
    use exopi_bsp::drivers::sd::controller::{Controller, Failure, Job, Progress, Segments};

    use super::{BlockDevice, SLOT, Slot, now};

    /// Does something with the slot, if it was put together.
    pub fn with<R>(work: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        SLOT.lock().as_mut().map(work)
    }

    impl Slot {
        /// The medium.
        pub fn medium(&self) -> Option<Medium> {
            self.device.medium()
        }

        /// How often it has interrupted.
        pub fn interrupts(&self) -> u64 {
            self.interrupts
        }

        /// What became of requests.
        pub fn counters(&self) -> BlockCounters {
            self.device.counters()
        }

        /// Begins a request.
        ///
        /// # Errors
        /// As of [`BlockDevice::start`].
        ///
        /// # Safety
        /// The request's segments are RAM in the linear window, to which there is no reference, and which nothing else
        /// uses until the completion.
        pub unsafe fn start(&mut self, request: &Request<'_>) -> Result<(), StartError> {
            self.device.start(request, now())
        }

        /// The completion, after what is due was done; or when to look again.
        pub fn look(&mut self) -> Result<Completion, Option<u64>> {
            let now = now();
            if self.device.next_look().is_some_and(|due| now >= due) {
                self.device.serve(now);
            }
            let due = self.device.next_look();
            self.device.take_completion().ok_or(due)
        }

        /// Whether the processor moves all data from now on.
        pub fn leave_engine(&mut self, leave: bool) {
            let memory = self.device.controller_mut().memory_mut();
            memory.reach = if leave { 0 } else { super::REACH };
        }

        /// Sends the card a command without memory, past all checks, and waits for what it says to it.
        pub fn say(&mut self, command: Command) -> Option<Failure> {
            let controller = self.device.controller_mut();
            controller.begin(Job::Exchange(command), now());
            loop {
                match controller.look(&Segments::NONE, now()) {
                    Progress::Until(_) => core::hint::spin_loop(),
                    Progress::Done(_) => return None,
                    Progress::Failed(failure) => return Some(failure),
                }
            }
        }
    }
}
