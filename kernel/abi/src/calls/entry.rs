//! From registers to a handler: what the kernel's table of functions is made of.

use super::{Call, Calls};
use crate::registers::Reply;

/// The kernel's table holds one of these for each call: registers in, registers out.
pub type Entry = extern "C" fn(u64, u64, u64, u64, u64, u64) -> Reply;

/// A [`Calls`] that can be found from nowhere: how an [`Entry`], which gets registers and nothing
/// else, reaches the state that it works on.
pub trait Ambient: Calls {
    /// Calls that have an entry of their own for the usual value of their first argument
    /// ([`Argument::USUAL`](crate::registers::Argument::USUAL)): those where taking the other values apart is a large
    /// part of the call.
    const APART: &'static [Call] = &[];

    /// Runs `work`, which is `call`, on the caller's state.
    fn with(call: Call, work: impl FnOnce(&mut Self) -> Reply) -> Reply;

    /// The same for the usual value of the first argument of a call in [`Ambient::APART`].
    fn with_usual(call: Call, work: impl FnOnce(&mut Self) -> Reply) -> Reply {
        Self::with(call, work)
    }

    /// Hears of each call that came back, for tracing.
    fn observe(call: Call, arguments: [u64; 6], reply: Reply) {
        let _ = (call, arguments, reply);
    }
}

/// Whether `call` is one of `calls`.
pub(super) const fn is_among(call: Call, calls: &[Call]) -> bool {
    match calls {
        [] => false,
        [first, rest @ ..] => *first as u16 == call as u16 || is_among(call, rest),
    }
}

/// The usual value of the first of a call's arguments, given those of all.
pub(super) const fn first_usual(usual: &[Option<u64>]) -> Option<u64> {
    match usual {
        [first, ..] => *first,
        [] => None,
    }
}

/// The sum of them.
pub(super) const fn sum(words: &[usize]) -> usize {
    match words {
        [] => 0,
        [first, rest @ ..] => *first + sum(rest),
    }
}
