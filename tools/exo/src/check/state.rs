//! The exposed region and its records, read through the tables by which every space sees it.
//!
//! Nothing here judges: a record is its fields, whatever they say. What is looked for is found by its form,
//! not by the names of private things: the header is the page of the image that begins with the magic, and the
//! region's table the one whose first entry leads to a table whose first entry names that page.

use core::mem::{offset_of, size_of};

use exopi_abi::VERSION;
use exopi_abi::capability::Epoch;
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, Life, LifeWord, MAX_ACCOUNTS, MAX_ENVIRONMENTS, MAX_SPACES,
    Resource, SpaceRecord,
};
use exopi_abi::exposed::{CoreCounters, Header, MAGIC, MAX_CORES, Machine, Section};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::{FrameType, MAX_COLOURS, Owner, PageRecord, Stamp};
use exopi_abi::revocation::{RevocationRecord, RevocationState};

use super::descriptor::{self, Shape};
use super::kernel::{Kernel, Located};
use super::memory::{ENTRIES, Fields, Memory};
use super::message_rings::MessageRing;
use super::report::{Law, Report};

mod network;

pub use network::Network;

/// Bytes that the region can have: one entry of a root.
const REGION: u64 = 1 << 30;
/// Most frames that there can be: a slot has 23 bits for a frame.
const MAX_FRAMES: u64 = 1 << 23;

/// A section of the region.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Bytes from the region's begin.
    pub offset: u64,
    /// Bytes that its records take.
    pub bytes: u64,
    /// Bytes from one record to the next.
    stride: u64,
}

/// The record of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Whom it is charged to.
    pub owner: Owner,
    /// Epoch and limit.
    pub stamp: Stamp,
    /// Entries that map it.
    pub references: u32,
    /// Those of them that are in spaces of other accounts.
    pub foreign: u16,
    /// Its type, if its code is one.
    pub kind: Option<FrameType>,
    /// Whether its bindings are being broken, and its pins.
    pub marks: u8,
    /// By type.
    pub first: u32,
    /// By type.
    pub second: u32,
}

impl Frame {
    fn read(from: Fields<'_>) -> Self {
        Self {
            owner: Owner::from_word(from.u64(offset_of!(PageRecord, owner))),
            stamp: Stamp::new(
                Epoch::from_low_bits(from.u64(offset_of!(PageRecord, stamp))),
                from.u16(offset_of!(PageRecord, stamp) + 6),
            ),
            references: from.u32(offset_of!(PageRecord, references)),
            foreign: from.u16(offset_of!(PageRecord, foreign)),
            kind: FrameType::from_code(from.u8(offset_of!(PageRecord, kind))),
            marks: from.u8(offset_of!(PageRecord, marks)),
            first: from.u32(offset_of!(PageRecord, first)),
            second: from.u32(offset_of!(PageRecord, second)),
        }
    }

    /// Whether it has this type.
    pub fn is(&self, kind: FrameType) -> bool {
        self.kind == Some(kind)
    }

    /// Whom it is charged to, if it is anybody's.
    pub fn charged_to(&self) -> Option<Owner> {
        match self.kind {
            None | Some(FrameType::Free | FrameType::Kernel) => None,
            Some(_) => Some(self.owner),
        }
    }
}

/// The record of an account.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// 0 if there is none.
    pub epoch: u64,
    /// Its parent's index.
    pub parent: u16,
    /// 1 while it is being destroyed.
    pub dying: u8,
    /// By [`Resource`].
    pub allowance: [u32; Resource::COUNT],
    /// By [`Resource`].
    pub used: [u32; Resource::COUNT],
    /// Of which resource some is asked for, as its number plus one.
    pub asked: u8,
    /// Of which resource it gets no more meanwhile, likewise.
    pub frozen: u8,
    /// How much of what is asked for it may use meanwhile.
    pub ceiling: u32,
    /// How many plain pages revocation leaves it.
    pub guaranteed: u32,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Account {
    fn read(from: Fields<'_>) -> Self {
        let four = |at: usize| core::array::from_fn(|which| from.u32(at + 4 * which));
        let reserved = offset_of!(AccountRecord, reserved);
        let padding = (reserved..reserved + 3).all(|at| from.u8(at) == 0);
        let epoch = from.u64(offset_of!(AccountRecord, epoch));
        Self {
            epoch,
            parent: from.u16(offset_of!(AccountRecord, parent)),
            dying: from.u8(offset_of!(AccountRecord, dying)),
            allowance: four(offset_of!(AccountRecord, allowance)),
            used: four(offset_of!(AccountRecord, used)),
            asked: from.u8(offset_of!(AccountRecord, asked)),
            frozen: from.u8(offset_of!(AccountRecord, frozen)),
            ceiling: from.u32(offset_of!(AccountRecord, ceiling)),
            guaranteed: from.u32(offset_of!(AccountRecord, guaranteed)),
            tidy: padding && (epoch != 0 || is_zero(from)),
        }
    }
}

