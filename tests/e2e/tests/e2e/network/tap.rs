//! What a tap shows, read by tcpdump.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use exo::pcap;
use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel};

use super::{Cable, LEAST, MOST, frame, number_before};

/// What tcpdump reads in a file: its packets' bytes.
fn packets(file: &Path) -> Vec<Vec<u8>> {
    let mut command = Command::new("tcpdump");
    command.args(["-nn", "-t", "-xx", "-r"]).arg(file);
    let output = command.output().expect("tcpdump is there");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        let digits = line.trim_start().strip_prefix("0x");
        match digits.and_then(|line| line.split_once(":  ")) {
            // A packet's first line tells what it is.
            None => packets.push(Vec::new()),
            Some((_, digits)) => {
                let digits: Vec<char> = digits.chars().filter(char::is_ascii_hexdigit).collect();
                let byte = |pair: &[char]| {
                    let text: String = pair.iter().collect();
                    u8::from_str_radix(&text, 16).unwrap()
                };
                packets
                    .last_mut()
                    .unwrap()
                    .extend(digits.chunks(2).map(byte));
            }
        }
    }
    packets
}

/// Has so many frames captured; their console.
fn tapped(frames: &[Vec<u8>], arguments: &str) -> String {
    let (cable, net) = Cable::new();
    let extra = env::var("QEMU_EXTRA").unwrap_or_default();
    let mut command = Run::command();
    command
        .arg(kernel())
        .args(["--program", "tap", "--append", arguments])
        .env("QEMU_EXTRA", format!("{extra} {net}"));
    let mut session = Session::start(&mut command);
    let begin = session.wait_for("tap: listening");
    for frame in frames {
        cable.send(frame);
    }
    let run = session.end();
    run.ends_with(0);
    begin + &run.console
}

#[test]
fn a_tap_shows_what_tcpdump_reads() {
    const COUNT: usize = 40;
    let numbered = |number| frame(LEAST + number * (MOST - LEAST) / (COUNT - 1), number);
    let sent: Vec<Vec<u8>> = (0..COUNT).map(numbered).collect();
    assert_eq!((sent[0].len(), sent[COUNT - 1].len()), (LEAST, MOST));
    let console = tapped(&sent, &format!("frames={COUNT}"));
    assert_eq!(number_before(&console, " frames, "), COUNT as u64);
    assert_eq!(number_before(&console, " lost"), 0);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tap.pcap");
    fs::write(&file, pcap::capture(&console).unwrap()).unwrap();
    let read = packets(&file);
    assert_eq!(read.len(), COUNT);
    for (number, (read, sent)) in read.iter().zip(&sent).enumerate() {
        assert!(read == sent, "packet {number}: {read:02x?}");
    }
    // And in part: what is told of their length stays.
    let console = tapped(&sent[20..], "frames=20 bytes=60");
    let capture = pcap::capture(&console).unwrap();
    fs::write(&file, &capture).unwrap();
    let read = packets(&file);
    assert_eq!(read.len(), 20);
    for (read, sent) in read.iter().zip(&sent[20..]) {
        assert_eq!(read, &sent[..60]);
    }
    let last = (capture.len() - 60 - 4)..(capture.len() - 60);
    assert_eq!(capture[last], (MOST as u32).to_le_bytes());
}
