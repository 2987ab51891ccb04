//! Instructions in assembler's language beside what the encoder makes of them.
//!
//! Every function of the encoder is here, with registers from both ends of the file and immediates from
//! both ends of what the field holds.

use exopi_a64::{
    Condition, Error, Index, Register, Shift, W, W0, W7, W30, Word, X, X0, X3, X7, X28, X30, add,
    add_immediate, add_shifted, adr, and, and_immediate, and_shifted, b, b_cond, bl, blr, br, cbnz,
    cbz, ccmp, ccmp_immediate, cmp, cmp_immediate, cmp_shifted, csel, cset, eor, eor_immediate,
    eor_shifted, ldp, ldp_post, ldr, ldr_index, ldrb, ldrb_index, ldrh, ldrh_index, ldur, ldurb,
    ldurh, lsl, lsl_register, lsr, lsr_register, madd, mov, movk, movn, movz, mul, orr,
    orr_immediate, orr_shifted, ret, rev, rev16, rev32, str, sub, sub_immediate, sub_shifted, subs,
    subs_immediate, subs_shifted, tbnz, tbz, tst, tst_immediate, ubfx, umulh,
};

/// An instruction in assembler's language, and as encoded here.
pub type Case = (String, Word);

const NUMBERS: [u8; 4] = [0, 1, 17, 30];
const SHIFTS: [(Shift, &str); 4] = [
    (Shift::Lsl, "lsl"),
    (Shift::Lsr, "lsr"),
    (Shift::Asr, "asr"),
    (Shift::Ror, "ror"),
];
const NAMES: [&str; 14] = [
    "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le",
];

/// Registers of one width.
trait Named: Register + std::fmt::Debug {
    fn numbered(number: u8) -> Self;
}

impl Named for X {
    fn numbered(number: u8) -> Self {
        X::new(number).unwrap()
    }
}

impl Named for W {
    fn numbered(number: u8) -> Self {
        W::new(number).unwrap()
    }
}

/// All cases, in a fixed order.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    both_widths::<X>(&mut cases);
    both_widths::<W>(&mut cases);
    for number in NUMBERS {
        one_width(&mut cases, number);
    }
    branches(&mut cases);
    cases
}

fn both_widths<R: Named>(cases: &mut Vec<Case>) {
    for number in NUMBERS {
        let (d, n, m) = (
            R::numbered(number),
            R::numbered((number + 5) % 31),
            R::numbered((number + 11) % 31),
        );
        immediates(cases, d, n);
        registers(cases, d, n, m);
        let x = X::new((number + 2) % 31).unwrap();
        loads(cases, d, n, x);
    }
}

fn immediates<R: Named>(cases: &mut Vec<Case>, d: R, n: R) {
    let mut push = |text: String, word: Result<Word, Error>| cases.push((text, word.unwrap()));
    for value in [0, 1, 0x7ff, 0xfff, 0x1000, 0xff_f000] {
        push(
            format!("add {d:?}, {n:?}, #{value}"),
            add_immediate(d, n, value),
        );
        push(
            format!("sub {d:?}, {n:?}, #{value}"),
            sub_immediate(d, n, value),
        );
        push(
            format!("subs {d:?}, {n:?}, #{value}"),
            subs_immediate(d, n, value),
        );
        push(format!("cmp {n:?}, #{value}"), cmp_immediate(n, value));
    }
    for value in [1, 0xff, 0x8000_0001, 0x5555_5555, 0x3f00_3f00, 0xffff_fffe] {
        let value = if R::BITS == 64 {
            value | value << 32
        } else {
            value
        };
        push(
            format!("and {d:?}, {n:?}, #{value}"),
            and_immediate(d, n, value),
        );
        push(
            format!("orr {d:?}, {n:?}, #{value}"),
            orr_immediate(d, n, value),
        );
        push(
            format!("eor {d:?}, {n:?}, #{value}"),
            eor_immediate(d, n, value),
        );
        push(format!("tst {n:?}, #{value}"), tst_immediate(n, value));
    }
    constants_and_fields(cases, d, n);
}

