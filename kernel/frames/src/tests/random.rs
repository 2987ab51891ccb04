//! Programs that own some, hold capabilities for some, and try everything: no frame goes to anybody whom the
//! model does not say it is due to, and nobody does what the model does not let them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::capability::{FilterRights, Kind, Rights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Operation, Program};
use exopi_cap::Verified;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::model::{Model, Node, Ring};
use super::world::{Room, World, asked, atoms, by, finish, octet};
use crate::{By, Claim, KEY_SHIFT, MAX_DEPTH, Step};

/// Who takes part: environment and account. Account 0 owns the interface.
const WHO: [(u16, u16); 5] = [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3)];

#[derive(Clone, Debug)]
enum Action {
    /// Gives someone a capability with some rights for a filter that the giver owns; maybe for one key.
    Grant(usize, usize, u16, u8),
    Split(usize, usize, Vec<(u16, u8)>),
    Insert(usize, usize, usize, u64, Option<usize>),
    Delete(usize, usize, bool),
    Ref(usize, usize, usize),
    Unref(usize, usize, usize),
    Route(usize, usize, usize),
    Tap(usize, usize, usize),
    NewRing(usize),
    EndRing(usize, usize),
    Die(usize),
    Close(usize),
}

fn key() -> impl Strategy<Value = Vec<(u16, u8)>> {
    proptest::collection::vec((12..17u16, any::<u8>()), 1..3)
}

fn action() -> impl Strategy<Value = Action> {
    let at = || 0..64usize;
    prop_oneof![
        16 => (at(), at(), any::<u16>(), 0..6u8).prop_map(|(a, b, c, d)| Action::Grant(a, b, c, d)),
        8 => (at(), at(), key()).prop_map(|(a, b, c)| Action::Split(a, b, c)),
        30 => (at(), at(), 0..4usize, any::<u64>(), proptest::option::of(at()))
            .prop_map(|(a, b, c, d, e)| Action::Insert(a, b, c, d, e)),
        1 => (at(), at(), any::<bool>()).prop_map(|(a, b, c)| Action::Delete(a, b, c)),
        8 => (at(), at(), at()).prop_map(|(a, b, c)| Action::Ref(a, b, c)),
        1 => (at(), at(), at()).prop_map(|(a, b, c)| Action::Unref(a, b, c)),
        8 => (at(), at(), at()).prop_map(|(a, b, c)| Action::Route(a, b, c)),
        1 => (at(), at(), at()).prop_map(|(a, b, c)| Action::Tap(a, b, c)),
        3 => at().prop_map(Action::NewRing),
        1 => (at(), at()).prop_map(|(a, b)| Action::EndRing(a, b)),
        1 => at().prop_map(Action::Die),
        1 => at().prop_map(Action::Close),
    ]
}

/// A capability that someone holds.
struct Grant {
    verified: Verified,
    filter: u64,
    rights: FilterRights,
    key: Option<usize>,
}

struct Play<'w, 'm> {
    world: &'w mut World<'m>,
    model: Model,
    /// By participant.
    grants: Vec<Vec<Grant>>,
    /// How often each participant has died and come again: its epoch.
    lives: [u16; WHO.len()],
    /// Cursor of each ring's reader.
    cursors: Vec<(ObjectName, usize)>,
    done: usize,
}

impl Play<'_, '_> {
    fn by(&self, who: usize) -> By {
        let (environment, account) = WHO[who];
        let mut by = by(environment, account);
        let epoch = by.name.epoch.bits() + 100 * u64::from(self.lives[who]);
        by.name.epoch = exopi_abi::capability::Epoch::from_low_bits(epoch);
        by
    }

    fn alive(&self) -> Vec<ObjectName> {
        (0..WHO.len()).map(|who| self.by(who).name).collect()
    }

    fn filter(&self, at: usize) -> u64 {
        let names: Vec<u64> = self.model.nodes.keys().copied().collect();
        names[at % names.len()]
    }

