//! Every state that calls can bring two environments into, breadth first, to a depth or until there is no new one.
//!
//! A scope is an alphabet of moves ([`alphabet`]) from one beginning ([`stage`]). In each state that counts as a new
//! one ([`canonical`]) every move is made. After each: all that the random search checks ([`Judged`]) and that no
//! frame but memory and u-areas can be seen at EL0, by what cores may use, and none but those be written.
//!
//! States are kept as the moves that lead to them and made again when their turn comes, so that memory holds numbers
//! and not machines. Results do not depend on how many threads there are.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use exopi_abi::PageNumber;
use exopi_abi::layout::TABLES_BASE;
use exopi_simkernel::{Kernel, Saved, Storage};

use super::judge::Judged;
use super::oracle::{Oracle, Verdict};
use canonical::canonical;
use moves::{Came, Move};

mod alphabet;
mod canonical;
mod moves;
mod scopes;
mod stage;

pub(crate) use scopes::Scope;

/// Threads of one exploration: as many as the smallest machine has that everything must finish on in time.
const THREADS: usize = 2;

/// A state: the one that it was come to from, and the move.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    by: u16,
}

/// What was found.
#[derive(Clone, Default)]
pub(crate) struct Found {
    /// States that do not count as one.
    pub(crate) states: usize,
    /// Moves that were made, refused ones included.
    pub(crate) transitions: usize,
    /// Moves that lead to the last of them.
    pub(crate) depth: usize,
    /// Whether there are no others.
    pub(crate) complete: bool,
    /// Calls that were never carried out, by name.
    pub(crate) idle: Vec<&'static str>,
    /// The states by numbers of [`canonical`], spare frames being alike.
    pub(crate) numbers: HashSet<u64>,
}

impl core::fmt::Debug for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} states, {} transitions, ",
            self.states, self.transitions
        )?;
        write!(f, "depth {}", self.depth)?;
        f.write_str(if self.complete { ", all there are" } else { "" })?;
        if !self.idle.is_empty() {
            write!(f, "; never carried out: {:?}", self.idle)?;
        }
        Ok(())
    }
}

/// What a thread has found in its part of a level.
#[derive(Debug, Default)]
struct Part {
    fresh: Vec<Fresh>,
    transitions: usize,
    /// How often each move was carried out.
    done: Vec<u32>,
}

/// A state that seems to be new: its number, that with spare frames alike, and how it was found.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    number: u64,
    alike: u64,
    node: Node,
}

/// Explores a scope, and prints what it came to.
///
/// # Panics
/// Something is wrong. Says by which moves it came.
pub(crate) fn explore(scope: &Scope) -> Found {
    let began = Instant::now();
    let moves = scope.moves();
    let mut storage = Storage::new(&stage::BOARD);
    let first = stage::begin(&mut storage).and_then(|mut judged| {
        scope
            .before
            .iter()
            .try_for_each(|one| match one.make(&mut judged)? {
                Came::Done => Ok(()),
                came => Err(format!("{one:?} is {came:?} at the beginning")),
            })?;
        Ok([scope.alike, true].map(|alike| canonical(&judged, alike)))
    });
    let first = first.unwrap_or_else(|what| panic!("{}: {what}", scope.name));
    let mut nodes = vec![Node { parent: 0, by: 0 }];
    let mut seen = HashSet::from([first[0]]);
    let mut found = Found::default();
    found.numbers.insert(first[1]);
    let mut done = vec![0; moves.len()];
    let mut level = 0..1;
    while !level.is_empty() && found.depth < scope.depth {
        for part in go_on(scope, &moves, &nodes, level.clone(), &seen) {
            found.transitions += part.transitions;
            let new = part
                .fresh
                .into_iter()
                .filter(|state| seen.insert(state.number));
            for state in new {
                nodes.push(state.node);
                found.numbers.insert(state.alike);
            }
            let counts = done.iter_mut().zip(part.done);
            counts.for_each(|(all, more)| *all += more);
        }
        level = level.end..nodes.len();
        found.depth += usize::from(!level.is_empty());
    }
    (found.states, found.complete) = (nodes.len(), level.is_empty());
    found.idle = idle(&moves, &done);
    let seconds = began.elapsed().as_secs_f64();
    let count = moves.len();
    println!("{}: {count} moves, {found:?}, {seconds:.1} s", scope.name);
    found
}

/// Calls that none of the moves has carried out.
fn idle(moves: &[Move], done: &[u32]) -> Vec<&'static str> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for (one, done) in moves.iter().zip(done) {
        if let Move::Call(_, call, _) = one {
            *counts.entry(call.name()).or_default() += done;
        }
    }
    let never = counts.into_iter().filter(|(_, done)| *done == 0);
    never.map(|(name, _)| name).collect()
}

/// Makes all moves from the states of a level, a part of it on each thread.
fn go_on(
    scope: &Scope,
    moves: &[Move],
    nodes: &[Node],
    level: core::ops::Range<usize>,
    seen: &HashSet<u64>,
) -> Vec<Part> {
    let share = level.len().div_ceil(THREADS);
    std::thread::scope(|threads| {
        let parts = (0..THREADS).map(|part| {
            let begin = (level.start + part * share).min(level.end);
            let states = begin..(begin + share).min(level.end);
            threads.spawn(move || {
                let mut storage = Storage::new(&stage::BOARD);
                let mut walker = Walker::new(scope, moves, nodes, &mut storage);
                let mut part = Part {
                    done: vec![0; moves.len()],
                    ..Part::default()
                };
                states.for_each(|state| walker.all_from(state, seen, &mut part));
                part
            })
        });
        let parts: Vec<_> = parts.collect();
        let joined = parts.into_iter().map(|part| part.join());
        // What it says has been printed, and one of them is enough.
        joined
            .map(|part| part.unwrap_or_else(|_| panic!("{} has failed", scope.name)))
            .collect()
    })
}

