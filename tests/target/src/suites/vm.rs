//! `exopi-vm` on the kernel: what its host tests show on a model, with real faults, tables and pages.

mod pages;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::tables::{self, Mapping};
use exopi_rt::{Access, PageNumber, VirtAddr, exposed, heap, println};
use exopi_vm::pager::{OnRefused, Source};
use exopi_vm::program::{self, Memory};
use exopi_vm::{AddressSpace, Bare, Error, Fault, Kind, Options, Pager, Verdict};

use crate::catch::{self, Caught};
use crate::crew;
use crate::harness::{Failure, Outcome, Suite};
use crate::machine;

pub(crate) const SUITE: Suite = Suite {
    name: "vm",
    cases: &[
        ("demand_zero", || on_vm(demand_zero)),
        ("guard_pages", || on_vm(guard_pages)),
        ("closures_step_over", || on_vm(closures_step_over)),
        ("closures_unprotect", || on_vm(closures_unprotect)),
        ("sources_fill", || on_vm(sources_fill)),
        ("copy_written_first", || {
            on_vm(|| pages::copy_on_write(true))
        }),
        ("original_written_first", || {
            on_vm(|| pages::copy_on_write(false))
        }),
        ("released_in_both_orders", || {
            on_vm(pages::released_in_both_orders)
        }),
        ("lent_to_another_space", || {
            on_vm(pages::lent_to_another_space)
        }),
        ("protection_in_batches", || on_vm(protection_in_batches)),
        ("no_access_at_all", || on_vm(no_access_at_all)),
        ("executable_after_the_fact", || {
            on_vm(executable_after_the_fact)
        }),
        ("colours", || on_vm(pages::colours)),
        ("superpages", || on_vm(pages::superpages)),
        ("no_pages_left", || on_vm(pages::no_pages_left)),
        ("many_regions", || on_vm(pages::many_regions)),
        ("busy_inside", || on_vm(busy_inside)),
        ("heap_on_a_region", heap_on_a_region),
        ("random_memory", || on_vm(random_memory)),
    ],
};

const R: Access = Access::READ;
const RW: Access = Access::READ.union(Access::WRITE);

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(alloc::format!("{error}"))
    }
}

/// Takes what lasts: the library's own pages, and the heap's region, on which it grows from now on.
pub(crate) fn prepare() {
    program::pass_on_to(crew::handler);
    let made = program::init(1).and_then(|()| exopi_vm::heap::init());
    catch::install();
    if let Err(error) = made {
        println!("no address space: {error}");
    }
}

/// Makes the reserve for tables full, as it is after every case: a region that goes leaves it so.
pub(crate) fn settle() {
    if let Err(error) = Memory::new(1, Options::default()).map(drop) {
        println!("no region: {error}");
    }
}

/// Runs a case with the library as the first handler of faults, the suite's behind it.
fn on_vm(case: fn() -> Outcome) -> Outcome {
    catch::with_handler(program::handle, case)
}

/// Does something with the address space.
fn on_space<T>(
    work: impl FnOnce(&mut AddressSpace<Bare>) -> Result<T, Error>,
) -> Result<T, Failure> {
    Ok(program::with(work)??)
}

/// A closure for what is refused, for good.
fn refused(
    closure: impl FnMut(&mut Fault<'_>) -> Verdict + Send + 'static,
) -> Option<&'static mut dyn Pager> {
    Some(Box::leak(Box::new(OnRefused(closure))))
}

fn nth(memory: &Memory, index: u64) -> Result<VirtAddr, Failure> {
    let page = memory.page(index);
    page.ok_or_else(|| Failure::new("beyond the memory"))
}

fn load(memory: &Memory, index: u64) -> Result<u8, Caught> {
    catch::read(memory.start().get() + index * PAGE_SIZE)
}

fn store(memory: &Memory, index: u64, byte: u8) -> Result<(), Caught> {
    // SAFETY: a byte of a region of the case's own, or one that must not be accessible.
    unsafe { catch::write(memory.start().get() + index * PAGE_SIZE, byte) }
}

fn mapping(memory: &Memory, index: u64) -> Result<Option<Mapping>, Failure> {
    Ok(tables::mapping_of(nth(memory, index)?.get()))
}

fn page(memory: &Memory, index: u64) -> Result<PageNumber, Failure> {
    let mapping = mapping(memory, index)?;
    mapping
        .map(|mapping| mapping.page)
        .ok_or_else(|| Failure::new("nothing is mapped"))
}

fn references(page: PageNumber) -> Result<u32, Failure> {
    Ok(crate::area::record(page)?.references)
}

/// Memory whose page n holds n + 1.
fn filled(pages: u64) -> Result<Memory, Failure> {
    let memory = Memory::new(pages, Options::default())?;
    for index in 0..pages {
        store(&memory, index, index as u8 + 1)?;
    }
    Ok(memory)
}

