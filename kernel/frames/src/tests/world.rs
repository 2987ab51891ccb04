//! Frames with their pools, accounts that are counted, and pages that are vectors.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_abi::capability::{Capability, Epoch, Kind, Rights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    Atom, EntryFlags, EntryHeader, FilterRecord, InterfaceRecord, InterfaceState, KERNEL,
    MAX_INTERFACES, NO_NOTICE, Operation, PROGRAM, Program, RingRecord, SendRecord, Width,
};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};
use exopi_cap::{Key, Verified, seal, verify};
use exopi_filter::{Chunk, Filter, KeyId, KeyRecord, Secrets, Trie, slots_for};

use crate::{
    Attached, Binding, By, Code, Frames, Holding, Lane, Ledger, Memory, Pools, RingPages, Rule,
    Slot, Step,
};

pub const PAGE: usize = 4096;
pub const ENVIRONMENTS: usize = 16;
/// The interface that has a device, and the one that has none.
pub const WIRE: usize = 0;
pub const LOOP: usize = 1;
pub const KEY: [u64; 2] = [0x1234_5678, 0x9abc_def0];

/// The pools of the filters of one interface.
struct Filters {
    filters: Vec<Filter>,
    slots: Vec<u32>,
    chunks: Vec<Chunk>,
    keys: Vec<KeyRecord>,
    records: Vec<FilterRecord>,
}

/// All pools.
pub struct Room {
    filters: [Filters; 2],
    interfaces: Vec<InterfaceRecord>,
    bindings: Vec<Binding>,
    rings: Vec<RingRecord>,
    pages: Vec<RingPages>,
    sends: Vec<SendRecord>,
    rules: Vec<Rule>,
    slots: Vec<Slot>,
    lanes: Vec<Lane>,
    makers: Vec<u32>,
    scratch: Vec<u32>,
}

impl Room {
    /// For so many filters, and some of everything else.
    pub fn new(filters: usize) -> Self {
        let of_interface = |count: usize| Filters {
            filters: vec![Filter::default(); count],
            slots: vec![0; slots_for(count)],
            chunks: vec![Chunk::default(); 9 * count],
            keys: vec![KeyRecord::default(); 24],
            records: vec![FilterRecord::FREE; count],
        };
        Self {
            filters: [of_interface(filters), of_interface(8)],
            interfaces: vec![InterfaceRecord::default(); 2],
            bindings: vec![Binding::default(); 200],
            rings: vec![RingRecord::FREE; 24],
            pages: vec![RingPages::NONE; 24],
            sends: vec![SendRecord::FREE; 40],
            rules: vec![Rule::ANY; 40],
            slots: vec![Slot::EMPTY; 200],
            lanes: vec![Lane::EMPTY; MAX_INTERFACES * ENVIRONMENTS],
            makers: vec![7; ENVIRONMENTS],
            scratch: vec![0; exopi_filter::MAX_CODE_WORDS],
        }
    }

    /// As many places for references.
    pub fn more_bindings(&mut self, count: usize) {
        self.bindings.resize(count, Binding::default());
    }

    /// A world in it, whose interfaces are environment 0's of account 0.
    pub fn world(&mut self) -> World<'_> {
        let mut world = World {
            frames: Frames::new(Pools {
                interfaces: &mut self.interfaces,
                bindings: &mut self.bindings,
                rings: &mut self.rings,
                ring_pages: &mut self.pages,
                sends: &mut self.sends,
                rules: &mut self.rules,
                slots: &mut self.slots,
                lanes: &mut self.lanes,
                makers: &mut self.makers,
                scratch: &mut self.scratch,
            }),
            book: Book::new(),
            ram: Ram::default(),
            arena: Arena::default(),
            attached: vec![],
            key: Key::new(KEY),
        };
        let root = by(0, 0);
        for (number, pools) in self.filters.iter_mut().enumerate() {
            let secrets = Secrets {
                first: 0x5bd1_e995_7b7d_159c,
                second: 0x9fb2_1c65_1e98_df25,
            };
            let trie = Trie::new(
                exopi_filter::Pools {
                    filters: &mut pools.filters,
                    slots: &mut pools.slots,
                    chunks: &mut pools.chunks,
                    keys: &mut pools.keys,
                },
                secrets,
            );
            let filters = (trie.unwrap(), &mut pools.records[..]);
            let loopback = number == LOOP;
            let made = world
                .frames
                .attach(number, filters, loopback, &root, &mut world.book);
            world.attached.push(made.unwrap());
            world
                .frames
                .set_state(number, InterfaceState::Up, [2, 0, 0, 0, 0, 1]);
        }
        world
    }
}

