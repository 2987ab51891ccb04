//! How arguments and results travel in registers.
//!
//! ```text
//!   in   x0..x5   arguments, in the order of the row; a byte range takes two (address, length)
//!   out  x0       bits 0..16 error code (0 = success), bits 16..64 progress: items carried out
//!        x1       value, if the row gives one
//!        others   x2..x18, x30 hold zero; x19..x29, SP and the FP registers are as they were
//! ```

use crate::Error;

/// How many argument registers a call has.
pub const ARGUMENTS: usize = 6;

/// The argument registers of a call, consumed from x0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments {
    words: [u64; ARGUMENTS],
    next: usize,
}

impl Arguments {
    /// The registers x0..x5 as the caller left them.
    #[inline(always)]
    pub const fn new(words: [u64; ARGUMENTS]) -> Self {
        Self { words, next: 0 }
    }

    /// The next register; zero when all are consumed, which no row of the table does.
    #[inline(always)]
    pub const fn take(&mut self) -> u64 {
        let at = self.next;
        self.next += 1;
        if at < ARGUMENTS { self.words[at] } else { 0 }
    }

    /// What [`Arguments::take`] would take, which stays there.
    #[inline(always)]
    pub const fn peek(&self) -> u64 {
        let at = self.next;
        if at < ARGUMENTS { self.words[at] } else { 0 }
    }

    /// Puts a word in the next register.
    #[inline(always)]
    pub const fn put(&mut self, word: u64) {
        if self.next < ARGUMENTS {
            self.words[self.next] = word;
        }
        self.next += 1;
    }

    /// How many registers were taken or put.
    #[inline(always)]
    pub const fn consumed(&self) -> usize {
        self.next
    }

    /// All registers.
    #[inline(always)]
    pub const fn words(&self) -> [u64; ARGUMENTS] {
        self.words
    }
}

/// A type that can be an argument of a call. Decoding is total and is the type's only way in.
pub trait Argument: Sized {
    /// How many registers it takes.
    const WORDS: usize = 1;
    /// What [`Argument::decode`] can give instead of a value.
    const REFUSALS: &'static [Error] = &[];
    /// The word of the value that most calls have, if one stands out.
    const USUAL: Option<u64> = None;
    /// Takes the value out of the registers.
    ///
    /// # Errors
    /// What is wrong with the words; nothing has happened yet.
    fn decode(from: &mut Arguments) -> Result<Self, Error>;
    /// Puts the value into the registers.
    fn encode(self, into: &mut Arguments);
}

impl Argument for u64 {
    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Ok(from.take())
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self);
    }
}

macro_rules! narrow_argument {
    ($($int:ty)+) => {
        $(
            impl Argument for $int {
                const REFUSALS: &'static [Error] = &[Error::OutOfRange];

                #[inline(always)]
                fn decode(from: &mut Arguments) -> Result<Self, Error> {
                    Self::try_from(from.take()).map_err(|_| Error::OutOfRange)
                }

                #[inline(always)]
                fn encode(self, into: &mut Arguments) {
                    into.put(self.into());
                }
            }
        )+
    };
}

narrow_argument!(u16 u32);

/// The two result registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Reply {
    /// x0: error code and progress.
    pub status: u64,
    /// x1: value, or 0.
    pub value: u64,
}

impl Reply {
    const CODE_BITS: u32 = 16;

    /// Success with a value.
    #[inline(always)]
    pub const fn success(value: u64) -> Self {
        Self { status: 0, value }
    }

    /// A refusal of the whole call.
    #[inline(always)]
    pub const fn refusal(error: Error) -> Self {
        Self {
            status: error as u64,
            value: 0,
        }
    }

    /// The error code; 0 for success. A code that this version does not know counts as
    /// [`Error::Malformed`], so that a refusal is never taken for success.
    #[inline(always)]
    pub const fn error(self) -> Option<Error> {
        match (self.status & ((1 << Self::CODE_BITS) - 1)) as u16 {
            0 => None,
            code => match Error::from_code(code) {
                None => Some(Error::Malformed),
                known => known,
            },
        }
    }
}

/// How far a call over a range came.
///
/// `done` items are carried out and stay so. If `stopped` says why, the next item was refused; if not
/// and `done` is less than what was asked, the call reached its bound and the caller asks again for
/// the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "part of the range may not be done"]
pub struct Progress {
    /// Items carried out, from the first on. Less than 2^48.
    pub done: u64,
    /// Why the next item was refused, if it was.
    pub stopped: Option<Error>,
}

impl Progress {
    /// Nothing done, for this reason.
    #[inline(always)]
    pub const fn refused(error: Error) -> Self {
        Self {
            done: 0,
            stopped: Some(error),
        }
    }

    /// The count if nothing was refused.
    ///
    /// # Errors
    /// The refusal, if there was one; `done` is lost then.
    #[inline]
    pub const fn unless_stopped(self) -> Result<u64, Error> {
        match self.stopped {
            None => Ok(self.done),
            Some(error) => Err(error),
        }
    }
}

/// A type that can be the result of a call.
pub trait Outcome {
    /// The result as registers.
    fn into_reply(self) -> Reply;
    /// The result out of registers.
    fn from_reply(reply: Reply) -> Self;
    /// A refusal before the call's own code was reached.
    fn refused(error: Error) -> Self;
}

/// A type that fits the value register.
pub trait Value {
    /// The value as a word.
    fn into_word(self) -> u64;
    /// The value out of a word that the kernel wrote.
    fn from_word(word: u64) -> Self;
}

impl Value for u64 {
    #[inline(always)]
    fn into_word(self) -> u64 {
        self
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        word
    }
}

impl Value for () {
    #[inline(always)]
    fn into_word(self) -> u64 {
        0
    }

    #[inline(always)]
    fn from_word(_: u64) {}
}

impl<V: Value> Outcome for Result<V, Error> {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        match self {
            Ok(value) => Reply::success(value.into_word()),
            Err(error) => Reply::refusal(error),
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        match reply.error() {
            None => Ok(V::from_word(reply.value)),
            Some(error) => Err(error),
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Err(error)
    }
}

impl Outcome for Progress {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        let code = match self.stopped {
            None => 0,
            Some(error) => error as u64,
        };
        Reply {
            status: code | self.done << Reply::CODE_BITS,
            value: 0,
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        Self {
            done: reply.status >> Reply::CODE_BITS,
            stopped: reply.error(),
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Self::refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn progress_survives_the_registers(done in 0..1u64 << 48, code in 0..=Error::ALL.len() as u16) {
            let progress = Progress { done, stopped: Error::from_code(code) };
            prop_assert_eq!(Progress::from_reply(progress.into_reply()), progress);
        }

        #[test]
        fn any_reply_is_success_or_an_error(status: u64, value: u64) {
            let reply = Reply { status, value };
            let result = Result::<u64, Error>::from_reply(reply);
            prop_assert_eq!(result.is_ok(), status & 0xffff == 0);
        }
    }
}