fn demand_zero() -> Outcome {
    let words = |memory: &Memory, index| -> Result<u64, Failure> {
        let at = nth(memory, index)?.get() as *const u64;
        // SAFETY: the page is the case's own; the library maps it.
        let word = |place| unsafe { at.wrapping_add(place).read_volatile() };
        Ok((0..PAGE_SIZE as usize / 8)
            .map(word)
            .fold(0, |all, word| all | word))
    };
    for round in 0..3 {
        let memory = Memory::new(40, Options::default())?;
        let free = exposed::free_pages();
        for index in [5, 39] {
            check_eq!(mapping(&memory, index)?, None);
            check_eq!(words(&memory, index)?, 0, "round {round}, page {index}");
            // What is left here must not be seen in the next round.
            // SAFETY: the page is the case's own.
            unsafe {
                (nth(&memory, index)?.get() as *mut u8).write_bytes(0xa5, PAGE_SIZE as usize)
            };
        }
        // Tables come from the reserve, which is filled up when they go.
        check!(free - exposed::free_pages() >= 2);
        check_eq!(mapping(&memory, 6)?, None);
    }
    Ok(())
}

fn guard_pages() -> Outcome {
    let options = || Options {
        guards: 2,
        ..Options::default()
    };
    let first = Memory::new(3, options())?;
    let second = Memory::new(3, options())?;
    for memory in [&first, &second] {
        store(memory, 0, 1)?;
        store(memory, 2, 1)?;
        for address in [
            memory.start().get() - 1,
            memory.start().get() - 2 * PAGE_SIZE,
            memory.start().get() + 3 * PAGE_SIZE,
            memory.start().get() + 5 * PAGE_SIZE - 1,
        ] {
            let caught = catch::read(address).err();
            check_eq!(caught.map(|caught| caught.far), Some(address), "guard");
        }
    }
    Ok(())
}

fn closures_step_over() -> Outcome {
    static HEARD: AtomicU64 = AtomicU64::new(0);
    HEARD.store(0, Ordering::Relaxed);
    let pager = refused(|fault| {
        let wanted = u64::from(fault.wanted().bits());
        HEARD.fetch_add(fault.address() << 8 | wanted, Ordering::Relaxed);
        Verdict::StepOver
    });
    let options = Options {
        access: R,
        pager,
        ..Options::default()
    };
    let memory = Memory::new(2, options)?;
    check_eq!(load(&memory, 1)?, 0);
    store(&memory, 1, 77)?;
    check_eq!(load(&memory, 1)?, 0);
    let expected = nth(&memory, 1)?.get() << 8 | u64::from(Access::WRITE.bits());
    check_eq!(HEARD.load(Ordering::Relaxed), expected);
    Ok(())
}

fn closures_unprotect() -> Outcome {
    let pager = refused(|fault| match fault.protect(RW) {
        Ok(()) if fault.kind() == Kind::Refused => Verdict::Resume,
        _ => Verdict::PassOn,
    });
    let memory = Memory::new(
        100,
        Options {
            pager,
            ..Options::default()
        },
    )?;
    for index in 0..100 {
        store(&memory, index, 1)?;
    }
    for round in 0..3u8 {
        memory.protect(0, 100, R)?;
        for index in (0..100).map(|n| n * 37 % 100) {
            check_eq!(
                mapping(&memory, index)?.map(|mapping| mapping.access),
                Some(R)
            );
            store(&memory, index, round + index as u8)?;
            check_eq!(load(&memory, index)?, round + index as u8);
            check_eq!(
                mapping(&memory, index)?.map(|mapping| mapping.access),
                Some(RW)
            );
        }
    }
    Ok(())
}

fn sources_fill() -> Outcome {
    let source = Source(|offset: u64, bytes: &mut [u8; PAGE_SIZE as usize]| {
        let page = offset / PAGE_SIZE;
        if page == 3 {
            return Err(Error::Unsuitable);
        }
        bytes.fill(page as u8 * 2 + 1);
        Ok(())
    });
    let options = Options {
        access: R,
        pager: Some(Box::leak(Box::new(source))),
        ..Options::default()
    };
    let memory = Memory::new(5, options)?;
    for index in [4, 0, 2] {
        check_eq!(load(&memory, index)?, index as u8 * 2 + 1);
    }
    check!(load(&memory, 3).is_err(), "a page that its source refuses");
    check!(
        store(&memory, 4, 0).is_err(),
        "a page that may be read only"
    );
    Ok(())
}

