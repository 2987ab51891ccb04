//! A debugger for tests: writes the memory of a machine that has not begun to run, and lets it go.
//!
//! It speaks as much of gdb's remote protocol as that takes, with the server in the emulator: packets
//! `$data#checksum`, each answered by `+` and a packet (GDB manual, appendix E).

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::session::Session;

/// A machine that is stopped before its first instruction.
pub struct Debugger(TcpStream);

impl Debugger {
    /// Adds to an `exo run` what makes its machine wait.
    pub fn waited_for(command: &mut Command) -> &mut Command {
        command.arg("--gdb")
    }

    /// Attaches to the machine of a session that waits.
    ///
    /// # Panics
    /// It does not listen.
    pub fn attach(session: &mut Session) -> Self {
        let port = session.told("target remote 127.0.0.1:");
        let address = (Ipv4Addr::LOCALHOST, port.trim().parse().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    let patience = Some(Duration::from_secs(30));
                    stream.set_read_timeout(patience).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return Self(stream);
                }
                Err(error) => assert!(Instant::now() < until, "the machine is not there: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads physical memory.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn read(&mut self, address: u64, length: usize) -> Vec<u8> {
        let hex = self.ask(&format!("m{address:x},{length:x}"));
        let bytes = hex.as_bytes().chunks(2);
        let byte = |digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
        bytes
            .map(|digits| byte(digits).expect("hex digits"))
            .collect()
    }

    /// Writes physical memory.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        /// What fits a packet of every version.
        const PIECE: usize = 512;
        for (piece, at) in bytes.chunks(PIECE).zip((address..).step_by(PIECE)) {
            let mut packet = format!("M{at:x},{:x}:", piece.len());
            for byte in piece {
                write!(packet, "{byte:02x}").unwrap();
            }
            assert_eq!(self.ask(&packet), "OK", "memory at {at:#x}");
        }
    }

    /// Detaches, with which the machine begins to run.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn let_go(mut self) {
        assert_eq!(self.ask("D"), "OK");
    }

    #[track_caller]
    fn ask(&mut self, request: &str) -> String {
        let sum = request.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${request}#{sum:02x}").unwrap();
        while self.byte() != b'$' {}
        let mut reply = String::new();
        loop {
            match self.byte() {
                b'#' => break,
                byte => reply.push(char::from(byte)),
            }
        }
        // The checksum: the line loses nothing.
        self.byte();
        self.byte();
        self.0.write_all(b"+").unwrap();
        reply
    }

    #[track_caller]
    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.read_exact(&mut byte).expect("the machine answers");
        byte[0]
    }
}
