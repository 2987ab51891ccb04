//! `exopi-fs` at EL0: files in memory and on FAT, with the program's own heap below.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use exopi_fs::device::Memory;
use exopi_fs::fat::{self, Format, Limits};
use exopi_fs::{Block, BlockDevice, Error, Fat, FileSystem, Files, OpenFlags, Ram, Stamp};

use super::book;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "files",
    cases: &[
        ("memory", on_memory),
        ("fat_by_sizes", on_fat),
        ("fat_that_is_full", full),
        ("fat_that_is_damaged", damaged),
    ],
};

/// Little memory: all of it is used, again and again.
const LIMITS: Limits = Limits {
    pages: 12,
    changed: 4,
    blocks: 32,
};
/// The least that is FAT16.
const BLOCKS: usize = 540;

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("{error} ({error:?})"))
    }
}

/// Has the heap as large as the cases need it.
pub(crate) fn prepare() {
    for case in SUITE.cases {
        // What is wrong is told when it is the case's turn.
        let _ = case.1();
    }
    let _ = book::files::a_card_and_a_pipe();
}

/// Bytes that tell where they belong.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place / 3 + place * seed) as u8)
        .collect()
}

/// Writes and reads files of sizes around those of sectors and pages.
fn by_sizes(files: &mut Files, top: &str) -> Outcome {
    let sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 12_288, 20_001];
    files.mkdir(&format!("{top}/sizes"))?;
    for (seed, size) in sizes.into_iter().enumerate() {
        let path = format!("{top}/sizes/file of {size} bytes");
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let file = files.open(&path, flags)?;
        files.write_all(file, &pattern(size, seed))?;
        files.close(file)?;
    }
    for (seed, size) in sizes.into_iter().enumerate() {
        let path = format!("{top}/sizes/file of {size} bytes");
        let file = files.open(&path, OpenFlags::READ)?;
        let mut bytes = alloc::vec![0; size + 1];
        let mut count = 0;
        while let more @ 1.. = files.read(file, &mut bytes[count..])? {
            count += more;
        }
        files.close(file)?;
        check_eq!(count, size, "{path}");
        check!(
            bytes[..size] == pattern(size, seed),
            "{path} came back otherwise"
        );
        let moved = format!("{top}/moved");
        files.rename(&path, &moved)?;
        check_eq!(files.stat(&path), Err(Error::NotFound));
        files.remove(&moved)?;
    }
    files.rmdir(&format!("{top}/sizes"))?;
    Ok(())
}

fn on_memory() -> Outcome {
    let mut files = Files::new();
    files.mount("/", Box::new(Ram::new(40)))?;
    let before = files.statfs("/")?;
    by_sizes(&mut files, "")?;
    check_eq!(files.statfs("/")?, before);
    Ok(())
}

fn volume() -> Result<Memory, Failure> {
    let mut card = Memory::new(BLOCKS);
    fat::format(&mut card, &Format::default())?;
    Ok(card)
}

fn mounted(card: Memory) -> Result<Fat<Memory>, Failure> {
    Ok(Fat::mount_with(card, LIMITS, || Stamp::EPOCH)?)
}

fn on_fat() -> Outcome {
    let mut files = Files::new();
    files.mount("/card", Box::new(mounted(volume()?)?))?;
    by_sizes(&mut files, "/card")?;
    let space = files.statfs("/card")?;
    check_eq!(space.free, space.total);
    files.unmount("/card")?;
    Ok(())
}

fn full() -> Outcome {
    let mut files = Files::new();
    files.mount("/", Box::new(mounted(volume()?)?))?;
    let space = files.statfs("/")?;
    let file = files.open("/all", OpenFlags::WRITE | OpenFlags::CREATE)?;
    // All but the last cluster at once would be two megabytes of memory: the end is enough.
    files.write_all(file, b"first")?;
    check_eq!(files.truncate(file, space.free + 1), Err(Error::NoSpace));
    check_eq!(files.stat_open(file)?.size, 5);
    files.close(file)?;
    check_eq!(files.statfs("/")?.free, space.free - u64::from(space.unit));
    Ok(())
}

/// A volume whose FATs and directory are nonsense: errors, and nothing worse.
fn damaged() -> Outcome {
    let mut card = volume()?;
    for number in 1..9 {
        let mut block = Block::zeroed();
        for (place, byte) in block.0.iter_mut().enumerate() {
            *byte = (place * (number + 7) + place / 11 + 65) as u8;
        }
        card.write(number as u64, &[&block])?;
    }
    let mut fat = mounted(card)?;
    let mut names = Vec::new();
    let _ = fat.list(exopi_fs::Path::ROOT, &mut |entry| {
        names.push(entry.name.clone());
        core::ops::ControlFlow::Continue(())
    });
    check!(!names.is_empty(), "nonsense without a name");
    for name in names {
        let Ok(location) = exopi_fs::Location::root().join(&name) else {
            continue;
        };
        if let Ok(file) = fat.open(location.path()) {
            let _ = fat.read_at(file, 0, &mut [0; 600]);
            let _ = fat.write_at(file, 100, b"more");
            let _ = fat.close(file);
        }
        let _ = fat.remove(location.path());
        let _ = fat.rmdir(location.path());
    }
    Ok(())
}

impl From<exopi_fs::DeviceError> for Failure {
    #[track_caller]
    fn from(error: exopi_fs::DeviceError) -> Self {
        Self::new(format!("{error}"))
    }
}
