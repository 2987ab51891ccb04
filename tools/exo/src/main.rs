//! `exo`: the one host command of Exopi.
//!
//! Every make target that is more than a cargo call is a subcommand here, so that what runs on a
//! laptop, in CI and against a board is the same code. One module for each subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use exo::card::commands as card;
use exo::{bench, calls, check, gdb, image, pcap, run, sizes, test};

mod emulators;
mod stages;

/// Host command of Exopi: images, emulator runs, tests, benchmarks.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Image(image::Args),
    Ls(card::Ls),
    Cat(card::Cat),
    Cp(card::Cp),
    Run(run::Args),
    Test(test::Args),
    Check(check::Args),
    Bench(bench::Args),
    Sizes(sizes::Args),
    Calls(calls::Args),
    Gdb(gdb::Args),
    Pcap(pcap::Args),
    /// Run test stages and print one summary line of what passed and failed.
    Stages(stages::Args),
    /// Run the target suite on each emulator version that we promise to work on.
    Emulators(emulators::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Image(args) => image::run(&args),
        Command::Ls(args) => card::ls(&args),
        Command::Cat(args) => card::cat(&args),
        Command::Cp(args) => card::cp(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Sizes(args) => sizes::run(&args),
        Command::Calls(args) => calls::run(&args),
        Command::Gdb(args) => gdb::run(&args),
        Command::Pcap(args) => pcap::run(&args),
        Command::Stages(args) => stages::run(&args),
        Command::Emulators(args) => emulators::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("exo: {error:#}");
        ExitCode::FAILURE
    })
}
