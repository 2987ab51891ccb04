//! Ranges of address space, cut at the borders of level-3 tables.

use exopi_abi::page::SUPERPAGE_PAGES;
use exopi_abi::{Error, PageNumber, Progress, VirtAddr};

use crate::Index;
use crate::flush::Touched;

/// One item, and nothing refused.
pub(crate) const ONE: Progress = Progress {
    done: 1,
    stopped: None,
};

/// What was done of a stretch of address space below one entry of a level-2 table.
pub(crate) enum Part {
    /// So many pages, and why no more.
    Pages(Progress),
    /// All of it, one superpage, unless that was refused.
    Superpage(Result<(), Error>),
}

/// Splits `count` pages of address space from `at` on at the borders of level-3 tables. `run` gets the
/// address, how many pages came before and how many follow in the same table.
#[inline(always)]
pub(crate) fn by_table(
    at: VirtAddr,
    count: u64,
    mut run: impl FnMut(VirtAddr, u64, u64) -> Progress,
) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let (mut at, mut done) = (at, 0);
    loop {
        let length = (Index::COUNT - Index::in_table3(at).get()) as u64;
        let part = run(at, done, length.min(count - done));
        done += part.done;
        if part.stopped.is_some() || done >= count {
            return Progress {
                done,
                stopped: part.stopped,
            };
        }
        at = match at.plus(part.done) {
            Some(at) => at,
            None => {
                return Progress {
                    done,
                    stopped: Some(Error::BadAddress),
                };
            }
        };
    }
}

/// Splits `count` pages of address space from `at` on at the borders of level-3 tables, up to `bound` mappings,
/// where a superpage is one. `part` gets the address, how many pages it may do in the same stretch, and how many
/// are left of the range.
#[inline(always)]
pub(crate) fn by_mapping(
    at: VirtAddr,
    count: u64,
    bound: u64,
    touched: &mut Touched,
    mut part: impl FnMut(VirtAddr, u64, u64) -> Part,
) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let (mut at, mut done) = (at, 0);
    loop {
        let left = count - done;
        let stretch = (Index::COUNT - Index::in_table3(at).get()) as u64;
        let (pages, stopped) = match part(at, stretch.min(left).min(bound - touched.mappings), left)
        {
            Part::Pages(progress) => {
                touched.mappings += progress.done;
                (progress.done, progress.stopped)
            }
            Part::Superpage(Ok(())) => {
                touched.add_superpage();
                (SUPERPAGE_PAGES, None)
            }
            Part::Superpage(Err(error)) => (0, Some(error)),
        };
        done += pages;
        if stopped.is_some() || done >= count || touched.mappings >= bound {
            return Progress { done, stopped };
        }
        at = match at.plus(pages) {
            Some(at) => at,
            None => {
                return Progress {
                    done,
                    stopped: Some(Error::BadAddress),
                };
            }
        };
    }
}

/// The frame `offset` after `first`. Where numbers end it would go on with 0, but a range never gets
/// there: it stops at the first frame beyond the array.
#[inline(always)]
pub(crate) const fn after(first: PageNumber, offset: u64) -> PageNumber {
    PageNumber::new(first.get().wrapping_add(offset as u32))
}

/// Carries out `item` for the entries of one level-3 table from the one for `at` on, up to `length` of them or the first
/// refusal. `item` gets how many came before, too.
#[inline(always)]
pub(crate) fn run(
    at: VirtAddr,
    length: u64,
    mut item: impl FnMut(Index, u64) -> Result<(), Error>,
) -> Progress {
    let mut done = 0;
    for index in Index::run(at, length) {
        if let Err(error) = item(index, done) {
            return Progress {
                done,
                stopped: Some(error),
            };
        }
        done += 1;
    }
    Progress {
        done,
        stopped: None,
    }
}
