//! Laws of user tables: what entries look like, what they lead to, and that records and links tell of them.
//!
//! ```text
//!   root ----> table 2 ----> table 3 ----> page          an entry's slot: its table's frame << 9 | index
//!     510: itself  |  links     |  links
//!     511: exposed '-> superpage             a link: next and previous slot on the list of the frame that
//!                                            is mapped, each complemented, so that zero is "no neighbour"
//! ```

use std::collections::{HashMap, HashSet};

use exopi_abi::Access;
use exopi_abi::page::{FrameType, NONE, PageRecord, SUPERPAGE_PAGES};

use super::descriptor::{self, Shape};
use super::memory::{ENTRIES, Memory};
use super::report::{Law, Report};
use super::state::{Frame, Space, State};

/// The entry of a root that names the root.
const SELF: usize = 510;
/// The entry of a root that names the exposed region's table.
const EXPOSED: usize = 511;
/// What a table entry of a space has besides the table's frame: PXNTable; and, for a walk that comes out one
/// level early and reads it as a page, read-only for EL0 and nothing else.
const TABLE: u64 = 0b11
    | descriptor::AP_EL0
    | descriptor::AP_READ_ONLY
    | descriptor::INNER_SHAREABLE
    | descriptor::ACCESSED
    | descriptor::NOT_GLOBAL
    | descriptor::PXN
    | descriptor::UXN
    | descriptor::PXN_BELOW;
/// What every leaf entry of a space has, whatever it allows. Attribute 0 is Normal memory.
const LEAF: u64 = 1
    | descriptor::AP_EL0
    | descriptor::INNER_SHAREABLE
    | descriptor::ACCESSED
    | descriptor::NOT_GLOBAL
    | descriptor::PXN;

/// Where memory is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The space's index.
    pub space: u16,
    /// The address there.
    pub at: u64,
    /// The place of the entry.
    pub slot: u32,
    /// The frame, or the first one.
    pub frame: u64,
    /// Whether it maps 512 frames.
    pub superpage: bool,
}

impl Mapping {
    /// Pages that it maps.
    pub fn pages(&self) -> u64 {
        if self.superpage { SUPERPAGE_PAGES } else { 1 }
    }
}

/// Checks the tables of every space, and returns what they map.
pub(super) fn check(memory: &Memory, state: &State, report: &mut Report) -> Vec<Mapping> {
    let mut walk = Walk {
        memory,
        state,
        report,
        mappings: Vec::new(),
        tables: HashMap::new(),
        links: HashMap::new(),
    };
    for (index, space) in state.live_spaces() {
        walk.space(index, space);
    }
    walk.orphans();
    walk.lists();
    walk.uareas();
    walk.mappings
}

/// A table on the way down.
#[derive(Clone, Copy)]
struct Table {
    level: u8,
    frame: u64,
    /// First address that it covers.
    at: u64,
}

impl Table {
    fn slot(self, index: usize) -> u32 {
        (self.frame as u32) << 9 | index as u32
    }

    /// First address that an entry covers.
    fn address(self, index: usize) -> u64 {
        self.at + (index as u64) * descriptor::pages(self.level) * 4096
    }
}

struct Walk<'a> {
    memory: &'a Memory,
    state: &'a State,
    report: &'a mut Report,
    mappings: Vec<Mapping>,
    /// The slot of the entry that names each table.
    tables: HashMap<u64, u32>,
    /// The words of each table's links.
    links: HashMap<u64, Vec<u64>>,
}

