//! Typed calls: the callee's side.
//!
//! ```text
//!   Server::serve: entry of class Pct := trampoline, a stack --svc pct_reply--> at rest
//!                                                                                 |  a call
//!     x0..x7 answer <-- svc pct_reply <-- Server::answer <-- trampoline <---------+
//!                          |                decode, Handler::handle, encode
//!                          +--> at rest again
//! ```
//!
//! An environment that serves does nothing else, and one call at a time: so a handler has its state for itself, by
//! `&mut` and without a lock. Several environments serve several calls.
//!
//! # What a handler may use
//!
//! Everything that a function may, vector registers included. There is nothing to save before it runs: the
//! kernel keeps the vector registers of caller and callee apart, and enters an environment only while no activity of
//! its own is in registers. An environment that rests has none at all. (One that gives its core away at a prologue and
//! serves calls in between has such activities, of which the vector registers are in the u-area, where a handler's first
//! use finds them and where its own go afterwards. Whoever writes such an environment stores them, and TPIDR_EL0,
//! before it gives its core away; this server is not for that.)
//!
//! A handler may call others. Meanwhile calls to it are refused. It may take notices: they come between two of its
//! instructions. If it panics, the environment ends, and its caller has [`Error::Stale`](exopi_rt::Error::Stale).
//!
//! # What the caller sees, and what is believed of it
//!
//! x19..x29 at the entry are the caller's. The trampoline sets x29 to zero, the end of the chain of frames, and a
//! compiled function uses none of the others before it has set it; it stores them and puts them back, so the
//! caller finds its own values, and nothing of the handler's. x10..x18 and x30 the kernel zeroes on both ways. What
//! x8 and x9 say is the kernel's word.

#[cfg(target_os = "none")]
mod entry;

use core::marker::PhantomData;

use exopi_rt::transfer::{Call, MESSAGE_WORDS, Message};

use crate::call::{Fits, NO_ANSWER, NOT_UNDERSTOOD, Service, UNDERSTOOD};
use crate::wire;

/// What a service does.
///
/// A closure `FnMut(Request, &Call) -> Answer` is one.
pub trait Handler<S: Service> {
    /// Carries out a request and answers. `from` tells who asks, with which badge, and whether anybody waits.
    fn handle(&mut self, request: S::Request, from: &Call) -> S::Answer;

    /// Hears of words that were no request. Their sender is told, if it waits.
    fn not_understood(&mut self, _from: &Call) {}
}

impl<S: Service, F: FnMut(S::Request, &Call) -> S::Answer> Handler<S> for F {
    fn handle(&mut self, request: S::Request, from: &Call) -> S::Answer {
        self(request, from)
    }
}

/// A service and who carries it out.
#[derive(Debug)]
pub struct Server<S, H> {
    handler: H,
    service: PhantomData<fn() -> S>,
}

impl<S: Service, H: Handler<S>> Server<S, H> {
    /// One that `handler` carries out.
    pub const fn new(handler: H) -> Self {
        let () = Fits::<S>::CHECKED;
        Self {
            handler,
            service: PhantomData,
        }
    }

    /// The handler.
    pub const fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Makes of a message that came from anybody its answer.
    #[inline(always)]
    pub fn answer(&mut self, message: &mut Message, from: &Call) {
        let request = wire::decode(message);
        *message = [0; MESSAGE_WORDS];
        let [outcome, answer @ ..] = message;
        *outcome = match request {
            Ok(request) => {
                let value = self.handler.handle(request, from);
                match wire::encode(&value, answer) {
                    Ok(()) => UNDERSTOOD,
                    Err(wire::Malformed) => NO_ANSWER,
                }
            }
            Err(wire::Malformed) => {
                self.handler.not_understood(from);
                NOT_UNDERSTOOD
            }
        };
    }

