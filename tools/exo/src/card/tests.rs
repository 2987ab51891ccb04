//! Cards made of files, and looked into by us and by others.

use std::process::Command;

use super::*;

const LAYOUT: Layout = Layout {
    card: 32 << 20,
    boot: 16 << 20,
};

fn content(name: &str, bytes: Vec<u8>) -> Content {
    Content {
        name: name.to_owned(),
        bytes,
    }
}

fn some() -> Vec<Content> {
    let large = (0..3_500_000u32).map(|number| (number / 7) as u8).collect();
    vec![
        content("kernel8.img", large),
        content("config.txt", CONFIG.into()),
    ]
}

#[test]
fn the_same_files_make_the_same_card() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    for path in [&one, &two] {
        make(path, LAYOUT, &some()).unwrap();
    }
    let bytes = std::fs::read(&one).unwrap();
    assert_eq!(bytes.len() as u64, LAYOUT.card);
    assert!(bytes == std::fs::read(&two).unwrap());
    let table = mbr::of(&mut CardFile::open(&one, false).unwrap()).unwrap();
    assert_eq!(table, LAYOUT.table().unwrap());
    let [Some(boot), Some(xn), None, None] = table else {
        panic!("{table:?}");
    };
    assert_eq!((boot.kind, xn.kind), (mbr::TYPE_FAT16, mbr::TYPE_XN));
    let end = u64::from(xn.first + xn.sectors) * SECTOR_SIZE as u64;
    assert_eq!(end, LAYOUT.card);
    // Nothing is in the second one.
    let empty = &bytes[xn.first as usize * SECTOR_SIZE..];
    assert!(empty.iter().all(|byte| *byte == 0));
}

#[test]
fn foreign_tools_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let [card, volume, out] = ["card", "volume", "out"].map(|name| folder.path().join(name));
    make(&card, LAYOUT, &some()).unwrap();
    let bytes = std::fs::read(&card).unwrap();
    std::fs::write(&volume, &bytes[1 << 20..17 << 20]).unwrap();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!("{program}: {error}; `make setup` installs it (packages dosfstools, mtools)")
        });
        assert!(output.status.success(), "{output:?}");
    };
    run("fsck.vfat", &["-n".as_ref(), volume.as_ref()]);
    // By the partition table: the volume begins at 1 MiB.
    let at = format!("{}@@1M", card.display());
    let arguments = ["-i", &at, "::kernel8.img"].map(std::ffi::OsStr::new);
    run("mcopy", &[&arguments[..], &[out.as_ref()]].concat());
    assert!(std::fs::read(&out).unwrap() == some()[0].bytes);
}

#[test]
fn files_go_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card");
    make(&card, LAYOUT, &some()).unwrap();
    let mut volume = mount(&card, None, false).unwrap();
    let names: Vec<_> = list(&mut volume, "/").unwrap();
    let names: Vec<_> = names.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["kernel8.img", "config.txt"]);
    // It was not opened to be written.
    let location = Location::root().join("/new").unwrap();
    assert_eq!(volume.create(location.path()), Err(Error::ReadOnly));
    let error = |number| format!("{:#}", mount(&card, Some(number), false).unwrap_err());
    assert!(
        error(2).ends_with("the boot sector has no signature"),
        "{}",
        error(2)
    );
    assert!(error(3).ends_with("has no partition 3"));
    assert!(error(0).ends_with("has no partition 0"));
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let refused = |card, boot| {
        let error = make(&path, Layout { card, boot }, &some()).unwrap_err();
        format!("{error:#}")
    };
    assert!(refused(48 << 20, 16 << 20).contains("powers of two alone"));
    assert!(refused(8 << 20, 4 << 20).contains("16 MiB at least"));
    assert!(refused(16 << 20, 15 << 20).contains("no room for the second one"));
    assert!(refused(16 << 20, 5000).contains("multiple of 1 MiB"));
    assert!(refused(16 << 20, 1 << 20).contains("FAT12 is not supported"));
    let error = refused(16 << 20, 3 << 20);
    assert!(
        error.contains("cannot put kernel8.img on the card: no space left"),
        "{error}"
    );
    // Nothing is left of them.
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn sizes_are_numbers_with_letters() {
    for (text, expected) in [
        ("4096", 4096),
        ("64M", 64 << 20),
        ("4g", 4 << 30),
        ("1K", 1024),
    ] {
        assert_eq!(size(text).unwrap(), expected);
    }
    for text in ["", "M", "-1", "1T", "99999999999G", "1.5M", "\u{e4}"] {
        assert!(size(text).is_err(), "{text}");
    }
}
