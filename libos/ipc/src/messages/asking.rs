//! Typed calls by messages: for a service whose server is on another core, or has much to do.
//!
//! ```text
//!   Asker                                    server
//!     request: number | words  -- its ring -->  answer(letter, sender, handler)
//!     its ring  <-- answer: number | outcome | words --
//! ```
//!
//! The server needs the right to call who asks. An answer is believed if it comes from the server and has the number of
//! what was asked; whatever else comes into the asker's ring meanwhile is dropped.

use core::marker::PhantomData;

use exopi_rt::Error;
use exopi_rt::domain::ObjectName;

use super::{Letter, MessageRing, Sender};
use crate::call::{CallError, Fits, NOT_UNDERSTOOD, Service, UNDERSTOOD};
use crate::wait::Wait;
use crate::wire::{Malformed, Reader, Wire, Writer};

/// A request with its number.
struct Numbered<T>(u64, T);

impl<T: Wire> Wire for Numbered<T> {
    const WORDS: usize = T::WORDS + 1;

    fn encode(&self, into: &mut Writer<'_>) {
        into.put(self.0);
        self.1.encode(into);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(from.take()?, T::decode(from)?))
    }
}

/// An answer: the request's outcome, and a value if it was understood.
struct Outcome<T>(Option<T>);

impl<T: Wire> Wire for Outcome<T> {
    const WORDS: usize = T::WORDS + 1;

    fn encode(&self, into: &mut Writer<'_>) {
        match &self.0 {
            Some(value) => {
                into.put(UNDERSTOOD);
                value.encode(into);
            }
            None => into.put(NOT_UNDERSTOOD),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.take()? {
            UNDERSTOOD => T::decode(from).map(|value| Self(Some(value))),
            NOT_UNDERSTOOD => Ok(Self(None)),
            _ => Err(Malformed),
        }
    }
}

/// Who asks a service by messages, and has the answers in a ring of its own.
#[derive(Debug)]
pub struct Asker<S> {
    sender: Sender,
    server: ObjectName,
    number: u64,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Asker<S> {
    /// Through `sender`, which leads to `server`.
    pub const fn new(sender: Sender, server: ObjectName) -> Self {
        let () = Fits::<S>::CHECKED;
        Self {
            sender,
            server,
            number: 0,
            service: PhantomData,
        }
    }

    /// Asks, and waits for the answer in `ring` as long as `wait` does.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(
        &mut self,
        ring: &mut MessageRing,
        request: S::Request,
        wait: &mut impl Wait,
    ) -> Result<S::Answer, CallError> {
        self.number = self.number.wrapping_add(1);
        let (number, server) = (self.number, self.server);
        let sent = self.sender.send_value(&Numbered(number, request), wait);
        sent.map_err(|error| match error {
            Error::TooLong => CallError::TooLong,
            error => CallError::Refused(error),
        })?;
        loop {
            let look = |letter: Letter<'_>| {
                let first = letter.words().first();
                let number_of = first.map(|word| word.load(core::sync::atomic::Ordering::Relaxed));
                let is_ours = letter.sender == server && number_of == Some(number);
                is_ours.then(|| letter.value::<Numbered<Outcome<S::Answer>>>())
            };
            match ring.receive(look, wait)? {
                None => {}
                Some(Ok(Numbered(_, Outcome(Some(answer))))) => return Ok(answer),
                Some(Ok(Numbered(_, Outcome(None)))) => return Err(CallError::NotUnderstood),
                Some(Err(Malformed)) => return Err(CallError::BadAnswer),
            }
        }
    }
}

/// Answers what `letter` asks, by `handle`, through `to`, which leads to who has sent it, waiting for room as long as
/// `wait` does. What is no request is answered so, unless it has no number.
///
/// # Errors
/// [`Error::Malformed`] of what has no number; those of [`Sender::send_value`].
pub fn answer<S: Service>(
    letter: &Letter<'_>,
    to: &Sender,
    handle: impl FnOnce(S::Request) -> S::Answer,
    wait: &mut impl Wait,
) -> Result<(), Error> {
    let () = Fits::<S>::CHECKED;
    let number = letter.words().first().ok_or(Error::Malformed)?;
    let number = number.load(core::sync::atomic::Ordering::Relaxed);
    let request = letter.value::<Numbered<S::Request>>();
    let outcome = request.ok().map(|Numbered(_, request)| handle(request));
    to.send_value(&Numbered(number, Outcome(outcome)), wait)
}
