//! The kernel and the processor, as they are.
#![expect(
    unsafe_code,
    reason = "calls that change memory, and memory at addresses that tables tell"
)]

use core::mem::offset_of;

use exopi_rt::domain::SpaceRecord;
use exopi_rt::layout::EXPOSED_BASE;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::PageRecord;
use exopi_rt::{
    Access, Allocation, Error, Note, Object, OnRefusal, Operation, PageNumber, PageRun, PageSelect,
    PageSource, Progress, TableLevel, VirtAddr, environment, exposed, stubs,
};

use crate::machine::{Machine, PageBytes};
use exopi_rt::tables::{self, Entry};

/// The machine that the program runs on.
#[derive(Debug)]
pub struct Bare {
    /// Where the record of the program's space says how many environments are in it; 0 if it was not found.
    members: u64,
    /// Colours of pages.
    colours: u32,
}

impl Bare {
    /// The machine, for the one address space that uses it.
    ///
    /// # Safety
    /// What is done with it takes pages away from under the program. Whoever has it must do so only where
    /// nothing of the program depends on them.
    pub unsafe fn new() -> Self {
        Self {
            members: members_at().unwrap_or(0),
            colours: u32::try_from(exposed::machine().colours).unwrap_or(1),
        }
    }
}

/// Where the record of the space that the calling environment is in counts its members.
fn members_at() -> Option<u64> {
    let space = environment::own_record()?.space;
    let section = exposed::header().spaces;
    let record = EXPOSED_BASE + section.offset + u64::from(space) * section.stride;
    Some(record + offset_of!(SpaceRecord, members) as u64)
}

// In each call below the condition is that of `Bare::new`, and what is changed is what its user says.
impl Machine for Bare {
    #[inline(always)]
    fn insert_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        // SAFETY: the kernel maps nothing over an existing mapping, so nothing in use changes.
        unsafe { stubs::insert_pte(space, at, source, count, access) }
    }

    #[inline(always)]
    fn remove_pte(&mut self, at: VirtAddr, count: u64) -> Progress {
        // SAFETY: see above.
        unsafe { stubs::remove_pte(Object::Own, at, count) }
    }

    #[inline(always)]
    fn protect_pte(&mut self, at: VirtAddr, count: u64, access: Access) -> Progress {
        // SAFETY: contents stay; an access that is not allowed any more faults, which safe code cannot see.
        unsafe { stubs::protect_pte(Object::Own, at, count, access) }
    }

    #[inline]
    fn insert_superpage(&mut self, at: VirtAddr, first: PageNumber, access: Access) -> Progress {
        // SAFETY: as for `insert_pte`.
        unsafe { stubs::insert_superpage(Object::Own, at, PageRun::Owned(first), 1, access) }
    }

    #[inline]
    fn pte_note(&mut self, at: VirtAddr, note: Note) -> Result<(), Error> {
        stubs::pte_note(Object::Own, at, note)
    }

    #[inline]
    fn pte_batch(&mut self, operations: &mut [Operation]) -> Progress {
        // SAFETY: see above.
        unsafe { stubs::pte_batch(Object::Own, operations.into(), OnRefusal::Stop) }
    }

    #[inline]
    fn table_insert(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        // SAFETY: the pages are not mapped, or the kernel refuses, so no memory changes.
        unsafe { stubs::table_insert(space, at, level, table, links) }
    }

    #[inline]
    fn table_remove(&mut self, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error> {
        // SAFETY: an empty table maps nothing, so no memory changes.
        unsafe { stubs::table_remove(Object::Own, at, level) }
    }

    #[inline]
    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        stubs::page_alloc(which, count)
    }

    #[inline]
    fn page_free(&mut self, first: PageNumber, count: u64) -> Progress {
        stubs::page_free(PageRun::Owned(first), count)
    }

    #[inline(always)]
    fn entry(&self, at: VirtAddr) -> Entry {
        tables::entry_of(at.get())
    }

    #[inline]
    fn table(&self, at: VirtAddr, level: TableLevel) -> Option<PageNumber> {
        tables::table_of(at.get(), level)
    }

    #[inline]
    fn record(&self, page: PageNumber) -> Option<PageRecord> {
        exposed::page(page)
    }

    fn page_count(&self) -> u32 {
        u32::try_from(exposed::page_count()).unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn colours(&self) -> u32 {
        self.colours
    }

    #[inline(always)]
    fn is_alone(&self) -> bool {
        if self.members == 0 {
            return false;
        }
        // SAFETY: the field of a record in the exposed region. Volatile, since the kernel changes it.
        unsafe { (self.members as *const u16).read_volatile() <= 1 }
    }

    fn is_zero(&self, at: VirtAddr) -> bool {
        let words = (at.get()..at.get() + PAGE_SIZE).step_by(size_of::<u64>());
        // SAFETY: as for `byte`.
        words
            .into_iter()
            .all(|word| unsafe { (word as *const u64).read_volatile() } == 0)
    }

    #[inline(always)]
    fn byte(&self, address: u64) -> u8 {
        // SAFETY: the library asks only for bytes of pages of its own that it has mapped.
        unsafe { (address as *const u8).read() }
    }

    #[inline(always)]
    fn fill(&mut self, address: u64, count: u64, byte: u8) {
        let first = address as *mut u8;
        if count == 1 {
            // The usual number needs no call.
            // SAFETY: as for `byte`; the page is writable.
            unsafe { first.write(byte) }
        } else {
            // SAFETY: as above, for each of them.
            unsafe { first.write_bytes(byte, count as usize) }
        }
    }

    #[inline(always)]
    fn page_mut(&mut self, at: VirtAddr) -> &mut PageBytes {
        // SAFETY: the library asks only for pages that it has mapped, writable, and that nobody else refers to.
        unsafe { &mut *(at.get() as *mut PageBytes) }
    }

    #[inline(always)]
    fn zero_page(&mut self, at: VirtAddr) {
        // SAFETY: the library has mapped a page there, writable, that nobody has seen yet.
        unsafe { bytes::zero(at.get()) }
    }

    #[inline(always)]
    fn copy_page(&mut self, from: VirtAddr, to: VirtAddr) {
        // SAFETY: both are mapped, and nobody has seen the one at `to` yet.
        unsafe { bytes::copy(from.get(), to.get()) }
    }
}

