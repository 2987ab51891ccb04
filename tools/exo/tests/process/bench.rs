//! `exo bench` as a process, with stand-ins that measure the same, differ, miss bars and fail.

use std::process::Output;

use crate::support::{Fake, text};

const BARS: &str = "row\tunit\tbar\tbeyond\tpeers\tmeasured\tsource of the peers' figures\n\
                    null_call\tinstructions\t45\t30\tseL4 91\tsvc\tsel4bench\n";

/// What came of a run, and the machine-readable copy that it left.
struct Run {
    output: Output,
    latest: Option<String>,
    stored: Option<String>,
}

impl Run {
    fn of(script: &str) -> Self {
        let version = "if [ \"$1\" = --version ]; then echo Fake 1.0; exit 0; fi";
        let fake = Fake::guest(&format!("{version}\ncd \"${{0%/*}}\"\n{script}"));
        let dir = fake.image.parent().unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("bars"), BARS).unwrap();
        let image = fake.image.to_str().unwrap();
        let output = fake
            .exo(&["bench", "--store", "--timeout", "2", "--image", image])
            .args(["--bars", &path("bars"), "--stored", &path("stored")])
            .args(["--count-image", image])
            .env("CARGO_TARGET_DIR", dir)
            .output()
            .unwrap();
        let read = |name| std::fs::read_to_string(dir.join(name)).ok();
        Self {
            output,
            latest: read("bench/latest.tsv"),
            stored: read("stored"),
        }
    }

    #[track_caller]
    fn fails(&self, told: &str) {
        let all = text(&self.output);
        assert_eq!(self.output.status.code(), Some(1), "{all}");
        assert!(all.contains(told), "{told:?} is not in:\n{all}");
    }
}

#[test]
fn rows_are_compared_with_bars_and_kept() {
    let run = Run::of("echo 'B null_call 41 instructions'; echo 'V null_call exceptions 1'");
    let all = text(&run.output);
    assert!(run.output.status.success(), "{all}");
    assert!(all.contains("Fake 1.0; rustc"), "{all}");
    assert!(all.contains("exceptions 1"), "{all}");
    let latest = run.latest.as_deref();
    assert_eq!(latest, Some("null_call\t41\tinstructions\t45\tpass\n"));
    let stored = run.stored.unwrap();
    assert!(stored.contains("# emulator: Fake 1.0\n"), "{stored}");
    assert!(
        stored.ends_with("null_call\t41\tinstructions\texceptions 1\n"),
        "{stored}"
    );
}

#[test]
fn figures_and_events_come_from_their_own_builds() {
    // The third run stands for the build that counts.
    let run = Run::of(
        "echo x >> runs; n=$(wc -l < runs)\n\
         if [ $n = 3 ]; then echo 'B null_call 99 instructions'; echo 'V null_call tlbi 2'\n\
         else echo 'B null_call 41 instructions'; echo 'V null_call tlbi 0'; fi",
    );
    let all = text(&run.output);
    assert!(run.output.status.success(), "{all}");
    assert!(
        all.contains("41") && all.contains("tlbi 2") && !all.contains("99"),
        "{all}"
    );
}

#[test]
fn failing_count_leaves_the_figures() {
    let run = Run::of(
        "echo x >> runs; n=$(wc -l < runs)\n\
         if [ $n = 3 ]; then exit 7; else echo 'B null_call 41 instructions'; fi",
    );
    run.fails("FAIL  the run that counts events: the emulator ended with status 7");
    let latest = run.latest.as_deref();
    assert_eq!(latest, Some("null_call\t41\tinstructions\t45\tpass\n"));
    assert_eq!(run.stored, None);
}

#[test]
fn missed_bar_fails() {
    let run = Run::of("echo 'B null_call 46 instructions'; echo 'B new 1 pages'");
    run.fails("FAIL  null_call is 46, its bar 45");
    assert_eq!(
        run.latest.as_deref(),
        Some("null_call\t46\tinstructions\t45\tfail\nnew\t1\tpages\t-\tnone\n")
    );
}

#[test]
fn missing_row_fails() {
    Run::of("echo 'B new 1 pages'").fails("FAIL  null_call has a bar but was not measured");
}

#[test]
fn runs_that_differ_fail() {
    let run = Run::of("echo x >> runs; echo \"B null_call $(wc -l < runs) instructions\"");
    run.fails("two runs of one build differ: null_call: 1, then 2");
    assert_eq!(run.latest, None);
}

#[test]
fn failing_run_fails() {
    let row = "echo 'B null_call 41 instructions'";
    Run::of(&format!("{row}; exit 5")).fails("the first run: the emulator ended with status 5");
    Run::of(&format!("{row}; exec sleep 60")).fails("not done after 2 s");
    Run::of(&format!("{row}; echo 'KERNEL PANIC on core 0: x'")).fails("KERNEL PANIC on core 0");
    Run::of("exit 0").fails("nothing was measured");
}
