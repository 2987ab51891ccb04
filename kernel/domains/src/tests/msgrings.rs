//! Rings for messages: each refusal, whose pages and words can be what, how a ring ends; and at random against a queue.

#[cfg(not(miri))]
mod random;

use std::vec;
use std::vec::Vec;

use exopi_abi::capability::{EnvironmentRights, Kind};
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::msgring::{
    HEAD, HEADER_WORDS, Head, MESSAGE_BYTES, MessageRingRecord, PAGE_ENTRIES, SENDER,
};
use exopi_abi::page::FrameType;
use exopi_abi::revocation::Wanted;
use exopi_abi::{Error, PageNumber};
use exopi_pages::{Hardware, Index};

use super::{Call, Cap, Named, Run, Storage, World, page, progress};
use crate::links::Table;
use crate::{Alarm, Alarms, Clock, Target};

/// The notice that the receiver asks for.
const BIT: u64 = 7;

/// A message as a receiver finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    number: u32,
    sender: ObjectName,
    badge: u32,
    bytes: Vec<u8>,
}

/// Memory of all tables.
struct Memory {
    storage: Storage,
    links: Table,
    alarms: Vec<Alarm>,
    order: Vec<u16>,
}

impl Memory {
    fn new() -> Self {
        Self {
            storage: Storage::new(160, 6, 6, 8),
            links: Table::of(8),
            alarms: vec![Alarm::NONE; 8],
            order: vec![0; Alarms::order_length(8)],
        }
    }
}

/// A receiver on core 1, and senders on cores 0 (the first environment) and 2, whose gates 0 lead to it.
struct Scene<'m> {
    world: World<'m>,
    /// The receiver's account and name.
    account: ObjectName,
    receiver: ObjectName,
    /// Pages of the receiver's that follow each other.
    first: PageNumber,
    /// What the receiver has read.
    read: u64,
}

impl<'m> Scene<'m> {
    fn new(memory: &'m mut Memory) -> Self {
        let alarms = Alarms::new(&mut memory.alarms, &mut memory.order);
        let links = Some((&memory.links, alarms));
        let mut world = World::linked(&mut memory.storage, 3, links);
        let (account, receiver) = world.tenant([60, 2, 2, 1], 1);
        let _ = world.tenant([20, 2, 2, 1], 2);
        let mut own: Vec<_> = (0..40).map(|_| world.alloc(1)).collect();
        own.sort();
        let run = own
            .windows(17)
            .find(|run| run[16].get() == run[0].get() + 16);
        let first = run.expect("they follow each other")[0];
        let mut scene = Self {
            world,
            account,
            receiver,
            first,
            read: 0,
        };
        assert_eq!(scene.bind(0, 0, EnvironmentRights::CALL), Ok(()));
        assert_eq!(scene.bind(2, 0, EnvironmentRights::CALL), Ok(()));
        scene
    }

    /// Binds a gate of whoever runs on `core` to the receiver.
    fn bind(&mut self, core: u8, gate: u64, rights: EnvironmentRights) -> Result<(), Error> {
        let by = self.world.on[usize::from(core)].expect("somebody runs");
        let cap = Cap::of(Kind::Environment, self.receiver).with(rights);
        let verified = cap.verified(by.name.identity());
        let domains = &mut self.world.domains;
        domains.gate_bind(&by, gate, Target::Verified(&verified))
    }

    fn set(&mut self, first: PageNumber, pages: u64, bit: u64) -> Result<(), Error> {
        let by = self.world.on[1].expect("the receiver runs");
        let (domains, hw) = (&mut self.world.domains, &mut self.world.hw);
        let set = domains.msgring_set(hw, &by, first, pages, bit);
        if set.is_ok() {
            self.read = 0;
        }
        assert_eq!(self.world.check(), Ok(()));
        set
    }

    fn clear(&mut self) {
        let by = self.world.on[1].expect("the receiver runs");
        self.world.domains.msgring_clear(&by);
        assert_eq!(self.world.check(), Ok(()));
    }

    fn send(&mut self, core: u8, gate: u64, bytes: &[u8]) -> Result<(), Error> {
        let by = self.world.on[usize::from(core)].expect("somebody runs");
        let (domains, hw) = (&mut self.world.domains, &mut self.world.hw);
        let sent = domains.msgring_send(hw, &by, gate, bytes);
        self.world.told |= self.world.domains.take_interrupts();
        sent
    }

    fn ring(&self) -> MessageRingRecord {
        let ring = self.world.domains.message_ring(self.receiver.index);
        *ring.expect("there is a place")
    }

