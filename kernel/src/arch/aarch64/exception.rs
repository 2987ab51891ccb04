//! What becomes of an exception that the kernel itself took.
//!
//! Two are expected: user memory that is not there ([`super::user`]), and the semihosting trap where
//! nobody listens. Every other one is a failure of the kernel's: a record of it is printed and the
//! machine stops. Nothing that EL0 does may lead here.
#![expect(unsafe_code, reason = "called from the vectors, and looks at stacks")]

use core::fmt;

use super::core_data::{CoreNumber, EMERGENCY_TOP, SLOT_BYTES};
use super::{mmu, semihosting, user};
use crate::failure;

/// The state that a kernel exception interrupted, as the vectors save it.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Record {
    /// x0..x30.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// The instruction.
    pub pc: u64,
    /// Processor state.
    pub pstate: u64,
    /// Syndrome.
    pub esr: u64,
    /// Address that faulted, where there is one.
    pub far: u64,
    /// Which vector: see [`VECTORS`].
    kind: u64,
}

impl Record {
    /// Bytes that the vectors make room for.
    pub const BYTES: usize = size_of::<Self>();
}

/// The vectors by their numbers in the table of [`super::vectors`].
const VECTORS: [&str; 14] = [
    "synchronous exception on SP_EL0",
    "interrupt on SP_EL0",
    "fast interrupt on SP_EL0",
    "SError on SP_EL0",
    "synchronous exception",
    "interrupt",
    "fast interrupt",
    "SError",
    "fast interrupt from EL0",
    "SError from EL0",
    "synchronous exception from AArch32",
    "interrupt from AArch32",
    "fast interrupt from AArch32",
    "SError from AArch32",
];

/// The vector of a synchronous exception that interrupted the kernel on its own stack.
const SYNCHRONOUS: u64 = 4;

/// A syndrome, printed as what it means.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The syndrome register.
    pub esr: u64,
    /// The fault address register.
    pub far: u64,
}

impl Cause {
    /// Exception class: ARM DDI 0487, D24.2.40, table "EC".
    pub const fn class(self) -> u64 {
        self.esr >> 26 & 0x3f
    }

    /// Whether this is a data or instruction abort whose status says that nothing is mapped there, or
    /// not for this (status codes 0b0001xx translation, 0b0010xx access flag, 0b0011xx permission).
    fn is_memory_fault(self) -> bool {
        let status = self.esr & 0x3f;
        (0b00_0100..0b01_0000).contains(&status)
    }
}

/// Names of fault status codes, without the level in their lowest two bits.
fn status_name(status: u64) -> &'static str {
    match status >> 2 {
        0b0000 => "address size fault",
        0b0001 => "translation fault (not mapped)",
        0b0010 => "access flag fault",
        0b0011 => "permission fault",
        0b0100 => "synchronous external abort",
        0b0101 => "external abort on a table walk",
        0b1000 => "alignment fault",
        _ => "abort",
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.esr & 0x3f;
        let abort = |f: &mut fmt::Formatter<'_>, what| {
            let level = status & 3;
            let name = status_name(status);
            write!(f, "{what} {:#x}: {name}, level {level}", self.far)
        };
        match self.class() {
            0x00 => f.write_str("undefined instruction"),
            0x01 => f.write_str("trapped WFI or WFE"),
            0x07 => f.write_str("floating point is off"),
            0x0e => f.write_str("illegal execution state"),
            0x15 => write!(f, "svc #{}", self.esr & 0xffff),
            0x18 => f.write_str("trapped system register"),
            0x20 | 0x21 => abort(f, "instruction abort at"),
            0x22 => write!(f, "misaligned PC {:#x}", self.far),
            0x24 | 0x25 if self.esr >> 6 & 1 == 1 => abort(f, "data abort, write to"),
            0x24 | 0x25 => abort(f, "data abort, read of"),
            0x26 => f.write_str("misaligned SP"),
            0x2c => f.write_str("floating point exception"),
            0x2f => f.write_str("SError"),
            0x30 | 0x31 => write!(f, "breakpoint at {:#x}", self.far),
            0x32 | 0x33 => f.write_str("single step"),
            0x34 | 0x35 => write!(f, "watchpoint at {:#x}", self.far),
            0x3c => write!(f, "brk #{}", self.esr & 0xffff),
            class => write!(f, "exception class {class:#x}"),
        }
    }
}

/// Called by the vectors with what they saved. Returns if the exception was expected, with the record
/// changed to where it goes on.
///
/// # Safety
/// `record` points to the record that the vectors just made on this core's stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn __look_at_kernel_exception(record: *mut Record) {
    // SAFETY: the vectors' promise above; nobody else knows of the record.
    let record = unsafe { &mut *record };
    let cause = Cause {
        esr: record.esr,
        far: record.far,
    };
    if record.kind == SYNCHRONOUS {
        if cause.is_memory_fault()
            && cause.class() == 0x25
            && let Some(fixup) = user::fixup(record.pc)
        {
            record.pc = fixup;
            return;
        }
        if cause.class() == 0 && record.pc == semihosting::trap() {
            record.pc += 4;
            return;
        }
    }
    failure::exception(record, &decoded(record, cause));
}

/// The headline of a failure: which exception, and whether it is the stack's end that was hit.
struct Headline {
    vector: &'static str,
    cause: Cause,
    in_guard: bool,
}

fn decoded(record: &Record, cause: Cause) -> Headline {
    let slot = mmu::stack_slot(CoreNumber::current());
    let guard = slot + EMERGENCY_TOP..slot + SLOT_BYTES / 2;
    Headline {
        vector: VECTORS.get(record.kind as usize).unwrap_or(&"exception"),
        cause,
        in_guard: guard.contains(&(cause.far as usize)) && cause.is_memory_fault(),
    }
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_guard {
            f.write_str("kernel stack overflow; ")?;
        }
        match self.vector {
            "synchronous exception" => write!(f, "{}", self.cause),
            vector => write!(f, "{vector}; {}", self.cause),
        }
    }
}

/// The calls that `frame_pointer` leads along on the stack, the innermost first: each the address of the
/// calling instruction, since the one after it may belong to another function. Stops at whatever does
/// not look like a frame of this core's stacks, so that a damaged stack ends the walk and not the
/// walker.
pub fn backtrace(frame_pointer: u64) -> impl Iterator<Item = u64> {
    let slot = mmu::stack_slot(CoreNumber::current()) as u64;
    let stack = slot..slot + SLOT_BYTES as u64;
    let mut next = frame_pointer;
    core::iter::from_fn(move || {
        let at = next;
        let mapped = |address: u64| {
            let page = (address - slot) & !0xfff;
            page != 0 && page != EMERGENCY_TOP as u64
        };
        if !at.is_multiple_of(16) || !stack.contains(&at) || !mapped(at) {
            return None;
        }
        // SAFETY: the address is aligned, and in a mapped page of this core's own stacks.
        let [caller, return_address] = unsafe { (at as *const [u64; 2]).read() };
        // Frames lie at ever higher addresses, so the walk ends.
        next = if caller > at { caller } else { 0 };
        Some(return_address)
    })
    .take_while(|address| *address != 0)
    .map(|address| address.wrapping_sub(4))
    .take(32)
}
