//! Requests, answers, and what is taken from holders that cooperate, are slow, lie, die or do nothing.

mod hidden;
mod pretend;
#[cfg(not(miri))]
mod random;

use std::collections::BTreeSet;
use std::vec::Vec;

use exopi_abi::capability::{EnvironmentRights, Kind};
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::{FrameType, Owner};
use exopi_abi::revocation::{
    Answer, Loss, NOTICE_BIT, RevocationRecord, RevocationState, Wanted, order, vector,
};
use exopi_abi::{Error, PageNumber};
use exopi_pages::{Hardware, Index};

use super::{Call, Cap, FIRST_AT, Named, Run, Storage, WRITE, World, at, page, progress};
use crate::{Clock, Target};

/// A tick is a microsecond here.
const SECOND: u64 = 1_000_000;
/// The notice that the manager asks for.
const BIT: u64 = 9;

const PAGES: Wanted = Wanted::Any(Resource::Pages);

/// A manager on core 0, a holder on core 1, and a bystander on core 2, with a clock.
struct Scene<'m> {
    world: World<'m>,
    now: u64,
    account: ObjectName,
    holder: ObjectName,
    bystander: ObjectName,
    /// Pages of the holder's, first those of its vector.
    own: Vec<PageNumber>,
}

impl<'m> Scene<'m> {
    /// The holder has 20 pages of its own besides its tables, and is guaranteed so many.
    fn new(storage: &'m mut Storage, guaranteed: u32) -> Self {
        Self::with_accounts(storage, guaranteed, 2)
    }

    /// The same, and the holder may have so many accounts below its own.
    fn with_accounts(storage: &'m mut Storage, guaranteed: u32, accounts: u32) -> Self {
        let mut world = World::new(storage, 3);
        let (account, holder) = world.tenant([40, 4, 2, accounts], 1);
        let (bystander, _) = world.tenant([20, 2, 2, 1], 2);
        world
            .domains
            .update_account(account.index, |record| record.guaranteed = guaranteed);
        let own = (0..20).map(|_| world.alloc(1)).collect();
        for _ in 0..5 {
            world.alloc(2);
        }
        Self {
            world,
            now: 1000,
            account,
            holder,
            bystander,
            own,
        }
    }

    fn clock(&self) -> Clock {
        Clock {
            now: self.now,
            second: SECOND,
        }
    }

    /// Asks the holder, by whoever runs on core 0.
    fn ask(&mut self, wanted: Wanted, count: u32, after: u64, extra: u64) -> Result<u64, Error> {
        let by = self.world.on[0].expect("the manager runs");
        let cap = Cap::of(Kind::Environment, self.holder).with(EnvironmentRights::REVOKE);
        let verified = cap.verified(by.name.identity());
        let clock = self.clock();
        let target = Target::Verified(&verified);
        let domains = &mut self.world.domains;
        let asked = domains.revoke_request(&by, target, wanted, count, after, extra, BIT, clock);
        self.world.told |= self.world.domains.take_interrupts();
        asked
    }

    fn answer(&mut self, serial: u64, answer: Answer) -> Result<(), Error> {
        let by = self.world.on[1].expect("the holder runs");
        let now = self.now;
        let answered = self.world.domains.revoke_answer(&by, serial, answer, now);
        self.world.told |= self.world.domains.take_interrupts();
        answered
    }

    fn set_up(&mut self, first: u32, pages: u64, order: u32) -> Result<(), Error> {
        let by = self.world.on[1].expect("the holder runs");
        let (domains, hw) = (&mut self.world.domains, &mut self.world.hw);
        domains.revoke_setup(hw, &by, page(first), pages, page(order))
    }

    /// The first of so many pages of the holder's that follow each other.
    fn run_of(&self, count: usize) -> PageNumber {
        let follows =
            |run: &&[PageNumber]| run.windows(2).all(|two| two[1].get() == two[0].get() + 1);
        let mut sorted = self.own.clone();
        sorted.sort();
        let run = sorted
            .windows(count)
            .find(follows)
            .expect("they follow each other");
        run[0]
    }

