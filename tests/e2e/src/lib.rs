//! A booted system seen from outside: what the tests share to build it, boot it and read it.
//!
//! Everything goes through the `exo` command as a user would call it, so that it is tested too. Each
//! run is bounded in time by `exo` itself, which ends its emulator. A missing emulator is a failure
//! with `exo`'s own message.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use exo::image::NamedProgram;
use exo::workspace;

pub mod debugger;
pub mod session;
pub mod tree;

/// Seconds that a run may take, with room for a machine on which much else runs.
const SECONDS: &str = "60";

/// The `exo` command, built.
///
/// # Panics
/// It cannot be built.
pub fn exo() -> &'static Path {
    static EXO: OnceLock<PathBuf> = OnceLock::new();
    EXO.get_or_init(|| workspace::build_tool("exo").expect("exo builds"))
}

/// The kernel as it is shipped, built.
///
/// # Panics
/// It cannot be built.
pub fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| workspace::build_kernel(&[]).expect("the kernel builds"))
}

/// The kernel that provokes its own failures, built.
///
/// # Panics
/// It cannot be built.
pub fn selftest_kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    let features = ["selftest".to_owned()];
    KERNEL.get_or_init(|| workspace::build_kernel(&features).expect("the kernel builds"))
}

/// The program `minimal`, built.
///
/// # Panics
/// It cannot be built.
pub fn minimal() -> NamedProgram {
    static MINIMAL: OnceLock<NamedProgram> = OnceLock::new();
    MINIMAL
        .get_or_init(|| NamedProgram::get("minimal").expect("minimal builds"))
        .clone()
}

/// A program of this workspace, built.
///
/// # Panics
/// It cannot be built.
pub fn program(package: &str) -> PathBuf {
    workspace::build_program(package, &[]).expect("the program builds")
}

/// The right to run an emulator. One at a time has it: each emulator has four cores, and time-outs are
/// meant for one.
pub struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Turn {
    /// Waits for the right.
    pub fn take() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        Self(ONE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a command, standard input empty.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn run(&self, command: &mut Command) -> Run {
        let output = command.stdin(Stdio::null()).output();
        let Output {
            status,
            stdout,
            stderr,
        } = output.expect("exo runs");
        Run {
            status: status.code(),
            console: String::from_utf8_lossy(&stdout).into_owned(),
            errors: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub struct Run {
    /// Exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// What the guest printed, with `exo`'s names in backtraces.
    pub console: String,
    /// What `exo` and the emulator said themselves.
    pub errors: String,
}

impl Run {
    /// `exo run` with these arguments, standard input empty.
    ///
    /// # Panics
    /// `exo` cannot be run.
    pub fn of<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::from(Self::command().args(arguments))
    }

    /// `exo run`, to be given arguments.
    pub fn command() -> Command {
        let mut command = Command::new(exo());
        command.args(["run", "--timeout", SECONDS]);
        command
    }

    /// `exo run` of the shipped kernel with the smallest program, to be given more arguments.
    ///
    /// # Panics
    /// The kernel cannot be built.
    pub fn of_minimal() -> Command {
        let mut command = Self::command();
        command.arg(kernel()).args(["--program", "minimal"]);
        command
    }

    /// Runs a command when it is its turn, standard input empty.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn from(command: &mut Command) -> Self {
        Turn::take().run(command)
    }

    /// Checks the exit status.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn ends_with(&self, status: u64) -> &Self {
        assert_eq!(self.status, Some(status as i32), "{self}");
        self
    }

    /// Checks that the guest printed this.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        assert!(self.console.contains(text), "{text:?} is not in:\n{self}");
        self
    }

    /// Checks that the guest did not print this.
    ///
    /// # Panics
    /// It did.
    #[track_caller]
    pub fn never_prints(&self, text: &str) -> &Self {
        assert!(!self.console.contains(text), "{text:?} is in:\n{self}");
        self
    }

    /// Checks that `exo` said this.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.errors.contains(text), "{text:?} is not in:\n{self}");
        self
    }

    /// The lines of the guest that begin so.
    pub fn lines_from<'a>(&'a self, begin: &'a str) -> impl Iterator<Item = &'a str> {
        self.console
            .lines()
            .filter(move |line| line.starts_with(begin))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            status,
            console,
            errors,
        } = self;
        write!(
            f,
            "status {status:?}\n--- console\n{console}\n--- errors\n{errors}"
        )
    }
}
