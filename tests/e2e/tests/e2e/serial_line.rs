//! The suites over a serial line, as with a board: the runner has the line open before the guest's power
//! is on, and the line stays when it is off. The guest is an emulator with the other end of the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use exopi_e2e::{Turn, exo, kernel, program};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Seconds that all suites may take, with room for a machine on which much else runs.
const SECONDS: &str = "300";

/// The board's end of a new serial line, and the other end's name.
fn line() -> (File, String) {
    let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let port = ptsname(&board, Vec::new()).unwrap().into_string().unwrap();
    (File::from(board), port)
}

#[test]
fn suites_pass_over_a_serial_line() {
    // Built and free to run before the runner waits.
    let (kernel, suites) = (kernel(), program("exopi-target-suite"));
    let _turn = Turn::take();
    let (board, port) = line();
    let mut runner = Command::new(exo())
        .args(["test", "--total", SECONDS, "--port", &port])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What it says once the line is open; only then what comes is not lost.
    let mut errors = BufReader::new(runner.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert_eq!(
        first,
        format!("exo: following {port} at 115200 baud; start the board now\n")
    );

    // Both directions: the runner answers at checkpoints.
    let guest = Command::new(exo())
        .args(["run", "--timeout", SECONDS])
        .arg(kernel)
        .arg("--program")
        .arg(suites)
        .stdin(board.try_clone().unwrap())
        .stdout(board.try_clone().unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let output = runner.wait_with_output().unwrap();
    drop(board);
    let found = String::from_utf8_lossy(&output.stdout);
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert!(guest.success(), "{guest}: {found}{said}");
    assert!(output.status.success(), "{found}{said}");
    let last = found.lines().last().unwrap_or_default();
    assert!(last.contains(" passed, 0 failed"), "{found}{said}");
}
