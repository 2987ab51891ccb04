//! What a kernel is off target: a [`Calls`] and what it shows, which a test has installed for its thread.

use std::boxed::Box;
use std::cell::{Cell, RefCell};

use crate::calls::{Call, Calls, dispatch};
use crate::registers::Reply;

std::thread_local! {
    static CALLS: RefCell<Option<Box<dyn Calls>>> = const { RefCell::new(None) };
    static TABLES: RefCell<Option<Box<Tables>>> = const { RefCell::new(None) };
    static EXPOSED: Cell<u64> = const { Cell::new(0) };
    static MEMORY_END: Cell<u64> = const { Cell::new(1 << 56) };
}

/// First address beyond what a range of user memory may cover, for this thread's decoders: a test's stubs hand
/// over ranges of its own process, and that is all that a host maps.
pub fn memory_end() -> u64 {
    MEMORY_END.get()
}

/// Lets this thread's decoders take ranges up to below `at`; gives back where they ended before. With
/// [`USER_END`](crate::layout::USER_END) they decide as on the target.
pub fn end_memory(at: u64) -> u64 {
    MEMORY_END.replace(at)
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

/// What is at an address of a space's window on its tables; `None` where a load would fault.
pub type Tables = dyn Fn(u64) -> Option<u64>;

/// What this thread reads at [`TABLES_BASE`](crate::layout::TABLES_BASE) from now on; gives back what it did before.
pub fn show_tables(tables: Option<Box<Tables>>) -> Option<Box<Tables>> {
    TABLES.replace(tables)
}

/// The word at an address of the window on tables.
///
/// # Panics
/// If nothing is shown there, or where a load would fault: a test's mistake, or the code's under test.
pub fn table_word(address: u64) -> u64 {
    TABLES.with_borrow(|tables| match tables {
        Some(tables) => tables(address).unwrap_or_else(|| panic!("a fault at {address:#x}")),
        None => panic!("tables are read and none are shown to this thread"),
    })
}

/// Where this thread finds the exposed region from now on, in its own memory; 0 for nowhere. Gives back
/// where it was before.
pub fn expose(at: u64) -> u64 {
    EXPOSED.replace(at)
}

/// Where this thread finds the exposed region; 0 for nowhere.
pub fn exposed() -> u64 {
    EXPOSED.get()
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
