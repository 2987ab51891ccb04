//! The power goes between two writes of blocks: `fsck.vfat -a` mends the volume, and nobody else's file is harmed.

use exopi_fs::device::Memory;
use exopi_fs::{BlockDevice, FileSystem};

use crate::foreign::Image;
use crate::model::{Tree, gathered};
use crate::support::{Noted, Random, Shape, Written, at, mount, pattern, read, write};
use crate::workload::Pair;

/// Cuts of each run that are tried.
const SAMPLES: usize = 24;

/// A volume with files that nobody will touch, and free clusters between them.
fn prepared(shape: Shape) -> (Memory, Tree) {
    let mut fat = mount(shape.make());
    fat.mkdir(at("/keep").path()).unwrap();
    for number in 0..12 {
        let path = format!("/keep/file number {number}");
        write(&mut fat, &path, &pattern(700 * number, number as u64)).unwrap();
        write(&mut fat, "/hole", &pattern(900, 1)).unwrap();
        if number % 3 == 0 {
            fat.rename(at("/hole").path(), at(&format!("/hole {number}")).path())
                .unwrap();
        }
    }
    for number in [0, 3, 6, 9] {
        fat.remove(at(&format!("/hole {number}")).path()).unwrap();
    }
    fat.remove(at("/hole").path()).unwrap();
    let tree = gathered(&mut fat);
    (fat.unmount().unwrap(), tree)
}

/// The volume after the first `count` of these writes.
fn cut(before: &Memory, written: &[Written], count: usize) -> Memory {
    let mut memory = before.clone();
    for (number, block) in &written[..count] {
        memory.write(*number, &[block]).unwrap();
    }
    memory
}

/// Runs of `fsck.vfat -a` that a cut needs.
const ONE: usize = 1;
/// And one in the middle of renaming a directory: the first run takes the clusters from its second name, the second one that
/// name, the third one what is left of a long name.
const FOLDERS: usize = 3;

/// Mends a volume, and returns it.
#[track_caller]
fn mended(memory: &Memory, runs: usize, when: &str) -> Memory {
    let image = Image::of(memory);
    let mut said = String::new();
    for _ in 0..runs {
        let (status, now) = image.fsck("-a");
        assert!(matches!(status, Some(0 | 1)), "{when}: {now}");
        said.push_str(&now);
        if image.fsck("-n").0 == Some(0) {
            return image.memory();
        }
    }
    panic!("{when}: not mended: {said}");
}

#[test]
fn a_cut_at_any_write_can_be_mended() {
    for (shape, seed) in [
        (Shape::SMALL, 1),
        (Shape::SMALL, 2),
        (Shape::PAGES, 3),
        (Shape::PAGES, 4),
        (Shape::FAT32, 5),
        (Shape::FAT32, 6),
    ] {
        let (before, keep) = prepared(shape);
        let noted = Noted::new(before.clone());
        let written = noted.written.clone();
        let mut fat = mount(noted);
        let mut random = Random::new(seed);
        let mut pair = Pair::new(&mut fat);
        for _ in 0..250 {
            pair.step(&mut random);
        }
        let written = std::mem::take(&mut *written.lock().unwrap());
        assert!(written.len() > 100, "{}", written.len());
        for _ in 0..SAMPLES {
            let count = random.below(written.len() + 1);
            let when = format!("{shape:?}, seed {seed}, {count} of {}", written.len());
            let mut fat = mount(mended(&cut(&before, &written, count), FOLDERS, &when));
            for (path, bytes) in &keep {
                if let Some(bytes) = bytes {
                    assert_eq!(read(&mut fat, path).as_ref(), Ok(bytes), "{when}: {path}");
                }
            }
        }
    }
}

