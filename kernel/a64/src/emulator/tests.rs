//! What the encoder says and the emulator does, against the same said in Rust; and what is refused.

use std::vec;

use proptest::prelude::*;

use super::{Fault, Machine};
use crate::*;

const CODE: u64 = 0xffff_0000_0000_1000;
const DATA: u64 = 0xffff_0000_0080_0003;

/// x0 after `words`, which begin with these in x0, x1 and x2.
fn run(words: &[Word], arguments: [u64; 3]) -> Result<u64, Fault> {
    let code: vec::Vec<u32> = words
        .iter()
        .chain([&ret()])
        .map(|word| word.get())
        .collect();
    let mut machine = Machine::new(&code, CODE);
    machine.map(DATA, &(0..=255).collect::<vec::Vec<u8>>(), false);
    machine.call(CODE, &arguments, 100)
}

fn result(word: Word, n: u64, m: u64) -> u64 {
    run(&[word], [0x1122_3344_5566_7788, n, m]).unwrap()
}

/// Values at which carries and signs change, and others.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
        (0u32..64, -2i64..3).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
    ]
}

proptest! {
    #[test]
    fn conditions_hold_as_in_rust(n in value(), other in value(), same in 0..4) {
        // Chance alone hardly ever makes two equal.
        let m = if same == 0 { n } else { other };
        let (n32, m32) = (n as u32, m as u32);
        let conditions = [
            (Condition::Eq, n == m), (Condition::Ne, n != m), (Condition::Hs, n >= m),
            (Condition::Lo, n < m), (Condition::Hi, n > m), (Condition::Ls, n <= m),
            (Condition::Ge, n as i64 >= m as i64), (Condition::Lt, (n as i64) < m as i64),
            (Condition::Gt, n as i64 > m as i64), (Condition::Le, n as i64 <= m as i64),
            (Condition::Mi, (n.wrapping_sub(m) as i64) < 0), (Condition::Pl, n.wrapping_sub(m) as i64 >= 0),
            (Condition::Vs, (n as i64).checked_sub(m as i64).is_none()),
            (Condition::Vc, (n as i64).checked_sub(m as i64).is_some()),
        ];
        for (condition, holds) in conditions {
            let words = [cmp(X1, X2), csel(X0, X1, X2, condition)];
            prop_assert_eq!(run(&words, [0, n, m]).unwrap(), if holds { n } else { m });
            let words = [cmp(X1, X2), cset(X0, condition)];
            prop_assert_eq!(run(&words, [0, n, m]).unwrap(), holds.into());
            // Equal in both halves, by a conditional comparison of the second.
            let words = [cmp(W1, W2), ccmp(X1, X2, 0, condition).unwrap(), cset(X0, Condition::Eq)];
            let low = [(n32 == m32), n32 != m32, n32 >= m32, n32 < m32];
            if let Some(&first) = low.get(condition as usize) {
                let expected = first && n == m;
                prop_assert_eq!(run(&words, [0, n, m]).unwrap(), expected.into());
            }
        }
    }

    #[test]
    fn registers_compute_what_rust_does(n in value(), m in value(), amount in 0u32..64) {
        let (n32, m32, by) = (n as u32, m as u32, amount % 32);
        let wide = u128::from(n) * u128::from(m);
        for (word, expected) in [
            (add(X0, X1, X2), n.wrapping_add(m)),
            (add(W0, W1, W2), n32.wrapping_add(m32).into()),
            (sub(X0, X1, X2), n.wrapping_sub(m)),
            (subs(W0, W1, W2), n32.wrapping_sub(m32).into()),
            (and(X0, X1, X2), n & m),
            (orr(W0, W1, W2), (n32 | m32).into()),
            (eor(X0, X1, X2), n ^ m),
            (mul(X0, X1, X2), wide as u64),
            (mul(W0, W1, W2), n32.wrapping_mul(m32).into()),
            (umulh(X0, X1, X2), (wide >> 64) as u64),
            (madd(X0, X1, X2, X1), (wide as u64).wrapping_add(n)),
            (mov(W0, W1), n32.into()),
            (rev(X0, X1), n.swap_bytes()),
            (rev(W0, W1), n32.swap_bytes().into()),
            (rev32(X0, X1), n.swap_bytes().rotate_left(32)),
            (rev16(W0, W1), (n32.swap_bytes().rotate_left(16)).into()),
            (lsl_register(X0, X1, X2), n << (m % 64)),
            (lsr_register(W0, W1, W2), (n32 >> (m32 % 32)).into()),
            (lsl(X0, X1, amount).unwrap(), n << amount),
            (lsr(W0, W1, by).unwrap(), (n32 >> by).into()),
            (ubfx(X0, X1, amount, 64 - amount).unwrap(), n >> amount),
            (ubfx(W0, W1, by, 1).unwrap(), (n32 >> by & 1).into()),
            (add_shifted(X0, X1, X2, Shift::Asr, amount).unwrap(), n.wrapping_add((m as i64 >> amount) as u64)),
            (sub_shifted(W0, W1, W2, Shift::Lsl, by).unwrap(), n32.wrapping_sub(m32 << by).into()),
            (eor_shifted(X0, X1, X2, Shift::Ror, amount).unwrap(), n ^ m.rotate_right(amount)),
            (orr_shifted(W0, W1, W2, Shift::Ror, by).unwrap(), (n32 | m32.rotate_right(by)).into()),
            (and_shifted(X0, X1, X2, Shift::Lsr, amount).unwrap(), n & m >> amount),
        ] {
            prop_assert_eq!(result(word, n, m), expected, "{:?} {:#x} {:#x}", word, n, m);
        }
    }

    #[test]
    fn constants_are_loaded_in_the_fewest(value in value(), bit in 0u32..64) {
        for value in [value, !value, value & 0xffff_0000_ffff_0000, value | 0xffff << (bit & 48)] {
            let words = constant(X0, value);
            prop_assert_eq!(run(words.words(), [0; 3]).unwrap(), value);
            let halves = |of: u64| (0..4).filter(|half| value >> (16 * half) & 0xffff != of).count();
            let fewest = halves(0).min(halves(0xffff)).max(1);
            let fewest = if Bitmask::new::<X>(value).is_ok() { 1 } else { fewest };
            prop_assert_eq!(words.words().len(), fewest);
            let words = constant(W0, value);
            prop_assert_eq!(run(words.words(), [0; 3]).unwrap(), value & 0xffff_ffff);
            prop_assert!(words.words().len() <= 2);
        }
    }

    #[test]
    fn immediates_are_held_or_refused(value in value(), n in value()) {
        let small = value as u32;
        match add_immediate(X0, X1, small) {
            Ok(word) => prop_assert_eq!(result(word, n, 0), n.wrapping_add(small.into())),
            Err(error) => {
                prop_assert_eq!(error, Error::Immediate);
                prop_assert!(small > 0xfff && (small & 0xfff != 0 || small > 0xfff_000));
            }
        }
        if let Ok(word) = eor_immediate(X0, X1, value) {
            prop_assert_eq!(result(word, n, 0), n ^ value);
        }
        for shift in 0..70 {
            prop_assert_eq!(lsl(X0, X1, shift).is_ok(), shift < 64);
            prop_assert_eq!(lsr(W0, W1, shift).is_ok(), shift < 32);
            prop_assert_eq!(movk(W0, 1, shift).is_ok(), shift == 0 || shift == 16);
            prop_assert_eq!(ubfx(W0, W1, shift, small).is_ok(), small > 0 && u64::from(shift) + u64::from(small) <= 32);
            prop_assert_eq!(tbz(W0, shift, 0).is_ok(), shift < 32);
            prop_assert_eq!(and_shifted(X0, X1, X2, Shift::Ror, shift).is_ok(), shift < 64);
            prop_assert!(add_shifted(X0, X1, X2, Shift::Ror, shift).is_err());
        }
        let offset = small as i32;
        let word = offset % 4 == 0;
        prop_assert_eq!(b(offset).is_ok(), word && (-1 << 27..1 << 27).contains(&offset));
        prop_assert_eq!(cbz(X0, offset).is_ok(), word && (-1 << 20..1 << 20).contains(&offset));
        prop_assert_eq!(tbnz(X0, 1, offset).is_ok(), word && (-1 << 15..1 << 15).contains(&offset));
        prop_assert_eq!(adr(X0, offset).is_ok(), (-1 << 20..1 << 20).contains(&offset));
        prop_assert_eq!(ldur(X0, X1, offset).is_ok(), (-256..256).contains(&offset));
        prop_assert_eq!(ldp(X0, X2, X1, offset).is_ok(), offset % 8 == 0 && (-512..512).contains(&offset));
        prop_assert_eq!(ldr(X0, X1, small).is_ok(), small.is_multiple_of(8) && small <= 4095 * 8);
        prop_assert_eq!(ldrh(W0, X1, small).is_ok(), small.is_multiple_of(2) && small <= 4095 * 2);
    }

    /// Whatever a word is, the emulator does not panic, and agrees that ours mean something.
    #[test]
    fn any_word_is_executed_or_refused(word in any::<u32>(), n in any::<u64>()) {
        let mut machine = Machine::new(&[word], CODE);
        machine.registers = [n; 31];
        let _ = machine.step_at(CODE);
    }
}

