//! Which outcomes random calls must have had, so that they are known to reach what they are meant to test.

use exopi_abi::Error;
use exopi_abi::Error::{
    BadAddress, BadCount, Exhausted, InUse, LimitReached, Malformed, Misaligned, MissingRight,
    NoTable, NotEmpty, NotYours, Occupied, OutOfRange, OverAllowance, Stale, Taken, TimeLimited,
    Vacant, WrongKind, WrongType,
};

use super::Outcomes;

/// A call, and its refusals. Success must be seen besides.
pub(super) type Expected = (&'static str, &'static [Error]);

/// What a capability can be refused for, whatever the call.
const PRESENTED: [Error; 3] = [WrongKind, MissingRight, Stale];

/// Every refusal that a row of the call table lists, but for what no random world comes to: a page that is
/// left half broken, epochs that end.
pub(super) const OF_PAGES: &[Expected] = &[
    (
        "alloc",
        &[BadCount, Taken, Exhausted, OutOfRange, OverAllowance],
    ),
    ("free", &[BadCount, NotYours, WrongType, InUse, OutOfRange]),
    ("free", &PRESENTED),
    ("retire", &[BadCount, NotYours, WrongType, OutOfRange]),
    ("retire", &PRESENTED),
    ("break", &[BadCount, NotYours, WrongType, OutOfRange]),
    ("break", &PRESENTED),
    (
        "give",
        &[
            BadCount,
            NotYours,
            WrongType,
            InUse,
            OverAllowance,
            OutOfRange,
        ],
    ),
    ("limit", &[BadCount, NotYours, WrongType, OutOfRange]),
    (
        "mintable",
        &[BadCount, NotYours, WrongType, Stale, OutOfRange],
    ),
    (
        "insert_table",
        &[
            NotYours, WrongType, InUse, NoTable, Occupied, Malformed, OutOfRange,
        ],
    ),
    ("remove_table", &[Vacant, NoTable, NotEmpty]),
    (
        "insert",
        &[
            BadCount, NotYours, WrongType, NoTable, Occupied, BadAddress, OutOfRange,
        ],
    ),
    ("insert", &PRESENTED),
    ("insert", &[TimeLimited, LimitReached]),
    (
        "insert_new",
        &[
            BadCount,
            NoTable,
            Occupied,
            Taken,
            Exhausted,
            OverAllowance,
            OutOfRange,
        ],
    ),
    (
        "remove",
        &[BadCount, Vacant, NoTable, WrongType, BadAddress],
    ),
    (
        "protect",
        &[
            BadCount,
            Vacant,
            NoTable,
            WrongType,
            BadAddress,
            MissingRight,
        ],
    ),
    ("note", &[NoTable, Occupied]),
    (
        "make_uarea",
        &[NotYours, WrongType, InUse, NoTable, Occupied, OutOfRange],
    ),
    ("remove_uarea", &[NotYours, WrongType]),
    ("clear", &[NotYours, NotEmpty]),
    ("make_root", &[Occupied, NotYours]),
    ("reclaim", &[NotEmpty]),
];

/// The same where there are superpages, but for what needs too many steps; examples show that.
pub(super) const OF_SUPERPAGES: &[Expected] = &[
    (
        "insert_superpage",
        &[
            NotYours,
            NoTable,
            Occupied,
            LimitReached,
            Misaligned,
            Malformed,
            OutOfRange,
        ],
    ),
    ("insert_superpage", &PRESENTED),
    ("insert_superpage", &[TimeLimited]),
    ("remove", &[Misaligned]),
    ("protect", &[Misaligned, MissingRight]),
    ("free", &[InUse]),
    ("break", &[]),
    ("clear", &[]),
];

/// Whether each was seen.
pub(super) fn check(expected: &[Expected], seen: &Outcomes) {
    if cfg!(miri) {
        return;
    }
    for (name, errors) in expected {
        assert!(seen.contains(&(name, None)), "{name} never succeeded");
        for error in *errors {
            assert!(
                seen.contains(&(name, Some(*error))),
                "{name} never gave {error}"
            );
        }
    }
}
