//! Examples: what is kept elsewhere, and ends that wait for it.

use exopi_abi::Error;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;

use super::{Call, Named, Storage, World, done};
use crate::{Subject, Target};

const KIND: Resource = Resource::Filters;

fn allow(world: &mut World<'_>, by: &Subject, to: ObjectName, amount: u32) -> Result<u64, Error> {
    world
        .domains
        .account_allow(by, Target::Owned(to), KIND, amount)
}

#[test]
fn allowances_are_moved_to_children_and_come_back() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let by = world.on[0].unwrap();
    world.domains.endow_with(KIND, 10);
    let child = world.account(0, [10, 2, 1, 1]);
    let owner = world.owner(child.index);
    let hold = |world: &World<'_>, owner, count| world.domains.may_hold(owner, KIND, count);
    assert_eq!(hold(&world, owner, 1), Err(Error::OverAllowance));
    assert_eq!(allow(&mut world, &by, child, 11), Err(Error::OverAllowance));
    assert_eq!(allow(&mut world, &by, child, 7), Ok(7));
    assert_eq!(hold(&world, owner, 7), Ok(()));
    assert_eq!(hold(&world, owner, 8), Err(Error::OverAllowance));
    assert_eq!(hold(&world, by.owner, 4), Err(Error::OverAllowance));
    let stranger = ObjectName {
        index: child.index,
        epoch: by.owner.epoch(),
    };
    assert_eq!(allow(&mut world, &by, stranger, 1), Err(Error::NotYours));
    let own = world.domains.account_allow(&by, Target::Own, KIND, 1);
    assert_eq!(own, Err(Error::MissingRight));
    world.domains.hold(owner, KIND, 3);

    // Its end waits until what is kept elsewhere has gone.
    assert!(!world.domains.has_closed());
    let destroy = Call::AccountDestroy(Named::Name(child));
    for _ in 0..5 {
        assert_eq!(done(world.call(0, destroy)), Ok(false));
    }
    assert!(world.domains.has_closed() && world.domains.take_closing());
    assert!(!world.domains.has_closed() && !world.domains.pays(owner));
    assert_eq!(hold(&world, owner, 1), Err(Error::Stale));
    assert_eq!(allow(&mut world, &by, child, 1), Err(Error::Stale));
    world.domains.let_go(owner, KIND, 3);
    assert_eq!(done(world.call(0, destroy)), Ok(true));
    assert_eq!(hold(&world, by.owner, 10), Ok(()));
    // What is let go of an account that is gone is nobody's.
    world.domains.let_go(Owner::NOBODY, KIND, 3);
    world.domains.let_go(owner, KIND, 3);
    assert_eq!(hold(&world, by.owner, 11), Err(Error::OverAllowance));
}

#[test]
fn ends_of_environments_are_told_once() {
    let mut storage = Storage::new(64, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let environment = world.alone(0);
    let index = environment.index;
    assert_eq!(world.domains.take_ended(), None);
    let _ = world.call(0, Call::Destroy(Named::Name(environment)));
    assert!(world.domains.has_closed());
    assert_eq!(world.domains.take_ended(), Some(index));
    assert_eq!(world.domains.take_ended(), None);
}
