//! `exo gdb` as a process, with and without a debugger.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use exo::image::fake;

use crate::support::{Fake, text};

/// What comes of it with nothing in PATH but this debugger, if any.
fn debugged(debugger: Option<&str>) -> Output {
    let fake = Fake::guest("echo \"$@\"");
    let dir = fake.image.parent().unwrap();
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    if let Some(script) = debugger {
        let path = bin.join("gdb-multiarch");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (kernel, program) = (dir.join("kernel"), dir.join("first.elf"));
    std::fs::write(&kernel, fake::kernel()).unwrap();
    std::fs::write(&program, fake::program()).unwrap();
    fake.exo(&["gdb", "--program"])
        .arg(program)
        .arg(kernel)
        .args(["--", "-batch", "-ex", "info registers"])
        .env("PATH", bin)
        .output()
        .unwrap()
}

#[test]
fn debugger_attaches_to_the_stopped_machine() {
    let output = debugged(Some("echo \"gdb $@\"; exit 3"));
    let all = text(&output);
    assert_eq!(output.status.code(), Some(3), "{all}");
    assert!(all.contains("gdb -q /"), "{all}");
    assert!(all.contains("-ex target remote 127.0.0.1:"), "{all}");
    assert!(all.contains("-ex set $first_program = 0x"), "{all}");
    assert!(
        all.contains("gdb/kernel.gdb -batch -ex info registers\n"),
        "{all}"
    );
}

#[test]
fn missing_debugger_gives_the_command() {
    let output = debugged(None);
    let all = text(&output);
    assert!(output.status.success(), "{all}");
    assert!(all.contains("gdb-multiarch is not there"), "{all}");
    assert!(all.contains("-ex 'target remote 127.0.0.1:"), "{all}");
    // The machine waits for the debugger.
    let server = all
        .lines()
        .find(|line| line.contains("-gdb tcp:127.0.0.1:"));
    assert!(server.is_some_and(|line| line.contains(" -S")), "{all}");
}
