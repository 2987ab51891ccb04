//! The FAT: chains of clusters, walked, made longer, given back.

use alloc::vec::Vec;

use super::blocks::{Blocks, Rank};
use super::geometry::{FIRST_CLUSTER, Geometry, Link};
use crate::Error;
use crate::device::BlockDevice;
use crate::mbr::{SECTOR_SIZE, SECTORS_PER_BLOCK};

/// Blocks of the FAT that are read at once while free clusters are counted.
const AHEAD: u32 = 16;

/// A volume: its layout and blocks. What is in here is our own code; the crate's view of it is `view`.
pub(super) struct Volume<D> {
    pub(super) geometry: Geometry,
    pub(super) blocks: Blocks<D>,
    /// Where the next free cluster is looked for.
    hint: u32,
    /// How many are free, once they are counted.
    free: Option<u32>,
    /// Whether that changed since it was noted on the volume.
    free_changed: bool,
}

/// A chain that has been walked to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// 0 for none.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) clusters: u32,
}

impl<D: BlockDevice> Volume<D> {
    pub(super) fn new(geometry: Geometry, blocks: Blocks<D>) -> Self {
        Self {
            geometry,
            blocks,
            hint: FIRST_CLUSTER,
            free: None,
            free_changed: false,
        }
    }

    pub(super) fn check_writable(&self) -> Result<(), Error> {
        if self.blocks.device().is_read_only() {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// The sector of the first FAT that has a cluster's entry, and which of the entries in it.
    fn entry(&self, cluster: u32) -> (u32, usize) {
        let each = self.geometry.entries_per_sector();
        (
            self.geometry.fat_start + cluster / each,
            (cluster % each) as usize,
        )
    }

    /// What the FAT says of a cluster.
    pub(super) fn link(&mut self, cluster: u32) -> Result<Link, Error> {
        if !self.geometry.is_cluster(cluster) {
            return Err(Error::Corrupt);
        }
        let (sector, index) = self.entry(cluster);
        Ok(self.geometry.link(self.blocks.sector(sector)?, index))
    }

    /// Has every FAT say this of a cluster.
    pub(super) fn set_link(&mut self, cluster: u32, link: Link) -> Result<(), Error> {
        let (sector, index) = self.entry(cluster);
        for copy in 0..self.geometry.fats {
            let sector = sector + copy * self.geometry.fat_sectors;
            let bytes = self.blocks.sector_mut(sector, Rank::Contents)?;
            self.geometry.set_link(bytes, index, link);
        }
        Ok(())
    }

    /// Walks a chain to its end, which must come. The root directory is part of no other chain.
    pub(super) fn walk(&mut self, first: u32) -> Result<Chain, Error> {
        let mut chain = Chain {
            first,
            last: first,
            clusters: 1,
        };
        if first == self.geometry.root_cluster {
            return Err(Error::Corrupt);
        }
        // Brent's way to see a circle: a mark that is moved on after 1, 2, 4, ... steps.
        let (mut mark, mut steps) = (first, 1);
        loop {
            match self.link(chain.last)? {
                Link::End => return Ok(chain),
                Link::Next(next) if next != mark && next != self.geometry.root_cluster => {
                    chain.last = next;
                    chain.clusters += 1;
                    if chain.clusters > steps {
                        (mark, steps) = (next, steps.saturating_mul(2));
                    }
                }
                _ => return Err(Error::Corrupt),
            }
        }
    }

    /// The clusters of a chain of at most `most`, the root directory's too.
    pub(super) fn clusters(&mut self, first: u32, most: usize) -> Result<Vec<u32>, Error> {
        let (mut list, mut at) = (Vec::new(), first);
        loop {
            let link = self.link(at)?;
            list.push(at);
            match link {
                Link::End => return Ok(list),
                Link::Next(next) if list.len() < most => at = next,
                _ => return Err(Error::Corrupt),
            }
        }
    }

    /// How many clusters are free. The first time all of the FAT is read: what FAT32 notes of it is not believed.
    pub(super) fn free(&mut self) -> Result<u32, Error> {
        if let Some(free) = self.free {
            return Ok(free);
        }
        let (mut free, mut cluster) = (0, FIRST_CLUSTER);
        while cluster < self.geometry.end() {
            let (sector, mut index) = self.entry(cluster);
            if sector.is_multiple_of(SECTORS_PER_BLOCK * AHEAD) || cluster == FIRST_CLUSTER {
                let end = self.geometry.fat_start + self.geometry.fat_sectors;
                let blocks =
                    (end.div_ceil(SECTORS_PER_BLOCK) - sector / SECTORS_PER_BLOCK).min(AHEAD);
                let first = u64::from(sector / SECTORS_PER_BLOCK);
                self.blocks.prefetch(first, blocks as usize)?;
            }
            let bytes: &[u8; SECTOR_SIZE] = self.blocks.sector(sector)?;
            while index < self.geometry.entries_per_sector() as usize
                && cluster < self.geometry.end()
            {
                free += u32::from(self.geometry.link(bytes, index) == Link::Free);
                (index, cluster) = (index + 1, cluster + 1);
            }
        }
        self.free = Some(free);
        Ok(free)
    }

    fn count(&mut self, change: impl FnOnce(u32) -> u32) {
        self.free = self.free.map(change);
        self.free_changed = true;
    }

    /// The next free cluster from the hint on, round and round.
    fn find_free(&mut self) -> Result<u32, Error> {
        let (end, hint) = (self.geometry.end(), self.hint);
        for (from, to) in [(hint, end), (FIRST_CLUSTER, hint)] {
            let mut cluster = from;
            while cluster < to {
                let (sector, mut index) = self.entry(cluster);
                let bytes = self.blocks.sector(sector)?;
                while index < self.geometry.entries_per_sector() as usize && cluster < to {
                    if self.geometry.link(bytes, index) == Link::Free {
                        return Ok(cluster);
                    }
                    (index, cluster) = (index + 1, cluster + 1);
                }
            }
        }
        Err(Error::NoSpace)
    }

    /// Takes a free cluster as the last of a chain, behind `before` if that is one.
    pub(super) fn allocate(&mut self, before: Option<u32>) -> Result<u32, Error> {
        if self.free()? == 0 {
            return Err(Error::NoSpace);
        }
        let cluster = match self.find_free() {
            // Entries of both FATs were one, or somebody else writes here.
            Err(Error::NoSpace) => return Err(Error::Corrupt),
            found => found?,
        };
        self.set_link(cluster, Link::End)?;
        if let Some(before) = before {
            self.set_link(before, Link::Next(cluster))?;
        }
        self.hint = cluster;
        self.count(|free| free.saturating_sub(1));
        Ok(cluster)
    }

    /// Makes a chain up to `wanted` clusters long, or as long as there is room for.
    pub(super) fn extend(&mut self, chain: &mut Chain, wanted: u32) -> Result<(), Error> {
        while chain.clusters < wanted {
            let before = (chain.clusters > 0).then_some(chain.last);
            let new = match self.allocate(before) {
                Err(Error::NoSpace) => return Ok(()),
                new => new?,
            };
            if chain.clusters == 0 {
                chain.first = new;
            }
            (chain.last, chain.clusters) = (new, chain.clusters + 1);
        }
        Ok(())
    }

    /// Cuts a chain off behind its first `keep` clusters, and frees the rest.
    pub(super) fn cut(&mut self, chain: &mut Chain, keep: u32) -> Result<(), Error> {
        if chain.clusters <= keep {
            return Ok(());
        }
        if keep == 0 {
            let first = chain.first;
            *chain = Chain::default();
            return self.release(first);
        }
        let mut last = chain.first;
        for _ in 1..keep {
            let Link::Next(next) = self.link(last)? else {
                return Err(Error::Corrupt);
            };
            last = next;
        }
        let rest = self.link(last)?;
        self.set_link(last, Link::End)?;
        (chain.last, chain.clusters) = (last, keep);
        match rest {
            Link::Next(rest) => self.release(rest),
            _ => Err(Error::Corrupt),
        }
    }

    /// Frees a chain from `first` on. It ends where something is not part of a chain, so also in a circle.
    pub(super) fn release(&mut self, first: u32) -> Result<(), Error> {
        self.free()?;
        let mut cluster = first;
        loop {
            let link = self.link(cluster)?;
            if matches!(link, Link::Free | Link::Bad) {
                return Err(Error::Corrupt);
            }
            self.set_link(cluster, Link::Free)?;
            self.count(|free| free.saturating_add(1));
            match link {
                Link::Next(next) if next != self.geometry.root_cluster => cluster = next,
                Link::End => return Ok(()),
                _ => return Err(Error::Corrupt),
            }
        }
    }

    /// Fills a cluster with zeros.
    pub(super) fn clear(&mut self, cluster: u32) -> Result<(), Error> {
        let first = self.geometry.sector_of(cluster);
        for sector in first..first + self.geometry.sectors_per_cluster {
            self.blocks.sector_mut(sector, Rank::Contents)?.fill(0);
        }
        Ok(())
    }

    /// Notes how many clusters are free where FAT32 has it, if that changed.
    pub(super) fn note_free(&mut self) -> Result<(), Error> {
        const LEAD: [u8; 4] = *b"RRaA";
        const STRUCTURE: [u8; 4] = *b"rrAa";
        if let (Some(sector), Some(free), true) = (self.geometry.info, self.free, self.free_changed)
        {
            let hint = self.hint;
            let bytes = self.blocks.sector(sector)?;
            if bytes[..4] == LEAD && bytes[484..488] == STRUCTURE && bytes[510..] == [0x55, 0xaa] {
                let bytes = self.blocks.sector_mut(sector, Rank::Names)?;
                bytes[488..492].copy_from_slice(&free.to_le_bytes());
                bytes[492..496].copy_from_slice(&hint.to_le_bytes());
            }
        }
        self.free_changed = false;
        Ok(())
    }
}
