//! Fault upcalls: what the frame says, that nothing else is changed, and that a hostile frame gives
//! nothing but its own faults.
//!
//! A fault inside a handler suspends the environment, which would end the suite: that is a test from
//! outside (`minimal fault=nested`).

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::uarea::{Frame, UArea, UpcallClass};
use exopi_rt::upcall::{self, AbortKind, Action, Fault, FaultCause};
use exopi_rt::{Call, Error, stubs};

use crate::area::{Area, RW};
use crate::catch::{self, Caught, handler, with_handler};
use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers};

pub(crate) const SUITE: Suite = Suite {
    name: "upcalls",
    cases: &[
        ("undefined", undefined),
        ("breakpoint", breakpoint),
        ("data_aborts", data_aborts),
        ("unaligned_stack", unaligned_stack),
        ("unaligned_exclusive", unaligned_exclusive),
        ("instruction_aborts", instruction_aborts),
        ("unaligned_pc", unaligned_pc),
        ("svc0_keeps_all_registers", svc0_keeps_all_registers),
        ("svc0_changes_all_registers", svc0_changes_all_registers),
        ("flags_survive", flags_survive),
        ("handlers_may_use_fp", handlers_may_use_fp),
        ("resume_without_frame", resume_without_frame),
        ("hostile_pstate", hostile_pstate),
        ("hostile_pc", hostile_pc),
        ("hostile_sp", hostile_sp),
        ("forged_frame", forged_frame),
        ("many_upcalls", many_upcalls),
    ],
};

/// The fault that an attempt must have ended in.
fn expect<T>(outcome: Result<T, Caught>) -> Result<Caught, Failure> {
    match outcome {
        Ok(_) => Err(Failure::new("there was no fault")),
        Err(caught) => Ok(caught),
    }
}

fn undefined() -> Outcome {
    // SAFETY: it faults.
    let caught = expect(unsafe { attempt!("udf #7"; ) })?;
    check_eq!(caught.cause(), FaultCause::Undefined);
    // SAFETY: it faults. (An encoding of no instruction.)
    let caught = expect(unsafe { attempt!(".inst 0xffffffff"; ) })?;
    check_eq!(caught.cause(), FaultCause::Undefined);
    Ok(())
}

fn breakpoint() -> Outcome {
    // SAFETY: it faults.
    let caught = expect(unsafe { attempt!("brk #0x1234"; ) })?;
    check_eq!(caught.cause(), FaultCause::Breakpoint(0x1234));
    Ok(())
}

fn data_aborts() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    // The last mapped word, and from there across the border, and into tables that are missing.
    for (address, level) in [
        (Area::address(1) + 5, 3),
        (Area::address(512) + 0xffe, 2),
        (Area::address(512 * 512), 1),
        (1 << 40, 0),
    ] {
        let kind = AbortKind::Translation(level);
        let caught = expect(catch::read(address))?;
        let cause = FaultCause::DataAbort {
            address,
            write: false,
            kind,
        };
        check_eq!(caught.cause(), cause);
        // SAFETY: nothing is mapped there.
        let caught = expect(unsafe { catch::write(address, 0) })?;
        let cause = FaultCause::DataAbort {
            address,
            write: true,
            kind,
        };
        check_eq!(caught.cause(), cause);
    }
    let crossing = Area::address(1) - 4;
    let mut word: u64 = 0;
    // SAFETY: a load changes nothing, and faults.
    let outcome =
        unsafe { attempt!("ldr {word}, [{at}]"; word = inout(reg) word, at = in(reg) crossing) };
    let caught = expect(outcome)?;
    check!(
        matches!(caught.cause(), FaultCause::DataAbort { address, .. } if address >= crossing),
        "{:x?}",
        caught.cause()
    );
    check_eq!(word, 0);
    area.close()
}

fn unaligned_stack() -> Outcome {
    let before = catch::count();
    // SAFETY: SP is put back from x20, whether the load faulted or not; the handler has its own.
    unsafe {
        asm!(
            "mov x20, sp",
            "adr x9, 2f",
            "str x9, [x21]",
            "sub x10, x20, #8",
            "mov sp, x10",
            "ldr x10, [sp]",
            "2:",
            "mov sp, x20",
            "str xzr, [x21]",
            in("x21") catch::attempt_place(),
            out("x20") _,
            out("x9") _,
            out("x10") _,
        );
    }
    if catch::count() == before {
        return Err(Failure::skip(
            "QEMU's processors do not check SP's alignment",
        ));
    }
    check_eq!(catch::last().cause(), FaultCause::SpAlignment);
    Ok(())
}

