//! Directories: what is in them, and how something comes in and goes.
//!
//! This is ours and not the crate's: the crate lists long names with two defects that a volume can provoke (a panic, and
//! a name that sticks to the next entry), makes no long names, renames nothing, and removes an entry without its clusters
//! and long name. It never sees these entries (`view`), so that nothing of it can be out of date.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::blocks::Rank;
use super::geometry::{SECTOR, SLOT, Width};
use super::names::{self, Encoded, Short};
use super::slot::{self, Facts, Form, Part, Slot};
use super::table::Volume;
use crate::Error;
use crate::device::BlockDevice;

/// Most entries of a directory, by the specification.
const MOST: usize = 65_536;
/// Entries in a sector.
const PER_SECTOR: usize = SECTOR as usize / SLOT;

/// A directory, by where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// The root directory of FAT16, which is no chain.
    Fixed,
    /// A chain from this cluster on.
    Chain(u32),
}

/// Where a short entry is: sector, and byte in it. It stays there as long as it has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) sector: u32,
    pub(super) at: u16,
}

/// Something in a directory.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) short: Short,
    pub(super) facts: Facts,
    pub(super) place: Place,
    /// Its entries: those of the long name, then the short one's.
    first: usize,
    last: usize,
}

/// Where the entries of a directory are: begins of runs of sectors, all of one length.
struct Sectors {
    begins: Vec<u32>,
    each: u32,
}

impl Sectors {
    fn slots(&self) -> usize {
        self.begins.len() * self.each as usize * PER_SECTOR
    }

    fn place(&self, slot: usize) -> Option<Place> {
        let (sector, at) = (slot / PER_SECTOR, slot % PER_SECTOR * SLOT);
        let begin = self.begins.get(sector / self.each as usize)?;
        Some(Place {
            sector: begin + (sector % self.each as usize) as u32,
            at: at as u16,
        })
    }
}

/// The parts of a long name that have come so far.
#[derive(Default)]
struct Gathered {
    units: Vec<u16>,
    /// The number that must come next; 0 when all are there.
    next: u8,
    checksum: u8,
    first: usize,
}

impl Gathered {
    fn add(&mut self, part: &Part, slot: usize) {
        if part.is_last && (1..=20).contains(&part.number) {
            *self = Self {
                units: Vec::new(),
                next: part.number,
                checksum: part.checksum,
                first: slot,
            };
        } else if part.is_last
            || part.number == 0
            || part.number != self.next
            || part.checksum != self.checksum
        {
            *self = Self::default();
            return;
        }
        // The last part comes first.
        self.units.splice(0..0, part.units);
        self.next -= 1;
    }

    /// The long name of the short one that follows, and where it begins.
    fn take(&mut self, short: &Short) -> Option<(String, usize)> {
        let done = core::mem::take(self);
        let fits = !done.units.is_empty() && done.next == 0;
        let fits = fits && done.checksum == names::checksum(short);
        fits.then(|| names::decode(&done.units))?
            .map(|name| (name, done.first))
    }
}

impl<D: BlockDevice> Volume<D> {
    /// The root directory.
    pub(super) const fn root(&self) -> Folder {
        match self.geometry.width {
            Width::Fat16 => Folder::Fixed,
            Width::Fat32 => Folder::Chain(self.geometry.root_cluster),
        }
    }

    /// The directory that an entry leads to, which is never the root.
    pub(super) fn folder(&self, facts: &Facts) -> Result<Folder, Error> {
        if !facts.is_directory() {
            return Err(Error::NotDirectory);
        }
        let cluster = facts.cluster;
        if !self.geometry.is_cluster(cluster) || cluster == self.geometry.root_cluster {
            return Err(Error::Corrupt);
        }
        Ok(Folder::Chain(cluster))
    }

    fn sectors(&mut self, folder: Folder) -> Result<Sectors, Error> {
        let first = match folder {
            Folder::Fixed => {
                return Ok(Sectors {
                    begins: alloc::vec![self.geometry.root_start],
                    each: self.geometry.root_sectors,
                });
            }
            Folder::Chain(first) => first,
        };
        let each = self.geometry.sectors_per_cluster;
        let most = MOST.div_ceil(each as usize * PER_SECTOR);
        let clusters = self.clusters(first, most)?;
        let begins = clusters
            .iter()
            .map(|cluster| self.geometry.sector_of(*cluster));
        Ok(Sectors {
            begins: begins.collect(),
            each,
        })
    }

