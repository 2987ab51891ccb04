//! The one set of errors that crosses the line. Each call lists those that it can give.

macro_rules! errors {
    ($( $(#[doc = $doc:literal])* $name:ident = $code:literal, )*) => {
        /// Why a call was refused. A refused call, or item of a batch, has changed nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Error {
            $( $(#[doc = $doc])* $name = $code, )*
        }

        impl Error {
            /// Every error, in the order of the codes.
            pub const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The error with this code, if there is one. Code 0 means success and is no error.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$name), )*
                    _ => None,
                }
            }

            /// Name as in the source, for traces and the reference.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// What it means, for the reference.
            pub const fn explanation(self) -> &'static str {
                match self { $( Self::$name => concat!($($doc),*).trim_ascii(), )* }
            }
        }
    };
}

errors! {
    /// The number names no call.
    NoSuchCall = 1,
    /// An argument has a form that the call does not know, or reserved bits set.
    Malformed = 2,
    /// A count is zero, or more than one where only one is possible.
    BadCount = 3,
    /// User memory is not mapped as the call needs it, or an address lies outside user space or is misaligned.
    BadAddress = 4,
    /// No such page, or not one of those that the capability covers.
    OutOfRange = 5,
    /// Another environment owns it, or nobody does.
    NotYours = 6,
    /// The caller's capability or place does not give this right.
    MissingRight = 7,
    /// The frame's type does not allow this.
    WrongType = 8,
    /// The page is not free.
    Taken = 9,
    /// The page is still referenced by table entries or pins.
    InUse = 10,
    /// No page is left that would do.
    Exhausted = 11,
    /// The table that should hold the entry is missing.
    NoTable = 12,
    /// There is an entry or a table in this place already.
    Occupied = 13,
    /// There is no entry or table in this place.
    Vacant = 14,
    /// The table still has entries.
    NotEmpty = 15,
    /// No upcall of this class waits to be resumed.
    NoFrame = 16,
    /// The seal does not fit the capability: it is forged or from another boot, or a holder caveat names an environment whose index looks like the caller's and is not the caller.
    WrongSeal = 17,
    /// The object was freed, retired or changed since the capability was made.
    Stale = 18,
    /// The capability is for something else.
    WrongKind = 19,
    /// Only another environment may present the capability.
    WrongHolder = 20,
    /// The time until which the capability was good has come.
    Expired = 21,
    /// The capability has no place left for a caveat.
    CaveatsFull = 22,
    /// The capability is good until a time only, and this binding could not end with it.
    TimeLimited = 23,
    /// The account has no more of this to give, or accepts no more.
    OverAllowance = 24,
    /// The environment runs on another core just now; ask again.
    Busy = 25,
    /// The page's bindings are being broken, and until that is done there are no new ones.
    Leaving = 26,
    /// Others refer to the page as often as its owner lets them.
    LimitReached = 27,
    /// An address, page or count cuts through a superpage.
    Misaligned = 28,
    /// The environment has nowhere to run, or runs already, or is suspended.
    NotReady = 29,
    /// No call is being served, or who made it waits no more.
    NotWaiting = 30,
    /// The deadline of a call has passed.
    TimedOut = 31,
    /// The environment owes more processor time than it may.
    Indebted = 32,
    /// There is no such gate, or it is not bound.
    NoGate = 33,
    /// The environment takes no calls at present: it serves one, has masked them, or was interrupted. Or it has no ring for messages.
    NotAccepting = 34,
    /// The caller was stopped while it waited for an answer, and the call given up.
    Interrupted = 35,
    /// The receiver's ring has no free entry.
    RingFull = 36,
    /// It is longer than a message can be.
    TooLong = 37,
    /// Another filter under the same key takes these frames already.
    Overlap = 38,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_round_trip() {
        for (i, error) in Error::ALL.iter().enumerate() {
            assert_eq!(*error as usize, i + 1);
            assert_eq!(Error::from_code(*error as u16), Some(*error));
        }
        assert_eq!(Error::from_code(0), None);
        assert_eq!(Error::from_code(Error::ALL.len() as u16 + 1), None);
    }

    #[test]
    fn each_error_is_explained() {
        for error in Error::ALL {
            assert!(error.explanation().ends_with('.'), "{error}");
        }
    }
}
