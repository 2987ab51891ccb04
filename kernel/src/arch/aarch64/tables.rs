//! Table memory and TLB maintenance for spaces: the target's side of [`exopi_pages::Hardware`].
//!
//! Tables, links and pages are reached through the linear window. What is allowed was decided before.
#![expect(unsafe_code, reason = "writes tables that the processor walks")]

use core::arch::asm;

use exopi_abi::PageNumber;
use exopi_abi::exposed::Event;
use exopi_abi::layout::PAGE_SIZE;
use exopi_pages::{Hardware, Index, Link, UserPage};

use super::core_data::count_event;
use super::{barrier, cache, mmu};

/// The processor's tables, TLBs and caches. Whoever has it holds the kernel lock.
#[derive(Debug)]
pub struct Processor;

/// Word `index` of a page in the linear window.
#[inline(always)]
fn word(page: PageNumber, index: Index) -> *mut u64 {
    (mmu::linear_page(page) as *mut u64).wrapping_add(index.get())
}

/// What TLBI by address takes: ASID in bits 48 on, page of the address in bits 0 to 43
/// (ARM DDI 0487, C5.5).
#[inline(always)]
fn tlbi_operand(asid: u16, at: UserPage) -> u64 {
    u64::from(asid) << 48 | at.get() >> 12
}

impl Hardware for Processor {
    #[inline(always)]
    fn entry(&self, table: PageNumber, index: Index) -> u64 {
        // SAFETY: `Hardware`'s frames are RAM, and all RAM is in the linear window.
        unsafe { word(table, index).read_volatile() }
    }

    #[inline(always)]
    fn set_entry(&mut self, table: PageNumber, index: Index, value: u64) {
        // SAFETY: as above; the frame is a table, which nothing but this and walks looks at.
        unsafe { word(table, index).write_volatile(value) }
    }

    #[inline(always)]
    fn link(&self, links: PageNumber, index: Index) -> Link {
        // SAFETY: as above.
        Link::from_word(unsafe { word(links, index).read() })
    }

    #[inline(always)]
    fn set_link(&mut self, links: PageNumber, index: Index, value: Link) {
        // SAFETY: as above; the frame is a page of links, which nothing but this looks at.
        unsafe { word(links, index).write(value.word()) }
    }

    fn word(&self, page: PageNumber, index: Index) -> u64 {
        // SAFETY: as above; programs may write it meanwhile, and any bits are a word.
        unsafe { word(page, index).read_volatile() }
    }

    fn set_word(&mut self, page: PageNumber, index: Index, value: u64) {
        // SAFETY: as above; no reference leads into a frame.
        unsafe { word(page, index).write_volatile(value) }
    }

    #[inline(always)]
    fn zero(&mut self, page: PageNumber) {
        // SAFETY: the frame is in the linear window, writable; no reference leads into a frame.
        unsafe { cache::zero_page(mmu::linear_page(page)) }
    }

    fn sync_code(&mut self, page: PageNumber) {
        cache::publish_code(mmu::linear_page(page), PAGE_SIZE as usize);
    }

    #[inline(always)]
    fn publish(&mut self) {
        barrier::after_table_stores();
    }

    #[inline(always)]
    fn fence(&mut self) {
        barrier::between_accesses();
    }

    #[inline(always)]
    fn before_invalidate(&mut self) {
        barrier::after_table_stores();
    }

    #[inline(always)]
    fn invalidate_page(&mut self, asid: u16, at: UserPage) {
        count_event(Event::TlbiPage);
        let operand = tlbi_operand(asid, at);
        // SAFETY: dropping TLB entries loses nothing; walks make them anew.
        unsafe { asm!("tlbi vale1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn invalidate_table(&mut self, asid: u16, at: UserPage) {
        count_event(Event::TlbiPage);
        let operand = tlbi_operand(asid, at);
        // SAFETY: as above.
        unsafe { asm!("tlbi vae1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn invalidate_space(&mut self, asid: u16) {
        count_event(Event::TlbiSpace);
        let operand = u64::from(asid) << 48;
        // SAFETY: as above.
        unsafe { asm!("tlbi aside1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    fn complete(&mut self) {
        barrier::complete();
    }
}
