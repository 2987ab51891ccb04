//! Assembly macros that more than one file of assembly uses: moving registers, and counting.
//!
//! Each `global_asm!` begins with [`macros!`] and ends with [`purge!`], since the compiler may put two of
//! them into one unit, where a macro has one definition.

/// In builds with feature `count`: one more exception from EL0, with registers that are free there.
#[cfg(feature = "count")]
macro_rules! count_exception {
    () => {
        ".macro COUNT_EXCEPTION temporary\n COUNT {EXCEPTIONS}, \\temporary\n .endm\n"
    };
}
#[cfg(not(feature = "count"))]
macro_rules! count_exception {
    () => {
        ".macro COUNT_EXCEPTION temporary\n .endm // {EXCEPTIONS}\n"
    };
}

/// In builds with feature `count`: one more space entered, with registers that are free there.
#[cfg(feature = "count")]
macro_rules! count_space {
    () => {
        ".macro COUNT_SPACE a, b\n ldr \\a, [sp, #{COUNTERS}]\n ldr \\b, [\\a, #{SPACES}]\n\
         add \\b, \\b, #1\n str \\b, [\\a, #{SPACES}]\n .endm\n"
    };
}
#[cfg(not(feature = "count"))]
macro_rules! count_space {
    () => {
        ".macro COUNT_SPACE a, b\n .endm // {SPACES}\n"
    };
}

/// The definitions.
macro_rules! macros {
    () => {
        r#"
// Adds one to the counter at \offset of this core's counters, using x17 and \temporary.
.macro COUNT offset, temporary
    ldr x17, [sp, #{COUNTERS}]
    ldr \temporary, [x17, #\offset]
    add \temporary, \temporary, #1
    str \temporary, [x17, #\offset]
.endm

// Moves x2..x15 to or from a block of registers, x0's place being at \at, by \op (stp or ldp).
.macro X2_TO_X15 op, base, at=0
    \op x2, x3, [\base, #\at + 16]
    \op x4, x5, [\base, #\at + 32]
    \op x6, x7, [\base, #\at + 48]
    \op x8, x9, [\base, #\at + 64]
    \op x10, x11, [\base, #\at + 80]
    \op x12, x13, [\base, #\at + 96]
    \op x14, x15, [\base, #\at + 112]
.endm

// The same for x18..x29.
.macro X18_TO_X29 op, base, at=0
    \op x18, x19, [\base, #\at + 144]
    X20_TO_X29 \op, \base, \at
.endm

// The same for x20..x29.
.macro X20_TO_X29 op, base, at=0
    \op x20, x21, [\base, #\at + 160]
    \op x22, x23, [\base, #\at + 176]
    \op x24, x25, [\base, #\at + 192]
    \op x26, x27, [\base, #\at + 208]
    \op x28, x29, [\base, #\at + 224]
.endm

// Moves the vector registers to or from a block, by \op (stp or ldp).
.macro VECTOR_REGISTERS op, base
    \op q0, q1, [\base, #0]
    \op q2, q3, [\base, #32]
    \op q4, q5, [\base, #64]
    \op q6, q7, [\base, #96]
    \op q8, q9, [\base, #128]
    \op q10, q11, [\base, #160]
    \op q12, q13, [\base, #192]
    \op q14, q15, [\base, #224]
    \op q16, q17, [\base, #256]
    \op q18, q19, [\base, #288]
    \op q20, q21, [\base, #320]
    \op q22, q23, [\base, #352]
    \op q24, q25, [\base, #384]
    \op q26, q27, [\base, #416]
    \op q28, q29, [\base, #448]
    \op q30, q31, [\base, #480]
.endm

// Stores in the frame at x17 the caller's state as it is after a call that succeeds with no value. x6 and x7 are
// free, and x0..x5 and x16 are kept.
.macro SAVE_AFTER_SUCCESS pc
    .irp offset, 0, 16, 32, 48, 64, 80, 96, 112, 128
    stp xzr, xzr, [x17, #\offset]
    .endr
    stp xzr, x19, [x17, #144]
    X20_TO_X29 stp, x17
    mrs x6, sp_el0
    stp xzr, x6, [x17, #240]
    mrs x6, elr_el1
    mrs x7, spsr_el1
    stp x6, x7, [x17, #\pc]
.endm
"#
    };
}

/// Takes the definitions back.
macro_rules! purge {
    () => {
        ".purgem COUNT\n.purgem COUNT_EXCEPTION\n.purgem X2_TO_X15\n.purgem X18_TO_X29\n\
         .purgem X20_TO_X29\n.purgem VECTOR_REGISTERS\n.purgem SAVE_AFTER_SUCCESS\n"
    };
}

pub(super) use {count_exception, count_space, macros, purge};
