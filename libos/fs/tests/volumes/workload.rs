//! Random workloads by seed: each call gives what the model says, and foreign tools agree with what is left.

use exopi_fs::{Error, FileId, FileSystem, Kind, Ram};

use crate::foreign::Image;
use crate::model::{Model, gathered};
use crate::support::{Random, Shape, at, mount, pattern};

/// Names that are one to FAT, that share short names, and plain ones. No two have the same short name by themselves.
const NAMES: [&str; 10] = [
    "A",
    "b.txt",
    "B.TXT",
    "kernel8.img",
    "a long name indeed.text",
    "A Long Name Indeed.Text",
    "a long name too.text",
    "Straße",
    "one.two.three",
    "sub",
];

/// A file system and its model, with files that are open.
pub struct Pair<'s> {
    pub system: &'s mut dyn FileSystem,
    pub model: Model,
    open: Vec<(FileId, String)>,
    names: &'static [&'static str],
}

impl<'s> Pair<'s> {
    pub fn new(system: &'s mut dyn FileSystem) -> Self {
        Self {
            system,
            model: Model::default(),
            open: Vec::new(),
            names: &NAMES,
        }
    }

    /// A path of which perhaps nothing is there: names below a directory, or below the root.
    fn path(&self, random: &mut Random) -> String {
        let folders = self.model.tree.iter().filter(|(_, bytes)| bytes.is_none());
        let folders: Vec<&String> = folders.map(|(path, _)| path).collect();
        let name = random.pick(self.names).unwrap();
        match random.pick(&folders) {
            Some(folder) if random.below(3) > 0 && folder.matches('/').count() < 4 => {
                format!("{folder}/{name}")
            }
            _ => format!("/{name}"),
        }
    }

    fn is_open(&self, path: &str) -> bool {
        self.open.iter().any(|(_, open)| open == path)
    }

    /// One call, of which the model tells what must come.
    pub fn step(&mut self, random: &mut Random) {
        let path = self.path(random);
        match random.below(20) {
            0..5 => self.create(&path),
            5..10 => self.write(random),
            10 => self.truncate(random),
            11 => self.remove(&path),
            12..14 => self.mkdir(&path),
            14 => self.rmdir(&path),
            15..18 => {
                let to = self.path(random);
                self.rename(&path, &to);
            }
            18 => self.close(random),
            _ => self.system.sync().unwrap(),
        }
    }

    fn create(&mut self, path: &str) {
        let made = self.system.create(at(path).path());
        match (self.model.find(path), self.model.place(path)) {
            (Some(_), _) => assert_eq!(made, Err(Error::Exists), "{path}"),
            (None, None) => assert!(made.is_err(), "{path}"),
            (None, Some(place)) => {
                self.model.tree.insert(place.clone(), Some(Vec::new()));
                self.open.push((made.unwrap(), place));
            }
        }
    }

    fn write(&mut self, random: &mut Random) {
        let sizes = [1, 100, 511, 513, 4096, 9000];
        let Some((file, path)) = random.pick(&self.open).cloned() else {
            return;
        };
        let bytes = pattern(*random.pick(&sizes).unwrap(), random.word());
        let model = self.model.bytes(&path).unwrap();
        let offset = random.below(model.len() + 700);
        let count = self.system.write_at(file, offset as u64, &bytes);
        assert_eq!(count, Ok(bytes.len()), "{path}");
        model.resize(model.len().max(offset + bytes.len()), 0);
        model[offset..offset + bytes.len()].copy_from_slice(&bytes);
        let mut seen = vec![0; 600];
        let from = offset.saturating_sub(300);
        let count = self.system.read_at(file, from as u64, &mut seen).unwrap();
        assert_eq!(
            seen[..count],
            model[from..model.len().min(from + 600)],
            "{path}"
        );
    }

    fn truncate(&mut self, random: &mut Random) {
        if let Some((file, path)) = random.pick(&self.open).cloned() {
            let size = random.below(20_000);
            self.system.truncate(file, size as u64).unwrap();
            self.model.bytes(&path).unwrap().resize(size, 0);
        }
    }

    fn remove(&mut self, path: &str) {
        let removed = self.system.remove(at(path).path());
        let known = self.model.find(path).map(str::to_owned);
        match known {
            None => assert!(matches!(
                removed,
                Err(Error::NotFound | Error::NotDirectory)
            )),
            Some(path) if self.model.is_folder(&path) => {
                assert_eq!(removed, Err(Error::IsDirectory));
            }
            Some(path) if self.is_open(&path) => assert_eq!(removed, Err(Error::Busy)),
            Some(path) => {
                removed.unwrap();
                self.model.tree.remove(&path);
            }
        }
    }

    fn mkdir(&mut self, path: &str) {
        let made = self.system.mkdir(at(path).path());
        match (self.model.find(path), self.model.place(path)) {
            (Some(_), _) => assert_eq!(made, Err(Error::Exists), "{path}"),
            (None, None) => assert!(made.is_err()),
            (None, Some(place)) => {
                made.unwrap();
                self.model.tree.insert(place, None);
            }
        }
    }

