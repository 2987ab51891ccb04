//! Calls on tables and mappings. The space is resolved already: a batch does that once for all of its
//! operations.

use exopi_abi::{
    Access, Error, Note, Object, PageNumber, PageRun, PageSelect, PageSource, Progress, TableLevel,
    UserCapability, VirtAddr,
};
use exopi_cap::Verified;
use exopi_domains::{Subject, Target};
use exopi_pages::{Right, Source};

use super::presented::{with_object, with_run, with_source};
use crate::arch::core_data::Core;
use crate::arch::tables::Processor;
use crate::arch::user;
use crate::kernel::{lock, masked, with_free_pages, with_pages};
use crate::seals;

/// One page, and nothing refused.
const ONE: Progress = Progress {
    done: 1,
    stopped: None,
};

pub(super) fn table_insert(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    level: TableLevel,
    table: PageNumber,
    links: PageNumber,
) -> Result<(), Error> {
    lock().table_insert(&mut Processor, by, space, at, level, table, links)
}

pub(super) fn table_remove(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    level: TableLevel,
) -> Result<PageNumber, Error> {
    lock().table_remove(&mut Processor, by, space, at, level)
}

/// Maps pages that there are, whoever's, in whatever space.
#[cold]
pub(super) fn insert_any(
    space: Object<'_>,
    at: VirtAddr,
    pages: PageRun<'_>,
    count: u64,
    access: Access,
) -> Progress {
    let by = &Core::caller();
    with_object(by, space, |space| {
        insert_pte(by, space, at, PageSource::Run(pages), count, access)
    })
}

/// Maps pages that are allocated for it, in whatever space.
#[cold]
pub(super) fn insert_new(
    space: Object<'_>,
    at: VirtAddr,
    which: PageSelect,
    count: u64,
    access: Access,
) -> Progress {
    let by = &Core::caller();
    with_object(by, space, |space| {
        insert_pte(by, space, at, PageSource::New(which), count, access)
    })
}

/// Maps pages in a space that is found already.
pub(super) fn insert_pte(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    source: PageSource<'_>,
    count: u64,
    access: Access,
) -> Progress {
    with_source(by, source, |source| {
        with_free_pages(|kernel| {
            kernel.insert_pte(&mut Processor, by, space, at, source, count, access)
        })
    })
}

/// The same of the caller's own pages in its own space: the call that programs make most.
#[inline(always)]
pub(super) fn insert_own(at: VirtAddr, first: PageNumber, count: u64, access: Access) -> Progress {
    if count == 1 && insert_one(at, first, Right::Owner(Core::owner()), access) {
        return ONE;
    }
    insert_own_many(at, first, count, access)
}

/// Every case, and why a page cannot be mapped.
#[inline(never)]
fn insert_own_many(at: VirtAddr, first: PageNumber, count: u64, access: Access) -> Progress {
    let by = &Core::caller();
    let source = Source::Run(first, Right::Owner(by.owner));
    lock().insert_pte(&mut Processor, by, Target::Own, at, source, count, access)
}

/// Maps a page in the caller's own space, unless anything stands in the way: then nothing is done, and the general
/// call, a hold of its own, finds out what it is. No record tells whether the space is still there: its caller is in it.
#[inline(always)]
fn insert_one(at: VirtAddr, page: PageNumber, right: Right<'_>, access: Access) -> bool {
    let space = Core::space();
    with_pages(
        #[inline(always)]
        |pages| pages.insert_page(&mut Processor, &space, at, page, right, access),
    )
}

/// Maps new pages in the caller's own space.
#[inline(never)]
pub(super) fn insert_own_new(
    at: VirtAddr,
    which: PageSelect,
    count: u64,
    access: Access,
) -> Progress {
    let by = &Core::caller();
    let source = Source::New(which);
    masked(|| {
        with_free_pages(|kernel| {
            kernel.insert_pte(&mut Processor, by, Target::Own, at, source, count, access)
        })
    })
}

