//! Many operations on the mappings of one space by one call.
//!
//! Each operation is decoded as the call that it names, by the same decoders, and carried out by the same function,
//! which takes the lock for itself: nobody waits longer for a batch than for one of its operations.

use exopi_abi::page::{BATCH_BOUND, BATCH_MAPPINGS};
use exopi_abi::registers::{Argument, Arguments, Outcome};
use exopi_abi::{Call, Error, OnRefusal, Operation, Progress, Reply, UserOperations};
use exopi_domains::{Subject, Target};

use super::mapping;
use crate::arch::user::UserOperation;

/// What an operation did.
struct Done {
    /// The call's result.
    reply: Reply,
    /// How far it came.
    done: u64,
    /// Whether it did all that it was to do.
    whole: bool,
}

impl Done {
    fn refused(error: Error) -> Self {
        Self {
            reply: Reply::refusal(error),
            done: 0,
            whole: false,
        }
    }

    fn so_far(progress: Progress, wanted: u64) -> Self {
        Self {
            reply: progress.into_reply(),
            done: progress.done,
            whole: progress.stopped.is_none() && progress.done == wanted,
        }
    }
}

/// What follows the space in the registers of a call: decoded one after the other, as its row does it.
trait Following: Sized {
    fn decode(from: &mut Arguments) -> Result<Self, Error>;
}

macro_rules! following {
    ($($argument:ident)+) => {
        impl<$($argument: Argument),+> Following for ($($argument,)+) {
            #[inline(always)]
            fn decode(from: &mut Arguments) -> Result<Self, Error> {
                Ok(($($argument::decode(from)?,)+))
            }
        }
    };
}

following!(A B);
following!(A B C);
following!(A B C D);

/// Makes `call` with what it takes after the space. What that is, `call` says by its types.
#[inline(always)]
fn make<A: Following>(mut from: Arguments, call: impl FnOnce(A) -> Done) -> Done {
    match A::decode(&mut from) {
        Ok(arguments) => call(arguments),
        Err(error) => Done::refused(error),
    }
}

/// The call with this number.
fn called(number: u64) -> Option<Call> {
    u16::try_from(number).ok().and_then(Call::from_number)
}

/// Carries out one operation on `space`.
fn carry_out(by: &Subject, space: Target<'_>, number: u64, arguments: [u64; 5]) -> Done {
    let [a, b, c, d, e] = arguments;
    let from = Arguments::new([a, b, c, d, e, 0]);
    match called(number) {
        Some(Call::insert_pte) => make(from, |(at, source, count, access)| {
            let progress = mapping::insert_pte(by, space, at, source, count, access);
            Done::so_far(progress, count)
        }),
        Some(Call::remove_pte) => make(from, |(at, count)| {
            Done::so_far(mapping::remove_pte(by, space, at, count), count)
        }),
        Some(Call::protect_pte) => make(from, |(at, count, access)| {
            let progress = mapping::protect_pte(by, space, at, count, access);
            Done::so_far(progress, count)
        }),
        Some(Call::insert_superpage) => make(from, |(at, pages, count, access)| {
            let progress = mapping::insert_superpage(by, space, at, pages, count, access);
            Done::so_far(progress, count)
        }),
        Some(Call::pte_note) => make(from, |(at, note)| {
            let noted = mapping::note(by, space, at, note);
            Done {
                reply: noted.into_reply(),
                done: 1,
                whole: noted.is_ok(),
            }
        }),
        _ => Done::refused(Error::Malformed),
    }
}

pub(super) fn carry_out_all(
    by: &Subject,
    space: Target<'_>,
    operations: &UserOperations<'_>,
    on_refusal: OnRefusal,
) -> Progress {
    if operations.count() == 0 {
        return Progress::refused(Error::BadCount);
    }
    let mut progress = Progress {
        done: 0,
        stopped: None,
    };
    let mut mappings = 0;
    while progress.done < BATCH_BOUND && mappings < BATCH_MAPPINGS {
        let Some(operation) = UserOperation::of(operations, progress.done) else {
            break;
        };
        let (number, arguments) = match operation.read() {
            Ok(read) => read,
            Err(error) => {
                progress.stopped = Some(error);
                break;
            }
        };
        let done = carry_out(by, space, number, arguments);
        progress.done += 1;
        let call = called(number);
        mappings += Operation::weight(call, arguments, done.done);
        // It was there to be written a moment ago: the operation, or another core, has taken it away.
        progress.stopped = operation.write(done.reply).err();
        let go_on = done.whole || on_refusal == OnRefusal::GoOn;
        if progress.stopped.is_some() || !go_on {
            break;
        }
    }
    progress
}
