//! What a holder has put out of the way: with accounts below its own, and into tables.

use exopi_abi::page::{FrameType, Owner};
use exopi_abi::{PageNumber, PageSelect, TableLevel};

use super::*;

/// Where the holder has nothing yet, a table of each level apart.
const ELSEWHERE: u64 = 0x40_0000_0000 - 0x4000_0000;

impl Scene<'_> {
    fn draw_on(&mut self, account: Named) {
        let bound = self.world.call(1, Call::AccountBind(account));
        assert_eq!(bound.error(), None);
    }

    /// An account below the one that the holder draws on, with so many pages, of which it uses `used`. The holder draws
    /// on it afterwards.
    fn child(&mut self, pages: u32, used: usize) -> ObjectName {
        let child = self.world.account(1, [pages, 0, 0, u32::from(pages > 8)]);
        self.draw_on(Named::Name(child));
        for _ in 0..used {
            self.world.alloc(1);
        }
        child
    }

    /// Frames of an account that are tables, with their links.
    fn tables(&self, owner: Owner) -> usize {
        let kinds = [FrameType::Table2, FrameType::Table3, FrameType::Links];
        let frames =
            (0..self.world.frames).filter_map(|n| self.world.domains.pages.record(page(n)));
        frames
            .filter(|frame| frame.owner == owner && kinds.contains(&frame.kind))
            .count()
    }

    fn asked_account(&self) -> Owner {
        self.world.owner(self.account.index)
    }

    /// A capability for a page.
    fn cap_of(&self, page: PageNumber) -> Cap {
        let record = self.world.domains.pages.record(page);
        let name = ObjectName {
            index: page.get() as u16,
            epoch: record.expect("it is there").stamp.epoch(),
        };
        Cap::of(Kind::Page, name)
    }

    fn insert_tables(&mut self, core: u8, address: u64, pages: [PageNumber; 4]) {
        let [table2, links2, table3, links3] = pages;
        for (level, table, links) in [
            (TableLevel::Two, table2, links2),
            (TableLevel::Three, table3, links3),
        ] {
            let insert = Call::TableInsert(Named::Own, at(address), level, table, links);
            assert_eq!(self.world.call(core, insert).error(), None);
        }
    }

    /// The same filled with `count` mappings of a page that the manager lends.
    fn fill_table(&mut self, core: u8, pages: [PageNumber; 4], count: u64) {
        self.insert_tables(core, ELSEWHERE, pages);
        let lent = self.world.alloc(0);
        assert_eq!(self.world.call(0, Call::Limit(lent, 1, 512)).error(), None);
        let cap = self.cap_of(lent);
        for n in 0..count {
            let place = at(ELSEWHERE + n * 4096);
            let map = Call::Insert(Named::Own, place, Run::Cap(lent, cap), 1, WRITE);
            assert_eq!(self.world.call(core, map).error(), None);
        }
    }
}

#[test]
fn what_children_have_not_used_goes_before_their_pages() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = scene.child(9, 4);
    let grandchild = scene.child(3, 1);
    scene.draw_on(Named::Own);
    // Its own 20, and 3 of the 2 that the child and the 2 that the grandchild has not used.
    scene.ask(PAGES, 23, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    let record = scene.record();
    assert_eq!(record.state(), RevocationState::Taken);
    assert_eq!((record.taken, record.given), (20, 3));
    assert_eq!(scene.holders().len(), 0);
    for (account, used) in [(child, 4), (grandchild, 1)] {
        let owner = scene.world.owner(account.index);
        assert_eq!(scene.plain(owner).len(), used);
    }
    assert_eq!(scene.allowance(child), (6, 6));
    assert_eq!(scene.allowance(grandchild), (2, 1));
    let (allowed, used) = scene.allowance(scene.account);
    assert_eq!((allowed, used), (40 - 23, 6 + 6));
}

#[test]
fn what_was_put_away_with_a_child_is_taken_and_told() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let (own, parents) = (scene.allowance(scene.account), scene.world.owner(0));
    let parents = ObjectName {
        index: 0,
        epoch: parents.epoch(),
    };
    let before = scene.allowance(parents);
    let child = scene.child(11, 2);
    let grandchild = scene.child(8, 7);
    assert_eq!(
        scene
            .world
            .domains
            .account(grandchild.index)
            .map(|it| it.parent),
        Some(child.index)
    );
    // Promises to them bind nobody above who made them.
    for account in [child, grandchild] {
        scene
            .world
            .domains
            .update_account(account.index, |record| record.guaranteed = 8);
    }
    let others = scene.plain(scene.world.owner(scene.bystander.index));
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    let record = scene.record();
    assert_eq!(
        (record.state(), record.taken),
        (RevocationState::Taken, 20 + 2 + 7)
    );
    for account in [child, grandchild] {
        assert_eq!(scene.allowance(account), (0, 0));
    }
    // The u-area, the root and the tables that lead to the u-area.
    let (allowed, used) = scene.allowance(scene.account);
    assert_eq!((allowed, used), (own.0 - (20 + 11), 6));
    assert_eq!(scene.allowance(parents), (before.0, before.1 - (20 + 11)));
    assert_eq!(
        scene.plain(scene.world.owner(scene.bystander.index)),
        others
    );
}

