//! The emulator's control socket: QMP, of which few commands are used.
//!
//! Commands and answers are one JSON object to a line, and events come between them. What is read of answers
//! is whether they are one (`return`), a refusal (`error`) or an event, and one string.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long an emulator may take to make the socket, or to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the socket is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// No answer is longer.
const LONGEST: u64 = 1 << 20;

/// A connection to a running emulator.
#[derive(Debug)]
pub struct Qmp {
    from: BufReader<UnixStream>,
    to: UnixStream,
}

/// A core, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// Its program counter.
    pub pc: u64,
    /// Its processor state.
    pub pstate: u64,
}

impl Core {
    /// The exception level that it is at.
    pub fn level(self) -> u64 {
        self.pstate >> 2 & 3
    }
}

impl Qmp {
    /// Connects to the emulator that makes this socket.
    ///
    /// # Errors
    /// There is none after a while, or it speaks something else.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let until = Instant::now() + PATIENCE;
        let to = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => thread::sleep(LOOK),
                Err(error) => {
                    return Err(error).context("the emulator does not open its control socket");
                }
            }
        };
        to.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self {
            from: BufReader::new(to.try_clone()?),
            to,
        };
        let greeting = qmp.line()?;
        ensure!(greeting.contains("\"QMP\""), "no greeting: {greeting}");
        qmp.command("qmp_capabilities", "")?;
        Ok(qmp)
    }

    /// Stops all cores. When this returns they stand still.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.command("stop", "").map(drop)
    }

    /// Lets the cores go on.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        self.command("cont", "").map(drop)
    }

    /// The cores, by number.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn cores(&mut self) -> anyhow::Result<Vec<Core>> {
        let answer = self.monitor("info registers -a")?;
        let cores = cores(&answer);
        ensure!(!cores.is_empty(), "no registers in: {answer}");
        Ok(cores)
    }

    /// Gives the monitor a line, as a person would, and returns what it says.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn monitor(&mut self, line: &str) -> anyhow::Result<String> {
        let quoted = line.replace('\\', "\\\\").replace('"', "\\\"");
        let arguments = format!(",\"arguments\":{{\"command-line\":\"{quoted}\"}}");
        self.command("human-monitor-command", &arguments)
    }

    /// Gives a command, and waits for its answer.
    fn command(&mut self, name: &str, arguments: &str) -> anyhow::Result<String> {
        let sent = writeln!(self.to, "{{\"execute\":\"{name}\"{arguments}}}");
        sent.with_context(|| format!("the emulator has ended before {name}"))?;
        loop {
            let line = self
                .line()
                .with_context(|| format!("no answer to {name}"))?;
            if line.starts_with("{\"return\"") {
                return Ok(line);
            }
            if line.starts_with("{\"error\"") {
                bail!("{name} was refused: {line}");
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let from = (&mut self.from).take(LONGEST);
        let length = { from }.read_line(&mut line)?;
        ensure!(length > 0, "the control socket was closed");
        Ok(line)
    }
}

/// The cores in the registers' listing: for each, a line with `PC=` and, after it, one with `PSTATE=`. The text
/// is a JSON string still, which changes nothing of digits.
fn cores(listing: &str) -> Vec<Core> {
    let number = |part: &str| {
        let digits = part.find(|c: char| !c.is_ascii_hexdigit());
        u64::from_str_radix(&part[..digits.unwrap_or(part.len())], 16).ok()
    };
    let parts = listing.split(" PC=").skip(1);
    let cores = parts.map(|part| {
        let (_, state) = part.split_once("PSTATE=")?;
        Some(Core {
            pc: number(part)?,
            pstate: number(state)?,
        })
    });
    cores.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of QEMU 7.2; that of 10.0 is the same.
    const LISTING: &str = concat!(
        r#"{"return": "\r\nCPU#0\r\n PC=0000000000201e2c X00=0000000000000000\r\nPSTATE=60000000 -ZC- NS EL0t     FPCR=00000000\r\n\r\nCPU#1\r\n PC=ffffffffc000a504 X00=ffffffffffffffff\r\nPSTATE=600003c5 -ZC- NS EL1h     FPCR=00000000\r\n"}"#,
        "\r\n"
    );

    #[test]
    fn cores_are_read_from_the_listing() {
        let cores = cores(LISTING);
        assert_eq!(cores[0].pc, 0x20_1e2c);
        assert_eq!(cores[1].pc, 0xffff_ffff_c000_a504);
        assert_eq!(
            cores.iter().map(|core| core.level()).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(cores.len(), 2);
    }

    #[test]
    fn half_a_listing_is_none() {
        for listing in ["", " PC=", " PC=12", "PC=0 PSTATE=0", " PC=x PSTATE=0"] {
            assert_eq!(cores(listing), [], "{listing}");
        }
    }

    /// An emulator that answers each line that it gets with one of these.
    fn emulator(answers: &'static [&'static str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            let (mut to, _) = listener.accept().unwrap();
            let mut from = BufReader::new(to.try_clone().unwrap());
            for answer in answers {
                to.write_all(answer.as_bytes()).unwrap();
                from.read_line(&mut String::new()).unwrap();
            }
        });
        (dir, socket)
    }

    #[test]
    fn events_are_passed_over() {
        let (_dir, socket) = emulator(&[
            "{\"QMP\": {}}\r\n",
            "{\"return\": {}}\r\n",
            "{\"timestamp\": {}, \"event\": \"STOP\"}\r\n{\"return\": {}}\r\n",
            "{\"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n",
            LISTING,
        ]);
        let mut qmp = Qmp::connect(&socket).unwrap();
        qmp.stop().unwrap();
        qmp.go_on().unwrap();
        assert_eq!(qmp.cores().unwrap().len(), 2);
    }

    #[test]
    fn refusals_and_ends_are_told() {
        let (_dir, socket) = emulator(&[
            "{\"QMP\": {}}\r\n",
            "{\"return\": {}}\r\n",
            "{\"error\": {\"desc\": \"no\"}}\r\n",
        ]);
        let mut qmp = Qmp::connect(&socket).unwrap();
        let error = qmp.go_on().unwrap_err().to_string();
        assert!(error.contains("cont was refused"), "{error}");
        assert!(qmp.stop().is_err());
    }

    #[test]
    fn another_speaker_is_refused() {
        let (_dir, socket) = emulator(&["SSH-2.0-x\r\n"]);
        assert!(Qmp::connect(&socket).is_err());
    }
}
