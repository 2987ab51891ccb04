//! Who is to be looked at when something happens to an environment.
//!
//! ```text
//!   environment e:  | which words below are not zero | sleepers 0 - 63 | 64 - 127 | ... | 960 - 1023 |
//! ```
//!
//! A bit for each pair: adding and taking out cost a step for each term, and nothing is left out however many watch
//! one environment. A row is gone through without looking at those who do not watch.

use exopi_abi::domain::MAX_ENVIRONMENTS;

use crate::Program;

/// Sleepers of a word.
const BITS: usize = u64::BITS as usize;
/// Words of a row: the summary, and a bit for each sleeper.
const ROW: usize = 1 + MAX_ENVIRONMENTS / BITS;

/// Words of memory that [`Watchers`] need.
pub const WATCHER_WORDS: usize = MAX_ENVIRONMENTS * ROW;

const _: () = {
    assert!(MAX_ENVIRONMENTS.is_multiple_of(BITS));
    // One summary word is enough.
    assert!(MAX_ENVIRONMENTS / BITS <= BITS);
};

/// Which sleepers, by their environments' indices, mention which environments.
#[derive(Debug)]
pub struct Watchers<'m> {
    rows: &'m mut [u64; WATCHER_WORDS],
}

impl<'m> Watchers<'m> {
    /// Nobody watches anybody.
    pub fn new(rows: &'m mut [u64; WATCHER_WORDS]) -> Self {
        rows.fill(0);
        Self { rows }
    }

    /// `sleeper` is to be looked at when something happens to an environment that its predicate mentions. One that is no
    /// environment's index is left out.
    pub fn add(&mut self, sleeper: u16, program: &Program) {
        self.each(sleeper, program, |summary, word, part, bit| {
            *word |= bit;
            *summary |= part;
        });
    }

    /// The opposite, with the predicate that was added.
    pub fn remove(&mut self, sleeper: u16, program: &Program) {
        self.each(sleeper, program, |summary, word, part, bit| {
            *word &= !bit;
            if *word == 0 {
                *summary &= !part;
            }
        });
    }

    fn each(
        &mut self,
        sleeper: u16,
        program: &Program,
        change: impl Fn(&mut u64, &mut u64, u64, u64),
    ) {
        let (column, bit) = (usize::from(sleeper) / BITS, usize::from(sleeper) % BITS);
        let (rows, _) = self.rows.as_chunks_mut::<ROW>();
        for environment in program.environments() {
            let row = rows.get_mut(usize::from(environment));
            let Some([summary, words @ ..]) = row else {
                continue;
            };
            if let Some(word) = words.get_mut(column) {
                change(summary, word, 1 << column, 1 << bit);
            }
        }
    }

    /// The next sleeper, from `from` on, that watches an environment.
    pub fn next(&self, environment: u16, from: u16) -> Option<u16> {
        let (rows, _) = self.rows.as_chunks::<ROW>();
        let [summary, words @ ..] = rows.get(usize::from(environment))?;
        let (column, bit) = (usize::from(from) / BITS, usize::from(from) % BITS);
        let here = words.get(column)? & (u64::MAX << bit);
        let (column, word) = if here != 0 {
            (column, here)
        } else {
            let after = column + 1;
            let later = summary >> after << after;
            let next = later.trailing_zeros() as usize;
            (next, *words.get(next)?)
        };
        Some((column * BITS) as u16 + word.trailing_zeros() as u16)
    }
}
