//! What each core has of its own, at the very top of its stack.
//!
//! An exception from EL0 finds the core's stack empty, so SP *is* the address of its [`Core`]: the
//! vectors reach every field by an offset from SP, without a register of their own. Rust code finds
//! it through `TPIDR_EL1`. Only the core itself ever writes its record.
#![expect(
    unsafe_code,
    reason = "TPIDR_EL1 holds the address of this core's record"
)]

use core::cell::Cell;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use aarch64_cpu::registers::{MPIDR_EL1, Readable, TPIDR_EL1, Writeable};
use exopi_abi::calls::Entry;
use exopi_abi::capability::Epoch;
use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName};
use exopi_abi::exposed::{CoreCounters, Event};
use exopi_abi::page::Owner;
use exopi_abi::uarea::UArea;
use exopi_domains::Subject;
use exopi_pages::Space;

use super::context::{self, Context};
use super::switch::guard;
use super::timer;
use super::uarea::OwnUArea;
use crate::arch::{mmu, vectors};
use crate::exposed;

/// Number of a core: 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreNumber(usize);

impl CoreNumber {
    /// The core that runs this.
    pub fn current() -> Self {
        // Affinity level 0 of this processor is the core (Cortex-A53 TRM, 4.3.2).
        Self((MPIDR_EL1.get() & 3) as usize)
    }

    /// All cores that the board has, whether they came up or not.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..exposed::MAX_CORES).map(Self)
    }

    /// As an index.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// A core's record. The vectors know its layout.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Core {
    /// Where the vectors put x16 and x17 to have room.
    scratch: [u64; 2],
    /// Always zero: registers are scrubbed two at a time by loading it.
    zero: [u64; 2],
    /// The syndrome of `svc #1`: what the first call is counted from.
    first_call: u64,
    /// This core's counters, which everybody can read.
    counters: *const CoreCounters,
    /// The call table.
    table: *const Entry,
    /// Where the kernel sees the u-area of the environment that runs here; null if none does.
    uarea: AtomicPtr<UArea>,
    /// What a fault must look at first: bits of [`guard`].
    guards: AtomicU64,
    /// Who runs here; [`context::NOBODY`] if nobody does. What a fault needs of it is in the fields above, too.
    current: AtomicPtr<Context>,
    /// The first of all contexts.
    contexts: u64,
    /// What the low half of the life word of one that runs here differs in from that of one that is ready, and light.
    part_light: u64,
    /// The low half of a life word of one that runs here.
    running: u64,
    /// What that differs in from the low half of one that is ready, and whose state was saved.
    part_saved: u64,
    /// What that differs in from the low half of one that sleeps and takes calls.
    claim: u64,
    /// When the turn that is under way here is at its end, in ticks, for which the timer is set; 0: nobody waits for it,
    /// or who runs here has been told.
    turn_end: Cell<u64>,
    /// Since when who runs here is to be charged, in ticks.
    since: AtomicU64,
    /// The number of the slice whose turn it is, as the turn began.
    turn_slice: Cell<u64>,
    /// The cores besides this one, by bit.
    elsewhere: u64,
    /// When this core is to do something else than to end the turn, in ticks; `u64::MAX`: nothing.
    alarm: Cell<u64>,
    /// How long who is told may stay after its turn's end, in ticks.
    limit: Cell<u64>,
    /// Top of the stack for exceptions that find the other one used up.
    emergency_stack: u64,
    /// Until when who was told to leave may keep this core although its slice is at its end; 0: nobody was.
    leaving: Cell<u64>,
    /// The [`ObjectName::word`](exopi_abi::domain::ObjectName::word) of who was told.
    told: Cell<u64>,
    number: u8,
    /// Whether another core has asked that the kernel look after who runs here.
    attention: Cell<bool>,
}

/// Address of the record of the core that runs this: `TPIDR_EL1`, and SP when an exception comes from
/// EL0.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct CoreAddress(u64);

