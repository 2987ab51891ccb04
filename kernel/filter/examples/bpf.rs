//! Prints what libpcap's compiler makes of each line of `tests/expressions.txt`, and of which frames of
//! `tests/frames` libpcap's interpreter says that it takes them (`tcpdump` must be there; it needs no rights for this):
//!
//! ```text
//! cargo run -p exopi-filter --example bpf > kernel/filter/tests/bpf.txt
//! ```

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Output};
use std::{env, fs, io, process};

#[path = "../tests/frames/mod.rs"]
mod frames;

/// Octets before the first packet of a capture, and before each.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Ethernet.
const LINK: u32 = 1;

fn main() -> ExitCode {
    println!("# Written by `cargo run -p exopi-filter --example bpf`: libpcap's program for each");
    println!(
        "# expression of expressions.txt: number of instructions, then code, jt, jf, k of each; then"
    );
    println!("# which of the frames of `frames` libpcap says that it takes, frame 0 in bit 0.");
    let capture = env::temp_dir().join(format!("bpf-{}.pcap", process::id()));
    let told = fs::write(&capture, written()).and_then(|()| tell(capture.as_os_str()));
    let removed = fs::remove_file(&capture);
    match told.and(removed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(capture: &OsStr) -> io::Result<()> {
    let lines = include_str!("../tests/expressions.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (ours, theirs) = line.split_once(" | ").unwrap_or((line, line));
        let compiled = tcpdump(&["-y", "EN10MB", "-ddd", theirs].map(OsStr::new))?;
        let told = String::from_utf8_lossy(&compiled.stderr).into_owned();
        if compiled.status.success() {
            print!("> {ours}\n{}", String::from_utf8_lossy(&compiled.stdout));
        } else if told.contains("expression rejects all packets") {
            // What can never be true it says, and compiles all the same or not at all.
            println!("> {ours}\n1\n6 0 0 0\n= 0");
            continue;
        } else {
            return Err(io::Error::other(format!("{theirs}: {told}")));
        }
        let [read, write] = ["-r", "-w"].map(OsStr::new);
        let run = tcpdump(&[read, capture, write, OsStr::new("-"), OsStr::new(theirs)])?;
        println!("= {:x}", taken(&run.stdout));
    }
    Ok(())
}

fn tcpdump(arguments: &[&OsStr]) -> io::Result<Output> {
    Command::new("tcpdump").args(arguments).output()
}

/// The frames as a capture: the number of each is its time in microseconds.
fn written() -> Vec<u8> {
    let words = |words: &[u32]| -> Vec<u8> {
        let words = words.iter().copied();
        words.flat_map(u32::to_le_bytes).collect()
    };
    // Version 2.4, by 16 bits each.
    let mut file = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 0xffff, LINK]);
    for (number, frame) in frames::all().iter().enumerate() {
        let length = frame.len() as u32;
        file.extend(words(&[0, number as u32, length, length]));
        file.extend(frame);
    }
    file
}

/// The numbers of the frames in a capture, as bits.
fn taken(file: &[u8]) -> u64 {
    let word = |at: usize| {
        let octets = file.get(at..).and_then(|rest| rest.first_chunk());
        octets.map(|octets| u32::from_le_bytes(*octets))
    };
    let (mut at, mut taken) = (FILE_HEADER, 0);
    while let Some((number, length)) = word(at + 4).zip(word(at + 8)) {
        taken |= 1 << (number % frames::COUNT as u32);
        at += PACKET_HEADER + length as usize;
    }
    taken
}