/// A child of the holder's with pages, the first of which takes more than a step to break, at the moment at which it is
/// half broken. The holder draws on it.
fn half_taken(scene: &mut Scene<'_>) -> ObjectName {
    let child = scene.child(8, 3);
    let pages = scene.plain(scene.world.owner(child.index));
    let first = *pages.first().expect("three");
    assert_eq!(
        scene.world.call(1, Call::Limit(first, 1, 500)).error(),
        None
    );
    let cap = scene.cap_of(first);
    for n in 0..100 {
        let place = at(FIRST_AT + 0x2000 + n * 4096);
        let map = Call::Insert(Named::Own, place, Run::Cap(first, cap), 1, WRITE);
        assert_eq!(scene.world.call(1, map).error(), None);
    }
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    let leaving = |scene: &Scene<'_>| {
        let record = scene.world.domains.pages.record(first);
        record.is_some_and(|record| record.is_leaving())
    };
    while !leaving(scene) {
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        assert!(domains.due(hw, scene.now), "it has to come to that");
    }
    child
}

#[test]
fn nobody_below_gets_anything_while_it_is_taken() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = half_taken(&mut scene);
    let pages = scene.plain(scene.world.owner(child.index));
    let last = *pages.last().expect("more than one");
    assert_eq!(scene.free(last), None);
    let alloc = Call::Alloc(PageSelect::Any, 1);
    assert_eq!(
        scene.world.call(1, alloc).error(),
        Some(Error::OverAllowance)
    );
    assert_eq!(scene.world.check(), Ok(()));
    scene.work();
    let record = scene.world.domains.account(child.index);
    assert_eq!(record.map(|record| record.frozen), Some(0));
    assert_eq!(scene.allowance(child), (1, 0));
}

#[test]
fn another_request_takes_nothing_of_a_family() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = half_taken(&mut scene);
    let left = scene.plain(scene.world.owner(child.index)).len();
    let bystander = scene.world.on[2].expect("it runs").name;
    let holder = core::mem::replace(&mut scene.holder, bystander);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    let serial = scene.record().serial;
    scene.now += 100;
    scene.work();
    let owned = 5;
    assert_eq!(
        (scene.record().serial, scene.record().taken),
        (serial, owned)
    );
    scene.holder = holder;
    assert_eq!(scene.record().taken as usize, 20 + left);
}

#[test]
fn one_that_dies_while_it_is_taken_from_leaves_nobody_frozen() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = scene.child(9, 2);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    let family = |scene: &Scene<'_>| scene.world.domains.revocations.family;
    while family(&scene) == crate::cores::NOBODY {
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        let _ = domains.due(hw, scene.now);
    }
    let _ = scene.world.call(1, Call::Destroy(Named::Own));
    assert_eq!(scene.world.check(), Ok(()));
    scene.work();
    assert_eq!(scene.record().state(), RevocationState::Died);
    assert_eq!(scene.allowance(child), (0, 0));
    assert_eq!(scene.allowance(scene.account).1, 0);
    assert_eq!(family(&scene), crate::cores::NOBODY);
}

#[test]
fn what_children_set_up_is_no_hiding_place() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = scene.world.account(1, [12, 1, 1, 0]);
    scene.draw_on(Named::Name(child));
    let environment = scene.world.alone(1);
    let pinned = scene.world.alloc(1);
    let run = scene.world.call(1, Call::Run(Named::Name(environment)));
    assert_eq!(run.error(), None);
    let by = scene
        .world
        .domains
        .subject(environment.index, 0)
        .expect("it is there");
    let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
    assert_eq!(domains.revoke_setup(hw, &by, pinned, 1, page(0)), Ok(()));
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.plain(scene.world.owner(child.index)).len(), 0);
}