/// The record of a space.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it and its tables are charged to.
    pub owner: Owner,
    /// The frame of its root.
    pub root: u32,
    /// Its ASID.
    pub asid: u16,
    /// Environments in it.
    pub members: u16,
    /// 1 while it is being destroyed.
    pub dying: u8,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Space {
    fn read(from: Fields<'_>) -> Self {
        let reserved = offset_of!(SpaceRecord, reserved);
        let epoch = from.u64(offset_of!(SpaceRecord, epoch));
        Self {
            epoch,
            owner: Owner::from_word(from.u64(offset_of!(SpaceRecord, owner))),
            root: from.u32(offset_of!(SpaceRecord, root)),
            asid: from.u16(offset_of!(SpaceRecord, asid)),
            members: from.u16(offset_of!(SpaceRecord, members)),
            dying: from.u8(offset_of!(SpaceRecord, dying)),
            tidy: (reserved..reserved + 3).all(|at| from.u8(at) == 0)
                && (epoch != 0 || is_zero(from)),
        }
    }
}

/// The record of an environment.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it is charged to.
    pub account: Owner,
    /// Whom it draws on.
    pub bound: Owner,
    /// Its space's index.
    pub space: u16,
    /// 1 if it may be debugged.
    pub debugged: u8,
    /// Which notice tells its keeper.
    pub keeper_bit: u8,
    /// Its keeper's name; 0 for none.
    pub keeper: u64,
    /// The frame of its u-area.
    pub uarea: u32,
    /// Where it sees its u-area.
    pub uarea_at: u64,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Environment {
    fn read(from: Fields<'_>) -> Self {
        let epoch = from.u64(offset_of!(EnvironmentRecord, epoch));
        Self {
            epoch,
            account: Owner::from_word(from.u64(offset_of!(EnvironmentRecord, account))),
            bound: Owner::from_word(from.u64(offset_of!(EnvironmentRecord, bound))),
            space: from.u16(offset_of!(EnvironmentRecord, space)),
            debugged: from.u8(offset_of!(EnvironmentRecord, debugged)),
            keeper_bit: from.u8(offset_of!(EnvironmentRecord, keeper_bit)),
            keeper: from.u64(offset_of!(EnvironmentRecord, keeper)),
            uarea: from.u32(offset_of!(EnvironmentRecord, uarea)),
            uarea_at: from.u64(offset_of!(EnvironmentRecord, uarea_at)),
            tidy: from.u64(offset_of!(EnvironmentRecord, reserved)) == 0
                && (epoch != 0 || is_zero(from)),
        }
    }
}

