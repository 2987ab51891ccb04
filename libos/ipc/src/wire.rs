//! Values as words of a message, and back.
//!
//! Whoever decodes has words from anybody. So decoding is total: a value or [`Malformed`]. It is also strict: each
//! value has one form, words that a value does not use are zero, and what is not zero there is refused. That way
//! a later version can give such a word a meaning, and an older side says that it does not know it.

use exopi_rt::cap::Cap;
use exopi_rt::capability::{CAPABILITY_WORDS, KindRights};
use exopi_rt::domain::ObjectName;
use exopi_rt::{Capability, PageNumber};

/// The words are no value of the type that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A value that travels in words.
pub trait Wire: Sized {
    /// The most words that a value takes.
    const WORDS: usize;

    /// Appends the value's words, no more than [`Wire::WORDS`].
    fn encode(&self, into: &mut Writer<'_>);

    /// Takes a value's words, as many as [`Wire::encode`] appends.
    ///
    /// # Errors
    /// [`Malformed`]: they are none.
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// Words that are written one after the other; those that are not stay as they were.
#[derive(Debug)]
pub struct Writer<'a> {
    left: &'a mut [u64],
    overrun: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the first of `words` on.
    #[inline(always)]
    pub const fn new(words: &'a mut [u64]) -> Self {
        Self {
            left: words,
            overrun: false,
        }
    }

    /// Appends a word. One for which there is no place is dropped, and [`Writer::finish`] says so.
    #[inline(always)]
    pub fn put(&mut self, word: u64) {
        match core::mem::take(&mut self.left) {
            [first, rest @ ..] => {
                *first = word;
                self.left = rest;
            }
            [] => self.overrun = true,
        }
    }

    /// The end of a value.
    ///
    /// # Errors
    /// [`Malformed`]: it had more words than there were places, whatever its [`Wire::WORDS`] says.
    #[inline(always)]
    pub const fn finish(self) -> Result<(), Malformed> {
        if self.overrun { Err(Malformed) } else { Ok(()) }
    }
}

/// Words that are read one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    left: &'a [u64],
}

impl<'a> Reader<'a> {
    /// Reads from the first of `words` on.
    #[inline(always)]
    pub const fn new(words: &'a [u64]) -> Self {
        Self { left: words }
    }

    /// The next word.
    ///
    /// # Errors
    /// [`Malformed`]: there is none.
    #[inline(always)]
    pub const fn take(&mut self) -> Result<u64, Malformed> {
        match self.left {
            [first, rest @ ..] => {
                self.left = rest;
                Ok(*first)
            }
            [] => Err(Malformed),
        }
    }

    /// The end of a value.
    ///
    /// # Errors
    /// [`Malformed`]: a word that is left is not zero.
    #[inline(always)]
    pub fn finish(self) -> Result<(), Malformed> {
        match self.left.iter().fold(0, |all, word| all | word) {
            0 => Ok(()),
            _ => Err(Malformed),
        }
    }
}

/// Puts a value's words into `words`, which are zero.
///
/// # Errors
/// [`Malformed`]: it has more.
#[inline(always)]
pub fn encode<T: Wire>(value: &T, words: &mut [u64]) -> Result<(), Malformed> {
    let mut writer = Writer::new(words);
    value.encode(&mut writer);
    writer.finish()
}

/// The value that `words` are, all of them.
///
/// # Errors
/// [`Malformed`]: they are none.
#[inline(always)]
pub fn decode<T: Wire>(words: &[u64]) -> Result<T, Malformed> {
    let mut reader = Reader::new(words);
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

impl Wire for () {
    const WORDS: usize = 0;

    #[inline(always)]
    fn encode(&self, _: &mut Writer<'_>) {}

    #[inline(always)]
    fn decode(_: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(())
    }
}

impl Wire for u64 {
    const WORDS: usize = 1;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        into.put(*self);
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.take()
    }
}

macro_rules! narrow {
    ($($type:ty),+) => { $(
        impl Wire for $type {
            const WORDS: usize = 1;

            #[inline(always)]
            fn encode(&self, into: &mut Writer<'_>) {
                into.put(u64::from(*self));
            }

            #[inline(always)]
            fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                Self::try_from(from.take()?).map_err(|_| Malformed)
            }
        }
    )+ };
}

narrow!(u8, u16, u32);

impl Wire for i64 {
    const WORDS: usize = 1;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        into.put(self.cast_unsigned());
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.take().map(u64::cast_signed)
    }
}