/// Does something, cuts it at each write, and asks of each volume, mended, whether it is good.
fn each_cut(
    shape: Shape,
    runs: usize,
    work: impl Fn(&mut dyn FileSystem),
    good: impl Fn(&mut dyn FileSystem, &str),
) {
    let (before, _) = prepared(shape);
    let noted = Noted::new(before);
    let written = noted.written.clone();
    let mut fat = mount(noted);
    fat.mkdir(at("/from").path()).unwrap();
    fat.mkdir(at("/to").path()).unwrap();
    write(&mut fat, "/from/a file with a long name", &pattern(5000, 1)).unwrap();
    write(&mut fat, "/to/another file", &pattern(6000, 2)).unwrap();
    fat.sync().unwrap();
    written.lock().unwrap().clear();
    let before = fat.into_device().memory;
    let noted = Noted::new(before.clone());
    let written = noted.written.clone();
    let mut fat = mount(noted);
    work(&mut fat);
    let written = std::mem::take(&mut *written.lock().unwrap());
    assert!(!written.is_empty());
    for count in 0..=written.len() {
        let when = format!("{shape:?}, {count} of {}", written.len());
        let mended = mended(&cut(&before, &written, count), runs, &when);
        good(&mut mount(mended), &when);
    }
}

#[test]
fn a_file_that_is_renamed_is_there_under_one_name_at_least() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        for to in ["/to/new", "/from/new name that is long", "/to/another file"] {
            each_cut(
                shape,
                ONE,
                |fat| {
                    let from = at("/from/a file with a long name");
                    fat.rename(from.path(), at(to).path()).unwrap();
                },
                |fat, when| {
                    // mtools and fsck.vfat call a duplicate what they like: the contents count.
                    let tree = gathered(fat);
                    let mine = pattern(5000, 1);
                    let found = tree.values().flatten().any(|bytes| *bytes == mine);
                    assert!(found, "{when}: {to}: {:?}", tree.keys());
                },
            );
        }
    }
}

#[test]
fn a_directory_that_is_renamed_keeps_what_is_in_it() {
    for shape in [Shape::SMALL, Shape::FAT32] {
        each_cut(
            shape,
            FOLDERS,
            |fat| {
                fat.rename(at("/from").path(), at("/to/moved").path())
                    .unwrap()
            },
            |fat, when| {
                let tree = gathered(fat);
                let found = |mine: Vec<u8>| tree.values().flatten().any(|bytes| *bytes == mine);
                assert!(found(pattern(5000, 1)), "{when}: {:?}", tree.keys());
                assert!(found(pattern(6000, 2)), "{when}: {:?}", tree.keys());
            },
        );
    }
}

#[test]
fn what_is_written_over_is_old_or_new_and_others_are_whole() {
    each_cut(
        Shape::PAGES,
        ONE,
        |fat| {
            write(fat, "/from/a file with a long name", &pattern(50_000, 3)).unwrap();
            fat.remove(at("/from/a file with a long name").path())
                .unwrap();
            write(fat, "/from/new", &pattern(70_000, 4)).unwrap();
            fat.mkdir(at("/from/sub").path()).unwrap();
        },
        |fat, when| {
            let other = read(fat, "/to/another file");
            assert_eq!(other, Ok(pattern(6000, 2)), "{when}");
        },
    );
}

#[test]
fn what_is_appended_is_there_up_to_somewhere() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        let (old, new) = (pattern(5000, 1), pattern(60_000, 9));
        let all = [old.clone(), new.clone()].concat();
        each_cut(
            shape,
            ONE,
            |fat| {
                let file = fat
                    .open(at("/from/a file with a long name").path())
                    .unwrap();
                assert_eq!(fat.write_at(file, 5000, &new), Ok(new.len()));
                fat.close(file).unwrap();
            },
            |fat, when| {
                // Never what somebody else left in the clusters.
                let found = read(fat, "/from/a file with a long name").unwrap();
                assert!(
                    found.len() >= old.len() && all.starts_with(&found),
                    "{when}"
                );
            },
        );
    }
}
