//! The kernel's last words: a record of what went wrong, then the end of the machine.
//!
//! The form is a contract with `exo`, which adds names to the addresses, and with the tests:
//!
//! ```text
//!   KERNEL EXCEPTION on core 0: data abort, write to 0x10: translation fault (not mapped), level 1
//!     environment 3, epoch 0x51, ran on it          or: no environment ran on it
//!     pc 0x... sp 0x... pstate 0x... esr 0x... far 0x...
//!     x0 0x... x1 0x... ...
//!   backtrace:
//!     at 0x...
//! ```

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use exopi_abi::exit;
use exopi_domains::Subject;

use crate::arch::core_data::{Core, CoreNumber};
use crate::arch::exception::{Record, backtrace};
use crate::arch::smp;
use crate::{console, interrupts, power};

/// Which core failed first, counted from 1; 0 while none has.
static FAILED: AtomicUsize = AtomicUsize::new(0);

macro_rules! say {
    ($($argument:tt)*) => { console::print(format_args!($($argument)*)) };
}

/// Reports an exception that the kernel took and did not expect, and ends the machine.
pub fn exception(record: &Record, cause: &dyn fmt::Display) -> ! {
    begin();
    say!("\nKERNEL EXCEPTION on core {}: {cause}\n", here());
    say_who();
    say!(
        "  pc {:#018x} sp {:#018x} pstate {:#x}",
        record.pc,
        record.sp,
        record.pstate
    );
    say!(" esr {:#x} far {:#018x}\n", record.esr, record.far);
    for (row, registers) in record.x.chunks(4).enumerate() {
        for (column, value) in registers.iter().enumerate() {
            say!("  x{:<2} {value:#018x}", row * 4 + column);
        }
        say!("\n");
    }
    end(record.pc, record.x[29])
}

/// Reports that the kernel found itself wrong, and ends the machine.
fn panicked(info: &PanicInfo<'_>) -> ! {
    begin();
    say!("\nKERNEL PANIC on core {}: {}", here(), info.message());
    if let Some(location) = info.location() {
        say!(" ({}:{})", location.file(), location.line());
    }
    say!("\n");
    say_who();
    end(0, frame_pointer())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}

fn here() -> usize {
    CoreNumber::current().index()
}

/// Tells which environment the core had when it failed.
fn say_who() {
    match Core::subject() {
        Some(Subject { name, .. }) => say!(
            "  environment {}, epoch {:#x}, ran on it\n",
            name.index,
            name.epoch.bits()
        ),
        None => say!("  no environment ran on it\n"),
    }
}

fn frame_pointer() -> u64 {
    use aarch64_cpu::registers::{FP, Readable};
    FP.get()
}

/// Makes this core the only one that runs, and the console its own. A failure while the record is
/// printed prints nothing more; one of another core leaves the record to the first.
fn begin() {
    let me = here() + 1;
    match FAILED.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        // It may have happened while the console was in hand.
        Err(first) if first == me => power::off_at_once(exit::KERNEL_FAILURE),
        Err(_) => smp::sleep_for_good(),
    }
    #[expect(unsafe_code, reason = "the kernel does not go on")]
    // SAFETY: this core does not go on, and the others are about to be stopped; until they are, a core
    // that still holds the controller may lose an interrupt of its own, which nobody misses.
    unsafe {
        interrupts::seize();
    }
    smp::stop_others();
    #[expect(unsafe_code, reason = "the kernel does not go on")]
    // SAFETY: as above; a core that prints at this moment mixes its line with ours.
    unsafe {
        console::seize();
    }
}

fn end(pc: u64, frame_pointer: u64) -> ! {
    say!("backtrace:\n");
    for address in (pc != 0)
        .then_some(pc)
        .into_iter()
        .chain(backtrace(frame_pointer))
    {
        say!("  at {address:#018x}\n");
    }
    power::off(exit::KERNEL_FAILURE)
}
