//! What becomes of an environment, in one word that cores claim it by.
//!
//! ```text
//!   63            16 15     8 7      4 3      0
//!   | epoch         | core   | flags  | state  |
//! ```
//!
//! Whoever wants anything of an environment changes its word first, by compare-and-swap: so a core that enters
//! it without the kernel lock and one that destroys it under the lock cannot both succeed. *State* says what is to
//! become of it, *core* who has it: "Stopped, on core 2" has still to come out of user mode there, and until then
//! nobody else uses its registers or its u-area.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::capability::Epoch;

/// What becomes of an environment.
///
/// ```text
///   create --> Stopped --run--> Ready --its turn--> Running --yield, end of its slice--> Ready
///                 ^               |                  |  |
///                 +-----stop------+-------stop-------+  +--sleep--> Asleep --wake, a notice--> Ready
///                 |                                  |  +--call---> Calling --reply--> Running
///                 +---------------stop---------------+--+--fault, no handler--> Suspended --stop--> Stopped
///
///   any of them --destroy--> Dying --> gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EnvironmentState {
    /// There is none.
    Free = 0,
    /// It does not run until somebody lets it.
    Stopped = 1,
    /// It runs when a slice of its has its turn.
    Ready = 2,
    /// It waits for something: a wake-up, a notice, a call.
    Asleep = 3,
    /// It runs on a core.
    Running = 4,
    /// It waits for the reply to a call; its slices run whom it called.
    Calling = 5,
    /// It took an upcall that could not be delivered, and does not run until somebody has mended it.
    Suspended = 6,
    /// It is being destroyed.
    Dying = 7,
}

impl EnvironmentState {
    /// Every one, in the order of the codes.
    pub const ALL: [EnvironmentState; 8] = [
        Self::Free,
        Self::Stopped,
        Self::Ready,
        Self::Asleep,
        Self::Running,
        Self::Calling,
        Self::Suspended,
        Self::Dying,
    ];

    /// The state with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Free,
            1 => Self::Stopped,
            2 => Self::Ready,
            3 => Self::Asleep,
            4 => Self::Running,
            5 => Self::Calling,
            6 => Self::Suspended,
            7 => Self::Dying,
            _ => return None,
        })
    }
}

/// An environment's word at one time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct LifeWord(u64);

impl LifeWord {
    /// That of no environment.
    pub const FREE: LifeWord = LifeWord(0);
    /// The core of one that no core has.
    pub const NOWHERE: u8 = u8::MAX;
    /// Flag: its registers are in no frame. It gave its core away itself, and is entered at a beginning next.
    pub const LIGHT: u64 = 0x10;
    /// Flag: something waits for it that no core may pass over when it enters it: notices.
    pub const ATTENTION: u64 = 0x20;
    /// Flag: it owes more processor time than is borne, and is not entered before that is paid.
    pub const DEBT: u64 = 0x40;

    /// Flag: it takes no calls, as it has left: in the middle of one, or with asynchronous upcalls masked.
    pub const CLOSED: u64 = 0x80;

    const STATE: u64 = 0xf;
    const CORE_SHIFT: u32 = 8;
    const CORE: u64 = 0xff << Self::CORE_SHIFT;
    const EPOCH_SHIFT: u32 = 16;

    /// That of an environment in `state` on `core`, which can be [`LifeWord::NOWHERE`], without flags.
    pub const fn new(epoch: Epoch, state: EnvironmentState, core: u8) -> Self {
        Self(epoch.bits() << Self::EPOCH_SHIFT | (core as u64) << Self::CORE_SHIFT | state as u64)
    }

    /// The word itself.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The word that these bits are.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The state. A code that is none, which no kernel writes, is taken for an end.
    #[inline(always)]
    pub const fn state(self) -> EnvironmentState {
        match EnvironmentState::from_code(self.code()) {
            Some(state) => state,
            None => EnvironmentState::Dying,
        }
    }

    /// The code of the state.
    pub const fn code(self) -> u8 {
        (self.0 & Self::STATE) as u8
    }

    /// The core that has it, if any does.
    #[inline(always)]
    pub const fn core(self) -> Option<u8> {
        match (self.0 >> Self::CORE_SHIFT) as u8 {
            Self::NOWHERE => None,
            _ if self.is_free() => None,
            core => Some(core),
        }
    }

    /// The environment's epoch.
    #[inline(always)]
    pub const fn epoch(self) -> Epoch {
        Epoch::from_low_bits(self.0 >> Self::EPOCH_SHIFT)
    }