/// A state as data.
#[derive(Clone, Debug)]
struct Kept {
    kernel: Saved,
    oracle: Oracle,
}

/// Makes moves from states.
struct Walker<'w, 'm> {
    scope: &'w Scope,
    moves: &'w [Move],
    nodes: &'w [Node],
    judged: Judged<'m>,
    begin: Kept,
    /// The parent of the last state, whose next child comes next.
    parent: Option<(u32, Kept)>,
    /// New states of this thread.
    fresh: HashSet<u64>,
}

impl<'w, 'm> Walker<'w, 'm> {
    fn new(
        scope: &'w Scope,
        moves: &'w [Move],
        nodes: &'w [Node],
        storage: &'m mut Storage,
    ) -> Self {
        let mut judged = stage::begin(storage).expect("it was possible before");
        for one in &scope.before {
            one.make(&mut judged).expect("it was possible before");
        }
        let begin = keep(&judged);
        Self {
            scope,
            moves,
            nodes,
            judged,
            begin,
            parent: None,
            fresh: HashSet::new(),
        }
    }

    /// The moves that lead to a state.
    fn way(&self, mut state: usize) -> Vec<Move> {
        let mut way = Vec::new();
        while state != 0 {
            let node = self.nodes[state];
            way.push(self.moves[usize::from(node.by)]);
            state = node.parent as usize;
        }
        way.reverse();
        way
    }

    fn go_back(&mut self, to: &Kept) {
        self.judged.kernel.return_to(&to.kernel);
        self.judged.oracle.clone_from(&to.oracle);
    }

    /// Goes to a state by the way on which it was found.
    fn go_to(&mut self, state: usize) {
        let parent = self.nodes[state].parent;
        match self.parent.take() {
            Some((known, kept)) if known == parent && state != 0 => {
                self.go_back(&kept);
                self.parent = Some((known, kept));
            }
            _ => {
                let begin = self.begin.clone();
                self.go_back(&begin);
                for one in self.way(parent as usize) {
                    one.make(&mut self.judged).expect("it was possible before");
                }
                self.parent = Some((parent, keep(&self.judged)));
            }
        }
        if state != 0 {
            let last = self.moves[usize::from(self.nodes[state].by)];
            last.make(&mut self.judged).expect("it was possible before");
        }
    }

    /// Makes every move from a state.
    fn all_from(&mut self, state: usize, seen: &HashSet<u64>, part: &mut Part) {
        self.go_to(state);
        if self.judged.kernel.power().is_some() {
            return;
        }
        let here = keep(&self.judged);
        for (by, one) in (0u16..).zip(self.moves) {
            let came = self.make(one, state);
            part.transitions += usize::from(came != Came::Impossible);
            if came != Came::Done {
                continue;
            }
            part.done[usize::from(by)] += 1;
            let number = canonical(&self.judged, self.scope.alike);
            if !seen.contains(&number) && self.fresh.insert(number) {
                let parent = state as u32;
                part.fresh.push(Fresh {
                    number,
                    alike: canonical(&self.judged, true),
                    node: Node { parent, by },
                });
            }
            self.go_back(&here);
        }
    }

    fn make(&mut self, one: &Move, state: usize) -> Came {
        let judged = &mut self.judged;
        let made = catch_unwind(AssertUnwindSafe(|| {
            let came = one.make(judged)?;
            if came == Came::Done {
                seen_at_el0(&judged.kernel)?;
            }
            Ok::<_, String>(came)
        }));
        let what = match made {
            Ok(Ok(came)) => return came,
            Ok(Err(what)) => what,
            Err(_) => "a panic, told above".into(),
        };
        let way: Vec<_> = self
            .way(state)
            .iter()
            .map(|one| format!("  {one:?}\n"))
            .collect();
        panic!(
            "{}: {what}\nat depth {}, by\n{}  {one:?}",
            self.scope.name,
            way.len() + 1,
            way.concat()
        );
    }
}

fn keep(judged: &Judged<'_>) -> Kept {
    Kept {
        kernel: judged.kernel.saved(),
        oracle: judged.oracle.clone(),
    }
}

/// Whether cores can use no translation at EL0 to a frame that is not for programs to see; tables, roots and what
/// the kernel shows they see in windows of their own, which none can write.
fn seen_at_el0(kernel: &Kernel<'_>) -> Verdict {
    for (space, at, seen) in kernel.translations() {
        let frames = (0..seen.pages as u32).map(|page| PageNumber::new(seen.frame.get() + page));
        for frame in frames {
            let kind = kernel
                .domains()
                .pages
                .record(frame)
                .map(|record| record.kind);
            let memory = kind.is_some_and(alphabet::may_be_seen);
            let window = at >= TABLES_BASE && !seen.write && !seen.execute;
            if !memory && !window {
                return Err(format!(
                    "{frame:?}, a {kind:?}, is seen at {at:#x} of space {space}"
                ));
            }
        }
    }
    Ok(())
}
