//! A running system that is talked to: its console, or the serial line that it is on, in both
//! directions.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use exo::emulator::{Console, Output};
use serial2::SerialPort;

use crate::{Run, Turn};

/// How long may pass until the guest says what it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to the guest.
enum Input {
    Pipe(ChildStdin),
    Line(SerialPort),
}

/// An `exo run` that goes on, and ends with this value at the latest.
pub struct Session {
    exo: Child,
    input: Input,
    console: Console,
    seen: Vec<u8>,
    errors: Console,
    said: Vec<u8>,
    _turn: Turn,
}

impl Session {
    /// Runs a command and talks over its standard input and output.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn start(command: &mut Command) -> Self {
        let turn = Turn::take();
        let mut exo = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("exo runs");
        let input = exo.stdin.take().expect("standard input is a pipe");
        let output = exo.stdout.take().expect("standard output is a pipe");
        let errors = exo.stderr.take().expect("standard error is a pipe");
        Self {
            exo,
            input: Input::Pipe(input),
            console: Console::of(output),
            seen: Vec::new(),
            errors: Console::of(errors),
            said: Vec::new(),
            _turn: turn,
        }
    }

    /// Runs a command that has its guest stopped and its serial line on a pseudo-terminal, and opens
    /// the terminal. [`crate::debugger`] lets the guest go.
    ///
    /// # Panics
    /// It cannot be run, or there is no terminal.
    pub fn on_terminal(command: &mut Command) -> Self {
        const BAUD: u32 = 115_200;
        let mut session = Self::start(command.args(["--serial", "pty"]));
        // The emulator names it: "char device redirected to /dev/pts/3 (label serial0)".
        let said = session.wait_for(" (label serial0)");
        let path = said.rsplit(' ').find(|word| word.starts_with("/dev/"));
        let line = SerialPort::open(path.expect("the terminal has a name"), BAUD);
        let mut line = line.expect("the terminal opens");
        line.set_read_timeout(Duration::from_millis(100)).unwrap();
        session.input = Input::Line(line.try_clone().unwrap());
        session.console = Console::of(line);
        session.seen.clear();
        session
    }

    /// Sends this to the guest.
    ///
    /// # Panics
    /// The emulator has ended.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.input {
            Input::Pipe(pipe) => pipe.write_all(bytes),
            Input::Line(line) => line.write_all(bytes),
        };
        sent.expect("the emulator listens");
    }

    /// Waits until the emulator has taken all that was sent, at most this long; returns how many bytes
    /// it has not.
    ///
    /// # Panics
    /// This session is on a terminal, of which that cannot be told.
    pub fn unread(&self, patience: Duration) -> u64 {
        let Input::Pipe(pipe) = &self.input else {
            panic!("a terminal does not tell what was taken");
        };
        let until = Instant::now() + patience;
        loop {
            let unread = rustix::io::ioctl_fionread(pipe);
            let unread = unread.expect("a pipe knows what it holds");
            if unread == 0 || Instant::now() >= until {
                return unread;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the guest has printed this; returns all that it has printed up to and with it, and
    /// was not returned before.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let text = text.as_bytes();
        let mut end = None;
        self.wait(|seen| {
            let at = seen.windows(text.len()).position(|bytes| bytes == text);
            end = at.map(|at| at + text.len());
            end.is_some()
        });
        let taken: Vec<u8> = self.seen.drain(..end.unwrap_or(0)).collect();
        String::from_utf8_lossy(&taken).into_owned()
    }

    /// Waits for so many bytes of the guest that were not returned before.
    ///
    /// # Panics
    /// They do not come.
    #[track_caller]
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        self.wait(|seen| seen.len() >= count);
        self.seen.drain(..count).collect()
    }

    /// What the guest prints in this time and was not returned before.
    pub fn listen(&mut self, time: Duration) -> Vec<u8> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Output::Bytes(bytes) = self.console.next(left) {
                self.seen.extend(bytes);
            }
        }
        std::mem::take(&mut self.seen)
    }

    #[track_caller]
    fn wait(&mut self, mut enough: impl FnMut(&[u8]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !enough(&self.seen) {
            let left = until.saturating_duration_since(Instant::now());
            match self.console.next(left) {
                Output::Bytes(bytes) => self.seen.extend(bytes),
                Output::Nothing | Output::Closed => {
                    let errors = self.errors();
                    let seen = String::from_utf8_lossy(&self.seen);
                    panic!("nothing more comes after:\n{seen}\n--- errors\n{errors}");
                }
            }
        }
    }

    /// What `exo` and the emulator have said themselves.
    pub fn errors(&mut self) -> String {
        while let Output::Bytes(bytes) = self.errors.next(Duration::from_millis(10)) {
            self.said.extend(bytes);
        }
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits until `exo` has said this, and returns the rest of the line.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn told(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let errors = self.errors();
            if let Some((_, rest)) = errors.split_once(text)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return line.to_owned();
            }
            assert!(Instant::now() < until, "{text:?} is not in:\n{errors}");
        }
    }

    /// Waits for the end; the run has what was not returned before.
    ///
    /// # Panics
    /// `exo` does not end: it has a time-out of its own.
    pub fn end(mut self) -> Run {
        let until = Instant::now() + PATIENCE + PATIENCE;
        while Instant::now() < until {
            match self.console.next(Duration::from_millis(100)) {
                Output::Bytes(bytes) => self.seen.extend(bytes),
                Output::Closed => break,
                Output::Nothing => {
                    if self
                        .exo
                        .try_wait()
                        .expect("exo can be waited for")
                        .is_some()
                    {
                        break;
                    }
                }
            }
        }
        let status = self.exo.wait().expect("exo can be waited for");
        Run {
            status: status.code(),
            console: String::from_utf8_lossy(&self.seen).into_owned(),
            errors: self.errors(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its emulator goes with it.
        let _ = self.exo.kill();
        let _ = self.exo.wait();
    }
}
