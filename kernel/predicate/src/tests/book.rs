//! The book's example: a lock's word or a time, and a peer that may be gone.

use exopi_abi::predicate::{Comparison, Exposed, Operand, Predicate, Tag, Terms, Width, Word};
use exopi_abi::{Error, PageNumber};

use crate::Program;

const FREE: u32 = 1;
const LATE: u32 = 2;
const GONE: u32 = 3;

/// Waits for a lock in a page of the program's own, until a time.
fn lock(page: PageNumber, until: u64) -> Option<Predicate<'static>> {
    let word = Word::owned(page, 0x40, Width::Four);
    let wait = Predicate::any()
        .product(Tag::new(FREE)?)
        .and(word, Comparison::Equal, 0)
        .product(Tag::new(LATE)?)
        .and(Word::TIME, Comparison::AtLeast, until);
    Some(wait)
}

/// Waits until the environment that has the lock is no more.
fn gone(index: u16, epoch: u64) -> Option<Predicate<'static>> {
    let word = Word::exposed(Exposed::Epoch(index));
    let wait = Predicate::any().product(Tag::new(GONE)?);
    Some(wait.and(word, Comparison::NotEqual, epoch))
}

#[test]
fn either_of_two_waits() -> Result<(), Error> {
    let lock = lock(PageNumber::new(0x1234), 5000).ok_or(Error::Malformed)?;
    let wait = lock.or(&gone(12, 77).ok_or(Error::Malformed)?);
    let program = Program::new(Terms::decode(wait.terms()?)?);

    // The lock is taken, the time has not come, the owner is there.
    let words = |word, time, epoch: u64| {
        move |operand| match operand {
            Operand::Memory { .. } => word,
            Operand::Exposed(Exposed::Time) => time,
            // The whole life word, of which the epoch is the upper part.
            Operand::Exposed(_) => epoch << 16,
        }
    };
    assert_eq!(program.evaluate(words(1, 4999, 77)), None);
    assert_eq!(program.deadline(4999), Some(5000));

    let told = |found: Option<Tag>| found.map(Tag::get);
    assert_eq!(told(program.evaluate(words(0, 4999, 77))), Some(FREE));
    assert_eq!(told(program.evaluate(words(1, 5000, 77))), Some(LATE));
    assert_eq!(told(program.evaluate(words(1, 4999, 78))), Some(GONE));
    Ok(())
}
