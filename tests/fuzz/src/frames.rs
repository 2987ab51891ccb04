//! Calls on filters, rings and send capabilities by programs that hold some rights, and frames between the calls.
//!
//! ```text
//!   bytes --> calls of three programs --> the kernel's logic --> what was refused, and whom frames came to
//!                     |                                                      |
//!                     '--> who was given what, from the replies alone  <-----'  must allow it
//! ```
//!
//! No program receives a frame that a filter it may not use has claimed, and none sends one that its send capability does not
//! allow. What a filter claims is worked out from lists of atoms, one by one, and never from the tree.

mod board;

use std::collections::BTreeSet;

use exopi_abi::capability::{FilterRights, Kind, Rights, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    Atom, CHECKED, Completion, EntryFlags, EntryHeader, EntrySize, FilterState, KERNEL, NO_NOTICE,
    Operation, PROGRAM, Piece, Program, RingShape, Width, filter_place,
};
use exopi_abi::{Error, PageNumber};
use exopi_cap::{Key, Verified, seal};
use exopi_filter::oracle;
use exopi_frames::{Arrival, Attached, Claim, Frames, KEY_SHIFT, Memory, Step, Went};

use crate::input::Input;
use board::{Arena, Book, KEY, Ram, WIRE, by, shown};

/// Programs, each with an account of its own. The interface is number 0's.
const PROGRAMS: usize = 3;
/// Most calls: what comes later is found sooner by another input.
const MOST: usize = 150;
/// Rings that are made at most, and octets of an entry as a logarithm.
const RINGS: usize = 8;
const ENTRY: u64 = 8;
/// Octets that keys ask for, and values: few, so that frames satisfy filters.
const FIELDS: [u16; 5] = [12, 13, 14, 15, 20];
/// Octets of a frame.
const FRAME: usize = 60;

/// A filter or send capability, as replies have told.
struct Known {
    name: ObjectName,
    owner: usize,
    parent: usize,
    key: usize,
    /// All that it asks for, its parents' atoms first.
    chain: Vec<Operation>,
    keys: Vec<Vec<Operation>>,
}

/// A capability that a program holds.
struct Grant {
    to: usize,
    of: usize,
    rights: Rights,
    key: Option<usize>,
    shown: Verified,
}

struct Ring {
    name: ObjectName,
    owner: usize,
    page: PageNumber,
    tap: bool,
    next: usize,
}

struct Play<'f, 'm> {
    frames: &'f mut Frames<'m>,
    book: &'f mut Book,
    ram: Ram,
    filters: Vec<Known>,
    sends: Vec<Known>,
    filter_grants: Vec<Grant>,
    send_grants: Vec<Grant>,
    rings: Vec<Ring>,
    /// Who may have frames of which filter.
    allowed: BTreeSet<(usize, usize)>,
    /// A page of each program's, to send from.
    out: Vec<PageNumber>,
}

/// Programs make calls, and frames come.
///
/// # Panics
/// Somebody gets or sends what is not due, or something is left at the end.
pub fn frames(bytes: &[u8]) {
    board::with(|frames, attached, book| {
        let mut play = Play::new(frames, attached, book);
        let mut input = Input::new(bytes);
        for _ in 0..MOST {
            if input.is_empty() {
                break;
            }
            play.step(&mut input);
            play.frame(&mut input);
        }
        play.end();
    });
}

fn octet(offset: u16, value: u8) -> Operation {
    Operation::Equal {
        offset,
        width: Width::Bits8,
        mask: 0xff,
        value: value.into(),
    }
}

fn atoms(operations: &[Operation]) -> Vec<Atom> {
    operations
        .iter()
        .map(|operation| operation.encode())
        .collect()
}

/// Some fields, in their order, with values from the input.
fn fields(input: &mut Input<'_>) -> Vec<Operation> {
    let (which, values) = (input.byte(), input.byte());
    let chosen = FIELDS.iter().enumerate();
    let chosen = chosen.filter(|(at, _)| which >> at & 1 != 0);
    let chosen = chosen.map(|(at, offset)| octet(*offset, values >> at & 1));
    chosen.take(3).collect()
}

