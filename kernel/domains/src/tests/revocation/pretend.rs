//! A resource whose table is somewhere else: the seam by which others than pages join.

use std::collections::BTreeMap;

use exopi_abi::page::Owner;
use exopi_pages::Step;
use exopi_pages::model::Machine;

use super::*;
use crate::Domains;
use crate::revocation::Revocable;
use crate::tests::world::PRETENDED;

/// Things that somebody has, by number.
#[derive(Default)]
struct Things(BTreeMap<u32, Owner>);

impl Things {
    fn give(&mut self, domains: &mut Domains<'_>, owner: Owner, number: u32) {
        domains.charge(owner, PRETENDED, 1);
        self.0.insert(number, owner);
    }
}

impl Revocable<Machine> for Things {
    fn resource(&self) -> Resource {
        PRETENDED
    }

    /// Two in a step, the first ones first.
    fn take(&mut self, domains: &mut Domains<'_>, hw: &mut Machine, index: u16) -> Step {
        for _ in 0..2 {
            let Some((owner, missing)) = domains.missing(index) else {
                return Step::Done;
            };
            let next = self.0.iter().find(|(_, of)| **of == owner).map(|(n, _)| *n);
            let Some(number) = next.filter(|_| missing != 0) else {
                return Step::Done;
            };
            self.0.remove(&number);
            domains.took(hw, index, number);
        }
        Step::More
    }
}

fn used(scene: &Scene<'_>, account: u16) -> [u32; 2] {
    let record = scene.world.domains.account(account).expect("it is there");
    let resource = PRETENDED as usize;
    [record.allowance[resource], record.used[resource]]
}

#[test]
fn another_resource_joins_by_saying_how_it_is_taken() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let mut things = Things::default();
    let owner = scene.world.owner(scene.account.index);
    let bystander = scene.world.owner(scene.bystander.index);
    for number in [3, 4, 9] {
        things.give(&mut scene.world.domains, owner, number);
    }
    things.give(&mut scene.world.domains, bystander, 1);
    assert_eq!(scene.set_up(scene.own[0].get(), 1, 0), Ok(()));
    // Four of four, with the environment that there is.
    let [[allowed, before], parents] = [scene.account.index, 0].map(|index| used(&scene, index));
    assert_eq!([allowed, before], [4, 4]);
    let serial = scene
        .ask(Wanted::Any(PRETENDED), 3, 100, 0)
        .expect("it may");
    assert_eq!(
        scene.answer(serial, Answer::Done),
        Err(Error::OverAllowance)
    );
    let pages = scene.allowance(scene.account);
    scene.now += 100;
    let mut steps = 0;
    while scene.world.domains.is_due(scene.now) {
        let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
        let _ = domains.due_with(hw, scene.now, &mut [&mut things]);
        steps += 1;
        assert!(steps <= 2, "two in a step");
    }
    let record = scene.record();
    assert_eq!(
        (record.state(), record.taken, record.missed),
        (RevocationState::Taken, 3, 0)
    );
    assert_eq!(things.0, BTreeMap::from([(1, bystander)]));
    let loss = |first, count| Loss {
        serial,
        resource: PRETENDED,
        first,
        count,
    };
    assert_eq!(scene.losses(), [loss(3, 2), loss(9, 1)]);
    assert_eq!(used(&scene, scene.account.index), [1, 1]);
    assert_eq!(used(&scene, 0), [parents[0], parents[1] - 3]);
    assert_eq!(
        scene.allowance(scene.account),
        pages,
        "pages are another matter"
    );
}

#[test]
fn what_nobody_takes_stays_and_what_nobody_knows_is_not_asked_for() {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, 0);
    let before = used(&scene, scene.account.index);
    scene
        .ask(Wanted::Any(PRETENDED), 1, 100, 0)
        .expect("it may");
    scene.now += 100;
    scene.work();
    assert_eq!(scene.outcome(), (RevocationState::Taken, 0, 0, 0));
    assert_eq!(used(&scene, scene.account.index), before);
    let unknown = Wanted::Any(Resource::Spaces);
    assert_eq!(scene.ask(unknown, 1, 100, 0), Err(Error::Malformed));
}
