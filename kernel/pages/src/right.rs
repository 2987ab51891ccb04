//! By what right a frame is named, and on whose account frames are charged.

use exopi_abi::capability::{Epoch, PageRights};
use exopi_abi::page::{DEFAULT_LIMIT, FrameType, Owner, PageRecord, Stamp};
use exopi_abi::{Access, Error, PageNumber, PageSelect};
use exopi_cap::{Epochs, Verified};

use crate::Pages;
use crate::space::bindable;

/// By what right frames are named.
#[derive(Clone, Copy, Debug)]
pub enum Right<'v> {
    /// They belong to this account, for which the caller speaks.
    Owner(Owner),
    /// This capability, found genuine, is good for them.
    Verified(&'v Verified),
}

/// Where the frames of mappings come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'v> {
    /// This one and those that follow it.
    Run(PageNumber, Right<'v>),
    /// Free ones, allocated on the way.
    New(PageSelect),
}

/// The account that frames are charged to, and how many more it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The account.
    pub owner: Owner,
    /// How many frames more.
    pub pages: u64,
}

/// A [`Right`], examined as far as it can be without a frame: what a frame's record must say for the right to
/// be good for it.
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    /// That this is the owner.
    Owner(Owner),
    /// This epoch, and the frame is one of `count` from `first` on.
    Epoch {
        epoch: Epoch,
        first: u32,
        count: u32,
    },
}

/// A claim as two words, for calls of functions: it goes through registers then, and need not be in memory for the
/// sake of a call that is seldom made.
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    told: u64,
    /// The first frame, and the count above it. A count of 0: `told` is an owner.
    extent: u64,
}

impl Packed {
    #[inline(always)]
    pub(crate) const fn unpack(self) -> Claim {
        match (self.extent >> 32) as u32 {
            0 => Claim::Owner(Owner::from_word(self.told)),
            count => Claim::Epoch {
                epoch: Epoch::from_low_bits(self.told),
                first: self.extent as u32,
                count,
            },
        }
    }
}

impl Claim {
    #[inline(always)]
    pub(crate) const fn pack(self) -> Packed {
        match self {
            Self::Owner(owner) => Packed {
                told: owner.word(),
                extent: 0,
            },
            // No capability is for no frame.
            Self::Epoch {
                epoch,
                first,
                count,
            } => Packed {
                told: epoch.bits(),
                extent: first as u64 | (count as u64) << 32,
            },
        }
    }

    /// To do with frames what `rights` are for.
    ///
    /// # Errors
    /// [`Error::WrongKind`], [`Error::MissingRight`].
    #[inline(always)]
    pub(crate) fn new(right: Right, rights: PageRights) -> Result<Self, Error> {
        match right {
            Right::Owner(owner) => Ok(Self::Owner(owner)),
            Right::Verified(verified) => {
                verified.require(rights)?;
                Ok(Self::Epoch {
                    epoch: verified.epoch(),
                    first: verified.index(),
                    count: verified.count(),
                })
            }
        }
    }

    /// To map frames with `access`.
    ///
    /// # Errors
    /// Those of [`Claim::new`], and then [`Error::TimeLimited`]: a mapping would not end with the capability.
    #[inline(always)]
    pub(crate) fn to_map(right: Right, access: Access) -> Result<Self, Error> {
        let claim = Self::new(right, PageRights::from_bits_truncate(access.bits().into()))?;
        match right {
            Right::Verified(verified) if verified.until().is_some() => Err(Error::TimeLimited),
            _ => Ok(claim),
        }
    }

    /// Whether it is good for `page`, provided that it is plain: of a free frame `owner` tells of the past.
    #[inline(always)]
    pub(crate) fn covers(self, page: PageNumber, record: &PageRecord) -> bool {
        match self {
            Self::Owner(owner) => record.owner == owner,
            Self::Epoch { epoch, .. } => record.stamp.epoch() == epoch && self.reaches(page),
        }
    }

