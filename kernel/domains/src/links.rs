//! Links: the gates of an environment, and what a control transfer leaves between a caller and its callee.
//!
//! ```text
//!   caller                                 callee
//!     gates[n]: whom, badge, rights          caller   who waits for its answer, or nobody
//!     callee    whom it waits for            rest     its life word before the call, which it has again afterwards
//!                                            pc, sp   where the caller goes on
//! ```
//!
//! A core makes and takes a link apart without the kernel lock as long as caller and callee stay on it: such a link
//! is **fast**, and the caller's life word still says "running here". As soon as the callee leaves the core in any
//! other way than by answering, the link becomes **slow**: the caller's word says that it waits, and
//! what follows happens under the lock. An environment that serves a fast call makes slow ones only, so that there
//! is never more than one fast link for a core.
//!
//! All is atomic for the sake of the compiler: a link has one writer at a time, who has claimed one of its ends by
//! that one's life word. Whom a word means is the kernel's to say ([`Places`]): it is an address, for assembly.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::transfer::GATES;

/// A gate: whom it leads to, in the form that is compared when it is used.
///
/// ```text
///   life   the life word that the callee has when it sleeps and takes calls; 0: not bound
///   tail   63        32 31  30      24 23        0
///          | offset    |  0 | rights  | badge     |
/// ```
///
/// *Offset* is how far the callee's place lies from that of environment 0.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Gate {
    /// The callee's life word when it sleeps and takes calls.
    pub life: AtomicU64,
    /// Offset, rights and badge.
    pub tail: AtomicU64,
}

impl Gate {
    /// Bit of the tail: the gate may call.
    pub const CALL_BIT: u32 = 24;
    /// Bit of the tail: the gate may give the core away.
    pub const SCHEDULE_BIT: u32 = 25;
    /// From here on the offset.
    pub const OFFSET_SHIFT: u32 = 32;
    /// The badge.
    pub const BADGE: u64 = (1 << Self::CALL_BIT) - 1;
}

/// The links of one environment.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Links {
    /// A [`Link`]: who waits for this one's answer.
    pub caller: AtomicU64,
    /// This one's life word before the call that it serves.
    pub rest: AtomicU64,
    /// Where the caller goes on.
    pub caller_pc: AtomicU64,
    /// The caller's stack pointer.
    pub caller_sp: AtomicU64,
    /// A [`Link`]: whose answer this one waits for.
    pub callee: AtomicU64,
    /// Where this one goes on behind a call that has failed, with which stack pointer and error; 1 if it takes
    /// single steps.
    failure: [AtomicU64; 4],
    /// Cores where this one has slices, by bit: a core that gives it up without the lock looks whether others are to hear
    /// of it.
    pub homes: AtomicU64,
    /// The gates.
    pub gates: [Gate; GATES],
}

impl Default for Links {
    fn default() -> Self {
        Self::blank()
    }
}

impl Links {
    /// All zeros: of no environment yet.
    pub const fn blank() -> Self {
        Self {
            caller: AtomicU64::new(0),
            rest: AtomicU64::new(0),
            caller_pc: AtomicU64::new(0),
            caller_sp: AtomicU64::new(0),
            callee: AtomicU64::new(0),
            failure: [const { AtomicU64::new(0) }; 4],
            homes: AtomicU64::new(0),
            gates: [const {
                Gate {
                    life: AtomicU64::new(0),
                    tail: AtomicU64::new(0),
                }
            }; GATES],
        }
    }

    /// Those of an environment that begins: it neither calls nor serves, and has bound no gate.
    pub(crate) fn clear(&self) {
        self.caller.store(Link::NOBODY.0, Ordering::Relaxed);
        self.callee.store(Link::NOBODY.0, Ordering::Relaxed);
        self.homes.store(0, Ordering::Relaxed);
        for gate in &self.gates {
            gate.life.store(0, Ordering::Relaxed);
            gate.tail.store(0, Ordering::Relaxed);
        }
    }

