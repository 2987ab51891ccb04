//! User memory that a call reads or writes. It says where, and nothing of what is mapped there.

use core::marker::PhantomData;

use super::Operation;
use crate::Error;
use crate::capability::{CAPABILITY_BYTES, CAPABILITY_WORDS, Capability};
#[cfg(target_os = "none")]
use crate::layout::USER_END;
use crate::registers::{Argument, Arguments};

/// First address beyond what a range of user memory may cover.
#[cfg(target_os = "none")]
#[inline(always)]
pub(super) const fn memory_end() -> u64 {
    USER_END
}

#[cfg(not(target_os = "none"))]
pub(super) use crate::host::memory_end;

/// Where a range of user memory begins and how long it is. It says nothing of what is mapped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UserRange {
    address: u64,
    length: u64,
}

impl UserRange {
    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let range = Self {
            address: from.take(),
            length: from.take(),
        };
        match range.address.checked_add(range.length) {
            Some(end) if end <= memory_end() => Ok(range),
            _ => Err(Error::BadAddress),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.address);
        into.put(self.length);
    }
}

/// User memory that the kernel may read during a call. Lies wholly in user space; may be unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserBytes<'a> {
    range: UserRange,
    borrowed: PhantomData<&'a [u8]>,
}

/// User memory that the kernel may write during a call. Lies wholly in user space; may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserBytesMut<'a> {
    range: UserRange,
    borrowed: PhantomData<&'a mut [u8]>,
}

macro_rules! user_range {
    ($name:ident, $from:ty) => {
        impl $name<'_> {
            /// First address.
            #[inline(always)]
            pub const fn address(&self) -> u64 {
                self.range.address
            }

            /// Length in bytes.
            #[inline(always)]
            pub const fn length(&self) -> u64 {
                self.range.length
            }
        }

        impl<'a> From<$from> for $name<'a> {
            #[inline(always)]
            fn from(slice: $from) -> Self {
                Self {
                    range: UserRange {
                        address: slice.as_ptr() as u64,
                        length: slice.len() as u64,
                    },
                    borrowed: PhantomData,
                }
            }
        }

        impl Argument for $name<'_> {
            const WORDS: usize = 2;
            const REFUSALS: &'static [Error] = &[Error::BadAddress];

            #[inline(always)]
            fn decode(from: &mut Arguments) -> Result<Self, Error> {
                Ok(Self {
                    range: UserRange::decode(from)?,
                    borrowed: PhantomData,
                })
            }

            #[inline(always)]
            fn encode(self, into: &mut Arguments) {
                self.range.encode(into);
            }
        }
    };
}

user_range!(UserBytes, &'a [u8]);
user_range!(UserBytesMut, &'a mut [u8]);

/// What is wrong with a capability that is presented, from its address to what it is wanted for.
pub(super) const PRESENTED: &[Error] = &[
    Error::Malformed,
    Error::BadAddress,
    Error::OutOfRange,
    Error::MissingRight,
    Error::WrongSeal,
    Error::Stale,
    Error::WrongKind,
    Error::WrongHolder,
    Error::Expired,
];

/// Where a capability lies in user memory: 48 bytes at an address that is a multiple of 8, which may be
/// unmapped, or hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCapability<'a> {
    address: u64,
    borrowed: PhantomData<&'a Capability>,
}

/// Where the kernel puts the words of a capability. Aligned as [`UserCapability`]; may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserCapabilityMut<'a> {
    address: u64,
    borrowed: PhantomData<&'a mut [u64; CAPABILITY_WORDS]>,
}

macro_rules! user_capability {
    ($name:ident, $from:ty, $refusals:expr) => {
        impl $name<'_> {
            /// First address: a multiple of 8, and in user space to the last byte.
            #[inline(always)]
            pub const fn address(&self) -> u64 {
                self.address
            }
        }

        impl<'a> From<$from> for $name<'a> {
            #[inline(always)]
            fn from(place: $from) -> Self {
                Self {
                    address: core::ptr::from_ref(place) as u64,
                    borrowed: PhantomData,
                }
            }
        }

        impl Argument for $name<'_> {
            const REFUSALS: &'static [Error] = $refusals;

            #[inline(always)]
            fn decode(from: &mut Arguments) -> Result<Self, Error> {
                let address = from.take();
                if address % 8 == 0 && address <= memory_end() - CAPABILITY_BYTES as u64 {
                    Ok(Self {
                        address,
                        borrowed: PhantomData,
                    })
                } else {
                    Err(Error::BadAddress)
                }
            }

            #[inline(always)]
            fn encode(self, into: &mut Arguments) {
                into.put(self.address);
            }
        }
    };
}

user_capability!(UserCapability, &'a Capability, PRESENTED);
user_capability!(
    UserCapabilityMut,
    &'a mut [u64; CAPABILITY_WORDS],
    &[Error::BadAddress]
);

/// Operations of a batch in user memory, which may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserOperations<'a> {
    address: u64,
    count: u64,
    borrowed: PhantomData<&'a mut [Operation]>,
}

impl UserOperations<'_> {
    /// First address: a multiple of 8, and in user space to the last byte.
    #[inline(always)]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How many operations.
    #[inline(always)]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

impl<'a> From<&'a mut [Operation]> for UserOperations<'a> {
    #[inline(always)]
    fn from(operations: &'a mut [Operation]) -> Self {
        Self {
            address: operations.as_ptr() as u64,
            count: operations.len() as u64,
            borrowed: PhantomData,
        }
    }
}

impl Argument for UserOperations<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = &[Error::BadAddress];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let (address, count) = (from.take(), from.take());
        let end = count
            .checked_mul(size_of::<Operation>() as u64)
            .and_then(|bytes| address.checked_add(bytes));
        match end {
            Some(end) if address % 8 == 0 && end <= memory_end() => Ok(Self {
                address,
                count,
                borrowed: PhantomData,
            }),
            _ => Err(Error::BadAddress),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.address);
        into.put(self.count);
    }
}
