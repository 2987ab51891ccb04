//! Looking at all of it: what must hold between two calls, what changed, what cores can reach.

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, LifeWord, SpaceRecord};
use exopi_abi::page::{FrameType, PageRecord, SUPERPAGE_PAGES};
use exopi_abi::slice::SliceRecord;
use exopi_abi::{PageNumber, layout};

use super::Kernel;

/// What a core may find at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The first frame.
    pub frame: PageNumber,
    /// How many: 1, or 512 of a superpage.
    pub pages: u64,
    /// Stores are allowed.
    pub write: bool,
    /// Instructions may be fetched.
    pub execute: bool,
}

/// All records, as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pages: Vec<PageRecord>,
    accounts: Vec<Option<AccountRecord>>,
    spaces: Vec<Option<SpaceRecord>>,
    environments: Vec<Option<EnvironmentRecord>>,
    lives: Vec<LifeWord>,
    slices: Vec<SliceRecord>,
}

impl Snapshot {
    /// The first record in which another differs.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        first(&self.pages, &other.pages)
            .or_else(|| first(&self.accounts, &other.accounts))
            .or_else(|| first(&self.spaces, &other.spaces))
            .or_else(|| first(&self.environments, &other.environments))
            .or_else(|| first(&self.lives, &other.lives))
            .or_else(|| first(&self.slices, &other.slices))
    }

    /// The frames that were free and are not in another.
    pub fn taken(&self, other: &Self) -> Vec<u32> {
        let pairs = self.pages.iter().zip(&other.pages).zip(0..);
        pairs
            .filter(|((before, after), _)| {
                before.kind == FrameType::Free && after.kind != FrameType::Free
            })
            .map(|(_, number)| number)
            .collect()
    }
}

fn first<T: PartialEq + core::fmt::Debug>(before: &[T], after: &[T]) -> Option<String> {
    let mut pairs = before.iter().zip(after).enumerate();
    let (index, (before, after)) = pairs.find(|(_, (before, after))| before != after)?;
    Some(format!("record {index}: {before:x?} is {after:x?} now"))
}

impl Kernel<'_> {
    /// All records.
    pub fn snapshot(&self) -> Snapshot {
        let domains = &self.domains;
        let frames = (0..domains.pages.len() as u32).map(PageNumber::new);
        Snapshot {
            pages: frames
                .filter_map(|frame| domains.pages.record(frame).copied())
                .collect(),
            accounts: (0..self.accounts)
                .map(|at| domains.account(at).copied())
                .collect(),
            spaces: (0..self.spaces)
                .map(|at| domains.space(at).copied())
                .collect(),
            environments: (0..self.environments)
                .map(|at| domains.environment(at).copied())
                .collect(),
            lives: (0..self.environments).map(|at| domains.life(at)).collect(),
            slices: domains.slice_records().to_vec(),
        }
    }

    /// Counts everything again, and looks for whatever a core might still use and must not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        self.machine.settled()?;
        let checked = self.domains.check_invariants(&self.machine);
        checked.map_err(|violation| format!("{violation:?}"))
    }

    /// Every translation that some core may use: the space's index, the address, and what is there.
    pub fn translations(&self) -> impl Iterator<Item = (u16, u64, Seen)> {
        let translations = self.machine.translations();
        translations.map(|(asid, at, found)| {
            let seen = Seen {
                frame: found.frame,
                pages: if found.superpage { SUPERPAGE_PAGES } else { 1 },
                write: found.write,
                execute: found.execute,
            };
            (asid.wrapping_sub(1), at, seen)
        })
    }

    /// The frame at an address in the space at an index, if something is mapped there.
    pub fn frame_in(&self, space: u16, at: u64) -> Option<u32> {
        let page = at & !(layout::PAGE_SIZE - 1);
        let mut found = self.translations().filter(|(index, base, seen)| {
            *index == space && *base <= page && page - *base < seen.pages * layout::PAGE_SIZE
        });
        let (_, base, seen) = found.next()?;
        Some(seen.frame.get() + ((page - base) / layout::PAGE_SIZE) as u32)
    }

    /// The frame at an address in the space of who runs on a core.
    pub fn frame_at(&self, core: u8, at: u64) -> Option<u32> {
        let subject = self.subjects.get(usize::from(core))?.as_ref()?;
        self.frame_in(subject.space.asid() - 1, at)
    }
}
