//! Printing on the console, without losing a byte.

use core::fmt;

use crate::{stubs, time};

/// The console as a byte sink, for `write!`. [`print!`](crate::print) is the usual way to it.
///
/// Text is collected in a small buffer that lives as long as this value, so nothing waits unsent
/// between two prints, and printing needs no lock: it works in an upcall handler, too.
#[derive(Debug)]
pub struct Console {
    buffer: [u8; Console::BUFFER],
    used: usize,
}

impl Console {
    /// Bytes in the buffer: an ordinary line is one call.
    const BUFFER: usize = 128;

    /// With an empty buffer.
    pub const fn new() -> Self {
        Self {
            buffer: [0; Self::BUFFER],
            used: 0,
        }
    }

    /// Sends what is in the buffer.
    pub fn flush(&mut self) {
        send(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == Self::BUFFER {
                self.flush();
            }
            let (now, later) = rest.split_at(rest.len().min(Self::BUFFER - self.used));
            self.buffer[self.used..self.used + now.len()].copy_from_slice(now);
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}

/// Sends `bytes`, however long the transmitter takes. Only a program that does not own the console
/// loses them: it has nowhere to say so.
pub fn send(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let progress = stubs::console_write(bytes.into());
        let taken = usize::try_from(progress.done).unwrap_or(bytes.len());
        bytes = bytes.get(taken..).unwrap_or(&[]);
        if progress.stopped.is_some() {
            return;
        }
        if taken == 0 {
            time::relax();
        }
    }
}

/// What [`print!`](crate::print) expands to.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    // An error can only come from a `Display` of the program's own; what it wrote is sent.
    let _ = fmt::write(&mut Console::new(), arguments);
}

/// Prints on the console.
#[macro_export]
macro_rules! print {
    ($($format:tt)*) => { $crate::console::print(format_args!($($format)*)) };
}

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($format:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($format)*)))
    };
}
