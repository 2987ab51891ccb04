//! Tells what came of a sequence, step by step, in lines that are the same wherever the same was done.
//!
//! ```text
//!   S <step> <what> <outcome>      a step
//!   N <name> <record>              a record that is not as it was told last
//! ```
//!
//! What may differ between two machines that do the same is told by name or left out: page numbers and epochs
//! by name; what records say of free lists, the first account's allowances, notices that wait for the program, how
//! often somebody was given a core, and what the kernel keeps for itself, not at all.

use core::fmt::{self, Write};
use core::hash::Hasher;

use exopi_abi::capability::{Epoch, Kind};
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_abi::page::{FrameType, NONE, PageRecord};
use exopi_abi::slice::SliceRecord;
use exopi_abi::{Call, Error, Reply};
use heapless::Vec;

use crate::names::{MAX_OBJECTS, MAX_PAGES};
use crate::stage::operation_status;
use crate::{Names, Outcome, Step, World};

/// Longest line.
const LINE: usize = 240;

/// A line that is put together.
type Line = heapless::String<LINE>;

/// What was told of records so far.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    told: Vec<u64, { MAX_PAGES + 4 * MAX_OBJECTS }>,
    steps: u64,
}

impl Transcript {
    /// Nothing told.
    pub const fn new() -> Self {
        Self {
            told: Vec::new(),
            steps: 0,
        }
    }

    /// Tells a step and what it has changed, a line at a time.
    pub fn tell<W: World>(
        &mut self,
        step: &Step,
        outcome: Outcome,
        world: &W,
        names: &mut Names,
        mut print: impl FnMut(&str),
    ) {
        let mut line = Line::new();
        // A line that does not fit ends early, on every machine at the same place.
        let _ = write!(line, "S {} ", self.steps);
        let _ = tell_step(&mut line, step, outcome, world, names);
        self.steps += 1;
        print(&line);
        self.tell_changes(world, names, &mut print);
    }

    /// Tells the records that are not as they were told last.
    pub fn tell_changes<W: World>(
        &mut self,
        world: &W,
        names: &mut Names,
        mut print: impl FnMut(&str),
    ) {
        for place in 0..MAX_PAGES + 4 * MAX_OBJECTS {
            let mut line = Line::new();
            let _ = tell_record(&mut line, place, world, names);
            if self.told.len() == place {
                let _ = self.told.push(hash(""));
            }
            if let Some(told) = self.told.get_mut(place)
                && *told != hash(&line)
            {
                *told = hash(&line);
                print(&line);
            }
        }
    }
}

/// FNV-1a: only to see whether a line has changed.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

fn hash(line: &str) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(line.as_bytes());
    hasher.finish()
}

fn tell_step<W: World>(
    line: &mut Line,
    step: &Step,
    outcome: Outcome,
    world: &W,
    names: &mut Names,
) -> fmt::Result {
    match step {
        Step::Call { number, .. } => match Call::from_number(*number) {
            Some(call) => line.write_str(call.name())?,
            None => write!(line, "call {number}")?,
        },
        Step::Load { at } => write!(line, "load {at:#x}")?,
        Step::Store { at, .. } => write!(line, "store {at:#x}")?,
        Step::Fetch { at } => write!(line, "fetch {at:#x}")?,
        Step::Edit(edit) => write!(line, "edit {} {}", edit.source(), edit.target())?,
    }
    match (outcome, step) {
        (
            Outcome::Reply(reply),
            Step::Call {
                number, operations, ..
            },
        ) => {
            tell_reply(line, *number, reply, names)?;
            if operations.is_some() {
                for index in 0..4 {
                    write!(line, " {:x}", world.stored(operation_status(index)))?;
                }
            }
            Ok(())
        }
        (Outcome::Reply(reply), _) => write!(line, " {:x}", reply.status),
        (Outcome::Loaded(value), _) => write!(line, " {value:x}"),
        (Outcome::Done, _) => line.write_str(" done"),
        (Outcome::Refused(error), _) => write!(line, " {error}"),
        (Outcome::Fault, _) => line.write_str(" fault"),
    }
}

fn tell_reply(line: &mut Line, number: u16, reply: Reply, names: &Names) -> fmt::Result {
    let code = (reply.status & 0xffff) as u16;
    match Error::from_code(code) {
        None if code == 0 => write!(line, " ok {}", reply.status >> 16)?,
        None => write!(line, " error {code}")?,
        Some(error) => write!(line, " {error} {}", reply.status >> 16)?,
    }
    let object = |kind| names.tell(kind, ObjectName::from_word(reply.value));
    match Call::from_number(number) {
        // It means something only if a page was allocated.
        Some(Call::page_alloc) if reply.status >> 16 == 0 => Ok(()),
        _ if code != 0 && reply.status >> 16 == 0 => write!(line, " {}", reply.value),
        Some(Call::page_alloc | Call::table_remove) => {
            write!(line, " {}", names.tell_page(reply.value as u32))
        }
        Some(Call::account_create) => write!(line, " {}", object(Kind::Account)),
        Some(Call::space_create) => write!(line, " {}", object(Kind::Space)),
        Some(Call::env_create) => write!(line, " {}", object(Kind::Environment)),
        Some(Call::slice_alloc | Call::slice_move) => write!(line, " {}", object(Kind::Slice)),
        _ => write!(line, " {}", reply.value),
    }
}