impl Walk<'_> {
    fn space(&mut self, index: u16, space: &Space) {
        let root = Table {
            level: 1,
            frame: space.root.into(),
            at: 0,
        };
        // A record that names no root was reported.
        let frame = self.state.frame(root.frame);
        let Some(frame) = frame.filter(|frame| frame.is(FrameType::Root)) else {
            return;
        };
        let Some(entries) = self.memory.table(root.frame) else {
            return;
        };
        let own = entries[SELF];
        self.report
            .require(own == root.frame << 12 | TABLE, Law::SelfEntry, || {
                format!(
                    "space {index}: entry {SELF} of its root {:#x} is {own:#x}",
                    root.frame
                )
            });
        let exposed = entries[EXPOSED];
        let leads = descriptor::shape(exposed, 1) == Shape::Table
            && descriptor::frame(exposed) == self.state.exposed;
        // Read as a page by a walk through the root's own entry, it must not be for EL0.
        let (el0, _) = descriptor::permissions(exposed, 0);
        self.report.require(
            leads && el0 == Default::default(),
            Law::ExposedEntry,
            || {
                format!(
                    "space {index}: entry {EXPOSED} of its root {:#x} is {exposed:#x}",
                    root.frame
                )
            },
        );
        let in_use = self.entries(index, space, root, &entries[..SELF]);
        self.report.require(frame.first == in_use, Law::Table, || {
            format!(
                "root {:#x} has {in_use} entries in use, but says {}",
                root.frame, frame.first
            )
        });
    }

    /// Goes through the entries of a table, and returns how many are in use.
    fn entries(&mut self, space: u16, of: &Space, table: Table, entries: &[u64]) -> u32 {
        let mut in_use = 0;
        for (index, &entry) in entries.iter().enumerate() {
            match descriptor::shape(entry, table.level) {
                // In a level-3 table it may be a note of the libOS's.
                Shape::Nothing if entry == 0 || table.level == 3 && entry & 1 == 0 => {}
                Shape::Leaf if table.level > 1 => {
                    in_use += 1;
                    self.leaf(space, table, index, entry);
                }
                Shape::Table => {
                    in_use += 1;
                    self.table(space, of, table, index, entry);
                }
                Shape::Nothing | Shape::Leaf => {
                    let Table { level, frame, .. } = table;
                    self.report.add(Law::Entry, || {
                        format!(
                            "space {space}: entry {index} of table {frame:#x} (level {level}) is {entry:#x}"
                        )
                    });
                }
            }
        }
        in_use
    }

    /// An entry that names a table of the next level.
    fn table(&mut self, space: u16, of: &Space, above: Table, index: usize, entry: u64) {
        let table = Table {
            level: above.level + 1,
            frame: descriptor::frame(entry),
            at: above.address(index),
        };
        let slot = above.slot(index);
        let number = table.frame;
        let place = format!("space {space}: table {number:#x} at {:#x}", table.at);
        self.report
            .require(entry & !descriptor::ADDRESS == TABLE, Law::Entry, || {
                format!("{place}: its entry is {entry:#x}")
            });
        let wanted = match table.level {
            2 => FrameType::Table2,
            _ => FrameType::Table3,
        };
        let frame = self.state.frame(number);
        let Some(frame) = frame.filter(|frame| frame.is(wanted)) else {
            let kind = frame.and_then(|frame| frame.kind);
            return self.report.add(Law::Entry, || {
                format!("{place}: it is {kind:?}, not {wanted:?}")
            });
        };
        self.report
            .require(frame.owner == of.owner, Law::Table, || {
                format!("{place}: it is not charged to the space's account")
            });
        if let Some(other) = self.tables.insert(number, slot) {
            return self.report.add(Law::Table, || {
                format!("{place}: it is named by the entries {other:#x} and {slot:#x}")
            });
        }
        let Some(entries) = self.memory.table(number) else {
            return;
        };
        self.links_of(table, frame, slot, &entries);
        let in_use = self.entries(space, of, table, &entries);
        self.report.require(frame.first == in_use, Law::Table, || {
            format!(
                "{place}: {in_use} entries are in use, but it says {}",
                frame.first
            )
        });
    }

    /// The links that go with a table: they name each other, and no link is there without a mapping.
    fn links_of(&mut self, table: Table, record: &Frame, slot: u32, entries: &[u64]) {
        let number = table.frame;
        let links = u64::from(record.second);
        let fits = self.state.frame(links).is_some_and(|links| {
            links.is(FrameType::Links)
                && links.owner == record.owner
                && (u64::from(links.first), links.second) == (number, slot)
        });
        let words = self.memory.table(links).filter(|_| fits);
        let Some(words) = words else {
            let found = self.state.frame(links);
            return self.report.add(Law::Links, || {
                format!("table {number:#x}, entry {slot:#x}: its links {links:#x} are {found:x?}")
            });
        };
        for (index, word) in words.iter().enumerate() {
            let entry = entries.get(index).copied().unwrap_or(0);
            let mapped = descriptor::shape(entry, table.level) == Shape::Leaf;
            self.report.require(mapped || *word == 0, Law::Links, || {
                format!("links {links:#x}: entry {index} maps nothing, but has the link {word:#x}")
            });
        }
        self.links.insert(number, words);
    }

    /// An entry that maps a page or a superpage.
    fn leaf(&mut self, space: u16, table: Table, index: usize, entry: u64) {
        let mapping = Mapping {
            space,
            at: table.address(index),
            slot: table.slot(index),
            frame: descriptor::frame(entry),
            superpage: table.level == 2,
        };
        self.attributes(&mapping, entry);
        let place = format!("space {space}: {:#x} at {:#x}", mapping.frame, mapping.at);
        for number in mapping.frame..mapping.frame + mapping.pages() {
            let kind = self.state.frame(number).and_then(|frame| frame.kind);
            let fits = kind == Some(FrameType::Plain)
                || kind == Some(FrameType::UArea) && !mapping.superpage && self.is_uarea(&mapping);
            self.report.require(fits, Law::Mapped, || {
                format!("{place}: frame {number:#x} is mapped, and is {kind:?}")
            });
        }
        self.mappings.push(mapping);
    }

    /// Whether the mapping is that of an environment's u-area, where it sees it.
    fn is_uarea(&self, mapping: &Mapping) -> bool {
        self.state.live_environments().any(|(_, environment)| {
            u64::from(environment.uarea) == mapping.frame
                && environment.space == mapping.space
                && environment.uarea_at == mapping.at
        })
    }

    fn attributes(&mut self, mapping: &Mapping, entry: u64) {
        let place = || {
            format!(
                "space {}: {:#x} at {:#x}",
                mapping.space, mapping.frame, mapping.at
            )
        };
        let frame = self.state.frame(mapping.frame);
        if frame.is_some_and(|frame| frame.is(FrameType::UArea)) {
            // Readable, writable, and bound with nothing: programs do not change it.
            let wanted = mapping.frame << 12 | LEAF | 0b10 | descriptor::UXN;
            return self.report.require(entry == wanted, Law::Attributes, || {
                format!("{}: the entry of a u-area is {entry:#x}", place())
            });
        }
        let bound = Access::from_bits_truncate((entry >> descriptor::BOUND_SHIFT) as u8);
        let page = if mapping.superpage { 0 } else { 0b10 };
        let variable = descriptor::ADDRESS
            | descriptor::AP_READ_ONLY
            | descriptor::UXN
            | u64::from(Access::all().bits()) << descriptor::BOUND_SHIFT;
        self.report
            .require(entry & !variable == LEAF | page, Law::Attributes, || {
                format!("{}: the entry is {entry:#x}", place())
            });
        let mut access = Access::READ;
        access.set(Access::WRITE, entry & descriptor::AP_READ_ONLY == 0);
        access.set(Access::EXECUTE, entry & descriptor::UXN == 0);
        self.report
            .require(bound.contains(access), Law::Attributes, || {
                format!(
                    "{}: it allows {access:?}, but was bound with {bound:?}",
                    place()
                )
            });
        if mapping.superpage {
            let aligned = mapping.frame.is_multiple_of(SUPERPAGE_PAGES);
            let executable = access.contains(Access::EXECUTE);
            self.report
                .require(aligned && !executable, Law::Attributes, || {
                    format!("{}: the entry of a superpage is {entry:#x}", place())
                });
        }
    }

    /// Tables and links that no space leads to.
    fn orphans(&mut self) {
        let links: HashSet<u64> = self
            .tables
            .keys()
            .filter_map(|table| self.state.frame(*table))
            .map(|table| table.second.into())
            .collect();
        for (number, frame) in self.state.numbered() {
            let (reached, law) = match frame.kind {
                Some(FrameType::Table2 | FrameType::Table3) => {
                    (self.tables.contains_key(&number), Law::Table)
                }
                Some(FrameType::Links) => (links.contains(&number), Law::Links),
                _ => continue,
            };
            self.report.require(reached, law, || {
                format!(
                    "frame {number:#x} is {:?}, but no space leads to it",
                    frame.kind
                )
            });
        }
    }

    /// What each frame's record says of its mappings.
    fn lists(&mut self) {
        let mut named: HashMap<(u64, bool), Vec<Mapping>> = HashMap::new();
        for mapping in &self.mappings {
            let key = (mapping.frame, mapping.superpage);
            named.entry(key).or_default().push(*mapping);
        }
        for (number, frame) in self.state.numbered() {
            if !matches!(frame.kind, Some(FrameType::Plain | FrameType::UArea)) {
                continue;
            }
            let of = |superpage| {
                named
                    .get(&(number, superpage))
                    .map_or(&[][..], Vec::as_slice)
            };
            let (pages, superpages) = (of(false), of(true));
            let pins = usize::from(frame.marks & PageRecord::MAX_PINS);
            let all = pages.len() + superpages.len() + pins;
            let foreign = pages.iter().chain(superpages).filter(|mapping| {
                let space = self.state.spaces.get(usize::from(mapping.space));
                space.is_none_or(|space| space.owner != frame.owner)
            });
            let foreign = foreign.count().min(u16::MAX.into());
            let told = (frame.references as usize, usize::from(frame.foreign));
            self.report.require(told == (all, foreign), Law::References, || {
                format!(
                    "frame {number:#x} says that it has {} references, {} of others, but it is {all} \
                     and {foreign}",
                    told.0, told.1
                )
            });
            for (head, mappings) in [(frame.first, pages), (frame.second, superpages)] {
                let slots: HashSet<u32> = mappings.iter().map(|mapping| mapping.slot).collect();
                list(&self.links, number, head, &slots, self.report);
            }
        }
    }

    /// Every u-area is one environment's, and mapped once.
    fn uareas(&mut self) {
        let mut owners: HashMap<u64, usize> = HashMap::new();
        for (_, environment) in self.state.live_environments() {
            *owners.entry(environment.uarea.into()).or_default() += 1;
        }
        for (number, frame) in self.state.numbered() {
            if !frame.is(FrameType::UArea) {
                continue;
            }
            let environments = owners.get(&number).copied().unwrap_or(0);
            self.report.require((environments, frame.references) == (1, 1), Law::Mapped, || {
                format!(
                    "frame {number:#x} is the u-area of {environments} environments, and mapped {} times",
                    frame.references
                )
            });
        }
    }
}

/// Follows a list of slots, which must be those of `slots`, each once.
fn list(
    links: &HashMap<u64, Vec<u64>>,
    number: u64,
    head: u32,
    slots: &HashSet<u32>,
    report: &mut Report,
) {
    let mut seen = 0;
    let mut previous = NONE;
    let mut slot = head;
    while slot != NONE {
        let words = links.get(&u64::from(slot >> 9));
        let link = words.and_then(|words| words.get(slot as usize % ENTRIES));
        let link = link.filter(|link| {
            slots.contains(&slot) && !((**link >> 32) as u32) == previous && seen < slots.len()
        });
        let Some(link) = link else {
            return report.add(Law::List, || {
                format!("frame {number:#x}: entry {slot:#x} does not belong behind {previous:#x} on its list")
            });
        };
        seen += 1;
        previous = slot;
        slot = !(*link as u32);
    }
    report.require(seen == slots.len(), Law::List, || {
        format!(
            "frame {number:#x}: {} entries name it, {seen} are on its list",
            slots.len()
        )
    });
}