#[test]
fn what_is_set_up_again_by_another_is_no_hiding_place() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let other = scene.world.alone(1);
    let by = scene.world.domains.subject(other.index, 0);
    let by = by.expect("it is there");
    // More than one step takes, so that it can see the first one's end.
    while scene
        .world
        .call(1, Call::Alloc(PageSelect::Any, 1))
        .error()
        .is_none()
    {}
    let hidden = *scene.holders().last().expect("it has pages");
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
    assert_eq!(domains.revoke_setup(hw, &by, hidden, 1, page(0)), Ok(()));
    let mut refused = 0;
    while domains.due(hw, scene.now) {
        match domains.revoke_setup(hw, &by, hidden, 1, page(0)) {
            Err(Error::Busy) => refused += 1,
            other => assert_eq!(other, Err(Error::NotYours)),
        }
    }
    assert!(refused > 0);
    assert_eq!(scene.holders().len(), 0);
}

#[test]
fn tables_that_lead_to_nothing_that_stays_are_taken() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let lent = scene.world.alloc(2);
    let own: [PageNumber; 4] = scene.own[..4].try_into().expect("four");
    scene.insert_tables(1, ELSEWHERE, own);
    // A page of somebody else's, many times: it takes several steps to get rid of.
    let cap = scene.cap_of(lent);
    for n in 0..60 {
        let map = Call::Insert(
            Named::Own,
            at(ELSEWHERE + n * 4096),
            Run::Cap(lent, cap),
            1,
            WRITE,
        );
        assert_eq!(scene.world.call(1, map).error(), None);
    }
    assert_eq!(scene.tables(scene.asked_account()), 8);
    // So many that the first table and its links suffice, and the last one goes half.
    scene.ask(PAGES, 16 + 1, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(
        (scene.record().taken, scene.tables(scene.asked_account())),
        (17, 6)
    );
    assert_eq!(scene.holders().len(), 1);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.record().taken, 3);
    assert_eq!(
        (scene.holders().len(), scene.tables(scene.asked_account())),
        (0, 4)
    );
    // Whoever lent it has it still.
    let record = scene.world.domains.pages.record(lent).expect("it is there");
    assert_eq!((record.kind, record.references), (FrameType::Plain, 0));
}

#[test]
fn tables_of_what_is_guaranteed_stay() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 1);
    let own: [PageNumber; 4] = scene.own[..4].try_into().expect("four");
    scene.insert_tables(1, ELSEWHERE, own);
    let (kept, order) = (scene.own[7], scene.own[8]);
    let map = Call::Insert(Named::Own, at(ELSEWHERE), Run::Owned(kept), 1, WRITE);
    assert_eq!(scene.world.call(1, map).error(), None);
    assert_eq!(scene.set_up(scene.own[9].get(), 1, order.get()), Ok(()));
    scene.write_order(order, 0, kept);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.holders(), BTreeSet::from([kept]));
    assert_eq!(scene.tables(scene.asked_account()), 8);
    let record = scene.world.domains.pages.record(kept).expect("it is there");
    assert_eq!(record.references, 1);
}

#[test]
fn two_families_take_turns() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = scene.child(9, 3);
    scene.draw_on(Named::Own);
    // The bystander is asked, too, and has a child of its own.
    let bystanders = scene.world.account(2, [6, 0, 0, 0]);
    let bound = scene
        .world
        .call(2, Call::AccountBind(Named::Name(bystanders)));
    assert_eq!(bound.error(), None);
    scene.world.alloc(2);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    let second = scene.world.on[2].expect("it runs").name;
    let holder = core::mem::replace(&mut scene.holder, second);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.record().state(), RevocationState::Taken);
    scene.holder = holder;
    assert_eq!(scene.record().state(), RevocationState::Taken);
    for account in [child, bystanders] {
        assert_eq!(scene.allowance(account), (0, 0));
    }
}

/// Each takes nearly as many parts as any table may.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn tables_of_two_that_are_asked_at_once_are_taken() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let own: [PageNumber; 4] = scene.own[..4].try_into().expect("four");
    scene.fill_table(1, own, 500);
    let bystander = scene.world.owner(scene.bystander.index);
    let theirs: Vec<PageNumber> = scene.plain(bystander).into_iter().take(4).collect();
    let theirs: [PageNumber; 4] = theirs.try_into().expect("four");
    scene.fill_table(2, theirs, 500);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    let second = scene.world.on[2].expect("it runs").name;
    scene.holder = second;
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    // Root and u-area are among neither.
    assert_eq!(
        (scene.tables(scene.asked_account()), scene.tables(bystander)),
        (4, 4)
    );
}

