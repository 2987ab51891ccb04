//! `exo gdb` as a process, with and without a debugger.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use exo::image::fake;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};

use crate::support::{Fake, text};

/// What comes of it with nothing in PATH but this debugger, if any.
fn debugged(debugger: Option<&str>) -> Output {
    let fake = Fake::guest("echo \"$@\"");
    command(&fake, debugger).output().unwrap()
}

/// The command, with nothing in PATH but this debugger, if any.
fn command(fake: &Fake, debugger: Option<&str>) -> Command {
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
    let mut command = fake.exo(&["gdb", "--program"]);
    command
        .arg(program)
        .arg(kernel)
        .args(["--", "-batch", "-ex", "info registers"])
        .env("PATH", bin);
    command
}

/// Runs the command with a guest that goes on, and sends a signal to all its processes, as a terminal
/// does, when the debugger is there. What it says; the guest must have ended.
fn signalled(debugger: &str, signal: Signal) -> (Option<i32>, String) {
    let fake = Fake::guest("echo $$ > \"${0%/*}/pid\"; exec /bin/sleep 60");
    let mut exo = command(&fake, Some(debugger))
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(exo.stdout.take().unwrap());
    let mut all = String::new();
    said.read_line(&mut all).unwrap();
    assert_eq!(all, "here\n");
    kill_process_group(Pid::from_child(&exo), signal).unwrap();
    said.read_to_string(&mut all).unwrap();
    let status = exo.wait().unwrap();
    let pid = std::fs::read_to_string(fake.image.with_file_name("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    assert!(test_kill_process(pid).is_err(), "the guest goes on: {all}");
    (status.code(), all)
}

#[test]
fn interrupt_is_the_debuggers() {
    // It lives on, and so does its guest.
    let debugger = "trap 'got=1' INT
        while ! [ -s \"${0%/*}/../pid\" ]; do /bin/sleep 0.1; done
        read guest < \"${0%/*}/../pid\"
        echo here
        while [ -z \"$got\" ]; do /bin/sleep 0.1; done
        /bin/sleep 0.5
        kill -0 $guest && echo alive
        exit 3";
    let (status, said) = signalled(debugger, Signal::INT);
    assert_eq!((status, &*said), (Some(3), "here\nalive\n"));
}

#[test]
fn other_signals_end_the_debugger() {
    let debugger = "trap '' TERM
        while ! [ -s \"${0%/*}/../pid\" ]; do /bin/sleep 0.1; done
        echo here
        while :; do /bin/sleep 0.1; done";
    let (status, said) = signalled(debugger, Signal::TERM);
    assert_eq!((status, &*said), (Some(1), "here\n"));
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