    fn rmdir(&mut self, path: &str) {
        let removed = self.system.rmdir(at(path).path());
        let known = self.model.find(path).map(str::to_owned);
        match known {
            None => assert!(removed.is_err()),
            Some(path) if !self.model.is_folder(&path) => {
                assert_eq!(removed, Err(Error::NotDirectory));
            }
            Some(path) if !self.model.is_empty(&path) => assert_eq!(removed, Err(Error::NotEmpty)),
            Some(path) => {
                removed.unwrap();
                self.model.tree.remove(&path);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let renamed = self.system.rename(at(from).path(), at(to).path());
        let Some(from) = self.model.find(from).map(str::to_owned) else {
            assert!(matches!(
                renamed,
                Err(Error::NotFound | Error::NotDirectory)
            ));
            return;
        };
        let Some(to) = self.model.place(to) else {
            assert!(renamed.is_err());
            return;
        };
        let is_folder = self.model.is_folder(&from);
        if is_folder && to.starts_with(&format!("{from}/")) {
            assert_eq!(renamed, Err(Error::IntoItself));
            return;
        }
        let old = self.model.find(&to).map(str::to_owned);
        let goal = match old {
            None => to,
            Some(old) if old == from => to,
            Some(old) => match (is_folder, self.model.is_folder(&old)) {
                (true, false) => return assert_eq!(renamed, Err(Error::NotDirectory)),
                (false, true) => return assert_eq!(renamed, Err(Error::IsDirectory)),
                (true, true) if !self.model.is_empty(&old) => {
                    return assert_eq!(renamed, Err(Error::NotEmpty), "{from} {old}");
                }
                (false, false) if self.is_open(&old) => {
                    return assert_eq!(renamed, Err(Error::Busy));
                }
                (is_folder, _) => {
                    self.model.tree.remove(&old);
                    // A file keeps the spelling of the one that it replaces.
                    if is_folder { to } else { old }
                }
            },
        };
        assert_eq!(renamed, Ok(()), "{from} to {goal}");
        self.model.rename(&from, &goal);
        for (_, open) in &mut self.open {
            let rest = open.strip_prefix(&from);
            if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                *open = format!("{goal}{rest}");
            }
        }
    }

    fn close(&mut self, random: &mut Random) {
        if !self.open.is_empty() {
            let number = random.below(self.open.len());
            let (file, _) = self.open.swap_remove(number);
            self.system.close(file).unwrap();
        }
    }

    /// Closes what is open, and compares all.
    pub fn finish(&mut self) {
        for (file, path) in std::mem::take(&mut self.open) {
            let metadata = self.system.stat_open(file).unwrap();
            assert_eq!(metadata.kind, Kind::File);
            assert_eq!(metadata.size, self.model.bytes(&path).unwrap().len() as u64);
            self.system.close(file).unwrap();
        }
        self.system.sync().unwrap();
        assert_eq!(gathered(self.system), self.model.tree);
    }
}

#[test]
fn fat_does_what_the_model_says_and_foreign_tools_agree() {
    for (shape, seeds) in [
        (Shape::SMALL, 0..6),
        (Shape::PAGES, 10..14),
        (Shape::LARGE, 20..22),
        (Shape::FAT32, 30..33),
    ] {
        for seed in seeds {
            eprintln!("{shape:?}, seed {seed}");
            let mut fat = mount(shape.make());
            let mut random = Random::new(seed);
            let mut pair = Pair::new(&mut fat);
            for round in 0..600 {
                pair.step(&mut random);
                if round % 150 == 149 {
                    pair.finish();
                }
            }
            let tree = pair.model.tree.clone();
            let memory = fat.unmount().unwrap();
            let image = Image::of(&memory);
            image.is_clean();
            assert_eq!(image.tree(), tree, "mtools");
            // And we after a new mount.
            assert_eq!(gathered(&mut mount(memory)), tree);
        }
    }
}

/// Names that differ in more than case: memory tells these apart, the model does not.
const PLAIN: [&str; 5] = ["A", "b.txt", "kernel8.img", "a long name.text", "sub"];

#[test]
fn memory_does_what_the_model_says() {
    for seed in 100..120 {
        eprintln!("seed {seed}");
        let mut ram = Ram::new(4096);
        let mut random = Random::new(seed);
        let before = ram.statfs().unwrap();
        let mut pair = Pair::new(&mut ram);
        pair.names = &PLAIN;
        for _ in 0..600 {
            pair.step(&mut random);
        }
        pair.finish();
        // Nothing of what goes stays.
        let tree = pair.model.tree.clone();
        for (path, bytes) in tree.iter().rev() {
            let path = at(path);
            let gone = match bytes {
                None => ram.rmdir(path.path()),
                Some(_) => ram.remove(path.path()),
            };
            gone.unwrap();
        }
        assert_eq!(ram.statfs().unwrap(), before);
    }
}
