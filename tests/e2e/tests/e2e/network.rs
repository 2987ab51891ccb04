//! The network interface: raw frames to the emulator's adapter and back, byte for byte.

mod flood;
mod tap;
mod unplugged;

use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use exo::check::qmp::Qmp;
use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel, selftest_kernel};
use tempfile::TempDir;

/// Addresses and type of the frames, and what the guest takes for the end.
const TO: [u8; 6] = [0xff; 6];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const TYPE: [u8; 2] = [0x88, 0xb5];
const END: &[u8] = b"end";
/// What makes it arm no more transfers until the adapter was set up anew.
const REST: &[u8] = b"rest";
/// Bytes of the shortest frame and of the longest.
const LEAST: usize = 64;
const MOST: usize = 1514;
/// Frames that are on their way at a time, at most.
const WINDOW: usize = 8;

/// The other end of the cable: a datagram is a frame.
struct Cable(UdpSocket);

impl Cable {
    /// The cable, and what plugs its other end into the emulator.
    fn new() -> (Self, String) {
        let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let [ours, theirs] = [&here, &there].map(|socket| socket.local_addr().unwrap().port());
        here.connect((Ipv4Addr::LOCALHOST, theirs)).unwrap();
        // A busy host makes the guest late.
        here.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let net = format!(
            "-netdev dgram,id=cable,local.type=inet,local.host=127.0.0.1,local.port={theirs},\
             remote.type=inet,remote.host=127.0.0.1,remote.port={ours} -device usb-net,netdev=cable"
        );
        (Self(here), net)
    }

    fn send(&self, frame: &[u8]) {
        assert_eq!(self.0.send(frame).unwrap(), frame.len());
    }

    fn receive(&self) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let length = self.0.recv(&mut bytes).expect("a frame comes back");
        bytes[..length].to_vec()
    }
}

/// A frame of this length, with bytes that no other number has.
fn frame(length: usize, number: usize) -> Vec<u8> {
    let mut value = (number as u32).wrapping_mul(0x9e37_79b9) | 1;
    let payload = (14..length).map(|_| {
        value ^= value << 13;
        value ^= value >> 17;
        value ^= value << 5;
        value as u8
    });
    [&TO[..], &FROM, &TYPE]
        .concat()
        .into_iter()
        .chain(payload)
        .collect()
}

/// What a frame comes back as.
fn swapped(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

/// A guest that sends frames back, and its cable.
struct Echo {
    cable: Cable,
    session: Session,
    /// Where the emulator listens for what is plugged in and out, and the directory that it is in.
    control: PathBuf,
    _dir: TempDir,
    returned: usize,
}

impl Echo {
    /// Boots with this self-test.
    fn start(test: &str, adapter: &str) -> Self {
        let (cable, net) = Cable::new();
        let dir = TempDir::with_prefix("exopi-").unwrap();
        let control = dir.path().join("control");
        let extra = env::var("QEMU_EXTRA").unwrap_or_default();
        let monitor = format!("-qmp unix:{},server=on,wait=off", control.display());
        let mut session = Session::start(
            Run::command()
                .arg(selftest_kernel())
                .args(["--program", "minimal", "--append", test])
                .env("QEMU_EXTRA", format!("{extra} {net},id=adapter {monitor}")),
        );
        session.wait_for(&format!("network: {adapter} "));
        session.wait_for("up after ");
        Self {
            cable,
            session,
            control,
            _dir: dir,
            returned: 0,
        }
    }

    /// One frame of each length, alone.
    fn each_length(&mut self) {
        for length in LEAST..=MOST {
            let sent = frame(length, length);
            self.cable.send(&sent);
            assert!(
                self.cable.receive() == swapped(&sent),
                "a frame of {length} bytes"
            );
            self.returned += 1;
        }
    }

    /// So many frames of all lengths, some on their way at a time, all back and in order.
    fn in_a_row(&mut self, count: usize) {
        let numbered = |number: usize| frame(LEAST + number * 617 % (MOST - LEAST + 1), number);
        let (mut sent, mut returned) = (0, 0);
        while returned < count {
            while sent < count && sent - returned < WINDOW {
                self.cable.send(&numbered(sent));
                sent += 1;
            }
            assert!(
                self.cable.receive() == swapped(&numbered(returned)),
                "frame {returned}"
            );
            returned += 1;
        }
        self.returned += count;
    }

    /// Ends it; what it says of itself.
    fn end(mut self) -> String {
        let end = [&TO[..], &FROM, &TYPE, END, &[0; LEAST]].concat();
        self.cable.send(&end);
        self.session.wait_for("echo: ");
        self.session.wait_for("minimal: done")
    }
}

/// The number before this word.
#[track_caller]
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no number before {word:?} in {text}"))
}

