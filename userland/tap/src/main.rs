//! Shows all frames of an interface, both ways, as a capture that other tools read.
//!
//! ```text
//!   interface --tap--> ring --> pcap, in hexadecimal lines on the console --`exo pcap`--> file
//! ```
//!
//! Whoever taps an interface must have all rights to its first filter, as the first environment has. It takes nothing from
//! anybody: frames go where they went. Frames for which the ring had no room are counted, and the console is slow: the capture
//! says at its end how many are missing.
//!
//! Boot arguments: `interface=N`, 1 unless said otherwise; `frames=N` ends it after so many, 100 unless said otherwise;
//! `wait=MS` is how long the interface may take to come up, and frames to come; `bytes=N` is how much of each is shown.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod capture;

use exopi_rt::net::{self, EntrySize, Filter, InterfaceState, MOST_FRAME, Ring};
use exopi_rt::{Error, ExitCode, VirtAddr, args, exposed, println, time};

use capture::{Line, packet, start};

exopi_rt::entry!(main);

/// Where the ring is, and its pages.
const RING: u64 = 0x40_0000_0000;
const PAGES: usize = 64;

fn main() -> ExitCode {
    let interface = args().parsed("interface").unwrap_or(1);
    let patience = 1000 * args().parsed::<u64>("wait").unwrap_or(20_000);
    if !come_up(interface, patience) {
        println!("tap: interface {interface} is not up");
        return ExitCode::FAILURE;
    }
    match run(interface, patience) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("tap: refused: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for a link.
fn come_up(interface: usize, patience: u64) -> bool {
    let begin = time::ticks();
    while time::microseconds(time::ticks() - begin) < patience {
        match exposed::interface_at(interface) {
            None => return false,
            Some(record) if record.state == InterfaceState::Up => return true,
            Some(_) => time::relax(),
        }
    }
    false
}

fn run(interface: usize, patience: u64) -> Result<(), Error> {
    let most = args().parsed::<u64>("frames").unwrap_or(100);
    let shown = args().parsed::<usize>("bytes").unwrap_or(MOST_FRAME);
    let root = Filter::Owned(net::root(interface).ok_or(Error::OutOfRange)?);
    let at = VirtAddr::new(RING).ok_or(Error::BadAddress)?;
    let mut ring = Ring::create(at, PAGES, EntrySize::WHOLE, None)?;
    root.tap(ring.name())?;
    println!("tap: begin");
    tell(&start(MOST_FRAME as u32));
    println!("tap: listening");
    let (mut seen, mut last) = (0, time::ticks());
    while seen < most && time::microseconds(time::ticks() - last) <= patience {
        let Some(entry) = ring.take() else {
            time::relax();
            continue;
        };
        last = time::ticks();
        seen += 1;
        let frame = entry.frame();
        let frame = frame.get(..shown).unwrap_or(frame);
        let header = &entry.header;
        let microseconds = time::microseconds(header.time);
        tell(&packet(microseconds, frame.len(), header.length.into()));
        tell(frame);
    }
    println!("tap: end");
    let told = exposed::ring_at(ring.name().index).ok_or(Error::OutOfRange)?;
    println!("tap: {seen} frames, {} lost", told.lost);
    ring.close()
}

/// Prints bytes of the capture.
fn tell(bytes: &[u8]) {
    for line in bytes.chunks(capture::WIDTH) {
        println!("tap: {}", Line(line));
    }
}
