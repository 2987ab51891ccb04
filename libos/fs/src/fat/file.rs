//! Files that are open, or were lately: their pages, what the crate does for them, and when they are written.

use embedded_sdmmc::{Mode, RawFile};

use super::directory::Place;
use super::geometry::Link;
use super::slot::{ARCHIVE, Facts, READ_ONLY};
use super::table::Chain;
use super::view::{HANDLES, View};
use super::{Fat, told};
use crate::Error;
use crate::device::{BLOCK_SIZE, Block, BlockDevice};
use crate::filesystem::{FileId, Stamp};
use crate::mbr::SECTORS_PER_BLOCK;

/// Files that are closed and keep their pages.
const KEPT: usize = 64;
/// Pages whose blocks are read at once for who reads one after the other.
const AHEAD: u32 = 16;
const PAGE: u64 = BLOCK_SIZE as u64;

/// A file that is open, or was.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) attributes: u8,
    pub(super) size: u32,
    pub(super) modified: Stamp,
    pub(super) opened: u32,
    chain: Chain,
    /// Whether the entry says something older.
    changed: bool,
    /// What the crate knows it by: which place in its directory.
    handle: Option<(usize, RawFile)>,
    /// Where in the chain was looked last: which cluster of the file, and its number.
    cursor: (u32, u32),
    /// The page that follows the one read last.
    next: u32,
    /// When it was used last.
    used: u64,
}

/// Page number, and place in it. Offsets are below 2^32.
const fn split(offset: u32) -> (u32, usize) {
    (offset / BLOCK_SIZE as u32, offset as usize % BLOCK_SIZE)
}

impl<D: BlockDevice> Fat<D> {
    pub(super) fn node(&mut self, node: u32) -> Result<&mut Node, Error> {
        self.now += 1;
        let now = self.now;
        let found = self.nodes.get_mut(node as usize).and_then(Option::as_mut);
        let found = found.ok_or(Error::BadDescriptor)?;
        found.used = now;
        Ok(found)
    }

    pub(super) fn opened(&mut self, file: FileId) -> Result<&mut Node, Error> {
        match self.node(file.0) {
            Ok(node) if node.opened > 0 => Ok(node),
            _ => Err(Error::BadDescriptor),
        }
    }