/// Sends frames of all lengths alone and many at a time, and has all of them back.
fn echoes(test: &str, adapter: &str, count: usize) {
    let mut echo = Echo::start(test, adapter);
    echo.each_length();
    echo.in_a_row(count);
    let returned = echo.returned as u64;
    let said = echo.end();
    assert_eq!(number_before(&said, " frames back"), returned);
    for none in ["lost: 0,", "malformed: 0,", "failed_transfers: 0,"] {
        assert!(said.contains(none), "{said}");
    }
    // It did not look for frames all the time: it was told, and slept until then.
    assert!(number_before(&said, " interrupts") > 1_000, "{said}");
    let idle = number_before(&said, " % idle");
    assert!((1..=100).contains(&idle), "{said}");
    println!("{adapter}: {returned} frames came back, {idle} % of the time the processor slept");
}

#[test]
fn a_hundred_thousand_frames_come_back_by_rndis() {
    echoes("selftest=echo", "Rndis", 100_000);
}

#[test]
fn frames_come_back_by_cdc_ethernet() {
    echoes("selftest=echo-cdc", "Cdc", 2_000);
}

/// The adapter is pulled out of its hub and put in again while frames come. No transfer is armed then: the emulator would
/// end itself.
#[test]
fn an_adapter_that_was_pulled_out_comes_back() {
    const ROUNDS: usize = 2;
    let mut echo = Echo::start("selftest=echo", "Rndis");
    let mut monitor = Qmp::connect(&echo.control).unwrap();
    let say = |monitor: &mut Qmp, line: &str| {
        let said = monitor.monitor(line).unwrap();
        assert!(!said.contains("Error"), "{line}: {said}");
    };
    let special = |word: &[u8]| [&TO[..], &FROM, &TYPE, word, &[0; LEAST]].concat();
    for _ in 0..ROUNDS {
        echo.in_a_row(500);
        echo.cable.send(&special(REST));
        echo.cable.send(&special(REST));
        echo.session.wait_for("echo: rests");
        // One that the device takes along, and some that wait for the next.
        for number in 0..WINDOW {
            echo.cable.send(&frame(MOST, number));
        }
        say(&mut monitor, "device_del adapter");
        for number in 0..WINDOW {
            echo.cable.send(&frame(LEAST, number));
        }
        say(&mut monitor, "device_add usb-net,netdev=cable,id=adapter");
        echo.session.wait_for("echo: goes on");
        let mark = swapped(&frame(1_000, 1_000_000));
        echo.cable.send(&swapped(&mark));
        while echo.cable.receive() != mark {}
    }
    echo.in_a_row(500);
    let said = echo.end();
    let restarts = format!("restarts: {}", 1 + ROUNDS);
    assert!(said.contains(&restarts), "{said}");
}

/// Microseconds that it takes to send and receive frames of this length, as this line begins.
fn timed(run: &Run, begin: &str, length: usize) -> u64 {
    let said = format!("{begin}: 4000 of {length} bytes sent and received in ");
    let found = run.console.split_once(&said);
    let (_, rest) = found.unwrap_or_else(|| panic!("{said:?} is not in:\n{run}"));
    number_before(rest, " us")
}

/// What the benchmark counts, as somebody would time it, by the driver alone and by a program in the same run: with a cable that leads back
/// nothing is lost.
#[test]
fn frames_are_counted_and_timed() {
    let cable = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = cable.local_addr().unwrap().port();
    drop(cable);
    let end = |name| format!("{name}.type=inet,{name}.host=127.0.0.1,{name}.port={port}");
    let ends = [end("local"), end("remote")].join(",");
    let extra = env::var("QEMU_EXTRA").unwrap_or_default();
    let net = format!("{extra} -netdev dgram,id=cable,{ends} -device usb-net,netdev=cable");
    let run = Run::from(
        Run::command()
            .arg(selftest_kernel())
            .args([
                "--program",
                "bench",
                "--append",
                "selftest=frames rows=rate",
            ])
            .env("QEMU_EXTRA", net),
    );
    run.ends_with(0)
        .prints("lost: 0, malformed: 0, failed_transfers: 0,");
    for length in [64, 1514] {
        for done in ["sent", "received in bursts", "sent and received"] {
            run.prints(&format!(" of {length} bytes {done} in "));
        }
        let [alone, through] = ["frames", "rate"].map(|begin| timed(&run, begin, length));
        let percent = alone * 100 / through.max(1);
        println!("{length} bytes both ways: {percent} % of the frames of the driver alone");
        // Far below what it is: a busy host disturbs the one and not the other.
        assert!(percent >= 20, "{run}");
    }
}