    /// Whether it may be good for `page`, whatever the record says.
    #[inline(always)]
    fn reaches(self, page: PageNumber) -> bool {
        match self {
            Self::Owner(_) => true,
            Self::Epoch { first, count, .. } => page.get().wrapping_sub(first) < count,
        }
    }
}

// A right to a page has the bit of the access that it is for.
const _: () = {
    assert!(PageRights::READ.bits() == Access::READ.bits() as u16);
    assert!(PageRights::WRITE.bits() == Access::WRITE.bits() as u16);
    assert!(PageRights::EXECUTE.bits() == Access::EXECUTE.bits() as u16);
};

impl Pages<'_> {
    /// The record of a plain frame that `claim` is good for.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::OutOfRange`], beyond the array or beyond what the
    /// capability covers; [`Error::NotYours`] of an owner or [`Error::Stale`] of a capability;
    /// [`Error::WrongType`].
    #[inline(always)]
    pub(crate) fn plain(&self, page: PageNumber, claim: Claim) -> Result<&PageRecord, Error> {
        match self.record(page) {
            Some(record) if record.kind == FrameType::Plain && claim.covers(page, record) => {
                Ok(record)
            }
            record => Err(refusal(page, record, claim).unwrap_or(Error::WrongType)),
        }
    }

    /// The same of one that may change its type or its owner: nothing refers to it, and no superpage that it is
    /// in.
    ///
    /// # Errors
    /// Those of [`Pages::plain`], and then [`Error::InUse`], which it also is while its bindings are being
    /// broken.
    #[inline(always)]
    pub(crate) fn spare(&self, page: PageNumber, claim: Claim) -> Result<&PageRecord, Error> {
        let record = self.plain(page, claim)?;
        if bindable(record) && record.references == 0 && self.superpages(page).is_none() {
            Ok(record)
        } else {
            Err(Error::InUse)
        }
    }
}

/// Why a frame is not plain or `claim` not good for it; `None` if it is. A free frame is nobody's, whatever it
/// holds.
#[cold]
pub(crate) fn refusal(
    page: PageNumber,
    record: Option<&PageRecord>,
    claim: Claim,
) -> Option<Error> {
    let Some(record) = record.filter(|_| claim.reaches(page)) else {
        return Some(Error::OutOfRange);
    };
    match claim {
        Claim::Owner(owner) if record.charged_to() != owner => Some(Error::NotYours),
        Claim::Epoch { epoch, .. } if record.stamp.epoch() != epoch => Some(Error::Stale),
        _ if record.kind != FrameType::Plain => Some(Error::WrongType),
        _ => None,
    }
}

/// The epoch of a call: drawn when the first frame needs it, so that a refused call draws none, and one for
/// all frames, so that one capability can be good for them all.
pub(crate) struct Drawn<'e> {
    from: &'e mut Epochs,
    epoch: Epoch,
}

impl<'e> Drawn<'e> {
    #[inline(always)]
    pub(crate) const fn new(from: &'e mut Epochs) -> Self {
        Self {
            from,
            epoch: Epoch::NONE,
        }
    }

    /// The epoch.
    ///
    /// # Errors
    /// [`Error::Exhausted`]: none is left.
    #[inline(always)]
    pub(crate) fn epoch(&mut self) -> Result<Epoch, Error> {
        if self.epoch == Epoch::NONE {
            self.epoch = self.from.stamp().ok_or(Error::Exhausted)?;
        }
        Ok(self.epoch)
    }

    /// A stamp with the epoch and the limit of a frame whose owner has said nothing.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    #[inline(always)]
    pub(crate) fn stamp(&mut self) -> Result<Stamp, Error> {
        Ok(Stamp::new(self.epoch()?, DEFAULT_LIMIT))
    }

    /// The same for what must not fail: the end of something. When no epoch is left a frame gets
    /// [`Stamp::NONE`], with which its owner can do all but share it.
    #[inline(always)]
    pub(crate) fn stamp_or_none(&mut self) -> Stamp {
        self.stamp().unwrap_or(Stamp::NONE)
    }
}
