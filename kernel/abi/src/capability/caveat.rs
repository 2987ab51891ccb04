//! Caveats: what a holder adds to a capability before it is handed on, without the kernel.
//!
//! ```text
//!   31       24 23                              0
//!   | tag      | value                           |
//!   |  0       | 0                               |  unused
//!   |  1       | mask of rights, upper 8 bits 0  |  only these rights are left
//!   |  2       | lowest 24 bits of an index      |  only this environment may present it
//!   |  3       | badge                           |  delivered where an environment is called
//!   |  4       | second since boot               |  no longer good when it begins
//! ```
//!
//! Each caveat is sealed in by a step of a chain, as macaroons do it (Birgisson et al., "Macaroons:
//! Cookies with Contextual Caveats for Decentralized Authorization in the Cloud", NDSS 2014): the new
//! seal is the hash of the caveat under the old seal as key. Who has only the new seal cannot find the old
//! one, and so cannot take the caveat away.

use super::siphash::{Initial, Start, siphash};
use super::{Epoch, Identity, Rights, Seal};
use crate::Error;

/// Bits of a caveat's value.
pub const VALUE_BITS: u32 = 24;
const VALUE_MASK: u32 = (1 << VALUE_BITS) - 1;

/// What a caveat does.
mod tag {
    pub(super) const RIGHTS: u32 = 1;
    pub(super) const HOLDER: u32 = 2;
    pub(super) const BADGE: u32 = 3;
    pub(super) const UNTIL: u32 = 4;
}

macro_rules! values {
    ($( $(#[doc = $doc:literal])+ $name:ident )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[repr(transparent)]
            pub struct $name(u32);

            impl $name {
                /// The largest.
                pub const MAX: $name = $name(VALUE_MASK);

                /// The value, if it is less than 2^24.
                #[inline(always)]
                pub const fn new(value: u32) -> Option<Self> {
                    if value <= VALUE_MASK { Some(Self(value)) } else { None }
                }

                /// The value, less than 2^24.
                #[inline(always)]
                pub const fn get(self) -> u32 {
                    self.0
                }
            }
        )+
    };
}

values! {
    /// The lowest 24 bits of an environment's index: enough to tell a holder for whom a capability is
    /// meant, not enough to be anybody. The chain has the rest.
    Hint
    /// By what a server tells its clients apart. Its meaning is the server's. Badge 0 is a badge.
    Badge
    /// A second since boot. The largest is more than 194 days away; what must be good for longer has
    /// no such caveat.
    Second
}

impl Hint {
    /// The hint at an environment.
    #[inline(always)]
    pub const fn of(identity: Identity) -> Self {
        Self(identity.index & VALUE_MASK)
    }
}

impl Second {
    /// Whether the second has begun, `now` whole seconds after boot.
    #[inline(always)]
    pub const fn has_begun(self, now: u64) -> bool {
        now >= self.0 as u64
    }
}

/// A caveat as everybody can read it in a capability.
///
/// Discriminants are the tags: reading a word is then two instructions, and not a choice of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Caveat {
    /// Only these rights are left of those that there were.
    Rights(Rights) = tag::RIGHTS,
    /// Only the environment at which this hints may present it.
    Holder(Hint) = tag::HOLDER,
    /// Calls by it carry this badge, unless an earlier caveat gave them one.
    Badge(Badge) = tag::BADGE,
    /// It is good only before this second begins.
    Until(Second) = tag::UNTIL,
}