    fn write_order(&mut self, order: PageNumber, n: u32, page: PageNumber) {
        let place = Index::truncate(order::place(n));
        let word = self.world.hw.word(order, place);
        self.world
            .hw
            .write(order, place, order::with_number(n, word, page));
    }

    /// What is due now, to the end; gives how many steps that took.
    fn work(&mut self) -> u32 {
        let mut steps = 0;
        while self.world.domains.is_due(self.now) {
            let (domains, hw) = (&mut self.world.domains, &mut self.world.hw);
            let before = hw.invalidations;
            let _ = domains.due(hw, self.now);
            assert!(hw.invalidations - before <= 64);
            self.world.told |= self.world.domains.take_interrupts();
            assert_eq!(self.world.check(), Ok(()));
            steps += 1;
            assert!(steps < 100, "it has no end");
        }
        steps
    }

    fn record(&self) -> RevocationRecord {
        *self
            .world
            .domains
            .revocation(self.holder.index)
            .expect("it is there")
    }

    fn outcome(&self) -> (RevocationState, u32, u32, u32) {
        let record = self.record();
        (record.state(), record.given, record.taken, record.missed)
    }

    /// The notices that wait for an environment, which hears of them with this.
    fn notices(&mut self, name: ObjectName) -> u32 {
        self.world.domains.take_notices(name.index)
    }

    fn allowance(&self, account: ObjectName) -> (u32, u32) {
        let record = self.world.domains.account(account.index);
        let record = record.expect("it is there");
        (record.allowance[0], record.used[0])
    }

    /// The plain pages of an account.
    fn plain(&self, owner: Owner) -> BTreeSet<PageNumber> {
        let pages = (0..self.world.frames).map(page);
        pages
            .filter(|page| {
                let record = self.world.domains.pages.record(*page).expect("it is there");
                record.kind == FrameType::Plain && record.owner == owner
            })
            .collect()
    }

    fn holders(&self) -> BTreeSet<PageNumber> {
        self.plain(self.world.owner(self.account.index))
    }

    /// What the holder reads in its vector.
    fn losses(&self) -> Vec<Loss> {
        let record = self.record();
        let word = |at: u64| {
            let page = page(record.vector).plus(at / 512).expect("a page");
            self.world.hw.word(page, Index::truncate(at))
        };
        vector::unread(record.vector_pages, word).collect()
    }

    fn free(&mut self, page: PageNumber) -> Option<Error> {
        progress(self.world.call(1, Call::Free(Run::Owned(page), 1))).stopped
    }
}

fn storage() -> Storage {
    Storage::new(160, 6, 6, 8)
}