    /// A filter, and mostly someone who has something to do with it.
    fn actor(&self, who: usize, at: usize) -> (usize, u64) {
        let filter = self.filter(at);
        let account = self.model.nodes[&filter].account;
        let mut near: Vec<usize> = (0..5)
            .filter(|&who| self.by(who).owner.word() == account)
            .collect();
        let holds = |who: &usize| self.grants[*who].iter().any(|grant| grant.filter == filter);
        near.extend((0..5).filter(holds));
        let who = if who < 48 {
            near[who % near.len()]
        } else {
            who % 5
        };
        (who, filter)
    }

    /// Mostly a ring of someone's own.
    fn ring_for(&self, who: usize, at: usize) -> ObjectName {
        let account = self.by(who).owner.word();
        let own: Vec<u64> = self
            .model
            .rings
            .iter()
            .filter(|(_, ring)| ring.account == account)
            .map(|(name, _)| *name)
            .collect();
        if at < 48 && !own.is_empty() {
            ObjectName::from_word(own[at % own.len()])
        } else {
            self.ring(at)
        }
    }

    fn ring(&self, at: usize) -> ObjectName {
        let names: Vec<u64> = self.model.rings.keys().copied().collect();
        let nothing = ObjectName {
            index: 3,
            epoch: exopi_abi::capability::Epoch::from_low_bits(9),
        };
        names
            .get(at % names.len().max(1))
            .map_or(nothing, |name| ObjectName::from_word(*name))
    }

    /// What someone names a filter by: a capability if there is one with the right, else one without it, else its name.
    /// Gives also whether that is good for `rights`, and for which key.
    fn claim(
        &self,
        who: usize,
        filter: u64,
        rights: FilterRights,
    ) -> (Option<&Verified>, bool, Option<usize>) {
        let owned = self.model.nodes[&filter].account == self.by(who).owner.word();
        if owned {
            return (None, true, None);
        }
        let mut held = self.grants[who]
            .iter()
            .filter(|grant| grant.filter == filter);
        let best = held
            .clone()
            .find(|grant| grant.rights.contains(rights))
            .or(held.next());
        match best {
            Some(grant) => (
                Some(&grant.verified),
                grant.rights.contains(rights),
                grant.key,
            ),
            None => (None, false, None),
        }
    }

    fn owns_ring(&self, who: usize, ring: ObjectName) -> bool {
        let ring = self.model.rings.get(&ring.word());
        ring.is_some_and(|ring| ring.account == self.by(who).owner.word())
    }

