//! `exo test`: runs the suites of the target, in the emulator or on a board over a serial line.
//!
//! Judgement is the [`Runner`]'s; here it gets its lines and times from a real guest, and what it
//! finds goes to the terminal. After each suite the guest waits, and in the emulator [`Checker`] looks at
//! all of its memory meanwhile.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serial2::SerialPort;

use crate::check::Grant;
use crate::check::command::tell;
use crate::check::guest::{Checker, Share};
use crate::emulator::{self, Boot, Console, Emulator, Output};
use crate::image::NamedProgram;
use crate::interrupt;
use crate::lines::{Line, Lines};
use crate::run::Bootable;
use crate::runner::{Event, Limits, Link, Runner, Summary};
use crate::symbols::Symbols;
use crate::workspace;

/// The program that is booted when none is named.
const SUITE: &str = "exopi-target-suite";
/// How often a serial line is asked whether anything came.
const SERIAL_TICK: Duration = Duration::from_millis(100);

/// Run the suites of the target in the emulator, or follow a board over a serial line.
///
/// Ends with a line that counts what passed and failed, and with failure unless everything passed:
/// each case, the counts against the plan, the free pages before and after, the kernel without a
/// warning, and the emulator's exit status.
#[derive(clap::Args)]
pub struct Args {
    /// Only cases whose name contains this; the suite gets it as the boot argument case=.
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Follow a board on this serial line, instead of booting the emulator.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["image", "filter", "append"])]
    port: Option<PathBuf>,
    /// Speed of the serial line.
    #[arg(long, default_value_t = 115_200, value_name = "BAUD")]
    baud: u32,
    /// Seconds that a case may take; also the longest silence between cases, and before the plan, for
    /// which a board, that somebody must turn on, has three times as long.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    timeout: f64,
    /// Seconds that everything may take.
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    total: f64,
    /// Boot this image instead of making one.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The suite's program: a package of this workspace, which is built, or the path of an ELF file.
    #[arg(long, value_name = "NAME|ELF", default_value = SUITE)]
    program: String,
    /// Features to build the kernel with, besides the default ones.
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<String>,
    /// More boot arguments.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Count instructions, and let time be their number: for the suite `timed`, which is about moments.
    #[arg(long, conflicts_with = "port")]
    timed: bool,
    /// Do not check the kernel's invariants after each suite; nor is it done for an image that was made before.
    #[arg(long)]
    unchecked: bool,
    /// Tell all that checks find.
    #[arg(skip)]
    tell: bool,
    /// Where to save the memory in which something was found.
    #[arg(skip)]
    save: Option<PathBuf>,
}

impl Args {
    /// What `exo check` means: everything is told, and memory may be saved.
    pub(crate) fn checking(
        filter: Option<String>,
        features: Vec<String>,
        save: Option<PathBuf>,
    ) -> Self {
        Self {
            filter,
            port: None,
            baud: 0,
            timeout: Limits::default().case.as_secs_f64(),
            total: Limits::default().total.as_secs_f64(),
            image: None,
            program: SUITE.to_owned(),
            features,
            append: None,
            timed: false,
            unchecked: false,
            tell: true,
            save,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The image cannot be made, or there is no emulator or serial line. Failures of the suite are no
/// error, but a failing exit status.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let limits = Limits {
        case: seconds(args.timeout)?,
        total: seconds(args.total)?,
        ..Limits::default()
    };
    let out = &mut io::stdout();
    let summary = match &args.port {
        Some(port) => {
            let mut guest = serial(port, args.baud)?;
            follow(&mut guest, None, limits, &Symbols::default(), out)?
        }
        None => emulated(args, limits, out)?,
    };
    writeln!(out, "{summary}")?;
    Ok(ExitCode::from(u8::from(summary.failed() > 0)))
}

/// Boots the suite in the emulator and follows it.
fn emulated(args: &Args, limits: Limits, out: &mut dyn Write) -> anyhow::Result<Summary> {
    emulator::binary()?;
    let (bootable, kernel) = bootable(args)?;
    let mut boot = Boot {
        append: Some(boot_arguments(args)),
        extra: dirty_memory(),
        talk: true,
        icount: args.timed,
        ..Boot::new(&bootable.image)
    };
    let mut checks = None;
    if let Some(kernel) = kernel.filter(|_| !args.unchecked) {
        let share = Share::new()?;
        share.share(&mut boot);
        checks = Some(Checks {
            checker: Checker::new(share, &kernel)?,
            tell: args.tell,
            save: args.save.clone(),
        });
    }
    let mut guest = Guest::Emulator(Emulator::start(&boot)?);
    follow(&mut guest, checks.as_mut(), limits, &bootable.symbols, out)
}

fn seconds(given: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(given).with_context(|| format!("{given} is no number of seconds"))
}

/// A page of RAM that the emulator fills with something before it starts: the kernel must not show it to
/// anybody, and an emulator's memory is zeros otherwise. High up, where nothing is loaded.
const DIRTY_PAGE: u64 = 0x3_0000;

/// Puts something into [`DIRTY_PAGE`].
fn dirty_memory() -> Vec<OsString> {
    let last_word = DIRTY_PAGE * 4096 + 4088;
    let loader = format!("loader,addr={last_word:#x},data=0x1122334455667788,data-len=8");
    vec!["-device".into(), loader.into()]
}

/// Boot arguments for the suite: what to run, and which page is dirty.
fn boot_arguments(args: &Args) -> String {
    let filter = args.filter.as_ref().map(|filter| format!("case={filter}"));
    let timed = args.timed.then(|| "timed=1".to_owned());
    let words = filter.into_iter().chain(timed).chain(args.append.clone());
    let words: Vec<_> = words.chain([format!("dirty={DIRTY_PAGE}")]).collect();
    words.join(" ")
}

/// What to boot, and the kernel's ELF file if it is known.
fn bootable(args: &Args) -> anyhow::Result<(Bootable, Option<PathBuf>)> {
    if let Some(image) = &args.image {
        return Ok((Bootable::existing(image, None, false)?, None));
    }
    let kernel = workspace::build_kernel(&args.features)?;
    let bootable = Bootable::make(&kernel, &[NamedProgram::get(&args.program)?])?;
    Ok((bootable, Some(kernel)))
}

fn serial(port: &std::path::Path, baud: u32) -> anyhow::Result<Guest> {
    let mut line = SerialPort::open(port, baud)
        .with_context(|| format!("cannot open the serial line {}", port.display()))?;
    line.set_read_timeout(SERIAL_TICK)?;
    eprintln!(
        "exo: following {} at {baud} baud; start the board now",
        port.display()
    );
    let out = line.try_clone()?;
    Ok(Guest::Serial(Console::of(line), out))
}

/// What is followed.
#[derive(Debug)]
pub enum Guest {
    /// An emulator of ours.
    Emulator(Emulator),
    /// A board on a serial line.
    Serial(Console, SerialPort),
}

impl Guest {
    fn link(&self) -> Link {
        match self {
            Self::Emulator(_) => Link::Emulator,
            Self::Serial(..) => Link::Serial,
        }
    }

