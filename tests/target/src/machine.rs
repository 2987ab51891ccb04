//! Calls with every register in view.
//!
//! A stub made by the compiler shows two registers of a reply. Here all are set before the `svc` and
//! all are read after it, and its number is whatever is asked for: the two instructions
//! `svc #n; br x28` are written to a page of code.

use core::arch::naked_asm;
use core::mem::offset_of;

use exopi_rt::calls::{ROWS, Row};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{Access, Call, PageNumber, Reply, memory};

use crate::catch::Caught;
use crate::harness::{Failure, Outcome};

/// Where the page of code is mapped, writable and executable.
const CODE: u64 = 0x28_0000_0000;
/// Stubs that fit in it.
pub(crate) const STUBS: u64 = PAGE_SIZE / 8;

/// The registers of EL0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct Registers {
    /// x0..x30. x27 and x28 are used to get to the stub and back, so what they hold is not loaded.
    pub(crate) x: [u64; 31],
    /// The stack pointer; not loaded.
    pub(crate) sp: u64,
    /// v0..v31.
    pub(crate) v: [u128; 32],
}

impl Registers {
    /// All different, none zero.
    pub(crate) fn marked() -> Self {
        Self {
            x: core::array::from_fn(|n| 0x5151_0000_0000_0100 + n as u64),
            sp: 0,
            v: core::array::from_fn(|n| 0xf1f1_0000_0000_0000_0000_0000_0000_0200 + n as u128),
        }
    }

    /// With these arguments in x0..x5.
    pub(crate) fn with_arguments(arguments: [u64; 6]) -> Self {
        let mut registers = Self::marked();
        registers.x[..6].copy_from_slice(&arguments);
        registers
    }

    /// With these arguments where `row` has them.
    pub(crate) fn of_call(row: &Row, arguments: [u64; 6]) -> Self {
        let mut registers = Self::marked();
        registers.x[row.first_register..][..6].copy_from_slice(&arguments);
        registers
    }

    /// What a call has replied.
    pub(crate) fn reply(&self) -> Reply {
        self.reply_at(0)
    }

    /// What a call by `row` has replied: x8 if it moves a message, of which x0 to x7 are.
    pub(crate) fn reply_of(&self, row: &Row) -> Reply {
        self.reply_at(row.first_register)
    }

    fn reply_at(&self, first: usize) -> Reply {
        Reply {
            status: self.x[first],
            value: self.x[first + 1],
        }
    }
}

/// Puts the page of code in place, for good.
pub(crate) fn prepare() -> Result<PageNumber, exopi_rt::Error> {
    let at = exopi_rt::VirtAddr::new(CODE).ok_or(exopi_rt::Error::BadAddress)?;
    memory::map_new(at, Access::all())
}

/// Writes stub `slot` so that it makes call `number`.
pub(crate) fn write_stub(slot: u64, number: u16) -> Outcome {
    const SVC: u32 = 0xd400_0001;
    const BR_X28: u32 = 0xd61f_0380;
    check!(slot < STUBS);
    let words = [SVC | u32::from(number) << 5, BR_X28];
    let to = stub_address(slot) as *mut [u32; 2];
    // SAFETY: the page is mapped, writable, and nothing runs in it now.
    unsafe { to.write_volatile(words) };
    Ok(())
}

/// Makes what was written to memory visible to instruction fetch: `bytes` from `address` on, in
/// whole cache lines (ARM DDI 0487, B2.4.4).
pub(crate) fn publish(address: u64, bytes: u64) -> Result<(), Caught> {
    const LINE: u64 = 64;
    let lines = || (address..address + bytes).step_by(LINE as usize);
    for line in lines() {
        // SAFETY: cleaning a line changes nothing.
        unsafe { attempt!("dc cvau, {line}"; line = in(reg) line) }?;
    }
    // SAFETY: a barrier.
    unsafe { attempt!("dsb ish"; ) }?;
    for line in lines() {
        // SAFETY: invalidating a line of instructions changes nothing.
        unsafe { attempt!("ic ivau, {line}"; line = in(reg) line) }?;
    }
    // SAFETY: barriers.
    unsafe { attempt!("dsb ish", "isb"; ) }
}

/// Publishes all stubs.
pub(crate) fn publish_stubs() -> Result<(), Caught> {
    publish(CODE, PAGE_SIZE)
}

/// Where stub `slot` is.
pub(crate) const fn stub_address(slot: u64) -> u64 {
    CODE + slot * 8
}

/// Runs stub `slot` with these registers, and leaves in them what they are after it.
///
/// # Safety
/// The stub must be written, and what the kernel is asked for must not take memory away that the
/// program uses.
pub(crate) unsafe fn run_stub(slot: u64, registers: &mut Registers) {
    // SAFETY: passed on to the caller.
    unsafe { run(registers, stub_address(slot)) };
}

/// The row of a call.
pub(crate) fn row_of(call: Call) -> Result<&'static Row, Failure> {
    let row = ROWS.iter().find(|row| row.call == call);
    row.ok_or_else(|| Failure::new("no such row"))
}

