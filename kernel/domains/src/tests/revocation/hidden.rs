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

    fn insert_tables(&mut self, address: u64, pages: [PageNumber; 4]) {
        let [table2, links2, table3, links3] = pages;
        for (level, table, links) in [
            (TableLevel::Two, table2, links2),
            (TableLevel::Three, table3, links3),
        ] {
            let insert = Call::TableInsert(Named::Own, at(address), level, table, links);
            assert_eq!(self.world.call(1, insert).error(), None);
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
    let run = scene.world.call(1, Call::Run(Named::Name(environment), 0));
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
fn tables_that_lead_to_nothing_that_stays_are_taken() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let lent = scene.world.alloc(2);
    let own: [PageNumber; 4] = scene.own[..4].try_into().expect("four");
    scene.insert_tables(ELSEWHERE, own);
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
    scene.insert_tables(ELSEWHERE, own);
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