    /// A word of the entry of message `number`, at EL0.
    fn word(&self, number: u64, word: u64) -> u64 {
        let (page, start) = self.ring().place(number).expect("there is a ring");
        self.world.hw.word(page, Index::truncate(start + word))
    }

    /// The receiver writes a word of its ring.
    fn scribble(&mut self, number: u64, word: u64, value: u64) {
        let (page, start) = self.ring().place(number).expect("there is a ring");
        let index = Index::truncate(start + word);
        self.world.hw.write(page, index, value);
    }

    /// The next message, as a receiver takes it, which does not give the entry back.
    fn look(&self) -> Option<Letter> {
        let head = Head::from_word(self.word(self.read, HEAD))?;
        let length = usize::from(head.length);
        let bytes = (0..30).flat_map(|n| self.word(self.read, HEADER_WORDS + n).to_le_bytes());
        Some(Letter {
            number: head.number,
            sender: ObjectName::from_word(self.word(self.read, SENDER)),
            badge: head.badge,
            bytes: bytes.take(length).collect(),
        })
    }

    fn give_back(&mut self) {
        self.scribble(self.read, HEAD, 0);
        self.read += 1;
    }

    fn receive(&mut self) -> Option<Letter> {
        let letter = self.look()?;
        self.give_back();
        Some(letter)
    }

    /// The receiver's notices, of which it hears with this.
    fn notices(&mut self) -> u32 {
        self.world.domains.take_notices(self.receiver.index)
    }

    fn references(&self, page: PageNumber) -> u32 {
        let record = self.world.domains.pages.record(page);
        record.expect("there is one").references
    }

    fn sender(&self, core: usize) -> ObjectName {
        self.world.on[core].expect("somebody runs").name
    }
}

#[test]
fn messages_come_whole_in_order_and_with_their_senders() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.set(scene.first, 1, BIT), Ok(()));
    let long: Vec<u8> = (0..240).collect();
    let sent: [(u8, &[u8]); 5] = [
        (0, b"one"),
        (2, b""),
        (0, b"eight by"),
        (2, &long),
        (0, &long[..9]),
    ];
    for (core, bytes) in sent {
        assert_eq!(scene.send(core, 0, bytes), Ok(()));
    }
    for (number, (core, bytes)) in (0..).zip(sent) {
        let letter = Letter {
            number,
            sender: scene.sender(core.into()),
            badge: 0,
            bytes: bytes.to_vec(),
        };
        assert_eq!(scene.receive(), Some(letter));
    }
    assert_eq!(scene.receive(), None);
    assert_eq!(scene.ring().written, 5);
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn refused_messages_say_why_and_leave_nothing() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::NotAccepting));
    assert_eq!(scene.set(scene.first, 1, BIT), Ok(()));
    let long = [1; MESSAGE_BYTES + 1];
    assert_eq!(scene.send(0, 0, &long), Err(Error::TooLong));
    for gate in [1, 16, u64::MAX] {
        assert_eq!(scene.send(0, gate, b"x"), Err(Error::NoGate));
    }
    assert_eq!(scene.bind(0, 1, EnvironmentRights::SCHEDULE), Ok(()));
    assert_eq!(scene.send(0, 1, b"x"), Err(Error::MissingRight));
    assert_eq!((scene.ring().written, scene.notices()), (0, 0));
    for n in 0..PAGE_ENTRIES {
        assert_eq!(scene.send(0, 0, &[n as u8]), Ok(()));
    }
    let before = scene.look();
    assert_eq!(scene.send(2, 0, b"too many"), Err(Error::RingFull));
    assert_eq!(scene.ring().written, PAGE_ENTRIES);
    assert_eq!(scene.look(), before);
    scene.give_back();
    assert_eq!(scene.send(2, 0, b"now"), Ok(()));
    assert_eq!(scene.send(2, 0, b"not"), Err(Error::RingFull));
    // The receiver goes, and another one comes in its place.
    let name = scene.receiver;
    assert_eq!(scene.world.call(1, Call::Destroy(Named::Own)).error(), None);
    scene.world.settle();
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::Stale));
    assert_eq!(scene.world.check(), Ok(()));
    let after = scene.world.alone(0);
    assert_eq!(after.index, name.index);
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::Stale));
    assert_eq!(scene.ring(), MessageRingRecord::NONE);
}

