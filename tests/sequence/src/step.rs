//! What an environment does next: a call, a load or store of its own, or something with capabilities that
//! needs no kernel.

use exopi_abi::capability::{CAPABILITY_WORDS, Capability, Restriction};
use exopi_abi::{Error, Operation};

use crate::stage::OPERATIONS;

/// A step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nothing is allocated, and steps are made one at a time"
)]
pub enum Step {
    /// A system call, from registers to registers.
    Call {
        /// Its number, which may name none.
        number: u16,
        /// Its arguments.
        words: [u64; 6],
        /// Operations that are written to the store first.
        operations: Option<[Operation; OPERATIONS]>,
    },
    /// A load of 8 bytes.
    Load {
        /// Where.
        at: u64,
    },
    /// A store of 8 bytes.
    Store {
        /// Where.
        at: u64,
        /// What.
        value: u64,
    },
    /// A fetch of an instruction.
    Fetch {
        /// Where.
        at: u64,
    },
    /// Something with the capabilities in the store.
    Edit(Edit),
}

/// What a holder does with capabilities by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edit {
    /// One slot becomes what another holds.
    Copy {
        /// From here.
        from: usize,
        /// To here.
        to: usize,
    },
    /// One slot becomes what another holds, with a caveat more.
    Attenuate {
        /// From here.
        from: usize,
        /// To here.
        to: usize,
        /// With this.
        restriction: Restriction,
    },
    /// Changes one bit of a copy.
    Flip {
        /// From here.
        from: usize,
        /// To here.
        to: usize,
        /// Of the 384.
        bit: u32,
    },
    /// Words of one and words of another.
    Splice {
        /// Words whose bit is set in `mask` come from here.
        from: usize,
        /// To here, where the others stay.
        to: usize,
        /// Which words.
        mask: u8,
    },
}

impl Edit {
    /// The slot that changes.
    pub const fn target(&self) -> usize {
        match self {
            Self::Copy { to, .. }
            | Self::Attenuate { to, .. }
            | Self::Flip { to, .. }
            | Self::Splice { to, .. } => *to,
        }
    }

    /// The slot that is read.
    pub const fn source(&self) -> usize {
        match self {
            Self::Copy { from, .. }
            | Self::Attenuate { from, .. }
            | Self::Flip { from, .. }
            | Self::Splice { from, .. } => *from,
        }
    }

    /// What the target slot holds afterwards, by what both held before.
    ///
    /// # Errors
    /// The source is no capability, or has no place for a caveat more; nothing changes then.
    pub fn apply(
        &self,
        source: [u64; CAPABILITY_WORDS],
        target: [u64; CAPABILITY_WORDS],
    ) -> Result<[u64; CAPABILITY_WORDS], Error> {
        match *self {
            Self::Copy { .. } => Ok(source),
            Self::Attenuate { restriction, .. } => {
                let narrowed = Capability::from_words(source)?.attenuate(restriction)?;
                Ok(narrowed.words())
            }
            Self::Flip { bit, .. } => {
                let mut words = source;
                if let Some(word) = words.get_mut((bit / 64) as usize % CAPABILITY_WORDS) {
                    *word ^= 1 << (bit % 64);
                }
                Ok(words)
            }
            Self::Splice { mask, .. } => {
                let mut words = target;
                for (index, (word, other)) in words.iter_mut().zip(source).enumerate() {
                    if mask >> index & 1 == 1 {
                        *word = other;
                    }
                }
                Ok(words)
            }
        }
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What the call replied.
    Reply(exopi_abi::Reply),
    /// What was loaded.
    Loaded(u64),
    /// It was done, and there is nothing to tell.
    Done,
    /// It could not be done: a holder's edit.
    Refused(Error),
    /// The access faulted.
    Fault,
}