#[test]
fn one_that_cooperates_gives_what_was_asked_for() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let parent = ObjectName {
        index: 0,
        epoch: scene.world.owner(0).epoch(),
    };
    let (allowed, used) = scene.allowance(scene.account);
    let before = scene.allowance(parent);
    let serial = scene.ask(PAGES, 3, 100, 0).expect("it may");
    assert_eq!(scene.notices(scene.holder), 1 << NOTICE_BIT);
    assert_eq!(scene.record().deadline, scene.now + 100);
    assert_eq!(
        scene.answer(serial, Answer::Done),
        Err(Error::OverAllowance)
    );
    for page in scene.own.clone().into_iter().skip(17) {
        assert_eq!(scene.free(page), None);
    }
    assert_eq!(scene.answer(serial, Answer::Done), Ok(()));
    assert_eq!(scene.outcome(), (RevocationState::Given, 3, 0, 0));
    assert_eq!(scene.allowance(scene.account), (allowed - 3, used - 3));
    assert_eq!(scene.allowance(parent), (before.0, before.1 - 3));
    assert_eq!(scene.notices(scene.holder), 1 << NOTICE_BIT);
    let manager = scene.world.on[0].expect("it runs").name;
    assert_eq!(scene.notices(manager), 1 << BIT);
    assert_eq!(scene.answer(serial, Answer::Done), Err(Error::Stale));
    assert_eq!(scene.world.domains.next_deadline(), None);
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn what_is_given_back_is_not_taken_again() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    scene.ask(PAGES, 3, 100, 0).expect("it may");
    let alloc = Call::Alloc(exopi_abi::PageSelect::Any, 1);
    assert_eq!(
        scene.world.call(1, alloc).error(),
        Some(Error::OverAllowance)
    );
    assert_eq!(scene.free(scene.own[5]), None);
    assert_eq!(scene.world.call(1, alloc).error(), None);
    assert_eq!(
        scene.world.call(1, alloc).error(),
        Some(Error::OverAllowance)
    );
    // Nor is it to be had from others, or put away with a child.
    let accept = scene.world.call(1, Call::Accept(5));
    assert_eq!(accept.error(), None);
    let owner = scene.world.owner(scene.account.index);
    let given = scene.world.alloc(0);
    let reply = scene.world.call(0, Call::Give(given, 1, owner));
    assert_eq!(reply.error(), Some(Error::OverAllowance));
    let reply = scene.world.call(1, Call::AccountCreate([1, 0, 0, 0]));
    assert_eq!(reply.error(), Some(Error::OverAllowance));
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn one_that_is_slow_gets_more_time_once() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let serial = scene.ask(PAGES, 2, 100, 50).expect("it may");
    scene.now += 90;
    assert_eq!(scene.answer(serial, Answer::MoreTime), Ok(()));
    assert_eq!(
        scene.answer(serial, Answer::MoreTime),
        Err(Error::MissingRight)
    );
    scene.now += 59;
    assert_eq!(scene.work(), 0);
    assert_eq!(scene.record().state(), RevocationState::Extended);
    scene.now += 1;
    assert_eq!(scene.answer(serial, Answer::Done), Err(Error::TimedOut));
    assert!(scene.work() > 0);
    assert_eq!(scene.outcome(), (RevocationState::Taken, 0, 2, 2));
    // Without an extension there is none.
    let serial = scene.ask(PAGES, 1, 100, 0).expect("it may");
    assert_eq!(
        scene.answer(serial, Answer::MoreTime),
        Err(Error::MissingRight)
    );
}

