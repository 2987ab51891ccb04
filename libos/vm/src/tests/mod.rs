//! The library on a model of the kernel, with a processor that faults.

mod examples;
mod model;
mod naive;
mod resources;
mod revoke;
mod sharing;
mod table;

use std::boxed::Box;
use std::vec::Vec;

use exopi_rt::uarea::Frame;
use exopi_rt::{Access, PageNumber, VirtAddr};

use crate::fault::Verdict;
use crate::machine::Machine;
use crate::regions::Slot;
use crate::space::{AddressSpace, Layout, mapping};

use model::Model;

pub(crate) type Space = AddressSpace<Model>;

const ARENA: u64 = 0x48_0000_0000;
pub(crate) const LAYOUT: Layout = Layout {
    arena: ARENA,
    arena_end: ARENA + (4 << 30),
    scratch: VirtAddr::new(0x40_0000_0000).unwrap(),
    shadow: 0x40_4000_0000,
};

pub(crate) const R: Access = Access::READ;
pub(crate) const RW: Access = Access::READ.union(Access::WRITE);
pub(crate) const NOTHING: Access = Access::empty();

/// Places for so many regions.
fn slots(count: usize) -> &'static mut [Slot<Model>] {
    let slots: Vec<_> = (0..count).map(|_| Slot::EMPTY).collect();
    Box::leak(slots.into_boxed_slice())
}

/// An address space on a machine with so many pages, all of which the program has used before.
pub(crate) fn space(frames: u32) -> Space {
    let mut model = Model::new(frames);
    model.soil();
    AddressSpace::new(model, slots(32), LAYOUT).unwrap()
}

/// Pages that the library keeps when there are no regions: tables of the scratch pages, and the reserve.
const KEPT: usize = 4 + 4;

impl Space {
    /// An access by the processor: the page it ends at, or what was said of its fault.
    fn access(&mut self, address: u64, wanted: Access) -> Result<u32, Verdict> {
        for _ in 0..3 {
            let mapped = match self.machine.translate(address, wanted) {
                Ok(page) => return Ok(page),
                Err(mapped) => mapped,
            };
            let class = if wanted == Access::EXECUTE {
                0x20
            } else {
                0x24
            };
            let write = u64::from(wanted == Access::WRITE) << 6;
            let code = if mapped { 0x0f } else { 0x07 };
            let mut frame = Frame {
                esr: class << 26 | 1 << 25 | write | code,
                far: address,
                ..Frame::default()
            };
            match self.fault(&mut frame) {
                Verdict::Resume => {}
                verdict => {
                    assert_eq!(frame.pc, u64::from(verdict == Verdict::StepOver) * 4);
                    return Err(verdict);
                }
            }
        }
        panic!("the fault at {address:#x} comes again and again");
    }

    pub(crate) fn load(&mut self, address: u64) -> Result<u8, Verdict> {
        let page = self.access(address, Access::READ)?;
        Ok(self.machine.stored(page, address % 4096))
    }

    pub(crate) fn store(&mut self, address: u64, byte: u8) -> Result<(), Verdict> {
        let page = self.access(address, Access::WRITE)?;
        self.machine.set_byte(page, address % 4096, byte);
        Ok(())
    }

    pub(crate) fn fetch(&mut self, address: u64) -> Result<(), Verdict> {
        self.access(address, Access::EXECUTE).map(drop)
    }

    /// Ends a region that nothing of the test depends on.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub(crate) fn end(&mut self, start: VirtAddr) {
        // SAFETY: the model's memory is not the test's.
        unsafe { self.release(start) }.unwrap();
    }

    /// Checks that nothing is kept but what is always kept.
    pub(crate) fn check_nothing_lost(&self) {
        self.machine.audit();
        let taken = self.machine.page_count() as usize - self.machine.free_pages();
        assert_eq!(taken, KEPT, "pages that are not free");
    }

    pub(crate) fn page_of(&self, at: VirtAddr) -> Option<PageNumber> {
        mapping(self.machine.entry(at)).map(|mapping| mapping.page)
    }
}

/// The page `index` of a region.
pub(crate) fn nth(start: VirtAddr, index: u64) -> VirtAddr {
    start.plus(index).unwrap()
}
