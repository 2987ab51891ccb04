//! What cores could reach now, against what was given; and what loads and stores of programs find.

use std::collections::{BTreeMap, HashMap};

use exopi_abi::Access;
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::{EXPOSED_BASE, PAGE_SIZE, TABLES_BASE};
use exopi_simkernel::el0::Use;

use super::{Binding, Oracle, Space, Verdict};

/// A translation that some core may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Of the space at this index.
    pub(crate) space: u16,
    /// At this address.
    pub(crate) at: u64,
    /// To this page.
    pub(crate) page: u32,
    /// And those after it.
    pub(crate) pages: u64,
    /// For stores.
    pub(crate) write: bool,
    /// For fetches.
    pub(crate) execute: bool,
}

impl Oracle {
    /// Whether cores can reach all that was given and nothing else.
    pub(crate) fn reach(&self, reached: impl Iterator<Item = Reach>) -> Verdict {
        let mut spaces: HashMap<u16, (&Space, u64)> = HashMap::new();
        for (name, space) in &self.spaces {
            // The index of one that was being destroyed may belong to another by now.
            if !space.dying || !spaces.contains_key(&name.index) {
                spaces.insert(name.index, (space, 0));
            }
        }
        for reach in reached {
            let found = spaces.get_mut(&reach.space);
            let (space, seen) = found.ok_or_else(|| format!("{reach:?} in a space that is gone"))?;
            if !space.allows(&reach) {
                return Err(format!("{reach:?} was given to nobody"));
            }
            *seen += u64::from(reach.at < TABLES_BASE);
        }
        for (space, seen) in spaces.values() {
            let bindings = space.bindings.values();
            let gone = bindings.clone().filter(|binding| self.may_be_gone(binding));
            let may_be_gone = gone.count() + self.leaving(space);
            let given = bindings.count() + space.uareas.len();
            if !space.dying && (*seen as usize) + may_be_gone < given {
                return Err(format!("of {given} mappings {seen} are there: {space:?}"));
            }
        }
        Ok(())
    }

    /// Whether a mapping may have been taken away with the account that one of its pages belongs to.
    pub(super) fn may_be_gone(&self, binding: &Binding) -> bool {
        (0..binding.pages as u32).any(|offset| {
            let facts = self.pages.get((binding.page.wrapping_add(offset)) as usize);
            let owner = facts.and_then(|facts| facts.owner);
            owner.is_none_or(|owner| self.is_ending(owner))
        })
    }

    /// u-areas of environments whose destruction has begun.
    fn leaving(&self, space: &Space) -> usize {
        let dying = self.environments.values().filter(|facts| facts.dying);
        dying.filter(|facts| space.uareas.contains_key(&facts.at)).count()
    }

    /// The page at an address of an environment's space, and what may be done to it; nothing of a u-area or of
    /// what the kernel shows.
    fn at(&self, who: ObjectName, at: u64) -> Option<(u32, Access)> {
        let space = self.spaces.get(&self.environments.get(&who)?.space)?;
        let begin = space.covering(at)?;
        let binding = space.bindings[&begin];
        Some((binding.page + ((at - begin) / PAGE_SIZE) as u32, binding.now))
    }

    /// Whether memory holds what was stored there, wherever that is known: the words of a page by index.
    pub(crate) fn contents<'w>(
        &self,
        words: impl Fn(u32) -> &'w BTreeMap<usize, u64>,
    ) -> Verdict {
        for (page, facts) in (0..).zip(&self.pages) {
            let Some(known) = facts.contents.as_ref().filter(|_| facts.plain) else {
                continue;
            };
            let found = words(page).iter().map(|(index, word)| (8 * *index as u64, *word));
            let stored = known.iter().filter(|(_, word)| **word != 0);
            if !stored.map(|(at, word)| (*at, *word)).eq(found) {
                let found = words(page);
                return Err(format!("page {page} holds {found:x?}, and {known:x?} was stored"));
            }
        }
        Ok(())
    }

    /// A program has loaded a word.
    pub(crate) fn loaded(&self, who: ObjectName, at: u64, value: u64) -> Verdict {
        let Some((page, _)) = self.at(who, at) else {
            return Ok(());
        };
        let Some(contents) = &self.pages[page as usize].contents else {
            return Ok(());
        };
        let expected = contents.get(&(at % PAGE_SIZE)).copied().unwrap_or_default();
        if value == expected {
            Ok(())
        } else {
            Err(format!("{who:?} reads {value:#x} in page {page}, where {expected:#x} was stored"))
        }
    }

    /// A program has stored a word.
    pub(crate) fn stored(&mut self, who: ObjectName, at: u64, value: u64) {
        if let Some((page, _)) = self.at(who, at)
            && let Some(contents) = &mut self.pages[page as usize].contents
        {
            contents.insert(at % PAGE_SIZE, value);
        }
    }

    /// A program's access has faulted.
    pub(crate) fn faulted(&self, who: ObjectName, at: u64, what: Use) -> Verdict {
        let needed = match what {
            Use::Load => Access::READ,
            Use::Store => Access::WRITE,
            Use::Fetch => Access::EXECUTE,
        };
        match self.at(who, at) {
            Some((page, access)) if access.contains(needed) => {
                let owner = self.pages[page as usize].owner;
                if owner.is_none_or(|owner| self.is_ending(owner)) || self.is_apart(who) {
                    return Ok(());
                }
                Err(format!("{who:?} may {what:?} at {at:#x}, and it faults"))
            }
            _ => Ok(()),
        }
    }

    fn is_apart(&self, who: ObjectName) -> bool {
        let space = self.environments.get(&who).map(|facts| facts.space);
        let space = space.and_then(|name| self.spaces.get(&name));
        space.is_none_or(|space| space.dying)
    }

    /// The kernel has perhaps written here for a program.
    pub(crate) fn forget(&mut self, who: ObjectName, at: u64, bytes: u64) {
        let pages = [at, at.saturating_add(bytes.max(1) - 1)].map(|at| self.at(who, at));
        for (page, _) in pages.into_iter().flatten() {
            self.pages[page as usize].contents = None;
        }
    }
}

impl Space {
    fn allows(&self, reach: &Reach) -> bool {
        if reach.at >= EXPOSED_BASE {
            return !reach.write && !reach.execute;
        }
        if reach.at >= TABLES_BASE {
            let table = self.root == reach.page || self.tables.contains_key(&reach.page);
            let table = table || self.dying;
            return !reach.write && !reach.execute && table;
        }
        if let Some(uarea) = self.uareas.get(&reach.at) {
            return *uarea == reach.page && !reach.execute;
        }
        let Some(begin) = self.covering(reach.at) else {
            return false;
        };
        let binding = self.bindings[&begin];
        let page = u64::from(binding.page) + (reach.at - begin) / PAGE_SIZE;
        let whole = reach.pages <= binding.pages;
        u64::from(reach.page) == page
            && whole
            && (!reach.write || binding.now.contains(Access::WRITE))
            && (!reach.execute || binding.now.contains(Access::EXECUTE))
    }
}