fn constants_and_fields<R: Named>(cases: &mut Vec<Case>, d: R, n: R) {
    let mut push = |text: String, word: Result<Word, Error>| cases.push((text, word.unwrap()));
    for shift in (0..R::BITS).step_by(16) {
        for value in [0, 1, 0x8000, 0xffff] {
            push(
                format!("movz {d:?}, #{value}, lsl #{shift}"),
                movz(d, value, shift),
            );
            push(
                format!("movk {d:?}, #{value}, lsl #{shift}"),
                movk(d, value, shift),
            );
            push(
                format!("movn {d:?}, #{value}, lsl #{shift}"),
                movn(d, value, shift),
            );
        }
    }
    for shift in [0, 1, 31, R::BITS - 1] {
        push(format!("lsl {d:?}, {n:?}, #{shift}"), lsl(d, n, shift));
        push(format!("lsr {d:?}, {n:?}, #{shift}"), lsr(d, n, shift));
    }
    for (low, width) in [(0, 1), (0, R::BITS), (3, 7), (R::BITS - 1, 1)] {
        push(
            format!("ubfx {d:?}, {n:?}, #{low}, #{width}"),
            ubfx(d, n, low, width),
        );
    }
    for (value, flags) in [(0, 0), (31, 15), (17, 4)] {
        let word = ccmp_immediate(n, value, flags, Condition::Hs);
        push(format!("ccmp {n:?}, #{value}, #{flags}, hs"), word);
    }
}

fn registers<R: Named>(cases: &mut Vec<Case>, d: R, n: R, m: R) {
    let mut push = |text: String, word: Word| cases.push((text, word));
    push(format!("add {d:?}, {n:?}, {m:?}"), add(d, n, m));
    push(format!("sub {d:?}, {n:?}, {m:?}"), sub(d, n, m));
    push(format!("subs {d:?}, {n:?}, {m:?}"), subs(d, n, m));
    push(format!("and {d:?}, {n:?}, {m:?}"), and(d, n, m));
    push(format!("orr {d:?}, {n:?}, {m:?}"), orr(d, n, m));
    push(format!("eor {d:?}, {n:?}, {m:?}"), eor(d, n, m));
    push(format!("cmp {n:?}, {m:?}"), cmp(n, m));
    push(format!("tst {n:?}, {m:?}"), tst(n, m));
    push(format!("mov {d:?}, {m:?}"), mov(d, m));
    push(format!("lsl {d:?}, {n:?}, {m:?}"), lsl_register(d, n, m));
    push(format!("lsr {d:?}, {n:?}, {m:?}"), lsr_register(d, n, m));
    push(format!("rev {d:?}, {n:?}"), rev(d, n));
    push(format!("rev16 {d:?}, {n:?}"), rev16(d, n));
    push(format!("mul {d:?}, {n:?}, {m:?}"), mul(d, n, m));
    push(format!("madd {d:?}, {n:?}, {m:?}, {n:?}"), madd(d, n, m, n));
    for (condition, name) in Condition::ALL.into_iter().zip(NAMES) {
        push(
            format!("csel {d:?}, {n:?}, {m:?}, {name}"),
            csel(d, n, m, condition),
        );
        push(format!("cset {d:?}, {name}"), cset(d, condition));
        let word = ccmp(n, m, 9, condition).unwrap();
        push(format!("ccmp {n:?}, {m:?}, #9, {name}"), word);
    }
    shifted_registers(cases, d, n, m);
}

fn shifted_registers<R: Named>(cases: &mut Vec<Case>, d: R, n: R, m: R) {
    let mut push = |text: String, word: Word| cases.push((text, word));
    for (by, name) in SHIFTS {
        for amount in [1, 31, R::BITS - 1] {
            let tail = format!("{n:?}, {m:?}, {name} #{amount}");
            let get = |word: Result<Word, Error>| word.unwrap();
            push(
                format!("and {d:?}, {tail}"),
                get(and_shifted(d, n, m, by, amount)),
            );
            push(
                format!("orr {d:?}, {tail}"),
                get(orr_shifted(d, n, m, by, amount)),
            );
            push(
                format!("eor {d:?}, {tail}"),
                get(eor_shifted(d, n, m, by, amount)),
            );
            if by != Shift::Ror {
                push(
                    format!("add {d:?}, {tail}"),
                    get(add_shifted(d, n, m, by, amount)),
                );
                push(
                    format!("sub {d:?}, {tail}"),
                    get(sub_shifted(d, n, m, by, amount)),
                );
                push(
                    format!("subs {d:?}, {tail}"),
                    get(subs_shifted(d, n, m, by, amount)),
                );
                push(format!("cmp {tail}"), get(cmp_shifted(n, m, by, amount)));
            }
        }
    }
}

