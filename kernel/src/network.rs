//! Frames of a network: what `exopi_frames` decides, on this machine.
//!
//! ```text
//!   a call --> kernel::lock --> with: its state, its accounts and pages (Books), and the memory of frames (Linear)
//!                                `--> code in the arena tells whose a frame is
//! ```
//!
//! Its state is behind a lock of its own, which only a core takes that has the kernel lock: so nobody ever waits
//! for it. There are two interfaces: one whose cable leads back to it, and one with a cable ([`wire`]).
#![expect(
    unsafe_code,
    reason = "frames lie in pages of programs, and code is run"
)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use exopi_abi::PageNumber;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::net::{InterfaceState, MAX_REFERENCES, MAX_TAPS};
use exopi_bsp::boards::USB_INTERRUPT;
use exopi_bsp::traits::Source;
use exopi_domains::{Domains, Subject};
use exopi_filter::{Arguments, FilterId, KeyId, MAX_CODE_WORDS, Secrets, Trie};
use exopi_frames::{Books, By, Code, Frames, Memory};

use crate::arch::smp::Lock;
use crate::arch::{arena, barrier, copy, mmu, timer};
use crate::kernel;

pub mod memory;
mod room;
mod wire;

pub use room::{BYTES, FILTERS, INTERFACES, RINGS, Room, SENDS};
#[cfg(feature = "selftest")]
pub use wire::adopt;
pub use wire::{begin, serve};

/// The interrupt that [`serve`] is for.
pub const INTERRUPT: Source = USB_INTERRUPT;
/// The interface whose cable leads back to it.
pub const LOOPBACK: usize = 0;
/// Its address: of the kind that anybody may choose (IEEE 802, 8.4), and no group's.
const LOOPBACK_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// Copies after which no more frames come in on that interface in one hold of the lock: what is left comes in the
/// next.
const MOST_COPIES: u64 = 12;
/// Most frames that one call sends.
pub const MOST_FRAMES: usize = 4;
/// Pieces after which a call sends no more.
pub const ENOUGH_PIECES: usize = 8;

/// Where the code of filters begins in the arena, what each interface has, and what a key has of that.
const CODE: usize = arena::BYTES as usize / 2;
const CODE_OF_INTERFACE: usize = CODE / 2;
const ENTRY: usize = 64;
const PIECE: usize = MAX_CODE_WORDS * size_of::<u32>();
const _: () = assert!(ENTRY + room::KEYS * PIECE <= CODE_OF_INTERFACE && PIECE.is_multiple_of(64));

static FRAMES: Lock<Frames<'static>> = Lock::new(Frames::none());
/// Whether there is something for [`tidy`] to do.
static UNTIDY: AtomicBool = AtomicBool::new(false);
/// Whether frames wait on the interface whose cable leads back to it.
static WAITS: AtomicBool = AtomicBool::new(false);
/// What code is called with, besides the frame, by interface.
static CALLED_WITH: CalledWith = CalledWith(UnsafeCell::new([[0; 5]; INTERFACES]));

/// Addresses of the pools of an interface's filters, and its secrets.
struct CalledWith(UnsafeCell<[[u64; 5]; INTERFACES]>);

// SAFETY: it is written and read by who has the kernel lock.
unsafe impl Sync for CalledWith {}

impl CalledWith {
    /// # Safety
    /// The caller has the kernel lock.
    unsafe fn set(&self, interface: usize, words: [u64; 5]) -> Option<()> {
        // SAFETY: the caller's lock keeps others away, and no reference outlives it.
        let all = unsafe { &mut *self.0.get() };
        *all.get_mut(interface)? = words;
        Some(())
    }

    /// # Safety
    /// As above.
    unsafe fn arguments(&self, interface: usize, frame: &[u8]) -> Option<Arguments> {
        // SAFETY: as above.
        let all = unsafe { &*self.0.get() };
        let [filters, slots, chunks, first, second] = *all.get(interface)?;
        Some(Arguments {
            frame: frame.as_ptr() as u64,
            length: frame.len() as u64,
            filters,
            slots,
            chunks,
            secrets: Secrets { first, second },
        })
    }
}

/// Who makes a call.
pub fn by(subject: &Subject) -> By {
    By {
        name: subject.name,
        owner: subject.owner,
    }
}

