//! `exo bench`: measures in guest instructions and compares with bars, peers and the stored run.
//!
//! The emulator counts instructions, so that two runs of one build give the same figures to the
//! last instruction; it is run twice, and a difference is a failure. A third run, of a kernel built
//! with feature `count`, gives event counts: that build's figures are never shown, since counting
//! costs instructions.
//!
//! Rows that need a network adapter are measured by the same program in a run of their own, so that no frame and no
//! look at a cable disturbs the others.
//!
//! What no program can measure, the kernel's self-tests do: what a frame costs the network driver alone, and what it
//! takes to find its filter. Their kernel is built and run apart, twice too, and its rows come after the others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::emulator::{self, Boot, Emulator, Output};
use crate::image::NamedProgram;
use crate::lines::Lines;
use crate::run::Bootable;
use crate::{interrupt, run, workspace};

pub mod collect;
pub mod table;

use collect::{Collector, Measured};
use table::{Stored, Table, Versions};

/// The program that measures.
const PROGRAM: &str = "bench";
/// The kernel's feature that counts events.
const COUNT: &str = "count";
/// The kernel's feature for self-tests, those that measure the network driver and classification, and a program that
/// ends their runs.
const SELFTEST: &str = "selftest";
const FRAMES: &str = "selftest=frames";
const FILTERS: &str = "selftest=filters";
/// What has the program measure the rows that need a network adapter.
const NETWORK: &str = "rows=network";
const LAST: &str = "minimal";

/// Measure the rows of the benchmark table in guest instructions.
///
/// Prints each row beside its bar, the stored run and the peers' figures, and leaves
/// target/bench/latest.tsv. Fails if a row misses its bar or is missing, or if two runs differ.
#[derive(clap::Args)]
pub struct Args {
    /// Keep this run in docs/benchmarks/results.tsv, to be committed, if nothing failed.
    #[arg(long)]
    store: bool,
    /// Fail only for rows whose names begin with this.
    #[arg(
        long,
        default_value = "",
        value_name = "PREFIX",
        hide_default_value = true
    )]
    judge: String,
    /// Seconds that each run may take.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
    /// Boot this image instead of making one.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Image whose kernel counts events; without it, --image gives no event counts.
    #[arg(long, value_name = "FILE", requires = "image")]
    count_image: Option<PathBuf>,
    /// Table of bars and peers [default: docs/benchmarks/bars.tsv].
    #[arg(long, value_name = "FILE")]
    bars: Option<PathBuf>,
    /// The stored run [default: docs/benchmarks/results.tsv].
    #[arg(long, value_name = "FILE")]
    stored: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// An image cannot be made, a run fails, or two runs differ.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let versions = Versions {
        emulator: emulator::version()?,
        toolchain: workspace::toolchain()?,
    };
    let docs = workspace::root()?.join("docs/benchmarks");
    let place = |given: &Option<PathBuf>, usual| given.clone().unwrap_or(docs.join(usual));
    let bars_at = place(&args.bars, "bars.tsv");
    let bars = table::parse_bars(&read(&bars_at)?)
        .with_context(|| format!("{} is not as it should be", bars_at.display()))?;
    let stored_at = place(&args.stored, "results.tsv");
    let stored = stored_at
        .is_file()
        .then(|| Stored::parse(&read(&stored_at)?))
        .transpose()
        .with_context(|| format!("{} is not as it should be", stored_at.display()))?;

    let timeout = Duration::from_secs(args.timeout);
    let images = Images::get(args)?;
    let mut measured = twice(&Guest::plain(&images.plain), timeout)?;
    if !images.given {
        let network = least_of_two(&Guest::with_cable(&images.plain, NETWORK)?, timeout);
        measured
            .rows
            .extend(network.context("rows that need an adapter")?.rows);
    }
    if let Some(image) = &images.selftest {
        let frames = twice(&Guest::with_cable(image, FRAMES)?, timeout);
        let frames = frames.context("the network driver")?;
        measured.rows.extend(frames.rows);
        let filters = Guest {
            append: Some(FILTERS.to_owned()),
            ..Guest::plain(image)
        };
        let filters = twice(&filters, timeout).context("packet filters")?;
        measured.rows.extend(filters.rows);
    }
    let counted = match &images.counting {
        Some(image) => once(&Guest::plain(image), timeout).context("the run that counts events"),
        None => Ok(Measured::default()),
    };
    let events = counted.as_ref().cloned().unwrap_or_default();
    let table = Table {
        bars: &bars,
        measured: &measured,
        events: &events,
        stored: stored.as_ref(),
        versions: &versions,
    };
    print!("{}", table.to_text());
    write(
        &workspace::target_dir()?.join("bench/latest.tsv"),
        &table.latest(),
    )?;
    let mut failures = table.failures(&args.judge);
    let complete = counted.is_ok();
    failures.extend(counted.err().map(|error| format!("{error:#}")));
    for failure in &failures {
        println!("FAIL  {failure}");
    }
    if args.store {
        anyhow::ensure!(complete, "not stored, since the events were not counted");
        write(&stored_at, &table.to_store())?;
        eprintln!("exo: stored in {}", stored_at.display());
    }
    println!(
        "{} rows, {} bars, {} failures",
        measured.rows.len(),
        bars.len(),
        failures.len()
    );
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What is booted.
struct Images {
    /// The build whose figures count.
    plain: Bootable,
    /// The one that counts events.
    counting: Option<Bootable>,
    /// The one that measures itself.
    selftest: Option<Bootable>,
    /// Whether they were made by somebody else, of whose program nothing is known.
    given: bool,
}