fn loads<R: Named>(cases: &mut Vec<Case>, t: R, u: R, n: X) {
    let mut push = |text: String, word: Word| cases.push((text, word));
    let size = R::BITS / 8;
    let index = X::new(9).unwrap();
    for offset in [0, size, 4095 * size] {
        push(
            format!("ldr {t:?}, [{n:?}, #{offset}]"),
            ldr(t, n, offset).unwrap(),
        );
        push(
            format!("str {t:?}, [{n:?}, #{offset}]"),
            str(t, n, offset).unwrap(),
        );
    }
    // Offsets for which there is no other form: else the assembler takes that.
    for offset in [-256, -1, 1, 255] {
        push(
            format!("ldur {t:?}, [{n:?}, #{offset}]"),
            ldur(t, n, offset).unwrap(),
        );
    }
    for offset in [-64, -1, 0, 63].map(|count| count * size as i32) {
        let word = ldp(t, u, n, offset).unwrap();
        push(format!("ldp {t:?}, {u:?}, [{n:?}, #{offset}]"), word);
        if let Ok(word) = ldp_post(t, u, n, offset) {
            push(format!("ldp {t:?}, {u:?}, [{n:?}], #{offset}"), word);
        }
    }
    let scale = size.ilog2();
    let w = index.w();
    push(
        format!("ldr {t:?}, [{n:?}, x9]"),
        ldr_index(t, n, Index::Bytes(index)),
    );
    push(
        format!("ldr {t:?}, [{n:?}, x9, lsl #{scale}]"),
        ldr_index(t, n, Index::Units(index)),
    );
    push(
        format!("ldr {t:?}, [{n:?}, w9, uxtw]"),
        ldr_index(t, n, Index::WordBytes(w)),
    );
    push(
        format!("ldr {t:?}, [{n:?}, w9, uxtw #{scale}]"),
        ldr_index(t, n, Index::WordUnits(w)),
    );
}

fn one_width(cases: &mut Vec<Case>, number: u8) {
    let mut push = |text: String, word: Word| cases.push((text, word));
    let (d, n, m) = (X::new(number).unwrap(), X3, X28);
    let t = d.w();
    push(format!("rev32 {d:?}, {n:?}"), rev32(d, n));
    push(format!("umulh {d:?}, {n:?}, {m:?}"), umulh(d, n, m));
    for offset in [0, 2, 4094] {
        push(
            format!("ldrh {t:?}, [{n:?}, #{offset}]"),
            ldrh(t, n, offset).unwrap(),
        );
        push(
            format!("ldrb {t:?}, [{n:?}, #{offset}]"),
            ldrb(t, n, offset).unwrap(),
        );
    }
    for offset in [-256, -1, 1, 255] {
        push(
            format!("ldurh {t:?}, [{n:?}, #{offset}]"),
            ldurh(t, n, offset).unwrap(),
        );
        push(
            format!("ldurb {t:?}, [{n:?}, #{offset}]"),
            ldurb(t, n, offset).unwrap(),
        );
    }
    for (name, index) in [
        ("x28", Index::Bytes(m)),
        ("w28, uxtw", Index::WordBytes(m.w())),
    ] {
        push(
            format!("ldrh {t:?}, [{n:?}, {name}]"),
            ldrh_index(t, n, index),
        );
        push(
            format!("ldrb {t:?}, [{n:?}, {name}]"),
            ldrb_index(t, n, index),
        );
    }
    push(
        format!("ldrh {t:?}, [{n:?}, x28, lsl #1]"),
        ldrh_index(t, n, Index::Units(m)),
    );
    push(format!("br {d:?}"), br(d));
    push(format!("blr {d:?}"), blr(d));
    for offset in [-1 << 20, -1, 0, 1, (1 << 20) - 1] {
        push(format!("adr {d:?}, .{offset:+}"), adr(d, offset).unwrap());
    }
}

fn branches(cases: &mut Vec<Case>) {
    let mut push = |text: String, word: Result<Word, Error>| cases.push((text, word.unwrap()));
    push("ret".to_owned(), Ok(ret()));
    for offset in [-1 << 27, -4, 4, (1 << 27) - 4] {
        push(format!("b .{offset:+}"), b(offset));
        push(format!("bl .{offset:+}"), bl(offset));
    }
    for offset in [-1 << 20, -4, 4, (1 << 20) - 4] {
        for (condition, name) in Condition::ALL.into_iter().zip(NAMES) {
            push(format!("b.{name} .{offset:+}"), b_cond(condition, offset));
        }
        push(format!("cbz x30, .{offset:+}"), cbz(X30, offset));
        push(format!("cbz w0, .{offset:+}"), cbz(W0, offset));
        push(format!("cbnz x0, .{offset:+}"), cbnz(X0, offset));
        push(format!("cbnz w30, .{offset:+}"), cbnz(W30, offset));
    }
    for offset in [-1 << 15, -4, 4, (1 << 15) - 4] {
        for bit in [0, 31, 32, 63] {
            push(format!("tbz x7, #{bit}, .{offset:+}"), tbz(X7, bit, offset));
            push(
                format!("tbnz x7, #{bit}, .{offset:+}"),
                tbnz(X7, bit, offset),
            );
        }
        push(format!("tbz w7, #31, .{offset:+}"), tbz(W7, 31, offset));
    }
}
