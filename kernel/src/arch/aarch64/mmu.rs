//! The kernel's own address space: the upper half, 39 bits under TTBR1, 4 KiB granule.
//!
//! ```text
//!   0xffff_ff80_0000_0000  linear window: RAM, read and write, never executed; the image's own pages and
//!                          generated code are absent from it, so that nothing of them has a second,
//!                          writable name
//!   0xffff_ffc0_0000_0000  device window: device registers at their physical offsets
//!   0xffff_ffff_c000_0000  the image: text read and execute, constants read, variables and stacks
//!                          read and write; guard pages absent (see kernel.ld)
//!   0xffff_ffff_c020_0000  generated code, read and execute, and behind it a page for each core to write
//!                          it through (see arena.rs)
//! ```
//!
//! No page is both writable and executable under any name, but for a page of generated code while it is written. The
//! lower half is the running
//! environment's; before there is one, and on a core without one, it is empty.
#![expect(unsafe_code, reason = "tables that the processor walks")]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use aarch64_cpu::registers::{TTBR0_EL1, Writeable};
use exopi_abi::PageNumber;
use exopi_abi::exposed::Event;
use exopi_abi::layout::PAGE_SIZE;
use exopi_pages::Space;
use exopi_pages::pte::{self, KernelAccess, Memory};

use super::barrier;
use super::core_data::{CoreNumber, EMERGENCY_TOP, SLOT_BYTES, count_event};

/// `MAIR_EL1`: the memory types that descriptors choose from.
pub const MAIR: u64 = pte::MAIR;

/// `TCR_EL1`: 39 bits below and above (T0SZ, T1SZ = 25), 4 KiB granules (TG0 = 0, TG1 = 2), walks
/// cacheable and inner shareable, 36-bit physical addresses (IPS = 1), 16-bit ASIDs (AS) from TTBR0.
pub const TCR: u64 = {
    const HALF: u64 = 25 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12;
    HALF | HALF << 16 | 0b10 << 30 | 0b001 << 32 | 1 << 36
};

/// Where physical address 0 appears in the linear window.
const LINEAR_BASE: usize = 0xffff_ff80_0000_0000;
/// Where physical address 0 would appear in the device window.
const DEVICE_BASE: usize = 0xffff_ffc0_0000_0000;
/// Bytes that a level-2 entry covers.
const BLOCK: u64 = 1 << 21;
/// Bytes that a level-1 entry covers.
const GIB: u64 = 1 << 30;

const fn page_of(physical: u64, access: KernelAccess) -> u64 {
    pte::kernel_page(physical, Memory::Normal, access)
}

const fn block_of(number: u64, memory: Memory, access: KernelAccess) -> u64 {
    pte::kernel_block(number * BLOCK, memory, access)
}

/// A table of the kernel's own, of any level.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: entries are written by `set` alone, as whole words, while core 0 boots and no other core
// runs, or, each by one core, in a table of which each core has an entry; others only walk them.
unsafe impl Sync for Table {}

impl Table {
    /// A table without entries.
    pub const fn empty() -> Self {
        Self(UnsafeCell::new([0; 512]))
    }

    /// Writes entry `index` (less than 512). Only while core 0 boots, or by the core that the entry belongs to.
    pub fn set(&self, index: usize, descriptor: u64) {
        let entry = self.0.get().cast::<u64>().wrapping_add(index & 511);
        // SAFETY: the mask keeps the index inside; see the type for who writes when.
        unsafe { entry.write_volatile(descriptor) };
    }

    /// Where it lies.
    pub fn physical(&self) -> u64 {
        physical_of_image(self.0.get() as usize)
    }

    /// The entry that leads to it.
    pub fn descriptor(&self) -> u64 {
        pte::kernel_table(self.physical())
    }
}

#[unsafe(no_mangle)]
static __kernel_root: Table = Table::empty();
#[unsafe(no_mangle)]
static __identity_root: Table = Table::empty();
static IDENTITY_2: Table = Table::empty();
static IMAGE_2: Table = Table::empty();
static IMAGE_3: Table = Table::empty();
static LINEAR_2: Table = Table::empty();
/// The image lies in one or two blocks of the linear window, of which the other pages are mapped.
static LINEAR_3: [Table; 2] = [const { Table::empty() }; 2];
static DEVICE_2: [Table; 2] = [const { Table::empty() }; 2];
/// The lower half of a core without an environment.
static NOTHING: Table = Table::empty();

