//! Foreign tools: `fsck.vfat` of dosfstools and `mcopy` of mtools. Without them these tests fail.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use exopi_fs::device::Memory;

/// Debian puts `fsck.vfat` where only root's shells look.
const PLACES: &str = "/usr/sbin:/sbin";

fn command(program: &str) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsString::from(format!(":{PLACES}")));
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(
        found,
        "{program} is missing: `make setup` installs it (packages dosfstools and mtools)"
    );
    let mut command = Command::new(program);
    command.env("PATH", path).env("LC_ALL", "C.UTF-8");
    command.env("MTOOLS_SKIP_CHECK", "1");
    command
}

/// An image in a file, for as long as this lives.
pub struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    pub fn of(memory: &Memory) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("image"), memory.to_bytes()).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub fn memory(&self) -> Memory {
        Memory::from_bytes(&fs::read(self.path()).unwrap())
    }

    /// `fsck.vfat` with this option: status, and what it says.
    pub fn fsck(&self, option: &str) -> (Option<i32>, String) {
        let output = command("fsck.vfat")
            .args([option, "-v"])
            .arg(self.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), said)
    }

    /// Fails unless `fsck.vfat` has nothing to say against it.
    #[track_caller]
    pub fn is_clean(&self) {
        let (status, said) = self.fsck("-n");
        assert_eq!(status, Some(0), "{said}");
    }

    /// Every file by its path, as mtools reads it. Directories have `None`.
    pub fn tree(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let to = self.folder.path().join("tree");
        fs::create_dir(&to).unwrap();
        let output = command("mcopy")
            .args(["-s", "-n", "-i"])
            .arg(self.path())
            .args(["::/*"])
            .arg(&to)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Of an empty volume it says that nothing fits.
        assert!(
            output.status.success() || said.contains("not found"),
            "{said}"
        );
        let mut tree = BTreeMap::new();
        gather(&to, "", &mut tree);
        fs::remove_dir_all(to).unwrap();
        tree
    }

    /// Has mtools write a file.
    pub fn mcopy(&self, name: &str, bytes: &[u8]) {
        let from = self.folder.path().join("from");
        fs::write(&from, bytes).unwrap();
        let status = command("mcopy")
            .args(["-o", "-i"])
            .arg(self.path())
            .arg(from)
            .arg(format!("::{name}"))
            .status();
        assert!(status.unwrap().success());
    }

    /// A volume that dosfstools makes.
    pub fn mkfs(blocks: usize, arguments: &[&str]) -> Self {
        let image = Self::of(&Memory::new(blocks));
        let status = command("mkfs.vfat")
            .args(arguments)
            .arg(image.path())
            .output();
        assert!(status.unwrap().status.success());
        image
    }
}

fn gather(folder: &Path, under: &str, tree: &mut BTreeMap<String, Option<Vec<u8>>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{under}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            gather(&entry.path(), &name, tree);
            tree.insert(name, None);
        } else {
            tree.insert(name, Some(fs::read(entry.path()).unwrap()));
        }
    }
}
