//! `exo gdb`: the emulator, stopped before its first instruction, and a debugger at it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use object::Object;

use crate::emulator::{self, Boot, Emulator, Output};
use crate::image::{self, NamedProgram};
use crate::run::{Bootable, free_port};
use crate::{interrupt, workspace};

/// A debugger for other processors than the host's.
const DEBUGGER: &str = "gdb-multiarch";

/// Debug the kernel: start the emulator, stopped, and gdb with the kernel's symbols.
///
/// Without gdb-multiarch, prints the command that attaches one and waits.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel ELF file; built from this workspace if left out.
    #[arg(value_name = "KERNEL_ELF")]
    kernel: Option<PathBuf>,
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
    /// More arguments for gdb, after those of exo.
    #[arg(last = true, value_name = "ARGUMENTS")]
    debugger: Vec<OsString>,
}

/// Runs the subcommand.
///
/// # Errors
/// The image cannot be made, or the emulator or gdb cannot be run.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    emulator::binary()?;
    let kernel = match &args.kernel {
        Some(path) => path.clone(),
        None => workspace::build_kernel(&args.features)?,
    };
    let programs = args
        .programs
        .iter()
        .map(|program| NamedProgram::get(program))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bootable = Bootable::make(&kernel, &programs)?;
    let port = free_port()?;
    let debugger = emulator::find(OsStr::new(DEBUGGER));
    let mut emulator = Emulator::start(&Boot {
        append: args.append.clone(),
        gdb: Some(port),
        debugged: debugger.is_some(),
        ..Boot::new(&bootable.image)
    })?;
    let script = workspace::root()?.join("tools/exo/gdb/kernel.gdb");
    let mut arguments: Vec<OsString> = vec![
        "-q".into(),
        kernel.into(),
        "-ex".into(),
        format!("target remote 127.0.0.1:{port}").into(),
    ];
    if let Some(first) = programs.first() {
        arguments.extend(["-ex".into(), first_program(&first.path)?.into()]);
    }
    arguments.extend(["-x".into(), script.into()]);
    arguments.extend(args.debugger.iter().cloned());
    match debugger {
        Some(debugger) => debug(&mut emulator, Command::new(debugger).args(arguments)),
        None => wait(&mut emulator, &arguments),
    }
}

/// Tells gdb where the first program begins, for its command `el0`.
fn first_program(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let entry = object::File::parse(&*bytes)?.entry();
    Ok(format!("set $first_program = {entry:#x}"))
}

/// Runs the debugger on this terminal, and prints the console between its lines. Ctrl-C is for the
/// debugger, which stops the guest; other signals end both.
fn debug(emulator: &mut Emulator, debugger: &mut Command) -> anyhow::Result<ExitCode> {
    /// How often both are looked at.
    const LOOK: Duration = Duration::from_millis(50);
    let mut debugger = debugger.spawn().context("cannot run gdb")?;
    let status = loop {
        match emulator.console().next(LOOK) {
            Output::Bytes(bytes) => show(&bytes)?,
            Output::Nothing => {}
            // The guest has ended; the debugger may still be asked about it.
            Output::Closed => thread::sleep(LOOK),
        }
        if let Some(status) = debugger.try_wait()? {
            break status;
        }
        if let Some(signal) = interrupt::signal() {
            debugger.kill()?;
            debugger.wait()?;
            anyhow::bail!("interrupted by signal {signal}");
        }
    };
    Ok(emulator::code(status).into())
}

/// Says how to attach a debugger, and waits for the guest's end.
fn wait(emulator: &mut Emulator, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    const LOOK: Duration = Duration::from_millis(500);
    let words = arguments.iter().filter_map(|word| word.to_str());
    let line = shlex::try_join(words).context("a path cannot be quoted")?;
    eprintln!("exo: {DEBUGGER} is not there (Debian and Ubuntu: apt install {DEBUGGER}).");
    eprintln!("exo: the machine waits; attach a debugger by:\n  {DEBUGGER} {line}");
    loop {
        match emulator.console().next(LOOK) {
            Output::Bytes(bytes) => show(&bytes)?,
            Output::Nothing => {}
            Output::Closed => break,
        }
    }
    let status = emulator.wait(Duration::from_secs(5));
    if let Some(signal) = interrupt::signal() {
        anyhow::bail!("interrupted by signal {signal}");
    }
    let status = status.context("the emulator closed its console but did not end: killed")?;
    Ok(emulator::code(status).into())
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}
