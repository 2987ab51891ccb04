//! Stages against commands that succeed, fail, lie, say nothing, and do not exist.

use super::*;

fn shell(script: &str, form: Form) -> Step {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Step {
        name: script.to_owned(),
        command,
        form,
    }
}

fn run_all(steps: Vec<Step>) -> Tally {
    run_steps("t", steps, &mut std::io::sink()).unwrap()
}

fn tally(passed: u64, failed: u64) -> Tally {
    Tally {
        passed,
        failed,
        skipped: 0,
    }
}

#[test]
fn the_steps_of_a_stage_add_up() {
    let steps = vec![
        shell("true", Form::Silent),
        shell("echo 2 passed, 0 failed", Form::Summary),
        shell("true", Form::Status),
        shell("false", Form::Status),
        shell("echo 4 passed, 1 failed; exit 1", Form::Summary),
    ];
    assert_eq!(run_all(steps), tally(7, 2));
}

#[test]
fn a_green_line_before_a_crash_is_not_green() {
    let steps = vec![shell("echo 9 passed, 0 failed; exit 1", Form::Summary)];
    assert_eq!(run_all(steps), tally(9, 1));
    let steps = vec![shell("echo 9 passed, 0 failed; kill -9 $$", Form::Summary)];
    assert_eq!(run_all(steps), tally(9, 1));
}

#[test]
fn a_stage_that_ran_nothing_has_failed() {
    assert_eq!(run_all(Vec::new()), tally(0, 1));
    for form in [Form::CargoTest, Form::Summary, Form::Silent] {
        assert_eq!(run_all(vec![shell("true", form)]), tally(0, 1));
    }
}

#[test]
fn a_command_that_is_missing_is_a_failure() {
    let mut step = shell("true", Form::Status);
    step.command = Command::new("no-such-command-of-exopi");
    assert_eq!(run_all(vec![step]), tally(0, 1));
}

#[test]
fn any_byte_may_stream_by() {
    let step = shell("printf '\\377\\000\\n1 passed, 0 failed'", Form::Summary);
    let mut out = Vec::new();
    assert_eq!(run_step(step, &mut out).unwrap(), tally(1, 0));
    assert_eq!(out, b"\xff\0\n1 passed, 0 failed");
}