#[test]
fn the_order_is_kept_and_each_loss_told_once() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 2);
    let run = scene.run_of(6);
    let order = *scene
        .own
        .iter()
        .find(|p| p.get() < run.get() || p.get() > run.get() + 5)
        .expect("more");
    let first = scene
        .own
        .iter()
        .copied()
        .find(|p| *p != order && (p.get() < run.get() || p.get() > run.get() + 5))
        .expect("more");
    assert_eq!(scene.set_up(first.get(), 1, order.get()), Ok(()));
    assert_eq!(scene.free(order), Some(Error::InUse));
    assert_eq!(scene.world.check(), Ok(()));
    // Three that follow each other, one twice, one that stays, one that is not its own, and two apart.
    let at = |n: u64| run.plus(n).expect("a page");
    scene.write_order(order, 0, at(5));
    for (n, number) in [at(2), at(3), at(3), at(4), at(5), page(1), at(0)]
        .into_iter()
        .enumerate()
    {
        scene.write_order(order, 8 + n as u32, number);
    }
    let serial = scene.ask(PAGES, 4, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.outcome(), (RevocationState::Taken, 0, 4, 0));
    let loss = |first: PageNumber, count| Loss {
        serial,
        resource: Resource::Pages,
        first: first.get().into(),
        count,
    };
    assert_eq!(scene.losses(), [loss(at(2), 3), loss(at(0), 1)]);
    assert!(scene.holders().contains(&at(5)));
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let first = scene.own[3];
    assert_eq!(scene.set_up(first.get(), 1, 0), Ok(()));
    // As if but one entry were left.
    let room = u64::from(vector::capacity(1)) - 1;
    scene.world.hw.write(
        first,
        Index::truncate(vector::READ),
        0u64.wrapping_sub(room),
    );
    let order_page = scene.own[4];
    assert_eq!(scene.set_up(first.get(), 1, order_page.get()), Ok(()));
    scene.world.hw.write(
        first,
        Index::truncate(vector::READ),
        0u64.wrapping_sub(room),
    );
    let run = scene.run_of(6);
    let apart: Vec<PageNumber> = [0, 2, 4]
        .map(|n| run.plus(n).expect("a page"))
        .into_iter()
        .filter(|p| *p != first && *p != order_page)
        .collect();
    for (n, number) in apart.iter().enumerate() {
        scene.write_order(order_page, 8 + n as u32, *number);
    }
    scene
        .ask(PAGES, apart.len() as u32, 100, 0)
        .expect("it may");
    scene.now += 1000;
    scene.work();
    let record = scene.record();
    assert_eq!(record.taken as usize, apart.len());
    assert_eq!(record.missed as usize, apart.len() - 1);
    let word = |scene: &Scene<'_>| scene.world.hw.word(first, Index::truncate(vector::MISSED));
    assert_eq!(word(&scene), record.missed.into());
    // The vector counts all since it was set up, a record those of its request.
    scene.ask(PAGES, 2, 100, 0).expect("it may");
    scene.now += 1000;
    scene.work();
    let again = scene.record().missed;
    assert!(again > 0);
    assert_eq!(word(&scene), u64::from(record.missed + again));
}

#[test]
fn the_guaranteed_minimum_stays_whatever_the_order_says() {
    for guaranteed in [0, 1, 3, 8] {
        let mut storage = storage();
        let mut scene = Scene::new(&mut storage, guaranteed);
        let order = scene.own[0];
        assert_eq!(scene.set_up(scene.own[1].get(), 1, order.get()), Ok(()));
        for (n, page) in scene.own.clone().into_iter().enumerate() {
            scene.write_order(order, 8 + n as u32, page);
        }
        let used = scene.allowance(scene.account).1;
        scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
        assert_eq!(scene.record().asked, used);
        scene.now += 100;
        scene.work();
        assert_eq!(scene.holders().len(), guaranteed as usize);
        assert_eq!(scene.record().state(), RevocationState::Taken);
        assert_eq!(scene.record().taken, 20 - guaranteed);
        assert_eq!(scene.world.check(), Ok(()));
    }
}

#[test]
fn pages_asked_for_by_number_go_and_others_stay() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let run = scene.run_of(4);
    // One of them is pinned: its binding is broken, too.
    assert_eq!(scene.set_up(run.get() + 2, 1, 0), Ok(()));
    let map = Call::Insert(Named::Own, at(FIRST_AT + 0x3000), Run::Owned(run), 1, WRITE);
    assert_eq!(scene.world.call(1, map).error(), None);
    let before = scene.holders();
    scene.ask(Wanted::Pages(run), 4, 100, 0).expect("it may");
    assert_eq!(scene.record().asked, 4);
    scene.now += 100;
    scene.work();
    let gone: BTreeSet<PageNumber> = (0..4).filter_map(|n| run.plus(n)).collect();
    assert_eq!(scene.holders(), &before - &gone);
    assert_eq!(scene.outcome(), (RevocationState::Taken, 0, 4, 4));
    assert_eq!(
        scene.ask(Wanted::Pages(page(159)), 2, 100, 0),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        scene.ask(Wanted::Pages(run), 513, 100, 0),
        Err(Error::BadCount)
    );
}

