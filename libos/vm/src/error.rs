//! Why the library refuses.

use exopi_rt::Error as Refusal;

/// Why something was not done. Unless the operation says otherwise, nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The kernel refused a call. [`Refusal::Exhausted`] and [`Refusal::OverAllowance`] mean that there is no
    /// page.
    Refused(Refusal),
    /// No region is there, or the range goes beyond it.
    NoRegion,
    /// Another region is there.
    Overlap,
    /// No gap of the address space is large enough.
    NoRoom,
    /// The table of regions is full.
    TooManyRegions,
    /// A size is zero, or an address is not one that programs map.
    BadRange,
    /// There is something in this place, or in the way of it, that the operation is not for.
    Unsuitable,
    /// The address space is being changed by this very environment, which was interrupted in it.
    Busy,
}

impl Error {
    /// Whether a page was wanted and none was to be had.
    pub const fn is_exhaustion(self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::Exhausted | Refusal::OverAllowance)
        )
    }
}

impl From<Refusal> for Error {
    #[inline]
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the kernel refused: {refusal}"),
            Self::NoRegion => f.write_str("no region there"),
            Self::Overlap => f.write_str("another region is there"),
            Self::NoRoom => f.write_str("no gap is large enough"),
            Self::TooManyRegions => f.write_str("the table of regions is full"),
            Self::BadRange => f.write_str("not a range that programs map"),
            Self::Unsuitable => f.write_str("not possible in this place"),
            Self::Busy => f.write_str("the address space is being changed"),
        }
    }
}

impl core::error::Error for Error {}
