//! What a frame costs the driver alone, and how many pass: what the kernel's own path is compared with.
//!
//! The cable must lead back: what the adapter sends, it receives. Instructions are counted for one frame at a time, and
//! the least of many is told, as rows of the benchmark table. They need an emulator that counts (`-icount`) or a board;
//! frames in a second need one that does not.

use exopi_bsp::boards::Network;
use exopi_bsp::traits::{Clock, Ethernet, LEAST_FRAME, MOST_FRAME};

use super::Counter;
use crate::arch::{pmu, smp, timer};
use crate::console::{self, log};
use crate::interrupts;
use crate::network::memory::Memory;

/// Lengths that are measured: the shortest on a wire and the longest.
const LENGTHS: [usize; 2] = [64, MOST_FRAME];
/// Bytes of a frame that come from one place, as the kernel's copy of headers does; the rest comes from another.
const HEAD: usize = 128;
/// Frames of which each is measured by itself.
const ROUNDS: usize = 200;
/// Frames of a loop that is timed, and of one burst.
const LOOP: usize = 4_000;
const BURST: usize = 32;
/// How long a frame may take to come, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// A frame to everybody, in two pieces that are aligned as programs have them.
#[repr(C, align(8))]
struct Frame([u8; MOST_FRAME]);

static FRAME: Frame = Frame([0xff; MOST_FRAME]);

fn pieces(length: usize) -> [&'static [u8]; 2] {
    let frame = FRAME.0.get(..length).unwrap_or(&[]);
    let (head, rest) = frame.split_at(HEAD.min(length));
    [head, rest]
}

/// Measures and tells; gives the interface back, on which nothing is on its way.
pub(super) fn run(mut interface: Network<Memory>) -> Option<Network<Memory>> {
    for length in LENGTHS {
        if let Some((send, receive)) = instructions(&mut interface, length) {
            console::print(format_args!("B bare_send_{length} {send} instructions\n"));
            console::print(format_args!(
                "B bare_receive_{length} {receive} instructions\n"
            ));
        }
    }
    for length in LENGTHS {
        let sent = time_sending(&mut interface, length);
        tell("sent", length, LOOP, sent);
        drain(&mut interface);
        let (count, time) = time_receiving(&mut interface, length);
        tell("received in bursts", length, count, time);
        drain(&mut interface);
        let (count, time) = time_both(&mut interface, length);
        tell("sent and received", length, count, time);
        drain(&mut interface);
    }
    log!("frames: {:?}", interface.counters());
    Some(interface)
}

fn tell(what: &str, length: usize, count: usize, microseconds: u64) {
    let rate = count as u64 * 1_000_000 / microseconds.max(1);
    let kilobytes = rate * length as u64 / 1_000;
    log!(
        "frames: {count} of {length} bytes {what} in {microseconds} us: {rate}/s, {kilobytes} KB/s"
    );
}

/// The fewest instructions for a frame to be sent, and for one to be received; none if they are not counted.
fn instructions(interface: &mut Network<Memory>, length: usize) -> Option<(u32, u32)> {
    let begin = pmu::instructions();
    let reading = pmu::instructions().wrapping_sub(begin);
    let mut least = (u32::MAX, u32::MAX);
    for _ in 0..ROUNDS {
        let now = Counter.microseconds();
        let begin = pmu::instructions();
        let sent = interface.try_send(&pieces(length), now);
        let end = pmu::instructions();
        if sent.is_ok() && interface.in_flight().sending == 0 {
            least.0 = least.0.min(end.wrapping_sub(begin) - reading);
        }
        if let Some(cost) = one_received(interface, length) {
            least.1 = least.1.min(cost - reading);
        }
    }
    (reading != 0).then_some(least)
}

/// Waits for a frame; how many instructions its interrupt and its delivery took.
fn one_received(interface: &mut Network<Memory>, length: usize) -> Option<u32> {
    let until = Counter.microseconds() + PATIENCE;
    loop {
        let now = Counter.microseconds();
        if now >= until {
            return None;
        }
        let mut lent = 0;
        let begin = pmu::instructions();
        interface.serve(now);
        let some = interface.try_receive(|frame| lent = frame.len());
        let end = pmu::instructions();
        if some {
            return (lent == length).then_some(end.wrapping_sub(begin));
        }
        sleep(now + 100);
    }
}

/// Sleeps until this time.
fn sleep(until: u64) {
    let ticks = until.saturating_sub(Counter.microseconds()) * timer::frequency() / 1_000_000;
    timer::set_deadline(timer::now() + ticks);
    smp::sleep();
    interrupts::serve();
}

/// Sends a frame, when there is a place.
fn send(interface: &mut Network<Memory>, length: usize) {
    let until = Counter.microseconds() + PATIENCE;
    loop {
        let now = Counter.microseconds();
        if interface.try_send(&pieces(length), now).is_ok() || now >= until {
            return;
        }
        interface.serve(now);
    }
}

/// Takes what has come; how many frames.
fn take(interface: &mut Network<Memory>) -> usize {
    interface.serve(Counter.microseconds());
    let mut count = 0;
    while interface.try_receive(|frame| count += usize::from(frame.len() >= LEAST_FRAME)) {}
    count
}

/// Takes what comes until nothing does.
fn drain(interface: &mut Network<Memory>) {
    const SILENCE: u64 = 50_000;
    interface.set_receiving(true, Counter.microseconds());
    let mut last = Counter.microseconds();
    while Counter.microseconds() - last < SILENCE {
        if take(interface) > 0 {
            last = Counter.microseconds();
        }
    }
}

/// Sends frames one after the other, with nothing received; how long it takes.
fn time_sending(interface: &mut Network<Memory>, length: usize) -> u64 {
    interface.set_receiving(false, Counter.microseconds());
    let begin = Counter.microseconds();
    for _ in 0..LOOP {
        send(interface, length);
    }
    while interface.in_flight().sending > 0 {
        interface.serve(Counter.microseconds());
    }
    Counter.microseconds() - begin
}

/// Receives frames of which many wait; how many came, in how long.
fn time_receiving(interface: &mut Network<Memory>, length: usize) -> (usize, u64) {
    let (mut count, mut time) = (0, 0);
    for _ in 0..LOOP / BURST {
        interface.set_receiving(false, Counter.microseconds());
        for _ in 0..BURST {
            send(interface, length);
        }
        let begin = Counter.microseconds();
        let mut last = begin;
        interface.set_receiving(true, begin);
        let mut burst = 0;
        while burst < BURST && Counter.microseconds() - last < PATIENCE {
            match take(interface) {
                0 => {}
                more => {
                    burst += more;
                    last = Counter.microseconds();
                }
            }
        }
        count += burst;
        time += last - begin;
    }
    (count, time)
}

/// Sends and receives, with some frames on their way; how many came, in how long.
fn time_both(interface: &mut Network<Memory>, length: usize) -> (usize, u64) {
    const WINDOW: usize = 8;
    let begin = Counter.microseconds();
    let (mut sent, mut count, mut last) = (0, 0, begin);
    while count < LOOP && Counter.microseconds() - last < PATIENCE {
        while sent < LOOP && sent - count < WINDOW {
            send(interface, length);
            sent += 1;
        }
        match take(interface) {
            0 => {}
            more => {
                count += more;
                last = Counter.microseconds();
            }
        }
    }
    (count, last - begin)
}