#[test]
fn loads_stay_within_what_is_mapped() {
    let at = |words: &[Word], offset: u64| run(words, [0, DATA.wrapping_add(offset), 7]);
    assert_eq!(
        at(&[ldur(X0, X1, 0).unwrap()], 1),
        Ok(0x0807_0605_0403_0201)
    );
    assert_eq!(
        at(&[ldr(X0, X1, 248).unwrap()], 0),
        Ok(0xfffe_fdfc_fbfa_f9f8)
    );
    assert_eq!(
        at(&[ldr(X0, X1, 248).unwrap()], 1),
        Err(Fault::Load(DATA + 249, 8))
    );
    assert_eq!(
        at(&[ldurh(W0, X1, -1).unwrap()], 0),
        Err(Fault::Load(DATA - 1, 2))
    );
    assert_eq!(at(&[ldrh_index(W0, X1, Index::Units(X2))], 0), Ok(0x0f0e));
    assert_eq!(at(&[ldrb_index(W0, X1, Index::WordBytes(W2))], 0), Ok(7));
    assert_eq!(
        at(&[ldr_index(W0, X1, Index::WordUnits(W2))], 0),
        Ok(0x1f1e_1d1c)
    );
    let pair = [ldp(W0, W2, X1, 4).unwrap(), add(X0, X0, X2)];
    assert_eq!(at(&pair, 0), Ok(0x0706_0504 + 0x0b0a_0908));
    assert_eq!(
        at(&[ldp(X0, X2, X1, 0).unwrap()], 241),
        Err(Fault::Load(DATA + 249, 8))
    );
    assert_eq!(ldp(X0, X0, X1, 0), Err(Error::Unpredictable));
    // The second of two begins where the first has left the base.
    let post = |offset| ldp_post(W0, W2, X1, offset).unwrap();
    let pairs = [post(-4), post(60), add(X0, X0, X2), add(X0, X0, X1)];
    let sum = 0x0302_0100 + 0x0706_0504;
    assert_eq!(at(&[post(-4), add(X0, X0, X2)], 0), Ok(sum));
    let sum = 0x0706_0504 + 0x0b0a_0908;
    assert_eq!(at(&pairs, 8), Ok(sum + DATA + 64));
    assert_eq!(
        at(&[ldp_post(X0, X2, X1, 16).unwrap()], 241),
        Err(Fault::Load(DATA + 249, 8))
    );
    for (t, u) in [(X0, X0), (X1, X0), (X0, X1)] {
        assert_eq!(ldp_post(t, u, X1, 16), Err(Error::Unpredictable));
    }
    // The region is not writable.
    assert_eq!(
        at(&[str(X0, X1, 0).unwrap()], 0),
        Err(Fault::Store(DATA, 8))
    );
}

