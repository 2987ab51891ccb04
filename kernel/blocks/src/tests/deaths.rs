//! Environments die at any time: nothing of theirs is told twice, or lost, or touched once it was told.

use std::collections::BTreeMap;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::disk::DiskStatus;
use exopi_abi::domain::ObjectName;
use proptest::prelude::*;

use super::{End, Pools, extent, keep};
use crate::{Direction, Order};

#[derive(Clone, Debug)]
enum Step {
    Submit(u16, bool, u32, u32, u16),
    Next,
    End(bool),
    /// An environment dies, and another one takes its place.
    Die(u16),
    /// An extent is taken away.
    Take(u16),
    Refuse,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4u16, any::<bool>(), 0..24u32, 1..9u32, 0..3u16)
            .prop_map(|(who, writes, first, count, by)| Step::Submit(who, writes, first, count, by)),
        4 => Just(Step::Next),
        4 => any::<bool>().prop_map(Step::End),
        1 => (0..4u16).prop_map(Step::Die),
        1 => (0..3u16).prop_map(Step::Take),
        1 => Just(Step::Refuse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1_000 }))]
    #[test]
    fn each_is_told_once_and_not_while_the_device_has_it(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut pools = Pools::new(40, 4);
        let mut queue = pools.queue();
        let mut names: Vec<ObjectName> = (0..4).map(super::environment).collect();
        let mut alive = [true; 3];
        // Requests that are under way: whose, and their pages.
        let mut waiting: BTreeMap<u64, (ObjectName, Vec<u32>)> = BTreeMap::new();
        let mut at_device: Vec<u32> = Vec::new();
        let (mut token, mut page, mut epoch) = (0u64, 0u32, 9_000);
        let settle = [Step::Next, Step::End(true)];
        for step in steps.into_iter().chain(settle.into_iter().cycle().take(400)) {
            let mut ends: Vec<End> = Vec::new();
            let mut orphans = false;
            let good = |name: ObjectName, _| alive[usize::from(name.index)];
            match step {
                Step::Submit(who, writes, first, count, by) => {
                    let pages: Vec<u32> = (page..page + count).collect();
                    page += count;
                    token += 1;
                    let requester = names[usize::from(who)];
                    let taken = queue.submit(&Order {
                        requester,
                        extent: extent(by),
                        direction: if writes { Direction::Write } else { Direction::Read },
                        first,
                        pages: &pages,
                        token,
                    }, 0);
                    if taken.is_ok() {
                        waiting.insert(token, (requester, pages));
                    }
                }
                Step::Next => {
                    if let Some(command) = queue.next(0, good, keep(&mut ends)) {
                        prop_assert!(at_device.is_empty());
                        at_device = command.pages().to_vec();
                    }
                }
                Step::End(well) => {
                    if !at_device.is_empty() {
                        at_device.clear();
                        let status = if well { DiskStatus::Done } else { DiskStatus::Removed };
                        queue.ended(status, 0, keep(&mut ends));
                        orphans = true;
                    }
                }
                Step::Die(who) => {
                    let name = names[usize::from(who)];
                    let left = queue.cancel(name, keep(&mut ends));
                    epoch += 1;
                    names[usize::from(who)].epoch = Epoch::from_low_bits(epoch);
                    let cancelled = DiskStatus::Cancelled;
                    for end in &ends {
                        prop_assert_eq!((end.requester, end.status), (name, cancelled));
                    }
                    let told: Vec<u64> = ends.iter().map(|end| end.token).collect();
                    let others = waiting
                        .iter()
                        .filter(|(token, (whose, _))| *whose == name && !told.contains(token));
                    prop_assert_eq!(left, others.count() > 0);
                    orphans = true;
                }
                Step::Take(which) => alive[usize::from(which)] = false,
                Step::Refuse => {
                    queue.refuse(0, 0, good, keep(&mut ends));
                }
            }
            for end in ends {
                let (whose, pages) = waiting.remove(&end.token).expect("told once");
                prop_assert_eq!(whose, end.requester);
                prop_assert_eq!(&pages, &end.pages);
                prop_assert!(pages.iter().all(|page| !at_device.contains(page)));
                prop_assert_eq!(end.orphan, !names.contains(&whose));
                prop_assert!(orphans || !end.orphan);
            }
            prop_assert_eq!(queue.counters().waiting, waiting.len() as u64);
        }
        prop_assert!(waiting.is_empty(), "something is lost");
        let counters = *queue.counters();
        prop_assert_eq!(counters.taken, counters.done + counters.failed + counters.dropped);
    }
}
