//! Fault upcalls: a program handles its own exceptions, `svc #0` among them.
//!
//! The kernel leaves the interrupted state in the u-area's frame and enters the program at a place of
//! its choice. Here that is a trampoline, which makes of it a Rust function:
//!
//! ```text
//!   exception --> kernel: frame := x0..x30, SP, PC, PSTATE --> trampoline: save v0..v31, FPCR, FPSR
//!                                                                |
//!   interrupted code <-- resume(Fault) <-- restore FP <-- handler(&mut Fault) on its own stack
//! ```
//!
//! A fault inside a handler suspends the environment: there is one frame. A program with handlers
//! written in assembly sets its own entry with [`set_entry`] and needs none of this.

mod cause;
#[cfg(target_os = "none")]
mod trampoline;

pub use cause::{AbortKind, FaultCause};

use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::exit;
use crate::start::ExitCode;
use crate::uarea::{Entry, Frame, UArea, UpcallClass};

/// What happens when a handler returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The interrupted code goes on, with the state as the handler has left it.
    Resume,
    /// The program ends: the fault is printed, the status is [`ExitCode::PANICKED`].
    Abort,
}

/// A handler of faults. It runs on a stack of [`STACK_BYTES`] of its own; it must not fault.
pub type Handler = fn(&mut Fault<'_>) -> Action;

/// Size of the stack that handlers run on.
pub const STACK_BYTES: usize = 32 * 1024;

/// The handler in force; null for none.
static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// An interrupted state, and why it was interrupted.
///
/// Changing it from safe code is sound for this reason: safe Rust never faults. Where code faults on
/// purpose, it is in an `unsafe` block, and that block answers for what its handler does with it.
#[derive(Debug)]
pub struct Fault<'a> {
    frame: &'a mut Frame,
}

impl Fault<'_> {
    /// What happened.
    pub fn cause(&self) -> FaultCause {
        FaultCause::decode(self.frame.esr, self.frame.far)
    }

    /// The exception syndrome as the processor gave it.
    pub fn syndrome(&self) -> u64 {
        self.frame.esr
    }

    /// The address that faulted, where the syndrome says that there is one.
    pub fn address(&self) -> u64 {
        self.frame.far
    }

    /// Where it goes on: the faulting instruction itself, or the one after an `svc`.
    pub fn pc(&self) -> u64 {
        self.frame.pc
    }

    /// Sets where it goes on.
    pub fn set_pc(&mut self, pc: u64) {
        self.frame.pc = pc;
    }

    /// Goes on behind the instruction that faulted.
    pub fn step_over(&mut self) {
        self.frame.pc = self.frame.pc.wrapping_add(4);
    }

    /// Its stack pointer.
    pub fn sp(&self) -> u64 {
        self.frame.sp
    }

    /// Sets its stack pointer.
    pub fn set_sp(&mut self, sp: u64) {
        self.frame.sp = sp;
    }

    /// Its registers x0..x30.
    pub fn registers(&mut self) -> &mut [u64; 31] {
        &mut self.frame.x
    }

    /// The whole frame.
    pub fn frame(&mut self) -> &mut Frame {
        self.frame
    }
}

/// From now on `handler` handles the program's faults.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the entry is where the kernel jumps to")]
pub fn on_fault(handler: Handler) {
    HANDLER.store(handler as *mut (), Ordering::Release);
    // SAFETY: the trampoline keeps the contract of a handler, on a stack that only it uses.
    unsafe { set_entry(trampoline::entry()) };
}

/// From now on `handler` handles the program's faults. Off target there are none.
#[cfg(not(target_os = "none"))]
pub fn on_fault(handler: Handler) {
    HANDLER.store(handler as *mut (), Ordering::Release);
}

/// The entry of fault upcalls that is in force, to put it back later.
#[expect(
    unsafe_code,
    reason = "the u-area is at an address that a register tells"
)]
pub fn entry() -> Entry {
    // SAFETY: the field is readable, and only the program itself ever writes it.
    unsafe { entry_place().read_volatile() }
}

/// Sets where fault upcalls enter the program, past everything in this module; a `pc` of 0 means
/// that a fault suspends the environment.
///
/// # Safety
/// What is at `pc` must keep the contract of [`uarea`](crate::uarea), for the interrupted code and
/// for the memory below `sp`.
#[expect(unsafe_code, reason = "the entry is where the kernel jumps to")]
pub unsafe fn set_entry(entry: Entry) {
    // SAFETY: the field is writable, and only the program itself ever reads it besides the kernel.
    unsafe { entry_place().write_volatile(entry) };
}

/// Where the u-area holds the entry of fault upcalls.
fn entry_place() -> *mut Entry {
    uarea()
        .wrapping_byte_add(offset_of!(UArea, entries))
        .cast::<Entry>()
        .wrapping_add(UpcallClass::Fault as usize)
}

/// The u-area.
pub fn uarea() -> *mut UArea {
    use aarch64_cpu::registers::{Readable, TPIDRRO_EL0};

    TPIDRRO_EL0.get() as *mut UArea
}

/// What the trampoline calls: runs the handler on the frame.
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "there are no upcalls")
)]
#[expect(
    unsafe_code,
    reason = "the frame is at an address that a register tells"
)]
extern "C" fn handle() {
    // SAFETY: the u-area is mapped, writable, and ours; while its frame is held the kernel does not
    // touch it, and this function is entered only with the frame held, so only once at a time.
    let frame = unsafe { &mut (*uarea()).frames[UpcallClass::Fault as usize] };
    let mut fault = Fault { frame };
    let handler = HANDLER.load(Ordering::Acquire);
    let action = if handler.is_null() {
        Action::Abort
    } else {
        // SAFETY: only `on_fault` stores here, and what it stores is a `Handler`.
        let handler: Handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
        handler(&mut fault)
    };
    if action == Action::Abort {
        crate::println!("fault: {:x?} at pc {:#x}", fault.cause(), fault.pc());
        exit(ExitCode::PANICKED);
    }
}

/// Runs an undefined instruction. The handler is expected to step over it.
pub fn raise_undefined() {
    instruction::undefined();
}

/// Runs `svc #0`, which is no call of the kernel's, with `word` in x0. What the handler leaves in x0
/// comes back.
pub fn reflect(word: u64) -> u64 {
    instruction::svc0(word)
}

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "instructions that no Rust code becomes")]
mod instruction {
    use core::arch::asm;

    pub(super) fn undefined() {
        // SAFETY: it becomes a fault upcall. Its handler may change what a function may change.
        unsafe { asm!("udf #0", clobber_abi("C")) };
    }

    pub(super) fn svc0(mut word: u64) -> u64 {
        // SAFETY: it becomes a fault upcall. Its handler may change what a function may change.
        unsafe { asm!("svc #0", inout("x0") word, clobber_abi("C")) };
        word
    }
}

/// Off target nobody handles faults.
#[cfg(not(target_os = "none"))]
mod instruction {
    pub(super) fn undefined() {}

    pub(super) fn svc0(word: u64) -> u64 {
        word
    }
}
