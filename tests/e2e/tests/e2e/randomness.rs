//! The key of all seals comes from the board's random generator, or there is no boot.

use exopi_abi::exit;
use exopi_e2e::{Run, kernel, selftest_kernel};

/// Boots a kernel with boot arguments.
fn with_arguments(kernel: &std::path::Path, arguments: &str) -> Run {
    let mut command = Run::command();
    let arguments = ["--program", "minimal", "--append", arguments];
    Run::from(command.arg(kernel).args(arguments))
}

/// What the boot log says of the boot's number.
#[track_caller]
fn boot_id(run: &Run) -> String {
    let line = run
        .lines_from("[")
        .find_map(|line| line.split_once("key: drawn; boot "));
    match line {
        Some((_, id)) => id.trim().to_owned(),
        None => panic!("no boot number:\n{run}"),
    }
}

#[test]
fn no_generator_no_boot() {
    with_arguments(selftest_kernel(), "selftest=no-generator")
        .ends_with(exit::NO_KEY)
        .prints("no key for capabilities")
        .never_prints("minimal: hello");
}

#[test]
fn each_boot_draws_anew() {
    let ids = [(); 2].map(|()| boot_id(with_arguments(kernel(), "").ends_with(0)));
    assert_ne!(ids[0], ids[1]);
}

/// A key that is no secret is for test builds alone.
#[test]
fn the_shipped_kernel_knows_no_fixed_key() {
    let asked = "selftest=fixed-key";
    let fixed = boot_id(with_arguments(selftest_kernel(), asked).ends_with(0));
    assert_eq!(fixed, "0000000000000000");
    let drawn = boot_id(with_arguments(kernel(), asked).ends_with(0));
    assert_ne!(drawn, fixed);
}
