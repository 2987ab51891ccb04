//! Keys with more words than registers: each word is put together twice, once to hash it, and once for
//! each comparison. Words are complete one after the other, so that one register is enough.

use exopi_a64::{
    Assembler, Condition, Error as CodeError, Shift, X, X0, X4, X5, X6, X8, X9, X10, X12, X13, X14,
    X15, add_shifted, cmp, eor, ldr, mov,
};

use super::{Base, Labels, fold, gather, move_base, walk};
use crate::records::{
    CHUNK_SHIFT, CHUNK_WORDS, KeyRecord, MORE_OFFSET, OWN_WORDS, Part, Step, WORDS_OFFSET,
};

/// Whether the word of the field `steps[at]` is complete with it.
fn completes(steps: &[Step], at: usize) -> bool {
    let word = |step: &&Step| step.part == Part::Field;
    let next = steps.iter().skip(at + 1).find(word);
    steps
        .get(at)
        .zip(next)
        .is_none_or(|(step, next)| step.word != next.word)
}

/// Number of `step` in its key.
fn position(key: &KeyRecord, step: &Step) -> usize {
    // Every field has a place of its own, so this finds the one.
    key.steps()
        .iter()
        .position(|other| other == step)
        .unwrap_or(0)
}

/// Leaves the hash of all words in x10.
pub(super) fn hash(
    code: &mut Assembler<'_>,
    key: &KeyRecord,
    labels: &mut Labels,
) -> Result<(), CodeError> {
    // Word 0 is the place alone if the first field has 64 bits.
    let mut first = key.steps().iter().filter(|step| step.part == Part::Field);
    if first.next().is_some_and(|step| step.word == 1) {
        code.put(mov(X15, X8))?;
    }
    walk(code, key, labels, |code, step, base| {
        gather(code, step, base)?;
        if !completes(key.steps(), position(key, step)) {
            return Ok(());
        }
        match step.word {
            0 => code.put(mov(X15, X13)),
            1 => {
                code.put(eor(X9, X15, X5))?;
                code.put(eor(X10, X13, X6))?;
                fold(code, X9, X10)
            }
            _ => {
                code.put(eor(X9, X10, X13))?;
                fold(code, X9, X6)
            }
        }
    })?;
    Ok(())
}

/// Goes to the next slot unless the record in x12 has the words of the frame. Leaves the moved base in
/// x16. All fields are known to be in the frame.
pub(super) fn compare(
    code: &mut Assembler<'_>,
    key: &KeyRecord,
    labels: &mut Labels,
) -> Result<(), CodeError> {
    let mut base = Base {
        address: X0,
        left: None,
    };
    let steps = key.steps();
    let mut first = steps.iter().filter(|step| step.part == Part::Field);
    if first.next().is_some_and(|step| step.word == 1) {
        compare_word(code, 0, X8, labels)?;
    }
    for (at, step) in steps.iter().enumerate() {
        match step.part {
            Part::Field => {
                gather(code, step, base)?;
                if completes(steps, at) {
                    compare_word(code, step.word.into(), X13, labels)?;
                }
            }
            Part::Advance => {}
            // x11 has the filter.
            Part::AdvanceBy => base = move_base(code, step, X14, base)?,
        }
    }
    Ok(())
}

/// Compares word `index` of the record, or chunk, that x12 has come to.
fn compare_word(
    code: &mut Assembler<'_>,
    index: usize,
    word: X,
    labels: &mut Labels,
) -> Result<(), CodeError> {
    let offset = match index.checked_sub(OWN_WORDS) {
        None => WORDS_OFFSET + 8 * index as u32,
        Some(spilled) => {
            if spilled.is_multiple_of(CHUNK_WORDS) {
                let link = if spilled == 0 { MORE_OFFSET } else { 0 };
                code.put(ldr(X9.w(), X12, link)?)?;
                code.put(add_shifted(X12, X4, X9, Shift::Lsl, CHUNK_SHIFT)?)?;
            }
            8 + 8 * (spilled % CHUNK_WORDS) as u32
        }
    };
    code.put(ldr(X9, X12, offset)?)?;
    code.put(cmp(X9, word))?;
    code.b_cond(Condition::Ne, &mut labels.next)
}
