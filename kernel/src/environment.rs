//! Environments: who runs, in which space, with which u-area.
//!
//! There is one so far, the first. It owns all that the kernel has no use for, and what it is refused
//! nobody else could have.
#![expect(unsafe_code, reason = "enters EL0")]

use core::arch::asm;

use exopi_abi::page::Owner;
use exopi_abi::uarea::{Frame, UArea};
use exopi_abi::{PageNumber, exit, layout};
use exopi_pages::Space;

use crate::arch::core_data::Core;
use crate::arch::exception::Cause;
use crate::arch::{mmu, timer};
use crate::{console, exposed, power};

/// Whom the first environment's resources are charged to.
pub const FIRST_OWNER: Owner = Owner::new(1, 1);

/// Number of an environment, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentNumber(u64);

impl EnvironmentNumber {
    /// The first environment, which holds the console and the board.
    pub const FIRST: Self = Self(1);

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An environment.
#[derive(Debug)]
pub struct Environment {
    /// Its address space.
    pub space: Space,
    /// Its u-area.
    pub uarea: PageNumber,
}

/// Where an environment begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// First instruction.
    pub pc: u64,
    /// x1; x0 is [`layout::FIRST_ARGUMENTS`].
    pub argument_bytes: u64,
}

impl Environment {
    /// Makes this environment the one that runs on this core.
    pub fn take_core(&self) {
        mmu::enter_space(&self.space);
        let uarea = mmu::linear_page(self.uarea) as *mut UArea;
        Core::enter(EnvironmentNumber::FIRST, uarea, layout::FIRST_UAREA);
    }
}

/// Leaves the kernel for the first time on this core, to the environment that has taken it, with all
/// registers zero but those that tell of its arguments.
pub fn begin(start: Start) -> ! {
    exposed::describe(|machine| machine.first_el0_ticks = timer::now());
    // SAFETY: the space is active; EL0 can do nothing with these registers that it could not do with
    // others. SP goes back to this core's record, as the vectors expect it. The FP registers are zeroed
    // by encoded instructions (MOVI Vn.2D, #0), since the kernel is built without them.
    unsafe {
        asm!(
            "mov sp, x9",
            "msr elr_el1, x10",
            "msr sp_el0, x11",
            "msr spsr_el1, xzr",
            "msr tpidr_el0, xzr",
            // MSR FPCR, XZR and MSR FPSR, XZR.
            ".inst 0xd51b441f",
            ".inst 0xd51b443f",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            ".inst 0x6f00e400 + \\n",
            ".inst 0x6f00e410 + \\n",
            ".endr",
            ".irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
            "mov x\\n, #0",
            ".endr",
            "eret",
            in("x9") Core::address().get(),
            in("x10") start.pc,
            in("x11") layout::FIRST_STACK_TOP,
            in("x0") layout::FIRST_ARGUMENTS,
            in("x1") start.argument_bytes,
            options(noreturn),
        )
    }
}

/// The environment on this core took an upcall that could not be delivered; it does not run again. It is
/// the first one, and there is nobody to tell and nobody else to run: the machine ends.
pub fn suspended(frame: &Frame, cause: Cause) -> ! {
    let why = if frame.held == 0 {
        "no fault handler"
    } else {
        "a fault in its fault handler"
    };
    let pc = current_pc();
    console::print(format_args!(
        "first environment suspended: {cause}, at pc {pc:#x}: {why}\n"
    ));
    power::off(exit::FIRST_ENVIRONMENT_DIED)
}

fn current_pc() -> u64 {
    use aarch64_cpu::registers::{ELR_EL1, Readable};
    ELR_EL1.get()
}
