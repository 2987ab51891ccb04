//! The network interface: raw frames to the emulator's adapter and back, byte for byte.

use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use exopi_e2e::session::Session;
use exopi_e2e::{Run, selftest_kernel};

/// Addresses and type of the frames, and what the guest takes for the end.
const TO: [u8; 6] = [0xff; 6];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const TYPE: [u8; 2] = [0x88, 0xb5];
const END: &[u8] = b"end";
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

/// Boots with this self-test, sends frames of all lengths alone and many at a time, and has all of them back.
fn echoes(test: &str, adapter: &str) {
    let (cable, net) = Cable::new();
    let extra = env::var("QEMU_EXTRA").unwrap_or_default();
    let mut session = Session::start(
        Run::command()
            .arg(selftest_kernel())
            .args(["--program", "minimal", "--append", test])
            .env("QEMU_EXTRA", format!("{extra} {net}")),
    );
    session.wait_for(&format!("echo: {adapter} "));
    session.wait_for("up after ");
    for length in LEAST..=MOST {
        let sent = frame(length, length);
        cable.send(&sent);
        assert!(
            cable.receive() == swapped(&sent),
            "a frame of {length} bytes"
        );
    }
    let all: Vec<_> = (0..2_000)
        .map(|number| frame(LEAST + number * 617 % (MOST - LEAST + 1), number))
        .collect();
    let (mut sent, mut returned) = (0, 0);
    while returned < all.len() {
        while sent < all.len() && sent - returned < WINDOW {
            cable.send(&all[sent]);
            sent += 1;
        }
        assert!(
            cable.receive() == swapped(&all[returned]),
            "frame {returned}"
        );
        returned += 1;
    }
    let end = [&TO[..], &FROM, &TYPE, END, &[0; LEAST]].concat();
    cable.send(&end);
    let count = MOST - LEAST + 1 + all.len();
    session.wait_for(&format!("echo: {count} frames back, "));
    let rest = session.wait_for("minimal: done");
    for none in ["lost: 0,", "malformed: 0,", "failed_transfers: 0,"] {
        assert!(rest.contains(none), "{rest}");
    }
    // It did not look for frames all the time: it was told.
    let interrupts = rest.split(' ').next().and_then(|count| count.parse().ok());
    assert!(interrupts.is_some_and(|count: u64| count > 1_000), "{rest}");
}

#[test]
fn frames_come_back_by_rndis() {
    echoes("selftest=echo", "Rndis");
}

#[test]
fn frames_come_back_by_cdc_ethernet() {
    echoes("selftest=echo-cdc", "Cdc");
}

#[test]
fn without_an_adapter_the_kernel_goes_on() {
    let mut command = Run::command();
    command
        .arg(selftest_kernel())
        .args(["--program", "minimal", "--append", "selftest=echo"]);
    Run::from(&mut command)
        .ends_with(0)
        .prints("echo: no interface")
        .prints("minimal: done");
}
