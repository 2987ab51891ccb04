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
"#
    };
}

/// Takes the definitions back.
macro_rules! purge {
    () => {
        ".purgem COUNT\n.purgem COUNT_EXCEPTION\n.purgem X2_TO_X15\n.purgem X18_TO_X29\n\
         .purgem X20_TO_X29\n"
    };
}

pub(super) use {count_exception, macros, purge};