/// What changes of an environment as it runs.
#[derive(Clone, Copy, Debug)]
pub struct Living {
    /// Its word.
    pub word: LifeWord,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Living {
    fn read(from: Fields<'_>) -> Self {
        let word = LifeWord::from_bits(from.u64(offset_of!(Life, word)));
        Self {
            word,
            tidy: !word.is_free() || is_zero(from),
        }
    }
}

/// The last request to an environment, and what that has set up.
#[derive(Clone, Copy, Debug)]
pub struct Revocation {
    /// The account that gives.
    pub account: Owner,
    /// How many were asked for.
    pub asked: u32,
    /// The most that the account may use in the end.
    pub target: u32,
    /// How many were given back.
    pub given: u32,
    /// How many were taken.
    pub taken: u32,
    /// How many of those nobody is told of.
    pub missed: u32,
    /// First page of the vector.
    pub vector: u32,
    /// The order page.
    pub order: u32,
    /// How many were taken and not told of yet.
    pub pending: u32,
    /// Pages of the vector.
    pub vector_pages: u8,
    /// The state's code.
    pub code: u8,
    /// The resource's number.
    pub resource: u8,
    /// Which notice tells who asked.
    pub bit: u8,
    /// Pages that stay.
    pub kept_count: u8,
}

impl Revocation {
    fn read(from: Fields<'_>) -> Self {
        Self {
            account: Owner::from_word(from.u64(offset_of!(RevocationRecord, account))),
            asked: from.u32(offset_of!(RevocationRecord, asked)),
            target: from.u32(offset_of!(RevocationRecord, target)),
            given: from.u32(offset_of!(RevocationRecord, given)),
            taken: from.u32(offset_of!(RevocationRecord, taken)),
            missed: from.u32(offset_of!(RevocationRecord, missed)),
            vector: from.u32(offset_of!(RevocationRecord, vector)),
            order: from.u32(offset_of!(RevocationRecord, order)),
            pending: from.u32(offset_of!(RevocationRecord, pending) + 4),
            vector_pages: from.u8(offset_of!(RevocationRecord, vector_pages)),
            code: from.u8(offset_of!(RevocationRecord, state)),
            resource: from.u8(offset_of!(RevocationRecord, resource)),
            bit: from.u8(offset_of!(RevocationRecord, bit)),
            kept_count: from.u8(offset_of!(RevocationRecord, kept_count)),
        }
    }

    /// What becomes of it, if its code is a state's.
    pub fn state(&self) -> Option<RevocationState> {
        RevocationState::from_code(self.code)
    }

    /// Whether there is no outcome yet.
    pub fn is_open(&self) -> bool {
        self.state().is_some_and(RevocationState::is_open)
    }

    /// The frames that are set up, each as often as it is named.
    pub fn set_up(&self) -> impl Iterator<Item = u64> + use<> {
        let vector = u64::from(self.vector);
        let order = Some(u64::from(self.order)).filter(|order| *order != 0);
        (vector..vector + u64::from(self.vector_pages)).chain(order)
    }
}

fn is_zero(from: Fields<'_>) -> bool {
    from.0.iter().all(|byte| *byte == 0)
}

/// All that the exposed region says.
#[derive(Debug)]
pub struct State {
    /// Where the image lies.
    pub image: Located,
    /// The frame of the region's table: what each root's last entry names.
    pub exposed: u64,
    /// The sections, header and counters included.
    pub places: Vec<Place>,
    /// Cores that came up.
    pub cores: u64,
    /// Colours of pages.
    pub colours: u64,
    /// Pages on the free lists, as the header has it.
    pub free_pages: u64,
    /// Frames, by number.
    pub frames: Vec<Frame>,
    /// Accounts, by index.
    pub accounts: Vec<Account>,
    /// Spaces, by index.
    pub spaces: Vec<Space>,
    /// Environments, by index.
    pub environments: Vec<Environment>,
    /// What changes of them, likewise.
    pub lives: Vec<Living>,
    /// What they are asked for, likewise.
    pub revocations: Vec<Revocation>,
    /// Their rings for messages, likewise.
    pub message_rings: Vec<MessageRing>,
    /// Filters, rings and send capabilities.
    pub network: Network,
}

impl State {
    /// Reads everything. None, with a violation, if there is no such region.
    pub fn read(memory: &Memory, kernel: &Kernel, report: &mut Report) -> Option<Self> {
        let read = find(memory, kernel).and_then(|region| region.state(memory));
        read.map_err(|why| report.add(Law::Region, || why)).ok()
    }

    /// The record of a frame.
    pub fn frame(&self, number: u64) -> Option<&Frame> {
        self.frames.get(usize::try_from(number).ok()?)
    }

    /// Frames with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Frame)> {
        (0..).zip(&self.frames)
    }

