//! What is known as a number, for explorations: the same where nothing differs that a verdict depends on.
//!
//! Left out are what pages hold where it is known (it is compared with the memory, whose words are part of a state), how
//! often capabilities have ended, and those that nobody holds.

use std::hash::{Hash, Hasher};

use exopi_abi::capability::{Identity, Kind};
use exopi_abi::domain::ObjectName;

use super::{Oracle, Page, Words};

/// The name of a frame: what stands at its number, or that itself.
pub(crate) fn renamed(names: &[u32], frame: u32) -> u32 {
    names.get(frame as usize).copied().unwrap_or(frame)
}

/// By index, and those at one index in the order in which they came.
fn place(name: &ObjectName) -> (u16, u64) {
    (name.index, name.epoch.bits())
}

impl Oracle {
    /// Everything but capabilities, with other names for frames.
    pub(crate) fn digest(&self, names: &[u32], state: &mut impl Hasher) {
        let account = |name: ObjectName| self.accounts.get(&name).map(|_| name.index);
        let mut pages: Vec<_> = (0..).zip(&self.pages).collect();
        pages.sort_by_key(|(page, _)| renamed(names, *page));
        for (_, page) in pages {
            let owners = [page.owner, page.last].map(|owner| owner.map(account));
            (owners, page.plain, page.contents.is_some()).hash(state);
        }
        let mut accounts: Vec<_> = self.accounts.iter().collect();
        accounts.sort_by_key(|(name, _)| place(name));
        for (name, facts) in accounts {
            let parent = facts.parent.map(account);
            (name.index, parent, facts.dying, facts.accepts).hash(state);
        }
        self.digest_spaces(names, state);
        let mut environments: Vec<_> = self.environments.iter().collect();
        environments.sort_by_key(|(name, _)| place(name));
        for (name, facts) in environments {
            let owners = [facts.account, facts.bound].map(account);
            let place = (facts.space.index, renamed(names, facts.uarea), facts.at);
            (name.index, owners, place, facts.dying).hash(state);
        }
        let console = self.console;
        let console = console.filter(|owner| self.environments.contains_key(owner));
        console.map(|owner| owner.index).hash(state);
    }

    fn digest_spaces(&self, names: &[u32], state: &mut impl Hasher) {
        let mut spaces: Vec<_> = self.spaces.iter().collect();
        spaces.sort_by_key(|(name, _)| place(name));
        for (name, space) in spaces {
            let owner = self.accounts.get(&space.owner).map(|_| space.owner.index);
            (name.index, owner, space.dying).hash(state);
            renamed(names, space.root).hash(state);
            for (at, binding) in &space.bindings {
                let access = (binding.bound, binding.now, binding.pages);
                (at, renamed(names, binding.page), access).hash(state);
            }
            for (at, page) in &space.uareas {
                (at, renamed(names, *page)).hash(state);
            }
            let tables = space.tables.iter();
            let mut tables: Vec<_> = tables
                .map(|(table, links)| [*table, *links].map(|page| renamed(names, page)))
                .collect();
            tables.sort();
            tables.hash(state);
        }
    }

    /// What is known of a capability that somebody holds. `false` if it is good for nothing any more.
    pub(crate) fn held(&self, words: &Words, state: &mut impl Hasher) -> bool {
        let Some(token) = self.tokens.get(words) else {
            return false;
        };
        let index = token.index;
        let good: Vec<bool> = match token.kind {
            Kind::Page => {
                let pages = self.pages.iter().skip(index as usize);
                let pairs = pages.zip(&token.generations);
                let good = |page: &Page| page.owner.is_some();
                pairs
                    .map(|(page, generation)| good(page) && page.generation == *generation)
                    .collect()
            }
            kind => vec![self.has(kind, index, &token.generations)],
        };
        if !good.contains(&true) {
            return false;
        }
        let there = |holder: &Identity| {
            let mut names = self.environments.keys();
            names
                .find(|name| name.identity() == *holder)
                .map(|name| name.index)
        };
        let holders: Vec<_> = token.holders.iter().map(there).collect();
        (good, token.rights, token.until, holders).hash(state);
        true
    }

    fn has(&self, kind: Kind, index: u32, epoch: &[u64]) -> bool {
        let is = |name: &ObjectName| u32::from(name.index) == index && epoch == [name.epoch.bits()];
        match kind {
            Kind::Account => self.accounts.keys().any(is),
            Kind::Space => self.spaces.keys().any(is),
            _ => self.environments.keys().any(is),
        }
    }
}
