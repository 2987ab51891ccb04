//! `exo run`: boots the kernel in the emulator, with its console on the terminal.
//!
//! This is also the runner behind `cargo boot`, which passes the kernel that cargo has just built.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::emulator::{self, Boot, Emulator, Output};
use crate::image::{self, NamedProgram};
use crate::symbols::{Namer, Symbols};
use crate::{interrupt, workspace};

/// Boot the kernel in the emulator. Ends with the guest's exit status.
///
/// QEMU= names the emulator, QEMU_EXTRA= holds more arguments for it, quoted as for a shell.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel ELF file; built from this workspace if left out.
    #[arg(value_name = "KERNEL_ELF")]
    kernel: Option<PathBuf>,
    /// Boot this image instead of making one; its kernel's symbols come from KERNEL_ELF, if given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["programs", "features"])]
    image: Option<PathBuf>,
    /// A program: a package of this workspace, which is built, or the path of an ELF file. Can be
    /// given several times; the first one becomes the first environment.
    #[arg(long = "program", value_name = "NAME|ELF", default_values = image::DEFAULT_PROGRAMS)]
    programs: Vec<String>,
    /// Features to build the kernel with, besides the default ones.
    #[arg(
        long,
        value_name = "FEATURES",
        value_delimiter = ',',
        conflicts_with = "kernel"
    )]
    features: Vec<String>,
    /// Boot arguments.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Count instructions: one is one nanosecond of virtual time, and runs are the same each time.
    #[arg(long)]
    icount: bool,
    /// Where the guest's serial line goes, in the emulator's words: pty makes a line that exo test
    /// --port or a terminal program can open, as that of a board.
    #[arg(long, value_name = "WHERE", default_value = "stdio")]
    serial: String,
    /// Wait for a debugger, and say how to attach it.
    #[arg(long)]
    gdb: bool,
    /// Boot the image even if it is damaged, to see what the kernel says to it.
    #[arg(long)]
    unchecked: bool,
    /// End the emulator after this many seconds, with status 124.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Exit status when the time is over, as of `timeout(1)`.
pub const TIMED_OUT: u8 = 124;

/// Something that can be booted, with names for its addresses.
#[derive(Debug)]
pub struct Bootable {
    /// The image file.
    pub image: PathBuf,
    /// Names of the kernel and of the first program.
    pub symbols: Symbols,
    /// Holds the image, if it was made here.
    _dir: Option<TempDir>,
}

impl Bootable {
    /// Makes an image for one run.
    ///
    /// # Errors
    /// A file cannot be read or does not fit into an image.
    pub fn make(kernel: &Path, programs: &[NamedProgram]) -> anyhow::Result<Self> {
        let bytes = image::make(kernel, programs)?;
        let dir = tempfile::Builder::new().prefix("exo-").tempdir()?;
        let image = dir.path().join("kernel8.img");
        std::fs::write(&image, bytes)
            .with_context(|| format!("cannot write {}", image.display()))?;
        let mut symbols = read_symbols(kernel)?;
        if let Some(first) = programs.first() {
            symbols.add_program(read_symbols(&first.path)?);
        }
        Ok(Self {
            image,
            symbols,
            _dir: Some(dir),
        })
    }

    /// Takes an image that is there already.
    ///
    /// # Errors
    /// It cannot be read, or it is damaged and `unchecked` is not set.
    pub fn existing(path: &Path, kernel: Option<&Path>, unchecked: bool) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !unchecked {
            image::check(&bytes).with_context(|| {
                format!(
                    "the boot image {} is damaged (exo image makes a new one)",
                    path.display()
                )
            })?;
        }
        Ok(Self {
            image: path.to_owned(),
            symbols: kernel.map(read_symbols).transpose()?.unwrap_or_default(),
            _dir: None,
        })
    }
}

fn read_symbols(path: &Path) -> anyhow::Result<Symbols> {
    let elf = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Symbols::of(&elf).with_context(|| path.display().to_string())
}

fn bootable(args: &Args) -> anyhow::Result<Bootable> {
    if let Some(image) = &args.image {
        return Bootable::existing(image, args.kernel.as_deref(), args.unchecked);
    }
    let kernel = match &args.kernel {
        Some(path) => path.clone(),
        None => workspace::build_kernel(&args.features)?,
    };
    let programs = args
        .programs
        .iter()
        .map(|program| NamedProgram::get(program))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Bootable::make(&kernel, &programs)
}

/// Runs the subcommand.
///
/// # Errors
/// The image cannot be made or is damaged, or the emulator cannot be run.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    emulator::binary()?;
    let bootable = bootable(args)?;
    let boot = Boot {
        append: args.append.clone(),
        icount: args.icount,
        gdb: args.gdb.then(free_port).transpose()?,
        stdin: true,
        serial: Some(args.serial.clone()),
        ..Boot::new(&bootable.image)
    };
    if let Some(port) = boot.gdb {
        eprintln!("exo: waiting for gdb; attach with: target remote 127.0.0.1:{port}");
    }
    let emulator = Emulator::start(&boot)?;
    let timeout = args.timeout.map(Duration::from_secs);
    watch(emulator, bootable.symbols, timeout)
}

/// A port that nobody listens on.
///
/// # Errors
/// There is no loopback interface.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Copies the console to standard output until the emulator ends.
fn watch(
    mut emulator: Emulator,
    symbols: Symbols,
    timeout: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    const LOOK: Duration = Duration::from_millis(500);
    let start = std::time::Instant::now();
    let mut namer = Namer::new(symbols, io::stdout());
    loop {
        match emulator.console().next(LOOK) {
            Output::Bytes(bytes) => namer.copy(&bytes).context("cannot write the console")?,
            Output::Nothing => {}
            Output::Closed => break,
        }
        if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
            emulator.kill();
            namer.finish()?.flush()?;
            eprintln!("exo: ended the emulator: its time is over");
            return Ok(TIMED_OUT.into());
        }
    }
    namer.finish()?.flush()?;
    let status = emulator.wait(Duration::from_secs(5));
    if let Some(signal) = interrupt::signal() {
        bail!("interrupted by signal {signal}");
    }
    let status = status.context("the emulator closed its console but did not end: killed")?;
    Ok(emulator::code(status).into())
}
