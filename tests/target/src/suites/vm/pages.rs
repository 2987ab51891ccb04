//! Whose the pages are: shared, lent, of which colour, how large, and none left.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::{Error as Refusal, Object, PageNumber, VirtAddr, exposed};
use exopi_vm::program::{self, Memory};
use exopi_vm::supply::Choice;
use exopi_vm::{Colours, Error, Fault, Options, Pager, Supply, Verdict};

use crate::harness::{Failure, Outcome};

use super::{R, RW, filled, load, mapping, on_space, page, references, store};

/// The one that writes gets a copy; the other one, last, takes the page as it is.
pub(super) fn copy_on_write(copy_writes: bool) -> Outcome {
    let original = filled(4)?;
    let copy = original.copy()?;
    let shared = page(&original, 2)?;
    check_eq!(page(&copy, 2)?, shared);
    check_eq!(references(shared)?, 2);
    let (writer, other) = if copy_writes {
        (&copy, &original)
    } else {
        (&original, &copy)
    };
    store(writer, 2, 99)?;
    check!(
        page(writer, 2)? != shared,
        "a write went to the shared page"
    );
    check_eq!(references(shared)?, 1);
    check_eq!(load(other, 2)?, 3);
    check_eq!(load(writer, 2)?, 99);
    let free = exposed::free_pages();
    store(other, 2, 88)?;
    check_eq!(page(other, 2)?, shared, "the last one's page");
    check_eq!(exposed::free_pages(), free, "free pages");
    check_eq!(load(writer, 2)?, 99);
    for index in [0, 1, 3] {
        check_eq!(load(writer, index)?, index as u8 + 1);
        check_eq!(references(page(other, index)?)?, 2);
    }
    Ok(())
}

pub(super) fn released_in_both_orders() -> Outcome {
    for first in [true, false] {
        let original = filled(70)?;
        let copy = original.copy()?;
        let third = copy.copy()?;
        check_eq!(references(page(&third, 69)?)?, 3);
        let (goes, stays) = if first {
            (original, copy)
        } else {
            (copy, original)
        };
        drop(goes);
        let shared = page(&stays, 69)?;
        check_eq!(references(shared)?, 2);
        drop(third);
        check_eq!(references(shared)?, 1);
        store(&stays, 69, 1)?;
        check_eq!(page(&stays, 69)?, shared);
    }
    Ok(())
}

pub(super) fn lent_to_another_space() -> Outcome {
    let memory = filled(3)?;
    let other = exopi_rt::space::create()?;
    let name = other.name().ok_or_else(|| Failure::new("it has no name"))?;
    let there = VirtAddr::new(0x10_0000_0000).ok_or(Refusal::BadAddress)?;
    on_space(|space| space.lend(memory.start(), 3, Object::Owned(name), there))?;
    let shared = page(&memory, 1)?;
    check_eq!(references(shared)?, 2);
    check_eq!(mapping(&memory, 1)?.map(|mapping| mapping.access), Some(R));
    store(&memory, 1, 50)?;
    check!(
        page(&memory, 1)? != shared,
        "a write went to the shared page"
    );
    // What only they have is theirs to give back: the page that we have left to them, and their tables.
    check_eq!(references(shared)?, 1);
    let root = other.record().map(|record| PageNumber::new(record.root));
    let root = root.ok_or_else(|| Failure::new("it has no record"))?;
    let theirs: Vec<_> = exopi_rt::space::pages_of(root).collect();
    check!(theirs.contains(&shared), "{theirs:?}");
    check_eq!(theirs.len(), 6, "root, two tables with links, a page");
    let kept = page(&memory, 0)?;
    other.destroy()?;
    for page in theirs {
        exopi_rt::memory::give_page(page)?;
    }
    store(&memory, 0, 51)?;
    check_eq!(page(&memory, 0)?, kept, "the last one's page");
    Ok(())
}

pub(super) fn colours() -> Outcome {
    let count = exposed::machine().colours;
    if count < 4 {
        return Err(Failure::skip("the machine has fewer than four colours"));
    }
    let mine = Colours::of([1, 2]);
    for set in [mine, mine.others()] {
        let memory = Memory::new(
            48,
            Options {
                colours: set,
                ..Options::default()
            },
        )?;
        let mut used = [0u32; 32];
        for index in 0..48 {
            store(&memory, index, 1)?;
            let colour = u64::from(page(&memory, index)?.get()) % count;
            check!(set.contains(colour as u8), "colour {colour}");
            used[colour as usize] += 1;
        }
        let usable = (0..count)
            .filter(|colour| set.contains(*colour as u8))
            .count();
        let share = 48 / usable as u32;
        let spread = used.iter().filter(|pages| **pages >= share).count();
        check_eq!(spread, usable, "colours that have their share");
    }
    Ok(())
}

