//! What EL0 must not reach: the kernel's memory, system registers, other exception levels.

use exopi_rt::layout::{FIRST_STACK_PAGES, FIRST_STACK_TOP, PAGE_SIZE};
use exopi_rt::time;
use exopi_rt::upcall::FaultCause;

use crate::catch::{self, Caught};
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "isolation",
    cases: &[
        ("kernel_memory", kernel_memory),
        ("unmapped_user_space", unmapped_user_space),
        ("own_code_is_read_only", own_code_is_read_only),
        (
            "registers_that_cannot_be_read",
            registers_that_cannot_be_read,
        ),
        (
            "registers_that_cannot_be_written",
            registers_that_cannot_be_written,
        ),
        ("privileged_instructions", privileged_instructions),
        ("counters_run_on", counters_run_on),
        ("what_is_allowed", what_is_allowed),
    ],
};

/// Addresses in the upper half and between the halves: where the kernel's windows on memory and
/// devices begin and end, and where a kernel could be elsewhere.
const FORBIDDEN: [u64; 14] = [
    0xffff_ff80_0000_0000,
    0xffff_ff80_0008_0000,
    0xffff_ff80_0010_0000,
    0xffff_ff80_3bff_f000,
    0xffff_ff80_3f20_1000,
    0xffff_ffc0_0000_0000,
    0xffff_ffc0_3f20_1000,
    0xffff_ffc0_4000_0000,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffff_fff8,
    0xffff_0000_0008_0000,
    0x0000_ffff_ffff_f000,
    0x8000_0000_0000_0000,
    0x0000_0080_0000_0000,
];

/// Checks that an address cannot be read, written or executed.
fn check_unreachable(address: u64) -> Outcome {
    let is_abort = |outcome: Result<(), Caught>| match outcome.map_err(|caught| caught.cause()) {
        Err(FaultCause::DataAbort { address: at, .. })
        | Err(FaultCause::InstructionAbort { address: at, .. }) => at == address,
        _ => false,
    };
    check!(
        is_abort(catch::read(address).map(drop)),
        "{address:#x} can be read"
    );
    // SAFETY: the kernel must make it fault.
    let written = unsafe { catch::write(address, 0) };
    check!(is_abort(written), "{address:#x} can be written");
    // SAFETY: the kernel must make it fault.
    let executed = unsafe { catch::execute(address) };
    check!(is_abort(executed), "{address:#x} can be executed");
    Ok(())
}

fn kernel_memory() -> Outcome {
    FORBIDDEN.into_iter().try_for_each(check_unreachable)
}

/// Where RAM and devices are, by their physical addresses; the guard below the stack; the upper end.
fn unmapped_user_space() -> Outcome {
    let guard = FIRST_STACK_TOP - FIRST_STACK_PAGES * PAGE_SIZE - 8;
    [
        0x8_0000,
        0x3f20_1000,
        0x3f00_b880,
        0x4000_0040,
        guard,
        0x7f_bf00_0000,
    ]
    .into_iter()
    .try_for_each(check_unreachable)
}

fn own_code_is_read_only() -> Outcome {
    let code = kernel_memory as fn() -> Outcome as usize as u64;
    let text: &'static str = "a constant";
    for address in [code, text.as_ptr() as u64] {
        let before = catch::read(address)?;
        // SAFETY: the kernel must make it fault; else the byte is what it was.
        let outcome = unsafe { catch::write(address, before) };
        check!(outcome.is_err(), "{address:#x} can be written");
    }
    // SAFETY: data on the stack; the kernel must make it fault.
    let stack = unsafe { catch::execute(FIRST_STACK_TOP - 64) };
    check!(stack.is_err(), "the stack can be executed");
    Ok(())
}

/// Checks that an instruction was undefined or trapped.
fn check_trapped(what: &str, outcome: Result<(), Caught>) -> Outcome {
    match outcome.map_err(|caught| caught.cause()) {
        Err(FaultCause::Undefined | FaultCause::SystemInstruction) => Ok(()),
        other => Err(Failure::new(alloc::format!("{what} gives {other:x?}"))),
    }
}

/// Checks that each of these instructions is trapped. x10 may be changed.
macro_rules! check_all_trapped {
    ($($instruction:literal),+ $(,)?) => {
        $(
            // SAFETY: it must trap; if not, it changes x10, or the machine, and the case fails.
            let outcome = unsafe { attempt!("mov x10, xzr", $instruction; out("x10") _) };
            check_trapped($instruction, outcome)?;
        )+
    };
}

