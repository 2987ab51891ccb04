//! System calls: what a row of the table does. One file for each resource.
//!
//! A call has come through `exopi_abi`'s decoders before it gets here. Here it is checked against the
//! state that the lock guards, and then carried out; a refused call has changed nothing.

mod board;
mod console;
mod page;
mod space;
mod upcall;

use exopi_abi::calls::Ambient;
use exopi_abi::types::{
    Access, Allocation, PageNumber, PageSelect, PageSource, Space, TableLevel, UserBytes,
    UserBytesMut, VirtAddr,
};
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{Call, Calls, Error, Progress, Reply};

use crate::arch::core_data::Core;
use crate::environment::EnvironmentNumber;
use crate::exposed;

/// The environment that runs on this core and makes the call.
#[derive(Debug)]
pub struct Caller;

impl Caller {
    /// Whether the caller may use what belongs to the first environment: console and board.
    ///
    /// # Errors
    /// [`Error::MissingRight`].
    fn must_be_first(&self) -> Result<(), Error> {
        if Core::runs(EnvironmentNumber::FIRST) {
            Ok(())
        } else {
            Err(Error::MissingRight)
        }
    }
}

impl Ambient for Caller {
    #[inline(always)]
    fn with(call: impl FnOnce(&mut Self) -> Reply) -> Reply {
        call(&mut Self)
    }

    #[inline(always)]
    fn observe(call: Call, arguments: [u64; 6], reply: Reply) {
        if cfg!(feature = "trace") {
            trace(call, arguments, reply);
        }
        #[cfg(feature = "count")]
        exposed::show_device_accesses();
    }
}

/// Prints a call in builds with feature `trace`, which exist for debugging alone.
fn trace(call: Call, arguments: [u64; 6], reply: Reply) {
    // Tracing what prints would never end.
    if !matches!(call, Call::console_write | Call::console_read) {
        crate::console::log!("{} {arguments:x?} = {reply:x?}", call.name());
    }
}

impl Calls for Caller {
    #[inline(always)]
    fn null(&mut self) -> Result<u64, Error> {
        Ok(exposed::version())
    }

    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        page::alloc(which, count)
    }

    fn page_free(&mut self, first: PageNumber, count: u64) -> Progress {
        page::free(first, count)
    }

    fn table_insert(
        &mut self,
        space: Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: Option<PageNumber>,
    ) -> Result<(), Error> {
        space::table_insert(space, at, level, table, links)
    }

    fn table_remove(
        &mut self,
        space: Space,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        space::table_remove(space, at, level)
    }

    fn insert_pte(
        &mut self,
        space: Space,
        at: VirtAddr,
        source: PageSource,
        count: u64,
        access: Access,
    ) -> Progress {
        space::insert_pte(space, at, source, count, access)
    }

    fn remove_pte(&mut self, space: Space, at: VirtAddr, count: u64) -> Progress {
        space::remove_pte(space, at, count)
    }

    #[inline(always)]
    fn resume(&mut self, class: UpcallClass) -> Result<(), Error> {
        upcall::resume(class)
    }

    fn console_write(&mut self, bytes: UserBytes<'_>) -> Progress {
        match self.must_be_first() {
            Ok(()) => console::write(&bytes),
            Err(error) => Progress::refused(error),
        }
    }

    fn console_read(&mut self, into: UserBytesMut<'_>) -> Progress {
        match self.must_be_first() {
            Ok(()) => console::read(&into),
            Err(error) => Progress::refused(error),
        }
    }

    fn board_exit(&mut self, status: u64) -> Result<(), Error> {
        self.must_be_first()?;
        board::exit(status)
    }

    fn board_reset(&mut self) -> Result<(), Error> {
        self.must_be_first()?;
        board::reset()
    }
}
