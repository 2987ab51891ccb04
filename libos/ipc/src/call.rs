//! Typed calls: the caller's side.
//!
//! A [`Service`] says what is asked and what is answered. The request is all of a message's eight words; of an answer
//! the first word tells whether the request was understood, and seven are the answer's:
//!
//! ```text
//!   request   x0 .. x7   the request's words, then zeros
//!   answer    x0         0: understood     1: the words were no request     2: the answer is too long
//!             x1 .. x7   the answer's words, then zeros
//! ```

pub(crate) mod instruction;

use core::fmt;
use core::marker::PhantomData;

use exopi_rt::transfer::{FOREVER, MESSAGE_WORDS, Message};
use exopi_rt::{Environment, Error};

use crate::gate::Gate;
use crate::wait::Wait;
use crate::wire::{self, Wire};

/// What is asked and answered.
///
/// ```
/// # use exopi_ipc::Service;
/// /// Adds two numbers, if the sum is one.
/// struct Adder;
///
/// impl Service for Adder {
///     type Request = (u64, u64);
///     type Answer = Option<u64>;
/// }
/// ```
pub trait Service {
    /// At most eight words.
    type Request: Wire;
    /// At most seven words.
    type Answer: Wire;
}

/// Whether a service's messages fit, found out when the program is compiled.
pub(crate) struct Fits<S>(PhantomData<S>);

impl<S: Service> Fits<S> {
    pub(crate) const CHECKED: () = {
        assert!(
            S::Request::WORDS <= MESSAGE_WORDS,
            "a request has at most eight words"
        );
        assert!(
            S::Answer::WORDS < MESSAGE_WORDS,
            "an answer has at most seven words"
        );
    };
}

/// First word of an answer: the request was understood.
pub(crate) const UNDERSTOOD: u64 = 0;
/// First word of an answer: it was not.
pub(crate) const NOT_UNDERSTOOD: u64 = 1;
/// First word of an answer: it was, and the answer has more words than its type says.
pub(crate) const NO_ANSWER: u64 = 2;

/// What carries messages to a callee: a [`Gate`], or what a test puts in its place.
pub trait Transfer {
    /// Calls with `message`, which becomes the answer; waits until `deadline`, in ticks of the counter, if that is
    /// not [`FOREVER`].
    ///
    /// # Errors
    /// Those of `pct_call`.
    fn call(&self, deadline: u64, message: &mut Message) -> Result<(), Error>;

    /// Sends `message` and waits for nothing.
    ///
    /// # Errors
    /// Those of `pct_send`.
    fn send(&self, message: &Message) -> Result<(), Error>;
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The kernel refused it, or it failed. [`Error::Stale`], [`Error::TimedOut`] and [`Error::Interrupted`] can mean
    /// that the callee has begun to carry it out; with all others it has not.
    Refused(Error),
    /// The callee says that the words were no request of its.
    NotUnderstood,
    /// What came back is no answer of the service's.
    BadAnswer,
    /// The request has more words than its type says.
    TooLong,
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::NotUnderstood => f.write_str("the request was not understood"),
            Self::BadAnswer => f.write_str("the answer is none"),
            Self::TooLong => f.write_str("the request is too long"),
        }
    }
}

impl core::error::Error for CallError {}

/// Whoever asks a service through a gate.
#[derive(Debug)]
pub struct Client<S, T = Gate> {
    transfer: T,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Client<S> {
    /// Binds a gate to the environment that serves.
    ///
    /// # Errors
    /// Those of [`Gate::bind`].
    pub fn bind(environment: Environment<'_>) -> Result<Self, Error> {
        Gate::bind(environment).map(Self::new)
    }
}

impl<S: Service, T: Transfer> Client<S, T> {
    /// Through a gate that is bound.
    pub const fn new(transfer: T) -> Self {
        let () = Fits::<S>::CHECKED;
        Self {
            transfer,
            service: PhantomData,
        }
    }

    /// What it calls through.
    pub const fn transfer(&self) -> &T {
        &self.transfer
    }

    /// What it called through.
    pub fn into_transfer(self) -> T {
        self.transfer
    }

    /// Asks, and waits for the answer for as long as it takes.
    ///
    /// # Errors
    /// See [`CallError`]. A callee that is busy is refused at once: [`Client::insist`] asks again.
    #[inline(always)]
    pub fn call(&self, request: &S::Request) -> Result<S::Answer, CallError> {
        self.call_until(request, FOREVER)
    }

    /// The same until `deadline`, in ticks of the counter.
    ///
    /// # Errors
    /// As for [`Client::call`].
    #[inline(always)]
    pub fn call_until(&self, request: &S::Request, deadline: u64) -> Result<S::Answer, CallError> {
        let mut message = Self::message(request)?;
        self.transfer.call(deadline, &mut message)?;
        let [outcome, answer @ ..] = &message;
        match *outcome {
            UNDERSTOOD => wire::decode(answer).map_err(|_| CallError::BadAnswer),
            NOT_UNDERSTOOD if answer.iter().all(|word| *word == 0) => Err(CallError::NotUnderstood),
            _ => Err(CallError::BadAnswer),
        }
    }

    /// Asks again for as long as the callee serves somebody else, or has another core, and `wait` has patience.
    ///
    /// # Errors
    /// As for [`Client::call`]; the last refusal when `wait` gives up.
    pub fn insist(
        &self,
        request: &S::Request,
        wait: &mut impl Wait,
    ) -> Result<S::Answer, CallError> {
        loop {
            match self.call(request) {
                Err(CallError::Refused(error @ (Error::Busy | Error::NotAccepting))) => {
                    wait.turn().map_err(|_| CallError::Refused(error))?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Tells, and waits for nothing: whether the words are understood is not heard of. The callee runs at once,
    /// and the caller when it next has a core.
    ///
    /// # Errors
    /// See [`CallError`].
    #[inline(always)]
    pub fn send(&self, request: &S::Request) -> Result<(), CallError> {
        Ok(self.transfer.send(&Self::message(request)?)?)
    }

    #[inline(always)]
    fn message(request: &S::Request) -> Result<Message, CallError> {
        let mut message = [0; MESSAGE_WORDS];
        wire::encode(request, &mut message).map_err(|_| CallError::TooLong)?;
        Ok(message)
    }
}