    /// Calls with a claim to `filter`, and tells what came of it and whether it was to be.
    fn call<R>(
        &mut self,
        who: usize,
        filter: u64,
        rights: FilterRights,
        call: impl FnOnce(&mut World<'_>, &By, Claim<'_>) -> Result<R, Error>,
    ) -> (Result<R, Error>, bool, Option<usize>) {
        let by = self.by(who);
        let (verified, good, key) = self.claim(who, filter, rights);
        let verified = verified.copied();
        let name = ObjectName::from_word(filter);
        let claim = verified
            .as_ref()
            .map_or(Claim::Owned(name), Claim::Verified);
        (call(self.world, &by, claim), good, key)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Grant(giver, to, bits, key) => {
                let (giver, filter) = self.actor(giver, usize::from(bits >> 8) % 64);
                self.grant(giver, filter, to, bits, key);
            }
            Action::Split(who, at, key) => {
                let (who, filter) = self.actor(who, at);
                self.split(who, filter, &key);
            }
            Action::Insert(who, at, key, seed, ring) => {
                let (who, filter) = self.actor(who, at);
                let ring = ring.map(|at| self.ring_for(who, at));
                self.insert(who, filter, key, seed, ring);
            }
            Action::Delete(who, at, keep) => {
                let (who, filter) = self.actor(who, at);
                self.delete(who, filter, keep);
            }
            Action::Ref(who, at, ring) => {
                let (who, filter) = self.actor(who, at);
                self.refer(who, filter, self.ring_for(who, ring));
            }
            Action::Unref(who, at, ring) => {
                let (who, filter) = self.actor(who, at);
                self.unrefer(who, filter, self.ring_for(who, ring));
            }
            Action::Route(who, at, ring) => {
                let (who, filter) = self.actor(who, at);
                self.route(who, filter, self.ring_for(who, ring));
            }
            Action::Tap(who, at, ring) => {
                let (who, filter) = self.actor(who, at);
                self.tap(who, filter, self.ring_for(who, ring));
            }
            Action::NewRing(who) => {
                let by = self.by(who % 5);
                if self.model.rings.len() < 20 {
                    let ring = self.world.ring(&by, 1);
                    let made = Ring {
                        account: by.owner.word(),
                        maker: by.name,
                        tap: false,
                    };
                    self.model.rings.insert(ring.word(), made);
                    self.cursors.push((ring, 0));
                }
            }
            Action::EndRing(who, at) => {
                let (ring, by) = (self.ring(at), self.by(who % 5));
                let owns = self.owns_ring(who % 5, ring);
                let ended = self
                    .world
                    .frames
                    .pktring_delring(&by, ring, &mut self.world.book);
                assert_eq!(ended.is_ok(), owns);
                if owns {
                    while ended == Ok(Step::More)
                        && self
                            .world
                            .frames
                            .pktring_delring(&by, ring, &mut self.world.book)
                            == Ok(Step::More)
                    {}
                    self.model.end_ring(ring.word());
                    self.model.collect();
                }
            }
            Action::Die(who) => {
                let who = who % 5;
                let by = self.by(who);
                self.lives[who] += 1;
                self.grants[who].clear();
                self.world
                    .frames
                    .environment_ended(by.name.index, &mut self.world.book);
                self.model.end_environment(by.name);
            }
            Action::Close(who) => {
                let owner = self.by(1 + who % 4).owner;
                let mut place = 0;
                let world = &mut *self.world;
                finish(|| world.frames.reclaim(owner, &mut place, &mut world.book));
                assert!(world.book.is_empty(owner));
                self.model.end_account(owner.word());
            }
        }
        self.cursors
            .retain(|(ring, _)| self.model.rings.contains_key(&ring.word()));
        let alive = self.alive();
        self.world.sweep(|name| alive.contains(&name));
    }

    fn grant(&mut self, giver: usize, filter: u64, to: usize, bits: u16, key: u8) {
        let by = self.by(giver);
        let key = usize::from(key).checked_sub(1).filter(|key| *key < 4);
        let rights = FilterRights::from_bits_truncate(bits);
        let rights = if key.is_some() {
            FilterRights::REFINE
        } else {
            rights
        };
        let index = u64::from(filter as u16) | (key.map_or(0, |key| key as u64 + 1)) << KEY_SHIFT;
        let minted = self
            .world
            .verified(&by, Kind::Filter, index, Rights::from(rights));
        let node = &self.model.nodes[&filter];
        let good = node.account == by.owner.word()
            && !node.retired
            && key.is_none_or(|key| key < node.keys.len());
        assert_eq!(minted.is_some(), good);
        if let Some(verified) = minted {
            self.done += 1;
            self.grants[to % 5].push(Grant {
                verified,
                filter,
                rights,
                key,
            });
        }
    }

    fn split(&mut self, who: usize, filter: u64, key: &[(u16, u8)]) {
        let mut fields: Vec<Operation> = vec![];
        for (offset, _) in key {
            fields.push(octet(*offset, 0));
            if Program::new(&atoms(&fields)).is_err() {
                fields.pop();
            }
        }
        let list = asked(&fields);
        let (split, good, _) = self.call(who, filter, FilterRights::SPLIT, |world, by, claim| {
            let key = Program::new(&list).unwrap();
            world
                .frames
                .dpf_split(by, claim, key, &mut world.book, &mut world.arena)
        });
        let node = self.model.nodes.get_mut(&filter).unwrap();
        let fits = node.keys.len() < 4 && !node.retired;
        assert_eq!(split.is_ok(), good && fits, "{split:?}");
        if let Ok(position) = split {
            assert_eq!(position, node.keys.len());
            node.keys.push(fields);
            self.done += 1;
        }
    }

    fn insert(
        &mut self,
        who: usize,
        parent: u64,
        key: usize,
        mut seed: u64,
        ring: Option<ObjectName>,
    ) {
        let node = self.model.nodes[&parent].clone();
        let key = key % node.keys.len().max(1);
        let fields = node.keys.get(key).cloned().unwrap_or(vec![octet(12, 0)]);
        let values = fields.iter().map(|field| {
            seed = seed.rotate_right(2);
            match *field {
                Operation::Equal { offset, .. } => octet(offset, seed & 1),
                other => other,
            }
        });
        let own: Vec<Operation> = values.collect();
        let list = atoms(&own);
        let (made, good, only) =
            self.call(who, parent, FilterRights::REFINE, |world, by, claim| {
                let program = Program::new(&list).unwrap();
                world
                    .frames
                    .dpf_insert(by, claim, key, program, ring, &mut world.book)
            });
        let chain = [node.chain.clone(), own].concat();
        let good = good && only.is_none_or(|only| only == key);
        let good = good && ring.is_none_or(|ring| self.owns_ring(who, ring));
        let overlaps = self
            .model
            .children(parent)
            .any(|(_, child)| child.key == key && child.chain == chain);
        let fits = !node.retired && key < node.keys.len() && self.model.depth(parent) < MAX_DEPTH;
        match made {
            Ok(name) => {
                assert!(good && fits && !overlaps);
                let references: BTreeSet<u64> = ring.iter().map(|ring| ring.word()).collect();
                let made = Node {
                    parent,
                    key,
                    chain,
                    keys: vec![],
                    account: self.by(who).owner.word(),
                    maker: Some(self.by(who).name),
                    route: ring.map(ObjectName::word),
                    references,
                    retired: false,
                };
                self.model.nodes.insert(name.word(), made);
                self.done += 1;
            }
            Err(Error::Overlap) => assert!(good && fits && overlaps),
            Err(Error::Exhausted) => assert!(good && fits),
            Err(error) => assert!(!good || !fits, "{error}"),
        }
    }

    fn delete(&mut self, who: usize, filter: u64, keep: bool) {
        let (step, good, _) = self.call(who, filter, FilterRights::DELETE, |world, by, claim| {
            world.frames.dpf_delete(by, claim, keep, &mut world.book)
        });
        let retired = self.model.nodes[&filter].retired;
        let good = good && filter != self.model.root && !(keep && retired);
        assert_eq!(step.is_ok(), good, "{step:?}");
        if let Ok(mut step) = step {
            self.done += 1;
            while step == Step::More {
                let (next, ..) =
                    self.call(who, filter, FilterRights::DELETE, |world, by, claim| {
                        world.frames.dpf_delete(by, claim, false, &mut world.book)
                    });
                step = next.unwrap();
            }
            if keep {
                self.model.retire(filter)
            } else {
                self.model.delete(filter)
            }
            self.model.collect();
        }
    }

    fn refer(&mut self, who: usize, filter: u64, ring: ObjectName) {
        let (done, good, _) = self.call(who, filter, FilterRights::SHARE, |world, by, claim| {
            world.frames.dpf_ref(by, claim, ring, &mut world.book)
        });
        let owns = self.owns_ring(who, ring);
        let node = self.model.nodes.get_mut(&filter).unwrap();
        let fits =
            !node.retired && node.references.len() < 8 && !node.references.contains(&ring.word());
        assert_eq!(done.is_ok(), good && owns && fits, "{done:?}");
        if done.is_ok() {
            node.references.insert(ring.word());
            self.done += 1;
        }
    }

    fn unrefer(&mut self, who: usize, filter: u64, ring: ObjectName) {
        let by = self.by(who);
        let name = ObjectName::from_word(filter);
        let done = self
            .world
            .frames
            .dpf_unref(&by, name, ring, &mut self.world.book);
        let bound = self.model.nodes[&filter].references.contains(&ring.word());
        assert_eq!(done.is_ok(), bound && self.owns_ring(who, ring), "{done:?}");
        if done.is_ok() {
            self.model.unrefer(filter, ring.word());
            self.model.collect();
            self.done += 1;
        }
    }

    fn route(&mut self, who: usize, filter: u64, ring: ObjectName) {
        let (done, good, _) = self.call(who, filter, FilterRights::RECEIVE, |world, by, claim| {
            world.frames.dpf_pktring(by, claim, ring, &mut world.book)
        });
        let owns = self.owns_ring(who, ring);
        let node = self.model.nodes.get_mut(&filter).unwrap();
        let room = node.route.is_some() || node.references.len() < 8;
        let fits = !node.retired && room && !node.references.contains(&ring.word());
        assert_eq!(done.is_ok(), good && owns && fits, "{done:?}");
        if done.is_ok() {
            if let Some(old) = node.route.replace(ring.word()) {
                node.references.remove(&old);
            }
            node.references.insert(ring.word());
            self.done += 1;
        }
    }

    fn tap(&mut self, who: usize, filter: u64, ring: ObjectName) {
        let (done, good, _) = self.call(who, filter, FilterRights::all(), |world, by, claim| {
            world.frames.nettap(by, claim, ring)
        });
        let owns = self.owns_ring(who, ring);
        let taps = self.model.rings.values().filter(|ring| ring.tap).count();
        let free = self
            .model
            .rings
            .get(&ring.word())
            .is_some_and(|ring| !ring.tap);
        let fits = filter == self.model.root && free && taps < 4;
        assert_eq!(done.is_ok(), good && owns && fits, "{done:?}");
        if done.is_ok() {
            self.model.rings.get_mut(&ring.word()).unwrap().tap = true;
            self.done += 1;
        }
    }

    /// A frame comes: exactly the rings that it is due to have it.
    fn frame(&mut self, frame: &[u8]) {
        self.world.receive(frame);
        let due = self.model.due(frame).clone();
        for (ring, cursor) in &mut self.cursors {
            let tap = usize::from(self.model.rings[&ring.word()].tap);
            let got = self.world.drain(*ring, cursor);
            let expected = tap + usize::from(due.contains(&ring.word()));
            assert_eq!(got.len(), expected, "{ring:?} {frame:02x?}");
            assert!(got.iter().all(|(_, got)| got == frame));
        }
    }
}

