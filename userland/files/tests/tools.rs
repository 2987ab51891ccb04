//! The tools on volumes in memory, as they are called by name.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use embedded_io::{ErrorType, Read, Write};
use exopi_fs::device::Memory;
use exopi_fs::fat::{Format, format};
use exopi_fs::stream::{Sink, Source};
use exopi_fs::{Fat, Files, OpenFlags, Ram};
use file_tools::run;

/// Bytes that somebody else sees.
#[derive(Clone, Default)]
struct Tube(Arc<Mutex<VecDeque<u8>>>);

impl Tube {
    fn take(&self) -> String {
        let bytes: Vec<u8> = self.0.lock().unwrap().drain(..).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl ErrorType for Tube {
    type Error = Infallible;
}

impl Read for Tube {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let mut bytes = self.0.lock().unwrap();
        let count = into.len().min(bytes.len());
        into.iter_mut()
            .zip(bytes.drain(..count))
            .for_each(|(to, from)| *to = from);
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

/// A root in memory, a card at `/card`, and three streams.
struct World {
    files: Files,
    input: Tube,
    output: Tube,
    errors: Tube,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            files: Files::new(),
            input: Tube::default(),
            output: Tube::default(),
            errors: Tube::default(),
        };
        let files = &mut world.files;
        files.attach(Box::new(Source(world.input.clone()))).unwrap();
        files.attach(Box::new(Sink(world.output.clone()))).unwrap();
        files.attach(Box::new(Sink(world.errors.clone()))).unwrap();
        files.mount("/", Box::new(Ram::new(1000))).unwrap();
        let mut card = Memory::new(4300);
        format(&mut card, &Format::default()).unwrap();
        files
            .mount("/card", Box::new(Fat::mount(card).unwrap()))
            .unwrap();
        world
    }

    fn write(&mut self, path: &str, bytes: &[u8]) {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let file = self.files.open(path, flags).unwrap();
        self.files.write_all(file, bytes).unwrap();
        self.files.close(file).unwrap();
    }

    /// Runs a command that must succeed; returns what it prints.
    #[track_caller]
    fn good(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        let status = run(&mut self.files, &words);
        assert_eq!((status, self.errors.take()), (0, String::new()), "{line}");
        self.output.take()
    }

    /// Runs a command that must not; returns what it complains.
    #[track_caller]
    fn bad(&mut self, line: &str, expected: u8) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(run(&mut self.files, &words), expected, "{line}");
        self.errors.take()
    }
}

#[test]
fn files_are_copied_moved_and_removed_on_and_across_mounts() {
    let mut world = World::new();
    let bytes: Vec<u8> = (0..50_000u32)
        .map(|number| (number % 95 + 32) as u8)
        .collect();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for top in ["", "/card"] {
        let all = |line: &str| line.replace('@', top);
        world.write(&all("@/one"), &bytes);
        world.good(&all("mkdir @/a @/b"));
        world.good(&all("mkdir -p @/a/deep/er @/a"));
        world.good(&all("cp @/one @/two"));
        world.good(&all("cp @/one @/two @/a/deep"));
        assert_eq!(world.good(&all("cat @/a/deep/two")), text);
        world.good(&all("cp -r @/a @/b"));
        assert_eq!(world.good(&all("ls @/b/a/deep")), "er/\none\ntwo\n");
        world.good(&all("mv @/b/a @/c"));
        world.good(&all("mv @/two @/one @/c"));
        assert_eq!(world.good(&all("ls @/c")), "deep/\none\ntwo\n");
        // Over a longer one: nothing of it stays.
        world.write(&all("@/short"), b"short");
        world.good(&all("cp @/short @/c/one"));
        assert_eq!(world.good(&all("cat @/c/one")), "short");
        assert!(
            world
                .bad(&all("cp -r @/c @/c/deep"), 1)
                .contains("cannot go into itself")
        );
        assert!(world.bad(&all("cp @/c @/d"), 1).contains("is a directory"));
        assert!(
            world
                .bad(&all("cp @/short @/short"), 1)
                .contains("exists already")
        );
        assert!(world.bad(&all("rm @/c"), 1).contains("is a directory"));
    }
    // A copy onto itself in other letters leaves it as it is.
    world.good("cp /card/short /card/SHORT");
    assert_eq!(world.good("cat /card/short"), "short");
    world.good("mv /c /card/moved");
    assert_eq!(world.good("ls /card/moved"), "deep/\none\ntwo\n");
    assert_eq!(world.good("cat /card/moved/two"), text);
    world.good("rm -r /a /b /card/a /card/b /card/c /card/moved");
    assert_eq!(world.good("ls /"), "short\n");
    assert_eq!(world.good("ls /card"), "short\n");
    world.good("rm /short /card/short");
    world.good("rm -f /nobody");
    world.files.unmount("/card").unwrap();
}

