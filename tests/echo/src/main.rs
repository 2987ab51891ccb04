//! Sends back every byte that is typed on the console, until a line is `quit`: the guest's half of the
//! tests of the console's receiving side.
//!
//! Boot arguments: `wait=MS` leaves what is typed in the kernel's queue for so many milliseconds first.
#![cfg_attr(target_os = "none", no_std, no_main)]

use exopi_rt::{ExitCode, args, console, println, stubs, time};

exopi_rt::entry!(main);

fn main() -> ExitCode {
    let wait = args().parsed::<u64>("wait").unwrap_or(0);
    println!("echo: listening in {wait} ms");
    sleep(wait * 1000);
    println!("echo: listening");
    let mut line = Line::default();
    let mut bytes = [0; 256];
    loop {
        let read = stubs::console_read(bytes.as_mut_slice().into());
        if let Some(error) = read.stopped {
            println!("echo: cannot read: {error}");
            return ExitCode::FAILURE;
        }
        let typed = bytes.get(..read.done as usize).unwrap_or(&bytes);
        console::send(typed);
        if typed.iter().any(|byte| line.ends_with_quit(*byte)) {
            println!("echo: bye");
            return ExitCode::SUCCESS;
        }
        if typed.is_empty() {
            time::relax();
        }
    }
}

/// Lets this many microseconds pass.
fn sleep(microseconds: u64) {
    let start = time::ticks();
    while time::microseconds(time::ticks() - start) < microseconds {
        time::relax();
    }
}

/// How much of `quit` the line has so far; none once it is another line.
struct Line(Option<usize>);

impl Default for Line {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl Line {
    /// Takes the next byte; whether it ends a line that is `quit`.
    fn ends_with_quit(&mut self, byte: u8) -> bool {
        const QUIT: &[u8] = b"quit";
        if matches!(byte, b'\r' | b'\n') {
            return core::mem::take(self).0 == Some(QUIT.len());
        }
        self.0 = self
            .0
            .filter(|at| QUIT.get(*at) == Some(&byte))
            .map(|at| at + 1);
        false
    }
}