unsafe extern "C" {
    static __image_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __stacks_start: u8;
    static __image_end: u8;
    static __vectors: u8;
}

/// The image, at its linked address (or where it was loaded, before the MMU is on).
pub fn image() -> Range<usize> {
    &raw const __image_start as usize..&raw const __image_end as usize
}

/// The exception table.
pub fn vectors() -> usize {
    &raw const __vectors as usize
}

/// The stack slot of `core`: see kernel.ld.
pub fn stack_slot(core: CoreNumber) -> usize {
    &raw const __stacks_start as usize + core.index() * SLOT_BYTES
}

/// The image's access by place; none for a guard page.
#[inline(always)]
fn image_access(address: usize) -> Option<KernelAccess> {
    let stacks = &raw const __stacks_start as usize;
    let in_slot = address.wrapping_sub(stacks) % SLOT_BYTES;
    if address < &raw const __rodata_start as usize {
        Some(KernelAccess::ReadExecute)
    } else if address < &raw const __data_start as usize {
        Some(KernelAccess::Read)
    } else if address >= stacks && (in_slot == 0 || in_slot == EMERGENCY_TOP) {
        None
    } else {
        Some(KernelAccess::ReadWrite)
    }
}

/// Maps the image at its linked address, and the blocks that it lies in 1:1, while the MMU is off.
///
/// # Safety
/// Called by the boot code, once, on core 0, with the MMU off: symbols then give physical addresses.
#[unsafe(no_mangle)]
unsafe extern "C" fn __build_boot_tables() {
    let image = image();
    let mut page = image.start;
    let mut index = 0;
    while page < image.end {
        if let Some(access) = image_access(page) {
            IMAGE_3.set(index, page_of(page as u64, access));
        }
        page += PAGE_SIZE as usize;
        index += 1;
    }
    let place = |table: &Table| pte::kernel_table(table.0.get() as u64);
    IMAGE_2.set(0, place(&IMAGE_3));
    __kernel_root.set(511, place(&IMAGE_2));
    // The first 2 GiB are as far as any board's firmware loads a kernel; the block that it lies in and
    // the next one hold all of it.
    let first = image.start as u64 / BLOCK;
    let mut block = first;
    while block <= first + 1 {
        let descriptor = block_of(block, Memory::Normal, KernelAccess::ReadExecute);
        IDENTITY_2.set(block as usize, descriptor);
        block += 1;
    }
    __identity_root.set((first * BLOCK / GIB) as usize, place(&IDENTITY_2));
}

/// Where the image was loaded.
static LOADED_AT: AtomicU64 = AtomicU64::new(0);

/// Physical address of something in the image.
pub fn physical_of_image(address: usize) -> u64 {
    (address - image().start) as u64 + LOADED_AT.load(Ordering::Relaxed)
}

/// Builds the device window, and takes note of where the image lies.
pub fn init(loaded_at: u64) {
    LOADED_AT.store(loaded_at, Ordering::Relaxed);
    for (half, table) in DEVICE_2.iter().enumerate() {
        __kernel_root.set(256 + half, table.descriptor());
    }
    for window in exopi_bsp::boards::DEVICE_WINDOWS {
        let blocks = window.start / BLOCK..(window.start + window.length).div_ceil(BLOCK);
        for block in blocks {
            let half = (block / 512) as usize;
            if let Some(table) = DEVICE_2.get(half) {
                let descriptor = block_of(block, Memory::Device, KernelAccess::ReadWrite);
                table.set(block as usize, descriptor);
            }
        }
    }
    __kernel_root.set(0, LINEAR_2.descriptor());
    barrier::after_table_stores();
    barrier::instructions();
}

/// Where a device register appears, if its board's device windows have it.
pub fn device(physical: u64) -> usize {
    DEVICE_BASE + physical as usize
}

/// Where RAM at `physical` appears, once [`map_linear`] has mapped it.
#[inline(always)]
pub const fn linear(physical: u64) -> usize {
    LINEAR_BASE + physical as usize
}

/// Where a page of RAM appears.
#[inline(always)]
pub const fn linear_page(page: PageNumber) -> usize {
    linear(page.address())
}

/// How far RAM that ends at `end` appears in the linear window.
pub fn mapped_end(end: u64) -> u64 {
    (end / BLOCK * BLOCK).min(GIB)
}

