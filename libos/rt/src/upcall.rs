//! Upcalls: a program handles its own exceptions, `svc #0` among them, and hears of what happens elsewhere.
//!
//! The kernel leaves the interrupted state in the u-area's frame of the class and enters the program at a
//! place of its choice. Here that is a trampoline, one for all classes, which makes of it a Rust function:
//!
//! ```text
//!   event --> kernel: frame := x0..x30, SP, PC, PSTATE --> trampoline: save v0..v31, FPCR, FPSR
//!                                                            |
//!   interrupted code <-- resume(class) <-- restore FP <-- handler(&mut frame) on its own stack
//! ```
//!
//! * A *fault* is the program's own doing. One inside a fault's handler suspends the environment: there is one
//!   frame.
//! * A *notice* comes between any two instructions, a fault's handler included. Where it must not come,
//!   it is [`masked`] for a moment and comes afterwards. While its handler runs, others wait.
//!
//! Handlers belong to the environment that sets them. One that is made by [`Builder`](crate::environment::Builder)
//! begins with those of the one that made it, on stacks of its own. A program with handlers written in
//! assembly sets its own entries with [`set_entry`] and needs none of this.

mod cause;
mod mask;
#[cfg(target_os = "none")]
mod trampoline;

pub use cause::{AbortKind, FaultCause};
pub use mask::{Masked, mask, masked};

use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use crate::exit;
use crate::local;
pub use crate::local::uarea;
use crate::start::ExitCode;
use crate::uarea::{Entry, Frame, UArea, UpcallClass, Vectors};

/// What happens when a fault's handler returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Action {
    /// The interrupted code goes on, with the state as the handler has left it.
    Resume = 0,
    /// The program ends: the fault is printed, the status is [`ExitCode::PANICKED`].
    Abort = 1,
}

/// A handler of faults. It runs on a stack of [`STACK_BYTES`] of its own; it must not fault.
pub type Handler = fn(&mut Fault<'_>) -> Action;

/// A handler of notices. It runs on a stack of [`STACK_BYTES`] of its own, between two instructions of
/// whatever the environment was doing.
pub type NoticeHandler = fn(&mut Notice<'_>);

/// Size of the stack that handlers of a class run on.
pub const STACK_BYTES: usize = 32 * 1024;

/// An interrupted state, and why it was interrupted.
///
/// Changing it from safe code is sound for this reason: safe Rust never faults. Where code faults on
/// purpose, it is in an `unsafe` block, and that block answers for what its handler does with it.
///
/// It *is* the u-area's frame, so that a handler gets it in a register.
#[derive(Debug)]
#[repr(transparent)]
pub struct Fault<'a> {
    frame: Frame,
    held: PhantomData<&'a mut Frame>,
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
        &mut self.frame
    }
}

/// An interrupted state, and what was to be told.
///
/// Changing it is as for [`Fault`]: safe code is interrupted without noticing, and goes on as it was unless
/// the handler says otherwise, in whose hands that is.
#[derive(Debug)]
pub struct Notice<'a> {
    frame: &'a mut Frame,
}

impl Notice<'_> {
    /// What has happened: bit n is notice n, as it was bound.
    pub fn bits(&self) -> u32 {
        self.frame.esr as u32
    }

    /// The whole frame.
    pub fn frame(&mut self) -> &mut Frame {
        self.frame
    }
}