fn frame_of(input: &mut Input<'_>) -> Vec<u8> {
    let values = input.byte();
    let mut frame = vec![0; FRAME - usize::from(values >> 7) * 46];
    for (at, offset) in FIELDS.iter().enumerate() {
        if let Some(octet) = frame.get_mut(usize::from(*offset)) {
            *octet = values >> at & 1;
        }
    }
    frame
}

impl<'f, 'm> Play<'f, 'm> {
    fn new(frames: &'f mut Frames<'m>, attached: Attached, book: &'f mut Book) -> Self {
        let first = |name| Known {
            name,
            owner: 0,
            parent: 0,
            key: 0,
            chain: vec![],
            keys: vec![],
        };
        let out = (0..PROGRAMS).map(|who| book.page(by(who).owner)).collect();
        Self {
            frames,
            book,
            ram: Ram::default(),
            filters: vec![first(attached.filter)],
            sends: vec![first(attached.send)],
            filter_grants: vec![],
            send_grants: vec![],
            rings: vec![],
            allowed: BTreeSet::from([(0, 0)]),
            out,
        }
    }

    fn state(&self, filter: usize) -> FilterState {
        let name = self.filters[filter].name;
        let record = self.frames.filters(WIRE)[filter_place(name.index).1];
        if record.epoch == name.epoch.bits() {
            record.state
        } else {
            FilterState::Free
        }
    }