/// Does `work` on the state, the accounts and pages being `domains`, whose lock the caller has.
pub fn with<R>(
    domains: &mut Domains<'static>,
    work: impl FnOnce(&mut Frames<'static>, &mut Books<'_, 'static>) -> R,
) -> R {
    let mut frames = FRAMES.lock();
    let outcome = work(&mut frames, &mut Books(domains));
    UNTIDY.store(frames.is_untidy(), Ordering::Relaxed);
    outcome
}

/// Copies that were made of frames of the interface whose cable leads back to it.
fn copies(frames: &Frames<'static>) -> u64 {
    let record = frames.interfaces().get(LOOPBACK);
    record.map_or(0, |record| record.copies)
}

/// Lets frames come in that wait on the interface whose cable leads back to it, as many as a call can have sent, or until
/// enough copies were made of them.
fn arrive(frames: &mut Frames<'static>, books: &mut Books<'_, 'static>) {
    // Mostly nothing waits, and nothing is set up for it.
    if frames.next(LOOPBACK).is_none() {
        WAITS.store(false, Ordering::Relaxed);
        return;
    }
    let before = copies(frames);
    for _ in 0..MOST_FRAMES {
        if copies(frames).wrapping_sub(before) >= MOST_COPIES {
            break;
        }
        let classify = |_: &Trie<'_>, frame: &[u8]| classify(LOOPBACK, frame);
        let mut memory = Linear::new();
        let came = frames.loop_back(LOOPBACK, timer::now(), classify, &mut memory, books);
        memory.tell_all(books.0);
        if !came {
            break;
        }
    }
    let waits = frames.next(LOOPBACK).is_some();
    WAITS.store(waits, Ordering::Relaxed);
}

/// Has frames go on their way that a call has left waiting.
pub fn depart(frames: &mut Frames<'static>, books: &mut Books<'_, 'static>) {
    arrive(frames, books);
    wire::depart(frames, books);
}

/// When to look after interfaces at the latest, in ticks, on the core that is interrupted for them.
pub fn due(core: u8) -> Option<u64> {
    if core == 0 { wire::due() } else { None }
}

/// One bounded step of what interfaces have to do at `now`, if anything; `wanted`: somebody could run on this core
/// meanwhile. Whether there was something.
pub fn work(domains: &mut Domains<'static>, now: u64, wanted: bool) -> bool {
    if WAITS.load(Ordering::Relaxed) {
        with(domains, arrive);
        return true;
    }
    wire::work(domains, now, wanted)
}

/// Whether there may be something for [`tidy`] to do.
#[inline(always)]
pub fn is_untidy(domains: &Domains<'static>) -> bool {
    domains.has_closed() || UNTIDY.load(Ordering::Relaxed)
}

/// One bounded step of what environments and accounts that have ended leave behind.
pub fn tidy(domains: &mut Domains<'static>) {
    with(domains, |frames, books| {
        if let Some(index) = books.0.take_ended() {
            frames.environment_ended(index, books);
        } else if books.0.take_closing() {
            frames.account_closed();
        } else {
            frames.sweep(
                |books, name| books.0.lives(name),
                |books, owner| books.0.pays(owner),
                books,
            );
        }
    });
}

/// The filter that a frame comes to, by the code in the arena. The caller has the kernel lock.
pub fn classify(interface: usize, frame: &[u8]) -> FilterId {
    type Classify = extern "C" fn(u64, u64, u64, u64, u64, u64, u64) -> u32;
    // SAFETY: the caller has the kernel lock.
    let Some(arguments) = (unsafe { CALLED_WITH.arguments(interface, frame) }) else {
        return FilterId::ROOT;
    };
    let [x0, x1, x2, x3, x4, x5, x6] = arguments.registers();
    let entry = arena::ARENA + CODE + interface * CODE_OF_INTERFACE;
    // Another core may have written some of it since this one was last in an exception.
    barrier::instructions();
    // SAFETY: `init` has put the entry there, which has this signature (`exopi-filter`, "Convention"), and the kernel lock
    // keeps it and what it reads from being changed meanwhile.
    let code = unsafe { core::mem::transmute::<usize, Classify>(entry) };
    FilterId(code(x0, x1, x2, x3, x4, x5, x6))
}

/// The arena, in which each key of each interface has a place of its own.
#[derive(Debug)]
pub struct Arena;

impl Arena {
    fn write(interface: usize, offset: usize, words: &[u32]) -> Option<()> {
        let at = CODE + interface * CODE_OF_INTERFACE + offset;
        // SAFETY: the place is nobody else's, and nobody executes what lies there: a key has code written when no filter
        // declares it, and classification is under the kernel lock, which the caller has. Interrupts are masked
        // in the kernel.
        unsafe { arena::write(at, words) }.map(|_| ())
    }
}

impl Code for Arena {
    fn place(&mut self, interface: usize, key: KeyId, words: &[u32]) -> Option<u32> {
        let offset = ENTRY + usize::from(key.0) * PIECE;
        (words.len() <= MAX_CODE_WORDS).then_some(())?;
        Self::write(interface, offset, words)?;
        Some(offset as u32)
    }
}

/// Most rings that one frame is put into.
const MOST_TOLD: usize = MAX_REFERENCES + MAX_TAPS;

/// Pages in the linear window, and who is to be told of what one frame has brought there.
#[derive(Debug)]
pub struct Linear {
    told: [(ObjectName, u8); MOST_TOLD],
    count: usize,
}

impl Linear {
    /// Nobody is told.
    pub const fn new() -> Self {
        Self {
            told: [(ObjectName::from_word(0), 0); MOST_TOLD],
            count: 0,
        }
    }

    /// Leaves the notices. Whoever has ended since hears of nothing.
    fn tell_all(&mut self, domains: &mut Domains<'static>) {
        for (name, notice) in self.told.iter().take(self.count) {
            domains.post(*name, 1 << notice);
        }
        self.count = 0;
    }
}

/// Where octets of a page lie, if they lie in it.
fn address(page: PageNumber, offset: usize, length: usize) -> Option<usize> {
    let end = offset.checked_add(length)?;
    (end <= PAGE_SIZE as usize).then(|| mmu::linear_page(page) + offset)
}

/// A word of a page that programs write, too.
fn word32(page: PageNumber, offset: usize) -> Option<&'static AtomicU32> {
    let at = address(page, offset & !3, size_of::<u32>())? as *const AtomicU32;
    // SAFETY: a pinned page is RAM in the linear window, aligned, and stays there.
    Some(unsafe { &*at })
}

