//! Pipes: a stream of bytes from one program to another, in words that both can write.
//!
//! ```text
//!   word 0          how many bytes the writer has written, ever       the writer's line
//!   word 1          1: the writer writes no more
//!   word 8          how many bytes the reader has read, ever          the reader's line
//!   word 9          1: the reader reads no more
//!   word 16 ..      the bytes, eight to a word, lowest first, round and round
//! ```
//!
//! Each side writes its own line, reads the other's, and keeps its own count and place in its own memory too: what
//! the other side writes can make the stream wrong, not this side. A count that is impossible is
//! [`PipeError::Corrupt`].
//!
//! Both sides block as their [`Wait`] says. With [`HandOver`](crate::wait::HandOver) each hands the core to the other
//! when it has nothing to do, and a request and its answer over two pipes cost two switches: the writer goes
//! on after it has written, until it reads what is not there yet.
//!
//! ```text
//!   client   write, read: nothing --gate_yield--.                         .--> read: the answer
//!   server   (in read) <------------------------'  read, write, read: nothing --gate_yield
//! ```

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use embedded_io::{ErrorKind, ErrorType};
use exopi_rt::Error;

use crate::wait::Wait;

mod copy;
#[cfg(test)]
mod tests;

/// The memory is too small for a pipe: 17 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

/// Why nothing more is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeError {
    /// The reader reads no more.
    Closed,
    /// The other side has left an impossible count.
    Corrupt,
    /// Waiting is over: [`Error::Stale`] if the other side is gone, [`Error::TimedOut`], or what else.
    Wait(Error),
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side reads no more"),
            Self::Corrupt => f.write_str("the other side has left an impossible count"),
            Self::Wait(error) => write!(f, "waiting is over: {error}"),
        }
    }
}

impl core::error::Error for PipeError {}

impl embedded_io::Error for PipeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed => ErrorKind::BrokenPipe,
            Self::Corrupt => ErrorKind::InvalidData,
            Self::Wait(Error::TimedOut) => ErrorKind::TimedOut,
            Self::Wait(Error::Stale) => ErrorKind::ConnectionAborted,
            Self::Wait(_) => ErrorKind::Other,
        }
    }
}

/// Where things are.
#[derive(Clone, Copy, Debug)]
struct Pipe<'m> {
    written: &'m AtomicU64,
    ended: &'m AtomicU64,
    read: &'m AtomicU64,
    refused: &'m AtomicU64,
    data: &'m [AtomicU64],
}

impl<'m> Pipe<'m> {
    const fn new(memory: &'m [AtomicU64]) -> Result<Self, TooSmall> {
        match memory {
            [
                written,
                ended,
                _,
                _,
                _,
                _,
                _,
                _,
                read,
                refused,
                _,
                _,
                _,
                _,
                _,
                _,
                data @ ..,
            ] if !data.is_empty() => Ok(Self {
                written,
                ended,
                read,
                refused,
                data,
            }),
            _ => Err(TooSmall),
        }
    }

    /// In bytes.
    const fn capacity(self) -> usize {
        size_of_val(self.data)
    }
}

/// One side's own count, and its place among the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    count: u64,
    place: usize,
}

impl Own {
    /// `bytes` further on, which are no more than `capacity`.
    #[inline(always)]
    const fn advance(&mut self, bytes: usize, capacity: usize) {
        self.count = self.count.wrapping_add(bytes as u64);
        self.place += bytes;
        if self.place >= capacity {
            self.place -= capacity;
        }
    }
}

/// Makes an empty pipe in `memory`, for both sides to attach to on as many words.
///
/// # Errors
/// [`TooSmall`].
pub fn format(memory: &[AtomicU64]) -> Result<(), TooSmall> {
    let pipe = Pipe::new(memory)?;
    for word in [pipe.written, pipe.ended, pipe.read, pipe.refused] {
        word.store(0, Ordering::Release);
    }
    Ok(())
}

/// The side that writes. Dropped, it closes the stream.
#[derive(Debug)]
pub struct Writer<'m, W> {
    pipe: Pipe<'m>,
    own: Own,
    wait: W,
}

impl<'m, W: Wait> Writer<'m, W> {
    /// Attaches to the pipe in `memory`, in which nothing has been written yet.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn new(memory: &'m [AtomicU64], wait: W) -> Result<Self, TooSmall> {
        Ok(Self {
            pipe: Pipe::new(memory)?,
            own: Own::default(),
            wait,
        })
    }

    /// How many bytes there is room for now.
    ///
    /// # Errors
    /// [`PipeError::Closed`], [`PipeError::Corrupt`].
    #[inline(always)]
    fn room(&self) -> Result<(usize, u64), PipeError> {
        if self.pipe.refused.load(Ordering::Acquire) != 0 {
            return Err(PipeError::Closed);
        }
        let read = self.pipe.read.load(Ordering::Acquire);
        let capacity = self.pipe.capacity();
        match capacity.checked_sub(self.own.count.wrapping_sub(read) as usize) {
            Some(room) => Ok((room, read)),
            None => Err(PipeError::Corrupt),
        }
    }

    /// Writes as many of `bytes` as there is room for, without waiting.
    ///
    /// # Errors
    /// [`PipeError::Closed`], [`PipeError::Corrupt`].
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, PipeError> {
        let (room, _) = self.room()?;
        Ok(self.put(bytes, room))
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8], room: usize) -> usize {
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let capacity = self.pipe.capacity();
        match bytes.split_at_checked(capacity - self.own.place) {
            // The end comes between.
            Some((before, after)) => {
                copy::into(self.pipe.data, self.own.place, before);
                copy::into(self.pipe.data, 0, after);
            }
            None => copy::into(self.pipe.data, self.own.place, bytes),
        }
        self.own.advance(bytes.len(), capacity);
        // After the bytes.
        self.pipe.written.store(self.own.count, Ordering::Release);
        bytes.len()
    }

    /// Says that nothing more comes. What was written can be read still.
    pub fn close(self) {}
}