    /// The account that an owner names, if there is such a one.
    pub fn account(&self, owner: Owner) -> Option<&Account> {
        let account = self.accounts.get(usize::from(owner.index()))?;
        (account.epoch != 0 && account.epoch == owner.epoch().bits()).then_some(account)
    }

    /// Accounts that there are, with their names.
    pub fn live_accounts(&self) -> impl Iterator<Item = (Owner, &Account)> {
        let numbered = (0..).zip(&self.accounts);
        numbered
            .filter(|(_, account)| account.epoch != 0)
            .map(|(index, account)| {
                let epoch = Epoch::from_low_bits(account.epoch);
                (Owner::new(index, epoch), account)
            })
    }

    /// Spaces that there are, by index.
    pub fn live_spaces(&self) -> impl Iterator<Item = (u16, &Space)> {
        (0..)
            .zip(&self.spaces)
            .filter(|(_, space)| space.epoch != 0)
    }

    /// Environments that there are, by index.
    pub fn live_environments(&self) -> impl Iterator<Item = (u16, &Environment)> {
        let numbered = (0..).zip(&self.environments);
        numbered.filter(|(_, environment)| environment.epoch != 0)
    }
}

/// The region, found but not read.
struct Region {
    image: Located,
    table: u64,
    header: Vec<u8>,
}

/// Finds the header in the image, and the table that shows it.
fn find(memory: &Memory, kernel: &Kernel) -> Result<Region, String> {
    let image = kernel
        .locate(memory)
        .ok_or("no kernel of this ELF file lies in the memory")?;
    let frames = image.frames();
    let word = |frame: u64, index: u64| memory.word(frame * PAGE_SIZE + index * 8);
    let mut headers = frames.clone().filter(|page| word(*page, 0) == Some(MAGIC));
    let header = headers.next().ok_or("the image has no exposed header")?;
    if let Some(other) = headers.next() {
        return Err(format!(
            "frames {header:#x} and {other:#x} both look like the exposed header"
        ));
    }
    let shows = |table: u64| {
        let first = word(table, 0)?;
        let below = descriptor::frame(first);
        let led = descriptor::shape(first, 2) == Shape::Table && frames.contains(&below);
        let page = word(below, 0).filter(|_| led)?;
        let named = descriptor::shape(page, 3) == Shape::Leaf && descriptor::frame(page) == header;
        named.then_some(())
    };
    let table = frames.clone().find(|table| shows(*table).is_some());
    let table =
        table.ok_or_else(|| format!("no table shows the exposed header, frame {header:#x}"))?;
    let header = memory.read(header * PAGE_SIZE, size_of::<Header>());
    let header = header.ok_or("the exposed header is cut off")?;
    Ok(Region {
        image,
        table,
        header,
    })
}

