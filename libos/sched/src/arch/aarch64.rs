//! Contexts of AArch64 threads.
//!
//! ```text
//!   gave its core away itself      on its own stack, from `sp` up:
//!                                    x19 .. x30, d8 .. d15, FPCR, TPIDR_EL0
//!   was interrupted                in its context:
//!                                    x0 .. x30, SP, PC, PSTATE (a frame), v0 .. v31, FPCR, FPSR, TPIDR_EL0
//! ```
//!
//! What a function may change (AAPCS64, 6.1) needs not be kept by a thread that calls one. Of the vector
//! registers that leaves the lower halves of v8 to v15. FPCR is neither kept nor free: its modes are the
//! thread's own, so they go with it; FPSR's flags are undefined at a call.
//!
//! A whole context is loaded in two steps: vectors and thread pointer here, the rest by the kernel, out of
//! a frame in the u-area that looks like an upcall's. That is the one way at EL0 to load all registers,
//! PC and flags at once. The lock and the mask are given up after the frame is held and the context read, and
//! before the call: from there on nothing of this flow of control is in memory, but in that frame.
#![expect(unsafe_code, reason = "stacks and registers change under the compiler")]

use core::arch::naked_asm;
use core::mem::offset_of;

use exopi_rt::domain::ObjectName;
use exopi_rt::uarea::{Frame, UArea, UpcallClass, Vectors};
use exopi_rt::{Call, environment as environments, exposed, time, upcall};

use crate::runtime::RUNTIME;

/// The class of upcalls whose frame whole contexts are loaded from: that which interrupts threads.
pub(crate) const CLASS: UpcallClass = UpcallClass::Notice;

/// Bytes of what a function keeps.
const KEPT: usize = 22 * 8;

/// Where a thread goes on.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// Of one that gave its core away: below it is what it keeps. 0 for one that was interrupted.
    sp: u64,
    /// Thread pointer of one that was interrupted.
    thread: u64,
    /// All else of one that was interrupted.
    vectors: Vectors,
    frame: Frame,
}

impl Context {
    /// Nowhere.
    pub(crate) const fn new() -> Self {
        Self {
            sp: 0,
            thread: 0,
            vectors: Vectors {
                v: [0; 32],
                fpcr: 0,
                fpsr: 0,
            },
            frame: Frame {
                x: [0; 31],
                sp: 0,
                pc: 0,
                pstate: 0,
                esr: 0,
                far: 0,
                held: 0,
            },
        }
    }

    /// It goes on with `main(argument)` on a stack that ends at `top`. `main` returns the context to go on with
    /// when the thread has ended.
    ///
    /// # Safety
    /// `top` must be a multiple of 16 and the end of memory that is the thread's own.
    pub(crate) unsafe fn prepare(
        &mut self,
        top: *mut u8,
        main: extern "C-unwind" fn(*mut ()) -> *mut Context,
        argument: *mut (),
    ) {
        let kept = top.wrapping_sub(KEPT).cast::<u64>();
        let mut words = [0; KEPT / 8];
        // x19, x20, x30: see `restore`.
        words[0] = main as usize as u64;
        words[1] = argument as u64;
        words[11] = begin as *const () as u64;
        // SAFETY: the caller says that the memory is there and nobody else's.
        unsafe { kept.cast::<[u64; KEPT / 8]>().write(words) };
        self.sp = kept as u64;
    }

    /// Keeps a state that an upcall has interrupted.
    fn keep(&mut self, frame: &Frame, vectors: &Vectors) {
        self.sp = 0;
        self.thread = thread_pointer();
        self.vectors = *vectors;
        self.frame = *frame;
    }

    /// Makes the end of an upcall go on here. True if that is a whole context, which needs no more.
    fn load(&mut self, frame: &mut Frame, vectors: &mut Vectors) -> bool {
        if self.sp == 0 {
            let held = frame.held;
            *frame = Frame { held, ..self.frame };
            *vectors = self.vectors;
            set_thread_pointer(self.thread);
            return true;
        }
        // `restore` loads all that matters, and keeps the flags that nobody relies on.
        frame.x[0] = core::ptr::from_mut(self) as u64;
        frame.pc = enter as *const () as u64;
        false
    }
}