    /// The filter that a frame comes to: down from the first, under each key in order the child that takes it; what comes to
    /// one that was kept for those below it is the next one's above.
    fn comes_to(&self, frame: &[u8]) -> usize {
        let mut at = 0;
        'down: loop {
            for key in 0..self.filters[at].keys.len() {
                let mut found = (1..self.filters.len()).filter(|&child| {
                    let known = &self.filters[child];
                    let there = self.state(child) != FilterState::Free;
                    let below = known.parent == at && known.key == key && there;
                    below && oracle::matches(known.chain.iter().copied(), frame)
                });
                if let Some(child) = found.next() {
                    assert_eq!(found.next(), None, "siblings are disjoint");
                    at = child;
                    continue 'down;
                }
            }
            break;
        }
        while self.state(at) == FilterState::Retired {
            at = self.filters[at].parent;
        }
        at
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let who = input.below(PROGRAMS);
        match input.below(12) {
            0 => self.grant(input, who),
            1 => self.grant_send(input, who),
            2 | 3 => self.split(input, who),
            4 | 5 => self.insert(input, who),
            6 => self.bind(input, who),
            7 => self.delete(input, who),
            8 => self.ring(who),
            9 => self.end_ring(input, who),
            10 => self.refine(input, who),
            _ => self.send(input, who),
        }
    }

    /// What a program names a filter or send capability by, and whether that is good for these rights (and by which key alone).
    fn claim(
        grants: &[Grant],
        known: &[Known],
        input: &mut Input<'_>,
        who: usize,
        rights: Rights,
    ) -> (usize, Option<Verified>, bool, Option<usize>) {
        let (by_grant, at) = (input.below(2) == 1, input.below(256));
        let mut held = grants.iter().filter(|grant| grant.to == who);
        let count = held.clone().count();
        if by_grant && count > 0 {
            let grant = held.nth(at % count).expect("there are as many");
            let good = grant.rights.contains(rights);
            return (grant.of, Some(grant.shown), good, grant.key);
        }
        let of = at % known.len();
        (of, None, known[of].owner == who, None)
    }

    fn grant(&mut self, input: &mut Input<'_>, who: usize) {
        let (of, to) = (input.below(256) % self.filters.len(), input.below(PROGRAMS));
        let key = input.below(5).checked_sub(1);
        let rights = match key {
            Some(_) => FilterRights::REFINE,
            None => FilterRights::from_bits_truncate(input.byte().into()),
        };
        let known = &self.filters[of];
        let place = key.map_or(0, |key| key as u64 + 1) << KEY_SHIFT;
        let index = u64::from(known.name.index) | place;
        let made = self
            .frames
            .cap_mint(&by(who), Kind::Filter, index, rights.into());
        let Ok(body) = made else { return };
        // The place may be another one's by now, which the caller owns.
        let there = |it: &usize| self.state(*it) != FilterState::Free;
        let named = (0..self.filters.len()).filter(there);
        let mut named = named.filter(|it| self.filters[*it].name.index == known.name.index);
        let of = named.next().expect("what is minted for is there");
        assert_eq!(self.filters[of].owner, who, "minted for what is another's");
        if rights.intersects(FilterRights::RECEIVE | FilterRights::SHARE) {
            self.allowed.insert((to, of));
        }
        self.filter_grants.push(Grant {
            to,
            of,
            rights: rights.into(),
            key,
            shown: shown(&seal(&body, &Key::new(KEY))),
        });
    }

    fn grant_send(&mut self, input: &mut Input<'_>, who: usize) {
        let (of, to) = (input.below(256) % self.sends.len(), input.below(PROGRAMS));
        let rights: Rights = SendRights::from_bits_truncate(input.byte().into()).into();
        let index = self.sends[of].name.index;
        let made = self
            .frames
            .cap_mint(&by(who), Kind::Send, index.into(), rights);
        let Ok(body) = made else { return };
        let epoch = self.frames.sends()[usize::from(index)].epoch;
        let named = |known: &Known| known.name.index == index && known.name.epoch.bits() == epoch;
        let of = self.sends.iter().position(named).expect("it was made");
        assert_eq!(self.sends[of].owner, who, "minted for what is another's");
        self.send_grants.push(Grant {
            to,
            of,
            rights,
            key: None,
            shown: shown(&seal(&body, &Key::new(KEY))),
        });
    }

    fn split(&mut self, input: &mut Input<'_>, who: usize) {
        let rights = FilterRights::SPLIT.into();
        let (of, shown, good, _) =
            Self::claim(&self.filter_grants, &self.filters, input, who, rights);
        let key = fields(input);
        let asked: Vec<Operation> = key.iter().map(|field| field.asked()).collect();
        let list = atoms(&asked);
        let Ok(program) = Program::new(&list) else {
            return;
        };
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.filters[of].name), Claim::Verified);
        let made = self
            .frames
            .dpf_split(&by(who), claim, program, self.book, &mut Arena);
        if let Ok(position) = made {
            assert!(good, "split without the right");
            assert_eq!(position, self.filters[of].keys.len());
            self.filters[of].keys.push(key);
        }
    }

    fn insert(&mut self, input: &mut Input<'_>, who: usize) {
        let rights = FilterRights::REFINE.into();
        let (of, shown, good, only) =
            Self::claim(&self.filter_grants, &self.filters, input, who, rights);
        let (key, values) = (input.below(4), input.byte());
        let Some(asked) = self.filters[of].keys.get(key) else {
            return;
        };
        let given = asked.iter().zip(0..).map(|(field, at)| match *field {
            Operation::Equal { offset, .. } => octet(offset, values >> at & 1),
            other => other,
        });
        let given: Vec<Operation> = given.collect();
        let ring = self.some_ring(input);
        let to = ring.map(|ring| self.rings[ring].name);
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.filters[of].name), Claim::Verified);
        let list = atoms(&given);
        let program = Program::new(&list).expect("the key's atoms are in order");
        let made = self
            .frames
            .dpf_insert(&by(who), claim, key, program, to, self.book);
        if let Ok(name) = made {
            assert!(
                good && only.is_none_or(|only| only == key),
                "refined without the right"
            );
            assert!(
                ring.is_none_or(|ring| self.rings[ring].owner == who),
                "another's ring"
            );
            let chain = [&self.filters[of].chain[..], &given].concat();
            self.allowed.insert((who, self.filters.len()));
            self.filters.push(Known {
                name,
                owner: who,
                parent: of,
                key,
                chain,
                keys: vec![],
            });
        }
    }

    fn some_ring(&self, input: &mut Input<'_>) -> Option<usize> {
        let at = input.below(256);
        (!self.rings.is_empty() && !at.is_multiple_of(5)).then(|| at % self.rings.len())
    }

    /// Has a ring get frames, by one of the ways.
    fn bind(&mut self, input: &mut Input<'_>, who: usize) {
        let way = input.below(3);
        let rights: Rights = match way {
            0 => FilterRights::SHARE.into(),
            1 => FilterRights::RECEIVE.into(),
            _ => FilterRights::all().into(),
        };
        let (of, shown, good, _) =
            Self::claim(&self.filter_grants, &self.filters, input, who, rights);
        let Some(ring) = self.some_ring(input) else {
            return;
        };
        let name = self.rings[ring].name;
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.filters[of].name), Claim::Verified);
        let done = match way {
            0 => self.frames.dpf_ref(&by(who), claim, name, self.book),
            1 => self.frames.dpf_pktring(&by(who), claim, name, self.book),
            _ => self.frames.nettap(&by(who), claim, name),
        };
        if done.is_ok() {
            assert!(
                good && self.rings[ring].owner == who,
                "bound without the right"
            );
            if way == 2 {
                assert_eq!(of, 0, "a tap of what is no interface");
                self.rings[ring].tap = true;
            }
        }
    }

    fn delete(&mut self, input: &mut Input<'_>, who: usize) {
        // Mostly what there is stays.
        if input.below(4) > 0 {
            return;
        }
        let keep = input.below(2) == 1;
        let rights = FilterRights::DELETE.into();
        let (of, shown, good, _) =
            Self::claim(&self.filter_grants, &self.filters, input, who, rights);
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.filters[of].name), Claim::Verified);
        let mut step = self.frames.dpf_delete(&by(who), claim, keep, self.book);
        assert!(
            step.is_err() || good && of != 0,
            "deleted without the right"
        );
        while step == Ok(Step::More) {
            step = self.frames.dpf_delete(&by(who), claim, keep, self.book);
        }
    }

    fn ring(&mut self, who: usize) {
        if self.rings.len() >= RINGS {
            return;
        }
        let page = self.book.page(by(who).owner);
        let made = self
            .frames
            .pktring_setring(&by(who), ENTRY, &[page], NO_NOTICE, self.book);
        if let Ok(name) = made {
            self.rings.push(Ring {
                name,
                owner: who,
                page,
                tap: false,
                next: 0,
            });
        }
    }

    fn end_ring(&mut self, input: &mut Input<'_>, who: usize) {
        if let Some(ring) = self.some_ring(input).filter(|_| input.below(4) == 0) {
            let name = self.rings[ring].name;
            let mut step = self.frames.pktring_delring(&by(who), name, self.book);
            assert_eq!(step.is_ok(), self.rings[ring].owner == who);
            while step == Ok(Step::More) {
                step = self.frames.pktring_delring(&by(who), name, self.book);
            }
            if step.is_ok() {
                self.rings.swap_remove(ring);
            }
        }
    }

    fn refine(&mut self, input: &mut Input<'_>, who: usize) {
        let rights = SendRights::REFINE.into();
        let (of, shown, good, _) = Self::claim(&self.send_grants, &self.sends, input, who, rights);
        let given = fields(input);
        let list = atoms(&given);
        let Ok(program) = Program::new(&list) else {
            return;
        };
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.sends[of].name), Claim::Verified);
        let made = self.frames.send_refine(&by(who), claim, program, self.book);
        if let Ok(name) = made {
            assert!(good, "narrowed without the right");
            let chain = [&self.sends[of].chain[..], &given].concat();
            self.sends.push(Known {
                name,
                owner: who,
                parent: of,
                key: 0,
                chain,
                keys: vec![],
            });
        }
    }

    /// A frame is sent, from two pieces, and changed in its page before it goes.
    fn send(&mut self, input: &mut Input<'_>, who: usize) {
        let rights = SendRights::SEND.into();
        let (of, shown, good, _) = Self::claim(&self.send_grants, &self.sends, input, who, rights);
        let (frame, cut) = (frame_of(input), 1 + input.below(12) as u16);
        let page = self.out[who];
        self.ram.write(page, 0, &frame);
        let piece = |offset, length, last| {
            let piece = Piece {
                page,
                offset,
                length,
                last,
            };
            piece.into_word()
        };
        let words = [
            piece(0, cut, false),
            piece(cut, frame.len() as u16 - cut, true),
        ];
        let claim = shown
            .as_ref()
            .map_or(Claim::Owned(self.sends[of].name), Claim::Verified);
        let completion = Completion::Nowhere;
        let sent = self
            .frames
            .net_xmit(&by(who), claim, &words, completion, &self.ram, self.book);
        let chain = self.sends[of].chain.iter().copied();
        let allowed = oracle::matches(chain, frame.get(..CHECKED).unwrap_or(&frame));
        match sent {
            Ok(pieces) => {
                assert!(good && allowed, "{who} has sent {frame:02x?}");
                assert_eq!(pieces, 2);
                self.ram.write(page, 0, &[0xa5; FRAME]);
                let out = self.frames.next(WIRE).expect("it waits");
                assert!(
                    out.head == frame && out.pieces.is_empty(),
                    "it goes as it was checked"
                );
                let token = out.token;
                self.frames
                    .went(token, Went::Copied, 0, &mut self.ram, self.book);
            }
            Err(Error::MissingRight) => assert!(!good || !allowed),
            Err(_) => {}
        }
    }

    /// A frame comes: whoever has it had the right to, and it is nobody else's.
    fn frame(&mut self, input: &mut Input<'_>) {
        let frame = frame_of(input);
        let frame = &frame[..];
        let due = self.comes_to(frame);
        let arrival = Arrival {
            interface: WIRE,
            frame,
            time: 1,
        };
        self.frames.receive(arrival, &mut self.ram);
        let (due_name, allowed) = (self.filters[due].name.word(), &self.allowed);
        for ring in &mut self.rings {
            while let Some((header, got)) = take(ring, &mut self.ram) {
                if header.flags.contains(EntryFlags::SENT) {
                    assert!(ring.tap, "{} sees what is sent", ring.owner);
                    continue;
                }
                assert_eq!(got, frame);
                if header.flags.contains(EntryFlags::TAP) {
                    assert!(ring.tap, "{} taps", ring.owner);
                } else {
                    assert_eq!(header.filter, due_name, "{} got {frame:02x?}", ring.owner);
                    let may = allowed.contains(&(ring.owner, due));
                    assert!(may, "{} got {frame:02x?} of {due}", ring.owner);
                }
            }
        }
    }

    /// All but number 0 end; nothing of theirs is left.
    fn end(&mut self) {
        for who in 1..PROGRAMS {
            self.frames.environment_ended(by(who).name.index, self.book);
        }
        let lives = |_: &Book, name: ObjectName| name == by(0).name;
        while self.frames.sweep(lives, |_, _| true, self.book) {}
        for who in 1..PROGRAMS {
            let mut place = 0;
            let owner = by(who).owner;
            while self.frames.reclaim(owner, &mut place, self.book) == Step::More {}
            assert!(self.book.is_empty(owner), "something of {who} is left");
        }
    }
}

/// The next frame in a ring, if there is one.
fn take(ring: &mut Ring, ram: &mut Ram) -> Option<(EntryHeader, Vec<u8>)> {
    let entry = EntrySize::new(ENTRY).expect("it is a size");
    let shape = RingShape::new(entry, 1).expect("one page is enough");
    let (_, offset) = shape.place(ring.next);
    if ram.load(ring.page, offset) != PROGRAM {
        return None;
    }
    let mut header = [0; EntryHeader::OCTETS];
    ram.read(ring.page, offset, &mut header);
    let header = EntryHeader::from_octets(&header);
    let mut frame = vec![0; header.stored.into()];
    ram.read(ring.page, offset + EntryHeader::OCTETS, &mut frame);
    ram.store(ring.page, offset, KERNEL);
    ring.next += 1;
    Some((header, frame))
}
