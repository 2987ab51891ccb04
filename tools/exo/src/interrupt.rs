//! What happens when `exo` is interrupted: emulators end first.
//!
//! A thread waits for SIGINT, SIGTERM and SIGHUP. With an emulator running it ends the emulator,
//! whose console then closes, so that the command runs to its end, cleans up and returns failure.
//! Without one, or if the command does not end by itself, the thread ends the process.
//!
//! While a debugger runs, SIGINT is the debugger's: it stops the guest by it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Emulators that run. An id is in the list only while its process has not been waited for, so that
/// it cannot name another process.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static DEBUGGED: AtomicBool = AtomicBool::new(false);

/// How long the emulator has to restore the terminal and go.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the command has to clean up once its emulator is gone.
const CLEAN_UP: Duration = Duration::from_secs(3);

/// The list of running emulators. Who waits for one holds this while it takes it out.
pub(crate) fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The signal that interrupted this command, if one did.
pub fn signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Leaves SIGINT to a debugger from now on.
pub(crate) fn leave_to_debugger() {
    DEBUGGED.store(true, Ordering::Relaxed);
}

/// Starts to watch for signals, once for the process.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => {
            thread::spawn(move || serve(signals));
        }
        Err(error) => eprintln!("exo: cannot watch for signals: {error}"),
    });
}

fn serve(mut signals: Signals) {
    for signal in signals.forever() {
        if signal == SIGINT && DEBUGGED.load(Ordering::Relaxed) {
            continue;
        }
        let first = SIGNAL.swap(signal, Ordering::Relaxed) == 0;
        let idle = running().is_empty();
        if idle || !first {
            signal_all(Signal::KILL);
            std::process::exit(128 + signal);
        }
        signal_all(Signal::TERM);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            signal_all(Signal::KILL);
            thread::sleep(CLEAN_UP);
            std::process::exit(128 + signal);
        });
    }
}

fn signal_all(signal: Signal) {
    for pid in running().iter() {
        // It may just have ended by itself.
        let _ = kill_process(*pid, signal);
    }
}
