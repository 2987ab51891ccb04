//! Descriptors, offsets, flags, mounts and streams, over memory and over FAT.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use embedded_io::{ErrorType, Read, Write};
use exopi_fs::stream::{Both, Sink, Source};
use exopi_fs::{Descriptor, Error, Files, Kind, OpenFlags, Ram, SeekFrom};

use crate::support::{Shape, mount};

const READ: OpenFlags = OpenFlags::READ;
const WRITE: OpenFlags = OpenFlags::WRITE;

fn files() -> Files {
    let mut files = Files::new();
    files.mount("/", Box::new(Ram::new(1000))).unwrap();
    files
        .mount("/card", Box::new(mount(Shape::PAGES.make())))
        .unwrap();
    files
}

fn contents(files: &mut Files, path: &str) -> Vec<u8> {
    let file = files.open(path, READ).unwrap();
    let mut bytes = vec![0; 100];
    let count = files.read(file, &mut bytes).unwrap();
    files.close(file).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn flags_do_what_they_say() {
    let mut files = files();
    for path in ["/file", "/card/file"] {
        let open = |files: &mut Files, flags| files.open(path, flags);
        assert_eq!(open(&mut files, READ), Err(Error::NotFound));
        assert_eq!(
            open(&mut files, READ | OpenFlags::CREATE),
            Err(Error::BadFlags)
        );
        assert_eq!(open(&mut files, OpenFlags::APPEND), Err(Error::BadFlags));
        assert_eq!(
            open(&mut files, WRITE | OpenFlags::EXCLUSIVE),
            Err(Error::BadFlags)
        );
        assert_eq!(open(&mut files, OpenFlags::empty()), Err(Error::BadFlags));
        let file = open(&mut files, WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE).unwrap();
        files.write_all(file, b"one two").unwrap();
        assert_eq!(files.read(file, &mut [0]), Err(Error::NotForReading));
        files.close(file).unwrap();
        let exclusive = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        assert_eq!(open(&mut files, exclusive), Err(Error::Exists));
        let file = open(&mut files, WRITE | OpenFlags::APPEND).unwrap();
        files.seek(file, SeekFrom::Start(0)).unwrap();
        files.write_all(file, b" three").unwrap();
        files.close(file).unwrap();
        assert_eq!(contents(&mut files, path), b"one two three");
        let file = open(&mut files, READ).unwrap();
        assert_eq!(files.write(file, b"x"), Err(Error::NotForWriting));
        assert_eq!(files.truncate(file, 0), Err(Error::NotForWriting));
        files.close(file).unwrap();
        let file = open(&mut files, WRITE | OpenFlags::TRUNCATE).unwrap();
        files.close(file).unwrap();
        assert_eq!(contents(&mut files, path), b"");
        assert_eq!(files.close(file), Err(Error::BadDescriptor));
    }
    // What was refused has left nothing open.
    assert!(files.unmount("/card").is_ok());
}

#[test]
fn duplicates_share_an_offset() {
    let mut files = files();
    for path in ["/file", "/card/file"] {
        let file = files.open(path, READ | WRITE | OpenFlags::CREATE).unwrap();
        files.write_all(file, b"0123456789").unwrap();
        let twin = files.duplicate(file).unwrap();
        let other = files.open(path, READ).unwrap();
        assert_eq!(files.seek(file, SeekFrom::End(-8)), Ok(2));
        let mut two = [0; 2];
        files.read(twin, &mut two).unwrap();
        assert_eq!(&two, b"23");
        assert_eq!(files.seek(file, SeekFrom::Current(-1)), Ok(3));
        assert_eq!(
            files.seek(file, SeekFrom::Current(-4)),
            Err(Error::BadOffset)
        );
        assert_eq!(
            files.seek(file, SeekFrom::End(i64::MIN)),
            Err(Error::BadOffset)
        );
        assert_eq!(files.seek(twin, SeekFrom::Current(0)), Ok(3));
        assert_eq!(files.seek(other, SeekFrom::Current(0)), Ok(0));
        files.close(file).unwrap();
        files.read(twin, &mut two).unwrap();
        assert_eq!(&two, b"34");
        // Onto a number that is in use, and one beyond.
        files.duplicate_to(twin, other).unwrap();
        assert_eq!(files.seek(other, SeekFrom::Current(0)), Ok(5));
        files.duplicate_to(twin, Descriptor(77)).unwrap();
        let beyond = Descriptor(exopi_fs::files::MAX_DESCRIPTORS as u32);
        assert_eq!(files.duplicate_to(twin, beyond), Err(Error::BadDescriptor));
        for open in [twin, other, Descriptor(77)] {
            files.close(open).unwrap();
        }
    }
    assert!(files.unmount("/card").is_ok());
}

#[test]
fn a_table_is_full_at_its_bound() {
    let mut files = files();
    let file = files.open("/card/file", WRITE | OpenFlags::CREATE).unwrap();
    let mut open = vec![file];
    while let Ok(next) = files.open("/card/file", READ) {
        open.push(next);
    }
    assert_eq!(open.len(), exopi_fs::files::MAX_DESCRIPTORS);
    assert_eq!(files.open("/card/file", READ), Err(Error::TooManyOpen));
    assert_eq!(files.duplicate(file), Err(Error::TooManyOpen));
    // Nothing was opened below, or made.
    let new = files.open("/card/new", WRITE | OpenFlags::CREATE);
    assert_eq!(new, Err(Error::TooManyOpen));
    assert_eq!(files.stat("/card/new"), Err(Error::NotFound));
    for open in open {
        files.close(open).unwrap();
    }
    files.remove("/card/file").unwrap();
}

#[test]
fn the_longest_mount_wins() {
    let mut files = files();
    files.mkdir("/card/inner").unwrap();
    files.mount("/card/inner", Box::new(Ram::new(10))).unwrap();
    assert_eq!(
        files.mount("/card/./inner", Box::new(Ram::new(1))),
        Err(Error::Busy)
    );
    let file = files
        .open("/card/inner/file", WRITE | OpenFlags::CREATE)
        .unwrap();
    files.write_all(file, b"inner").unwrap();
    assert_eq!(files.unmount("/card/inner").err(), Some(Error::Busy));
    assert_eq!(files.unmount("/card").err(), Some(Error::Busy));
    files.close(file).unwrap();
    files.set_here("/card/inner").unwrap();
    assert_eq!(contents(&mut files, "file"), b"inner");
    assert_eq!(files.rename("file", "../file"), Err(Error::CrossMount));
    assert_eq!(files.set_here("file"), Err(Error::NotDirectory));
    files.set_here("/").unwrap();
    files.unmount("/card/inner").unwrap();
    // What was hidden is there again.
    assert_eq!(files.stat("/card/inner/file"), Err(Error::NotFound));
    files.rmdir("/card/inner").unwrap();
    assert_eq!(files.mounts().count(), 2);
    assert_eq!(files.unmount("/nowhere").err(), Some(Error::NotFound));
}

/// Bytes between two ends.
#[derive(Clone, Default)]
struct Tube(Arc<Mutex<VecDeque<u8>>>);

impl ErrorType for Tube {
    type Error = Infallible;
}

impl Read for Tube {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let mut bytes = self.0.lock().unwrap();
        let count = into.len().min(bytes.len());
        for (to, from) in into.iter_mut().zip(bytes.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl Write for Tube {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn streams_are_files_without_positions() {
    let mut files = Files::new();
    let tube = Tube::default();
    let console = files
        .attach(Box::new(Both(tube.clone(), Tube::default())))
        .unwrap();
    let begin = files.attach(Box::new(Sink(tube.clone()))).unwrap();
    let end = files.attach(Box::new(Source(tube))).unwrap();
    assert_eq!(console, Descriptor::INPUT);
    files.write_all(begin, b"through").unwrap();
    let mut bytes = [0; 4];
    assert_eq!(files.read(end, &mut bytes), Ok(4));
    assert_eq!(files.read(console, &mut bytes[..2]), Ok(2));
    assert_eq!(&bytes, b"ugro");
    assert_eq!(files.read(begin, &mut bytes), Err(Error::NotForReading));
    assert_eq!(files.write(end, &bytes), Err(Error::NotForWriting));
    assert_eq!(files.seek(end, SeekFrom::Start(0)), Err(Error::NotSeekable));
    assert_eq!(files.truncate(begin, 0), Err(Error::NotSeekable));
    assert_eq!(files.stat_open(end).unwrap().kind, Kind::Stream);
    for open in [console, begin, end] {
        files.sync_file(open).unwrap();
        files.close(open).unwrap();
    }
}
