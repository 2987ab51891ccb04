//! What the library needs of the kernel and of the processor.
//!
//! The calls are those of the table, by the same names, on the program's own space and for pages that
//! belong to the account it draws on. The rest is reading what the kernel shows, and touching memory. Tests
//! put a model in this place, in which touching memory that is not mapped is a failure.

use exopi_rt::page::PageRecord;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{
    Access, Allocation, Call, Error, Note, Object, Operation, PageNumber, PageSelect, PageSource,
    Progress, TableLevel, VirtAddr,
};

use exopi_rt::tables::Entry;

/// Bytes of a page.
pub type PageBytes = [u8; exopi_rt::layout::PAGE_SIZE as usize];

/// The machine below the library. Whoever has one can take the program's memory away, so making one is the
/// unsafe part, and using it is not.
pub trait Machine: 'static {
    /// `insert_pte`, in the program's space or another one.
    fn insert_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress;
    /// `remove_pte`.
    fn remove_pte(&mut self, at: VirtAddr, count: u64) -> Progress;
    /// `protect_pte`.
    fn protect_pte(&mut self, at: VirtAddr, count: u64, access: Access) -> Progress;
    /// `insert_superpage`, of one.
    fn insert_superpage(&mut self, at: VirtAddr, first: PageNumber, access: Access) -> Progress;
    /// `pte_note`.
    ///
    /// # Errors
    /// Those of the call.
    fn pte_note(&mut self, at: VirtAddr, note: Note) -> Result<(), Error>;
    /// `pte_batch`, which stops at a refusal.
    fn pte_batch(&mut self, operations: &mut [Operation]) -> Progress;
    /// `table_insert`, in the program's space or another one.
    ///
    /// # Errors
    /// Those of the call.
    fn table_insert(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error>;
    /// `table_remove`.
    ///
    /// # Errors
    /// Those of the call.
    fn table_remove(&mut self, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error>;
    /// `page_alloc`.
    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation;
    /// `page_free`.
    fn page_free(&mut self, first: PageNumber, count: u64) -> Progress;

    /// The program's own table entry for `at`.
    fn entry(&self, at: VirtAddr) -> Entry;
    /// The table of `level` that covers `at`, if there is one.
    fn table(&self, at: VirtAddr, level: TableLevel) -> Option<PageNumber>;
    /// What the page array says of a page.
    fn record(&self, page: PageNumber) -> Option<PageRecord>;
    /// Pages in the page array.
    fn page_count(&self) -> u32;
    /// Colours of pages.
    fn colours(&self) -> u32;
    /// Whether no other environment runs in this space, so that nobody sees a page while it is being filled.
    fn is_alone(&self) -> bool;

    /// The byte at an address where a page is mapped.
    fn byte(&self, address: u64) -> u8;
    /// Whether the page that is mapped at `at`, readable, holds nothing but zeros.
    fn is_zero(&self, at: VirtAddr) -> bool;
    /// Sets so many bytes from an address on, where pages are mapped, writable.
    fn fill(&mut self, address: u64, count: u64, byte: u8);
    /// The bytes of the page that is mapped at `at`, writable.
    fn page_mut(&mut self, at: VirtAddr) -> &mut PageBytes;
    /// Zeroes the page that is mapped at `at`, writable.
    fn zero_page(&mut self, at: VirtAddr);
    /// Copies the page that is mapped at `from` to the one that is mapped, writable, at `to`.
    fn copy_page(&mut self, from: VirtAddr, to: VirtAddr);
}

/// An operation of a batch, from its call and what the call takes after the space.
fn operation(call: Call, encode: impl FnOnce(&mut Arguments)) -> Operation {
    let mut arguments = Arguments::new([0; 6]);
    encode(&mut arguments);
    let [a, b, c, d, e, _] = arguments.words();
    Operation {
        call: call as u64,
        arguments: [a, b, c, d, e],
        status: 0,
        value: 0,
    }
}

/// `insert_pte` in a batch.
pub(crate) fn insert(
    at: VirtAddr,
    source: PageSource<'_>,
    count: u64,
    access: Access,
) -> Operation {
    operation(Call::insert_pte, |into| {
        at.encode(into);
        source.encode(into);
        count.encode(into);
        access.encode(into);
    })
}

/// `remove_pte` in a batch.
pub(crate) fn remove(at: VirtAddr, count: u64) -> Operation {
    operation(Call::remove_pte, |into| {
        at.encode(into);
        count.encode(into);
    })
}

/// `protect_pte` in a batch.
pub(crate) fn protect(at: VirtAddr, count: u64, access: Access) -> Operation {
    operation(Call::protect_pte, |into| {
        at.encode(into);
        count.encode(into);
        access.encode(into);
    })
}

/// `pte_note` in a batch.
pub(crate) fn note(at: VirtAddr, note: Note) -> Operation {
    operation(Call::pte_note, |into| {
        at.encode(into);
        note.encode(into);
    })
}

/// What became of the operation at which a batch stopped, if one was refused.
pub(crate) fn refusal(progress: Progress, operations: &[Operation]) -> Option<Error> {
    if let Some(error) = progress.stopped {
        return Some(error);
    }
    let reply = |operation: &Operation| exopi_rt::Reply {
        status: operation.status,
        value: operation.value,
    };
    let done = usize::try_from(progress.done).unwrap_or(usize::MAX);
    let carried = operations.get(..done).unwrap_or(operations);
    carried
        .iter()
        .find_map(|operation| reply(operation).error())
}
