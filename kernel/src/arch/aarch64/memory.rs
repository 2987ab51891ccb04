//! `memcpy` and its kin. The compiler's own go byte by byte in this build.
//!
//! No `DC ZVA` and no access that is wider than its alignment: the compiler may call them before the
//! MMU is on, when all memory is Device memory.
#![expect(unsafe_code, reason = "the symbols that the compiler calls")]

use core::arch::global_asm;

// x0 = to, x1 = from (or the byte), x2 = length; x0 comes back. When both pointers have the same
// alignment the middle goes 32 bytes a round and then 8, else all goes byte by byte.
global_asm!(
    r#"
.text
.global memcpy
memcpy:
    mov x3, x0
    eor x4, x0, x1
    tst x4, #7
    b.ne 4f
1:  tst x3, #7
    b.eq 2f
    cbz x2, 5f
    ldrb w4, [x1], #1
    strb w4, [x3], #1
    sub x2, x2, #1
    b 1b
2:  subs x2, x2, #32
    b.lo 3f
    ldp x4, x5, [x1], #16
    ldp x6, x7, [x1], #16
    stp x4, x5, [x3], #16
    stp x6, x7, [x3], #16
    b 2b
3:  adds x2, x2, #24
    b.mi 16f
15: ldr x4, [x1], #8
    str x4, [x3], #8
    subs x2, x2, #8
    b.pl 15b
16: add x2, x2, #8
4:  cbz x2, 5f
    ldrb w4, [x1], #1
    strb w4, [x3], #1
    sub x2, x2, #1
    b 4b
5:  ret

.global memmove
memmove:
    sub x4, x0, x1
    cmp x4, x2
    b.hs memcpy
    // The end of `from` is the begin of `to`: from the last byte down.
    add x3, x0, x2
    add x1, x1, x2
6:  cbz x2, 7f
    ldrb w4, [x1, #-1]!
    strb w4, [x3, #-1]!
    sub x2, x2, #1
    b 6b
7:  ret

.global memset
memset:
    mov x3, x0
    and w1, w1, #0xff
    mov x4, #0x0101010101010101
    mul x1, x1, x4
8:  tst x3, #7
    b.eq 9f
    cbz x2, 12f
    strb w1, [x3], #1
    sub x2, x2, #1
    b 8b
9:  subs x2, x2, #32
    b.lo 10f
    stp x1, x1, [x3], #16
    stp x1, x1, [x3], #16
    b 9b
10: adds x2, x2, #24
    b.mi 18f
17: str x1, [x3], #8
    subs x2, x2, #8
    b.pl 17b
18: add x2, x2, #8
11: cbz x2, 12f
    strb w1, [x3], #1
    sub x2, x2, #1
    b 11b
12: ret

.global memcmp
memcmp:
    mov x3, x0
13: cbz x2, 14f
    ldrb w4, [x3], #1
    ldrb w5, [x1], #1
    sub x2, x2, #1
    subs w0, w4, w5
    b.eq 13b
    ret
14: mov x0, #0
    ret

.global bcmp
bcmp:
    b memcmp
"#
);