/// Environment `environment`, which draws on account `account`.
pub fn by(environment: u16, account: u16) -> By {
    By {
        name: ObjectName {
            index: environment,
            epoch: Epoch::from_low_bits(1000 + u64::from(environment)),
        },
        owner: owner(account),
    }
}

pub fn owner(account: u16) -> Owner {
    Owner::new(account, Epoch::from_low_bits(100 + u64::from(account)))
}

pub struct World<'m> {
    pub frames: Frames<'m>,
    pub book: Book,
    pub ram: Ram,
    pub arena: Arena,
    pub attached: Vec<Attached>,
    key: Key,
}

impl World<'_> {
    /// A capability for what `from` owns, as whoever presents it shows it.
    pub fn verified(&self, from: &By, kind: Kind, index: u64, rights: Rights) -> Option<Verified> {
        let body = self.frames.cap_mint(from, kind, index, rights).ok()?;
        Some(self.presented(&seal(&body, &self.key)))
    }

    pub fn presented(&self, capability: &Capability) -> Verified {
        verify(capability, &self.key, by(1, 1).name.identity(), 0).unwrap()
    }

    /// A ring of whole frames with new pages of `by`'s account.
    pub fn ring(&mut self, by: &By, pages: usize) -> ObjectName {
        let pages: Vec<PageNumber> = (0..pages).map(|_| self.page(by.owner)).collect();
        self.frames
            .pktring_setring(by, 11, &pages, NO_NOTICE, &mut self.book)
            .unwrap()
    }

    /// A new page of an account.
    pub fn page(&mut self, owner: Owner) -> PageNumber {
        let page = PageNumber::new(self.book.pages.len() as u32);
        self.book.pages.push((owner, 0));
        page
    }

    pub fn receive(&mut self, frame: &[u8]) -> crate::Delivered {
        let arrival = crate::Arrival {
            interface: WIRE,
            frame,
            time: 77,
        };
        self.frames.receive(arrival, &mut self.ram)
    }

    /// Takes all frames out of a ring, oldest first, as a program does: from the entry that `cursor` says on.
    pub fn drain(&mut self, ring: ObjectName, cursor: &mut usize) -> Vec<(EntryHeader, Vec<u8>)> {
        let mut taken = vec![];
        let record = self.frames.rings()[usize::from(ring.index)];
        let shape = crate::rings::shape_of(&record).unwrap();
        loop {
            let (page, offset) = shape.place(*cursor);
            let page = self.frames.ring_page(ring.index, page).unwrap();
            if self.ram.load(page, offset) != PROGRAM {
                return taken;
            }
            let mut header = [0; EntryHeader::OCTETS];
            self.ram.read(page, offset, &mut header);
            let header = EntryHeader::from_octets(&header);
            let mut frame = vec![0; header.stored.into()];
            self.ram
                .read(page, offset + EntryHeader::OCTETS, &mut frame);
            taken.push((header, frame));
            self.ram.store(page, offset, KERNEL);
            *cursor += 1;
        }
    }

    /// Sweeps until nothing is left to do, with these environments alive; gives the steps.
    pub fn sweep(&mut self, lives: impl Fn(ObjectName) -> bool) -> usize {
        let mut steps = 0;
        while self
            .frames
            .sweep(|_, name| lives(name), |_, _| true, &mut self.book)
        {
            steps += 1;
            assert!(steps < 10_000, "a sweep comes to an end");
        }
        steps
    }

    /// What accounts were charged, and pages pinned, is what there is.
    pub fn audit(&self) {
        let frames = &self.frames;
        let mut charged: BTreeMap<(u64, Holding), u32> = BTreeMap::new();
        let mut charge = |owner: Owner, holding, count: u32| {
            *charged.entry((owner.word(), holding)).or_default() += count;
        };
        let mut pins: BTreeMap<PageNumber, u32> = BTreeMap::new();
        let of_filters = [WIRE, LOOP].into_iter().flat_map(|number| {
            let made = frames.filters(number).iter().filter(|it| it.depth > 0);
            made.map(|it| (it.epoch, it.environment))
        });
        let of_rings = frames.rings().iter().map(|it| (it.epoch, it.environment));
        let of_sends = frames.sends().iter().filter(|it| it.depth > 0);
        let of_sends = of_sends.map(|it| (it.epoch, it.environment));
        let mut made = [0; ENVIRONMENTS];
        for (epoch, environment) in of_filters.chain(of_rings).chain(of_sends) {
            if epoch != 0 && environment != 0 {
                made[usize::from(ObjectName::from_word(environment).index)] += 1;
            }
        }
        assert_eq!(*frames.makers, made);
        for number in [WIRE, LOOP] {
            let mut count = 0;
            for record in frames.filters(number).iter().filter(|r| r.epoch != 0) {
                charge(record.account, Holding::Filter, 1);
                charge(record.account, Holding::Key, record.keys.into());
                count += 1;
            }
            assert_eq!(frames.interfaces()[number].filters, count);
            let taps = frames
                .rings()
                .iter()
                .filter(|ring| usize::from(ring.tap) == number + 1);
            assert_eq!(frames.interfaces()[number].taps as usize, taps.count());
        }
        for (index, record) in frames
            .rings()
            .iter()
            .enumerate()
            .filter(|(_, r)| r.epoch != 0)
        {
            charge(record.account, Holding::Ring, 1);
            charge(record.account, Holding::Reference, record.references.into());
            let mut at = record.first;
            let mut count = 0;
            while let Some(binding) = frames.bindings.get(at) {
                assert_eq!(usize::from(binding.ring), index);
                let (interface, number) = exopi_abi::net::filter_place(binding.filter);
                let filter = frames
                    .trie(interface)
                    .unwrap()
                    .filter(exopi_filter::FilterId(number as u32));
                assert!(
                    filter
                        .unwrap()
                        .targets()
                        .any(|target| target == u32::from(at))
                );
                (at, count) = (binding.next, count + 1);
            }
            assert_eq!(record.references, count);
            for page in 0..record.pages {
                let page = frames.ring_page(index as u16, page.into()).unwrap();
                *pins.entry(page).or_default() += 1;
            }
        }
        let bound: usize = frames
            .rings()
            .iter()
            .map(|ring| usize::from(ring.references))
            .sum();
        let targets = [WIRE, LOOP].map(|number| {
            let records = frames.filters(number).iter();
            records
                .map(|record| usize::from(record.references))
                .sum::<usize>()
        });
        assert_eq!(
            targets.iter().sum::<usize>(),
            bound,
            "each reference has two ends"
        );
        for record in frames.sends().iter().filter(|record| record.epoch != 0) {
            charge(record.account, Holding::Send, 1);
        }
        for token in 1..frames.slots.len() {
            if let Some((owner, _)) = frames.frame_at(token as u16) {
                charge(owner, Holding::Frame, 1);
                frames.pinned_by(token as u16, |page| *pins.entry(page).or_default() += 1);
            }
        }
        charged.retain(|_, count| *count > 0);
        assert_eq!(charged, self.book.charged);
        let counted = self.book.pages.iter().enumerate();
        let counted = counted.filter(|(_, (_, pins))| *pins > 0);
        let counted: BTreeMap<PageNumber, u32> = counted
            .map(|(page, (_, pins))| (PageNumber::new(page as u32), *pins))
            .collect();
        assert_eq!(pins, counted);
    }
}