    /// Who waits for this one's answer.
    pub fn caller(&self) -> Link {
        Link(self.caller.load(Ordering::Relaxed))
    }

    /// Whose answer this one waits for.
    pub fn callee(&self) -> Link {
        Link(self.callee.load(Ordering::Relaxed))
    }

    /// Whether it waits for an answer.
    pub fn waits(&self) -> bool {
        self.callee() != Link::NOBODY
    }

    /// Where this one goes on behind a call that has failed: PC, SP, the error's code, and whether it steps.
    pub(crate) fn failure(&self) -> [u64; 4] {
        self.failure
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn set_failure(&self, failure: [u64; 4]) {
        for (word, value) in self.failure.iter().zip(failure) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// One end of a link as a word: the place of the other end, in whose lowest bits there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(u64);

impl Link {
    /// Set unless the link is fast.
    pub const SLOW: u64 = 1;
    const ONE: u64 = 2;
    const LOST: u64 = 4;
    const STEPS: u64 = 8;
    const FLAGS: u64 = Self::SLOW | Self::ONE | Self::LOST | Self::STEPS;

    /// There is none.
    pub const NOBODY: Link = Link(Self::SLOW);
    /// A call is served that nobody waits for.
    pub const ONE_WAY: Link = Link(Self::SLOW | Self::ONE);
    /// A call is served whose caller waits no more.
    pub const GONE: Link = Link(Self::SLOW | Self::LOST);

    /// The slow link to what is at `place`.
    pub const fn slow(place: u64) -> Self {
        Self(place | Self::SLOW)
    }

    /// The same of a caller that takes single steps if `steps`.
    #[must_use]
    pub const fn stepping(self, steps: bool) -> Self {
        Self(self.0 | if steps { Self::STEPS } else { 0 })
    }

    /// Whether the caller takes single steps, and one is due when it goes on.
    pub const fn steps(self) -> bool {
        self.0 & Self::STEPS != 0
    }

    /// The word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether it is a fast one.
    pub const fn is_fast(self) -> bool {
        self.0 & Self::SLOW == 0
    }

    /// The place of the other end, if there is one.
    pub const fn place(self) -> Option<u64> {
        match self.0 & !Self::FLAGS {
            0 => None,
            place => Some(place),
        }
    }
}

/// Where the links of environments are.
pub trait Places: Sync + core::fmt::Debug {
    /// The links of the environment at `index`, if there can be one.
    fn links(&self, index: u16) -> Option<&Links>;

    /// What words call the place of those links: a multiple of 64, and not 0.
    fn place(&self, index: u16) -> u64;

    /// The index of the environment whose links are at `place`.
    fn index(&self, place: u64) -> Option<u16>;
}

/// No links at all: of a kernel that does not know its board yet.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Places for Nowhere {
    fn links(&self, _: u16) -> Option<&Links> {
        None
    }

    fn place(&self, _: u16) -> u64 {
        0
    }

    fn index(&self, _: u64) -> Option<u16> {
        None
    }
}

/// Links of a simulated kernel, whose places are made up.
#[cfg(any(test, feature = "model"))]
#[derive(Debug)]
pub struct Table(std::vec::Vec<Links>);

#[cfg(any(test, feature = "model"))]
impl Table {
    /// Bytes from one place to the next.
    const STRIDE: u64 = 64;

    /// For so many environments.
    pub fn of(environments: usize) -> Self {
        Self((0..environments).map(|_| Links::blank()).collect())
    }
}

#[cfg(any(test, feature = "model"))]
impl Places for Table {
    fn links(&self, index: u16) -> Option<&Links> {
        self.0.get(usize::from(index))
    }

    fn place(&self, index: u16) -> u64 {
        (u64::from(index) + 1) * Self::STRIDE
    }

    fn index(&self, place: u64) -> Option<u16> {
        let index = (place / Self::STRIDE).checked_sub(1)?;
        let exact = place.is_multiple_of(Self::STRIDE) && index < self.0.len() as u64;
        exact.then_some(index as u16)
    }
}
