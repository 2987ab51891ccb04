//! Files in memory: a tree of nodes, pages of 4 KiB on demand, a bound on all of it.
//!
//! Names are compared byte by byte. A page that was never written is none, and reads as zeros. The bound counts pages
//! of content; names and nodes are counted as one page for each node, so that empty files do not go on for ever.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use crate::Error;
use crate::filesystem::{Entry, FileId, FileSystem, Kind, Metadata, Space, Stamp};
use crate::path::Path;

const PAGE: usize = 4096;
/// The largest file: what 32 bits of page numbers hold.
const LARGEST: u64 = (u32::MAX as u64) * PAGE as u64;
const ROOT: u32 = 0;

enum Content {
    File(BTreeMap<u32, Box<[u8; PAGE]>>),
    Directory(BTreeMap<String, u32>),
}

struct Node {
    content: Content,
    size: u64,
    modified: Stamp,
    opened: u32,
}

/// A file system in memory.
pub struct Ram {
    nodes: Vec<Option<Node>>,
    /// Pages in use, one for each node included, and how many there may be.
    used: u64,
    most: u64,
    clock: fn() -> Stamp,
}

impl core::fmt::Debug for Ram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ram")
            .field("used", &self.used)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Ram {
    /// An empty one that takes at most `pages` pages of 4 KiB. Memory is taken as it is needed.
    pub fn new(pages: u64) -> Self {
        Self::with_clock(pages, || Stamp::EPOCH)
    }

    /// The same, with a clock for the times of files.
    pub fn with_clock(pages: u64, clock: fn() -> Stamp) -> Self {
        let root = Node {
            content: Content::Directory(BTreeMap::new()),
            size: 0,
            modified: clock(),
            opened: 0,
        };
        Self {
            nodes: alloc::vec![Some(root)],
            used: 1,
            most: pages.max(1),
            clock,
        }
    }

    fn node(&self, number: u32) -> Result<&Node, Error> {
        let node = self.nodes.get(number as usize).and_then(Option::as_ref);
        node.ok_or(Error::BadDescriptor)
    }

    fn node_mut(&mut self, number: u32) -> Result<&mut Node, Error> {
        let node = self.nodes.get_mut(number as usize);
        node.and_then(Option::as_mut).ok_or(Error::BadDescriptor)
    }

    /// An open file.
    fn opened(&mut self, file: FileId) -> Result<&mut Node, Error> {
        match self.node_mut(file.0) {
            Ok(node) if node.opened > 0 => Ok(node),
            _ => Err(Error::BadDescriptor),
        }
    }

    fn names(&self, number: u32) -> Result<&BTreeMap<String, u32>, Error> {
        match &self.node(number)?.content {
            Content::Directory(names) => Ok(names),
            Content::File(_) => Err(Error::NotDirectory),
        }
    }

    fn names_mut(&mut self, number: u32) -> Result<&mut BTreeMap<String, u32>, Error> {
        match &mut self.node_mut(number)?.content {
            Content::Directory(names) => Ok(names),
            Content::File(_) => Err(Error::NotDirectory),
        }
    }

    fn find(&self, path: Path<'_>) -> Result<u32, Error> {
        path.names().try_fold(ROOT, |at, name| {
            self.names(at)?.get(name).copied().ok_or(Error::NotFound)
        })
    }

    /// The directory that `path` is in, and its name there.
    fn place<'p>(&self, path: Path<'p>) -> Result<(u32, &'p str), Error> {
        let (parent, name) = path.split().ok_or(Error::Busy)?;
        let parent = self.find(parent)?;
        self.names(parent)?;
        Ok((parent, name))
    }

    fn is_directory(&self, number: u32) -> Result<bool, Error> {
        Ok(matches!(self.node(number)?.content, Content::Directory(_)))
    }

    fn make(&mut self, path: Path<'_>, content: Content) -> Result<u32, Error> {
        let (parent, name) = match self.place(path) {
            // The root.
            Err(Error::Busy) => return Err(Error::Exists),
            place => place?,
        };
        if self.names(parent)?.contains_key(name) {
            return Err(Error::Exists);
        }
        if self.used >= self.most {
            return Err(Error::NoSpace);
        }
        let modified = (self.clock)();
        let node = Node {
            content,
            size: 0,
            modified,
            opened: 0,
        };
        let free = self.nodes.iter().position(Option::is_none);
        let number = free.unwrap_or(self.nodes.len());
        let short = u32::try_from(number).map_err(|_| Error::NoSpace)?;
        match self.nodes.get_mut(number) {
            Some(place) => *place = Some(node),
            None => self.nodes.push(Some(node)),
        }
        self.used += 1;
        self.names_mut(parent)?.insert(name.into(), short);
        self.node_mut(parent)?.modified = modified;
        Ok(short)
    }

    /// Takes what has the name out of its directory, and gives its memory back.
    fn unlink(&mut self, parent: u32, name: &str) -> Result<(), Error> {
        let modified = (self.clock)();
        let number = self.names_mut(parent)?.remove(name);
        self.node_mut(parent)?.modified = modified;
        let place = number.and_then(|number| self.nodes.get_mut(number as usize));
        if let Some(Some(node)) = place.map(Option::take) {
            self.used -= 1;
            if let Content::File(pages) = node.content {
                self.used -= pages.len() as u64;
            }
        }
        Ok(())
    }

    /// Checks that what has the name can go: a closed file, or an empty directory.
    fn may_go(&self, number: u32) -> Result<(), Error> {
        let node = self.node(number)?;
        match &node.content {
            Content::Directory(names) if !names.is_empty() => Err(Error::NotEmpty),
            Content::File(_) if node.opened > 0 => Err(Error::Busy),
            _ => Ok(()),
        }
    }

    fn metadata(node: &Node) -> Metadata {
        let kind = match node.content {
            Content::File(_) => Kind::File,
            Content::Directory(_) => Kind::Directory,
        };
        Metadata {
            kind,
            size: node.size,
            modified: node.modified,
            read_only: false,
        }
    }
}

