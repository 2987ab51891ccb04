//! What frames need around them: pools, accounts that are counted, pages that are vectors.

use std::collections::BTreeMap;

use exopi_abi::capability::{Capability, Epoch};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    FilterRecord, InterfaceRecord, InterfaceState, MAX_INTERFACES, RingRecord, SendRecord,
};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};
use exopi_cap::{Key, Verified, verify};
use exopi_filter::{Chunk, Filter, KeyId, KeyRecord, MAX_CODE_WORDS, Secrets, Trie, slots_for};
use exopi_frames::{
    Attached, Binding, By, Code, Frames, Holding, Lane, Ledger, Memory, Pools, RingPages, Rule,
    Slot,
};

const PAGE: usize = 4096;
/// The interface.
pub(super) const WIRE: usize = 0;
/// Filters that there can be, the first included.
const FILTERS: usize = 40;
/// Most of each thing that an account may have.
const MOST: u32 = 12;
pub(super) const KEY: [u64; 2] = [0x1234_5678, 0x9abc_def0];

/// Environment and account of this number.
pub(super) fn by(number: usize) -> By {
    let index = number as u16;
    By {
        name: ObjectName {
            index,
            epoch: Epoch::from_low_bits(1000 + number as u64),
        },
        owner: Owner::new(index, Epoch::from_low_bits(100 + number as u64)),
    }
}

/// A capability as whoever shows it has it.
pub(super) fn shown(capability: &Capability) -> Verified {
    verify(capability, &Key::new(KEY), by(1).name.identity(), 0).expect("it was sealed just now")
}

