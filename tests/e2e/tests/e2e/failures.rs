//! The kernel's last words: each failure leaves a record that says what, where and how it came there.

use exopi_abi::exit;
use exopi_e2e::{Run, selftest_kernel};

/// Boots with this failure asked for.
fn failure(which: &str) -> Run {
    let arguments = format!("selftest={which}");
    Run::from(Run::command().arg(selftest_kernel()).args([
        "--program",
        "minimal",
        "--append",
        &arguments,
    ]))
}

/// Checks the record: its first line, its core, and a backtrace whose lines have names.
#[track_caller]
fn recorded(run: &Run, first: &str) {
    run.ends_with(exit::KERNEL_FAILURE)
        .prints(first)
        .prints("backtrace:")
        .never_prints("minimal: hello");
    let backtrace: Vec<_> = run.lines_from("  at 0x").collect();
    assert!(!backtrace.is_empty(), "{run}");
    assert!(
        backtrace
            .iter()
            .all(|line| line.contains(" <") && line.contains("+0x")),
        "a line has no name:\n{run}"
    );
    // Optimisation may merge all functions into the one that the boot code calls.
    let in_kernel = |line: &&str| line.contains("kernel_main") || line.contains("exopi_kernel");
    assert!(
        backtrace.iter().any(in_kernel),
        "no line names the kernel:\n{run}"
    );
}

/// Checks that the record has registers.
#[track_caller]
fn has_registers(run: &Run) {
    run.prints("pc 0x").prints("esr 0x").prints("far 0x");
    for register in ["x0 ", "x15", "x30"] {
        run.prints(&format!("  {register} 0x"));
    }
}

#[test]
fn stack_overflow() {
    let run = failure("stack-overflow");
    recorded(&run, "KERNEL EXCEPTION on core 0: ");
    has_registers(&run);
    run.prints("stack");
}

#[test]
fn null_pointer() {
    let run = failure("null");
    recorded(&run, "KERNEL EXCEPTION on core 0: data abort, read");
    has_registers(&run);
}

#[test]
fn wild_write() {
    let run = failure("abort");
    recorded(&run, "KERNEL EXCEPTION on core 0: data abort, write");
    has_registers(&run);
}

#[test]
fn panic() {
    let run = failure("panic");
    recorded(&run, "KERNEL PANIC on core 0: asked to");
    run.prints("selftest.rs");
}

#[test]
fn failure_while_a_failure_is_printed() {
    let run = failure("twice");
    run.ends_with(exit::KERNEL_FAILURE)
        .prints("KERNEL PANIC on core 0: asked to, by ");
}

#[test]
fn nothing_asked_for() {
    let run = failure("none");
    run.ends_with(0).prints("minimal: done");
}