/// Exclusive accesses must be aligned even where others need not be.
fn unaligned_exclusive() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    let address = Area::address(0) + 4;
    // SAFETY: a load from a page of the case's own.
    let outcome = unsafe { attempt!("ldxr x10, [{at}]"; at = in(reg) address, out("x10") _) };
    let expected = FaultCause::DataAbort {
        address,
        write: false,
        kind: AbortKind::Alignment,
    };
    check_eq!(expect(outcome)?.cause(), expected);
    area.close()
}

fn instruction_aborts() -> Outcome {
    for (address, level) in [(Area::address(0), 1), (0x1000, 3), (1 << 42, 0)] {
        // SAFETY: nothing is mapped there.
        let caught = expect(unsafe { catch::execute(address) })?;
        let FaultCause::InstructionAbort { address: at, kind } = caught.cause() else {
            return Err(Failure::new(alloc::format!("{:x?}", caught.cause())));
        };
        check_eq!(at, address);
        check_eq!(caught.pc, address);
        let translation = matches!(kind, AbortKind::Translation(_));
        check!(
            translation,
            "{kind:?} at {address:#x}, level {level} expected"
        );
    }
    Ok(())
}

fn unaligned_pc() -> Outcome {
    for offset in 1..4 {
        let address = machine::stub_address(0) + offset;
        // SAFETY: it must fault, wherever it is.
        let caught = expect(unsafe { catch::execute(address) })?;
        check_eq!(caught.cause(), FaultCause::PcAlignment { address });
        check_eq!(caught.pc, address);
    }
    Ok(())
}

/// What a handler has seen in the frame: x0..x30, SP, PC, PSTATE.
static SEEN: [AtomicU64; 34] = [const { AtomicU64::new(0) }; 34];

fn see(fault: &mut Fault<'_>) {
    let frame = fault.frame();
    let words = frame
        .x
        .into_iter()
        .chain([frame.sp, frame.pc, frame.pstate]);
    for (place, word) in SEEN.iter().zip(words) {
        place.store(word, Ordering::Relaxed);
    }
}

fn seen(index: usize) -> u64 {
    SEEN[index].load(Ordering::Relaxed)
}

/// Handles `svc #0` by looking at the registers.
fn look(fault: &mut Fault<'_>) -> Action {
    if fault.cause() != FaultCause::Svc(0) {
        return handler(fault);
    }
    see(fault);
    Action::Resume
}

/// Handles `svc #0` by changing every register that may change.
fn change(fault: &mut Fault<'_>) -> Action {
    if fault.cause() != FaultCause::Svc(0) {
        return handler(fault);
    }
    for (n, word) in fault.registers().iter_mut().enumerate() {
        if !matches!(n, 27 | 28) {
            *word = !*word;
        }
    }
    Action::Resume
}

/// Runs `svc #0` with marked registers; gives them before and after.
fn svc0(own: upcall::Handler) -> Result<(Registers, Registers), Failure> {
    machine::write_stub(0, 0)?;
    machine::publish_stubs()?;
    let before = Registers::marked();
    let mut after = before;
    // SAFETY: the handlers here change registers alone.
    with_handler(own, || unsafe { machine::run_stub(0, &mut after) });
    Ok((before, after))
}

fn svc0_keeps_all_registers() -> Outcome {
    let (before, after) = svc0(look)?;
    machine::check_kept(&before, &after, 0, 30)?;
    for n in (0..31).filter(|n| !matches!(n, 27 | 28)) {
        check_eq!(seen(n), before.x[n], "x{n} in the frame");
    }
    check_eq!(seen(32), machine::stub_address(0) + 4, "the frame's PC");
    check_eq!(seen(31) % 16, 0, "the frame's SP modulo 16");
    Ok(())
}

fn svc0_changes_all_registers() -> Outcome {
    let (mut before, after) = svc0(change)?;
    for word in &mut before.x {
        *word = !*word;
    }
    machine::check_kept(&before, &after, 0, 30)
}

