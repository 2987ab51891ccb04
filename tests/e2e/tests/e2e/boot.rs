//! The shipped image boots, says what it found, runs its first program and ends with its status.

use std::process::Command;

use exopi_abi::exit;
use exopi_e2e::{Run, exo, kernel};

/// Runs the smallest program with boot arguments.
fn with_arguments(arguments: &str) -> Run {
    Run::from(Run::of_minimal().args(["--append", arguments]))
}

#[track_caller]
fn booted(run: &Run) {
    run.ends_with(0)
        .prints("board: Raspberry Pi 3 Model B")
        .prints("cores: 4 running")
        .prints("memory: 960 MiB")
        .prints("minimal: hello from EL0")
        .prints("minimal: handled my own fault")
        .prints("minimal: done")
        .never_prints("warning:")
        .never_prints("KERNEL");
    // The kernel's lines come first and begin with the time, which does not go back.
    let times: Vec<f64> = run
        .lines_from("[")
        .map(|line| {
            let time = line.split(']').next().unwrap_or_default();
            time.trim_start_matches('[').trim().parse().unwrap()
        })
        .collect();
    assert!(times.len() >= 5, "{run}");
    assert!(times.is_sorted(), "{run}");
}

#[test]
fn shipped_image_boots() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("kernel8.img");
    let made = Command::new(exo())
        .args(["image", "--program", "minimal", "--output"])
        .arg(&image)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(said.contains("programs: minimal"), "{said}");
    booted(&Run::from(Run::command().arg("--image").arg(&image)));
}

#[test]
fn kernel_boots_as_cargo_boot_runs_it() {
    booted(&Run::from(&mut Run::of_minimal()));
}

#[test]
fn boots_without_terminal_and_with_standard_input_closed() {
    let mut command = Command::new("setsid");
    command
        .args(["--wait", "sh", "-c", "exec \"$@\" <&-", "sh"])
        .arg(exo())
        .args(["run", "--timeout", "60", "--program", "minimal"])
        .arg(kernel());
    booted(&Run::from(&mut command));
}

#[test]
fn boot_arguments_reach_the_first_program() {
    // The kernel tells them, too.
    with_arguments("one two=2 three")
        .ends_with(0)
        .prints("\nminimal: my boot arguments are \"one two=2 three\"")
        .prints("] boot arguments: \"one two=2 three\"");
}

#[test]
fn exit_status_is_the_first_programs() {
    with_arguments("exit=42").ends_with(42);
}

#[test]
fn fault_in_the_fault_handler_suspends_the_first_environment() {
    with_arguments("fault=nested")
        .ends_with(exit::FIRST_ENVIRONMENT_DIED)
        .prints("first environment suspended: ")
        .never_prints("minimal: done");
}

#[test]
fn of_two_programs_the_first_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.elf");
    std::fs::write(&other, exo::image::fake::program()).unwrap();
    let run = Run::from(
        Run::command()
            .arg(kernel())
            .args(["--program", "minimal", "--program"])
            .arg(&other),
    );
    booted(&run);
}
