//! The ends of spaces and of accounts.

use exopi_abi::page::FrameType;
use exopi_abi::{Error, PageSelect};

use super::with_tables;
use crate::tests::{By, OWNERS, Op, READ, WRITE, World, at, page};
use crate::{CLEAR_BOUND, Step};

#[test]
fn a_space_with_a_uarea_is_not_taken_apart() {
    let (mut world, space, first) = with_tables(2);
    let uarea = Op::MakeUArea(at(0x20_0000), page(first));
    assert_eq!(world.apply(0, 0, uarea).error(), None);
    let map = Op::Insert(at(0x1_0000), page(first + 1), By::Owner, 1, READ);
    assert_eq!(world.apply(0, 0, map).error(), None);
    let clear = |world: &mut World| {
        let step = world.with(|pages, hw, epochs| pages.clear_space(hw, epochs, &space, 64));
        assert_eq!(world.check(), Ok(()));
        step
    };
    assert_eq!(clear(&mut world), Ok(Step::More));
    for _ in 0..3 {
        assert_eq!(clear(&mut world), Err(Error::NotEmpty));
    }
    assert_eq!(
        world.apply(0, 0, Op::RemoveUArea(page(first))).error(),
        None
    );
    assert_eq!(world.apply(0, 0, Op::Clear(1)).error(), None);
    assert_eq!(world.check(), Ok(()));
    let plain = |record: &&exopi_abi::page::PageRecord| {
        record.kind == FrameType::Plain && record.owner == OWNERS[0]
    };
    // Root, three tables, their links, and the two pages.
    assert_eq!(world.records.iter().filter(plain).count(), 9);
}

#[test]
fn a_space_goes_in_steps_of_any_size() {
    // A few at a time take minutes under Miri.
    let fewest: &[u64] = if cfg!(miri) { &[] } else { &[0, 1, 7] };
    for budget in fewest.iter().copied().chain([40, CLEAR_BOUND, u64::MAX]) {
        let (mut world, _, first) = with_tables(140);
        for (place, count) in [(0x1_0000, 128), (0x20_0000, 128), (0x30_0000, 12)] {
            let map = Op::Insert(at(place), page(first), By::Owner, count, WRITE);
            assert_eq!(world.apply(0, 0, map).error(), None);
        }
        assert_eq!(world.apply(0, 0, Op::Clear(budget)).error(), None);
        assert_eq!(world.check(), Ok(()));
        // The pages outlive it.
        let free = Op::Free(By::Owner, page(first), 64);
        assert_eq!(world.apply(0, 0, free).error(), None);
    }
}

#[test]
fn an_account_leaves_nothing_behind() {
    let (mut world, _, first) = with_tables(600);
    // Mapped by itself, and more often than one step takes away.
    for i in 0..100 {
        let map = Op::Insert(at(0x1_0000 + i * 4096), page(first), By::Owner, 1, WRITE);
        assert_eq!(world.apply(0, 0, map).error(), None);
    }
    assert_eq!(
        world.apply(0, 0, Op::Reclaim).error(),
        Some(Error::NotEmpty)
    );
    assert_eq!(world.apply(0, 0, Op::Clear(CLEAR_BOUND)).error(), None);
    let freed = world.apply(0, 0, Op::Reclaim);
    assert_eq!((freed.error(), freed.value), (None, 600 + 6 + 1));
    let mine = |record: &&exopi_abi::page::PageRecord| record.charged_to() == OWNERS[0];
    assert_eq!(world.records.iter().filter(mine).count(), 0);
    let any = world.apply(1, 1, Op::Alloc(PageSelect::Any, 16, 16));
    assert_eq!(any.error(), None);
}

#[test]
fn what_others_have_mapped_of_an_account_goes_with_it() {
    let (mut world, space, first) = with_tables(110);
    // Owner 0's page, mapped into owner 0's space by both, and owner 0's into nobody's any more.
    assert_eq!(
        world
            .apply(0, 0, Op::Give(page(first), 105, 1, 105))
            .error(),
        None
    );
    assert_eq!(world.apply(1, 1, Op::Clear(1)).error(), None);
    for i in 0..64 {
        let map = Op::Insert(at(0x1_0000 + i * 4096), page(first), By::Owner, 1, WRITE);
        assert_eq!(world.apply(1, 0, map).error(), None, "{i}");
    }
    for i in 0..64 {
        let map = Op::Insert(
            at(0x20_0000 + i * 4096),
            page(first + 1),
            By::Owner,
            1,
            WRITE,
        );
        assert_eq!(world.apply(1, 0, map).error(), None, "{i}");
    }
    assert_eq!(world.records[first as usize].foreign, 64);
    // More mappings than one step removes, more pages than one step frees.
    let freed = world.apply(1, 1, Op::Reclaim);
    assert_eq!((freed.error(), freed.value), (None, 105 + 1));
    assert_eq!(
        world
            .hw
            .translations()
            .filter(|(asid, at, _)| {
                *asid == space.asid() && *at < exopi_abi::layout::TABLES_BASE
            })
            .count(),
        0
    );
}

#[test]
#[cfg(not(miri))] // So many frames take minutes there.
fn each_step_of_an_accounts_end_goes_through_so_many_records_wherever_its_pages_are() {
    use crate::breaking::RECLAIM_RECORDS as STEP;
    use crate::tests::{FIRST_FREE, ROOTS};

    const FRAMES: u32 = 3 * STEP + 5;
    let mut world = World::new(FRAMES - FIRST_FREE);
    // Where steps begin and end, and the last frame that there is.
    let mine = [STEP - 1, STEP, 3 * STEP - 1, 3 * STEP, FRAMES - 1];
    let others = [STEP - 2, STEP + 1, 3 * STEP + 1];
    for (who, frames) in [(0, &mine[..]), (1, &others[..])] {
        for frame in frames {
            let alloc = Op::Alloc(PageSelect::Exact(page(*frame)), 1, 1);
            assert_eq!(world.apply(who, who, alloc).error(), None);
        }
    }
    assert_eq!(world.apply(0, 0, Op::Clear(CLEAR_BOUND)).error(), None);
    let (mut cursor, mut steps) = (0, std::vec::Vec::new());
    while steps.len() < 10 {
        let step = world.with(|pages, hw, _| pages.reclaim(hw, OWNERS[0], &mut cursor));
        steps.push((step.freed, cursor, step.step));
        if step.step == Step::Done {
            break;
        }
    }
    // The root's page is in the first one.
    assert!(ROOTS[0] < STEP - 1);
    let expected = [
        (2, STEP, Step::More),
        (1, 2 * STEP, Step::More),
        (1, 3 * STEP, Step::More),
        (2, FRAMES, Step::Done),
    ];
    assert_eq!(steps, expected);
    let kind = |frame: &u32| world.records[*frame as usize].kind;
    assert!(mine.iter().all(|frame| kind(frame) == FrameType::Free));
    assert!(others.iter().all(|frame| kind(frame) == FrameType::Plain));
    assert_eq!(world.check(), Ok(()));
}
