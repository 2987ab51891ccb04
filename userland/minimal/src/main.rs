//! The smallest program: greets, looks around, calls the kernel, faults and recovers, exits.
//!
//! Read it from top to bottom: it shows all that a program on an exokernel cannot do without. Boot
//! arguments: `fault=nested` faults in the fault handler, `exit=N` ends with status N.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::{string::String, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

use exopi_rt::upcall::{self, Action, Fault, FaultCause};
use exopi_rt::{ExitCode, args, exposed, heap, println, stubs, time};

// Names the function that the program begins with.
exopi_rt::entry!(main);

/// Set for `fault=nested`: the handler is to fault itself.
static NESTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    println!("minimal: hello from EL0");
    println!("minimal: my boot arguments are \"{}\"", args().line());
    look_around();

    // A system call: `svc #1`. It does nothing but tell which version of the interface this is.
    match stubs::null() {
        Ok(version) => println!("minimal: null call, interface version {version}"),
        Err(error) => println!("minimal: null call refused: {error}"),
    }

    // From here on this program handles its own faults.
    NESTED.store(args().value("fault") == Some("nested"), Ordering::Relaxed);
    upcall::on_fault(handler);
    upcall::raise_undefined();
    println!("minimal: handled my own fault");

    // `svc #0` is no call of the kernel's: it comes back to the handler, so that a program can be
    // the "kernel" of code that it runs. Here the handler adds one.
    match upcall::reflect(41) {
        42 => println!("minimal: svc #0 came back to me"),
        other => println!("minimal: svc #0 gave {other}"),
    }

    use_the_heap();
    println!("minimal: done");
    args().parsed::<u8>("exit").unwrap_or(0).into()
}

/// What the kernel shows is there to be read: one region of memory, no call needed.
fn look_around() {
    let machine = exposed::machine();
    let booted = machine.first_el0_ticks - machine.entry_ticks;
    println!(
        "minimal: board {:#x} with {} cores, {} of {} pages free, booted in {} us",
        machine.board_revision,
        machine.cores,
        exposed::free_pages(),
        exposed::page_count(),
        time::microseconds(booted),
    );
}

/// Called with the interrupted state for every exception that the kernel has no use for.
fn handler(fault: &mut Fault<'_>) -> Action {
    match fault.cause() {
        FaultCause::Undefined => {
            if NESTED.load(Ordering::Relaxed) {
                // There is one frame, and it is taken: the kernel suspends this environment.
                upcall::raise_undefined();
            }
            fault.step_over();
            Action::Resume
        }
        FaultCause::Svc(0) => {
            fault.registers()[0] += 1;
            Action::Resume
        }
        _ => Action::Abort,
    }
}

/// The heap takes pages from the kernel, and page tables with them, as it grows.
fn use_the_heap() {
    let words: Vec<String> = args().map(String::from).collect();
    let numbers: Vec<u64> = (1..=10_000).collect();
    let sum: u64 = numbers.iter().sum();
    println!(
        "minimal: heap of {} pages holds {} words and numbers up to 10000, whose sum is {sum}",
        heap::pages(),
        words.len(),
    );
}