#[test]
fn what_is_there_is_shown() {
    let mut world = World::new();
    world.write("/card/a name.txt", b"twenty-one letters\n\0\xff");
    world.write("/b", b"");
    let line = "rw         21 1980-01-01 00:00:00 a name.txt\n";
    assert_eq!(world.good("ls -l /card"), line);
    assert_eq!(world.good("ls /card /b"), "/card:\na name.txt\n/b\n");
    assert_eq!(world.good("ls"), "b\n");
    let mut dump = |line: &str| {
        world.files.set_here("/card").unwrap();
        world.files.rename("a name.txt", "name").unwrap_or(());
        world.good(line)
    };
    let expected = "\
00000000  74 77 65 6e 74 79 2d 6f  6e 65 20 6c 65 74 74 65  |twenty-one lette|
00000010  72 73 0a 00 ff                                    |rs...|
00000015
";
    assert_eq!(dump("hexdump name"), expected);
    let table = world.good("df");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(rows[0], ["KiB", "used", "free", "at"]);
    assert_eq!(rows[1], ["4000", "8", "3992", "/"]);
    assert_eq!((rows[2][1], rows[2][3]), ("4", "/card"), "{table}");
    world.input.write(b"typed").unwrap();
    assert_eq!(world.good("cat"), "typed");
}

#[test]
fn what_cannot_be_done_is_told_and_the_rest_is_done() {
    let mut world = World::new();
    world.write("/one", b"1");
    world.write("/two", b"2");
    assert_eq!(world.bad("cat /one /no /two", 1), "cat: /no: not found\n");
    assert_eq!(world.output.take(), "12");
    let both = "rm: /no: not found\nrm: /nor: not found\n";
    assert_eq!(world.bad("rm /no /one /nor", 1), both);
    assert_eq!(world.good("ls /"), "two\n");
    assert!(world.bad("cp /two", 2).starts_with("cp: usage: cp [-r]"));
    assert!(world.bad("mv a b /two", 1).contains("is no directory"));
    assert!(world.bad("ls -z", 2).starts_with("ls: usage: ls [-l]"));
    assert!(world.bad("rm", 2).starts_with("rm: usage"));
    assert!(world.bad("mkdir", 2).starts_with("mkdir: usage"));
    assert!(world.bad("hexdump", 2).starts_with("hexdump: usage"));
    assert!(world.bad("hexdump /card", 1).contains("is a directory"));
    assert!(
        world
            .bad("mkdir /card/a:b", 1)
            .contains("name is not allowed")
    );
    assert!(
        world
            .bad("mkdir -p /two/x", 1)
            .contains("/two: exists already")
    );
    assert_eq!(world.bad("frobnicate", 2), "frobnicate: no such tool\n");
    assert_eq!(run(&mut world.files, &[]), 0);
    world.write("/-l", b"x");
    assert_eq!(world.good("cat /-l"), "x");
    world.good("rm -- -l");
    assert_eq!(world.good("ls /"), "two\n");
}
