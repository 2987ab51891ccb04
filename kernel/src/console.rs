//! The console: a byte stream with one owner, and before there is one, the boot log.
//!
//! ```text
//!   console_write --> queue --> transmitter (room, or its interrupt)
//!   console_read  <-- queue <-- receiver interrupt
//! ```
//!
//! After boot the kernel prints nothing here, but for its last words.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::domain::ObjectName;
use exopi_bsp::boards::{CONSOLE_INTERRUPT, Console};
use exopi_bsp::traits::{Polled, Received, Serial, Source};
use heapless::Deque;

use crate::arch::smp::Lock;
use crate::arch::timer;
use crate::exposed;

/// Bytes that may wait to be sent, and to be read.
const QUEUE: usize = 4096;
/// Most bytes taken from the receiver at a time. It holds 16; whoever fills it faster than it is emptied
/// must not keep the kernel for ever.
const MOST_AT_ONCE: usize = 64;

/// The port and its queues.
struct Stream {
    port: Console,
    sending: Deque<u8, QUEUE>,
    received: Deque<u8, QUEUE>,
}

/// The environment that owns the stream, as [`ObjectName::word`]. Changed under the kernel lock.
static OWNER: AtomicU64 = AtomicU64::new(0);

static STREAM: Lock<Option<Stream>> = Lock::new(None);

/// The interrupt that [`serve`] is for.
pub const INTERRUPT: Source = CONSOLE_INTERRUPT;

/// The environment that owns the stream; it may have died.
pub fn owner() -> ObjectName {
    ObjectName::from_word(OWNER.load(Ordering::Relaxed))
}

/// Hands the stream to `environment`. Only under the kernel lock.
pub fn set_owner(environment: ObjectName) {
    OWNER.store(environment.word(), Ordering::Relaxed);
}

/// Takes the port over, turned on already.
pub fn init(port: Console) {
    *STREAM.lock() = Some(Stream {
        port,
        sending: Deque::new(),
        received: Deque::new(),
    });
}

impl Stream {
    /// Moves bytes from the queue to the transmitter, and asks to hear of room while some are left.
    fn send(&mut self) {
        while let Some(byte) = self.sending.front() {
            if !self.port.try_send(*byte) {
                break;
            }
            self.sending.pop_front();
        }
        self.port.want_room(!self.sending.is_empty());
    }

    /// Moves bytes from the receiver to the queue, until it is empty or a bound is reached; whether it is
    /// empty. What does not fit, or came damaged, is lost and counted: the console's owner reads too
    /// slowly, or the line is bad.
    fn receive(&mut self) -> bool {
        for _ in 0..MOST_AT_ONCE {
            let Some(received) = self.port.try_receive() else {
                return true;
            };
            let (byte, overrun) = match received {
                Received::Byte(byte) => (Some(byte), false),
                Received::AfterOverrun(byte) => (Some(byte), true),
                Received::Damaged => (None, false),
            };
            let queued = byte.is_some_and(|byte| self.received.push_back(byte).is_ok());
            if overrun || !queued {
                exposed::count_console_loss();
            }
        }
        false
    }
}

/// Queues the first bytes of `bytes` for sending, as many as there is room for; returns how many.
pub fn write(bytes: &[u8]) -> usize {
    let mut guard = STREAM.lock();
    let Some(stream) = guard.as_mut() else {
        return 0;
    };
    let mut taken = 0;
    for byte in bytes {
        if stream.sending.is_full() {
            stream.send();
        }
        if stream.sending.push_back(*byte).is_err() {
            break;
        }
        taken += 1;
    }
    stream.send();
    taken
}

/// Copies received bytes to `into`, as many as wait and it has room for; returns how many. They stay
/// until [`consume`]. Looks at the receiver too, so that nothing waits there for an interrupt.
pub fn peek(into: &mut [u8]) -> usize {
    let mut guard = STREAM.lock();
    let Some(stream) = guard.as_mut() else {
        return 0;
    };
    stream.receive();
    let waiting = stream.received.iter().zip(into.iter_mut());
    waiting.map(|(byte, place)| *place = *byte).count()
}

/// Drops the first `count` received bytes: they have been delivered.
pub fn consume(count: usize) {
    if let Some(stream) = STREAM.lock().as_mut() {
        for _ in 0..count {
            stream.received.pop_front();
        }
    }
}

/// Serves the port's interrupt. As long as the receiver cannot be emptied it is not acknowledged, and
/// comes again once the environment has run on.
pub fn serve() {
    if let Some(stream) = STREAM.lock().as_mut() {
        if stream.receive() {
            stream.port.acknowledge();
            // What came before the acknowledgement and after the last look will not interrupt again.
            stream.receive();
        }
        stream.send();
    }
}

/// Sends what is queued, and waits until it has left.
pub fn drain() {
    if let Some(stream) = STREAM.lock().as_mut() {
        while let Some(byte) = stream.sending.pop_front() {
            send_waiting(&mut stream.port, byte);
        }
        let deadline = timer::now() + timer::frequency();
        while !stream.port.is_drained() && timer::now() < deadline {}
    }
}

fn send_waiting(port: &mut Console, byte: u8) {
    let deadline = timer::now() + timer::frequency() / 100;
    while !port.try_send(byte) && timer::now() < deadline {}
}

/// Prints by waiting for room, behind what is queued: for the boot log and for last words.
pub fn print(arguments: fmt::Arguments<'_>) {
    if let Some(stream) = STREAM.lock().as_mut() {
        while let Some(byte) = stream.sending.pop_front() {
            send_waiting(&mut stream.port, byte);
        }
        // The port takes every byte or drops it; there is nobody to tell.
        let _ = Polled(&mut stream.port).write_fmt(arguments);
    }
}

/// Makes [`print`] work for a kernel that failed, even while it held the port.
///
/// # Safety
/// All other cores have stopped, and this one never returns to what it was doing.
#[expect(unsafe_code, reason = "the last words must come out")]
pub unsafe fn seize() {
    // Every ticket that was drawn is passed over: its core waits no more.
    while STREAM.is_locked() {
        // SAFETY: whoever holds the lock is this core, which does not go on, or one that has stopped.
        unsafe { STREAM.force_unlock() };
    }
}

/// Prints a line of the boot log, with the time since the first instruction.
macro_rules! log {
    ($($argument:tt)*) => {
        $crate::console::print_log(format_args!($($argument)*))
    };
}
pub(crate) use log;

/// Prints a line of the boot log.
pub fn print_log(arguments: fmt::Arguments<'_>) {
    let time = timer::microseconds(timer::now().saturating_sub(exposed::entry_ticks()));
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    print(format_args!("[{seconds:4}.{fraction:06}] {arguments}\n"));
}
