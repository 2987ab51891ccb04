//! A libOS crate on the simulated kernel, under plain `cargo test`: its own functions, its own stubs.

use exopi_rt::capability::PageRights;
use exopi_rt::page::FrameType;
use exopi_rt::{Access, Error, PageRun, VirtAddr, exposed, memory, stubs, tables};
use exopi_simkernel::{Board, Installed};

const RW: Access = Access::READ.union(Access::WRITE);

#[test]
fn a_page_is_taken_mapped_and_given_back() {
    let kernel = Installed::new(&Board::ROOMY);
    let free = exposed::free_pages();
    let at = VirtAddr::new(0x1234_5000).unwrap();
    let page = memory::map_new(at, RW).unwrap();
    // The page, and two tables with their links.
    assert_eq!(exposed::free_pages(), free - 5);
    assert_eq!(exposed::page(page).unwrap().references, 1);
    let mapping = tables::mapping_of(at.get()).unwrap();
    assert_eq!((mapping.page, mapping.access), (page, RW));
    assert_eq!(memory::give_page(page), Err(Error::InUse));
    // The simulated program can use it, too.
    kernel.with(|kernel| kernel.store(at.get() + 8, 7).unwrap());
    assert_eq!(kernel.with(|kernel| kernel.load(at.get() + 8)), Ok(7));
    // SAFETY: nothing of this process is at an address of the simulated space.
    let broken = unsafe { stubs::page_break(PageRun::Owned(page), 1) };
    assert_eq!(broken.progress.done, 1);
    memory::give_page(page).unwrap();
    assert_eq!(exposed::page(page).unwrap().kind, FrameType::Free);
    kernel.with(|kernel| kernel.check().unwrap());
}

#[test]
fn capabilities_lie_in_the_process_of_the_test() {
    let kernel = Installed::new(&Board::ROOMY);
    let page = memory::take_page().unwrap();
    let mut words = [0; 6];
    let kind = exopi_rt::capability::Kind::Page;
    let rights = PageRights::READ | PageRights::RETIRE;
    let minted = stubs::cap_mint(
        kind,
        page.get().into(),
        1,
        rights.bits().into(),
        (&mut words).into(),
    );
    assert_eq!(minted, Ok(()));
    let capability = exopi_rt::Capability::from_words(words).unwrap();
    let run = || PageRun::Presented(page, (&capability).into());
    assert_eq!(
        stubs::page_free(run(), 1).stopped,
        Some(Error::MissingRight)
    );
    assert_eq!(stubs::page_retire(run(), 1).done, 1);
    assert_eq!(stubs::page_retire(run(), 1).stopped, Some(Error::Stale));
    kernel.with(|kernel| kernel.check().unwrap());
}

#[test]
fn the_console_is_recorded() {
    let kernel = Installed::new(&Board::ROOMY);
    assert_eq!(stubs::console_write(b"hello".as_slice().into()).done, 5);
    assert_eq!(kernel.with(|kernel| kernel.printed.clone()), b"hello");
    kernel.with(|kernel| kernel.typed.extend(b"you"));
    let mut bytes = [0; 8];
    assert_eq!(stubs::console_read(bytes.as_mut_slice().into()).done, 3);
    assert_eq!(&bytes[..3], b"you");
}
