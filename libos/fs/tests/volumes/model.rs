//! What a file system means: a map from paths to bytes, or to none for a directory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use exopi_fs::{FileSystem, Kind};

use crate::support::{at, read};

/// Paths, as they are written, to contents.
pub type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A tree in which names are looked for without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub tree: Tree,
}

impl Model {
    /// The name in the tree that `path` means.
    pub fn find(&self, path: &str) -> Option<&str> {
        let is_same = |known: &&String| known.to_uppercase() == path.to_uppercase();
        self.tree.keys().find(is_same).map(String::as_str)
    }

    pub fn is_folder(&self, path: &str) -> bool {
        path.is_empty()
            || self
                .find(path)
                .is_some_and(|path| self.tree[path].is_none())
    }

    pub fn bytes(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        let path = self.find(path)?.to_owned();
        self.tree.get_mut(&path)?.as_mut()
    }

    /// The tree's name for the directory that `path` is in, and the name there; none if there is no such directory.
    pub fn place(&self, path: &str) -> Option<String> {
        let (parent, name) = path.rsplit_once('/')?;
        if parent.is_empty() {
            return Some(path.to_owned());
        }
        let parent = self.find(parent)?;
        self.is_folder(parent).then(|| format!("{parent}/{name}"))
    }

    pub fn is_empty(&self, path: &str) -> bool {
        let below = format!("{path}/");
        !self.tree.keys().any(|other| other.starts_with(&below))
    }

    /// Gives what is at `from`, and all below, another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        let moved = |path: &str| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        };
        let tree = std::mem::take(&mut self.tree);
        let renamed = tree.into_iter().map(|(path, bytes)| match moved(&path) {
            Some(path) => (path, bytes),
            None => (path, bytes),
        });
        self.tree = renamed.collect();
    }
}

/// All that a file system has, by its own calls.
pub fn gathered(system: &mut dyn FileSystem) -> Tree {
    let mut tree = Tree::new();
    gather(system, "", &mut tree);
    tree
}

fn gather(system: &mut dyn FileSystem, under: &str, tree: &mut Tree) {
    let folder = if under.is_empty() { "/" } else { under };
    let mut found = Vec::new();
    let listed = system.list(at(folder).path(), &mut |entry| {
        found.push((format!("{under}/{}", entry.name), entry.metadata));
        ControlFlow::Continue(())
    });
    listed.unwrap();
    for (path, metadata) in found {
        let before = if metadata.kind == Kind::Directory {
            gather(system, &path, tree);
            tree.insert(path, None)
        } else {
            let bytes = read(system, &path).unwrap();
            assert_eq!(bytes.len() as u64, metadata.size, "{path}");
            tree.insert(path, Some(bytes))
        };
        assert_eq!(before, None, "a name is there twice");
    }
}