/// Bytes of a stack slot: see kernel.ld.
pub const SLOT_BYTES: usize = 0x8000;
/// Where the emergency stack ends in a slot.
pub const EMERGENCY_TOP: usize = 0x3000;
/// Where the stack begins in a slot; the page below is unmapped.
pub const STACK_BOTTOM: usize = 0x4000;
/// Where the stack ends in a slot, and [`Core`] begins.
pub const STACK_TOP: usize = SLOT_BYTES - size_of::<Core>();

/// Offsets into [`Core`] for the vectors.
pub mod offset {
    use super::{Core, offset_of};

    pub const SCRATCH: usize = offset_of!(Core, scratch);
    pub const ZERO: usize = offset_of!(Core, zero);
    pub const FIRST_CALL: usize = offset_of!(Core, first_call);
    pub const COUNTERS: usize = offset_of!(Core, counters);
    /// The two are loaded as a pair.
    pub const COUNTERS_AND_TABLE: usize = COUNTERS;
    const _: () = assert!(offset_of!(Core, table) == COUNTERS + 8);
    /// The two are loaded as a pair.
    pub const UAREA_AND_GUARDS: usize = offset_of!(Core, uarea);
    const _: () = assert!(offset_of!(Core, guards) == UAREA_AND_GUARDS + 8);
    pub const CURRENT: usize = offset_of!(Core, current);
    /// The two are loaded as a pair.
    pub const CURRENT_AND_CONTEXTS: usize = CURRENT;
    const _: () = assert!(offset_of!(Core, contexts) == CURRENT + 8);
    pub const RUNNING: usize = offset_of!(Core, running);
    /// The two are loaded as a pair.
    pub const PART_LIGHT_AND_RUNNING: usize = offset_of!(Core, part_light);
    const _: () = assert!(RUNNING == PART_LIGHT_AND_RUNNING + 8);
    /// The two are loaded as a pair.
    pub const RUNNING_AND_PART_SAVED: usize = RUNNING;
    const _: () = assert!(offset_of!(Core, part_saved) == RUNNING + 8);
    pub const CLAIM: usize = offset_of!(Core, claim);
    pub const SINCE: usize = offset_of!(Core, since);
    /// The two are loaded as a pair.
    pub const TURN_END_AND_SINCE: usize = offset_of!(Core, turn_end);
    const _: () = assert!(SINCE == TURN_END_AND_SINCE + 8);
    /// The two are loaded as a pair.
    pub const TURN_SLICE_AND_ELSEWHERE: usize = offset_of!(Core, turn_slice);
    const _: () = assert!(offset_of!(Core, elsewhere) == TURN_SLICE_AND_ELSEWHERE + 8);
    /// The two are loaded as a pair.
    pub const ALARM_AND_LIMIT: usize = offset_of!(Core, alarm);
    const _: () = assert!(offset_of!(Core, limit) == ALARM_AND_LIMIT + 8);
    /// The two are stored as a pair.
    pub const LEAVING_AND_TOLD: usize = offset_of!(Core, leaving);
    const _: () = assert!(offset_of!(Core, told) == LEAVING_AND_TOLD + 8);
    pub const EMERGENCY_STACK: usize = offset_of!(Core, emergency_stack);
}

/// `ESR_EL1` after `svc #1` from AArch64: class 0x15, 32-bit instruction, immediate 1.
const SYNDROME_OF_SVC_1: u64 = 0x5600_0001;