fn flags_survive() -> Outcome {
    for flags in 0..16_u64 {
        let flags = flags << 28;
        // SAFETY: sets the flags, which the operands say nothing of keeping; the handler changes
        // nothing.
        let run = || unsafe {
            let after: u64;
            asm!("msr nzcv, {flags}", "svc #0", "mrs {after}, nzcv",
                flags = in(reg) flags, after = out(reg) after);
            after
        };
        let after: u64 = with_handler(look, run);
        check_eq!(after, flags);
        check_eq!(seen(33) & 0xf000_0000, flags, "flags in the frame");
    }
    Ok(())
}

/// A handler that computes with floating-point numbers and vectors disturbs nobody's.
fn handlers_may_use_fp() -> Outcome {
    fn compute(fault: &mut Fault<'_>) -> Action {
        // SAFETY: the trampoline saves these.
        unsafe {
            asm!(
                "fmov d0, #1.0", "fadd d8, d0, d0", "fdiv d31, d8, d8", "movi v15.16b, #255",
                "msr fpsr, {all}", "msr fpcr, {all}",
                all = in(reg) 0x0300_0000_u64,
                out("v0") _, out("v8") _, out("v15") _, out("v31") _,
            );
        }
        look(fault)
    }
    // SAFETY: reads two registers.
    let fp = || unsafe {
        let (control, status): (u64, u64);
        asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status);
        [control, status]
    };
    let before_fp = fp();
    let (before, after) = svc0(compute)?;
    machine::check_kept(&before, &after, 0, 30)?;
    check_eq!(fp(), before_fp, "FPCR and FPSR");
    Ok(())
}

fn resume() -> Result<(), Error> {
    // SAFETY: with no frame held it must be refused.
    unsafe { stubs::resume(UpcallClass::Fault) }
}

fn resume_without_frame() -> Outcome {
    check_eq!(resume(), Err(Error::NoFrame));
    upcall::on_fault(handler);
    check!(catch::read(Area::address(0)).is_err());
    check_eq!(resume(), Err(Error::NoFrame), "after an upcall");
    Ok(())
}

/// What the next `svc #0` puts into PSTATE.
static PSTATE: AtomicU64 = AtomicU64::new(0);

/// Condition flags: what the kernel takes of PSTATE.
const FLAGS: u64 = 0xf000_0000;

/// Exception levels, AArch32, masks, single step, illegal state, reserved bits: nothing of it counts.
fn hostile_pstate() -> Outcome {
    fn poison(fault: &mut Fault<'_>) -> Action {
        if fault.cause() != FaultCause::Svc(0) {
            return handler(fault);
        }
        see(fault);
        fault.frame().pstate = PSTATE.load(Ordering::Relaxed);
        Action::Resume
    }
    let single = (0..64).map(|bit| 1 << bit);
    let modes = [
        0x5,
        0x4,
        0x9,
        0x10,
        0x13,
        0x1f,
        0x3c5,
        0x3c0,
        0x1d3,
        u64::MAX,
        !FLAGS,
    ];
    for pstate in single.chain(modes) {
        PSTATE.store(pstate, Ordering::Relaxed);
        // The first changes the state; the second shows what has become of it.
        let flags = with_handler(poison, || {
            let flags: u64;
            // SAFETY: the handler changes the flags alone, if the kernel is right.
            unsafe {
                asm!("svc #0", "mrs {flags}, nzcv", "svc #0", flags = out(reg) flags);
            }
            flags
        });
        check_eq!(flags, pstate & FLAGS, "flags after {pstate:#x}");
        check_eq!(seen(33) & !FLAGS, 0, "other state after {pstate:#x}");
        // EL1 could read this.
        let mut level: u64 = 0;
        // SAFETY: reads a register, or faults.
        let outcome = unsafe { attempt!("mrs {level}, CurrentEL"; level = inout(reg) level) };
        check!(outcome.is_err(), "at EL{} after {pstate:#x}", level >> 2);
    }
    Ok(())
}

/// Where the next `svc #0` is resumed; 0 for where it was.
static RESUME_PC: AtomicU64 = AtomicU64::new(0);
/// The SP that it is resumed with; 0 for its own.
static RESUME_SP: AtomicU64 = AtomicU64::new(0);

/// Handles `svc #0` by going on elsewhere. What comes of it is for the suite's handler.
fn redirect(fault: &mut Fault<'_>) -> Action {
    if fault.cause() != FaultCause::Svc(0) {
        return handler(fault);
    }
    match RESUME_PC.swap(0, Ordering::Relaxed) {
        0 => {}
        pc => fault.set_pc(pc),
    }
    match RESUME_SP.swap(0, Ordering::Relaxed) {
        0 => {}
        sp => fault.set_sp(sp),
    }
    Action::Resume
}

