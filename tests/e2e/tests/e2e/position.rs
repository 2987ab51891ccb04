//! The kernel runs from whatever page it was loaded at: firmware generations differ in where that is.
//!
//! The emulator always enters a raw image at 0x80000. So the image is put elsewhere as well, and a
//! debugger makes the emulator's boot stub go there.

use std::fs;

use exo::image;
use exopi_e2e::debugger::Debugger;
use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel, minimal};

/// The boot stub's word for where it goes, behind its six instructions and the word for x0.
const ENTRY: u64 = 0x20;
/// Where the emulator puts the image itself.
const USUAL: u64 = 0x8_0000;

/// Boots the image from `place`.
fn booted_from(place: u64) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kernel8.img");
    fs::write(&file, image::make(kernel(), &[minimal()]).unwrap()).unwrap();
    let loader = format!(
        "-device loader,file='{}',addr={place:#x},force-raw=on",
        file.display()
    );
    let mut command = Run::of_minimal();
    command.arg("--gdb").env("QEMU_EXTRA", loader);
    let mut session = Session::start(&mut command);
    let mut debugger = Debugger::attach(&mut session);
    assert_eq!(debugger.read(ENTRY, 8), USUAL.to_le_bytes(), "another stub");
    debugger.write(ENTRY, &place.to_le_bytes());
    // Whoever goes to the usual place all the same does not get far.
    debugger.write(USUAL, &[0; 64]);
    debugger.let_go();
    session.end()
}

#[test]
fn kernel_runs_from_any_page() {
    for (what, place) in [
        ("an older firmware's place", 0x20_0000),
        ("across a border of blocks", 0x1f_f000),
        ("an odd page", 0x41_3000),
        ("far up", 0x3000_0000),
    ] {
        println!("{what}");
        booted_from(place)
            .ends_with(0)
            .prints("minimal: done")
            .never_prints("warning:");
    }
}