impl Memory for Linear {
    fn load(&self, page: PageNumber, offset: usize) -> u32 {
        word32(page, offset).map_or(u32::MAX, |word| word.load(Ordering::Acquire))
    }

    fn store(&mut self, page: PageNumber, offset: usize, value: u32) {
        if let Some(word) = word32(page, offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn write(&mut self, page: PageNumber, offset: usize, octets: &[u8]) {
        if let Some(at) = address(page, offset, octets.len()) {
            // SAFETY: within a pinned page, which is RAM in the linear window; nobody decides anything by what is there.
            copy::copy(
                unsafe { core::slice::from_raw_parts_mut(at as *mut u8, octets.len()) },
                octets,
            );
        }
    }

    fn read(&self, page: PageNumber, offset: usize, into: &mut [u8]) {
        if let Some(at) = address(page, offset, into.len()) {
            // SAFETY: as above.
            copy::copy(into, unsafe {
                core::slice::from_raw_parts(at as *const u8, into.len())
            });
        }
    }

    fn copy(&mut self, from: (PageNumber, usize), to: (PageNumber, usize), length: usize) {
        let places = address(from.0, from.1, length).zip(address(to.0, to.1, length));
        if let Some((from, to)) = places.filter(|(from, to)| from.abs_diff(*to) >= length) {
            // SAFETY: as above.
            let from = unsafe { core::slice::from_raw_parts(from as *const u8, length) };
            // SAFETY: as above, and the two do not overlap.
            let to = unsafe { core::slice::from_raw_parts_mut(to as *mut u8, length) };
            copy::copy(to, from);
        }
    }

    fn count(&mut self, page: PageNumber, offset: usize) {
        if let Some(at) = address(page, offset & !7, size_of::<u64>()) {
            // SAFETY: as above, and aligned.
            let word = unsafe { &*(at as *const AtomicU64) };
            let counted = word.load(Ordering::Relaxed).wrapping_add(1);
            word.store(counted, Ordering::Release);
        }
    }

    fn tell(&mut self, environment: ObjectName, notice: u8) {
        if let Some(place) = self.told.get_mut(self.count) {
            *place = (environment, notice % 32);
            self.count += 1;
        }
    }
}

/// Makes the interfaces, which are `first`'s, in `room`. Once, while core 0 boots. `secrets` are random.
///
/// # Errors
/// None on a machine with enough memory for the room.
pub fn init(first: &Subject, room: Room, secrets: [u64; 2]) -> Option<()> {
    let [first_secret, second] = secrets;
    let secrets = Secrets {
        first: first_secret,
        // A multiplier of 0 would hash everything alike.
        second: second | 1,
    };
    // What takes long is done without the kernel lock: nobody knows of an interface yet.
    let (frames, tries) = room.furnish();
    *FRAMES.lock() = frames;
    let mut domains = kernel::lock();
    domains.endow_with(Resource::Filters, room::MOST_FILTERS as u32);
    domains.endow_with(Resource::Frames, room::MOST_FRAMES as u32);
    drop(domains);
    let by = by(first);
    for (interface, (pools, records)) in tries.into_iter().enumerate() {
        let addresses = [
            pools.filters.as_ptr() as u64,
            pools.slots.as_ptr() as u64,
            pools.chunks.as_ptr() as u64,
        ];
        let trie = Trie::new(pools, secrets).ok()?;
        let mut buffer = [0; ENTRY / size_of::<u32>()];
        let entry = trie.emit_entry(&mut buffer).ok()?;
        Arena::write(interface, 0, entry)?;
        let [filters, slots, chunks] = addresses;
        let words = [filters, slots, chunks, secrets.first, secrets.second];
        with(&mut kernel::lock(), |frames, books| {
            // SAFETY: the kernel lock is held.
            unsafe { CALLED_WITH.set(interface, words) }?;
            let loopback = interface == LOOPBACK;
            frames
                .attach(interface, (trie, records), loopback, &by, books)
                .ok()?;
            if loopback {
                frames.set_state(interface, InterfaceState::Up, LOOPBACK_ADDRESS);
            }
            Some(())
        })?;
    }
    Some(())
}