pub(super) fn superpages() -> Outcome {
    let memory = Memory::new(
        1030,
        Options {
            superpages: true,
            ..Options::default()
        },
    )?;
    let is_super = |index| -> Result<bool, Failure> {
        Ok(mapping(&memory, index)?.is_some_and(|mapping| mapping.superpage))
    };
    for index in [3, 511, 512, 1029] {
        check_eq!(load(&memory, index)?, 0);
        store(&memory, index, index as u8)?;
    }
    check!(is_super(0)? && is_super(511)? && is_super(1023)?);
    check!(!is_super(1029)?, "the end is no whole superpage");
    check_eq!(u64::from(page(&memory, 0)?.get()) % 512, 0);
    memory.protect(0, 512, R)?;
    check!(is_super(0)? && store(&memory, 3, 1).is_err());
    memory.protect(0, 512, RW)?;
    memory.protect(4, 1, R)?;
    check!(!is_super(3)? && is_super(512)?);
    check_eq!(load(&memory, 3)?, 3);
    check!(store(&memory, 4, 1).is_err());
    store(&memory, 5, 1)?;
    check_eq!(load(&memory, 511)?, 511_u64 as u8);
    let copy = memory.copy()?;
    check!(!is_super(512)?, "what is shared is cut");
    store(&copy, 512, 1)?;
    check_eq!(load(&memory, 512)?, 512_u64 as u8);
    Ok(())
}

/// Gives out a number of pages, and then none.
struct Ration(u64);

impl Supply for Ration {
    fn choose(
        &mut self,
        at: VirtAddr,
        colours: Colours,
        machine: u32,
        refusals: u32,
    ) -> Option<Choice> {
        self.0 = self.0.checked_sub(1)?;
        colours.select(at, machine, refusals).map(Choice::New)
    }

    fn accept(&mut self, page: PageNumber) -> Option<PageNumber> {
        Some(page)
    }

    fn drain(&mut self) -> Option<PageNumber> {
        None
    }
}

pub(super) fn no_pages_left() -> Outcome {
    static TOLD: AtomicU64 = AtomicU64::new(0);
    struct Teller;
    impl Pager for Teller {
        fn exhausted(&mut self, _: &mut Fault<'_>, error: Error) -> Verdict {
            TOLD.fetch_add(
                1 + u64::from(!error.is_exhaustion()) * 100,
                Ordering::Relaxed,
            );
            Verdict::StepOver
        }
    }
    TOLD.store(0, Ordering::Relaxed);
    let told = Memory::new(
        5,
        Options {
            pager: Some(Box::leak(Box::new(Teller))),
            ..Options::default()
        },
    )?;
    let untold = Memory::new(5, Options::default())?;
    let ration = Box::leak(Box::new(Ration(2)));
    on_space(|space| Ok(space.set_supply(Some(ration)).is_none()))?;
    let stored: Vec<_> = (0..4).map(|index| store(&told, index, 1)).collect();
    let failed = load(&untold, 0);
    let populated = on_space(|space| Ok(space.populate(untold.start(), 2)));
    on_space(|space| Ok(space.set_supply(None).is_some()))?;
    check!(stored.iter().all(Result::is_ok), "stepped over or done");
    check_eq!(TOLD.load(Ordering::Relaxed), 2);
    check_eq!([load(&told, 1)?, load(&told, 3)?], [1, 0]);
    check!(failed.is_err(), "a page out of nothing");
    check_eq!(populated?, Err(Error::Refused(Refusal::Exhausted)));
    check_eq!(load(&untold, 0)?, 0);
    Ok(())
}

pub(super) fn many_regions() -> Outcome {
    let mut all = Vec::new();
    let error = loop {
        match Memory::new(1, Options::default()) {
            Ok(memory) => all.push(memory),
            Err(error) => break error,
        }
    };
    check_eq!(error, Error::TooManyRegions);
    check!(
        all.len() >= program::REGIONS_IN_PAGE - 1,
        "{} regions",
        all.len()
    );
    for (index, memory) in all.iter().enumerate() {
        store(memory, 0, index as u8)?;
    }
    for (index, memory) in all.iter().enumerate().rev() {
        check_eq!(load(memory, 0)?, index as u8);
    }
    Ok(())
}
