//! Random sequences of calls, made by a program on the booted system and again on the simulated kernel: what both
//! tell of each step is the same.

use exopi_e2e::{Run, kernel};
use exopi_simkernel::replay::{difference, lines};

/// Sequences, from this seed on. `EXOPI_SEED` sets another one.
const FIRST: u64 = 1;
const SEEDS: u64 = 20;
/// Steps of each.
const STEPS: u64 = 300;

#[test]
fn the_simulated_kernel_answers_as_the_real_one() {
    let first = std::env::var("EXOPI_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let first: u64 = first.unwrap_or(FIRST);
    let arguments = format!("suite=replay replay={first} seeds={SEEDS} steps={STEPS}");
    let run = Run::from(Run::command().arg(kernel()).args([
        "--program",
        "exopi-target-suite",
        "--append",
        &arguments,
    ]));
    run.ends_with(0);
    let mut seen = 0;
    let mut printed = run.console.lines();
    while let Some(begin) = printed.by_ref().find(|line| line.starts_with("Q ")) {
        let numbers: Vec<u64> = begin
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [seed, steps, colours] = numbers[..] else {
            panic!("{begin}: {run}");
        };
        let sequence = printed.by_ref().take_while(|line| *line != "Q end");
        let real: Vec<String> = sequence.map(str::to_owned).collect();
        let simulated = lines(seed, steps, colours as u8).expect("the sequence is possible");
        if let Some(found) = difference(&simulated, &real) {
            panic!(
                "seed {seed}: simulated and real differ {found}\nto see it again: EXOPI_SEED={seed} \
                 cargo test -p exopi-e2e replay"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, SEEDS, "{run}");
}
