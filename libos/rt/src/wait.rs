//! Asking again: for calls that come to their end in steps, or that another core must let go of first.

use crate::{Error, Object, Progress, stubs, time};

/// How often in a row a call is made again that was busy, before it is given up. Another core needs an interrupt's
/// time, not more.
const BUSY: u32 = 100_000;
/// How many turns of waiting come before the core is offered to others.
const TURNS: u32 = 64;

/// Makes a call again for as long as another core is in the way, within bounds.
///
/// # Errors
/// Its refusal; [`Error::Busy`] at the bound.
pub(crate) fn while_busy<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for turn in 1..BUSY {
        match call() {
            Err(Error::Busy) => pause(turn),
            outcome => return outcome,
        }
    }
    call()
}

/// Makes a call that destroys something until it is done. What was begun comes to its end: each call that
/// does not say busy has done something, and so does the kernel in idle time, so that in the end there may be
/// nothing left to name.
///
/// # Errors
/// Its first refusal; [`Error::Busy`] if that is all it says for long.
pub(crate) fn until_gone(mut call: impl FnMut() -> Progress) -> Result<(), Error> {
    let mut begun = false;
    let mut turn = 0;
    loop {
        match call().unless_stopped() {
            Ok(0) => turn = 0,
            Ok(_) => return Ok(()),
            Err(Error::NotYours | Error::Stale) if begun => return Ok(()),
            Err(Error::Busy) if turn < BUSY => {
                turn += 1;
                pause(turn);
            }
            Err(error) => return Err(error),
        }
        begun = true;
    }
}

/// Waits a little, in the `turn`-th turn of a loop: whoever is waited for may be waiting for this core.
pub(crate) fn pause(turn: u32) {
    if turn.is_multiple_of(TURNS) {
        yield_core();
    } else {
        time::relax();
    }
}

/// Gives the core to whoever waits for it, and comes back behind all who do.
#[expect(unsafe_code, reason = "others run, with any effect on what is shared")]
pub(crate) fn yield_core() {
    // SAFETY: what others in the same space do meanwhile they could do on another core at any time. A
    // refusal means that nobody waits.
    let _ = unsafe { stubs::env_yield(Object::Own) };
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::{Call, Reply, host};

    /// Counts how often the core is given away.
    fn kernel() -> Rc<Cell<u32>> {
        let yields = Rc::new(Cell::new(0));
        let count = yields.clone();
        host::serve(move |call, words| {
            assert_eq!((call, words[0]), (Call::env_yield, 0));
            count.set(count.get() + 1);
            Reply::success(0)
        });
        yields
    }

    #[test]
    fn busy_is_asked_again_and_given_up_in_the_end() {
        let yields = kernel();
        let mut left = 1000;
        let mut call = || {
            left -= 1;
            if left == 0 { Ok(5) } else { Err(Error::Busy) }
        };
        assert_eq!(while_busy(&mut call), Ok(5));
        assert!(yields.get() > 0, "others had no turn");
        assert_eq!(while_busy(|| Err::<(), _>(Error::Busy)), Err(Error::Busy));
        assert_eq!(while_busy(|| Err::<(), _>(Error::Stale)), Err(Error::Stale));
        host::install(None);
    }

    #[test]
    fn steps_are_made_until_one_is_the_last() {
        kernel();
        let mut left = 10;
        let gone = until_gone(|| {
            left -= 1;
            Progress {
                done: u64::from(left == 0),
                stopped: (left == 5).then_some(Error::Busy),
            }
        });
        assert_eq!((gone, left), (Ok(()), 0));
        host::install(None);
    }

    #[test]
    fn what_cannot_be_named_any_more_is_gone_if_it_was_there() {
        kernel();
        let stale = Progress::refused(Error::Stale);
        assert_eq!(until_gone(|| stale), Err(Error::Stale));
        let mut answers = [Progress::refused(Error::Busy), stale].into_iter();
        assert_eq!(until_gone(|| answers.next().unwrap()), Ok(()));
        host::install(None);
    }
}