fn hostile_pc() -> Outcome {
    const KERNEL: u64 = 0xffff_ff80_0008_0000;
    for pc in [
        2,
        4,
        0x1001,
        KERNEL,
        KERNEL + 0x800,
        KERNEL + 1,
        1 << 40,
        1 << 63,
        u64::MAX - 3,
    ] {
        RESUME_PC.store(pc, Ordering::Relaxed);
        // SAFETY: resumed at an address where there is nothing; the attempt's end is found again.
        let outcome = with_handler(redirect, || unsafe { attempt!("svc #0"; ) });
        let caught = expect(outcome)?;
        let good = match caught.cause() {
            FaultCause::PcAlignment { .. } => pc % 4 != 0,
            FaultCause::InstructionAbort { address, .. } => address == pc,
            _ => false,
        };
        check!(good, "resumed at {pc:#x}: {:x?}", caught.cause());
        check_eq!(caught.pc, pc);
        check_eq!(caught.pstate & !FLAGS, 0, "state at {pc:#x}");
    }
    Ok(())
}

/// Any SP is loaded: it harms nobody but who uses it.
fn hostile_sp() -> Outcome {
    const KERNEL: u64 = 0xffff_ff80_0010_0000;
    for sp in [1, 0x1008, KERNEL, 1 << 40, u64::MAX] {
        RESUME_SP.store(sp, Ordering::Relaxed);
        // SAFETY: nothing uses SP until it is put back.
        let run = || unsafe {
            let found: u64;
            asm!("mov x20, sp", "svc #0", "mov {found}, sp", "mov sp, x20",
                found = out(reg) found, out("x20") _);
            found
        };
        let found: u64 = with_handler(redirect, run);
        check_eq!(found, sp);
    }
    Ok(())
}

/// The program may write the frame and call it held: it is resumed, at EL0, like any other.
fn forged_frame() -> Outcome {
    let frames = upcall::uarea().wrapping_byte_add(offset_of!(UArea, frames));
    let frame = frames
        .cast::<Frame>()
        .wrapping_add(UpcallClass::Fault as usize);
    let after: u64;
    // SAFETY: no upcall is being handled, so the frame is free to use. It says to go on behind the
    // `svc`, with all that the compiler holds in registers but x20; PSTATE asks for EL1, all masked.
    unsafe {
        asm!(
            "str x19, [x11, #19 * 8]",
            "mov x10, #77",
            "str x10, [x11, #20 * 8]",
            "stp x21, x22, [x11, #21 * 8]",
            "stp x23, x24, [x11, #23 * 8]",
            "stp x25, x26, [x11, #25 * 8]",
            "stp x27, x28, [x11, #27 * 8]",
            "str x29, [x11, #29 * 8]",
            "mov x10, sp",
            "str x10, [x11, #{sp}]",
            "adr x10, 2f",
            "str x10, [x11, #{pc}]",
            "mov x10, #0x3c5",
            "str x10, [x11, #{pstate}]",
            "mov x10, #1",
            "str x10, [x11, #{held}]",
            "mov x0, #{class}",
            "svc #{resume}",
            "udf #0",
            "2:",
            sp = const offset_of!(Frame, sp),
            pc = const offset_of!(Frame, pc),
            pstate = const offset_of!(Frame, pstate),
            held = const offset_of!(Frame, held),
            class = const UpcallClass::Fault as u64,
            resume = const Call::resume as u16,
            inout("x11") frame => _,
            out("x20") after,
            clobber_abi("C"),
        );
    }
    check_eq!(after, 77);
    let mut level: u64 = 0;
    // SAFETY: reads a register, or faults.
    let outcome = unsafe { attempt!("mrs {level}, CurrentEL"; level = inout(reg) level) };
    check!(outcome.is_err(), "at EL{}", level >> 2);
    check_eq!(resume(), Err(Error::NoFrame));
    Ok(())
}

fn many_upcalls() -> Outcome {
    let before = catch::count();
    for _ in 0..10_000 {
        // SAFETY: it faults.
        check!(unsafe { attempt!("udf #0"; ) }.is_err());
    }
    check_eq!(catch::count(), before + 10_000);
    Ok(())
}