    fn console(&self) -> &Console {
        match self {
            Self::Emulator(emulator) => emulator.console(),
            Self::Serial(console, _) => console,
        }
    }

    /// Lets a guest go on that waits at a checkpoint. If it has ended meanwhile, that is told otherwise.
    fn answer(&mut self) {
        let _ = match self {
            Self::Emulator(emulator) => emulator.send(b"\n"),
            Self::Serial(_, line) => line.write_all(b"\n"),
        };
    }

    /// What comes when the console has closed, within this time.
    fn end(&mut self, timeout: Duration) -> Option<Event> {
        match self {
            Self::Serial(..) => Some(Event::Closed),
            Self::Emulator(emulator) => emulator.wait(timeout).map(|status| {
                Event::Exit(if status.success() {
                    Ok(())
                } else {
                    Err(emulator::describe(status))
                })
            }),
        }
    }
}

/// How a guest is looked at when it waits at a checkpoint.
#[derive(Debug)]
pub struct Checks {
    /// Looks at it.
    pub checker: Checker,
    /// Whether to tell all that was found, or only what is wrong.
    pub tell: bool,
    /// Where to save a memory in which something is wrong.
    pub save: Option<PathBuf>,
}

impl Checks {
    /// Looks at the guest, and returns what is wrong.
    fn after(&mut self, suite: &str, grants: &[Grant], out: &mut dyn Write) -> Vec<String> {
        let findings = match self.checker.check(grants, self.save.as_deref()) {
            Ok(findings) => findings,
            Err(error) => return vec![format!("it cannot be checked: {error:#}")],
        };
        let told = if self.tell {
            writeln!(out, "check {suite}").and_then(|()| tell(&findings, out))
        } else {
            let milliseconds = findings.time.as_secs_f64() * 1e3;
            writeln!(out, "check {suite}  ({milliseconds:.1} ms)")
        };
        let told = told.err().map(|error| format!("cannot be told: {error}"));
        findings.report.lines().into_iter().chain(told).collect()
    }
}

/// Follows a guest to its end, and tells what is found as it comes. The guest is ended by whoever
/// drops it.
///
/// # Errors
/// Findings cannot be written, or a signal came.
pub fn follow(
    guest: &mut Guest,
    mut checks: Option<&mut Checks>,
    limits: Limits,
    symbols: &Symbols,
    out: &mut dyn Write,
) -> anyhow::Result<Summary> {
    /// So that news are told soon, and signals noticed.
    const LONGEST_WAIT: Duration = Duration::from_millis(500);
    let start = Instant::now();
    let mut runner = Runner::new(limits, guest.link());
    if checks.is_some() {
        runner = runner.with_checks();
    }
    let mut lines = Lines::default();
    let mut open = true;
    while !runner.is_over() {
        let wait = runner.deadline().saturating_sub(start.elapsed());
        let wait = wait.min(LONGEST_WAIT);
        let mut events = Vec::new();
        if !open {
            events.extend(guest.end(wait));
        } else {
            match guest.console().next(wait) {
                Output::Bytes(bytes) => {
                    events.extend(lines.feed(&bytes).into_iter().map(Event::Line))
                }
                Output::Nothing => {}
                Output::Closed => {
                    open = false;
                    events.extend(lines.rest().map(Event::Line));
                }
            }
        }
        if let Some(signal) = interrupt::signal() {
            bail!("interrupted by signal {signal}");
        }
        for event in events {
            runner.feed(named(event, symbols), start.elapsed());
            if let Some(suite) = runner.checkpoint() {
                tell_news(&mut runner, out)?;
                let wrong = checks
                    .as_mut()
                    .map(|checks| checks.after(&suite, runner.grants(), out));
                runner.checked(&suite, wrong.unwrap_or_default(), start.elapsed());
                guest.answer();
            }
        }
        runner.tick(start.elapsed());
        tell_news(&mut runner, out)?;
    }
    Ok(runner.summary())
}

fn tell_news(runner: &mut Runner, out: &mut dyn Write) -> io::Result<()> {
    for finding in runner.news() {
        write!(out, "{finding}")?;
    }
    out.flush()
}

/// Adds names to lines of a backtrace.
fn named(event: Event, symbols: &Symbols) -> Event {
    match event {
        Event::Line(Line::Text(text)) => Event::Line(Line::Text(symbols.annotate(text))),
        other => other,
    }
}