#[test]
fn rings_are_set_in_plain_pages_of_the_receivers_alone() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    let first = scene.first;
    for pages in [0, 17, u64::MAX] {
        assert_eq!(scene.set(first, pages, BIT), Err(Error::BadCount));
    }
    for bit in [32, u64::MAX] {
        assert_eq!(scene.set(first, 1, bit), Err(Error::OutOfRange));
    }
    assert_eq!(scene.set(page(u32::MAX), 2, BIT), Err(Error::OutOfRange));
    assert_eq!(scene.set(page(160), 1, BIT), Err(Error::OutOfRange));
    let others = scene.world.alloc(2);
    assert_eq!(scene.set(others, 1, BIT), Err(Error::NotYours));
    // Its own root, and its u-area.
    let space = scene.world.domains.space(1).expect("it is there");
    let root = page(space.root);
    assert_eq!(scene.set(root, 1, BIT), Err(Error::WrongType));
    assert_eq!(scene.ring(), MessageRingRecord::NONE);
    assert_eq!(scene.references(first), 0);
    assert_eq!(scene.set(first, 16, 31), Ok(()));
    assert_eq!(scene.references(first.plus(15).expect("one")), 1);
    assert_eq!(scene.references(first.plus(16).expect("one")), 0);
    // A pinned page is none that can be given back or become something else.
    let free = scene.world.call(1, Call::Free(Run::Owned(first), 1));
    assert_eq!(progress(free).stopped, Some(Error::InUse));
    // Instead of the one that was, in part in the same pages.
    assert_eq!(scene.send(0, 0, b"lost"), Ok(()));
    let second = first.plus(1).expect("one");
    assert_eq!(scene.set(second, 2, BIT), Ok(()));
    assert_eq!(scene.references(first), 0);
    assert_eq!(scene.references(second), 1);
    assert_eq!(scene.receive(), None);
    scene.clear();
    scene.clear();
    assert_eq!(scene.references(second), 0);
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::NotAccepting));
}

#[test]
fn the_notice_comes_when_the_receiver_may_sleep() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.set(scene.first, 3, BIT), Ok(()));
    for round in 0..100 {
        assert_eq!(scene.send(0, 0, b"first"), Ok(()));
        assert_eq!(scene.notices(), 1 << BIT, "round {round}");
        assert_eq!(scene.send(2, 0, b"second"), Ok(()));
        assert_eq!(scene.notices(), 0, "round {round}");
        // It has taken one and looks for the next.
        assert!(scene.receive().is_some());
        assert_eq!(scene.send(2, 0, b"third"), Ok(()));
        assert_eq!(scene.notices(), 0, "round {round}");
        assert!(scene.receive().is_some());
        assert!(scene.receive().is_some());
        assert_eq!(scene.receive(), None);
    }
    // Of a fresh ring there is nothing before the first entry, whatever the receiver writes into it.
    assert_eq!(scene.set(scene.first, 3, BIT), Ok(()));
    for number in 1..scene.ring().capacity() {
        scene.scribble(number, HEAD, u64::MAX);
    }
    assert_eq!(scene.send(0, 0, b"first"), Ok(()));
    assert_eq!(scene.notices(), 1 << BIT);
    assert_eq!(scene.send(0, 0, b"second"), Err(Error::RingFull));
}

#[test]
fn what_the_receiver_writes_leads_nowhere_else() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.set(scene.first, 2, BIT), Ok(()));
    let pages = 160;
    let outside: Vec<_> = (0..pages)
        .map(page)
        .filter(|page| !scene.ring().set_up().any(|own| own == *page))
        .collect();
    let image = |scene: &Scene<'_>| -> Vec<u64> {
        let all = outside
            .iter()
            .flat_map(|page| (0..512).map(move |n| (*page, n)));
        all.map(|(page, n)| scene.world.hw.word(page, Index::truncate(n)))
            .collect()
    };
    let before = image(&scene);
    for value in [1, u64::MAX, 1 << 63, 0x8000_0000_0000_00ff, 1 << 31] {
        for number in 0..32 {
            for word in 0..32 {
                scene.scribble(number, word, value);
            }
        }
        assert_eq!(scene.send(0, 0, b"no room"), Err(Error::RingFull));
        // Only the next one counts, and that is the kernel's to know.
        let next = scene.ring().written;
        scene.scribble(next, HEAD, 0);
        assert_eq!(scene.send(0, 0, b"room"), Ok(()));
        assert_eq!(scene.send(0, 0, b"no room"), Err(Error::RingFull));
    }
    assert_eq!(image(&scene), before);
    assert_eq!(scene.ring().written, 5);
    assert_eq!(scene.world.check(), Ok(()));
}