/// The line of the record at a place in the order of telling; empty if there is none.
fn tell_record<W: World>(
    line: &mut Line,
    place: usize,
    world: &W,
    names: &mut Names,
) -> fmt::Result {
    if place < MAX_PAGES {
        let page = names.pages().get(place).copied();
        let record = page.and_then(|page| world.page(page));
        return record.map_or(Ok(()), |record| tell_page(line, place, &record, names));
    }
    let (kind, place) = match (place - MAX_PAGES) / MAX_OBJECTS {
        0 => (Kind::Account, (place - MAX_PAGES) % MAX_OBJECTS),
        1 => (Kind::Space, (place - MAX_PAGES) % MAX_OBJECTS),
        2 => (Kind::Environment, (place - MAX_PAGES) % MAX_OBJECTS),
        _ => (Kind::Slice, (place - MAX_PAGES) % MAX_OBJECTS),
    };
    let Some(name) = names.objects(kind).get(place).copied() else {
        return Ok(());
    };
    write!(line, "N {} ", names.tell(kind, name))?;
    if !world.is_alive(kind, name) {
        return line.write_str("gone");
    }
    match kind {
        Kind::Account => match world.account(name.index) {
            Some(record) => tell_account(line, place, &record, names),
            None => Ok(()),
        },
        Kind::Space => match world.space(name.index) {
            Some(record) => tell_space(line, &record, names),
            None => Ok(()),
        },
        Kind::Slice => match world.slice(name.index) {
            Some(record) => tell_slice(line, &record, names),
            None => Ok(()),
        },
        _ => match world.environment(name.index) {
            Some(record) => {
                let word = world.life(name.index);
                tell_environment(line, place, &record, word, names)
            }
            None => Ok(()),
        },
    }
}

fn tell_page(line: &mut Line, place: usize, record: &PageRecord, names: &mut Names) -> fmt::Result {
    let stamp = names.tell_epoch(record.stamp.epoch());
    write!(
        line,
        "N p{place} {:?} {} {stamp} {} {} {} {}",
        record.kind,
        names.tell_owner(record.owner),
        record.stamp.limit(),
        record.references,
        record.foreign,
        record.marks
    )?;
    match record.kind {
        FrameType::Plain | FrameType::UArea => {
            tell_slot(line, record.first, names)?;
            tell_slot(line, record.second, names)
        }
        FrameType::Table2 | FrameType::Table3 => {
            let links = names.tell_page(record.second);
            write!(line, " {} {links}", record.first)
        }
        FrameType::Links => {
            write!(line, " {}", names.tell_page(record.first))?;
            tell_slot(line, record.second, names)
        }
        FrameType::Root => write!(line, " {}", record.first),
        FrameType::Free | FrameType::Kernel => Ok(()),
    }
}

/// A slot: the table's name and the index. The tables that were there before have no name.
fn tell_slot(line: &mut Line, slot: u32, names: &Names) -> fmt::Result {
    if slot == NONE {
        line.write_str(" -")
    } else {
        write!(line, " {}.{}", names.tell_page(slot >> 9), slot % 512)
    }
}

fn tell_account(
    line: &mut Line,
    place: usize,
    record: &AccountRecord,
    names: &mut Names,
) -> fmt::Result {
    let epoch = names.tell_epoch(Epoch::from_low_bits(record.epoch));
    let parent = names.tell_index(Kind::Account, record.parent);
    write!(line, "{epoch} {parent} {} {}", record.dying, record.accepts)?;
    if place > 0 {
        write!(line, " {:?} {:?}", record.allowance, record.used)?;
    }
    Ok(())
}

fn tell_space(line: &mut Line, record: &SpaceRecord, names: &mut Names) -> fmt::Result {
    let epoch = names.tell_epoch(Epoch::from_low_bits(record.epoch));
    write!(
        line,
        "{epoch} {} {} {} {}",
        names.tell_owner(record.owner),
        names.tell_page(record.root),
        record.members,
        record.dying
    )
}

/// What it has left depends on the clock.
fn tell_slice(line: &mut Line, record: &SliceRecord, names: &mut Names) -> fmt::Result {
    let epoch = names.tell_epoch(Epoch::from_low_bits(record.epoch));
    let environment = ObjectName::from_word(record.environment);
    let environment = names.tell(Kind::Environment, environment);
    write!(
        line,
        "{epoch} {environment} {}",
        names.tell_owner(record.account)
    )
}

fn tell_environment(
    line: &mut Line,
    place: usize,
    record: &EnvironmentRecord,
    word: LifeWord,
    names: &mut Names,
) -> fmt::Result {
    let epoch = names.tell_epoch(Epoch::from_low_bits(record.epoch));
    let keeper = names.tell(Kind::Environment, ObjectName::from_word(record.keeper));
    // The program's own wait since sequences before this one.
    let notices = if place > 0 { record.notices } else { 0 };
    write!(
        line,
        "{epoch} {} {} {} {:?} {:?} {} {keeper} {} {} {notices:x} {:#x} {:?}",
        names.tell_owner(record.account),
        names.tell_owner(record.bound),
        names.tell_index(Kind::Space, record.space),
        word.state(),
        word.core(),
        record.debugged,
        record.keeper_bit,
        names.tell_page(record.uarea),
        record.uarea_at,
        record.slices
    )
}
