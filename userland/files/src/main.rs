//! The file tools as one program: its boot arguments are a command, or several with `;` between them.
//!
//! There is no driver for cards that programs could use yet, so it works on files in memory, which go when it ends. One is
//! there from the begin: `/arguments`, with the boot arguments. `cat` without a file reads what is typed up to Ctrl-D.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;

use embedded_io::{ErrorType, Read, Write};
use exopi_fs::stream::{Both, Sink};
use exopi_fs::{Descriptor, Error, Files, OpenFlags, Ram};
use exopi_rt::environment::yield_now;
use exopi_rt::{ExitCode, args, console, println, stubs, time};

exopi_rt::entry!(main);

/// Pages of 4 KiB that files may take.
const PAGES: u64 = 1024;
/// Ends what is typed: Ctrl-D.
const END: u8 = 0x04;

/// What prints on the console.
struct Screen;

impl ErrorType for Screen {
    type Error = Infallible;
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        console::send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What is typed, byte by byte.
struct Keys;

impl ErrorType for Keys {
    type Error = Infallible;
}

impl Read for Keys {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = into.first_mut() else {
            return Ok(0);
        };
        let mut byte = [0];
        while stubs::console_read(byte.as_mut_slice().into()).done == 0 {
            yield_now();
            time::relax();
        }
        match byte {
            [END] => Ok(0),
            [byte] => {
                *first = if byte == b'\r' { b'\n' } else { byte };
                Ok(1)
            }
        }
    }
}

/// Files in memory, and the console for input, output and complaints.
fn prepared() -> Result<Files, Error> {
    let mut files = Files::new();
    files.attach(Box::new(Both(Keys, Screen)))?;
    files.attach(Box::new(Sink(Screen)))?;
    files.attach(Box::new(Sink(Screen)))?;
    files.mount("/", Box::new(Ram::new(PAGES)))?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let file = files.open("/arguments", flags)?;
    files.write_all(file, args().line().as_bytes())?;
    files.write_all(file, b"\n")?;
    files.close(file)?;
    Ok(files)
}

fn main() -> ExitCode {
    let mut files = match prepared() {
        Ok(files) => files,
        Err(error) => {
            println!("files: {error}");
            return ExitCode::FAILURE;
        }
    };
    let words: Vec<&str> = args().collect();
    let mut status = 0;
    for command in words.split(|word| *word == ";") {
        status = status.max(file_tools::run(&mut files, command));
    }
    for open in [Descriptor::INPUT, Descriptor::OUTPUT, Descriptor::ERRORS] {
        if files.close(open).is_err() {
            status = status.max(1);
        }
    }
    status.into()
}
