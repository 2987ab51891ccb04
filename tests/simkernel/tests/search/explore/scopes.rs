//! The scopes: which moves, from where, how far.
//!
//! `EXOPI_DEPTH` sets how far all but the first go, for a run longer than tests should take.

use exopi_abi::Call;
use exopi_abi::capability::{EnvironmentRights, Kind, PageRights};

use super::alphabet::Alphabet;
use super::moves::{Arg, Move};
use super::stage::{PLACES, SPARE};

/// What a holder of a capability for a page may be left with: one right that calls ask for.
const PAGE_RIGHTS: [PageRights; 4] = [
    PageRights::READ,
    PageRights::WRITE,
    PageRights::RETIRE,
    PageRights::FREE,
];

/// The same for other kinds. The first two are all that spaces and accounts have.
const SINGLE_RIGHTS: [u16; 5] = [
    EnvironmentRights::READ_STATE.bits(),
    EnvironmentRights::WRITE_STATE.bits(),
    EnvironmentRights::SCHEDULE.bits(),
    EnvironmentRights::KEEP.bits(),
    EnvironmentRights::DESTROY.bits(),
];

/// What is explored.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// For messages.
    pub(super) name: &'static str,
    /// The moves.
    alphabet: fn() -> Alphabet,
    /// Moves that are made at the beginning.
    pub(super) before: Vec<Move>,
    /// Most moves in a row.
    pub(super) depth: usize,
    /// Whether the moves name all spare frames alike, so that these can be exchanged.
    pub(super) alike: bool,
}

/// How far a scope goes that has no end, or none that is near.
fn depth(usual: usize) -> usize {
    let Some(told) = std::env::var_os("EXOPI_DEPTH") else {
        return usual;
    };
    let told = told.to_str().and_then(|text| text.parse().ok());
    told.expect("EXOPI_DEPTH is a number")
}

impl Scope {
    /// The same with spare frames told apart or not.
    pub(crate) fn with(self, alike: bool, depth: usize) -> Self {
        Self {
            alike,
            depth,
            ..self
        }
    }

    /// The moves.
    pub(super) fn moves(&self) -> Vec<Move> {
        (self.alphabet)().0
    }

    /// One page: owned, given, shared, mapped, broken.
    pub(crate) fn one_page() -> Self {
        Self {
            name: "one page",
            alphabet: || {
                let page = &SPARE[..1];
                Alphabet::default()
                    .pages(page)
                    .mappings(page, &PLACES[..1])
                    .shared(page)
            },
            before: Vec::new(),
            depth: usize::MAX,
            alike: false,
        }
    }

    /// One page and what holders leave of capabilities for it and for spaces.
    pub(crate) fn holders() -> Self {
        Self {
            name: "holders",
            alphabet: || {
                let page = &SPARE[..1];
                Alphabet::default()
                    .pages(page)
                    .mappings(page, &PLACES[..1])
                    .shared(page)
                    .narrowed(page, &PAGE_RIGHTS)
                    .object_capabilities(&[(Kind::Space, 0), (Kind::Space, 1)], &[1])
            },
            before: Vec::new(),
            depth: depth(5),
            alike: false,
        }
    }

    /// Three pages, in all ways.
    pub(crate) fn three_pages() -> Self {
        Self {
            name: "three pages",
            alphabet: || {
                Alphabet::default()
                    .pages(&SPARE)
                    .mappings(&SPARE, &PLACES)
                    .shared(&SPARE)
                    .narrowed(&SPARE, &[PageRights::READ])
                    .object_capabilities(&[(Kind::Space, 0), (Kind::Space, 1)], &[1])
            },
            before: Vec::new(),
            depth: depth(5),
            alike: true,
        }
    }

    /// Tables, roots and u-areas out of three pages.
    pub(crate) fn tables() -> Self {
        Self {
            name: "tables",
            alphabet: || {
                let spaces = [(Kind::Space, 0), (Kind::Space, 1)];
                Alphabet::default()
                    .pages(&SPARE)
                    .tables(&SPARE)
                    .mappings(&SPARE, &PLACES[..1])
                    .object_capabilities(&spaces, &[1, 2])
            },
            before: Vec::new(),
            depth: depth(5),
            alike: true,
        }
    }

    /// Accounts, spaces, environments and cores, with one page to make something of.
    pub(crate) fn domains() -> Self {
        Self {
            name: "domains",
            alphabet: || {
                let page = &SPARE[..1];
                let objects = [
                    (Kind::Account, 1),
                    (Kind::Space, 0),
                    (Kind::Environment, 0),
                    (Kind::Environment, 1),
                ];
                Alphabet::default()
                    .domains(SPARE[0])
                    .pages(page)
                    .object_capabilities(&objects, &SINGLE_RIGHTS)
            },
            before: Vec::new(),
            depth: depth(4),
            alike: false,
        }
    }

    /// Every call there is on every kind of argument.
    pub(crate) fn everything() -> Self {
        let one = Arg::Word;
        let alloc = |core, frame: u32| {
            let words = [one(frame.into()), one(1), one(0), one(0), one(0), one(0)];
            Move::Call(core, Call::page_alloc, words)
        };
        Self {
            name: "everything",
            alphabet: || {
                let objects = [Kind::Account, Kind::Space, Kind::Environment];
                let objects = objects.map(|kind| [0, 1].map(|index| (kind, index)));
                Alphabet::default()
                    .pages(&SPARE)
                    .mappings(&SPARE, &PLACES)
                    .shared(&SPARE)
                    .narrowed(&SPARE, &[PageRights::READ])
                    .tables(&SPARE)
                    .domains(SPARE[0])
                    .object_capabilities(objects.as_flattened(), &[1])
                    .runs(SPARE[0])
                    .hostile()
            },
            // Each has a page already.
            before: vec![alloc(0, SPARE[0]), alloc(1, SPARE[1])],
            depth: depth(3),
            alike: false,
        }
    }
}