/// Has all pages of the receiver's account taken, with `during` done at each step.
fn take_all(scene: &mut Scene<'_>, mut during: impl FnMut(&mut Scene<'_>)) {
    let by = scene.world.on[0].expect("the manager runs");
    let cap = Cap::of(Kind::Environment, scene.receiver).with(EnvironmentRights::REVOKE);
    let verified = cap.verified(by.name.identity());
    let clock = Clock {
        now: 1000,
        second: 1_000_000,
    };
    let wanted = Wanted::Any(Resource::Pages);
    let target = Target::Verified(&verified);
    let domains = &mut scene.world.domains;
    let asked = domains.revoke_request(&by, target, wanted, u32::MAX, 100, 0, 3, clock);
    assert!(asked.is_ok());
    for step in 0.. {
        assert!(step < 200, "it has no end");
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        let more = domains.due(hw, 1100);
        scene.world.told |= scene.world.domains.take_interrupts();
        assert_eq!(scene.world.check(), Ok(()));
        if !more {
            return;
        }
        during(scene);
    }
}

#[test]
fn a_ring_is_taken_with_its_account_and_its_owner_told() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    let first = scene.first;
    assert_eq!(scene.set(first, 16, BIT), Ok(()));
    assert_eq!(scene.send(0, 0, b"x"), Ok(()));
    let _ = scene.notices();
    let mut busy = 0;
    // Whoever sets another one up, or the same again, meanwhile hides nothing that way.
    take_all(&mut scene, |scene| {
        for n in 0..40 {
            let first = page(scene.first.get() - scene.first.get() % 8 + n);
            match scene.set(first, 1, BIT) {
                Err(Error::Busy) => busy += 1,
                other => assert!(other.is_err(), "{other:?}"),
            }
        }
    });
    assert!(busy > 0);
    assert_eq!(scene.ring(), MessageRingRecord::NONE);
    assert_ne!(scene.notices() & 1 << BIT, 0);
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::NotAccepting));
    let owner = scene.world.owner(scene.account.index);
    let left = (0..160).map(page).filter(|page| {
        let record = scene.world.domains.pages.record(*page);
        record.is_some_and(|it| it.owner == owner && it.kind == FrameType::Plain)
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_ring_below_who_is_asked_is_no_hiding_place() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.set(scene.first, 4, BIT), Ok(()));
    // A child's environment sets one up, too, in the child's page.
    let child = scene.world.account(1, [12, 1, 1, 0]);
    let bind = Call::AccountBind(Named::Name(child));
    assert_eq!(scene.world.call(1, bind).error(), None);
    let environment = scene.world.alone(1);
    let pinned = scene.world.alloc(1);
    let by = scene.world.domains.subject(environment.index, 0);
    let by = by.expect("it is there");
    let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
    assert_eq!(domains.msgring_set(hw, &by, pinned, 1, 5), Ok(()));
    assert_eq!(scene.references(pinned), 1);
    let mut busy = 0;
    take_all(&mut scene, |scene| {
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        // Before its account is frozen it may.
        match domains.msgring_set(hw, &by, pinned, 1, 5) {
            Err(Error::Busy) => busy += 1,
            other => assert!(other.is_ok(), "{other:?}"),
        }
    });
    assert!(busy > 0);
    let record = scene.world.domains.pages.record(pinned);
    assert_eq!(record.map(|it| it.kind), Some(FrameType::Free));
    assert_eq!(scene.world.domains.take_notices(environment.index), 1 << 5);
}

#[test]
fn a_ring_ends_with_its_owner() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.set(scene.first, 4, BIT), Ok(()));
    assert_eq!(scene.send(0, 0, b"x"), Ok(()));
    let account = Call::AccountDestroy(Named::Name(scene.account));
    let _ = scene.world.call(0, account);
    scene.world.settle();
    assert_eq!(scene.world.check(), Ok(()));
    assert_eq!(scene.ring(), MessageRingRecord::NONE);
    assert_eq!(scene.references(scene.first), 0);
    assert_eq!(scene.send(0, 0, b"x"), Err(Error::Stale));
}

#[test]
fn messages_to_oneself_come_as_others_do() {
    let mut memory = Memory::new();
    let mut scene = Scene::new(&mut memory);
    assert_eq!(scene.bind(1, 4, EnvironmentRights::CALL), Ok(()));
    assert_eq!(scene.set(scene.first, 1, BIT), Ok(()));
    assert_eq!(scene.send(1, 4, b"me"), Ok(()));
    assert_eq!(scene.notices(), 1 << BIT);
    let sender = scene.receive().map(|letter| letter.sender);
    assert_eq!(sender, Some(scene.receiver));
}
