//! Kinds of capability, and the rights of each.
//!
//! Each kind has a type of its own for its rights, and that type names the kind. So whoever asks for
//! a right asks for the kind with it: "may it be read" of a page and of a block are different
//! questions, although they are the same bit. [`Rights`] is a set without its kind, as it lies in a
//! capability; it answers to no name.

use core::fmt;

use bitflags::Flags;

/// The rights of one kind of capability: what a check asks for, and what a grant names.
pub trait KindRights: Flags<Bits = u16> + Into<Rights> + Copy + fmt::Debug {
    /// The kind whose rights they are.
    const KIND: Kind;
}

/// A set of rights, 16 bits whose meaning depends on the kind beside which it stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Rights(u16);

impl Rights {
    /// No right at all.
    pub const NONE: Rights = Rights(0);

    /// The set with these bits.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[inline(always)]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether every right of `other` is in this set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The rights that both sets have.
    #[inline(always)]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The rights of this set that `other` does not have.
    #[inline(always)]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rights {:#x}", self.0)
    }
}

/// Bits of the rights that are marked `withheld` in a row.
macro_rules! withheld {
    ($bit:literal) => {
        0
    };
    ($bit:literal withheld) => {
        1 << $bit
    };
}

macro_rules! ranges {
    (range) => {
        true
    };
    (single) => {
        false
    };
}

macro_rules! kinds {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident = $code:literal, $extent:ident, $set:ident {
            $( $(#[doc = $right_doc:literal])+ $right:ident = $bit:literal $([$mark:ident])?, )+
        }
    )+) => {
        /// What a capability is for. Codes are never used again for something else; 0 is no kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $( $(#[doc = $doc])+ $kind = $code, )+
        }

        impl Kind {
            /// Every kind, in the order of the codes.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),+];

            /// The kind with this code.
            #[inline(always)]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$kind), )+
                    _ => None,
                }
            }

            /// Every right that there is for the kind.
            #[inline(always)]
            pub const fn rights(self) -> Rights {
                match self {
                    $( Self::$kind => Rights(0 $(| 1 << $bit)+), )+
                }
            }

            /// The rights by which a holder ends the object, or every other holder's use of it. Who
            /// lends an object out keeps them, unless he names them.
            #[inline(always)]
            pub const fn withheld(self) -> Rights {
                match self {
                    $( Self::$kind => Rights(0 $(| withheld!($bit $($mark)?))+), )+
                }
            }

            /// Whether its capabilities name a range of objects. Otherwise their count is 1.
            #[inline(always)]
            pub const fn is_range(self) -> bool {
                match self {
                    $( Self::$kind => ranges!($extent), )+
                }
            }
        }

        bitflags::bitflags! {
            $(
                #[doc = concat!("Rights of a capability of kind [`", stringify!($kind), "`](Kind::", stringify!($kind), ").")]
                #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
                pub struct $set: u16 {
                    $( $(#[doc = $right_doc])+ const $right = 1 << $bit; )+
                }
            )+
        }

        $(
            impl From<$set> for Rights {
                #[inline(always)]
                fn from(rights: $set) -> Self {
                    Self(rights.bits())
                }
            }

            impl KindRights for $set {
                const KIND: Kind = Kind::$kind;
            }
        )+
    };
}

kinds! {
    /// Page frames, by number.
    Page = 1, range, PageRights {
        /// Map for loads.
        READ = 0,
        /// Map for stores.
        WRITE = 1,
        /// Map for fetching instructions.
        EXECUTE = 2,
        /// Name in a binding other than a mapping: a ring, a transfer, a predicate.
        PIN = 3,
        /// Stamp anew, so that every capability made before is stale.
        RETIRE = 4 [withheld],
        /// Give back to the free list.
        FREE = 5 [withheld],
    }
    /// An address space.
    Space = 2, single, SpaceRights {
        /// Change its tables and mappings.
        MAP = 0,
        /// Put environments into it.
        JOIN = 1,
    }
    /// An environment.
    Environment = 3, single, EnvironmentRights {
        /// Read registers and bindings.
        READ_STATE = 0,
        /// Write registers and bindings.
        WRITE_STATE = 1,
        /// Give it time slices.
        SCHEDULE = 2,
        /// Bind a gate to it.
        CALL = 3,
        /// Wake it up.
        WAKE = 4,
        /// Ask resources back from it, by notice and deadline.
        REVOKE = 5,
        /// Hear of its suspension, losses and death.
        KEEP = 6,
        /// End it.
        DESTROY = 7 [withheld],
    }
    /// An account: allowances.
    Account = 4, single, AccountRights {
        /// Charge resources and child accounts to it.
        DRAW = 0,
        /// End it, with all that draws on it.
        DESTROY = 1 [withheld],
    }
    /// A packet filter.
    Filter = 5, single, FilterRights {
        /// Bind it to a ring.
        RECEIVE = 0,
        /// Declare its keys.
        SPLIT = 1,
        /// Make a child by a key.
        REFINE = 2,
        /// Let others receive the same packets.
        SHARE = 3,
        /// End it.
        DELETE = 4 [withheld],
    }
    /// What frames may be sent.
    Send = 6, single, SendRights {
        /// Send them.
        SEND = 0,
        /// Make a child that allows fewer.
        REFINE = 1,
    }
    /// An extent of a disk, by its record.
    Extent = 7, single, ExtentRights {
        /// Read its blocks.
        READ = 0,
        /// Write its blocks.
        WRITE = 1,
        /// Make a child of a part of it.
        NARROW = 2,
    }
    /// Blocks of a disk, by number.
    Block = 8, range, BlockRights {
        /// Read them.
        READ = 0,
        /// Write them.
        WRITE = 1,
        /// Hand out a part of them.
        NARROW = 2,
    }
    /// A time slice of a core.
    Slice = 9, single, SliceRights {
        /// Run in it.
        USE = 0,
        /// Change its position.
        MOVE = 1,
        /// Give it back.
        FREE = 2 [withheld],
    }
    /// Principals of stored data, by number. The largest number, 2^32 - 1, names none: a count of 32
    /// bits cannot reach it together with all others.
    Principal = 10, range, PrincipalRights {
        /// Act as one.
        BE = 0,
        /// Hand out a part of them.
        NARROW = 1,
    }
}
