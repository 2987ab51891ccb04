//! What a sequence can name: pages, accounts, spaces, environments and slices, in the order in which they came up.
//!
//! Page numbers and epochs differ from machine to machine and from boot to boot. What is chosen by its place
//! here, and told by it, is the same wherever the same calls were made.

use core::fmt;

use exopi_abi::PageNumber;
use exopi_abi::capability::{Epoch, Kind};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use heapless::Vec;

/// Most pages that have names.
pub const MAX_PAGES: usize = 128;
/// Most accounts, spaces, environments and slices each that have names. Later ones have none, and are left alone.
pub const MAX_OBJECTS: usize = 64;
/// Most epochs that have names.
const MAX_EPOCHS: usize = 1024;

/// Names of pages and objects.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pages: Vec<PageNumber, MAX_PAGES>,
    accounts: Vec<ObjectName, MAX_OBJECTS>,
    spaces: Vec<ObjectName, MAX_OBJECTS>,
    environments: Vec<ObjectName, MAX_OBJECTS>,
    slices: Vec<ObjectName, MAX_OBJECTS>,
    epochs: Vec<Epoch, MAX_EPOCHS>,
}

impl Names {
    /// No names.
    pub const fn new() -> Self {
        Self {
            pages: Vec::new(),
            accounts: Vec::new(),
            spaces: Vec::new(),
            environments: Vec::new(),
            slices: Vec::new(),
            epochs: Vec::new(),
        }
    }

    /// Gives a page a name, unless it has one or there are no more.
    pub fn add_page(&mut self, page: PageNumber) {
        if !self.pages.contains(&page) {
            let _ = self.pages.push(page);
        }
    }

    /// Gives an account, space, environment or slice a name, unless it has one or there are no more.
    pub fn add(&mut self, kind: Kind, name: ObjectName) {
        let list = match kind {
            Kind::Account => &mut self.accounts,
            Kind::Space => &mut self.spaces,
            Kind::Environment => &mut self.environments,
            Kind::Slice => &mut self.slices,
            _ => return,
        };
        if !list.contains(&name) {
            let _ = list.push(name);
        }
    }

    /// Pages with names.
    pub fn pages(&self) -> &[PageNumber] {
        &self.pages
    }

    /// Objects of a kind with names; none of a kind that sequences know nothing of.
    pub fn objects(&self, kind: Kind) -> &[ObjectName] {
        match kind {
            Kind::Account => &self.accounts,
            Kind::Space => &self.spaces,
            Kind::Environment => &self.environments,
            Kind::Slice => &self.slices,
            _ => &[],
        }
    }

    /// A page by its name.
    pub fn tell_page(&self, page: u32) -> Told {
        let position = self.pages.iter().position(|known| known.get() == page);
        Told('p', position)
    }

    /// An object by its name.
    pub fn tell(&self, kind: Kind, name: ObjectName) -> Told {
        let (letter, list) = match kind {
            Kind::Account => ('a', &self.accounts),
            Kind::Space => ('s', &self.spaces),
            Kind::Slice => ('c', &self.slices),
            _ => ('e', &self.environments),
        };
        Told(letter, list.iter().position(|known| *known == name))
    }

    /// The living object at `index`, whatever its epoch: the last that was named there.
    pub fn tell_index(&self, kind: Kind, index: u16) -> Told {
        let named = self.objects(kind).iter();
        let last = named.rev().find(|name| name.index == index);
        last.map_or(Told('?', None), |name| self.tell(kind, *name))
    }

    /// An account by its name, from a word that a record holds.
    pub fn tell_owner(&self, owner: Owner) -> Told {
        let index = owner.index();
        let epoch = owner.epoch();
        if owner == Owner::NOBODY {
            Told('-', None)
        } else {
            self.tell(Kind::Account, ObjectName { index, epoch })
        }
    }

    /// An epoch by the order in which they were told.
    pub fn tell_epoch(&mut self, epoch: Epoch) -> Told {
        if epoch == Epoch::NONE {
            return Told('-', None);
        }
        let known = self.epochs.iter().rposition(|known| *known == epoch);
        let position = known.or_else(|| {
            self.epochs.push(epoch).ok()?;
            Some(self.epochs.len() - 1)
        });
        Told('t', position)
    }
}

/// Something told by its name: a letter and a number; `?` for a number if it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told(char, Option<usize>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self('-', _) => f.write_str("-"),
            Self(letter, Some(number)) => write!(f, "{letter}{number}"),
            Self(letter, None) => write!(f, "{letter}?"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn names_are_places() {
        let mut names = Names::new();
        for number in [7, 3, 7] {
            names.add_page(PageNumber::new(number));
        }
        assert_eq!(names.pages().len(), 2);
        assert_eq!(names.tell_page(3).to_string(), "p1");
        assert_eq!(names.tell_page(4).to_string(), "p?");
        let [old, young] = [5, 6].map(|epoch| ObjectName {
            index: 2,
            epoch: Epoch::from_low_bits(epoch),
        });
        names.add(Kind::Space, old);
        names.add(Kind::Space, young);
        assert_eq!(names.tell(Kind::Space, old).to_string(), "s0");
        assert_eq!(names.tell_index(Kind::Space, 2).to_string(), "s1");
        assert_eq!(names.tell_owner(Owner::NOBODY).to_string(), "-");
        assert_eq!(names.tell_epoch(young.epoch).to_string(), "t0");
        assert_eq!(names.tell_epoch(old.epoch).to_string(), "t1");
        assert_eq!(names.tell_epoch(young.epoch).to_string(), "t0");
        assert_eq!(names.tell_epoch(Epoch::NONE).to_string(), "-");
    }
}
