//! Which account, space or environment a call is about, and by what right.

use super::user::PRESENTED;
use super::{FORM_SHIFT, UserCapability, formless};
use crate::Error;
use crate::capability::Kind;
use crate::domain::ObjectName;
use crate::registers::{Argument, Arguments};

/// The account, space or environment that a call is about, and the right by which it is named.
///
/// ```text
///   63      56 55                       16 15       0
///   | form 0  |  zero                                |  the caller's own
///   | form 0  |  address of a capability, not 0      |
///   | form 1  |  epoch, lowest 40 bits    |  index   |  one that belongs to the caller's account
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The caller itself, the space that it runs in, the account that it is charged to.
    Own,
    /// One that is charged to the account that the caller draws on. An account is charged to its parent.
    Owned(ObjectName),
    /// One that a capability is good for.
    Presented(UserCapability<'a>),
}

impl Object<'_> {
    /// How many bits of an epoch travel with an owned object's name.
    pub const EPOCH_BITS: u32 = 40;
}

impl Argument for Object<'_> {
    const REFUSALS: &'static [Error] = PRESENTED;
    /// The caller's own.
    const USUAL: Option<u64> = Some(0);

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.peek();
        match word >> FORM_SHIFT {
            0 if word == 0 => {
                from.take();
                Ok(Self::Own)
            }
            0 => UserCapability::decode(from).map(Self::Presented),
            1 => {
                from.take();
                Ok(Self::Owned(ObjectName::from_word(formless(word))))
            }
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Own => into.put(0),
            Self::Owned(name) => into.put(1 << FORM_SHIFT | formless(name.word())),
            Self::Presented(capability) => capability.encode(into),
        }
    }
}

impl ObjectName {
    /// Whether this is what an [`Object::Owned`] with `told` means: the index, and the epoch as far as it
    /// travelled.
    #[inline(always)]
    pub const fn is_told(self, told: ObjectName) -> bool {
        formless(self.word() ^ told.word()) == 0
    }
}

impl Argument for Kind {
    const REFUSALS: &'static [Error] = &[Error::Malformed];
    /// Pages are what programs have most of.
    const USUAL: Option<u64> = Some(Kind::Page as u64);

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let code = u8::try_from(from.take()).ok();
        code.and_then(Self::from_code).ok_or(Error::Malformed)
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}
