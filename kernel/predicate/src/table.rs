//! The sleepers of a core, in the form that their code goes along.
//!
//! ```text
//!   position     0     1   ...   15           16   ...   n - 1
//!   slot         0     1   ...   15    16     17   ...
//!   entry      | s7  | s2  | ... | s9 | pause | s4 | ... | s1    | nobody |
//!                ^ looked at: before the cursor    ^ cursor: not yet
//! ```
//!
//! A look goes over all sleepers, in stretches of [`POSITIONS`], between which interrupts are taken and other
//! cores get at the table. So the table changes during a look, and must not make it miss anybody: who is at or behind the
//! cursor has not been looked at, and a sleeper that leaves is replaced by one from its own side of the cursor.

use exopi_abi::predicate::Tag;

use crate::code::Stubs;

/// Most sleepers of a stretch: as many as the scheduler looks at before it takes interrupts.
pub const POSITIONS: usize = 16;
/// What the stub `pause` gives in x1: more than any tag.
pub(crate) const PAUSED: u64 = 1 << 32;
/// The position of one that is not in the table.
const NOWHERE: u16 = u16::MAX;

/// A place in a core's table: what code reads there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// Address of the code.
    pub code: u64,
    /// What it is given ([`Code::argument`](crate::Code)).
    pub argument: u64,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Entries of a table with room for so many sleepers.
pub const fn entries_for(sleepers: usize) -> usize {
    match sleepers.checked_sub(1) {
        Some(last) => slot_of(last) + 2,
        None => 1,
    }
}

/// The slot of a position: each stretch has one entry more.
const fn slot_of(position: usize) -> usize {
    position + position / POSITIONS
}

/// The position of a slot; of an entry between stretches the one that follows it.
const fn position_of(slot: usize) -> usize {
    let (stretch, within) = (slot / (POSITIONS + 1), slot % (POSITIONS + 1));
    stretch * POSITIONS + within
}

/// How a stretch of a look has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody may have to be woken"]
pub enum Step {
    /// All sleepers have been looked at.
    Done,
    /// There are more: take interrupts, and go on.
    Pause,
    /// This sleeper's predicate is true. It stays in the table until it is removed.
    Woken(u16, Tag),
}

/// The sleepers of a core. Sleepers have numbers, which are the caller's: less than the length of `positions`.
#[derive(Debug)]
pub struct Table<'m> {
    entries: &'m mut [Entry],
    /// Who is at a position.
    sleepers: &'m mut [u16],
    /// Where a sleeper is.
    positions: &'m mut [u16],
    count: usize,
    /// All before it have been looked at by the look that goes on.
    cursor: usize,
    nobody: Entry,
    pause: Entry,
    broken: u64,
}

impl<'m> Table<'m> {
    /// An empty table. Room is for as many as `sleepers` and `entries` ([`entries_for`]) have; the stubs lie at
    /// the address `code`. None if there is no room for the end, or for more than can be numbered.
    pub fn new(
        entries: &'m mut [Entry],
        sleepers: &'m mut [u16],
        positions: &'m mut [u16],
        code: u64,
        stubs: Stubs,
    ) -> Option<Self> {
        let too_few = entries.len() < entries_for(sleepers.len());
        if too_few || sleepers.len() > NOWHERE.into() || positions.len() > NOWHERE.into() {
            return None;
        }
        let stub = |offset: u32| Entry {
            code: code.wrapping_add(offset.into()),
            argument: 0,
        };
        positions.fill(NOWHERE);
        let mut table = Self {
            entries,
            sleepers,
            positions,
            count: 0,
            cursor: 0,
            nobody: stub(stubs.nobody),
            pause: stub(stubs.pause),
            broken: stub(stubs.broken).code,
        };
        table.end();
        Some(table)
    }

    /// How many sleepers there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries, as code reads them.
    pub fn entries(&self) -> &[Entry] {
        self.entries
    }

    /// Whether a sleeper is here.
    pub fn contains(&self, sleeper: u16) -> bool {
        self.position(sleeper).is_some()
    }

    fn position(&self, sleeper: u16) -> Option<usize> {
        let position = self.positions.get(usize::from(sleeper))?;
        (*position != NOWHERE).then_some(usize::from(*position))
    }