impl Wire for bool {
    const WORDS: usize = 1;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        into.put(u64::from(*self));
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.take()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    const WORDS: usize = 1 + T::WORDS;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.is_some().encode(into);
        if let Some(value) = self {
            value.encode(into);
        }
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match bool::decode(from)? {
            true => T::decode(from).map(Some),
            false => Ok(None),
        }
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    const WORDS: usize = 1 + if T::WORDS > E::WORDS {
        T::WORDS
    } else {
        E::WORDS
    };

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.is_err().encode(into);
        match self {
            Ok(value) => value.encode(into),
            Err(error) => error.encode(into),
        }
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match bool::decode(from)? {
            false => T::decode(from).map(Ok),
            true => E::decode(from).map(Err),
        }
    }
}

/// Any number of words. (Of an array of values, of which some could be malformed, there would be no total
/// decoding in place.)
impl<const N: usize> Wire for [u64; N] {
    const WORDS: usize = N;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        for word in self {
            into.put(*word);
        }
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut words = [0; N];
        for word in &mut words {
            *word = from.take()?;
        }
        Ok(words)
    }
}

/// Bytes, eight to a word, the first one lowest. What is left of the last word is zero.
impl<const N: usize> Wire for [u8; N] {
    const WORDS: usize = N.div_ceil(8);

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        for bytes in self.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(bytes) {
                *to = *from;
            }
            into.put(u64::from_le_bytes(word));
        }
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut all = [0; N];
        for bytes in all.chunks_mut(8) {
            let word = from.take()?.to_le_bytes();
            for (to, from) in bytes.iter_mut().zip(word) {
                *to = from;
            }
            if word.iter().skip(bytes.len()).any(|rest| *rest != 0) {
                return Err(Malformed);
            }
        }
        Ok(all)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    const WORDS: usize = A::WORDS + B::WORDS;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.0.encode(into);
        self.1.encode(into);
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::decode(from)?, B::decode(from)?))
    }
}

impl Wire for ObjectName {
    const WORDS: usize = 1;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        into.put(self.word());
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.take().map(Self::from_word)
    }
}

impl Wire for PageNumber {
    const WORDS: usize = 1;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.get().encode(into);
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        u32::decode(from).map(Self::new)
    }
}

/// A capability, in six words. Whether it is genuine the kernel says when it is presented.
impl Wire for Capability {
    const WORDS: usize = CAPABILITY_WORDS;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.words().encode(into);
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_words(Wire::decode(from)?).map_err(|_| Malformed)
    }
}

/// The same for one kind of thing.
impl<R: KindRights> Wire for Cap<R> {
    const WORDS: usize = CAPABILITY_WORDS;

    #[inline(always)]
    fn encode(&self, into: &mut Writer<'_>) {
        self.capability().encode(into);
    }

    #[inline(always)]
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(Wire::decode(from)?).map_err(|_| Malformed)
    }
}