fn protection_in_batches() -> Outcome {
    let memory = filled(64)?;
    let odd: Vec<_> = (1..64)
        .step_by(2)
        .filter_map(|index| memory.page(index))
        .collect();
    on_space(|space| space.protect_each(&odd, R))?;
    for index in 0..64 {
        let stored = store(&memory, index, 7);
        check_eq!(stored.is_ok(), index % 2 == 0, "page {index}");
    }
    memory.protect(0, 64, RW)?;
    for index in 0..64 {
        store(&memory, index, 8)?;
    }
    let beyond = on_space(|space| Ok(space.protect(memory.start(), 65, R)))?;
    check_eq!(beyond, Err(Error::NoRegion));
    Ok(())
}

fn no_access_at_all() -> Outcome {
    let memory = filled(3)?;
    memory.protect(1, 1, Access::empty())?;
    check!(load(&memory, 1).is_err());
    check_eq!(mapping(&memory, 1)?, None);
    check_eq!(load(&memory, 0)?, 1);
    let copy = memory.copy()?;
    memory.protect(1, 1, R)?;
    check_eq!(load(&memory, 1)?, 2);
    check!(store(&memory, 1, 1).is_err());
    check!(load(&copy, 1).is_err());
    copy.protect(0, 3, RW)?;
    check_eq!(load(&copy, 1)?, 2);
    // A page that nobody has touched can be forbidden, too.
    let fresh = Memory::new(2, Options::default())?;
    fresh.protect(0, 1, Access::empty())?;
    check!(load(&fresh, 0).is_err());
    check_eq!(load(&fresh, 1)?, 0);
    Ok(())
}

fn executable_after_the_fact() -> Outcome {
    const RET: u32 = 0xd65f_03c0;
    let memory = Memory::new(2, Options::default())?;
    let at = nth(&memory, 0)?.get();
    // SAFETY: the page is the case's own.
    unsafe { (at as *mut u32).write_volatile(RET) };
    machine::publish(at, 64)?;
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::execute(at) }.is_err(), "data was executed");
    memory.protect(0, 1, R | Access::EXECUTE)?;
    // SAFETY: a function that returns at once.
    unsafe { catch::execute(at) }?;
    check!(store(&memory, 0, 0).is_err());
    Ok(())
}

/// A closure that asks for the space by the front door is refused, and does not wait for itself.
fn busy_inside() -> Outcome {
    static FOUND: AtomicU64 = AtomicU64::new(0);
    FOUND.store(0, Ordering::Relaxed);
    let pager = refused(|_| {
        let inside = program::with(|_| ());
        FOUND.store(1 + u64::from(inside == Err(Error::Busy)), Ordering::Relaxed);
        Verdict::StepOver
    });
    let options = Options {
        access: R,
        pager,
        ..Options::default()
    };
    let memory = Memory::new(1, options)?;
    store(&memory, 0, 1)?;
    check_eq!(FOUND.load(Ordering::Relaxed), 2);
    Ok(())
}

fn heap_on_a_region() -> Outcome {
    let region = on_space(|space| Ok(space.region(heap::START)))?;
    check_eq!(region.map(|info| info.name), Some("heap"));
    // It has grown since it is on its region, before the cases; every page is there before it is used.
    let pages = heap::pages();
    check!(pages > 256, "{pages} pages");
    for page in 0..=pages {
        let mapping = tables::mapping_of(heap::START + page * PAGE_SIZE);
        check_eq!(mapping.is_some(), page < pages, "page {page}");
    }
    let mut bytes = Vec::<u8>::new();
    check!(bytes.try_reserve_exact(usize::MAX / 4).is_err());
    Ok(())
}

/// Pseudo-random operations on a few regions, against an array.
fn random_memory() -> Outcome {
    const PAGES: usize = 24;
    const REGIONS: usize = 4;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let fresh = || Memory::new(PAGES as u64, Options::default());
    let mut regions = [fresh()?, fresh()?, fresh()?, fresh()?];
    let mut naive = [[(0u8, RW); PAGES]; REGIONS];
    for round in 0..3000 {
        let (region, page) = (random(REGIONS), random(PAGES));
        let (byte, access) = naive[region][page];
        match random(12) {
            0 => {
                let from = random(REGIONS);
                let copy = regions[from].copy()?;
                regions[region] = copy;
                naive[region] = naive[from];
            }
            1 => {
                let count = 1 + random(PAGES - page);
                let access = [Access::empty(), R, RW][random(3)];
                regions[region].protect(page as u64, count as u64, access)?;
                naive[region][page..page + count]
                    .iter_mut()
                    .for_each(|page| page.1 = access);
            }
            2..7 => {
                let stored = store(&regions[region], page as u64, round as u8);
                let may = access.contains(Access::WRITE);
                check_eq!(stored.is_ok(), may, "round {round}: store");
                if may {
                    naive[region][page].0 = round as u8;
                }
            }
            _ => {
                let loaded = load(&regions[region], page as u64).ok();
                let expected = access.contains(R).then_some(byte);
                check_eq!(loaded, expected, "round {round}: load");
            }
        }
    }
    Ok(())
}