fn registers_that_cannot_be_read() -> Outcome {
    check_all_trapped!(
        "mrs x10, ttbr0_el1",
        "mrs x10, ttbr1_el1",
        "mrs x10, sctlr_el1",
        "mrs x10, tcr_el1",
        "mrs x10, vbar_el1",
        "mrs x10, esr_el1",
        "mrs x10, far_el1",
        "mrs x10, elr_el1",
        "mrs x10, spsr_el1",
        "mrs x10, sp_el0",
        "mrs x10, tpidr_el1",
        "mrs x10, mair_el1",
        "mrs x10, cpacr_el1",
        "mrs x10, contextidr_el1",
        "mrs x10, CurrentEL",
        "mrs x10, daif",
        "mrs x10, spsel",
        "mrs x10, cntpct_el0",
        "mrs x10, cntv_ctl_el0",
        "mrs x10, cntv_cval_el0",
        "mrs x10, cntp_ctl_el0",
        "mrs x10, cntp_cval_el0",
        "mrs x10, pmcr_el0",
        "mrs x10, mdscr_el1",
        "mrs x10, hcr_el2",
        "mrs x10, scr_el3",
    );
    Ok(())
}

fn registers_that_cannot_be_written() -> Outcome {
    check_all_trapped!(
        "msr ttbr0_el1, x10",
        "msr ttbr1_el1, x10",
        "msr sctlr_el1, x10",
        "msr vbar_el1, x10",
        "msr tpidr_el1, x10",
        "msr tpidrro_el0, x10",
        "msr cntkctl_el1, x10",
        "msr cntv_ctl_el0, x10",
        "msr cntv_cval_el0, x10",
        "msr cntv_tval_el0, x10",
        "msr cntp_ctl_el0, x10",
        "msr cntp_cval_el0, x10",
        "msr cntfrq_el0, x10",
        "msr pmcr_el0, x10",
        "msr pmccntr_el0, x10",
        "msr pmevcntr0_el0, x10",
        "msr pmevtyper0_el0, x10",
        "msr pmcntenset_el0, x10",
        "msr pmcntenclr_el0, x10",
        "msr pmuserenr_el0, x10",
        "msr pmintenset_el1, x10",
        "msr mdscr_el1, x10",
        "msr oslar_el1, x10",
        "msr daif, x10",
        "msr daifset, #15",
        "msr daifclr, #15",
        "msr spsel, #1",
        "msr csselr_el1, x10",
    );
    Ok(())
}

fn privileged_instructions() -> Outcome {
    check_all_trapped!(
        "eret",
        "hvc #0",
        "smc #0",
        "hlt #0xf000",
        "tlbi vmalle1",
        "tlbi vmalle1is",
        "tlbi vae1, x10",
        "ic iallu",
        "ic ialluis",
        "dc isw, x10",
        "dc csw, x10",
        "dc cisw, x10",
        "dc ivac, x10",
        "at s1e1r, x10",
    );
    Ok(())
}

/// What was tried on them has stopped no clock and no counter.
fn counters_run_on() -> Outcome {
    registers_that_cannot_be_written()?;
    let (ticks, cycles) = (time::ticks(), time::cycles());
    let mut turns = 0;
    while time::ticks() - ticks < 1000 {
        turns += 1;
        check!(turns < 10_000_000, "the clock stands still");
    }
    check!(time::cycles() > cycles, "the cycle counter stands still");
    Ok(())
}

/// Waiting for an event, cleaning cache lines, zeroing a block, counters, thread and cache registers.
/// WFI is allowed too and not tried: nothing would wake this program while it owns no interrupt.
fn what_is_allowed() -> Outcome {
    let block = [0_u8; 256];
    let at = block.as_ptr() as u64 + 64;
    // SAFETY: none of it changes anything but cache lines' places.
    unsafe {
        attempt!(
            "sevl", "wfe", "yield", "dsb sy", "isb", "clrex",
            "dc cvau, {at}", "dc cvac, {at}", "dc civac, {at}", "ic ivau, {at}",
            "mrs x10, ctr_el0", "mrs x10, dczid_el0", "mrs x10, cntvct_el0",
            "mrs x10, cntfrq_el0", "mrs x10, pmccntr_el0", "mrs x10, pmevcntr0_el0",
            "mrs x10, tpidrro_el0", "mrs x10, tpidr_el0", "msr tpidr_el0, x10";
            at = in(reg) at, out("x10") _
        )
    }?;
    Ok(())
}