/// Goes on in `to`, from a handler of upcalls that has interrupted `from`: when the handler ends. True if that
/// was interrupted, too.
///
/// # Safety
/// Both must be contexts of the caller's, `from` the one that `frame` and `vectors` are of.
pub(crate) unsafe fn begin_handler(
    from: *mut Context,
    to: *mut Context,
    frame: &mut Frame,
    vectors: &mut Vectors,
) -> bool {
    // SAFETY: the caller says that it is a context.
    unsafe { &mut *from }.keep(frame, vectors);
    // SAFETY: as above, and the first reference is gone.
    unsafe { &mut *to }.load(frame, vectors)
}

/// Leaves `from` for `to`, and returns when somebody leaves another one for `from`.
///
/// # Safety
/// Both must be contexts that nobody else uses. `to` must be where a thread waits to go on, and the lock be
/// the caller's: it is `to`'s from there on.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch(from: *mut Context, to: *mut Context) {
    naked_asm!(
        "sub sp, sp, #{kept}",
        "stp x19, x20, [sp, #0]",
        "stp x21, x22, [sp, #16]",
        "stp x23, x24, [sp, #32]",
        "stp x25, x26, [sp, #48]",
        "stp x27, x28, [sp, #64]",
        "stp x29, x30, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mrs x9, fpcr",
        "mrs x10, tpidr_el0",
        "stp x9, x10, [sp, #160]",
        "mov x9, sp",
        "str x9, [x0, #{sp}]",
        "mov x0, x1",
        "b {enter}",
        kept = const KEPT,
        sp = const offset_of!(Context, sp),
        enter = sym enter,
    )
}