/// Makes RAM appear in the linear window, in whole blocks that lie inside `range`, or that its begin or
/// end lies in if `partial`. The image's own pages stay absent. Does nothing above 1 GiB, which no board
/// of ours has. Only while core 0 boots.
pub fn map_linear(range: Range<u64>, partial: bool) {
    let blocks = if partial {
        range.start / BLOCK..range.end.div_ceil(BLOCK)
    } else {
        range.start.div_ceil(BLOCK)..range.end / BLOCK
    };
    let image = physical_of_image(image().start)..physical_of_image(image().end);
    let image_blocks = image.start / BLOCK..image.end.div_ceil(BLOCK);
    for block in blocks.start..blocks.end.min(GIB / BLOCK) {
        let table = block
            .checked_sub(image_blocks.start)
            .filter(|_| image_blocks.contains(&block))
            .and_then(|which| LINEAR_3.get(which as usize));
        let descriptor = match table {
            None => block_of(block, Memory::Normal, KernelAccess::ReadWrite),
            Some(table) => {
                for page in 0..512 {
                    let address = block * BLOCK + page * PAGE_SIZE;
                    if !image.contains(&address) {
                        let descriptor = page_of(address, KernelAccess::ReadWrite);
                        table.set(page as usize, descriptor);
                    }
                }
                table.descriptor()
            }
        };
        LINEAR_2.set(block as usize, descriptor);
    }
    barrier::after_table_stores();
    barrier::instructions();
}

/// Takes the block of RAM at `physical`, which nothing of the image is in, out of the linear window for all cores. Only
/// while core 0 boots.
pub fn withdraw_linear_block(physical: u64) {
    LINEAR_2.set((physical / BLOCK) as usize, 0);
    barrier::after_table_stores();
    // SAFETY: dropping TLB entries loses nothing; walks make them anew.
    unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) };
    barrier::complete();
    barrier::instructions();
}

/// Writes the entry for a block of addresses beside the image, which has the first one of 512. Only while core 0 boots.
pub fn set_beside_image(index: usize, descriptor: u64) {
    IMAGE_2.set(index, descriptor);
}

/// Makes all cores forget the entry of a page of the kernel's own, which was taken away.
pub fn forget_kernel_page(address: usize) {
    // The page's number in bits 0 to 43; it is global, so it goes for all ASIDs (ARM DDI 0487, C5.5, "TLBI VAALE1IS").
    let operand = address >> 12 & ((1 << 44) - 1);
    barrier::after_table_stores();
    // SAFETY: dropping a TLB entry loses nothing; walks make it anew.
    unsafe { asm!("tlbi vaale1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
    barrier::complete();
    barrier::instructions();
}

/// What a translation of an address for EL1 comes to: whether it can be read, and whether it can be written.
#[cfg(feature = "selftest")]
pub fn kernel_can(address: usize) -> (bool, bool) {
    use aarch64_cpu::registers::{PAR_EL1, Readable};
    // SAFETY: it translates, and touches no memory.
    unsafe { asm!("at s1e1r, {}", in(reg) address, options(nostack, preserves_flags)) };
    barrier::instructions();
    let read = !PAR_EL1.is_set(PAR_EL1::F);
    // SAFETY: as above.
    unsafe { asm!("at s1e1w, {}", in(reg) address, options(nostack, preserves_flags)) };
    barrier::instructions();
    (read, !PAR_EL1.is_set(PAR_EL1::F))
}

/// Empties the lower half on this core: the 1:1 mapping is not needed any more, and no environment
/// runs here.
pub fn leave_lower_half() {
    set_lower_half(NOTHING.physical());
    // The boot code's 1:1 entries are global: no ASID tells them apart.
    invalidate_all_here();
}

/// Leaves nothing in the lower half on this core: no environment runs here. What the core's TLB still has of
/// the last one's space is told apart by its ASID until that is invalidated.
pub fn empty_lower_half() {
    set_lower_half(NOTHING.physical());
}

/// Makes `space` the lower half on this core. Table and ASID change by one write, so that no walk by one is
/// ever kept under the other (ARM DDI 0487, D8.16: with TCR_EL1.A1 = 0 the ASID is TTBR0's).
pub fn enter_space(space: &Space) {
    set_lower_half(space.ttbr0());
}

fn set_lower_half(ttbr: u64) {
    count_event(Event::SpaceSwitch);
    TTBR0_EL1.set(ttbr);
    barrier::instructions();
}

fn invalidate_all_here() {
    // SAFETY: dropping TLB entries loses nothing; walks make them anew.
    unsafe { asm!("tlbi vmalle1", options(nostack, preserves_flags)) };
    barrier::complete();
    barrier::instructions();
}