/// What the trampoline of faults calls, for libraries to which a call less matters: a [`Handler`] by the C
/// calling convention.
pub type FaultFunction = extern "C" fn(&mut Fault<'_>) -> Action;

/// From now on `handler` handles the calling environment's faults. Off target there are none.
pub fn on_fault(handler: Handler) {
    local::own().handlers[UpcallClass::Fault as usize].store(handler as *mut (), Ordering::Release);
    on_fault_call(handle_fault);
}

/// The same, with the trampoline calling `function` itself.
pub fn on_fault_call(function: FaultFunction) {
    set_function(UpcallClass::Fault, function as *mut ());
}

/// From now on `handler` handles the calling environment's notices. Off target there are none.
pub fn on_notice(handler: NoticeHandler) {
    local::own().handlers[UpcallClass::Notice as usize]
        .store(handler as *mut (), Ordering::Release);
    set_function(UpcallClass::Notice, handle_notice as *mut ());
}

/// What the trampoline of notices calls, for libraries that go on elsewhere: with the general registers in the
/// frame, and the vector registers as they were. What it leaves in both is gone on with.
pub type NoticeFunction = extern "C" fn(&mut Frame, &mut Vectors) -> Action;

/// As [`on_notice`], with the trampoline calling `function` itself.
pub fn on_notice_call(function: NoticeFunction) {
    set_function(UpcallClass::Notice, function as *mut ());
}

/// `function` is what the class's trampoline expects.
fn set_function(class: UpcallClass, function: *mut ()) {
    // Before the entry: once there is one, there is a function.
    local::own().functions[class as usize].store(function, Ordering::Release);
    #[cfg(target_os = "none")]
    {
        let entry = trampoline::entry(class);
        #[expect(unsafe_code, reason = "the entry is where the kernel jumps to")]
        // SAFETY: the trampoline keeps the contract of a handler, on a stack that only it uses.
        unsafe {
            set_entry(class, entry);
        }
    }
}

/// What an environment that is made by the calling one begins with: the function and the handler of a class,
/// as words, and where its trampoline is.
pub(crate) fn inherited(class: UpcallClass) -> Option<(u64, u64, u64)> {
    let function = local::own().functions[class as usize].load(Ordering::Acquire);
    let handler = local::own().handlers[class as usize].load(Ordering::Acquire);
    #[cfg(target_os = "none")]
    let pc = trampoline::pc(class);
    #[cfg(not(target_os = "none"))]
    let pc = 0;
    (!function.is_null()).then_some((function as u64, handler as u64, pc))
}

/// The entry of a class of upcalls that is in force for the calling environment, to put it back later.
#[expect(
    unsafe_code,
    reason = "the u-area is at an address that a register tells"
)]
pub fn entry(class: UpcallClass) -> Entry {
    // SAFETY: the field is readable, and only the program itself ever writes it.
    unsafe { entry_place(class).read_volatile() }
}

/// Sets where upcalls of a class enter the calling environment, past everything in this module; a `pc` of 0
/// means that one suspends it.
///
/// # Safety
/// What is at `pc` must keep the contract of [`uarea`](crate::uarea), for the interrupted code and
/// for the memory below `sp`.
#[expect(unsafe_code, reason = "the entry is where the kernel jumps to")]
pub unsafe fn set_entry(class: UpcallClass, entry: Entry) {
    // SAFETY: the field is writable, and only the program itself ever reads it besides the kernel.
    unsafe { entry_place(class).write_volatile(entry) };
}

/// Where the u-area holds the entry of a class.
fn entry_place(class: UpcallClass) -> *mut Entry {
    uarea()
        .wrapping_byte_add(offset_of!(UArea, entries))
        .cast::<Entry>()
        .wrapping_add(class as usize)
}

/// Runs the handler of faults on the frame.
#[expect(unsafe_code, reason = "a function from a word")]
extern "C" fn handle_fault(fault: &mut Fault<'_>) -> Action {
    let handler = local::own().handlers[UpcallClass::Fault as usize].load(Ordering::Relaxed);
    if handler.is_null() {
        return Action::Abort;
    }
    // SAFETY: only `on_fault` stores here, and what it stores is a `Handler`.
    let handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
    handler(fault)
}

/// What the trampolines call when their function's answer was [`Action::Abort`].
#[cfg_attr(
    not(target_os = "none"),
    expect(dead_code, reason = "there are no upcalls")
)]
#[expect(unsafe_code, reason = "a frame of the kernel's")]
extern "C" fn abort() -> ! {
    let frames = uarea().wrapping_byte_add(offset_of!(UArea, frames));
    // SAFETY: the u-area is mapped and ours, and a `Fault` is a frame. It is held, or has been, and nobody
    // else refers to it any more.
    let fault = unsafe { &*frames.cast::<Fault<'_>>() };
    crate::println!("fault: {:x?} at pc {:#x}", fault.cause(), fault.pc());
    exit(ExitCode::PANICKED)
}

/// Runs the handler of notices on the frame.
#[expect(unsafe_code, reason = "a function from a word")]
extern "C" fn handle_notice(frame: &mut Frame) -> Action {
    let handler = local::own().handlers[UpcallClass::Notice as usize].load(Ordering::Relaxed);
    if !handler.is_null() {
        // SAFETY: only `on_notice` stores here, and what it stores is a `NoticeHandler`.
        let handler = unsafe { core::mem::transmute::<*mut (), NoticeHandler>(handler) };
        handler(&mut Notice { frame });
    }
    Action::Resume
}

const _: () = assert!(
    UpcallClass::Fault as usize == 0,
    "`abort` takes the first frame"
);

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