impl Core {
    /// Fills in the record of the core that runs this, and makes it the core's own.
    pub fn init() {
        let number = CoreNumber::current();
        let slot = mmu::stack_slot(number);
        let core = (slot + STACK_TOP) as *mut Self;
        let word = |state, core| LifeWord::new(Epoch::NONE, state, core);
        let running = word(EnvironmentState::Running, number.index() as u8).bits();
        let takes_calls = word(EnvironmentState::Asleep, LifeWord::NOWHERE).with(LifeWord::LIGHT);
        let takes_calls = takes_calls.bits();
        let ready = word(EnvironmentState::Ready, LifeWord::NOWHERE);
        // SAFETY: kernel.ld keeps this place for this core's record: the boot code set SP just below
        // it, and no other core writes there.
        unsafe {
            core.write(Self {
                scratch: [0; 2],
                zero: [0; 2],
                first_call: SYNDROME_OF_SVC_1,
                counters: exposed::counters(number),
                table: vectors::table(),
                uarea: AtomicPtr::new(core::ptr::null_mut()),
                guards: AtomicU64::new(guard::VECTORS),
                current: AtomicPtr::new(context::nobody()),
                contexts: context::table(),
                part_light: running ^ ready.with(LifeWord::LIGHT).bits(),
                running,
                part_saved: running ^ ready.bits(),
                claim: running ^ takes_calls,
                turn_end: Cell::new(0),
                since: AtomicU64::new(0),
                turn_slice: Cell::new(0),
                elsewhere: !(1 << number.index()),
                alarm: Cell::new(u64::MAX),
                limit: Cell::new(0),
                emergency_stack: (slot + EMERGENCY_TOP) as u64,
                leaving: Cell::new(0),
                told: Cell::new(0),
                number: number.index() as u8,
                attention: Cell::new(false),
            });
        }
        TPIDR_EL1.set(core as u64);
    }

    /// Where the record of the core that runs this lies.
    #[inline(always)]
    pub fn address() -> CoreAddress {
        CoreAddress(TPIDR_EL1.get())
    }

    /// The place just below this core's record, where the stack begins.
    pub fn below<T>() -> *mut T {
        (Self::address().0 as *mut T).wrapping_sub(1)
    }