fn cases() -> u32 {
    let cases = std::env::var("FRAMES_CASES").ok();
    cases
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(if cfg!(miri) { 2 } else { 600 })
}

/// One play: gives how many things were done.
fn play(actions: Vec<Action>, seed: u64) -> usize {
    let mut room = Room::new(60);
    let mut world = room.world();
    let root = world.attached[0].filter.word();
    let mut play = Play {
        model: Model::new(root, &by(0, 0)),
        world: &mut world,
        grants: (0..5).map(|_| vec![]).collect(),
        lives: [0; WHO.len()],
        cursors: vec![],
        done: 0,
    };
    let mut seed = seed | 1;
    for at in 0..6 {
        play.act(Action::NewRing(at));
    }
    play.act(Action::Split(0, 0, vec![(12, 0)]));
    for action in actions {
        play.act(action);
        play.world.audit();
        for _ in 0..4 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut frame = vec![0; 14 + (seed >> 60) as usize % 8];
            for (at, octet) in frame.iter_mut().enumerate() {
                *octet = (seed >> (20 + at) & 1) as u8;
            }
            play.frame(&frame);
        }
    }
    play.done
}

#[test]
fn frames_go_to_whom_they_are_due_and_to_nobody_else() {
    let cases = cases();
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let actions = proptest::collection::vec(action(), 1..150);
    let done = Cell::new(0);
    let search = runner.run(&(actions, any::<u64>()), |(actions, seed)| {
        done.set(done.get() + play(actions, seed));
        Ok(())
    });
    search.unwrap_or_else(|failure| panic!("{failure}"));
    // Most of what is tried is refused, and a search in which all is would prove nothing.
    assert!(done.get() > 10 * cases as usize, "{} done", done.get());
}