/// What is booted, and how.
struct Guest<'a> {
    bootable: &'a Bootable,
    append: Option<String>,
    /// Its network adapter, in the emulator's words.
    cable: Vec<OsString>,
}

impl<'a> Guest<'a> {
    fn plain(bootable: &'a Bootable) -> Self {
        Self {
            bootable,
            append: None,
            cable: Vec::new(),
        }
    }

    /// With a cable that leads back: what the adapter sends it receives.
    fn with_cable(bootable: &'a Bootable, append: &str) -> anyhow::Result<Self> {
        let port = run::free_port()?;
        let end = |name| format!("{name}.type=inet,{name}.host=127.0.0.1,{name}.port={port}");
        let back = format!("dgram,id=cable,{},{}", end("local"), end("remote"));
        let cable = ["-netdev", &back, "-device", "usb-net,netdev=cable"];
        Ok(Self {
            bootable,
            append: Some(append.to_owned()),
            cable: cable.map(OsString::from).to_vec(),
        })
    }
}

impl Images {
    fn get(args: &Args) -> anyhow::Result<Self> {
        if let Some(image) = &args.image {
            let existing = |path: &PathBuf| Bootable::existing(path, None, false);
            return Ok(Self {
                plain: existing(image)?,
                counting: args.count_image.as_ref().map(existing).transpose()?,
                selftest: None,
                given: true,
            });
        }
        let program = [NamedProgram::get(PROGRAM)?];
        let build = |features: &[String], programs: &[NamedProgram]| {
            Bootable::make(&workspace::build_kernel(features)?, programs)
        };
        let last = [NamedProgram::get(LAST)?];
        Ok(Self {
            plain: build(&[], &program)?,
            counting: Some(build(&[COUNT.to_owned()], &program)?),
            selftest: Some(build(&[SELFTEST.to_owned()], &last)?),
            given: false,
        })
    }
}

/// Boots twice, and gives what both runs agree on.
fn twice(guest: &Guest<'_>, timeout: Duration) -> anyhow::Result<Measured> {
    let measured = once(guest, timeout).context("the first run")?;
    let again = once(guest, timeout).context("the second run")?;
    let differences = measured.differences(&again);
    if !differences.is_empty() {
        bail!("two runs of one build differ: {}", differences.join("; "));
    }
    Ok(measured)
}

/// Boots twice, and gives the least of each row: when the adapter does its part is the host's affair.
fn least_of_two(guest: &Guest<'_>, timeout: Duration) -> anyhow::Result<Measured> {
    let measured = once(guest, timeout).context("the first run")?;
    let again = once(guest, timeout).context("the second run")?;
    Ok(measured.least(&again))
}

/// Boots once and collects what is printed.
fn once(guest: &Guest<'_>, timeout: Duration) -> anyhow::Result<Measured> {
    const LOOK: Duration = Duration::from_millis(500);
    let Guest {
        bootable,
        append,
        cable,
    } = guest;
    let boot = Boot {
        icount: true,
        append: append.clone(),
        extra: cable.clone(),
        ..Boot::new(&bootable.image)
    };
    let start = Instant::now();
    let mut emulator = Emulator::start(&boot)?;
    let mut lines = Lines::default();
    let mut collector = Collector::default();
    let mut console = Vec::new();
    let ended = loop {
        let found = match emulator.console().next(LOOK) {
            Output::Bytes(bytes) => lines.feed(&bytes),
            Output::Nothing => Vec::new(),
            Output::Closed => match emulator.wait(timeout.saturating_sub(start.elapsed())) {
                Some(status) if status.success() => break Ok(()),
                Some(status) => {
                    break Err(format!(
                        "the emulator ended with {}",
                        emulator::describe(status)
                    ));
                }
                None => break Err("the emulator did not end".to_owned()),
            },
        };
        for line in found {
            collector.line(&line);
            keep(&mut console, line.into_text());
        }
        if let Some(signal) = interrupt::signal() {
            bail!("interrupted by signal {signal}");
        }
        if start.elapsed() >= timeout {
            break Err(format!("not done after {} s", timeout.as_secs()));
        }
    };
    collector.finish(ended).map_err(|wrong| {
        for line in &console {
            eprintln!("      | {}", bootable.symbols.annotate(line.clone()));
        }
        anyhow::anyhow!("{}", wrong.join("; "))
    })
}

/// Keeps the last lines of the console, to be shown if something goes wrong.
fn keep(console: &mut Vec<String>, line: String) {
    const KEPT: usize = 60;
    if console.len() == KEPT {
        console.remove(0);
    }
    console.push(line);
}
