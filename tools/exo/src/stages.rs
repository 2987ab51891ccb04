//! `exo stages`: runs test stages and adds up what passed and failed.
//!
//! A stage is a list of commands. Their output streams through unchanged, its result lines are counted
//! on the way ([`count`]), and the last line of all is the plain summary that scripts and people read.
//! Every command runs even when one before it failed: one run should tell everything.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::ValueEnum;

pub(crate) mod count;
mod plan;
pub(crate) mod workspace;

use count::{Counter, Form, Tally};

/// Which stages to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stages in the order in which they run; all of them when none is named.
    stages: Vec<Stage>,
    /// Run the target suite on the board at this serial line, and not in the emulator.
    #[arg(long, value_name = "DEVICE")]
    port: Option<PathBuf>,
}

/// A part of `make test` that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Tests of logic crates, tools and the house on this machine.
    Host,
    /// The suites that run at EL0, in the emulator or on a board.
    Target,
    /// The shipped image, booted and driven from outside.
    E2e,
    /// rustfmt, clippy and rustdoc, for each of the three targets.
    Lint,
}

/// One command of a stage.
pub(crate) struct Step {
    /// What is printed for it.
    pub(crate) name: String,
    /// What runs.
    pub(crate) command: Command,
    /// How its output is read.
    pub(crate) form: Form,
}

/// What became of a stage.
struct Outcome {
    pub(crate) name: String,
    tally: Tally,
    seconds: f32,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stages = match args.stages.as_slice() {
        [] => Stage::value_variants(),
        named => named,
    };
    // All of it is planned before anything runs: cargo may replace this program's file meanwhile, by one of the same
    // source, and then nothing says any more where that is.
    let port = args.port.as_deref();
    let plans = stages.iter().map(|stage| plan::steps(*stage, port));
    let plans = plans.collect::<anyhow::Result<Vec<_>>>()?;
    let mut outcomes = Vec::new();
    for (stage, steps) in stages.iter().zip(plans) {
        let outcome = run_stage(*stage, steps, &mut std::io::stdout())?;
        println!("{}\n", report(&outcome));
        outcomes.push(outcome);
    }
    let mut total = Tally::default();
    for outcome in &outcomes {
        println!("{}", report(outcome));
        total += outcome.tally;
    }
    println!("{total}");
    Ok(exit_code(total))
}

/// Success only when something passed and nothing failed.
pub(crate) fn exit_code(total: Tally) -> ExitCode {
    if total.is_green() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(outcome: &Outcome) -> String {
    let Outcome {
        name,
        tally,
        seconds,
    } = outcome;
    format!("stage {name}: {tally} ({seconds:.1} s)")
}

fn run_stage(stage: Stage, steps: Vec<Step>, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let name = stage
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    let start = Instant::now();
    let tally = run_steps(&name, steps, out)?;
    let seconds = start.elapsed().as_secs_f32();
    Ok(Outcome {
        name,
        tally,
        seconds,
    })
}

fn run_steps(stage: &str, steps: Vec<Step>, out: &mut dyn Write) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for step in steps {
        writeln!(out, "== {stage}: {}", step.name)?;
        let result = run_step(step, out)?;
        if result.failed > 0 {
            writeln!(out, "== {stage}: FAILED ({result})")?;
        }
        tally += result;
    }
    if tally.passed + tally.failed == 0 {
        writeln!(out, "== {stage}: FAILED (nothing ran)")?;
        tally += Tally::ONE_FAILED;
    }
    Ok(tally)
}

/// Runs a command, passes its output on line by line, and counts.
///
/// A command that cannot even start is one failure, as a crash is; an error is only that of `out`.
pub(crate) fn run_step(step: Step, out: &mut dyn Write) -> anyhow::Result<Tally> {
    let Step {
        mut command, form, ..
    } = step;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            writeln!(out, "cannot start {program}: {error}")?;
            return Ok(Tally::ONE_FAILED);
        }
    };
    let mut counter = Counter::new(form);
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        // A console may send any byte, so lines are bytes until they are looked at.
        while output.read_until(b'\n', &mut line)? > 0 {
            out.write_all(&line)?;
            counter.line(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait()?;
    if !status.success() {
        writeln!(out, "{program}: {status}")?;
    }
    Ok(counter.finish(status.success()))
}

#[cfg(test)]
mod tests;