/// Goes on in a context, from anywhere, with nothing kept.
#[unsafe(naked)]
unsafe extern "C" fn enter(to: *mut Context) -> ! {
    naked_asm!(
        "ldr x9, [x0, #{sp}]",
        "cbz x9, 2f",
        "mov sp, x9",
        "ldp x9, x10, [sp, #160]",
        "msr fpcr, x9",
        "msr tpidr_el0, x10",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x19, x20, [sp, #0]",
        "ldp x21, x22, [sp, #16]",
        "ldp x23, x24, [sp, #32]",
        "ldp x25, x26, [sp, #48]",
        "ldp x27, x28, [sp, #64]",
        "ldp x29, x30, [sp, #80]",
        "add sp, sp, #{kept}",
        "ret",
        "2: b {whole}",
        sp = const offset_of!(Context, sp),
        kept = const KEPT,
        whole = sym enter_whole,
    )
}

/// Goes on in a context that was interrupted: the frame, the vectors, then lock and mask are given up, and
/// the kernel loads the frame. No stack is used.
#[unsafe(naked)]
unsafe extern "C" fn enter_whole(to: *mut Context) -> ! {
    naked_asm!(
        "mrs x1, tpidrro_el0",
        "add x2, x1, #{frame}",
        "add x3, x0, #{saved}",
        "mov x4, #{pairs}",
        "1: ldp x5, x6, [x3], #16",
        "stp x5, x6, [x2], #16",
        "sub x4, x4, #1",
        "cbnz x4, 1b",
        // The last word, `held`, which the loop has left.
        "mov x5, #1",
        "str x5, [x2]",
        "ldr x5, [x0, #{thread}]",
        "msr tpidr_el0, x5",
        "add x3, x0, #{vectors}",
        "ld1 {{v0.2d-v3.2d}}, [x3], #64",
        "ld1 {{v4.2d-v7.2d}}, [x3], #64",
        "ld1 {{v8.2d-v11.2d}}, [x3], #64",
        "ld1 {{v12.2d-v15.2d}}, [x3], #64",
        "ld1 {{v16.2d-v19.2d}}, [x3], #64",
        "ld1 {{v20.2d-v23.2d}}, [x3], #64",
        "ld1 {{v24.2d-v27.2d}}, [x3], #64",
        "ld1 {{v28.2d-v31.2d}}, [x3], #64",
        "ldp x5, x6, [x3]",
        "msr fpcr, x5",
        "msr fpsr, x6",
        "adrp x3, {runtime}",
        "add x3, x3, :lo12:{runtime}",
        "stlr xzr, [x3]",
        "str xzr, [x1, #{masked}]",
        "mov x0, #{class}",
        "svc #{resume}",
        "udf #0",
        frame = const offset_of!(UArea, frames) + CLASS as usize * size_of::<Frame>(),
        saved = const offset_of!(Context, frame),
        pairs = const offset_of!(Frame, held) / 16,
        thread = const offset_of!(Context, thread),
        vectors = const offset_of!(Context, vectors),
        runtime = sym RUNTIME,
        masked = const offset_of!(UArea, masked),
        class = const CLASS as u64,
        resume = const Call::resume as u16,
    )
}

const _: () = assert!(
    offset_of!(Frame, held).is_multiple_of(16) && offset_of!(Frame, held) + 8 == size_of::<Frame>(),
    "pairs of words, and `held` after them"
);

/// The first code of a thread: x19 is its function, x20 that one's argument. What it returns is gone on with.
/// The chain of frames ends here.
#[unsafe(naked)]
unsafe extern "C" fn begin() -> ! {
    naked_asm!(
        "mov x0, x20",
        "blr x19",
        "b {enter}",
        enter = sym enter,
    )
}

/// Goes on in a context, for good.
///
/// # Safety
/// As for [`switch`]; nothing on the caller's stack is used any more.
pub(crate) unsafe fn leave(to: *mut Context) -> ! {
    // SAFETY: the caller answers for it.
    unsafe { enter(to) }
}

/// The calling thread's pointer for itself.
pub(crate) fn thread_pointer() -> u64 {
    let word;
    // SAFETY: it reads a register.
    unsafe {
        core::arch::asm!("mrs {}, tpidr_el0", out(reg) word, options(nomem, nostack, preserves_flags));
    };
    word
}

/// Sets the calling thread's pointer for itself.
pub(crate) fn set_thread_pointer(word: u64) {
    // SAFETY: the register is the program's own, and Rust keeps nothing in it.
    unsafe {
        core::arch::asm!("msr tpidr_el0, {}", in(reg) word, options(nomem, nostack, preserves_flags));
    };
}

/// The calling environment, as a word that no other one has.
#[inline]
pub(crate) fn environment() -> u64 {
    environments::own().map_or(upcall::uarea() as u64, ObjectName::word)
}

/// Whether an environment is there.
pub(crate) fn is_alive(environment: u64) -> bool {
    exposed::environment(ObjectName::from_word(environment)).is_some()
}

/// Whether the caller is a handler of upcalls.
pub(crate) fn in_upcall() -> bool {
    (0..UpcallClass::COUNT).any(is_held)
}

/// Whether a handler of faults runs, or was interrupted.
pub(crate) fn in_fault() -> bool {
    is_held(UpcallClass::Fault as usize)
}

fn is_held(class: usize) -> bool {
    let frames = upcall::uarea().wrapping_byte_add(offset_of!(UArea, frames));
    let frame = frames.cast::<Frame>().wrapping_add(class);
    let held = frame
        .wrapping_byte_add(offset_of!(Frame, held))
        .cast::<u64>();
    // SAFETY: the u-area is mapped for as long as the environment runs.
    unsafe { held.read_volatile() != 0 }
}

/// Ticks of the clock.
#[inline]
pub(crate) fn now() -> u64 {
    time::ticks()
}

/// A place where tests off target let another thread go first. Here every instruction is one.
#[inline(always)]
pub(crate) fn chance() {}