    /// The record of the core that runs this.
    #[inline(always)]
    fn current() -> &'static Self {
        Self::at(Self::address())
    }

    #[inline(always)]
    fn at(address: CoreAddress) -> &'static Self {
        // SAFETY: `init` has put the address of this core's record in `TPIDR_EL1` before any other Rust
        // code of the kernel runs on the core, and the record is never moved. No other core ever has a
        // reference to it, and what changes in it is atomic or in a cell, but for `scratch`, which the
        // vectors alone look at.
        unsafe { &*(address.0 as *const Self) }
    }

    /// Makes the environment of `context` the one that runs here.
    pub fn take(context: &'static Context) {
        let core = Self::current();
        let uarea = context.uarea.load(Ordering::Relaxed);
        core.uarea.store(uarea, Ordering::Relaxed);
        let context = core::ptr::from_ref(context).cast_mut();
        core.current.store(context, Ordering::Relaxed);
        core.since.store(timer::now(), Ordering::Relaxed);
    }

    /// What this core does next by its timer: end the turn under way in slice `slice` at `end`, if that is not 0, and let
    /// who runs then stay for `limit` ticks more; and something else at `alarm`, if that is not `u64::MAX`.
    pub fn set_turn(end: u64, slice: u16, limit: u64, alarm: u64) {
        let core = Self::current();
        core.turn_end.set(end);
        core.turn_slice.set(slice.into());
        core.limit.set(limit);
        core.alarm.set(alarm);
    }

    /// The one that runs here has been told that its slice is at its end, and may stay until `limit`, in ticks; 0: it
    /// has not, or need not go.
    pub fn set_leaving(limit: u64) {
        let core = Self::current();
        core.leaving.set(limit);
        core.told.set(Self::caller().name.word());
    }

    /// Until when the one that runs here may stay, having been told to go; 0 if it has not been. Who has been given
    /// this core by another's transfer since has not.
    pub fn leaving() -> u64 {
        let core = Self::current();
        if core.told.get() == Self::caller().name.word() {
            core.leaving.get()
        } else {
            0
        }
    }

    /// Nobody runs here any more.
    pub fn vacate() {
        let core = Self::current();
        core.uarea.store(core::ptr::null_mut(), Ordering::Relaxed);
        core.current.store(context::nobody(), Ordering::Relaxed);
    }

    /// Charges who runs here with the time since that was last done.
    pub fn charge() {
        let core = Self::current();
        let now = timer::now();
        let since = core.since.swap(now, Ordering::Relaxed);
        if let Some(life) = Self::context().life() {
            let ticks = life.ticks.load(Ordering::Relaxed);
            let ticks = ticks.wrapping_add(now.wrapping_sub(since));
            life.ticks.store(ticks, Ordering::Relaxed);
        }
    }

    /// The context of who runs here; nobody's if nobody does.
    #[inline(always)]
    fn context() -> &'static Context {
        // SAFETY: one of the table's contexts, or nobody's, which are there for ever: see `take` and `vacate`.
        unsafe { &*Self::current().current.load(Ordering::Relaxed) }
    }

    /// The account that who runs here draws on.
    #[inline(always)]
    pub fn owner() -> Owner {
        Self::context().owner()
    }

    /// The name of who runs here.
    #[inline(always)]
    pub fn name() -> ObjectName {
        Self::context().name()
    }

    /// The space of who runs here and has made a call.
    #[inline(always)]
    pub fn space() -> Space {
        match Self::context().space() {
            Some(space) => space,
            None => unreachable!("a call from EL0 without an environment"),
        }
    }

    /// Who runs here, if anybody does.
    #[inline(always)]
    pub fn subject() -> Option<Subject> {
        Self::context().subject(Self::current().number)
    }

    /// Who runs here and has made a call or been interrupted.
    #[inline(always)]
    pub fn caller() -> Subject {
        match Self::subject() {
            Some(subject) => subject,
            None => unreachable!("an exception from EL0 without an environment"),
        }
    }

    /// The u-area of the environment that runs here. Only while one does.
    #[inline(always)]
    pub fn uarea() -> OwnUArea {
        Self::uarea_at(Self::address())
    }

    /// The same, for a caller that needs the record's address too and reads the register once.
    #[inline(always)]
    pub fn uarea_at(address: CoreAddress) -> OwnUArea {
        let place = Self::at(address).uarea.load(Ordering::Relaxed);
        // SAFETY: the u-area of an environment stays one while it runs: whoever destroys it waits until this
        // core has left it, and the core calls this only before it does.
        unsafe { OwnUArea::new(place) }
    }

    /// Where the environment that runs here sees its u-area; 0 if none does.
    pub fn uarea_user() -> u64 {
        Self::context().uarea_user.load(Ordering::Relaxed)
    }

    /// Sets a bit of [`guard`]; whether it was clear.
    pub fn raise_guard(bit: u64) -> bool {
        let guards = &Self::current().guards;
        let before = guards.load(Ordering::Relaxed);
        guards.store(before | bit, Ordering::Relaxed);
        before & bit == 0
    }

    /// Whether a bit of [`guard`] is set.
    pub fn has_guard(bit: u64) -> bool {
        Self::current().guards.load(Ordering::Relaxed) & bit != 0
    }

    /// Clears a bit of [`guard`]; whether it was set.
    pub fn lower_guard(bit: u64) -> bool {
        let guards = &Self::current().guards;
        let before = guards.load(Ordering::Relaxed);
        guards.store(before & !bit, Ordering::Relaxed);
        before & bit != 0
    }

    /// The kernel shall look after who runs here before it returns to EL0.
    pub fn ask_attention() {
        Self::current().attention.set(true);
    }

    /// Whether it shall; asked once, it is not told again.
    pub fn take_attention() -> bool {
        Self::current().attention.replace(false)
    }

    /// This core's counters.
    #[inline(always)]
    pub fn counters() -> &'static CoreCounters {
        // SAFETY: `init` got it from `exposed`, whose records live as long as the kernel.
        unsafe { &*Self::current().counters }
    }
}

/// Adds one to a counter of this core's. Nobody else writes it, so no exclusive access is needed.
#[inline(always)]
pub fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Counts `event`, in builds with feature `count` alone.
#[inline(always)]
pub fn count_event(event: Event) {
    if cfg!(feature = "count") {
        count(&Core::counters().events[event as usize]);
    }
}
