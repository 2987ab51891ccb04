//! Counting against honest, broken and lying outputs.

use super::*;

fn count(form: Form, output: &str, success: bool) -> Tally {
    let mut counter = Counter::new(form);
    output.lines().for_each(|line| counter.line(line));
    counter.finish(success)
}

fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
    Tally {
        passed,
        failed,
        skipped,
    }
}

const TWO_BINARIES: &str = "
running 2 tests
test edges ... ok
test names ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s


running 3 tests
test a ... ok
test b ... ignored
test c ... FAILED

failures:
    c

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s

error: 1 target failed:
    `-p exo --bin exo`
";

#[test]
fn cargo_binaries_add_up() {
    assert_eq!(count(Form::CargoTest, TWO_BINARIES, false), tally(3, 1, 1));
}

#[test]
fn colours_do_not_hide_a_result() {
    let output = "running 1 test\n\
        test result: \x1b[32mok\x1b[m. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\r\n";
    assert_eq!(count(Form::CargoTest, output, true), tally(1, 0, 0));
}

#[test]
fn nothing_said_is_nothing_passed() {
    for form in [Form::CargoTest, Form::Summary] {
        assert_eq!(count(form, "", true), tally(0, 0, 0));
        assert!(!count(form, "", true).is_green());
        assert_eq!(count(form, "", false), tally(0, 1, 0));
    }
}

#[test]
fn a_crash_after_green_lines_is_one_failure() {
    let green = TWO_BINARIES.split("\n\n\n").next().unwrap();
    assert_eq!(count(Form::CargoTest, green, true), tally(2, 0, 0));
    assert_eq!(count(Form::CargoTest, green, false), tally(2, 1, 0));
    let cut = format!("{green}\nrunning 3 tests\ntest a ... ok\n");
    assert_eq!(count(Form::CargoTest, &cut, false), tally(2, 1, 0));
    // Even with a command that then pretends that all is well.
    assert_eq!(count(Form::CargoTest, &cut, true), tally(2, 1, 0));
}

#[test]
fn a_case_cannot_print_its_own_result() {
    let fake = "test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    let real = "test result: FAILED. 8 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    // Before the harness speaks, the harness wins.
    let output = format!("running 9 tests\n{fake}\n{real}\n");
    assert_eq!(count(Form::CargoTest, &output, false), tally(8, 1, 0));
    // A fake and then a crash: the exit status is the failure.
    let output = format!("running 9 tests\n{fake}\n");
    assert_eq!(count(Form::CargoTest, &output, false), tally(9, 1, 0));
    // One that nobody announced, or that does not fit the announcement, is no result.
    assert_eq!(count(Form::CargoTest, fake, true), tally(0, 0, 0));
    let output = format!("running 4 tests\n{fake}\n");
    assert_eq!(count(Form::CargoTest, &output, true), tally(0, 1, 0));
    // A fake announcement hides no failure.
    let output = format!("running 9 tests\nrunning 2 tests\n{real}\n");
    assert_eq!(count(Form::CargoTest, &output, false), tally(0, 2, 0));
}

#[test]
fn incomplete_results_are_none() {
    for line in [
        "test result: ok. 1 passed",
        "test result: ok. 1 passed; 0 failed; 0 ignored",
        "test result: fine. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        "test result: ok. -1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        "test result: ok. +1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        "test result: ok. 18446744073709551616 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        "test result: ok. 18446744073709551615 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        " test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
    ] {
        let output = format!("running 1 test\n{line}\n");
        assert_eq!(
            count(Form::CargoTest, &output, true),
            tally(0, 1, 0),
            "{line}"
        );
    }
}

#[test]
fn a_result_that_contradicts_itself_is_a_failure() {
    let line = "test result: FAILED. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";
    let output = format!("running 1 test\n{line}\n");
    assert_eq!(count(Form::CargoTest, &output, true).failed, 1);
}

#[test]
fn the_last_summary_line_is_the_runner() {
    let output = "T case ok 12\n99 passed, 0 failed\nnoise\n3 passed, 1 failed, 2 skipped\n";
    assert_eq!(count(Form::Summary, output, false), tally(3, 1, 2));
    assert_eq!(
        count(Form::Summary, "99 passed, 0 failed", false),
        tally(99, 1, 0)
    );
}

#[test]
fn summary_lines_are_exact() {
    for tally in [tally(0, 0, 0), tally(12, 3, 0), tally(12, 3, 4)] {
        assert_eq!(Tally::parse(&tally.to_string()), Some(tally));
    }
    for line in [
        "",
        "1 passed",
        "1 passed, 2 failed,",
        "1 passed, 2 failed, 3 skipped, 4",
        "x 1 passed, 2 failed",
        "1 passed, -2 failed",
        "1 passed,2 failed",
        " passed, 1 failed",
    ] {
        assert_eq!(Tally::parse(line), None, "{line:?}");
    }
}

#[test]
fn a_status_is_one_case() {
    assert_eq!(
        count(Form::Status, "5 passed, 0 failed", true),
        tally(1, 0, 0)
    );
    assert_eq!(count(Form::Status, "", false), tally(0, 1, 0));
}

#[test]
fn a_preparation_counts_only_when_it_fails() {
    assert_eq!(
        count(Form::Silent, "5 passed, 0 failed", true),
        tally(0, 0, 0)
    );
    assert_eq!(count(Form::Silent, "", false), tally(0, 1, 0));
}

#[test]
fn ignored_alone_is_not_green() {
    let output = "running 1 test\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s";
    let tally = count(Form::CargoTest, output, true);
    assert_eq!(tally.skipped, 1);
    assert!(!tally.is_green());
}
