//! From the firmware's hand-over to Rust in the upper half.
//!
//! ```text
//!   core 0   _start: EL2 or EL1, MMU off, at whatever page the firmware chose
//!            | clean the image's cache lines, drop to EL1
//!            | __build_boot_tables: the image at its linked address, and itself 1:1
//!            | MMU and caches on, jump up
//!            v
//!            kernel_main
//!
//!   others   __start_secondary, once core 0 has written its address to the spin table
//!            | drop to EL1, MMU and caches on by the same tables, jump up
//!            v
//!            secondary_main
//! ```
//!
//! Until the MMU is on, memory is Device memory to this core: no unaligned access, no exclusives, no
//! `DC ZVA`, no absolute address. The one Rust function that runs then keeps to that.
#![expect(unsafe_code, reason = "the first instructions of the kernel")]

use core::arch::global_asm;

use exopi_abi::boot::KERNEL_MAGIC;

use super::core_data::{SLOT_BYTES, STACK_TOP};
use super::mmu;

/// EL2: EL1 is AArch64, nothing is trapped (`HCR_EL2.RW`; written whole, its reset value varies).
const HCR_EL2: u64 = 1 << 31;
/// EL2: EL1 and EL0 may use the physical counter and timer (`CNTHCTL_EL2.EL1PCTEN`, `EL1PCEN`).
const CNTHCTL_EL2: u64 = 3;
/// EL2: no trap of floating point (`CPTR_EL2`, its RES1 bits).
const CPTR_EL2: u64 = 0x33ff;
/// EL1 on its own stack pointer, everything masked.
const SPSR_EL2: u64 = 0x3c5;
/// `SCTLR_EL1` with nothing on: its RES1 bits (ARM DDI 0487, D24.2.175, for ARMv8.0).
const SCTLR_OFF: u64 = 0x30d0_0800;
/// `SCTLR_EL1` as the kernel runs: MMU (0), data (2) and instruction (12) cache, stack alignment checks
/// at EL1 and EL0 (3, 4); for EL0: `DC ZVA` (14), `CTR_EL0` (15), WFI and WFE (16, 18), cache lines
/// (26). Its alignment check (1) stays off; EL0 masks no interrupt (9).
const SCTLR_ON: u64 = SCTLR_OFF
    | 1 << 0
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 12
    | 1 << 14
    | 1 << 15
    | 1 << 16
    | 1 << 18
    | 1 << 26;
/// `CPUECTLR_EL1.SMPEN`: the core takes part in coherence. It must be set before caches, or maintenance
/// of caches and TLBs, are used (Cortex-A53 TRM, 4.3.77). The boards' firmware sets it; the emulator has no such
/// bit and ignores writes.
const SMPEN: u64 = 1 << 6;

global_asm!(
    r#"
.section .head, "ax"
.global _start
_start:
    b __boot
    .word 0
    // KernelHeader of the boot image; `exo image` fills in the length.
    .quad {KERNEL_MAGIC}
    .quad 0

.section .text.boot, "ax"
__boot:
    msr daifset, #0xf
    bl __join_coherence
    // The virtual counter, as everybody reads it later: at EL2 that is the physical one, since its
    // offset is about to become 0.
    mrs x19, cntvct_el0
    mrs x1, currentel
    cmp x1, #(2 << 2)
    b.ne 1f
    mrs x19, cntpct_el0
1:  mov x20, x0
    // Firmware that starts all cores here has nothing for the others to do.
    mrs x1, mpidr_el1
    tst x1, #3
    b.ne __park
    // With the MMU off this core sees memory and not the caches, in which a loader may have left part
    // of the image.
    adrp x1, __image_start
    adrp x2, __image_end
1:  dc civac, x1
    add x1, x1, #64
    cmp x1, x2
    b.lo 1b
    dsb sy
    bl __drop_to_el1
    adrp x1, __stacks_start
    mov x2, #{STACK_TOP}
    add sp, x1, x2
    bl __build_boot_tables
    bl __enable_mmu
    adrp x2, __image_start
    ldr x3, =__boot_high
    br x3
__boot_high:
    ldr x3, =__stacks_start
    mov x4, #{STACK_TOP}
    add sp, x3, x4
    mov x0, x20
    mov x1, x19
    mov x29, #0
    mov x30, #0
    // x0 = what the firmware gave, x1 = the counter at entry, x2 = where the image lies.
    b kernel_main

.global __start_secondary
__start_secondary:
    msr daifset, #0xf
    bl __join_coherence
    bl __drop_to_el1
    bl __enable_mmu
    ldr x3, =__secondary_high
    br x3
__secondary_high:
    mrs x1, mpidr_el1
    and x1, x1, #3
    mov x2, #{SLOT_BYTES}
    mul x1, x1, x2
    ldr x3, =__stacks_start
    add x3, x3, x1
    mov x4, #{STACK_TOP}
    add sp, x3, x4
    mov x29, #0
    mov x30, #0
    b secondary_main

__park:
    wfi
    b __park

// Written only if the firmware has not done it: it may have kept the register to itself.
__join_coherence:
    mrs x1, s3_1_c15_c2_1
    tbnz x1, #{SMPEN_BIT}, 1f
    orr x1, x1, #{SMPEN}
    msr s3_1_c15_c2_1, x1
    isb
1:  ret

__drop_to_el1:
    ldr x1, ={SCTLR_OFF}
    msr sctlr_el1, x1
    mrs x1, currentel
    cmp x1, #(2 << 2)
    b.ne 1f
    ldr x1, ={HCR_EL2}
    msr hcr_el2, x1
    mov x1, #{CNTHCTL_EL2}
    msr cnthctl_el2, x1
    msr cntvoff_el2, xzr
    mov x1, #{CPTR_EL2}
    msr cptr_el2, x1
    msr hstr_el2, xzr
    mrs x1, midr_el1
    msr vpidr_el2, x1
    mrs x1, mpidr_el1
    msr vmpidr_el2, x1
    // All event counters are EL1's: MDCR_EL2.HPMN = PMCR_EL0.N.
    mrs x1, pmcr_el0
    ubfx x1, x1, #11, #5
    msr mdcr_el2, x1
    mov x1, #{SPSR_EL2}
    msr spsr_el2, x1
    msr elr_el2, x30
    eret
1:  isb
    ret

// Turns on MMU and caches by the tables that are there; comes back 1:1.
__enable_mmu:
    ldr x1, ={MAIR}
    msr mair_el1, x1
    ldr x1, ={TCR}
    msr tcr_el1, x1
    adrp x1, __identity_root
    msr ttbr0_el1, x1
    adrp x1, __kernel_root
    msr ttbr1_el1, x1
    dsb sy
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x1, ={SCTLR_ON}
    msr sctlr_el1, x1
    isb
    ret
"#,
    KERNEL_MAGIC = const u64::from_le_bytes(KERNEL_MAGIC),
    STACK_TOP = const STACK_TOP,
    SLOT_BYTES = const SLOT_BYTES,
    SCTLR_OFF = const SCTLR_OFF,
    SCTLR_ON = const SCTLR_ON,
    HCR_EL2 = const HCR_EL2,
    CNTHCTL_EL2 = const CNTHCTL_EL2,
    CPTR_EL2 = const CPTR_EL2,
    SPSR_EL2 = const SPSR_EL2,
    SMPEN = const SMPEN,
    SMPEN_BIT = const SMPEN.ilog2(),
    MAIR = const mmu::MAIR,
    TCR = const mmu::TCR,
);