/// What is taken at the far end of a line of accounts leaves one after the other of them, in several steps, and at each
/// moment all books are right.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn what_was_put_away_far_below_sinks_in_steps() {
    const LINE: u32 = 300;
    let mut storage = Storage::new(160, LINE as usize + 10, 6, 8);
    let mut scene = Scene::with_accounts(&mut storage, 0, LINE);
    let mut line = Vec::new();
    for left in (0..LINE).rev() {
        // One that is not used, in the middle.
        let pages = 2 + u32::from(left > LINE / 2);
        line.push(scene.world.account(1, [pages, 0, 0, left]));
        scene.draw_on(Named::Name(*line.last().expect("one")));
    }
    let hidden = [scene.world.alloc(1), scene.world.alloc(1)];
    scene.draw_on(Named::Own);
    let before = scene.allowance(scene.account);
    // All but one of what is hidden.
    scene.ask(PAGES, 20 + 1 + 1, 100, 0).expect("it may");
    scene.now += 100;
    let mut most = 0;
    let mut told = scene.record().taken;
    while scene.world.domains.is_due(scene.now) {
        let counts = |scene: &Scene<'_>| -> Vec<u32> {
            line.iter().map(|it| scene.allowance(*it).0).collect()
        };
        let was = counts(&scene);
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        let _ = domains.due(hw, scene.now);
        assert_eq!(scene.world.check(), Ok(()));
        let is = counts(&scene);
        most = most.max(was.iter().zip(&is).filter(|(was, is)| was != is).count());
        assert!(scene.record().taken - told <= 20, "they are taken once");
        told = scene.record().taken;
    }
    assert!(
        (65..=LINE as usize * 2 / 3).contains(&most),
        "{most} in a step"
    );
    let record = scene.record();
    assert_eq!((record.taken, record.given), (20 + 1, 1));
    for account in &line {
        assert_eq!(scene.allowance(*account).0, 1);
    }
    let kind = |page| scene.world.domains.pages.record(page).map(|it| it.kind);
    let kinds = hidden.map(kind);
    assert!(kinds.contains(&Some(FrameType::Free)) && kinds.contains(&Some(FrameType::Plain)));
    let after = scene.allowance(scene.account);
    assert_eq!(after, (before.0 - 22, before.1 - 22));
}

/// A table and its links are two pages: where one is missing, one goes, though it has not sunk yet.
#[test]
fn of_a_table_below_no_more_goes_than_is_missing() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let child = scene.world.account(1, [5, 0, 1, 0]);
    scene.draw_on(Named::Name(child));
    scene.world.space(1);
    scene.draw_on(Named::Own);
    assert_eq!(scene.allowance(child), (5, 5));
    scene.ask(PAGES, 20 + 1, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!((scene.record().taken, scene.allowance(child)), (21, (4, 4)));
}

/// Who asked the account further up gets as much from elsewhere.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn accounts_that_end_while_something_sinks_through_them_lose_nothing() {
    const LINE: u32 = 300;
    let mut storage = Storage::new(160, LINE as usize + 10, 6, 8);
    let mut scene = Scene::with_accounts(&mut storage, 0, LINE);
    let mut line = Vec::new();
    for left in (0..LINE).rev() {
        line.push(scene.world.account(1, [2, 0, 0, left]));
        scene.draw_on(Named::Name(*line.last().expect("one")));
    }
    for _ in 0..2 {
        scene.world.alloc(1);
    }
    scene.draw_on(Named::Own);
    let before = scene.allowance(scene.account);
    scene.ask(PAGES, 20 + 1, 100, 0).expect("it may");
    scene.now += 100;
    while scene.world.domains.revocations.sinking.is_none() {
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        assert!(domains.due(hw, scene.now), "it has to come to that");
    }
    let _ = scene
        .world
        .call(1, Call::AccountDestroy(Named::Name(line[0])));
    while scene.world.domains.is_ending() {
        let _ = scene.world.sweep();
        assert_eq!(scene.world.check(), Ok(()));
    }
    scene.work();
    // The line is gone, with what it was allowed and the account that it was for each.
    let (allowed, used) = scene.allowance(scene.account);
    assert!(allowed >= before.0 - 21 && used <= before.1 - 21);
    assert!(!scene.record().state().is_open());
    assert_eq!(scene.world.check(), Ok(()));
}

#[test]
fn a_table_with_a_uarea_stays_whole() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let lent = scene.world.alloc(2);
    let cap = scene.cap_of(lent);
    let space = scene.world.space(1);
    let other = Named::Name(space);
    scene.world.environment(1, other, 5);
    let map = Call::Insert(other, at(FIRST_AT + 4096), Run::Cap(lent, cap), 1, WRITE);
    assert_eq!(scene.world.call(1, map).error(), None);
    scene.ask(PAGES, u32::MAX, 100, 0).expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.tables(scene.asked_account()), 8);
    let record = scene.world.domains.pages.record(lent).expect("it is there");
    assert_eq!(record.references, 1);
}