/// The same as [`check_scrubbed`] for a call by `row` that was refused: one that moves a message leaves that.
pub(crate) fn check_refused(row: &Row, before: &Registers, after: &Registers) -> Outcome {
    if row.first_register == 0 {
        return check_scrubbed(before, after);
    }
    check_eq!(after.x[..8], before.x[..8], "the message");
    let zero = after.x[9..=18].iter().chain([&after.x[30]]);
    check!(zero.clone().all(|word| *word == 0), "x9..x18, x30");
    check_kept(before, after, 19, 29)
}

/// Checks what a call leaves in the registers: x2..x18 and x30 zero, the others and SP as before.
pub(crate) fn check_scrubbed(before: &Registers, after: &Registers) -> Outcome {
    let zero = after.x[2..=18].iter().chain([&after.x[30]]);
    check!(
        zero.clone().all(|word| *word == 0),
        "x2..x18, x30 are {:x?}",
        zero.collect::<alloc::vec::Vec<_>>()
    );
    check_kept(before, after, 19, 29)
}

/// Checks that x`first`..x`last`, SP and the FP registers are as before.
pub(crate) fn check_kept(
    before: &Registers,
    after: &Registers,
    first: usize,
    last: usize,
) -> Outcome {
    for n in (first..=last).filter(|n| !matches!(n, 27 | 28)) {
        check_eq!(after.x[n], before.x[n], "x{n}");
    }
    check_eq!(after.sp, 0, "SP's change");
    check!(after.v == before.v, "the FP registers have changed");
    Ok(())
}

/// Calls `stub` with all registers loaded from `registers` but x27 (the stub), x28 (where it goes to
/// afterwards) and SP; stores them all there, and by how much SP has changed.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn run(registers: &mut Registers, stub: u64) {
    naked_asm!(
        "stp x29, x30, [sp, #-192]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        // To be found again: the registers, and where SP was.
        "mov x9, sp",
        "stp x0, x9, [sp, #160]",
        "mov x27, x1",
        "adr x28, 2f",
        "add x9, x0, #{v}",
        "ld1 {{v0.2d-v3.2d}}, [x9], #64",
        "ld1 {{v4.2d-v7.2d}}, [x9], #64",
        "ld1 {{v8.2d-v11.2d}}, [x9], #64",
        "ld1 {{v12.2d-v15.2d}}, [x9], #64",
        "ld1 {{v16.2d-v19.2d}}, [x9], #64",
        "ld1 {{v20.2d-v23.2d}}, [x9], #64",
        "ld1 {{v24.2d-v27.2d}}, [x9], #64",
        "ld1 {{v28.2d-v31.2d}}, [x9]",
        "ldp x2, x3, [x0, #16]",
        "ldp x4, x5, [x0, #32]",
        "ldp x6, x7, [x0, #48]",
        "ldp x8, x9, [x0, #64]",
        "ldp x10, x11, [x0, #80]",
        "ldp x12, x13, [x0, #96]",
        "ldp x14, x15, [x0, #112]",
        "ldp x16, x17, [x0, #128]",
        "ldp x18, x19, [x0, #144]",
        "ldp x20, x21, [x0, #160]",
        "ldp x22, x23, [x0, #176]",
        "ldp x24, x25, [x0, #192]",
        "ldr x26, [x0, #208]",
        "ldp x29, x30, [x0, #232]",
        "ldp x0, x1, [x0]",
        "br x27",
        "2:",
        "ldr x28, [sp, #160]",
        "stp x0, x1, [x28]",
        "stp x2, x3, [x28, #16]",
        "stp x4, x5, [x28, #32]",
        "stp x6, x7, [x28, #48]",
        "stp x8, x9, [x28, #64]",
        "stp x10, x11, [x28, #80]",
        "stp x12, x13, [x28, #96]",
        "stp x14, x15, [x28, #112]",
        "stp x16, x17, [x28, #128]",
        "stp x18, x19, [x28, #144]",
        "stp x20, x21, [x28, #160]",
        "stp x22, x23, [x28, #176]",
        "stp x24, x25, [x28, #192]",
        "stp x26, x27, [x28, #208]",
        "stp x29, x30, [x28, #232]",
        "mov x9, sp",
        "ldr x10, [sp, #168]",
        "sub x9, x9, x10",
        "str x9, [x28, #{sp}]",
        "add x9, x28, #{v}",
        "st1 {{v0.2d-v3.2d}}, [x9], #64",
        "st1 {{v4.2d-v7.2d}}, [x9], #64",
        "st1 {{v8.2d-v11.2d}}, [x9], #64",
        "st1 {{v12.2d-v15.2d}}, [x9], #64",
        "st1 {{v16.2d-v19.2d}}, [x9], #64",
        "st1 {{v20.2d-v23.2d}}, [x9], #64",
        "st1 {{v24.2d-v27.2d}}, [x9], #64",
        "st1 {{v28.2d-v31.2d}}, [x9]",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #192",
        "ret",
        v = const offset_of!(Registers, v),
        sp = const offset_of!(Registers, sp),
    )
}