impl Region {
    fn state(self, memory: &Memory) -> Result<State, String> {
        let header = Fields(&self.header);
        let version = header.u64(offset_of!(Header, version));
        if version != VERSION {
            return Err(format!(
                "the kernel's interface has version {version}, this command's {VERSION}"
            ));
        }
        let machine = offset_of!(Header, machine);
        let cores = header.u64(machine + offset_of!(Machine, cores));
        let colours = header.u64(machine + offset_of!(Machine, colours));
        if !(1..=MAX_CORES as u64).contains(&cores) {
            return Err(format!("there are {cores} cores"));
        }
        if !colours.is_power_of_two() || colours > MAX_COLOURS as u64 {
            return Err(format!("there are {colours} colours"));
        }
        let counters = self.section::<CoreCounters>("counters", offset_of!(Header, counters), 4)?;
        let accounts = self.section::<AccountRecord>(
            "accounts",
            offset_of!(Header, accounts),
            MAX_ACCOUNTS as u64,
        )?;
        let spaces =
            self.section::<SpaceRecord>("spaces", offset_of!(Header, spaces), MAX_SPACES as u64)?;
        let environments = self.section::<EnvironmentRecord>(
            "environments",
            offset_of!(Header, environments),
            MAX_ENVIRONMENTS as u64,
        )?;
        let lives =
            self.section::<Life>("lives", offset_of!(Header, lives), MAX_ENVIRONMENTS as u64)?;
        let revocations = self.section::<RevocationRecord>(
            "revocations",
            offset_of!(Header, revocations),
            MAX_ENVIRONMENTS as u64,
        )?;
        let message_rings = self.section::<MessageRingRecord>(
            "message rings",
            offset_of!(Header, message_rings),
            MAX_ENVIRONMENTS as u64,
        )?;
        let (network, of_network) = self.network(memory)?;
        let pages = self.section::<PageRecord>("pages", offset_of!(Header, pages), MAX_FRAMES)?;
        let first = Place {
            offset: 0,
            bytes: PAGE_SIZE,
            stride: PAGE_SIZE,
        };
        Ok(State {
            cores,
            colours,
            free_pages: header.u64(offset_of!(Header, free_pages)),
            frames: self.records(memory, pages, Frame::read)?,
            accounts: self.records(memory, accounts, Account::read)?,
            spaces: self.records(memory, spaces, Space::read)?,
            environments: self.records(memory, environments, Environment::read)?,
            lives: self.records(memory, lives, Living::read)?,
            revocations: self.records(memory, revocations, Revocation::read)?,
            message_rings: self.records(memory, message_rings, MessageRing::read)?,
            network,
            places: [
                first,
                counters,
                accounts,
                spaces,
                environments,
                lives,
                revocations,
                message_rings,
                pages,
            ]
            .into_iter()
            .chain(of_network)
            .collect(),
            exposed: self.table,
            image: self.image,
        })
    }

    /// Where the records of type `T` are of which the header tells at its byte `at`.
    fn section<T>(&self, name: &str, at: usize, most: u64) -> Result<Place, String> {
        let header = Fields(&self.header);
        let offset = header.u64(at + offset_of!(Section, offset));
        let count = header.u64(at + offset_of!(Section, count));
        let stride = header.u64(at + offset_of!(Section, stride));
        let bytes = count.checked_mul(stride);
        let end = bytes.and_then(|bytes| offset.checked_add(bytes));
        match (bytes, end) {
            (Some(bytes), Some(end))
                if end <= REGION
                    && (1..=most).contains(&count)
                    && stride == size_of::<T>() as u64
                    && offset.is_multiple_of(stride)
                    && offset >= PAGE_SIZE =>
            {
                Ok(Place {
                    offset,
                    bytes,
                    stride,
                })
            }
            _ => Err(format!(
                "the section {name} cannot be: {count} records of {stride} bytes at {offset:#x}"
            )),
        }
    }

    /// Reads a section's records as a space sees them.
    fn records<R>(
        &self,
        memory: &Memory,
        place: Place,
        read: impl Fn(Fields<'_>) -> R,
    ) -> Result<Vec<R>, String> {
        let mut bytes = Vec::with_capacity(place.bytes as usize);
        let end = place.offset + place.bytes;
        let mut at = place.offset;
        while at < end {
            let (physical, length) = shown(memory, self.table, at)
                .ok_or_else(|| format!("nothing is shown at {at:#x} of the region"))?;
            let length = length.min(end - at);
            let part = memory.read(physical, length as usize);
            bytes.extend(part.ok_or_else(|| format!("no RAM is shown at {at:#x} of the region"))?);
            at += length;
        }
        let records = bytes.chunks_exact(place.stride as usize);
        Ok(records.map(|record| read(Fields(record))).collect())
    }
}

/// Where the region's byte `offset` is in memory, and how far from there on the same entry shows it.
fn shown(memory: &Memory, table: u64, offset: u64) -> Option<(u64, u64)> {
    let mut table = table;
    for level in [2, 3] {
        let bytes = descriptor::pages(level) * PAGE_SIZE;
        let index = offset / bytes % ENTRIES as u64;
        let entry = memory.word(table.checked_mul(PAGE_SIZE)? + index * 8)?;
        let named = descriptor::frame(entry);
        match descriptor::shape(entry, level) {
            Shape::Nothing => return None,
            Shape::Table => table = named,
            Shape::Leaf => {
                let within = offset % bytes;
                return Some((named * PAGE_SIZE + within, bytes - within));
            }
        }
    }
    None
}
