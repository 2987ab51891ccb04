//! The emulator: how it is called, and a running one, which never outlives its handle.
//!
//! It is ended by [`Emulator::kill`] or on drop, by a signal to this command (see
//! [`crate::interrupt`]), and, should this command be killed outright, by the system: it is started
//! through `setpriv --pdeathsig`, a part of every Debian, since setting that signal from here would
//! need unsafe code between fork and exec.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;

const DEFAULT: &str = "qemu-system-aarch64";
/// The emulated board.
pub const MACHINE: &str = "raspi3b";
/// Bytes of RAM that it has, the video core's share included.
pub const RAM: u64 = 1 << 30;

/// Most bytes of the console in one piece, and pieces that wait to be read: what is held of a guest
/// that prints without end.
const PIECE: usize = 4096;
const PIECES: usize = 64;
/// How long an emulator may take to end once it is asked to.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a process that should be about to end is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How to boot.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// The boot image.
    pub image: PathBuf,
    /// Boot arguments, as the firmware would pass them.
    pub append: Option<String>,
    /// Counts instructions: one is one nanosecond of virtual time.
    pub icount: bool,
    /// Port of the debug server, on the loopback address. The machine then waits for the debugger.
    pub gdb: Option<u16>,
    /// The guest's console reads this command's standard input.
    pub stdin: bool,
    /// [`Emulator::send`] has the guest's console for its own; `stdin` counts no more.
    pub talk: bool,
    /// The guest's RAM is this file, of [`RAM`] bytes: whoever reads it sees what the guest sees.
    pub memory: Option<PathBuf>,
    /// Where the emulator makes its control socket, which speaks QMP.
    pub control: Option<PathBuf>,
    /// A Ctrl-C on the terminal is not for the emulator but for a debugger.
    pub debugged: bool,
    /// Where the guest's serial line goes, in the emulator's words (`pty`, `tcp:...`); if nothing is
    /// said, to this command.
    pub serial: Option<String>,
    /// More arguments for the emulator, before those of `QEMU_EXTRA`.
    pub extra: Vec<OsString>,
}

impl Boot {
    /// Boots this image, with nothing else said.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            ..Self::default()
        }
    }

    /// The board, and the memory that it has instead of its own.
    fn machine(&self) -> Vec<OsString> {
        let Some(memory) = &self.memory else {
            return vec!["-M".into(), MACHINE.into()];
        };
        let machine = format!("{MACHINE},memory-backend=ram");
        let backend = format!("memory-backend-file,id=ram,size={RAM},share=on,mem-path=");
        vec![
            "-M".into(),
            machine.into(),
            "-object".into(),
            option(&backend, memory, ""),
        ]
    }

    /// The emulator's arguments.
    ///
    /// # Errors
    /// `QEMU_EXTRA` ends within quotes.
    pub fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = self.machine();
        arguments.extend(
            ["-display", "none", "-monitor", "none"]
                .into_iter()
                .chain(["-semihosting-config", "enable=on,target=native"])
                .chain(["-serial", self.serial.as_deref().unwrap_or("stdio")])
                .chain(["-no-reboot", "-kernel"])
                .map(OsString::from),
        );
        arguments.push(self.image.clone().into());
        if let Some(control) = &self.control {
            arguments.extend([
                "-qmp".into(),
                option("unix:", control, ",server=on,wait=off"),
            ]);
        }
        if let Some(append) = &self.append {
            arguments.extend(["-append".into(), append.into()]);
        }
        if self.icount {
            arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
        }
        if let Some(port) = self.gdb {
            let server = format!("tcp:127.0.0.1:{port}");
            arguments.extend(["-gdb".into(), server.into(), "-S".into()]);
        }
        arguments.extend(self.extra.iter().cloned());
        let extra = env::var("QEMU_EXTRA").unwrap_or_default();
        let extra = shlex::split(&extra)
            .with_context(|| format!("QEMU_EXTRA has a quote that is not closed: {extra}"))?;
        arguments.extend(extra.into_iter().map(OsString::from));
        Ok(arguments)
    }
}

/// An option's value with a path in it. A comma would begin the next part, and is doubled.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    let mut value = before.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        value.extend(if *byte == b',' {
            &b",,"[..]
        } else {
            std::slice::from_ref(byte)
        });
    }
    value.extend(after.as_bytes());
    OsString::from_vec(value)
}

/// The emulator's binary: `QEMU`, or else the usual one.
///
/// # Errors
/// It is not there.
pub fn binary() -> anyhow::Result<PathBuf> {
    let wanted = env::var_os("QEMU").filter(|name| !name.is_empty());
    let wanted = wanted.unwrap_or(DEFAULT.into());
    find(&wanted).with_context(|| {
        format!(
            "the emulator {} is not there: install it (Debian and Ubuntu: apt install \
             qemu-system-arm) or set QEMU= to its path",
            wanted.display()
        )
    })
}

/// The emulator's version, as it says it.
///
/// # Errors
/// It is not there or does not run.
pub fn version() -> anyhow::Result<String> {
    let binary = binary()?;
    let output = Command::new(&binary).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}

