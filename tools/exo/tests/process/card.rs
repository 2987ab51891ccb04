//! `exo image`, `ls`, `cat` and `cp` as processes, on a card with a kernel that is none.

use std::process::Output;

use exo::image::fake;
use tempfile::TempDir;

use crate::support::{Fake, text};

/// A folder with ELF files to make a card of.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.path("kernel.elf"), fake::kernel()).unwrap();
        std::fs::write(folder.path("first.elf"), fake::program()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn exo(&self, arguments: &[&str]) -> Output {
        let fake = Fake::guest("exit 1");
        let mut command = fake.exo(arguments);
        command
            .env("CARGO_TARGET_DIR", self.0.path())
            .output()
            .unwrap()
    }

    /// A card at `name`, with these arguments besides.
    fn image(&self, name: &str, more: &[&str]) -> Output {
        let (kernel, first, card) = (
            self.path("kernel.elf"),
            self.path("first.elf"),
            self.path(name),
        );
        let plain = ["image", "--kernel", &kernel, "--program", &first];
        let sizes = ["--card", &card, "--size", "32M", "--boot-size", "8M"];
        self.exo(&[&plain[..], &sizes, more].concat())
    }
}

#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn bad(output: &Output, told: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    assert!(text(output).contains(told), "{}", text(output));
}

#[test]
fn a_card_is_made_and_its_files_go_in_and_out() {
    let folder = Folder::new();
    good(&folder.image("card", &[]));
    let card = folder.path("card");
    let listed = good(&folder.exo(&["ls", &card]));
    assert!(listed.contains("  kernel8.img\n"), "{listed}");
    assert!(listed.contains("  config.txt\n"), "{listed}");
    let config = good(&folder.exo(&["cat", &card, "/config.txt"]));
    assert!(config.contains("kernel_address=0x80000"), "{config}");
    // The boot image on the card is the one beside it.
    let out = folder.path("out");
    good(&folder.exo(&["cp", &format!("{card}:/KERNEL8.IMG"), &out]));
    let kernel = std::fs::read(&out).unwrap();
    assert_eq!(
        kernel,
        std::fs::read(folder.path("image/kernel8.img")).unwrap()
    );
    // In, under its own name, over what is there, and out again.
    std::fs::write(folder.path("a new file.txt"), "new").unwrap();
    let new = folder.path("a new file.txt");
    good(&folder.exo(&["cp", &new, &format!("{card}:/")]));
    good(&folder.exo(&["cp", &new, &format!("{card}:/config.txt")]));
    let both = good(&folder.exo(&["cat", &card, "/a new file.txt", "config.txt"]));
    assert_eq!(both, "newnew");
    let beside = format!("{card}:/beside");
    good(&folder.exo(&["cp", &format!("{card}:/config.txt"), &beside]));
    assert_eq!(good(&folder.exo(&["cat", &card, "beside"])), "new");
}

#[test]
fn firmware_goes_onto_the_card_and_sizes_are_bytes() {
    let folder = Folder::new();
    let firmware = folder.path("firmware");
    std::fs::create_dir(&firmware).unwrap();
    for (name, text) in [
        ("bootcode.bin", "one"),
        ("start.elf", "two"),
        ("config.txt", "mine"),
    ] {
        std::fs::write(folder.path(&format!("firmware/{name}")), text).unwrap();
    }
    good(&folder.image("one", &["--firmware", &firmware]));
    good(&folder.image("two", &["--firmware", &firmware]));
    let one = std::fs::read(folder.path("one")).unwrap();
    assert_eq!(one.len(), 32 << 20);
    assert!(one == std::fs::read(folder.path("two")).unwrap());
    let config = good(&folder.exo(&["cat", &folder.path("one"), "config.txt"]));
    assert_eq!(config, "mine");
    std::fs::write(folder.path("firmware/kernel8.img"), "another").unwrap();
    let refused = folder.image("three", &["--firmware", &firmware]);
    bad(&refused, "no other can be given");
    let refused = folder.image("three", &["--firmware", "no-such-place"]);
    bad(&refused, "cannot read no-such-place");
    let refused = folder.image("three", &["--size", "30M"]);
    assert!(!refused.status.success());
    assert!(!std::path::Path::new(&folder.path("three")).exists());
}

#[test]
fn what_is_no_card_or_no_file_is_told() {
    let folder = Folder::new();
    good(&folder.image("card", &[]));
    let card = folder.path("card");
    bad(
        &folder.exo(&["ls", "no-such-card"]),
        "cannot open no-such-card",
    );
    bad(&folder.exo(&["ls", &card, "/nobody"]), "/nobody: not found");
    bad(&folder.exo(&["cat", &card, "/"]), "/: is a directory");
    bad(
        &folder.exo(&["ls", &card, "--partition", "2"]),
        "has no signature",
    );
    bad(
        &folder.exo(&["ls", &card, "--partition", "4"]),
        "has no partition 4",
    );
    bad(&folder.exo(&["cp", "one", "two"]), "written IMAGE:/PATH");
    let from = folder.path("first.elf");
    let to = format!("{card}:/no/such/folder");
    bad(&folder.exo(&["cp", &from, &to]), "not found");
    let large = folder.path("large");
    std::fs::write(&large, vec![1; 9 << 20]).unwrap();
    let full = folder.exo(&["cp", &large, &format!("{card}:/config.txt")]);
    bad(&full, "no space left");
    // And what was there is there still.
    let config = good(&folder.exo(&["cat", &card, "config.txt"]));
    assert!(config.contains("arm_64bit"), "{config}");
    let text = folder.path("text");
    std::fs::write(&text, "no card").unwrap();
    bad(&folder.exo(&["ls", &text]), "has no signature");
}