    /// From now on the calling environment does nothing but serve calls, on what is left of its stack.
    #[cfg(target_os = "none")]
    pub fn serve(&mut self) -> ! {
        entry::serve(self)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::vec::Vec;

    use exopi_rt::Error;
    use exopi_rt::domain::ObjectName;
    use exopi_rt::transfer::FOREVER;
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::call::{CallError, Client, Transfer};
    use crate::wait::Wait;

    /// Divides.
    struct Divider;

    impl Service for Divider {
        type Request = (u64, u64);
        type Answer = Option<u64>;
    }

    fn from(badge: u32, one_way: bool) -> Call {
        Call {
            caller: ObjectName::from_word(0x5_0003),
            badge,
            one_way,
        }
    }

    /// The other side is in the same thread; at first it is busy for some calls.
    struct Loopback<S, H> {
        server: RefCell<Server<S, H>>,
        busy: RefCell<u32>,
        damage: fn(&mut Message),
        deadlines: RefCell<Vec<u64>>,
    }

    impl<S: Service, H: Handler<S>> Loopback<S, H> {
        fn new(handler: H) -> Self {
            Self {
                server: RefCell::new(Server::new(handler)),
                busy: RefCell::new(0),
                damage: |_| {},
                deadlines: RefCell::default(),
            }
        }
    }

    impl<S: Service, H: Handler<S>> Transfer for Loopback<S, H> {
        fn call(&self, deadline: u64, message: &mut Message) -> Result<(), Error> {
            if let Some(left) = { *self.busy.borrow() }.checked_sub(1) {
                self.busy.replace(left);
                return Err(Error::Busy);
            }
            self.deadlines.borrow_mut().push(deadline);
            self.server.borrow_mut().answer(message, &from(9, false));
            (self.damage)(message);
            Ok(())
        }

        fn send(&self, message: &Message) -> Result<(), Error> {
            let mut message = *message;
            self.server
                .borrow_mut()
                .answer(&mut message, &from(9, true));
            Ok(())
        }
    }

    fn divide((left, right): (u64, u64), _: &Call) -> Option<u64> {
        left.checked_div(right)
    }

    #[test]
    fn a_call_is_answered() {
        let client = Client::<Divider, _>::new(Loopback::<Divider, _>::new(divide));
        assert_eq!(client.call(&(42, 6)), Ok(Some(7)));
        assert_eq!(client.call_until(&(42, 0), 77), Ok(None));
        assert_eq!(*client.transfer().deadlines.borrow(), [FOREVER, 77]);
    }

    #[test]
    fn the_handler_is_told_who_asks() {
        let told = RefCell::new(Vec::new());
        let client = Client::<Divider, _>::new(Loopback::<Divider, _>::new(|_, from: &Call| {
            told.borrow_mut().push(*from);
            None
        }));
        assert_eq!(client.call(&(1, 1)), Ok(None));
        assert_eq!(client.send(&(1, 1)), Ok(()));
        assert_eq!(*told.borrow(), [from(9, false), from(9, true)]);
    }

    #[test]
    fn words_that_are_no_answer_are_none() {
        let mut loopback = Loopback::<Divider, _>::new(divide);
        for (damage, error) in [
            (
                (|words| words[0] = 2) as fn(&mut Message),
                CallError::BadAnswer,
            ),
            (|words| words[1] = 2, CallError::BadAnswer),
            (|words| words[7] = 1, CallError::BadAnswer),
            (
                |words| *words = [1, 0, 0, 0, 0, 0, 0, 0],
                CallError::NotUnderstood,
            ),
            (
                |words| *words = [1, 0, 0, 0, 0, 0, 0, 1],
                CallError::BadAnswer,
            ),
        ] {
            loopback.damage = damage;
            let client = Client::<Divider, _>::new(loopback);
            assert_eq!(client.call(&(4, 2)), Err(error));
            loopback = client.into_transfer();
        }
    }

    struct Turns(u32);

    impl Wait for Turns {
        fn turn(&mut self) -> Result<(), Error> {
            self.0 = self.0.checked_sub(1).ok_or(Error::TimedOut)?;
            Ok(())
        }
    }

    #[test]
    fn who_insists_asks_again() {
        let loopback = Loopback::<Divider, _>::new(divide);
        loopback.busy.replace(5);
        let client = Client::<Divider, _>::new(loopback);
        assert_eq!(client.call(&(1, 1)), Err(CallError::Refused(Error::Busy)));
        assert_eq!(
            client.insist(&(1, 1), &mut Turns(3)),
            Err(CallError::Refused(Error::Busy))
        );
        assert_eq!(client.insist(&(8, 2), &mut Turns(3)), Ok(Some(4)));
    }

    /// Counts what it does not understand.
    struct Counting(u32);

    impl Handler<Divider> for Counting {
        fn handle(&mut self, _: (u64, u64), _: &Call) -> Option<u64> {
            Some(1)
        }

        fn not_understood(&mut self, _: &Call) {
            self.0 += 1;
        }
    }

    #[test]
    fn what_is_not_understood_is_told_to_both() {
        let mut server = Server::<Divider, _>::new(Counting(0));
        let mut message = [1, 2, 3, 0, 0, 0, 0, 0];
        server.answer(&mut message, &from(0, false));
        assert_eq!(message, [NOT_UNDERSTOOD, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(server.handler().0, 1);
    }

    proptest! {
        /// Whatever comes, what goes back has the service's form, and nothing of what came.
        #[test]
        fn any_message_is_answered(words in any::<[u64; MESSAGE_WORDS]>(), short: bool) {
            let mut message = words;
            if short {
                message[2..].fill(0);
            }
            let mut server = Server::<Divider, _>::new(divide);
            server.answer(&mut message, &from(0, false));
            let quotient = words[0].checked_div(words[1]);
            let expected = match (short || words[2..] == [0; 6], quotient) {
                (false, _) => [1, 0, 0, 0, 0, 0, 0, 0],
                (true, None) => [0; 8],
                (true, Some(quotient)) => [0, 1, quotient, 0, 0, 0, 0, 0],
            };
            assert_eq!(message, expected);
        }
    }
}
