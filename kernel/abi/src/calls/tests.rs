//! The products of the table agree with each other.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::host::{Served, serve};
use crate::layout;
use crate::types::tests::words;

/// Calls that reached the kernel, with their registers.
type Seen = Rc<RefCell<Vec<(Call, [u64; 6])>>>;

/// A kernel that notes what reached it, and answers each call alike.
fn recorder(reply: Reply) -> (Seen, Served<impl FnMut(Call, [u64; 6]) -> Reply>) {
    let seen = Seen::default();
    let noted = seen.clone();
    let answer = move |call, words| {
        noted.borrow_mut().push((call, words));
        reply
    };
    (seen, Served(answer))
}

/// Registers that a row's arguments take.
fn taken(row: &Row) -> usize {
    row.arguments.iter().map(|parameter| parameter.words).sum()
}

#[test]
fn numbers_and_names_agree() {
    for row in ROWS {
        assert_eq!(Call::from_number(row.call.number()), Some(row.call));
        assert!(row.doc.trim().ends_with('.'), "{}", row.call.name());
    }
    assert_eq!(Call::from_number(0), None);
    assert_eq!(Call::from_number(Call::ALL.len() as u16 + 1), None);
}

#[test]
fn arguments_reach_the_kernel_as_they_were_given_and_its_reply_comes_back() {
    let (seen, mut served) = recorder(Reply {
        status: 3 << 16 | Error::Taken as u64,
        value: 7,
    });
    serve(move |call, words| dispatch(&mut served, call.number(), words));
    let given = stubs::page_alloc(PageSelect::Exact(PageNumber::new(5)), 4);
    assert_eq!((given.first.get(), given.progress.done), (7, 3));
    assert_eq!(given.progress.stopped, Some(Error::Taken));
    assert_eq!(
        seen.borrow().as_slice(),
        [(Call::page_alloc, [5, 4, 0, 0, 0, 0])]
    );
    let mut buffer = [0; 5];
    let into = buffer.as_mut_ptr() as u64;
    let read = stubs::console_read((&mut buffer[..]).into());
    assert_eq!(read.done, 3);
    let last = seen.borrow().last().copied();
    assert_eq!(last, Some((Call::console_read, [into, 5, 0, 0, 0, 0])));
    crate::host::install(None);
}

#[test]
fn arguments_that_cannot_be_meant_never_reach_the_kernel() {
    let (seen, mut served) = recorder(Reply::success(0));
    let mut refused = |number, from| dispatch(&mut served, number, from).error();
    for (call, words, error) in [
        (Call::page_alloc, [3 << 56, 1, 0, 0, 0, 0], Error::Malformed),
        (Call::page_free, [1 << 40, 0, 1, 0, 0, 0], Error::OutOfRange),
        (Call::page_free, [5, 8, 1, 0, 0, 0], Error::Malformed),
        (Call::insert_pte, [0, 1, 5, 0, 1, 1], Error::BadAddress),
        (
            Call::insert_pte,
            [0, layout::USER_START, 5, 0, 1, 2],
            Error::Malformed,
        ),
        (
            Call::remove_pte,
            [0, layout::TABLES_BASE, 1, 0, 0, 0],
            Error::BadAddress,
        ),
        (
            Call::console_write,
            [u64::MAX, 2, 0, 0, 0, 0],
            Error::BadAddress,
        ),
        (
            Call::page_accept,
            [1 << 32, 0, 0, 0, 0, 0],
            Error::OutOfRange,
        ),
        (Call::env_stop, [4, 0, 0, 0, 0, 0], Error::BadAddress),
        (Call::env_stop, [2 << 56, 0, 0, 0, 0, 0], Error::Malformed),
    ] {
        assert_eq!(refused(call.number(), words), Some(error), "{call:?}");
    }
    for number in [0, Call::ALL.len() as u16 + 1, 999, u16::MAX] {
        assert_eq!(refused(number, [0; 6]), Some(Error::NoSuchCall));
    }
    assert!(seen.borrow().is_empty());
}

/// Whether a row's arguments in these registers are either refused with an error that the row lists, or
/// reach the kernel as values that encode to the same registers.
fn decoded_or_refused(row: &Row, words: [u64; 6]) -> Result<(), TestCaseError> {
    let (seen, mut served) = recorder(Reply::success(0));
    let reply = dispatch(&mut served, row.call.number(), words);
    match reply.error() {
        Some(error) => {
            let listed = |parameter: &Parameter| parameter.refusals.contains(&error);
            prop_assert!(row.arguments.iter().any(listed), "{:?}: {error}", row.call);
            prop_assert!(seen.borrow().is_empty(), "{:?} went on", row.call);
        }
        None => {
            let mut expected = words;
            expected[taken(row)..].fill(0);
            let seen = seen.take();
            prop_assert_eq!(seen, [(row.call, expected)]);
        }
    }
    Ok(())
}

/// A kernel whose reply tells the call and every register of it.
type Telling = Served<fn(Call, [u64; 6]) -> Reply>;

fn told(call: Call, words: [u64; 6]) -> Reply {
    let value = words
        .into_iter()
        .fold(u64::from(call.number()), |sum, word| {
            sum.wrapping_mul(31).wrapping_add(word)
        });
    Reply { status: 0, value }
}

impl Ambient for Telling {
    const APART: &'static [Call] = Call::ALL;

    fn with(_: Call, work: impl FnOnce(&mut Self) -> Reply) -> Reply {
        work(&mut Served(told))
    }
}

proptest! {
    /// An entry for the usual value of the first argument is the call, with that value and with any other.
    #[test]
    fn entries_that_are_taken_apart_are_the_calls(words in words(), first in 0u64..3) {
        let [word, x1, x2, x3, x4, x5] = words;
        for (row, entry) in ROWS.iter().zip(entries::<Telling>()) {
            for x0 in [first, word] {
                let called = entry(x0, x1, x2, x3, x4, x5);
                let whole: &mut Telling = &mut Served(told);
                let expected = dispatch(whole, row.call.number(), [x0, x1, x2, x3, x4, x5]);
                prop_assert_eq!(called, expected, "{:?}", row.call);
            }
        }
    }

    /// The law of all arguments, over every row: no two register contents mean the same, and a kernel sees
    /// nothing that a program has not said.
    #[test]
    fn each_row_decodes_what_encodes_to_the_same_registers(words in words()) {
        for row in ROWS {
            decoded_or_refused(row, words)?;
        }
    }
}