/// Where in PATH a program lies.
pub(crate) fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(path))
        .find(|path| path.is_file())
}

/// What came of waiting for the console.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing came in that time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// Pieces of the console, in order.
#[derive(Debug)]
pub struct Console(Receiver<Vec<u8>>);

impl Console {
    /// Reads `from` in a thread of its own until it ends or fails, and holds no more than a fixed
    /// number of pieces that nobody has taken.
    pub fn of(mut from: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(PIECES);
        thread::spawn(move || pump(&mut from, &sender));
        Self(receiver)
    }

    /// Waits for the next piece, at most this long.
    pub fn next(&self, timeout: Duration) -> Output {
        match self.0.recv_timeout(timeout) {
            Ok(bytes) => Output::Bytes(bytes),
            Err(RecvTimeoutError::Timeout) => Output::Nothing,
            Err(RecvTimeoutError::Disconnected) => Output::Closed,
        }
    }
}

fn pump(from: &mut impl Read, to: &SyncSender<Vec<u8>>) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                if to.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if is_passing(error.kind()) => {}
            Err(_) => return,
        }
    }
}

/// A serial line that was silent for its time-out is no end of it.
fn is_passing(error: io::ErrorKind) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error, Interrupted | TimedOut | WouldBlock)
}

/// A running emulator. Starts and stays in one thread: the system ends it with that thread.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    input: Option<ChildStdin>,
    console: Console,
    ended: Option<ExitStatus>,
}

impl Emulator {
    /// Boots.
    ///
    /// # Errors
    /// The emulator is not there or cannot be run.
    pub fn start(boot: &Boot) -> anyhow::Result<Self> {
        interrupt::watch();
        let binary = binary()?;
        let mut command = match find(OsStr::new("setpriv")) {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        command.args(boot.arguments()?).stdout(Stdio::piped());
        command.stdin(match (boot.talk, boot.stdin) {
            (true, _) => Stdio::piped(),
            (false, true) => Stdio::inherit(),
            (false, false) => Stdio::null(),
        });
        if boot.debugged {
            interrupt::leave_to_debugger();
            command.process_group(0);
        }
        let mut running = interrupt::running();
        if let Some(signal) = interrupt::signal() {
            bail!("interrupted by signal {signal}");
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        running.push(Pid::from_child(&child));
        drop(running);
        let output = child.stdout.take().context("the console is a pipe")?;
        Ok(Self {
            input: child.stdin.take(),
            child,
            console: Console::of(output),
            ended: None,
        })
    }

    /// What the guest prints.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Sends bytes to the guest's console, if [`Boot::talk`] was set.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.input {
            Some(input) => input.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // Held, so that a signal is sent to a process of ours or to none.
            let mut running = interrupt::running();
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                let own = Pid::from_child(&self.child);
                running.retain(|pid| *pid != own);
            }
        }
        self.ended
    }

    /// Waits for its end, at most this long.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= until {
                return ended;
            }
            thread::sleep(LOOK);
        }
    }

    /// Ends it: politely, so that it restores the terminal, and then for certain.
    pub fn kill(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // Not waited for yet, so the id is still its own.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if self.wait(PATIENCE).is_none() {
            let _ = self.child.kill();
            self.wait(PATIENCE);
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An exit status as one byte, as a shell gives it.
pub fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    code.try_into().unwrap_or(1)
}

/// An exit status in words.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_the_board_and_the_image() {
        let boot = Boot {
            append: Some("a b".to_owned()),
            icount: true,
            gdb: Some(1234),
            serial: Some("pty".to_owned()),
            ..Boot::new("some.img")
        };
        let arguments = boot.arguments().unwrap();
        let follows = |option: &str| {
            let at = arguments.iter().position(|argument| argument == option)?;
            arguments.get(at + 1)?.to_str()
        };
        assert_eq!(follows("-M"), Some("raspi3b"));
        assert_eq!(follows("-object"), None);
        assert_eq!(follows("-qmp"), None);
        assert_eq!(follows("-kernel"), Some("some.img"));
        assert_eq!(follows("-append"), Some("a b"));
        assert_eq!(follows("-serial"), Some("pty"));
        assert_eq!(follows("-icount"), Some("shift=0,sleep=off"));
        assert_eq!(follows("-gdb"), Some("tcp:127.0.0.1:1234"));
    }

    #[test]
    fn memory_and_control_are_files() {
        let boot = Boot {
            memory: Some("a,b/memory".into()),
            control: Some("a/control".into()),
            ..Boot::new("some.img")
        };
        let arguments = boot.arguments().unwrap();
        for expected in [
            "raspi3b,memory-backend=ram",
            "memory-backend-file,id=ram,size=1073741824,share=on,mem-path=a,,b/memory",
            "unix:a/control,server=on,wait=off",
        ] {
            assert!(arguments.iter().any(|one| one == expected), "{arguments:?}");
        }
    }

    #[test]
    fn console_ends_with_its_source() {
        let console = Console::of(&b"hello"[..]);
        let second = Duration::from_secs(1);
        assert_eq!(console.next(second), Output::Bytes(b"hello".to_vec()));
        assert_eq!(console.next(second), Output::Closed);
    }
}
