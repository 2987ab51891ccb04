//! The exposed region and its records, read through the tables by which every space sees it.
//!
//! Nothing here judges: a record is its fields, whatever they say. What is looked for is found by its form,
//! not by the names of private things: the header is the page of the image that begins with the magic, and the
//! region's table the one whose first entry leads to a table whose first entry names that page.

use core::mem::{offset_of, size_of};

use exopi_abi::VERSION;
use exopi_abi::capability::Epoch;
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, Life, MAX_ACCOUNTS, MAX_ENVIRONMENTS, MAX_SPACES, SpaceRecord,
};
use exopi_abi::exposed::{CoreCounters, Header, MAGIC, MAX_CORES, Machine, Section};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::{MAX_COLOURS, Owner, PageRecord};
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::{MAX_SLICES, SliceRecord};

use super::descriptor::{self, Shape};
use super::kernel::{Kernel, Located};
use super::memory::{ENTRIES, Fields, Memory};
use super::message_rings::MessageRing;
use super::report::{Law, Report};

mod network;
mod records;

pub use network::Network;
pub use records::{Account, Environment, Frame, Living, Revocation, Slice, Space};

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
    /// Slices, by number.
    pub slices: Vec<Slice>,
    /// Ticks of a slice.
    pub slice_ticks: u64,
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

    /// Slices that there are, by number.
    pub fn live_slices(&self) -> impl Iterator<Item = (u16, &Slice)> {
        (0..)
            .zip(&self.slices)
            .filter(|(_, slice)| slice.epoch != 0)
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
        let slices =
            self.section::<SliceRecord>("slices", offset_of!(Header, slices), MAX_SLICES as u64)?;
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
            slices: self.records(memory, slices, Slice::read)?,
            slice_ticks: header.u64(machine + offset_of!(Machine, slice_ticks)),
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
                slices,
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
