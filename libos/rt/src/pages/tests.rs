//! Calls that stop at their bound are made again, and none is made for what is not there.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::registers::Outcome;
use crate::{Call, Reply, host};

/// What was asked: call, first page, count.
type Asked = Rc<RefCell<Vec<(Call, u64, u64)>>>;

/// A kernel that does at most `bound` pages in a call, and refuses page `bad`.
fn kernel(bound: u64, bad: u64) -> Asked {
    let asked = Asked::default();
    let noted = asked.clone();
    host::serve(move |call, words| {
        let (first, count) = match call {
            Call::page_alloc | Call::page_give | Call::page_limit => (words[0], words[1]),
            _ => (words[0], words[2]),
        };
        noted.borrow_mut().push((call, first, count));
        let may = if bad >= first { bad - first } else { u64::MAX };
        let done = count.min(bound).min(may);
        let progress = Progress {
            done,
            stopped: (done == may && done < count.min(bound)).then_some(Error::Taken),
        };
        Reply {
            value: 1,
            ..progress.into_reply()
        }
    });
    asked
}

const FIRST: PageNumber = PageNumber::new(100);

#[test]
fn the_rest_is_asked_for_until_all_is_done() {
    let asked = kernel(16, u64::MAX);
    assert_eq!(Run::take(FIRST, 40), Ok(Run::owned(FIRST, 40)));
    let calls = [(100, 40), (116, 24), (132, 8)];
    assert_eq!(
        *asked.borrow(),
        calls.map(|(first, count)| (Call::page_alloc, first, count))
    );
    assert_eq!(Run::owned(FIRST, 33).retire().unless_stopped(), Ok(33));
    assert_eq!(Run::owned(FIRST, 0).free().unless_stopped(), Ok(0));
    host::install(None);
}

#[test]
fn what_was_taken_before_a_refusal_is_given_back() {
    let asked = kernel(16, 120);
    assert_eq!(Run::take(FIRST, 40), Err(Error::Taken));
    let last = asked
        .borrow()
        .iter()
        .rev()
        .take(2)
        .copied()
        .collect::<Vec<_>>();
    assert_eq!(
        last,
        [(Call::page_free, 116, 4), (Call::page_free, 100, 20)]
    );
    host::install(None);
}

#[test]
fn numbers_that_there_are_not_are_asked_of_nobody() {
    let asked = kernel(16, u64::MAX);
    let run = Run::owned(PageNumber::MAX, 40).free();
    assert_eq!(run.stopped, Some(Error::OutOfRange));
    assert_eq!(asked.borrow().len(), 1);
    host::install(None);
}

#[test]
fn breaking_counts_the_superpages_of_all_its_calls() {
    kernel(16, u64::MAX);
    #[expect(unsafe_code, reason = "nothing is mapped")]
    // SAFETY: there is no memory behind the numbers.
    let broken = unsafe { Run::owned(FIRST, 40).break_all() };
    assert_eq!((broken.progress.done, broken.superpages), (40, 3));
    host::install(None);
}

#[test]
fn parts_lie_inside() {
    let run = Run::owned(FIRST, 8);
    assert_eq!(run.part(2, 6), Some(Run::owned(PageNumber::new(102), 6)));
    assert_eq!(run.part(2, 7), None);
    assert_eq!(run.part(u64::MAX, 2), None);
    assert_eq!(run.numbers().count(), 8);
    assert_eq!(Run::owned(PageNumber::MAX, 9).numbers().count(), 1);
}