    fn slot(&mut self, place: Place) -> Result<Slot, Error> {
        let at = usize::from(place.at);
        let bytes = self.blocks.sector(place.sector)?.get(at..at + SLOT);
        bytes
            .and_then(|bytes| bytes.first_chunk())
            .copied()
            .ok_or(Error::Corrupt)
    }

    fn put(&mut self, place: Place, slot: &Slot) -> Result<(), Error> {
        let at = usize::from(place.at);
        let sector = self.blocks.sector_mut(place.sector, Rank::Names)?;
        let bytes = sector.get_mut(at..at + SLOT).ok_or(Error::Corrupt)?;
        bytes.copy_from_slice(slot);
        Ok(())
    }

    /// What an entry says now.
    pub(super) fn facts(&mut self, place: Place) -> Result<Facts, Error> {
        let slot = self.slot(place)?;
        Ok(Facts::of(&slot, self.geometry.width))
    }

    /// Has an entry say this.
    pub(super) fn set_facts(&mut self, place: Place, facts: &Facts) -> Result<(), Error> {
        let mut slot = self.slot(place)?;
        facts.put(&mut slot);
        self.put(place, &slot)
    }

    /// Calls `with` for each entry until the end or a break: place, number, bytes.
    fn scan(
        &mut self,
        sectors: &Sectors,
        mut with: impl FnMut(Place, usize, &Slot) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for number in 0..sectors.slots() {
            let Some(place) = sectors.place(number) else {
                break;
            };
            let slot = self.slot(place)?;
            if with(place, number, &slot).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Calls `with` for each thing in a directory, until it says otherwise. `.` and `..` are none.
    pub(super) fn items(
        &mut self,
        folder: Folder,
        mut with: impl FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (sectors, width) = (self.sectors(folder)?, self.geometry.width);
        let mut gathered = Gathered::default();
        self.scan(&sectors, |place, number, slot| {
            match slot::form(slot) {
                Form::End => return ControlFlow::Break(()),
                Form::Long(part) => gathered.add(&part, number),
                Form::Free | Form::Label => gathered = Gathered::default(),
                Form::Short => {
                    let mut short = [b' '; 11];
                    short.copy_from_slice(&slot[..11]);
                    let long = gathered.take(&short);
                    if short != slot::DOT && short != slot::DOT_DOT {
                        let (name, first) =
                            long.unwrap_or_else(|| (names::shown(&short, slot[12]), number));
                        return with(Item {
                            name,
                            short,
                            facts: Facts::of(slot, width),
                            place,
                            first,
                            last: number,
                        });
                    }
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// What has the name, long or short, in a directory.
    pub(super) fn find(&mut self, folder: Folder, name: &str) -> Result<Item, Error> {
        let mut found = None;
        self.items(folder, |item| {
            if names::is_same(&item.name, name)
                || names::is_same(&names::shown(&item.short, 0), name)
            {
                found = Some(item);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        found.ok_or(Error::NotFound)
    }

    /// Whether nothing is in a directory.
    pub(super) fn is_empty(&mut self, folder: Folder) -> Result<bool, Error> {
        let mut empty = true;
        self.items(folder, |_| {
            empty = false;
            ControlFlow::Break(())
        })?;
        Ok(empty)
    }

    /// Makes an entry with this name, which nothing there has. `leaving` is a short name that is about to go, so that it
    /// can be taken. The change is in memory, to be flushed with the ranks.
    pub(super) fn insert(
        &mut self,
        folder: Folder,
        name: &str,
        facts: &Facts,
        leaving: Option<&Short>,
    ) -> Result<Place, Error> {
        let encoded = Encoded::new(name)?;
        let mut sectors = self.sectors(folder)?;
        let wanted = encoded.slots();
        let (mut taken, mut run, mut found, mut ended) = (BTreeSet::new(), 0, None, None);
        self.scan(&sectors, |_, number, slot| {
            let form = slot::form(slot);
            run = match form {
                Form::End | Form::Free => run + 1,
                _ => 0,
            };
            if run == wanted && found.is_none() {
                found = Some(number + 1 - wanted);
            }
            match form {
                Form::Short => {
                    let mut short = [b' '; 11];
                    short.copy_from_slice(&slot[..11]);
                    taken.insert(short);
                }
                Form::End => {
                    ended.get_or_insert(number);
                    // What lies behind the end is free, whatever it looks like.
                    return ControlFlow::Break(());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        if let Some(leaving) = leaving {
            taken.remove(leaving);
        }
        let short = encoded.short(&taken)?;
        let total = sectors.slots();
        let first = match (found, ended) {
            (Some(first), _) => first,
            // All from the end on are free, and the free ones just before it.
            (None, Some(end)) => end + 1 - run,
            (None, None) => total - run,
        };
        let behind = first + wanted;
        while behind > sectors.slots() {
            self.lengthen(folder, &mut sectors)?;
        }
        // The end moves behind the new entries, if these reach it.
        if let (Some(end), Some(place)) = (ended, sectors.place(behind))
            && behind > end
        {
            let mut slot = self.slot(place)?;
            if slot[0] != slot::END {
                slot[0] = slot::END;
                self.put(place, &slot)?;
            }
        }
        let slots = slot::long(&encoded.long, names::checksum(&short));
        let mut last = None;
        for (number, slot) in (first..).zip(slots.chain([facts.slot(&short)])) {
            let place = sectors.place(number).ok_or(Error::Corrupt)?;
            self.put(place, &slot)?;
            last = Some(place);
        }
        last.ok_or(Error::Corrupt)
    }

    /// Adds a cluster of free entries to a directory. It is zeros on the medium before anything leads to it.
    fn lengthen(&mut self, folder: Folder, sectors: &mut Sectors) -> Result<(), Error> {
        let Folder::Chain(first) = folder else {
            return Err(Error::DirectoryFull);
        };
        if sectors.slots() >= MOST {
            return Err(Error::DirectoryFull);
        }
        let most = MOST.div_ceil(sectors.each as usize * PER_SECTOR);
        let clusters = self.clusters(first, most)?;
        let last = *clusters.last().ok_or(Error::Corrupt)?;
        let new = self.allocate(None)?;
        self.clear(new)?;
        self.blocks.flush()?;
        self.set_link(last, super::geometry::Link::Next(new))?;
        sectors.begins.push(self.geometry.sector_of(new));
        Ok(())
    }

    /// Frees the entries of an item. Its clusters are the caller's to free, after a flush.
    pub(super) fn erase(&mut self, folder: Folder, item: &Item) -> Result<(), Error> {
        let sectors = self.sectors(folder)?;
        for number in item.first..=item.last {
            let place = sectors.place(number).ok_or(Error::Corrupt)?;
            let mut slot = self.slot(place)?;
            slot[0] = slot::FREE;
            self.put(place, &slot)?;
        }
        Ok(())
    }

    /// Makes an empty directory in `parent`.
    pub(super) fn make_folder(
        &mut self,
        parent: Folder,
        name: &str,
        facts: &Facts,
    ) -> Result<(), Error> {
        Encoded::new(name)?;
        let cluster = self.allocate(None)?;
        let made = self.fill_folder(parent, name, &Facts { cluster, ..*facts });
        if made.is_err() {
            self.release(cluster)?;
        }
        made
    }

    fn fill_folder(&mut self, parent: Folder, name: &str, facts: &Facts) -> Result<(), Error> {
        self.clear(facts.cluster)?;
        let sector = self.geometry.sector_of(facts.cluster);
        let above = Facts {
            cluster: self.above(parent),
            ..*facts
        };
        self.put(Place { sector, at: 0 }, &facts.slot(&slot::DOT))?;
        let second = SLOT as u16;
        self.put(Place { sector, at: second }, &above.slot(&slot::DOT_DOT))?;
        // On the medium before a name leads there.
        self.blocks.flush()?;
        self.insert(parent, name, facts, None)?;
        self.blocks.flush()?;
        Ok(())
    }

    /// What `..` in a directory says of the one it is in: 0 for the root, on both widths.
    fn above(&self, parent: Folder) -> u32 {
        match parent {
            Folder::Fixed => 0,
            Folder::Chain(cluster) if cluster == self.geometry.root_cluster => 0,
            Folder::Chain(cluster) => cluster,
        }
    }

    /// Has `..` in a directory lead to another one.
    pub(super) fn move_folder(&mut self, folder: Folder, parent: Folder) -> Result<(), Error> {
        let Folder::Chain(cluster) = folder else {
            return Err(Error::Corrupt);
        };
        let place = Place {
            sector: self.geometry.sector_of(cluster),
            at: SLOT as u16,
        };
        let slot = self.slot(place)?;
        if slot[..11] != slot::DOT_DOT {
            return Err(Error::Corrupt);
        }
        let facts = Facts {
            cluster: self.above(parent),
            ..self.facts(place)?
        };
        self.set_facts(place, &facts)
    }
}