#[test]
fn one_that_dies_changes_nothing_for_who_asked() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let (allowed, used) = scene.allowance(scene.account);
    scene.ask(PAGES, 5, 100, 0).expect("it may");
    let manager = scene.world.on[0].expect("it runs").name;
    let _ = scene.notices(manager);
    let _ = scene.world.call(1, Call::Destroy(Named::Own));
    scene.world.settle();
    assert!(
        scene
            .world
            .domains
            .environment(scene.holder.index)
            .is_none()
    );
    // Its place is nobody's yet.
    assert_eq!(scene.world.check(), Ok(()));
    assert!(scene.work() > 0);
    assert_eq!(scene.record().state(), RevocationState::Died);
    assert_eq!(scene.record().given + scene.record().taken, 5);
    assert_eq!(scene.notices(manager), 1 << BIT);
    let (allowed_now, used_now) = scene.allowance(scene.account);
    assert_eq!((allowed_now, used_now), (allowed - 5, used - 5));
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn an_account_at_its_end_owes_nothing_more() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    scene.ask(PAGES, 5, 100, 0).expect("it may");
    let free = scene.world.domains.pages.free_pages();
    let reply = scene
        .world
        .call(0, Call::AccountDestroy(Named::Name(scene.account)));
    assert_eq!(progress(reply).stopped, Some(Error::Busy));
    scene.world.settle();
    scene.work();
    assert_eq!(scene.record().state(), RevocationState::Died);
    assert!(scene.world.domains.account(scene.account.index).is_none());
    assert!(scene.world.domains.pages.free_pages() > free);
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn one_request_at_a_time_and_only_with_the_right() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    for (wanted, count, after, extra, error) in [
        (PAGES, 0, 100, 0, Error::BadCount),
        (PAGES, 1, 99, 0, Error::OutOfRange),
        (PAGES, 1, 60 * SECOND + 1, 0, Error::OutOfRange),
        (PAGES, 1, 100, 60 * SECOND + 1, Error::OutOfRange),
    ] {
        assert_eq!(scene.ask(wanted, count, after, extra), Err(error));
    }
    let serial = scene.ask(PAGES, 1, 100, 0).expect("it may");
    assert_eq!(scene.ask(PAGES, 1, 100, 0), Err(Error::Busy));
    assert_eq!(scene.answer(serial + 1, Answer::Done), Err(Error::Stale));
    let by = scene.world.on[0].expect("it runs");
    let cap = Cap::of(Kind::Environment, scene.holder).with(!EnvironmentRights::REVOKE);
    let verified = cap.verified(by.name.identity());
    let clock = scene.clock();
    let domains = &mut scene.world.domains;
    let target = Target::Verified(&verified);
    let refused = domains.revoke_request(&by, target, PAGES, 1, 100, 0, 1, clock);
    assert_eq!(refused, Err(Error::MissingRight));
    // Who asked dies, and nothing is different.
    scene.now += 100;
    scene.work();
    assert_eq!(scene.outcome(), (RevocationState::Taken, 0, 1, 1));
    let next = scene.ask(PAGES, 1, 100, 0).expect("it may");
    assert_eq!(next, serial + 1);
}

#[test]
fn set_up_pages_are_its_own_and_no_more_than_four() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let own = scene.own[0].get();
    assert_eq!(scene.set_up(own, 5, 0), Err(Error::BadCount));
    assert_eq!(scene.set_up(u32::MAX, 1, 0), Err(Error::OutOfRange));
    assert_eq!(scene.set_up(own, 1, 1), Err(Error::NotYours));
    assert_eq!(scene.set_up(own, 1, own), Ok(()));
    assert_eq!(
        scene
            .world
            .domains
            .pages
            .record(page(own))
            .map(|r| r.pins()),
        Some(2)
    );
    assert_eq!(scene.world.check(), Ok(()));
    assert_eq!(scene.set_up(0, 0, 0), Ok(()));
    assert_eq!(
        scene
            .world
            .domains
            .pages
            .record(page(own))
            .map(|r| r.pins()),
        Some(0)
    );
    assert_eq!(scene.free(page(own)), None);
    assert_eq!(scene.world.check(), Ok(()));
}
