//! Random steps on two cores against the naive model.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::world::{Step, World};
use super::{LENGTHS, SLICE};

/// Positions: few, so that slices meet; both ends; or all.
fn place(all: bool) -> BoxedStrategy<(u8, u8)> {
    let positions = if all {
        (0..128_u8).boxed()
    } else {
        select(&[0_u8, 1, 2, 3, 63, 64, 126, 127][..]).boxed()
    };
    (0..2_u8, positions).boxed()
}

fn step(all: bool) -> impl Strategy<Value = Step> {
    let who = || 1..6_u16;
    let core = || 0..2_u8;
    prop_oneof![
        4 => (place(all), who()).prop_map(|(at, who)| Step::Alloc(at, who)),
        1 => (core(), who()).prop_map(|(core, who)| Step::AllocAny(core, who)),
        1 => (place(all), who()).prop_map(|(at, who)| Step::Bind(at, who)),
        3 => (place(all), place(all)).prop_map(|(from, to)| Step::Move(from, to)),
        1 => place(all).prop_map(Step::Free),
        4 => (who(), any::<bool>()).prop_map(|(who, ready)| Step::Ready(who, ready)),
        6 => core().prop_map(Step::Pass),
        6 => core().prop_map(Step::Began),
        1 => core().prop_map(Step::Declined),
        5 => core().prop_map(Step::Ended),
        4 => (core(), who()).prop_map(|(core, who)| Step::Deadline(core, who)),
        6 => (0..SLICE as i64).prop_map(Step::Time),
        2 => (0..20 * SLICE as i64).prop_map(Step::Time),
        1 => (-2 * SLICE as i64..0).prop_map(Step::Time),
    ]
}

fn follow(steps: &[Step]) {
    let mut world = World::new(2, LENGTHS, true);
    for step in steps {
        world.step(*step);
    }
}

proptest! {
    #[test]
    fn few_places_follow_the_model(steps in vec(step(false), 1..super::steps(400))) {
        follow(&steps);
    }

    #[test]
    fn full_vectors_follow_the_model(
        fill in vec((0..2_u8, 1..6_u16), 0..super::steps(256)),
        steps in vec(step(true), 1..super::steps(200)),
    ) {
        let fill = fill.into_iter().map(|(core, who)| Step::AllocAny(core, who));
        let steps: Vec<Step> = fill.chain(steps).collect();
        follow(&steps);
    }
}
