//! Holders of all kinds at random times, against a model that knows numbers only.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use exopi_abi::domain::ObjectName;
use exopi_abi::revocation::{Answer, RevocationState};
use exopi_abi::{PageNumber, PageSelect, TableLevel};
use proptest::prelude::*;

use super::{BIT, PAGES, Scene, storage};
use crate::tests::{Call, FIRST_AT, Named, Run, WRITE, at, page};

/// What somebody does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Ask(u32, u64, u64),
    AskNamed(u8, u32),
    Free(u8),
    Alloc,
    Map(u8, u8),
    Child(u8),
    Draw(u8),
    Table(u8, u8),
    Done,
    More,
    SetUp(u8, u8, u8),
    Order(u16, u8),
    Scribble(u16, u64),
    Read,
    Pass(u64),
    Step,
    Die,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..25u32, 90..300u64, 0..200u64).prop_map(|(n, a, e)| Act::Ask(n, a, e)),
        1 => (any::<u8>(), 1..10u32).prop_map(|(first, n)| Act::AskNamed(first, n)),
        6 => any::<u8>().prop_map(Act::Free),
        3 => Just(Act::Alloc),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(p, a)| Act::Map(p, a)),
        1 => any::<u8>().prop_map(Act::Child),
        2 => any::<u8>().prop_map(Act::Draw),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(p, a)| Act::Table(p, a)),
        3 => Just(Act::Done),
        2 => Just(Act::More),
        3 => (any::<u8>(), 0..3u8, any::<u8>()).prop_map(|(f, n, o)| Act::SetUp(f, n, o)),
        4 => (0..40u16, any::<u8>()).prop_map(|(n, p)| Act::Order(n, p)),
        1 => (0..16u16, any::<u64>()).prop_map(|(n, w)| Act::Scribble(n, w)),
        1 => Just(Act::Read),
        4 => (0..200u64).prop_map(Act::Pass),
        4 => Just(Act::Step),
        1 => Just(Act::Die),
    ]
}

/// What is known of an open request without looking at how it is carried out.
struct Model {
    serial: u64,
    used: u32,
    asked: u32,
    deadline: u64,
    limit: u64,
    allowed: u32,
    parents: u32,
}

fn carry_out(scene: &mut Scene<'_>, act: Act) {
    let lives = scene.world.on[1].is_some();
    let pick = |scene: &Scene<'_>, n: u8| {
        let pages: Vec<_> = scene.holders().into_iter().collect();
        pages
            .get(usize::from(n) % pages.len().max(1))
            .copied()
            .unwrap_or(page(0))
    };
    let serial = scene.record().serial;
    match act {
        Act::Ask(count, after, extra) => {
            let _ = scene.ask(PAGES, count, after, extra);
        }
        Act::AskNamed(first, count) => {
            let first = pick(scene, first);
            let _ = scene.ask(exopi_abi::revocation::Wanted::Pages(first), count, 100, 0);
        }
        Act::Pass(ticks) => scene.now += ticks,
        Act::Step => {
            let (domains, hw) = (&mut scene.world.domains, &mut scene.world.hw);
            let _ = domains.due(hw, scene.now);
            scene.world.told |= scene.world.domains.take_interrupts();
        }
        _ if !lives => {}
        Act::Free(n) => {
            let page = pick(scene, n);
            let _ = scene.free(page);
        }
        Act::Alloc => {
            let _ = scene.world.call(1, Call::Alloc(PageSelect::Any, 1));
        }
        Act::Map(n, place) => {
            let page = pick(scene, n);
            let place = at(FIRST_AT + 0x1000 * (2 + u64::from(place % 100)));
            let _ = scene.world.call(
                1,
                Call::Insert(Named::Own, place, Run::Owned(page), 1, WRITE),
            );
        }
        Act::Child(n) => {
            let allowance = [n.into(), 0, 0, u32::from(n) / 4].map(|count: u32| count % 8);
            let _ = scene.world.call(1, Call::AccountCreate(allowance));
        }
        Act::Draw(n) => {
            let below = below(scene);
            let to = match below.get(usize::from(n) % (below.len() + 1)) {
                Some(index) => Named::Index(*index),
                None => Named::Own,
            };
            let _ = scene.world.call(1, Call::AccountBind(to));
        }
        Act::Table(n, place) => {
            let [table, links] = [n, n.wrapping_add(1)].map(|n| pick(scene, n));
            let address = at(0x4000_0000 * (1 + u64::from(place % 3)));
            for level in [TableLevel::Two, TableLevel::Three] {
                let insert = Call::TableInsert(Named::Own, address, level, table, links);
                let _ = scene.world.call(1, insert);
            }
        }
        Act::Done => {
            let _ = scene.answer(serial, Answer::Done);
        }
        Act::More => {
            let _ = scene.answer(serial, Answer::MoreTime);
        }
        Act::SetUp(first, count, order) => {
            let (first, order) = (pick(scene, first), pick(scene, order));
            let order = if order.get() % 3 == 0 { page(0) } else { order };
            let _ = scene.set_up(first.get(), count.into(), order.get());
        }
        Act::Order(n, number) => {
            let order = page(scene.record().order);
            if order != page(0) {
                let number = if n % 5 == 0 {
                    page(number.into())
                } else {
                    pick(scene, number)
                };
                scene.write_order(order, n.into(), number);
            }
        }
        Act::Scribble(n, word) => {
            let record = scene.record();
            if record.vector_pages != 0 {
                let index = exopi_pages::Index::truncate(n.into());
                scene.world.hw.write(page(record.vector), index, word);
            }
        }
        Act::Read => {
            let record = scene.record();
            if record.vector_pages != 0 {
                let read = exopi_pages::Index::truncate(exopi_abi::revocation::vector::READ);
                scene
                    .world
                    .hw
                    .write(page(record.vector), read, record.written.into());
            }
        }
        Act::Die => {
            let _ = scene.world.call(1, Call::Destroy(Named::Own));
        }
    }
}