impl<W> Drop for Writer<'_, W> {
    fn drop(&mut self) {
        self.pipe.ended.store(1, Ordering::Release);
    }
}

impl<W> ErrorType for Writer<'_, W> {
    type Error = PipeError;
}

impl<W: Wait> embedded_io::Write for Writer<'_, W> {
    /// Waits until there is room for a byte at least.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, PipeError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let (room, read) = self.room()?;
            if room > 0 {
                return Ok(self.put(bytes, room));
            }
            let waited = self.wait.until_changed(self.pipe.read, read);
            waited.map_err(PipeError::Wait)?;
        }
    }

    /// What is written can be read at once: there is nothing to wait for.
    fn flush(&mut self) -> Result<(), PipeError> {
        Ok(())
    }
}

impl<W: Wait> embedded_io::WriteReady for Writer<'_, W> {
    fn write_ready(&mut self) -> Result<bool, PipeError> {
        self.room().map(|(room, _)| room > 0)
    }
}

/// The side that reads. Dropped, it refuses what is written after.
#[derive(Debug)]
pub struct Reader<'m, W> {
    pipe: Pipe<'m>,
    own: Own,
    wait: W,
}

impl<'m, W: Wait> Reader<'m, W> {
    /// Attaches to the pipe in `memory`, of which nothing has been read yet.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn new(memory: &'m [AtomicU64], wait: W) -> Result<Self, TooSmall> {
        Ok(Self {
            pipe: Pipe::new(memory)?,
            own: Own::default(),
            wait,
        })
    }

    /// How many bytes are there now, and the writer's count.
    #[inline(always)]
    fn filled(&self) -> Result<(usize, u64), PipeError> {
        let written = self.pipe.written.load(Ordering::Acquire);
        let filled = written.wrapping_sub(self.own.count);
        match usize::try_from(filled) {
            Ok(filled) if filled <= self.pipe.capacity() => Ok((filled, written)),
            _ => Err(PipeError::Corrupt),
        }
    }

    /// Whether the writer has closed.
    fn is_ended(&self) -> bool {
        self.pipe.ended.load(Ordering::Acquire) != 0
    }

    /// Reads what is there, without waiting. `None`: nothing yet; 0: nothing any more (or no room in `into`).
    ///
    /// # Errors
    /// [`PipeError::Corrupt`].
    pub fn try_read(&mut self, into: &mut [u8]) -> Result<Option<usize>, PipeError> {
        // In this order: what was written before the end is seen after it.
        let ended = self.is_ended();
        let (filled, _) = self.filled()?;
        Ok((ended || filled > 0 || into.is_empty()).then(|| self.take(into, filled)))
    }

    #[inline(always)]
    fn take(&mut self, into: &mut [u8], filled: usize) -> usize {
        let count = into.len().min(filled);
        let capacity = self.pipe.capacity();
        let into = into.get_mut(..count).unwrap_or_default();
        let first = capacity - self.own.place;
        if first < count {
            // The end comes between.
            let (before, after) = into.split_at_mut_checked(first).unwrap_or_default();
            copy::out_of(self.pipe.data, self.own.place, before);
            copy::out_of(self.pipe.data, 0, after);
        } else {
            copy::out_of(self.pipe.data, self.own.place, into);
        }
        self.own.advance(count, capacity);
        // After the bytes were copied: from now on they may be others.
        self.pipe.read.store(self.own.count, Ordering::Release);
        count
    }

    /// Says that nothing more will be read.
    pub fn close(self) {}
}

impl<W> Drop for Reader<'_, W> {
    fn drop(&mut self) {
        self.pipe.refused.store(1, Ordering::Release);
    }
}

impl<W> ErrorType for Reader<'_, W> {
    type Error = PipeError;
}

impl<W: Wait> embedded_io::Read for Reader<'_, W> {
    /// Waits until a byte is there at least; 0 means that the writer has closed and all is read.
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Result<usize, PipeError> {
        if into.is_empty() {
            return Ok(0);
        }
        let mut over = None;
        loop {
            let (filled, written) = self.filled()?;
            if filled > 0 {
                return Ok(self.take(into, filled));
            }
            if self.is_ended() {
                // What was written before the end is seen now.
                return self.filled().map(|(filled, _)| self.take(into, filled));
            }
            if let Some(error) = over {
                return Err(PipeError::Wait(error));
            }
            // Once more after the end of waiting: who is gone may have written before.
            over = self.wait.until_changed(self.pipe.written, written).err();
        }
    }
}

impl<W: Wait> embedded_io::ReadReady for Reader<'_, W> {
    fn read_ready(&mut self) -> Result<bool, PipeError> {
        let ended = self.is_ended();
        self.filled().map(|(filled, _)| ended || filled > 0)
    }
}