/// Page number, and place in it.
const fn split(offset: u64) -> (u32, usize) {
    (
        (offset / PAGE as u64) as u32,
        (offset % PAGE as u64) as usize,
    )
}

impl FileSystem for Ram {
    fn open(&mut self, path: Path<'_>) -> Result<FileId, Error> {
        let number = self.find(path)?;
        if self.is_directory(number)? {
            return Err(Error::IsDirectory);
        }
        let node = self.node_mut(number)?;
        node.opened = node.opened.checked_add(1).ok_or(Error::TooManyOpen)?;
        Ok(FileId(number))
    }

    fn create(&mut self, path: Path<'_>) -> Result<FileId, Error> {
        let number = self.make(path, Content::File(BTreeMap::new()))?;
        self.node_mut(number)?.opened = 1;
        Ok(FileId(number))
    }

    fn close(&mut self, file: FileId) -> Result<(), Error> {
        self.opened(file)?.opened -= 1;
        Ok(())
    }

    fn read_at(&mut self, file: FileId, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let node = self.opened(file)?;
        let Content::File(pages) = &node.content else {
            return Err(Error::IsDirectory);
        };
        let left = node.size.saturating_sub(offset);
        let count = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < count {
            let (page, place) = split(offset + done as u64);
            let here = (PAGE - place).min(count - done);
            let to = &mut into[done..done + here];
            match pages.get(&page) {
                Some(page) => to.copy_from_slice(&page[place..place + here]),
                None => to.fill(0),
            }
            done += here;
        }
        Ok(count)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        let (mut left, now) = (self.most - self.used, (self.clock)());
        let node = self.opened(file)?;
        let Content::File(pages) = &mut node.content else {
            return Err(Error::IsDirectory);
        };
        let room = LARGEST.saturating_sub(offset);
        if room == 0 && !bytes.is_empty() {
            return Err(Error::FileTooLarge);
        }
        let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let (mut done, mut added) = (0, 0);
        while done < count {
            let (number, place) = split(offset + done as u64);
            let here = (PAGE - place).min(count - done);
            if !pages.contains_key(&number) {
                if left == 0 {
                    break;
                }
                (left, added) = (left - 1, added + 1);
            }
            let page = pages.entry(number).or_insert_with(|| Box::new([0; PAGE]));
            page[place..place + here].copy_from_slice(&bytes[done..done + here]);
            done += here;
        }
        if done > 0 {
            node.size = node.size.max(offset + done as u64);
            node.modified = now;
        }
        self.used += added;
        if done == 0 && count > 0 {
            return Err(Error::NoSpace);
        }
        Ok(done)
    }