#[test]
fn without_an_adapter_the_kernel_goes_on() {
    let mut command = Run::command();
    command
        .arg(selftest_kernel())
        .args(["--program", "minimal", "--append", "selftest=echo"]);
    Run::from(&mut command)
        .ends_with(0)
        .prints("network: no interface")
        .prints("minimal: done");
}

/// A program that sends frames back, and its cable.
struct Reflector {
    cable: Cable,
    session: Session,
}

impl Reflector {
    fn start() -> Self {
        Self::with(kernel(), "")
    }

    /// On this kernel; `more` is behind what plugs the adapter in.
    fn with(kernel: &Path, more: &str) -> Self {
        let (cable, net) = Cable::new();
        let extra = env::var("QEMU_EXTRA").unwrap_or_default();
        let mut command = Run::command();
        command
            .arg(kernel)
            .args(["--program", "reflect"])
            .env("QEMU_EXTRA", format!("{extra} {net}{more}"));
        let mut session = Session::start(&mut command);
        session.wait_for("reflect: listening");
        Self { cable, session }
    }

    /// Has so many frames come back, some on their way at a time: to whom they came from, with the rest as it was.
    fn in_a_row(&self, count: usize) {
        let numbered = |number: usize| frame(LEAST + number * 617 % (MOST - LEAST + 1), number);
        let (mut sent, mut returned) = (0, 0);
        while returned < count {
            while sent < count && sent - returned < WINDOW {
                self.cable.send(&numbered(sent));
                sent += 1;
            }
            let (came, due) = (self.cable.receive(), numbered(returned));
            assert_eq!(came.len(), due.len(), "frame {returned}");
            assert!(
                came[..6] == FROM && came[12..] == due[12..],
                "frame {returned}"
            );
            returned += 1;
        }
    }

    fn say(&self, word: &[u8]) {
        self.cable
            .send(&[&TO[..], &FROM, &TYPE, word, &[0; LEAST]].concat());
    }

    /// Ends it; what it says of itself.
    fn end(mut self) -> String {
        self.say(END);
        self.session.wait_for("reflect: done")
    }
}

/// Through filter, ring and send capability of a program at EL0, that owns nothing but these.
#[test]
fn a_hundred_thousand_frames_come_back_through_a_ring() {
    const COUNT: usize = 100_000;
    let reflector = Reflector::start();
    reflector.in_a_row(COUNT);
    let said = reflector.end();
    assert_eq!(number_before(&said, " frames back"), COUNT as u64, "{said}");
    for none in ["0 refused", "0 lost"] {
        assert!(said.contains(none), "{said}");
    }
    println!("{said}");
}

/// Frames of other types, of no length that there is, cut off, or of fragments, go nowhere, and what comes next is
/// unharmed; nor does one go out from an address that is another's.
#[test]
fn what_is_no_frame_of_the_programs_harms_nothing() {
    let reflector = Reflector::start();
    reflector.in_a_row(50);
    for length in [1, 13, 14, 15, 20, 59, 60, 63] {
        let mut short = frame(LEAST, length);
        short.truncate(length);
        // Of another type, so that nothing comes back, even if it is filled up on its way.
        if let Some(kind) = short.get_mut(12..) {
            kind.iter_mut().take(2).for_each(|byte| *byte = 0);
        }
        reflector.cable.send(&short);
    }
    for length in [1515, 1600, 2047] {
        let mut long = frame(length, length);
        long[12..14].fill(0);
        reflector.cable.send(&long);
    }
    for kind in [
        [0x08, 0x00],
        [0x08, 0x06],
        [0x86, 0xdd],
        [0x81, 0x00],
        [0; 2],
        [0xff; 2],
    ] {
        for number in 0..20 {
            let mut other = frame(LEAST + number * 73, number);
            other[12..14].copy_from_slice(&kind);
            // As IPv4: a header longer than the frame, and a fragment.
            other[14] = 0x4f;
            other[20] = 0x3f;
            reflector.cable.send(&other);
        }
        // The host keeps no more frames for the emulator than a few hundred kilobytes.
        reflector.in_a_row(5);
    }
    reflector.say(b"rule");
    reflector.in_a_row(50);
    let said = reflector.end();
    assert!(
        said.contains("130 frames back, 1 refused, 0 lost"),
        "{said}"
    );
    assert!(said.contains("refused_rule: 1"), "{said}");
}