/// Accounts and pages.
pub struct Book {
    next: u64,
    pub charged: BTreeMap<(u64, Holding), u32>,
    pub most: BTreeMap<(u64, Holding), u32>,
    /// Whose each page is, and its pins.
    pub pages: Vec<(Owner, u32)>,
}

impl Book {
    fn new() -> Self {
        Self {
            next: 1,
            charged: BTreeMap::new(),
            most: BTreeMap::new(),
            // Page 0 is nobody's, so that none that was forgotten passes for one.
            pages: vec![(Owner::NOBODY, 0)],
        }
    }

    pub fn used(&self, owner: Owner, holding: Holding) -> u32 {
        self.charged
            .get(&(owner.word(), holding))
            .copied()
            .unwrap_or(0)
    }

    pub fn is_empty(&self, owner: Owner) -> bool {
        Holding::ALL
            .iter()
            .all(|&holding| self.used(owner, holding) == 0)
            && self
                .pages
                .iter()
                .all(|&(of, pins)| of != owner || pins == 0)
    }
}

impl Ledger for Book {
    fn stamp(&mut self) -> Option<Epoch> {
        self.next += 1;
        Some(Epoch::from_low_bits(self.next))
    }

    fn room(&self, owner: Owner, holding: Holding) -> Result<(), Error> {
        let most = self.most.get(&(owner.word(), holding)).copied();
        if self.used(owner, holding) >= most.unwrap_or(u32::MAX) {
            return Err(Error::OverAllowance);
        }
        Ok(())
    }

    fn charge(&mut self, owner: Owner, holding: Holding) {
        assert_eq!(self.room(owner, holding), Ok(()), "room was asked for");
        *self.charged.entry((owner.word(), holding)).or_default() += 1;
    }