    fn truncate(&mut self, file: FileId, size: u64) -> Result<(), Error> {
        if size > LARGEST {
            return Err(Error::FileTooLarge);
        }
        let now = (self.clock)();
        let node = self.opened(file)?;
        let Content::File(pages) = &mut node.content else {
            return Err(Error::IsDirectory);
        };
        let (last, place) = split(size);
        let beyond = if place == 0 { last } else { last + 1 };
        let gone = pages.split_off(&beyond).len() as u64;
        if let Some(page) = pages.get_mut(&last) {
            page[place..].fill(0);
        }
        (node.size, node.modified) = (size, now);
        self.used -= gone;
        Ok(())
    }

    fn stat_open(&mut self, file: FileId) -> Result<Metadata, Error> {
        Ok(Self::metadata(self.opened(file)?))
    }

    fn sync_file(&mut self, file: FileId) -> Result<(), Error> {
        self.opened(file).map(|_| ())
    }

    fn stat(&mut self, path: Path<'_>) -> Result<Metadata, Error> {
        Ok(Self::metadata(self.node(self.find(path)?)?))
    }

    fn list(
        &mut self,
        path: Path<'_>,
        with: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (name, number) in self.names(self.find(path)?)? {
            let entry = Entry {
                name: name.clone(),
                metadata: Self::metadata(self.node(*number)?),
            };
            if with(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: Path<'_>) -> Result<(), Error> {
        let number = self.find(path)?;
        if self.is_directory(number)? {
            return Err(Error::IsDirectory);
        }
        self.may_go(number)?;
        let (parent, name) = self.place(path)?;
        self.unlink(parent, name)
    }

    fn mkdir(&mut self, path: Path<'_>) -> Result<(), Error> {
        let made = self.make(path, Content::Directory(BTreeMap::new()));
        made.map(|_| ())
    }

    fn rmdir(&mut self, path: Path<'_>) -> Result<(), Error> {
        let (parent, name) = self.place(path)?;
        let number = self.find(path)?;
        if !self.is_directory(number)? {
            return Err(Error::NotDirectory);
        }
        self.may_go(number)?;
        self.unlink(parent, name)
    }

    fn rename(&mut self, from: Path<'_>, to: Path<'_>) -> Result<(), Error> {
        let (from_parent, from_name) = self.place(from)?;
        let number = self.find(from)?;
        // Names are compared byte by byte, so a path that begins with another lies below it.
        let mut ahead = to.names();
        let is_prefix = from.names().all(|name| ahead.next() == Some(name));
        let is_longer = is_prefix && ahead.next().is_some();
        if is_longer {
            return Err(if self.is_directory(number)? {
                Error::IntoItself
            } else {
                Error::NotDirectory
            });
        }
        let (to_parent, to_name) = self.place(to)?;
        if let Some(&old) = self.names(to_parent)?.get(to_name) {
            if old == number {
                return Ok(());
            }
            match (self.is_directory(number)?, self.is_directory(old)?) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                _ => self.may_go(old)?,
            }
            self.unlink(to_parent, to_name)?;
        }
        self.names_mut(from_parent)?.remove(from_name);
        self.names_mut(to_parent)?.insert(to_name.into(), number);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn statfs(&mut self) -> Result<Space, Error> {
        Ok(Space {
            total: self.most * PAGE as u64,
            free: (self.most - self.used) * PAGE as u64,
            unit: PAGE as u32,
        })
    }
}