impl Caveat {
    /// The caveat as a word; never zero.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        let (tag, value) = match self {
            Self::Rights(mask) => (tag::RIGHTS, mask.bits() as u32),
            Self::Holder(hint) => (tag::HOLDER, hint.0),
            Self::Badge(badge) => (tag::BADGE, badge.0),
            Self::Until(second) => (tag::UNTIL, second.0),
        };
        tag << VALUE_BITS | value
    }

    /// The caveat in a word. Each caveat has one word, and all other words are none.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Option<Self> {
        let good = match word >> VALUE_BITS {
            tag::RIGHTS => word & VALUE_MASK <= u16::MAX as u32,
            tag::HOLDER | tag::BADGE | tag::UNTIL => true,
            _ => false,
        };
        if good {
            Some(Self::of_checked(word))
        } else {
            None
        }
    }

    /// The caveat in a word that [`Caveat::from_word`] has taken, as every capability's have been. No other
    /// word gets here; one would be taken for a time.
    #[inline(always)]
    pub(super) const fn of_checked(word: u32) -> Self {
        let value = word & VALUE_MASK;
        match word >> VALUE_BITS {
            tag::RIGHTS => Self::Rights(Rights::from_bits(value as u16)),
            tag::HOLDER => Self::Holder(Hint(value)),
            tag::BADGE => Self::Badge(Badge(value)),
            _ => Self::Until(Second(value)),
        }
    }

    /// What was sealed in with a caveat's word, if the word is one and that was done for `presenter`: the same as
    /// [`Caveat::from_word`] and [`Caveat::for_presenter`] one after the other, in one look at the tag.
    #[inline(always)]
    pub(super) fn restriction(word: u32, presenter: Identity) -> Option<Restriction> {
        let value = word & VALUE_MASK;
        Some(match word >> VALUE_BITS {
            tag::RIGHTS if value <= u32::from(u16::MAX) => {
                Restriction::Rights(Rights::from_bits(value as u16))
            }
            tag::HOLDER if Hint(value) == Hint::of(presenter) => Restriction::Holder(presenter),
            tag::BADGE => Restriction::Badge(Badge(value)),
            tag::UNTIL => Restriction::Until(Second(value)),
            _ => return None,
        })
    }

    /// What was sealed in, if it was done for `presenter`.
    ///
    /// # Errors
    /// [`Error::WrongHolder`]: a hint at somebody else.
    #[inline(always)]
    pub fn for_presenter(self, presenter: Identity) -> Result<Restriction, Error> {
        Ok(match self {
            Self::Rights(mask) => Restriction::Rights(mask),
            Self::Holder(hint) if hint == Hint::of(presenter) => Restriction::Holder(presenter),
            Self::Holder(_) => return Err(Error::WrongHolder),
            Self::Badge(badge) => Restriction::Badge(badge),
            Self::Until(second) => Restriction::Until(second),
        })
    }
}

/// All that is sealed in with a caveat: for a holder more than can be read in it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// Keep only these rights. Of what kind they are, nobody looks: a mask can only take away.
    Rights(Rights),
    /// Only this environment may present it. It limits who presents, not who benefits.
    Holder(Identity),
    /// Calls by it carry this badge. The first one sealed counts.
    Badge(Badge),
    /// Good only before this second begins. The earliest counts.
    Until(Second),
}

impl Restriction {
    /// What of it can be read in the capability.
    #[inline(always)]
    pub const fn caveat(self) -> Caveat {
        match self {
            Self::Rights(mask) => Caveat::Rights(mask),
            Self::Holder(identity) => Caveat::Holder(Hint::of(identity)),
            Self::Badge(badge) => Caveat::Badge(badge),
            Self::Until(second) => Caveat::Until(second),
        }
    }
}

impl Seal {
    /// The step of the chain: the seal after one more caveat, the one at `position` (the first is at 0).
    ///
    /// Hashed are the caveat's word, its position and, for a holder, full index and epoch:
    ///
    /// ```text
    ///   byte        0        4          5
    ///               | caveat | position |                         any other caveat: 5 bytes
    ///
    ///   byte        0        4          8              14         15
    ///               | caveat | index    | epoch        | position |  holder: 15 bytes
    /// ```
    ///
    /// Both forms fit the words that the hash takes in anyway: 1 or 2 of them.
    ///
    /// The old seal as key stands for all that came before. The position on top of it makes the steps
    /// three different functions, so that a seal means something in one place of a chain only; it is free.
    #[inline(always)]
    pub const fn chain(self, position: u8, restriction: Restriction) -> Self {
        let word = restriction.caveat().word();
        self.chain_word(position, word, restriction, Initial::KNOWN)
    }

    /// The same, for who has the restriction's word already: a seventh of the step's price.
    #[inline(always)]
    pub(super) const fn chain_word(
        self,
        position: u8,
        word: u32,
        restriction: Restriction,
        initial: Initial,
    ) -> Self {
        let word = word as u64;
        let position = position as u64;
        let start = Start::under(self.0, initial);
        Self(match restriction {
            Restriction::Holder(Identity { index, epoch }) => {
                let first = word | (index as u64) << 32;
                siphash::<1, 7>(start, [first], epoch.bits() | position << Epoch::BITS)
            }
            _ => siphash::<0, 5>(start, [], word | position << 32),
        })
    }
}