    fn release(&mut self, owner: Owner, holding: Holding) {
        let count = self
            .charged
            .get_mut(&(owner.word(), holding))
            .expect("charged");
        *count -= 1;
        if *count == 0 {
            self.charged.remove(&(owner.word(), holding));
        }
    }

    fn pin(&mut self, owner: Owner, page: PageNumber) -> Result<(), Error> {
        let (of, pins) = self
            .pages
            .get_mut(page.get() as usize)
            .ok_or(Error::OutOfRange)?;
        if *of != owner {
            return Err(Error::NotYours);
        }
        if *pins == 127 {
            return Err(Error::LimitReached);
        }
        *pins += 1;
        Ok(())
    }

    fn unpin(&mut self, page: PageNumber) {
        let (_, pins) = &mut self.pages[page.get() as usize];
        *pins = pins.checked_sub(1).expect("pinned");
    }
}

/// Pages, made when they are first written, and whom notices told.
#[derive(Default)]
pub struct Ram(BTreeMap<PageNumber, Vec<u8>>, pub Vec<(ObjectName, u8)>);

impl Ram {
    fn page(&mut self, page: PageNumber) -> &mut Vec<u8> {
        self.0.entry(page).or_insert_with(|| vec![0; PAGE])
    }

    pub fn word(&self, page: PageNumber, index: u16) -> u64 {
        let mut octets = [0; 8];
        self.read(page, usize::from(index) * 8, &mut octets);
        u64::from_le_bytes(octets)
    }
}

impl Memory for Ram {
    fn load(&self, page: PageNumber, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4));
        let mut octets = [0; 4];
        self.read(page, offset, &mut octets);
        u32::from_le_bytes(octets)
    }

    fn store(&mut self, page: PageNumber, offset: usize, word: u32) {
        assert!(offset.is_multiple_of(4));
        self.write(page, offset, &word.to_le_bytes());
    }

    fn write(&mut self, page: PageNumber, offset: usize, octets: &[u8]) {
        self.page(page)[offset..offset + octets.len()].copy_from_slice(octets);
    }

    fn read(&self, page: PageNumber, offset: usize, into: &mut [u8]) {
        match self.0.get(&page) {
            Some(page) => into.copy_from_slice(&page[offset..offset + into.len()]),
            None => {
                assert!(offset + into.len() <= PAGE);
                into.fill(0);
            }
        }
    }

    fn copy(&mut self, from: (PageNumber, usize), to: (PageNumber, usize), length: usize) {
        let mut octets = vec![0; length];
        self.read(from.0, from.1, &mut octets);
        self.write(to.0, to.1, &octets);
    }

    fn count(&mut self, page: PageNumber, offset: usize) {
        assert!(offset.is_multiple_of(8));
        let word = self.word(page, (offset / 8) as u16).wrapping_add(1);
        self.write(page, offset, &word.to_le_bytes());
    }

    fn tell(&mut self, environment: ObjectName, notice: u8) {
        self.1.push((environment, notice));
    }
}

/// Where code goes.
#[derive(Default)]
pub struct Arena(BTreeMap<(usize, u16), usize>);

impl Code for Arena {
    fn place(&mut self, interface: usize, key: KeyId, words: &[u32]) -> Option<u32> {
        self.0.insert((interface, key.0), words.len());
        Some(4 + u32::from(key.0) * 4 * exopi_filter::MAX_CODE_WORDS as u32)
    }
}

/// One octet of a frame.
pub fn octet(offset: u16, value: u64) -> Operation {
    Operation::Equal {
        offset,
        width: Width::Bits8,
        mask: 0xff,
        value,
    }
}

pub fn atoms(operations: &[Operation]) -> Vec<Atom> {
    operations
        .iter()
        .map(|operation| operation.encode())
        .collect()
}

/// The key that asks what `operations` ask.
pub fn asked(operations: &[Operation]) -> Vec<Atom> {
    let asked = operations
        .iter()
        .map(|operation| operation.asked().encode());
    asked.collect()
}

/// Runs `work` with a checked list.
pub fn program<R>(operations: &[Operation], work: impl FnOnce(Program<'_>) -> R) -> R {
    work(Program::new(&atoms(operations)).unwrap())
}

/// Repeats a step until it is done.
pub fn finish(mut step: impl FnMut() -> Step) -> usize {
    (1..1000)
        .find(|_| step() == Step::Done)
        .expect("ends come to an end")
}

pub fn no_flags() -> EntryFlags {
    EntryFlags::empty()
}
