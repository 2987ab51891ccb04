//! Bytes without positions as files: a console, a pipe, whatever reads and writes.
//!
//! The things themselves are given by whoever has them, as `embedded_io` knows them: `exopi_ipc::pipe` does, and a
//! console is a few lines around `exopi_rt::console`. A read that finds nothing waits as the thing does.

use embedded_io::{Read, Write};

use crate::Error;

/// Bytes that come and go.
pub trait Stream {
    /// Reads what there is, at least a byte; 0 means that nothing more comes.
    ///
    /// # Errors
    /// [`Error::NotForReading`], or [`Error::Stream`].
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error>;

    /// Writes at least a byte; returns how many.
    ///
    /// # Errors
    /// [`Error::NotForWriting`], or [`Error::Stream`].
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    /// Sends what is held back.
    ///
    /// # Errors
    /// [`Error::Stream`].
    fn flush(&mut self) -> Result<(), Error>;
}

/// What can be read: the end of a pipe, a keyboard.
#[derive(Debug)]
pub struct Source<R>(pub R);

/// What can be written: the begin of a pipe, a screen.
#[derive(Debug)]
pub struct Sink<W>(pub W);

/// Both in one: a console.
#[derive(Debug)]
pub struct Both<R, W>(pub R, pub W);

fn told<E: embedded_io::Error>(error: E) -> Error {
    Error::Stream(error.kind())
}

impl<R: Read> Stream for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.0.read(into).map_err(told)
    }

    fn write(&mut self, _bytes: &[u8]) -> Result<usize, Error> {
        Err(Error::NotForWriting)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<W: Write> Stream for Sink<W> {
    fn read(&mut self, _into: &mut [u8]) -> Result<usize, Error> {
        Err(Error::NotForReading)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush().map_err(told)
    }
}

impl<R: Read, W: Write> Stream for Both<R, W> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.0.read(into).map_err(told)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.1.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.1.flush().map_err(told)
    }
}