#[test]
fn stores_change_what_they_name() {
    let mut machine = Machine::new(&[str(W1, X0, 4).unwrap().get(), ret().get()], CODE);
    machine.map(DATA, &[0xee; 12], true);
    machine
        .call(CODE, &[DATA, 0x1122_3344_5566_7788], 10)
        .unwrap();
    let expected = [
        0xee, 0xee, 0xee, 0xee, 0x88, 0x77, 0x66, 0x55, 0xee, 0xee, 0xee, 0xee,
    ];
    assert_eq!(machine.bytes(DATA), Some(expected.as_slice()));
}

#[test]
fn calls_that_go_wrong_are_told() {
    assert_eq!(run(&[b(0).unwrap()], [0; 3]), Err(Fault::Endless));
    assert_eq!(run(&[add(X19, X0, X1)], [0; 3]), Err(Fault::Clobbered(19)));
    assert_eq!(run(&[br(X1)], [0, 8, 0]), Err(Fault::Fetch(8)));
    assert_eq!(
        run(&[br(X1)], [0, CODE + 2, 0]),
        Err(Fault::Fetch(CODE + 2))
    );
    let undefined = Machine::new(&[0], CODE).step_at(CODE);
    assert_eq!(undefined, Err(Fault::Undefined(0, CODE)));
}

#[test]
fn branches_are_taken_or_not() {
    let taken = |branch: Word, n: u64| {
        let words = [mov(X0, X2), branch, movz(X0, 1, 0).unwrap()];
        run(&words, [0, n, 0]).unwrap() == 0
    };
    for (n, zero) in [(0, true), (1 << 40, false)] {
        assert_eq!(taken(cbz(X1, 8).unwrap(), n), zero);
        assert_eq!(taken(cbnz(X1, 8).unwrap(), n), !zero);
        assert!(taken(cbz(W1, 8).unwrap(), n));
        assert_eq!(taken(tbz(X1, 40, 8).unwrap(), n), zero);
        assert_eq!(taken(tbnz(X1, 40, 8).unwrap(), n), !zero);
    }
    let words = [
        adr(X1, 12).unwrap(),
        add_immediate(X30, X30, 0).unwrap(),
        br(X1),
        movz(X0, 9, 0).unwrap(),
    ];
    assert_eq!(run(&words, [0; 3]), Ok(9));
    let words = [
        mov(X2, X30),
        bl(8).unwrap(),
        br(X2),
        movz(X0, 5, 0).unwrap(),
    ];
    assert_eq!(run(&words, [0; 3]), Ok(5));
}