/// Defines an enumeration of messages that is a [`Wire`]: a word says which, its fields follow.
///
/// ```
/// exopi_ipc::messages! {
///     /// What a counter is asked.
///     #[derive(Debug, PartialEq)]
///     pub enum Request {
///         /// Adds.
///         1 => Add { amount: u64 },
///         /// Tells.
///         2 => Get {},
///     }
/// }
/// use exopi_ipc::wire::{Malformed, Wire, decode};
///
/// assert_eq!(Request::WORDS, 2);
/// assert_eq!(decode(&[1, 5]), Ok(Request::Add { amount: 5 }));
/// assert_eq!(decode(&[2, 0]), Ok(Request::Get {}));
/// // A word that `Get` does not have, a code that nothing has, a message that ends early.
/// for words in [&[2, 1][..], &[3, 0], &[1]] {
///     assert_eq!(decode::<Request>(words), Err(Malformed));
/// }
/// ```
#[macro_export]
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $visible:vis enum $name:ident { $(
            $(#[$variant_meta:meta])*
            $code:literal => $variant:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty ),* $(,)? }
        ),+ $(,)? }
    ) => {
        $(#[$meta])*
        $visible enum $name { $(
            $(#[$variant_meta])*
            $variant { $( $(#[$field_meta])* $field: $type ),* }
        ),+ }

        impl $crate::wire::Wire for $name {
            const WORDS: usize = 1 + $crate::wire::most(&[$(
                0 $( + <$type as $crate::wire::Wire>::WORDS )*
            ),+]);

            #[inline(always)]
            fn encode(&self, into: &mut $crate::wire::Writer<'_>) {
                match self { $(
                    Self::$variant { $($field),* } => {
                        into.put($code);
                        $( $crate::wire::Wire::encode($field, into); )*
                    }
                )+ }
            }

            #[inline(always)]
            fn decode(
                from: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::Malformed> {
                match from.take()? {
                    $( $code => Ok(Self::$variant {
                        $( $field: $crate::wire::Wire::decode(from)? ),*
                    }), )+
                    _ => Err($crate::wire::Malformed),
                }
            }
        }
    };
}

/// The largest of some numbers; 0 of none.
pub const fn most(numbers: &[usize]) -> usize {
    match numbers {
        [] => 0,
        [first, rest @ ..] => {
            let other = most(rest);
            if *first > other { *first } else { other }
        }
    }
}

#[cfg(test)]
mod tests {
    use exopi_rt::cap::PageCap;
    use exopi_rt::transfer::MESSAGE_WORDS;
    use proptest::prelude::{any, proptest};

    use super::*;

    messages! {
        /// One of each.
        #[derive(Clone, Debug, PartialEq)]
        enum Mixed {
            /// Nothing.
            0 => Empty {},
            /// Small ones.
            1 => Small { byte: u8, half: u16, word: u32, flag: bool, signed: i64 },
            /// Nested ones.
            2 => Nested { maybe: Option<u32>, outcome: Result<(u8, bool), PageNumber> },
            /// Rows.
            7 => Rows { words: [u64; 2], bytes: [u8; 13], name: ObjectName },
        }
    }

    #[test]
    fn words_are_as_written() {
        let mixed = Mixed::Nested {
            maybe: Some(5),
            outcome: Err(PageNumber::new(9)),
        };
        let mut words = [0; 8];
        assert_eq!(encode(&mixed, &mut words), Ok(()));
        assert_eq!(words, [2, 1, 5, 1, 9, 0, 0, 0]);
        assert_eq!(Mixed::WORDS, 6);
        assert_eq!(encode(&mixed, &mut [0; 4]), Err(Malformed));
        assert_eq!(encode(&mixed, &mut [0; 5]), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decode::<u8>(&[256]), Err(Malformed));
        assert_eq!(decode::<u16>(&[1 << 16]), Err(Malformed));
        assert_eq!(decode::<u32>(&[1 << 32]), Err(Malformed));
        assert_eq!(decode::<bool>(&[2]), Err(Malformed));
        assert_eq!(decode::<Option<u64>>(&[0, 1]), Err(Malformed));
        assert_eq!(decode::<[u8; 3]>(&[0x0100_0000]), Err(Malformed));
        assert_eq!(decode::<[u8; 3]>(&[0x00ff_fefd]), Ok([0xfd, 0xfe, 0xff]));
        assert_eq!(decode::<Capability>(&[0; 6]), Err(Malformed));
        assert_eq!(decode::<()>(&[]), Ok(()));
        assert_eq!(decode::<()>(&[1]), Err(Malformed));
        assert_eq!(most(&[]), 0);
        assert_eq!(most(&[3, 9, 4]), 9);
    }

    proptest! {
        /// Whatever comes is refused, or is a value whose own words are what came.
        #[test]
        fn any_words_are_a_value_of_their_own_or_none(
            mut words in any::<[u64; MESSAGE_WORDS]>(),
            small in any::<[bool; MESSAGE_WORDS]>(),
            zeros in 0..=MESSAGE_WORDS,
        ) {
            for (word, small) in words.iter_mut().zip(small) {
                if small { *word %= 8; }
            }
            words.iter_mut().rev().take(zeros).for_each(|word| *word = 0);
            fn same<T: Wire>(words: &[u64; MESSAGE_WORDS]) {
                if let Ok(value) = decode::<T>(words) {
                    let mut again = [0; MESSAGE_WORDS];
                    assert_eq!(encode(&value, &mut again), Ok(()));
                    assert_eq!(&again, words);
                }
            }
            same::<Mixed>(&words);
            same::<PageCap>(&words);
            same::<Result<Option<bool>, [u8; 31]>>(&words);
            same::<[u64; 8]>(&words);
        }

        #[test]
        fn values_come_back(byte: u8, half: u16, word: u32, flag: bool, signed: i64) {
            let value = Mixed::Small { byte, half, word, flag, signed };
            let mut words = [0; MESSAGE_WORDS];
            assert_eq!(encode(&value, &mut words), Ok(()));
            assert_eq!(decode(&words), Ok(value));
        }
    }
}