/// Maps pages by a capability in the caller's own space. What is verified stays in registers; for one without
/// caveats, which most are, on a way of its own.
#[inline(never)]
pub(super) fn insert_own_by(
    at: VirtAddr,
    first: PageNumber,
    capability: UserCapability<'_>,
    count: u64,
    access: Access,
) -> Progress {
    let presenter = Core::name().identity();
    let words = match user::read_capability(capability) {
        Ok(words) => words,
        Err(error) => return Progress::refused(error),
    };
    if let Some(verified) = seals::verify_plain(words, presenter) {
        return insert_verified(at, first, &verified, count, access);
    }
    match seals::verify_words(words, presenter) {
        Ok(verified) => insert_verified(at, first, &verified, count, access),
        Err(error) => Progress::refused(error),
    }
}

#[inline(always)]
fn insert_verified(
    at: VirtAddr,
    first: PageNumber,
    verified: &Verified,
    count: u64,
    access: Access,
) -> Progress {
    if count == 1 && insert_one(at, first, Right::Verified(verified), access) {
        return ONE;
    }
    let by = &Core::caller();
    let source = Source::Run(first, Right::Verified(verified));
    lock().insert_pte(&mut Processor, by, Target::Own, at, source, count, access)
}

pub(super) fn insert_superpage(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    pages: PageRun<'_>,
    count: u64,
    access: Access,
) -> Progress {
    with_run(by, pages, |first, right| {
        lock().insert_superpage(&mut Processor, by, space, at, first, right, count, access)
    })
}

/// Removes mappings of the caller's own space: as [`insert_own`].
#[inline(always)]
pub(super) fn remove_own(at: VirtAddr, count: u64) -> Progress {
    if count == 1 {
        let space = Core::space();
        let removed = with_pages(
            #[inline(always)]
            |pages| pages.remove_page(&mut Processor, &space, at),
        );
        if removed {
            return ONE;
        }
    }
    remove_own_many(at, count)
}

/// Every case. Of who calls, the space alone is needed.
#[inline(never)]
fn remove_own_many(at: VirtAddr, count: u64) -> Progress {
    let space = Core::space();
    masked(|| with_pages(|pages| pages.remove_pte(&mut Processor, &space, at, count)))
}

/// The same of whatever space.
#[cold]
pub(super) fn remove_any(space: Object<'_>, at: VirtAddr, count: u64) -> Progress {
    let by = &Core::caller();
    with_object(by, space, |space| remove_pte(by, space, at, count))
}

pub(super) fn remove_pte(by: &Subject, space: Target<'_>, at: VirtAddr, count: u64) -> Progress {
    lock().remove_pte(&mut Processor, by, space, at, count)
}

/// Changes permissions in the caller's own space: as [`insert_own`].
#[inline(always)]
pub(super) fn protect_own(at: VirtAddr, count: u64, access: Access) -> Progress {
    if count == 1 {
        let space = Core::space();
        let protected = with_pages(
            #[inline(always)]
            |pages| pages.protect_page(&mut Processor, &space, at, access),
        );
        if protected {
            return ONE;
        }
    }
    protect_own_many(at, count, access)
}

/// Every case. Of who calls, the space alone is needed.
#[inline(never)]
fn protect_own_many(at: VirtAddr, count: u64, access: Access) -> Progress {
    let space = Core::space();
    masked(|| with_pages(|pages| pages.protect_pte(&mut Processor, &space, at, count, access)))
}

/// The same of whatever space.
#[inline(never)]
pub(super) fn protect_any(space: Object<'_>, at: VirtAddr, count: u64, access: Access) -> Progress {
    let by = &Core::caller();
    with_object(by, space, |space| protect_pte(by, space, at, count, access))
}

pub(super) fn protect_pte(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    count: u64,
    access: Access,
) -> Progress {
    lock().protect_pte(&mut Processor, by, space, at, count, access)
}

pub(super) fn note(by: &Subject, space: Target<'_>, at: VirtAddr, note: Note) -> Result<(), Error> {
    lock().pte_note(&mut Processor, by, space, at, note)
}
