//! Where the kernel enters the program for an upcall: from there to Rust and back.
#![expect(unsafe_code, reason = "an entry without a caller, in assembly")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use crate::Call;
use crate::local::{self, HANDLED, Local};
use crate::uarea::{Entry, Frame, UArea, UpcallClass, Vectors};

use super::{STACK_BYTES, abort};

/// The handlers' stacks of the program's first environment, by class. Others bring their own.
#[repr(C, align(16))]
struct Stacks(UnsafeCell<[[u8; STACK_BYTES]; HANDLED]>);

// SAFETY: Rust code never refers to its contents; it is only ever stack pointers'.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(UnsafeCell::new([[0; STACK_BYTES]; HANDLED]));

/// The trampoline of a class as the kernel wants to know it, for the calling environment.
pub(super) fn entry(class: UpcallClass) -> Entry {
    let sp = match local::own().stacks[class as usize].load(Ordering::Relaxed) {
        0 => STACKS.0.get() as u64 + (class as u64 + 1) * STACK_BYTES as u64,
        sp => sp,
    };
    Entry { pc: pc(class), sp }
}

/// First instruction of a class's trampoline; 0 for the classes that have none.
pub(crate) fn pc(class: UpcallClass) -> u64 {
    let entry = match class {
        UpcallClass::Fault => fault,
        UpcallClass::Notice => notice,
        UpcallClass::SliceEnd | UpcallClass::SliceBegin | UpcallClass::Pct => return 0,
    };
    entry as *const () as u64
}

/// Where the functions are in the u-area's page.
const FUNCTIONS: usize = local::OFFSET + offset_of!(Local, functions);

/// Defines the trampoline of a class: saves what the frame does not hold and Rust may change (v0..v31, FPCR,
/// FPSR), calls the handler, and goes on. The general registers are all in the frame.
///
/// A Rust function may use any vector register, and of v8..v15 it keeps the lower halves only (AAPCS64,
/// 6.1.2), so nothing less than all of them is sound. Four go with each instruction.
///
/// ```text
///   sp + 512   FPCR, FPSR
///   sp         v0 .. v31
/// ```
///
/// The function is called with the frame, which is held, so that it is this one's alone: an
/// `extern "C" fn(&mut Frame) -> Action`. What the instructions behind the class do comes before the call: they
/// may pass more.
macro_rules! trampoline {
    ($name:ident, $class:expr $(, $more:literal)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "sub sp, sp, #(33 * 16)",
                "mov x0, sp",
                "st1 {{v0.2d-v3.2d}}, [x0], #64",
                "st1 {{v4.2d-v7.2d}}, [x0], #64",
                "st1 {{v8.2d-v11.2d}}, [x0], #64",
                "st1 {{v12.2d-v15.2d}}, [x0], #64",
                "st1 {{v16.2d-v19.2d}}, [x0], #64",
                "st1 {{v20.2d-v23.2d}}, [x0], #64",
                "st1 {{v24.2d-v27.2d}}, [x0], #64",
                "st1 {{v28.2d-v31.2d}}, [x0], #64",
                "mrs x1, fpcr",
                "mrs x2, fpsr",
                "stp x1, x2, [x0]",
                // Rust expects the default rounding; the chain of frames ends here.
                "msr fpcr, xzr",
                "mov x29, xzr",
                "mrs x9, tpidrro_el0",
                "ldr x8, [x9, #{function}]",
                "add x0, x9, #{frame}",
                $($more,)*
                "blr x8",
                "cbnz x0, 2f",
                "mov x0, sp",
                "ld1 {{v0.2d-v3.2d}}, [x0], #64",
                "ld1 {{v4.2d-v7.2d}}, [x0], #64",
                "ld1 {{v8.2d-v11.2d}}, [x0], #64",
                "ld1 {{v12.2d-v15.2d}}, [x0], #64",
                "ld1 {{v16.2d-v19.2d}}, [x0], #64",
                "ld1 {{v20.2d-v23.2d}}, [x0], #64",
                "ld1 {{v24.2d-v27.2d}}, [x0], #64",
                "ld1 {{v28.2d-v31.2d}}, [x0], #64",
                "ldp x1, x2, [x0]",
                "msr fpcr, x1",
                "msr fpsr, x2",
                "mov x0, #{class}",
                "svc #{resume}",
                // Back here only if the frame was not held: somebody jumped to this entry.
                "udf #0",
                "2: b {abort}",
                function = const FUNCTIONS + $class as usize * 8,
                frame = const offset_of!(UArea, frames) + $class as usize * size_of::<Frame>(),
                abort = sym abort,
                class = const $class as u64,
                resume = const Call::resume as u16,
            )
        }
    };
}

trampoline!(fault, UpcallClass::Fault);
// What lies from SP on is a `Vectors`.
trampoline!(notice, UpcallClass::Notice, "mov x1, sp");

const _: () = assert!(
    offset_of!(Vectors, v) == 0
        && offset_of!(Vectors, fpcr) == 512
        && offset_of!(Vectors, fpsr) == 520
);