    /// Puts a sleeper at the end, with the entry that leads to its code. Gives back whether there was room; one that is
    /// here already gets the new entry.
    pub fn insert(&mut self, sleeper: u16, entry: Entry) -> bool {
        if usize::from(sleeper) >= self.positions.len() {
            return false;
        }
        if let Some(position) = self.position(sleeper) {
            self.set_entry(position, entry);
            return true;
        }
        if self.count >= self.sleepers.len() {
            return false;
        }
        let position = self.count;
        if position > 0 && position.is_multiple_of(POSITIONS) {
            self.put(slot_of(position) - 1, self.pause);
        }
        self.set_entry(position, entry);
        self.set_sleeper(position, sleeper);
        self.count += 1;
        self.end();
        true
    }

    /// Takes a sleeper out. Gives back whether it was here.
    pub fn remove(&mut self, sleeper: u16) -> bool {
        let Some(mut position) = self.position(sleeper) else {
            return false;
        };
        let last = self.count - 1;
        // The hole moves to the cursor, and from there to the end: nobody crosses the cursor unseen.
        if position < self.cursor {
            self.cursor -= 1;
            self.shift(self.cursor, position);
            position = self.cursor;
        }
        // Who was there has moved away already, if the hole has come so far.
        if position != last {
            self.shift(last, position);
        }
        self.count = last;
        if let Some(place) = self.positions.get_mut(usize::from(sleeper)) {
            *place = NOWHERE;
        }
        self.end();
        true
    }

    /// Makes the code of a sleeper that which tells of a lost page. Gives back whether it is here.
    pub fn break_sleeper(&mut self, sleeper: u16) -> bool {
        let Some(position) = self.position(sleeper) else {
            return false;
        };
        let code = self.broken;
        self.set_entry(position, Entry { code, argument: 0 });
        true
    }

    /// Begins a look at all sleepers.
    pub const fn begin(&mut self) {
        self.cursor = 0;
    }

    /// The slot whose entry the next stretch of a look begins with; none if all have been looked at.
    pub const fn next_slot(&self) -> Option<usize> {
        if self.cursor < self.count {
            Some(slot_of(self.cursor))
        } else {
            None
        }
    }

    /// What a stretch has come to: `behind` is the slot behind the entry that ended it, from x0, and `told` is x1.
    pub fn came(&mut self, behind: usize, told: u64) -> Step {
        let slot = behind.saturating_sub(1);
        if told == PAUSED {
            self.cursor = position_of(slot).min(self.count);
            return Step::Pause;
        }
        let position = position_of(slot);
        let sleeper = self.sleepers.get(..self.count).unwrap_or_default();
        match (Tag::told(told), sleeper.get(position)) {
            (Some(tag), Some(&sleeper)) => {
                self.cursor = position + 1;
                Step::Woken(sleeper, tag)
            }
            _ => {
                self.cursor = self.count;
                Step::Done
            }
        }
    }

    /// Moves who is at one position to another.
    fn shift(&mut self, from: usize, to: usize) {
        let entry = self.entries.get(slot_of(from)).copied();
        let sleeper = self.sleepers.get(from).copied();
        if let (Some(entry), Some(sleeper)) = (entry, sleeper) {
            self.set_entry(to, entry);
            self.set_sleeper(to, sleeper);
        }
    }

    fn set_entry(&mut self, position: usize, entry: Entry) {
        self.put(slot_of(position), entry);
    }

    fn set_sleeper(&mut self, position: usize, sleeper: u16) {
        if let Some(place) = self.sleepers.get_mut(position) {
            *place = sleeper;
        }
        // Fewer than `NOWHERE` have a place.
        if let Some(place) = self.positions.get_mut(usize::from(sleeper)) {
            *place = position as u16;
        }
    }

    /// Puts the last entry behind the last sleeper.
    fn end(&mut self) {
        let slot = match self.count.checked_sub(1) {
            Some(last) => slot_of(last) + 1,
            None => 0,
        };
        self.put(slot, self.nobody);
    }

    fn put(&mut self, slot: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(slot) {
            *place = entry;
        }
    }
}
