//! `exo pcap`: the capture that the program `tap` has shown on the console, as a file.
//!
//! ```text
//!   tap: begin
//!   tap: d4c3b2a1...       bytes, two digits each
//!   tap: end
//!   tap: 7 frames, 0 lost
//! ```

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};

/// What lines begin with.
const MARK: &str = "tap: ";

/// Write the capture that the program `tap` has shown on the console to a file that tcpdump and Wireshark read.
#[derive(clap::Args)]
pub struct Args {
    /// What the console has shown; standard input if left out.
    #[arg(value_name = "CONSOLE")]
    console: Option<PathBuf>,
    /// The file; standard output if left out.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// A file cannot be read or written, or the capture is not whole.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut console = Vec::new();
    match &args.console {
        Some(path) => {
            console =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        None => {
            io::stdin().read_to_end(&mut console)?;
        }
    }
    let capture = capture(&String::from_utf8_lossy(&console))?;
    match &args.output {
        Some(path) => std::fs::write(path, capture)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => io::stdout().write_all(&capture)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes of the last capture on a console. Other lines may be between its own.
///
/// # Errors
/// There is none, it has no end, or a line of it is damaged.
pub fn capture(console: &str) -> anyhow::Result<Vec<u8>> {
    let (mut found, mut open) = (None, false);
    for (number, line) in console.lines().enumerate() {
        let Some(text) = line.trim_end().strip_prefix(MARK) else {
            continue;
        };
        match text {
            "begin" => (found, open) = (Some(Vec::new()), true),
            "end" => open = false,
            "listening" => {}
            digits if open => {
                let bytes = bytes(digits).with_context(|| format!("line {}", number + 1))?;
                found.get_or_insert_default().extend(bytes);
            }
            // What it says of itself.
            _ => {}
        }
    }
    let found = found.context("no capture is there")?;
    ensure!(!open, "the capture has no end");
    Ok(found)
}

fn bytes(digits: &str) -> anyhow::Result<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    ensure!(rest.is_empty(), "half a byte");
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair)?;
        let digits = pair.iter().all(u8::is_ascii_hexdigit);
        ensure!(digits, "{text:?} is no byte");
        Ok(u8::from_str_radix(text, 16)?)
    };
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_bytes() {
        let console = "[0.1] board\ntap: begin\ntap: d4c3\ntap: listening\n[0.2] other\r\ntap: 00ff\r\n\
                       tap: end\ntap: 2 frames, 0 lost\n";
        assert_eq!(capture(console).unwrap(), [0xd4, 0xc3, 0, 0xff]);
        let twice = format!("{console}tap: begin\ntap: 01\ntap: end\n");
        assert_eq!(capture(&twice).unwrap(), [1]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (console, why) in [
            ("", "no capture"),
            ("tap: end\n", "no capture"),
            ("tap: begin\ntap: 00\n", "no end"),
            ("tap: begin\ntap: 0\ntap: end\n", "line 2"),
            ("tap: begin\n\ntap: 0g\ntap: end\n", "line 3"),
            ("tap: begin\ntap: +1\ntap: end\n", "no byte"),
            ("tap: begin\ntap: \u{e9}\ntap: end\n", "line 2"),
        ] {
            let told = format!("{:#}", capture(console).unwrap_err());
            assert!(told.contains(why), "{console:?}: {told}");
        }
    }
}