/// Whole pages, 64 bytes with each instruction.
#[cfg(target_os = "none")]
mod bytes {
    use core::arch::asm;

    /// Zeroes the page at `to`.
    ///
    /// # Safety
    /// It is mapped, writable, and nothing refers to it.
    #[inline(always)]
    pub(super) unsafe fn zero(to: u64) {
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "movi v0.2d, #0",
                "movi v1.2d, #0",
                "movi v2.2d, #0",
                "movi v3.2d, #0",
                "2:",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "tst {to}, #0xfff",
                "b.ne 2b",
                to = inout(reg) to => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                options(nostack),
            );
        }
    }

    /// Copies the page at `from` to the one at `to`.
    ///
    /// # Safety
    /// Both are mapped, the second one writable, and nothing refers to it.
    #[inline(always)]
    pub(super) unsafe fn copy(from: u64, to: u64) {
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "2:",
                "ld1 {{v0.2d-v3.2d}}, [{from}], #64",
                "ld1 {{v4.2d-v7.2d}}, [{from}], #64",
                "ld1 {{v16.2d-v19.2d}}, [{from}], #64",
                "ld1 {{v20.2d-v23.2d}}, [{from}], #64",
                "st1 {{v0.2d-v3.2d}}, [{to}], #64",
                "st1 {{v4.2d-v7.2d}}, [{to}], #64",
                "st1 {{v16.2d-v19.2d}}, [{to}], #64",
                "st1 {{v20.2d-v23.2d}}, [{to}], #64",
                "tst {to}, #0xfff",
                "b.ne 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                options(nostack),
            );
        }
    }
}

/// Off target there is no such memory, but all compiles.
#[cfg(not(target_os = "none"))]
mod bytes {
    use crate::machine::PageBytes;

    pub(super) unsafe fn zero(to: u64) {
        // SAFETY: the caller's.
        unsafe { (to as *mut PageBytes).write_bytes(0, 1) }
    }

    pub(super) unsafe fn copy(from: u64, to: u64) {
        // SAFETY: the caller's.
        unsafe { (to as *mut PageBytes).copy_from(from as *const PageBytes, 1) }
    }
}
