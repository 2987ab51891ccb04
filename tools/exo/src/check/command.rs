//! The subcommand: a file that was saved, or the suites with a check after each.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Findings, Kernel, Memory, check};
use crate::{test, workspace};

/// Check the kernel's invariants from outside: in a saved memory, or after each suite of the target.
///
/// Lists what is wrong, and who holds capabilities, and ends with failure if anything is wrong.
#[derive(clap::Args)]
pub struct Args {
    /// Only cases whose name contains this.
    #[arg(value_name = "FILTER", conflicts_with = "dump")]
    filter: Option<String>,
    /// Check this memory of a machine that stood still, in which nobody may hold any capability.
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// The ELF file of the kernel that was running; built from this workspace if left out.
    #[arg(long, value_name = "ELF", requires = "dump")]
    kernel: Option<PathBuf>,
    /// Features to build the kernel with, besides the default ones.
    #[arg(
        long,
        value_name = "FEATURES",
        value_delimiter = ',',
        conflicts_with = "kernel"
    )]
    features: Vec<String>,
    /// When something is wrong, save the memory there for --dump.
    #[arg(long, value_name = "FILE", conflicts_with = "dump")]
    save: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// The file cannot be read or is no memory, or the suites cannot be run. What is wrong in the memory is no
/// error, but a failing exit status.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(dump) = &args.dump else {
        return test::run(&test::Args::checking(
            args.filter.clone(),
            args.features.clone(),
            args.save.clone(),
        ));
    };
    let memory = Memory::open(dump)?;
    let kernel = match &args.kernel {
        Some(path) => path.clone(),
        None => workspace::build_kernel(&args.features)?,
    };
    let findings = check(&memory, &Kernel::open(&kernel)?, &[]);
    let out = &mut io::stdout();
    tell(&findings, out)?;
    writeln!(out, "violations: {}", findings.report.count())?;
    Ok(ExitCode::from(u8::from(!findings.report.is_clean())))
}

/// Writes down all of what was found.
///
/// # Errors
/// Those of the place that it is written to.
pub fn tell(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}", findings.report)?;
    if let Some(census) = &findings.census {
        write!(out, "{census}")?;
    }
    let milliseconds = findings.time.as_secs_f64() * 1e3;
    writeln!(
        out,
        "looked at {} frames in {milliseconds:.1} ms",
        findings.frames
    )
}