    /// Whether it is the word of no environment.
    #[inline(always)]
    pub const fn is_free(self) -> bool {
        self.0 == Self::FREE.0
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// The same in another state.
    #[must_use]
    pub const fn to(self, state: EnvironmentState) -> Self {
        Self(self.0 & !Self::STATE | state as u64)
    }

    /// The same on another core, which can be [`LifeWord::NOWHERE`].
    #[must_use]
    pub const fn on(self, core: u8) -> Self {
        Self(self.0 & !Self::CORE | (core as u64) << Self::CORE_SHIFT)
    }

    /// The same with `flags`.
    #[must_use]
    pub const fn with(self, flags: u64) -> Self {
        Self(self.0 | flags)
    }

    /// The same without `flags`.
    #[must_use]
    pub const fn without(self, flags: u64) -> Self {
        Self(self.0 & !flags)
    }
}

impl fmt::Debug for LifeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LifeWord")
            .field("epoch", &self.epoch().bits())
            .field("state", &self.state())
            .field("core", &self.core())
            .field("flags", &(self.0 & 0xf0))
            .finish()
    }
}

/// What changes of an environment as it runs. Shown to everybody.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Life {
    /// Its [`LifeWord`].
    pub word: AtomicU64,
    /// Processor time that it has used, in ticks.
    pub ticks: AtomicU64,
    /// How often it was given a core.
    pub dispatches: AtomicU64,
    /// Processor time that it owes, in ticks.
    pub debt: AtomicU64,
}

impl Life {
    /// That of no environment.
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "each use is one of its own: what tables are filled with"
    )]
    pub const FREE: Life = Life {
        word: AtomicU64::new(0),
        ticks: AtomicU64::new(0),
        dispatches: AtomicU64::new(0),
        debt: AtomicU64::new(0),
    };

    /// The word as it is now. What was written before it became so is seen after this.
    #[inline(always)]
    pub fn load(&self) -> LifeWord {
        LifeWord::from_bits(self.word.load(Ordering::Acquire))
    }
}

/// As it is at some time while it is looked at.
impl Clone for Life {
    fn clone(&self) -> Self {
        let copy = |word: &AtomicU64| AtomicU64::new(word.load(Ordering::Acquire));
        Self {
            word: copy(&self.word),
            ticks: copy(&self.ticks),
            dispatches: copy(&self.dispatches),
            debt: copy(&self.debt),
        }
    }
}

const _: () = assert!(size_of::<Life>() == 32);

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn parts_of_a_word_are_apart() {
        let epochs = [1, 0x8000_0000_0001, 0xffff_ffff_ffff].map(Epoch::from_low_bits);
        for epoch in epochs {
            for state in EnvironmentState::ALL {
                assert_eq!(EnvironmentState::from_code(state as u8), Some(state));
                for core in [0, 3, LifeWord::NOWHERE] {
                    let word = LifeWord::new(epoch, state, core);
                    let some = (core != LifeWord::NOWHERE).then_some(core);
                    assert_eq!(
                        (word.epoch(), word.state(), word.core()),
                        (epoch, state, some)
                    );
                    for flag in [
                        LifeWord::LIGHT,
                        LifeWord::ATTENTION,
                        LifeWord::DEBT,
                        LifeWord::CLOSED,
                    ] {
                        let with = word.with(flag);
                        assert!(with.has(flag) && !word.has(flag));
                        assert_eq!((with.state(), with.core()), (state, some));
                        assert_eq!(with.without(flag), word);
                    }
                    let other = word.to(EnvironmentState::Asleep).on(2);
                    assert_eq!(other, LifeWord::new(epoch, EnvironmentState::Asleep, 2));
                }
            }
        }
        assert_eq!(LifeWord::FREE.core(), None);
        assert_eq!(
            LifeWord::from_bits(1 << 16 | 15).state(),
            EnvironmentState::Dying
        );
        assert_eq!(EnvironmentState::from_code(8), None);
    }

    #[test]
    fn a_word_prints_its_parts() {
        let word = LifeWord::new(Epoch::from_low_bits(7), EnvironmentState::Ready, 255);
        let told = std::format!("{:?}", word.with(LifeWord::LIGHT));
        assert_eq!(
            told,
            "LifeWord { epoch: 7, state: Ready, core: None, flags: 16 }"
        );
    }
}
