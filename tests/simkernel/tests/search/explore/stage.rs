//! Where an exploration begins: two environments with an account, a space and a core each, and frames that
//! nobody has.
//!
//! ```text
//!   frame   0 1      the kernel's
//!           2 .. 12  the first environment's: root, tables, store, u-area
//!           13 .. 19 the other's: root, two tables with their links, store, u-area
//!           20 21 22 free, and named by calls: SPARE
//!           23 24    free, and named by none: so that each account may have some while the other has the rest
//! ```
//!
//! Everything that the two need lies in one level-3 table each, and so does what they map. A shared frame is
//! reached by a capability that one hands the other, bytes for bytes.

use exopi_abi::domain::ObjectName;
use exopi_abi::{Call, PageNumber};
use exopi_sequence::Step;
use exopi_sequence::stage::STORE;
use exopi_simkernel::{Board, Kernel, Storage, owned};

use super::super::judge::{Judged, carried_out};
use super::super::oracle::Verdict;

/// The frames that calls name, and nobody has at the beginning.
pub(super) const SPARE: [u32; 3] = [20, 21, 22];
/// Frames that belong to somebody for good, as long as there is anybody: what hostile calls name. The kernel's, the
/// first one's root, a level-3 table of the other's with its links, its store and its u-area.
pub(super) const TABOO: [u32; 6] = [0, 2, 16, 17, 18, 19];
/// Pages of address space in which both map, and behind them one that has no table.
pub(super) const PLACES: [u64; 2] = [STORE + 0x1000, STORE + 0x2000];
/// Where a level-3 table is missing, and where a level-2 table is.
pub(super) const TABLELESS: [u64; 2] = [STORE + 0x20_0000, STORE + 0x4000_0000];
/// The u-area of the other environment, and where more may be.
pub(super) const UAREAS: [u64; 2] = [STORE + 0x4000, STORE + 0x5000];
/// A word of 1 in each store, which calls copy from; and room for words that calls copy to.
pub(super) const ONE: u64 = STORE + 0x900;
pub(super) const ROOM: u64 = STORE + 0xa00;

pub(super) const BOARD: Board = Board {
    frames: 25,
    kernel_frames: 2,
    colours: 1,
    cores: 2,
    accounts: 3,
    spaces: 3,
    environments: 3,
    ..Board::SMALL
};

/// Frames that the other environment needs: root, two tables with links, store, u-area.
const NEEDED: u64 = 7;

/// Boots on `storage`, which is of [`BOARD`], and makes the other environment.
pub(super) fn begin(storage: &mut Storage) -> Verdict<Judged<'_>> {
    let mut judged = Judged::boot(Kernel::boot(&BOARD, storage));
    let free = SPARE.len() as u64;
    let account = must(
        &mut judged,
        Call::account_create,
        [NEEDED + free, 2, 2, 1, 0, 0],
    )?;
    let account = ObjectName::from_word(account);
    must(
        &mut judged,
        Call::account_bind,
        [owned(account), 0, 0, 0, 0, 0],
    )?;
    let first = u64::from(SPARE[0]) - NEEDED;
    must(&mut judged, Call::page_alloc, [first, NEEDED, 0, 0, 0, 0])?;
    let [root, table2, links2, table3, links3, store, uarea] =
        core::array::from_fn(|frame| first + frame as u64);
    let space = must(&mut judged, Call::space_create, [root, 0, 0, 0, 0, 0])?;
    let space = owned(ObjectName::from_word(space));
    for (level, table, links) in [(2, table2, links2), (3, table3, links3)] {
        must(
            &mut judged,
            Call::table_insert,
            [space, STORE, level, table, links, 0],
        )?;
    }
    must(
        &mut judged,
        Call::insert_pte,
        [space, STORE, store, 0, 1, 3],
    )?;
    let made = must(
        &mut judged,
        Call::env_create,
        [space, uarea, UAREAS[0], 0, 0, 0],
    )?;
    let made = ObjectName::from_word(made);
    must(&mut judged, Call::env_run, [owned(made), 1, 0, 0, 0, 0])?;
    must(&mut judged, Call::account_bind, [0; 6])?;
    judged.kernel.schedule();
    for core in [1, 0] {
        judged.kernel.select(core);
        judged.step(&Step::Store { at: ONE, value: 1 }, true)?;
    }
    for page in SPARE {
        let record = judged.kernel.domains().pages.record(PageNumber::new(page));
        let free = record.is_some_and(|record| record.kind == exopi_abi::page::FrameType::Free);
        if !free {
            return Err(format!("frame {page} is not free at the beginning"));
        }
    }
    Ok(judged)
}

/// A call that everything begins with.
fn must(judged: &mut Judged<'_>, call: Call, words: [u64; 6]) -> Verdict<u64> {
    let step = Step::Call {
        number: call.number(),
        words,
        operations: None,
    };
    let reply = judged.step(&step, true)?;
    carried_out(call, words, reply)
}