/// The accounts below the holder's.
fn below(scene: &Scene<'_>) -> Vec<u16> {
    let parent = |index: u16| {
        scene
            .world
            .domains
            .account(index)
            .map(|record| record.parent)
    };
    let asked = scene.account.index;
    (1..6)
        .filter(|index| {
            let above = core::iter::successors(parent(*index), |at| parent(*at));
            *index != asked && above.take(6).any(|at| at == asked)
        })
        .collect()
}

/// Frames that are charged to the holder's account, whatever they are.
fn charged(scene: &Scene<'_>) -> BTreeSet<PageNumber> {
    let owner = scene.world.owner(scene.account.index);
    let frames = (0..scene.world.frames).map(page);
    frames
        .filter(|page| {
            let record = scene.world.domains.pages.record(*page);
            record.is_some_and(|record| record.charged_to() == owner)
        })
        .collect()
}

/// What must hold of a request when it has come to its end.
fn check_end(scene: &Scene<'_>, model: &Model, before: &BTreeSet<PageNumber>) {
    let record = scene.record();
    let (allowed, used) = scene.allowance(scene.account);
    let fallen = model.used - used;
    let back = fallen.min(model.asked);
    assert_eq!(allowed, model.allowed - back, "{record:?}");
    let parent = scene.world.domains.account(0).expect("it is there").used[0];
    assert_eq!(parent, model.parents - back);
    assert!(record.taken <= fallen);
    assert_eq!(record.given, back.saturating_sub(record.taken));
    assert!(record.missed <= record.taken);
    match record.state() {
        RevocationState::Given => assert!(record.taken == 0 && back == model.asked),
        RevocationState::Taken => assert!(scene.now >= model.deadline),
        RevocationState::Died => assert!(
            scene
                .world
                .domains
                .environment(scene.holder.index)
                .is_none()
        ),
        other => panic!("{other:?} is no end"),
    }
    // Short of what was asked for only at the minimum, or where nothing plain is left.
    if back < model.asked && record.state() != RevocationState::Given {
        let guaranteed = scene
            .world
            .domains
            .account(scene.account.index)
            .expect("there")
            .guaranteed;
        assert!(scene.holders().len() <= guaranteed as usize, "{record:?}");
        for index in below(scene) {
            let epoch = scene.world.owner(index).epoch();
            let (allowed, used) = scene.allowance(ObjectName { index, epoch });
            assert_eq!(
                (allowed, used),
                (0, 0),
                "account {index} has something still"
            );
        }
    }
    assert!(record.taken == 0 || charged(scene).is_subset(before));
}

fn run(guaranteed: u32, acts: &[Act]) -> [u32; 3] {
    let mut storage = storage();
    let mut scene = Scene::new(&mut storage, guaranteed);
    let others = scene.plain(scene.world.owner(scene.bystander.index));
    let manager = scene.world.on[0].expect("it runs").name;
    let mut model: Option<Model> = None;
    let mut before = BTreeSet::new();
    let mut seen = [0; 3];
    let end = [Act::Pass(1_000_000)].into_iter();
    for act in acts
        .iter()
        .copied()
        .chain(end)
        .chain((0..80).map(|_| Act::Step))
    {
        let old = scene.record();
        let (allowed, used) = scene.allowance(scene.account);
        let parents = scene.world.domains.account(0).expect("it is there").used[0];
        if !old.state().is_open() || old.state() != RevocationState::Taking {
            before = charged(&scene);
        }
        let plain = scene.holders().len();
        carry_out(&mut scene, act);
        assert_eq!(scene.world.check(), Ok(()), "after {act:?}");
        let record = scene.record();
        if record.serial != old.serial {
            model = Some(Model {
                serial: record.serial,
                used,
                asked: record.asked,
                deadline: record.deadline,
                limit: record.limit,
                allowed,
                parents,
            });
        }
        // A step takes nothing below the minimum.
        if matches!(act, Act::Step) {
            assert!(scene.holders().len() >= plain.min(guaranteed as usize));
        }
        let Some(open) = &model else {
            continue;
        };
        assert_eq!(record.serial, open.serial);
        if record.state() == RevocationState::Extended {
            assert_eq!(record.deadline, open.limit);
        }
        if record.state().is_open() {
            assert!(scene.allowance(scene.account).1 <= open.used);
            assert_eq!(scene.allowance(scene.account).0, open.allowed);
        } else {
            check_end(&scene, open, &before);
            assert!(scene.notices(manager) & 1 << BIT != 0);
            seen[record.state as usize - RevocationState::Given as usize] += 1;
            model = None;
        }
    }
    assert!(model.is_none(), "no request is open for ever");
    let now = scene.plain(scene.world.owner(scene.bystander.index));
    assert_eq!(now, others, "the bystander has what it had");
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_holder_does_the_books_are_right(guaranteed in 0..=8u32, acts in prop::collection::vec(acts(), 1..80)) {
        run(guaranteed, &acts);
    }
}

/// It would prove nothing if there were no outcomes of all kinds.
#[test]
fn there_are_outcomes_of_all_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(acts(), 80);
    let mut seen = [0; 3];
    for _ in 0..250 {
        let tree = strategy.new_tree(&mut runner).expect("there is one");
        for (sum, count) in seen.iter_mut().zip(run(2, &tree.current())) {
            *sum += count;
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}
