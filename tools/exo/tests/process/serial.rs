//! `exo test --port` over a pseudo-terminal: the end line ends it, and so does a line that closes.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::support::{Fake, text};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The board's end of a serial line, and `exo test` at the other one.
struct Line {
    board: File,
    exo: Child,
    _fake: Fake,
}

impl Line {
    fn new() -> Self {
        let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&board).unwrap();
        unlockpt(&board).unwrap();
        let port = ptsname(&board, Vec::new()).unwrap().into_string().unwrap();
        // Held until exo has it open and set: what is written before would be echoed.
        let held = rustix::fs::open(
            &port,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap();
        let fake = Fake::guest("exit 1");
        let exo = fake
            .exo(&["test", "--port", &port, "--timeout", "2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let raw = || {
            let modes = rustix::termios::tcgetattr(&held).unwrap().local_modes;
            !modes.contains(rustix::termios::LocalModes::ECHO)
        };
        for _ in 0..500 {
            if raw() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(raw(), "exo did not open the serial line");
        Self {
            board: File::from(board),
            exo,
            _fake: fake,
        }
    }

    fn say(&mut self, text: &str) {
        self.board.write_all(text.as_bytes()).unwrap();
    }

    fn end(self) -> Output {
        drop(self.board);
        self.exo.wait_with_output().unwrap()
    }
}

#[test]
fn end_line_ends_it() {
    let mut line = Line::new();
    line.board.write_all(b"\xff\xfe\r\n").unwrap();
    line.say("P s 1 7\r\nR one\r\n");
    // A pause is no end.
    std::thread::sleep(Duration::from_millis(300));
    line.say("T one ok 5\r\nE s 1 0 0 7\r\n");
    let output = line.exo.wait_with_output().unwrap();
    let all = text(&output);
    assert!(output.status.success(), "{all}");
    assert!(all.contains("ok    one"), "{all}");
    assert!(all.contains("1 passed, 0 failed"), "{all}");
}

#[test]
fn board_at_a_checkpoint_is_answered() {
    let mut line = Line::new();
    line.say("P s 1 7\r\nR one\r\nT one ok 5\r\nC s\r\n");
    // Raw in this direction too: what arrives is what was sent.
    let mut answer = [0];
    line.board.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\n");
    line.say("E s 1 0 0 7\r\n");
    let output = line.exo.wait_with_output().unwrap();
    let all = text(&output);
    assert!(all.contains("1 passed, 0 failed"), "{all}");
}

#[test]
fn closed_line_is_told() {
    let mut line = Line::new();
    line.say("P s 1 7\r\nR one\r\n");
    std::thread::sleep(Duration::from_millis(300));
    let output = line.end();
    let all = text(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(
        all.contains("one: the serial line closed in the middle of the case"),
        "{all}"
    );
}

#[test]
fn silent_board_is_told() {
    let line = Line::new();
    let Line { board, exo, .. } = line;
    let output = exo.wait_with_output().unwrap();
    drop(board);
    let all = text(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(all.contains("FAIL  no plan line within 6 s"), "{all}");
}

#[test]
fn missing_line_is_told() {
    let fake = Fake::guest("exit 1");
    let output = fake
        .exo(&["test", "--port", "/dev/no-such-line"])
        .output()
        .unwrap();
    let all = text(&output);
    assert!(!output.status.success(), "{all}");
    assert!(
        all.contains("cannot open the serial line /dev/no-such-line"),
        "{all}"
    );
}
