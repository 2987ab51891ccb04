//! `exo run` as a process: status, console, names, refusals, and that no emulator stays behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use object::{Object, ObjectSymbol};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{Fake, text};

#[test]
fn status_and_console_are_the_guests() {
    let fake = Fake::guest("printf 'hello\\r\\nno end'; exit 42");
    let image = fake.image.to_str().unwrap();
    let output = fake.exo(&["run", "--image", image]).output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(output.stdout, b"hello\r\nno end");
}

#[test]
fn standard_input_is_the_guests() {
    let fake = Fake::guest("read line; echo \"got $line\"");
    let image = fake.image.to_str().unwrap();
    let mut exo = fake
        .exo(&["run", "--image", image])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    exo.stdin.take().unwrap().write_all(b"this\n").unwrap();
    let output = exo.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"got this\n");
}

#[test]
fn extra_arguments_are_split_as_by_a_shell() {
    let fake = Fake::guest("for word; do echo \"<$word>\"; done");
    let image = fake.image.to_str().unwrap();
    let output = fake
        .exo(&["run", "--image", image, "--append", "a=1 b"])
        .env("QEMU_EXTRA", "-seed 1 -name 'two words' \"\"")
        .output()
        .unwrap();
    let all = text(&output);
    assert!(all.contains("<-append>\n<a=1 b>\n"), "{all}");
    assert!(
        all.ends_with("<-seed>\n<1>\n<-name>\n<two words>\n<>\n"),
        "{all}"
    );

    let mut open = fake.exo(&["run", "--image", image]);
    let output = open.env("QEMU_EXTRA", "-name 'two").output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("QEMU_EXTRA has a quote that is not closed"));
}

#[test]
fn backtraces_get_names_from_the_kernel() {
    // Any ELF file with symbols will do: this one.
    let kernel = std::env::current_exe().unwrap();
    let elf = std::fs::read(&kernel).unwrap();
    let file = object::File::parse(&*elf).unwrap();
    let function = file
        .symbols()
        .find(|symbol| {
            let name = symbol.name().unwrap_or_default();
            name.contains("backtraces_get_names_from_the_kernel") && symbol.size() > 8
        })
        .unwrap();
    let at = format!("at {:#018x}", function.address() + 4);
    let fake = Fake::guest(&format!("echo '  {at}'; echo ' {at}'"));
    let image = fake.image.to_str().unwrap();
    let arguments = ["run", "--image", image, kernel.to_str().unwrap()];
    let output = fake.exo(&arguments).output().unwrap();
    let all = text(&output);
    let name = "<process::run::backtraces_get_names_from_the_kernel";
    assert!(all.starts_with(&format!("  {at} {name}")), "{all}");
    assert!(all.ends_with(&format!("+0x4>\n {at}\n")), "{all}");
}

#[test]
fn damaged_image_is_refused_unless_unchecked() {
    let fake = Fake::guest("echo booted");
    let image = fake.image.to_str().unwrap();
    let mut bytes = std::fs::read(image).unwrap();
    bytes.pop();
    std::fs::write(image, bytes).unwrap();
    let output = fake.exo(&["run", "--image", image]).output().unwrap();
    let all = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(all.contains("is damaged"), "{all}");
    assert!(all.contains("the archive is cut off"), "{all}");
    assert!(!all.contains("booted"), "{all}");

    let arguments = ["run", "--unchecked", "--image", image];
    let output = fake.exo(&arguments).output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"booted\n");
}

#[test]
fn missing_emulator_is_told() {
    let fake = Fake::guest("");
    let image = fake.image.to_str().unwrap();
    for emulator in ["no-such-emulator", "/no/such/emulator"] {
        let output = fake
            .exo(&["run", "--image", image])
            .env("QEMU", emulator)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let all = text(&output);
        assert!(
            all.contains(&format!("the emulator {emulator} is not there")),
            "{all}"
        );
    }
}

#[test]
fn time_can_be_bounded() {
    let fake = Fake::guest("echo begun; exec sleep 60");
    let image = fake.image.to_str().unwrap();
    let arguments = ["run", "--image", image, "--timeout", "1"];
    let output = fake.exo(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(output.stdout, b"begun\n");
}

/// Starts `exo run` with a guest that tells its process and then goes on.
fn started(rest: &str) -> (Fake, Child, Pid) {
    let fake = Fake::guest(&format!("echo $$\n{rest}"));
    let image = fake.image.to_str().unwrap();
    let mut exo = fake
        .exo(&["run", "--image", image])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut console = BufReader::new(exo.stdout.as_mut().unwrap());
    console.read_line(&mut line).unwrap();
    let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    (fake, exo, pid)
}

#[track_caller]
fn ends_soon(pid: Pid) {
    for _ in 0..500 {
        if test_kill_process(pid).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the emulator is still there");
}

#[test]
fn emulator_ends_with_an_interrupted_command() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (_fake, mut exo, emulator) = started("exec sleep 60");
        kill_process(Pid::from_child(&exo), signal).unwrap();
        let status = exo.wait().unwrap();
        assert!(!status.success());
        ends_soon(emulator);
        let mut told = String::new();
        exo.stderr.unwrap().read_to_string(&mut told).unwrap();
        assert!(told.contains("interrupted by signal"), "{told}");
    }
}

#[test]
fn stubborn_emulator_ends_with_an_interrupted_command() {
    let (_fake, mut exo, emulator) = started("trap '' TERM INT; while :; do :; done");
    kill_process(Pid::from_child(&exo), Signal::TERM).unwrap();
    assert!(!exo.wait().unwrap().success());
    ends_soon(emulator);
}

#[test]
fn emulator_ends_with_a_killed_command() {
    let (_fake, mut exo, emulator) = started("exec sleep 60");
    exo.kill().unwrap();
    exo.wait().unwrap();
    ends_soon(emulator);
}
