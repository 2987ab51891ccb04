//! Where stubs go off target: to a [`Calls`] that a test installed for its thread.

use std::boxed::Box;
use std::cell::RefCell;

use crate::calls::{Call, Calls, dispatch};
use crate::registers::Reply;

std::thread_local! {
    static CALLS: RefCell<Option<Box<dyn Calls>>> = const { RefCell::new(None) };
}

/// Sends the calls of this thread's stubs to `calls` from now on; gives back who served them before.
pub fn install(calls: Option<Box<dyn Calls>>) -> Option<Box<dyn Calls>> {
    CALLS.replace(calls)
}

/// [`Calls`] that are all one function: from a call and its argument registers to its reply.
#[derive(Clone, Copy, Debug)]
pub struct Served<F>(pub F);

/// Sends the calls of this thread's stubs to a function, as [`install`] does.
pub fn serve(calls: impl FnMut(Call, [u64; 6]) -> Reply + 'static) -> Option<Box<dyn Calls>> {
    install(Some(Box::new(Served(calls))))
}

/// Makes call `NUMBER`.
///
/// # Panics
/// If nothing is installed for the thread: a test's mistake.
pub(crate) fn call<const NUMBER: u16>(arguments: [u64; 6]) -> Reply {
    CALLS.with_borrow_mut(|calls| match calls {
        Some(calls) => dispatch(&mut **calls, NUMBER, arguments),
        None => panic!("a stub was called and no kernel is installed for this thread"),
    })
}