/// Has `work` done with one interface, which is up and number 0's, and nothing else.
pub(super) fn with<R>(work: impl FnOnce(&mut Frames<'_>, Attached, &mut Book) -> R) -> R {
    let mut interfaces = vec![InterfaceRecord::default()];
    let mut bindings = vec![Binding::default(); 40];
    let mut rings = vec![RingRecord::FREE; 10];
    let mut ring_pages = vec![RingPages::NONE; 10];
    let mut sends = vec![SendRecord::FREE; 20];
    let mut rules = vec![Rule::ANY; 20];
    let mut slots = vec![Slot::EMPTY; 20];
    let mut lanes = vec![Lane::EMPTY; MAX_INTERFACES * 4];
    let mut makers = vec![0; 4];
    let mut scratch = vec![0; MAX_CODE_WORDS];
    let mut records = vec![FilterRecord::FREE; FILTERS];
    let mut filters = vec![Filter::default(); FILTERS];
    let mut hashed = vec![0; slots_for(FILTERS)];
    let mut chunks = vec![Chunk::default(); 9 * FILTERS];
    let mut keys = vec![KeyRecord::default(); 16];
    let mut frames = Frames::new(Pools {
        interfaces: &mut interfaces,
        bindings: &mut bindings,
        rings: &mut rings,
        ring_pages: &mut ring_pages,
        sends: &mut sends,
        rules: &mut rules,
        slots: &mut slots,
        lanes: &mut lanes,
        makers: &mut makers,
        scratch: &mut scratch,
    });
    let pools = exopi_filter::Pools {
        filters: &mut filters,
        slots: &mut hashed,
        chunks: &mut chunks,
        keys: &mut keys,
    };
    let secrets = Secrets {
        first: 0x5bd1_e995_7b7d_159c,
        second: 0x9fb2_1c65_1e98_df25,
    };
    let trie = Trie::new(pools, secrets).expect("the pools fit");
    let mut book = Book::default();
    let attached = frames.attach(WIRE, (trie, &mut records[..]), false, &by(0), &mut book);
    frames.set_state(WIRE, InterfaceState::Up, [2, 0, 0, 0, 0, 1]);
    work(&mut frames, attached.expect("there is room"), &mut book)
}

/// Accounts and pages.
#[derive(Default)]
pub(super) struct Book {
    stamps: u64,
    charged: BTreeMap<(u64, Holding), u32>,
    /// Whose each page is, and its pins.
    pages: Vec<(Owner, u32)>,
}

impl Book {
    /// A new page of somebody's.
    pub(super) fn page(&mut self, owner: Owner) -> PageNumber {
        self.pages.push((owner, 0));
        PageNumber::new(self.pages.len() as u32 - 1)
    }

    /// Whether nothing is charged to an account, and none of its pages is pinned.
    pub(super) fn is_empty(&self, owner: Owner) -> bool {
        let charged = self.charged.iter();
        let charged = charged.filter(|((of, _), count)| *of == owner.word() && **count > 0);
        let pinned = self
            .pages
            .iter()
            .any(|(of, pins)| *of == owner && *pins > 0);
        charged.count() == 0 && !pinned
    }
}

impl Ledger for Book {
    fn stamp(&mut self) -> Option<Epoch> {
        self.stamps += 1;
        Some(Epoch::from_low_bits(self.stamps))
    }

    fn room(&self, owner: Owner, holding: Holding) -> Result<(), Error> {
        let used = self.charged.get(&(owner.word(), holding));
        if used.is_some_and(|used| *used >= MOST) {
            return Err(Error::OverAllowance);
        }
        Ok(())
    }

    fn charge(&mut self, owner: Owner, holding: Holding) {
        *self.charged.entry((owner.word(), holding)).or_default() += 1;
    }

    fn release(&mut self, owner: Owner, holding: Holding) {
        let count = self.charged.get_mut(&(owner.word(), holding));
        *count.expect("it was charged") -= 1;
    }

    fn pin(&mut self, owner: Owner, page: PageNumber) -> Result<(), Error> {
        let found = self.pages.get_mut(page.get() as usize);
        let (of, pins) = found.ok_or(Error::OutOfRange)?;
        if *of != owner {
            return Err(Error::NotYours);
        }
        *pins += 1;
        Ok(())
    }

    fn unpin(&mut self, page: PageNumber) {
        let (_, pins) = &mut self.pages[page.get() as usize];
        *pins = pins.checked_sub(1).expect("it was pinned");
    }
}

/// Contents of pages: zeros until something is written.
#[derive(Default)]
pub(super) struct Ram(BTreeMap<PageNumber, Vec<u8>>);

impl Memory for Ram {
    fn load(&self, page: PageNumber, offset: usize) -> u32 {
        let mut octets = [0; 4];
        self.read(page, offset, &mut octets);
        u32::from_le_bytes(octets)
    }

    fn store(&mut self, page: PageNumber, offset: usize, word: u32) {
        self.write(page, offset, &word.to_le_bytes());
    }

    fn write(&mut self, page: PageNumber, offset: usize, octets: &[u8]) {
        let contents = self.0.entry(page).or_insert_with(|| vec![0; PAGE]);
        contents[offset..offset + octets.len()].copy_from_slice(octets);
    }

    fn read(&self, page: PageNumber, offset: usize, into: &mut [u8]) {
        match self.0.get(&page) {
            Some(contents) => into.copy_from_slice(&contents[offset..offset + into.len()]),
            None => into.fill(0),
        }
    }

    fn copy(&mut self, from: (PageNumber, usize), to: (PageNumber, usize), length: usize) {
        let mut octets = vec![0; length];
        self.read(from.0, from.1, &mut octets);
        self.write(to.0, to.1, &octets);
    }

    fn count(&mut self, page: PageNumber, offset: usize) {
        let mut octets = [0; 8];
        self.read(page, offset, &mut octets);
        let counted = u64::from_le_bytes(octets).wrapping_add(1);
        self.write(page, offset, &counted.to_le_bytes());
    }

    fn tell(&mut self, _: ObjectName, _: u8) {}
}

/// Any place will do: nobody runs the code here.
pub(super) struct Arena;

impl Code for Arena {
    fn place(&mut self, _: usize, key: KeyId, _: &[u32]) -> Option<u32> {
        Some(4 + u32::from(key.0) * 4 * MAX_CODE_WORDS as u32)
    }
}