    /// The file whose entry is there, if it is in memory.
    pub(super) fn node_at(&self, place: Place) -> Option<u32> {
        let is_there = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.place == place);
        self.nodes.iter().position(is_there).map(|node| node as u32)
    }

    pub(super) fn open_node(&mut self, place: Place, facts: &Facts) -> Result<FileId, Error> {
        if let Some(known) = self.node_at(place) {
            let node = self.node(known)?;
            node.opened = node.opened.checked_add(1).ok_or(Error::TooManyOpen)?;
            return Ok(FileId(known));
        }
        let chain = self.volume(|volume| match facts.cluster {
            0 => Ok(Chain::default()),
            first => volume.walk(first),
        })?;
        let bytes = self.volume(|volume| volume.geometry.cluster_bytes());
        if u64::from(chain.clusters) * u64::from(bytes) < facts.size.into() {
            return Err(Error::Corrupt);
        }
        self.now += 1;
        let node = Node {
            place,
            attributes: facts.attributes,
            size: facts.size,
            modified: facts.modified,
            opened: 1,
            chain,
            changed: false,
            handle: None,
            cursor: (0, chain.first),
            next: 0,
            used: self.now,
        };
        let free = self.nodes.iter().position(Option::is_none);
        let number = free.unwrap_or(self.nodes.len());
        match self.nodes.get_mut(number) {
            Some(place) => *place = Some(node),
            None => self.nodes.push(Some(node)),
        }
        Ok(FileId(number as u32))
    }

    pub(super) fn close_node(&mut self, file: FileId) -> Result<(), Error> {
        let node = self.opened(file)?;
        node.opened -= 1;
        if node.opened > 0 {
            return Ok(());
        }
        let written = self.write_back(file.0);
        let closed = self.nodes.iter().enumerate().filter_map(|(number, node)| {
            let node = node.as_ref()?;
            (node.opened == 0 && !node.changed).then_some((node.used, number as u32))
        });
        if closed.clone().count() > KEPT
            && let Some((_, oldest)) = closed.min()
        {
            written.and(self.forget(oldest))
        } else {
            written
        }
    }

    /// Lets what is in memory of a file go, written or not.
    pub(super) fn forget(&mut self, node: u32) -> Result<(), Error> {
        self.drop_handle(node)?;
        self.pages.cut(node, 0);
        if let Some(place) = self.nodes.get_mut(node as usize) {
            *place = None;
        }
        Ok(())
    }

    /// Has the crate close a file: where its chain begins will change, or others need the place.
    fn drop_handle(&mut self, node: u32) -> Result<(), Error> {
        if let Some((place, raw)) = self.node(node)?.handle.take() {
            self.manager.close_file(raw).map_err(told)?;
            self.manager.device(|view| view.set_open(place, None));
        }
        Ok(())
    }

    /// The file as the crate has it open.
    fn handle(&mut self, node: u32) -> Result<RawFile, Error> {
        let first = self.node(node)?.chain.first;
        if let Some((_, raw)) = self.node(node)?.handle {
            return Ok(raw);
        }
        let taken = |place: usize| {
            let has = |node: &&Node| node.handle.is_some_and(|(taken, _)| taken == place);
            self.nodes.iter().flatten().any(|node| has(&node))
        };
        let place = match (0..HANDLES).find(|place| !taken(*place)) {
            Some(place) => place,
            None => self.take_oldest()?,
        };
        self.manager
            .device(|view| view.set_open(place, Some(first)));
        let mode = Mode::ReadWriteAppend;
        let opened = self
            .manager
            .open_file_in_dir(self.root, View::<D>::name(place), mode);
        let raw = opened.map_err(told)?;
        self.node(node)?.handle = Some((place, raw));
        Ok(raw)
    }

    /// Frees the place that was used longest ago.
    fn take_oldest(&mut self) -> Result<usize, Error> {
        let nodes = self.nodes.iter().enumerate();
        let using = nodes.filter_map(|(number, node)| {
            let node = node.as_ref()?;
            node.handle
                .map(|(place, _)| (node.used, number as u32, place))
        });
        let (_, oldest, place) = using.min().ok_or(Error::TooManyOpen)?;
        self.drop_handle(oldest)?;
        Ok(place)
    }

    /// The number of a file's `index`-th cluster.
    fn cluster(&mut self, node: u32, index: u32) -> Result<u32, Error> {
        let known = self.node(node)?;
        let (mut at, mut cluster) = known.cursor;
        if index < at || at == 0 {
            (at, cluster) = (0, known.chain.first);
        }
        let cluster = self.volume(|volume| {
            while at < index {
                let Link::Next(next) = volume.link(cluster)? else {
                    return Err(Error::Corrupt);
                };
                (at, cluster) = (at + 1, next);
            }
            Ok(cluster)
        })?;
        self.node(node)?.cursor = (index, cluster);
        Ok(cluster)
    }

    /// The block that a page of a file is, and how many that follow are the next pages; none if pages are no blocks here.
    fn blocks(&mut self, node: u32, page: u32, most: u32) -> Result<Option<(u64, u32)>, Error> {
        let each = self.volume(|volume| volume.geometry.sectors_per_cluster) / SECTORS_PER_BLOCK;
        if each == 0 {
            return Ok(None);
        }
        let mut index = page / each;
        let mut cluster = self.cluster(node, index)?;
        let sector = self.volume(|volume| volume.geometry.sector_of(cluster));
        let mut count = each - page % each;
        let last = self.node(node)?.chain.clusters;
        while count < most && index + 1 < last {
            let next = self.cluster(node, index + 1)?;
            if next != cluster + 1 {
                break;
            }
            (index, cluster, count) = (index + 1, next, count + each);
        }
        let first = sector + page % each * SECTORS_PER_BLOCK;
        let aligned = first.is_multiple_of(SECTORS_PER_BLOCK);
        Ok(aligned.then(|| ((first / SECTORS_PER_BLOCK).into(), count.min(most))))
    }

    /// How many bytes of a page belong to the file.
    fn valid(&mut self, node: u32, page: u32) -> Result<usize, Error> {
        let left = u64::from(self.node(node)?.size).saturating_sub(u64::from(page) * PAGE);
        Ok(left.min(PAGE) as usize)
    }

    /// Has a page in memory. One that will be overwritten as a whole is not read.
    fn load(&mut self, node: u32, page: u32, whole: bool) -> Result<(), Error> {
        if self.pages.contains((node, page)) {
            return Ok(());
        }
        let valid = self.valid(node, page)?;
        let mut block = Block::zeroed();
        if valid > 0 && !whole {
            let sequential = self.node(node)?.next == page;
            let pages = self.node(node)?.size.div_ceil(BLOCK_SIZE as u32) - page;
            let most = if sequential { pages.min(AHEAD) } else { 1 };
            if let Some((first, count)) = self.blocks(node, page, most)? {
                self.volume(|volume| volume.blocks.prefetch(first, count as usize))?;
            }
            let raw = self.handle(node)?;
            let offset = page * BLOCK_SIZE as u32;
            self.manager
                .file_seek_from_start(raw, offset)
                .map_err(told)?;
            let into = block.0.get_mut(..valid).unwrap_or_default();
            if self.manager.read(raw, into).map_err(told)? != valid {
                return Err(Error::Corrupt);
            }
            self.node(node)?.next = page + 1;
        }
        self.pages.insert((node, page), block);
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        file: FileId,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize, Error> {
        let size = self.opened(file)?.size;
        let Ok(offset) = u32::try_from(offset) else {
            return Ok(0);
        };
        let left = size.saturating_sub(offset) as usize;
        let count = left.min(into.len());
        let mut done = 0;
        while done < count {
            let (page, place) = split(offset + done as u32);
            self.load(file.0, page, false)?;
            let block = self.pages.get((file.0, page)).ok_or(Error::NoSpace)?;
            let here = (BLOCK_SIZE - place).min(count - done);
            let from = block.0.get(place..place + here).unwrap_or_default();
            into.get_mut(done..done + here)
                .unwrap_or_default()
                .copy_from_slice(from);
            done += here;
        }
        Ok(count)
    }

    /// Checks that a file may be written.
    fn writable(&mut self, file: FileId) -> Result<(), Error> {
        if self.opened(file)?.attributes & READ_ONLY != 0 {
            return Err(Error::ReadOnly);
        }
        self.volume(|volume| volume.check_writable())
    }

    /// Makes a file's chain long enough for `size` bytes, or as long as there is room for; returns for how many.
    fn reserve(&mut self, node: u32, size: u32) -> Result<u32, Error> {
        let mut chain = self.node(node)?.chain;
        let (was, bytes) = (chain, self.volume(|volume| volume.geometry.cluster_bytes()));
        let extended = self.volume(|volume| {
            let wanted = volume.geometry.clusters_for(size);
            volume.extend(&mut chain, wanted)
        });
        self.node(node)?.chain = chain;
        if was.first != chain.first {
            self.drop_handle(node)?;
            let node = self.node(node)?;
            (node.cursor, node.changed) = ((0, chain.first), true);
        }
        extended?;
        let room = u64::from(chain.clusters) * u64::from(bytes);
        Ok(u32::try_from(room).unwrap_or(u32::MAX).min(size))
    }

    pub(super) fn write(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<usize, Error> {
        self.writable(file)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let offset = u32::try_from(offset).map_err(|_| Error::FileTooLarge)?;
        let most = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let wanted = offset.saturating_add(most);
        if wanted == offset {
            return Err(Error::FileTooLarge);
        }
        let before = self.node(file.0)?.size;
        let end = self.reserve(file.0, wanted)?;
        // What lies between must fit, and a byte behind it.
        if end <= offset {
            self.shorten_chain(file.0, before)?;
            return Err(Error::NoSpace);
        }
        if offset > before {
            self.fill(file.0, offset)?;
        }
        let count = (end - offset) as usize;
        let mut done = 0;
        while done < count {
            let (page, place) = split(offset + done as u32);
            let here = (BLOCK_SIZE - place).min(count - done);
            let whole = place == 0 && here >= self.valid(file.0, page)?;
            self.load(file.0, page, whole)?;
            let block = self.pages.change((file.0, page)).ok_or(Error::NoSpace)?;
            let to = block.0.get_mut(place..place + here).unwrap_or_default();
            to.copy_from_slice(bytes.get(done..done + here).unwrap_or_default());
            done += here;
            self.note(file.0, offset + done as u32)?;
            self.bound(file.0)?;
        }
        Ok(done)
    }

    /// Notes that a file was written up to `end`.
    fn note(&mut self, node: u32, end: u32) -> Result<(), Error> {
        let now = (self.clock)();
        let node = self.node(node)?;
        node.size = node.size.max(end);
        (node.modified, node.changed) = (now, true);
        node.attributes |= ARCHIVE;
        Ok(())
    }

    /// Writes pages when too many wait: this file's, and if these are few, all.
    fn bound(&mut self, node: u32) -> Result<(), Error> {
        if self.pages.changed() > self.limits.changed {
            self.write_back(node)?;
            for other in 0..self.nodes.len() {
                if self.pages.changed() > self.limits.changed
                    && self.nodes.get(other).is_some_and(Option::is_some)
                {
                    self.write_back(other as u32)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a file longer by zeros; its chain is long enough.
    fn fill(&mut self, node: u32, size: u32) -> Result<(), Error> {
        while self.node(node)?.size < size {
            let (page, _) = split(self.node(node)?.size);
            self.load(node, page, false)?;
            // What lies behind the end in a page is zeros already.
            self.pages.change((node, page)).ok_or(Error::NoSpace)?;
            let end = (u64::from(page) + 1) * PAGE;
            self.note(node, u32::try_from(end).unwrap_or(u32::MAX).min(size))?;
            self.bound(node)?;
        }
        Ok(())
    }

    /// Cuts off what a chain has beyond `size` bytes.
    fn shorten_chain(&mut self, node: u32, size: u32) -> Result<(), Error> {
        let mut chain = self.node(node)?.chain;
        let keep = self.volume(|volume| volume.geometry.clusters_for(size));
        if keep < chain.clusters {
            self.drop_handle(node)?;
        }
        let cut = self.volume(|volume| {
            volume.cut(&mut chain, keep)?;
            Ok(volume.blocks.flush()?)
        });
        let node = self.node(node)?;
        (node.chain, node.cursor) = (chain, (0, chain.first));
        cut
    }

    pub(super) fn set_size(&mut self, file: FileId, size: u64) -> Result<(), Error> {
        self.writable(file)?;
        let size = u32::try_from(size).map_err(|_| Error::FileTooLarge)?;
        let before = self.opened(file)?.size;
        if size >= before {
            if self.reserve(file.0, size)? < size {
                self.shorten_chain(file.0, before)?;
                return Err(Error::NoSpace);
            }
            return self.fill(file.0, size);
        }
        // The entry is shorter on the medium before the clusters are free.
        self.write_back(file.0)?;
        let (page, place) = split(size);
        self.pages
            .cut(file.0, if place == 0 { page } else { page + 1 });
        if let Some(block) = self.pages.quietly((file.0, page)) {
            block.0.get_mut(place..).unwrap_or_default().fill(0);
        }
        let now = (self.clock)();
        let node = self.node(file.0)?;
        (node.size, node.modified, node.changed) = (size, now, true);
        if size == 0 {
            // Kept until the entry does not lead there any more.
            let chain = core::mem::take(&mut node.chain);
            self.drop_handle(file.0)?;
            let written = self.write_back(file.0);
            if let Err(error) = written {
                self.node(file.0)?.chain = chain;
                return Err(error);
            }
            return self.volume(|volume| super::release(volume, chain.first));
        }
        self.write_back(file.0)?;
        self.shorten_chain(file.0, size)
    }

    /// Writes a file's changed pages by the crate, and then its entry.
    pub(super) fn write_back(&mut self, node: u32) -> Result<(), Error> {
        for page in self.pages.changed_of(node) {
            let valid = self.valid(node, page)?;
            if let Some((block, _)) = self.blocks(node, page, 1)? {
                self.volume(|volume| volume.blocks.claim(block))?;
            }
            let raw = self.handle(node)?;
            let offset = page * BLOCK_SIZE as u32;
            self.manager
                .file_seek_from_start(raw, offset)
                .map_err(told)?;
            let block = self.pages.get((node, page)).ok_or(Error::NoSpace)?;
            let bytes = block.0.get(..valid).unwrap_or_default();
            self.manager.write(raw, bytes).map_err(told)?;
            self.pages.written((node, page));
        }
        let known = self.node(node)?;
        if !known.changed {
            return Ok(());
        }
        let (place, facts) = (
            known.place,
            Facts {
                attributes: known.attributes,
                cluster: known.chain.first,
                size: known.size,
                modified: known.modified,
            },
        );
        self.volume(|volume| {
            volume.set_facts(place, &facts)?;
            Ok::<_, Error>(volume.blocks.flush()?)
        })?;
        self.node(node)?.changed = false;
        Ok(())
    }
}
