//! What EL0 and EL1 can do in each space, by every way through its tables, as the processor walks them.
//!
//! [`super::spaces`] asks whether each entry is one that the kernel makes. Here nothing is known of the kernel:
//! entries mean what the architecture says, the root's own entry makes a table of everything, and what comes out
//! is compared with the types of frames alone.

use std::collections::HashSet;

use exopi_abi::layout::{EXPOSED_BASE, PAGE_SIZE, TABLES_BASE};
use exopi_abi::page::FrameType;

use super::descriptor::{self, Can, Shape};
use super::memory::Memory;
use super::report::{Law, Report};
use super::state::State;

/// Checks every space.
pub(super) fn check(memory: &Memory, state: &State, report: &mut Report) {
    for (index, space) in state.live_spaces() {
        let root = u64::from(space.root);
        // Addresses rise on the way: all of a space's tables are known when it comes to where they are shown.
        let mut tables = HashSet::from([root]);
        let whole = walk(memory, root, &mut |step| match step {
            Step::Table { at, frame } if at < TABLES_BASE => {
                tables.insert(frame);
            }
            Step::Table { .. } => {}
            Step::Leaf(leaf) => self::leaf(state, index, &leaf, &tables, report),
        });
        report.require(whole, Law::Reach, || {
            format!("space {index}: there are more than {MOST_TABLES} ways to tables")
        });
    }
}

/// Compares what can be done through a leaf with what may be done with the frames that it maps.
fn leaf(state: &State, space: u16, leaf: &Leaf, tables: &HashSet<u64>, report: &mut Report) {
    let mut wrong = |number: u64, what: &str| {
        let kind = state.frame(number).and_then(|frame| frame.kind);
        report.add(Law::Reach, || {
            format!(
                "space {space}: {what} frame {number:#x} ({kind:?}) at {:#x}",
                leaf.at
            )
        });
    };
    if leaf.el1.execute {
        wrong(leaf.frame, "EL1 executes");
    }
    for number in leaf.frame..leaf.frame + leaf.pages {
        let kind = state.frame(number).and_then(|frame| frame.kind);
        let place = leaf.at + (number - leaf.frame) * PAGE_SIZE;
        let allowed = allowed(place, kind, tables.contains(&number));
        if leaf.el0.read && !allowed.read {
            wrong(number, "EL0 reads");
        }
        if leaf.el0.write && !allowed.write {
            wrong(number, "EL0 writes");
        }
        if leaf.el0.execute && !allowed.execute {
            wrong(number, "EL0 executes");
        }
    }
}

/// What EL0 may at most do at an address with a frame of this type. `own` says that it is a table of the space.
fn allowed(at: u64, kind: Option<FrameType>, own: bool) -> Can {
    let is = |wanted| kind == Some(wanted);
    let plain = is(FrameType::Plain) && at < TABLES_BASE;
    let uarea = is(FrameType::UArea) && at < TABLES_BASE;
    let table = own && (TABLES_BASE..EXPOSED_BASE).contains(&at);
    let exposed = is(FrameType::Kernel) && at >= EXPOSED_BASE;
    Can {
        read: plain || uarea || table || exposed,
        write: plain || uarea,
        execute: plain,
    }
}

/// A leaf that a walk comes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    /// The address, without the bits above the 39 that are looked up.
    pub(super) at: u64,
    /// The first frame.
    pub(super) frame: u64,
    /// Frames.
    pub(super) pages: u64,
    /// The entry.
    pub(super) entry: u64,
    /// What EL0 may do.
    pub(super) el0: Can,
    /// What EL1 may do.
    pub(super) el1: Can,
}

/// What a walk comes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A table, by its frame, that covers the addresses from `at` on.
    Table {
        /// First address.
        at: u64,
        /// Its frame.
        frame: u64,
    },
    /// A leaf.
    Leaf(Leaf),
}

/// Most tables that a walk looks at: far more than there are ways to them in any space of a test, and few
/// enough to come to an end where entries lead in circles.
const MOST_TABLES: usize = 1 << 16;

/// Goes every way from a root that a processor can go. Returns whether that was all: see [`MOST_TABLES`].
pub(super) fn walk(memory: &Memory, root: u64, visit: &mut dyn FnMut(Step)) -> bool {
    let mut left = MOST_TABLES;
    descend(memory, (root, 1), (0, 0), &mut left, visit);
    left > 0
}

/// Goes on at a table of this level, which covers the addresses from `base` on. `above` has the bits of all
/// entries on the way, put together by "or": each restriction of a table holds for all that is below it.
fn descend(
    memory: &Memory,
    (table, level): (u64, u8),
    (base, above): (u64, u64),
    left: &mut usize,
    visit: &mut dyn FnMut(Step),
) {
    *left = left.saturating_sub(1);
    let Some(entries) = memory.table(table).filter(|_| *left > 0) else {
        return;
    };
    for (index, entry) in (0..).zip(entries) {
        let pages = descriptor::pages(level);
        let at = base + index * pages * PAGE_SIZE;
        let frame = descriptor::frame(entry);
        match descriptor::shape(entry, level) {
            Shape::Nothing => {}
            Shape::Table => {
                visit(Step::Table { at, frame });
                descend(memory, (frame, level + 1), (at, above | entry), left, visit);
            }
            Shape::Leaf => {
                let (el0, el1) = descriptor::permissions(entry, above);
                visit(Step::Leaf(Leaf {
                    at,
                    // A block's lowest bits are not part of its address.
                    frame: frame - frame % pages,
                    pages,
                    entry,
                    el0,
                    el1,
                }));
            }
        }
    }
}
