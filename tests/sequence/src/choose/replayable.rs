//! What can be made on the target by the program that tells of it, and come out the same.

use exopi_abi::Call;
use exopi_abi::capability::{Capability, Kind};
use exopi_abi::domain::{EnvironmentState, ObjectName, Resource};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::layout::{EXPOSED_BASE, USER_END};

use crate::stage::{PLACES, slot_at};
use crate::{Names, World};

/// Whether a call can be replayed: it leaves the caller where it is, and what it does depends on no other
/// core.
pub(super) fn replayable<W: World>(
    world: &W,
    names: &Names,
    number: u16,
    words: &[u64; 6],
) -> bool {
    use Call::*;
    let Some(call) = Call::from_number(number) else {
        // `svc #0` is never the kernel's: it is a fault of the program's.
        return number != 0;
    };
    // What the kernel shows has other contents on every machine: no capability is read there.
    let shown = EXPOSED_BASE..USER_END;
    if !names_no_other(names, call, words) || words.iter().any(|word| shown.contains(word)) {
        return false;
    }
    match Call::from_number(number) {
        Some(
            console_write | console_read | console_give | board_exit | board_reset | upcall_deliver
            | revoke_request | revoke_setup | msgring_set | resume,
        ) => false,
        // What gives the core away, or makes another environment able to.
        Some(
            gate_bind | gate_unbind | gate_yield | pct_call | pct_send | pct_reply | msgring_send,
        ) => false,
        Some(env_stop | env_destroy | env_debug | env_keep) => !means_caller(world, words[0]),
        // Whether somebody gets what is left of a turn, the clock says.
        Some(env_yield) => words[0] == 0 || rests(world, words[0]),
        // Whoever could run would, when the clock says so.
        Some(env_run) => target(world, words[0], Kind::Environment)
            .and_then(|index| world.environment(index))
            .is_none_or(|record| record.slices == [0; MAX_CORES]),
        Some(slice_alloc) => rests(world, words[2]),
        Some(slice_bind) => is_anothers(world, words[0]) && rests(world, words[1]),
        Some(slice_move | slice_free) => is_anothers(world, words[0]),
        // More than the smaller machine has, and less than any has.
        Some(account_create) => words[0] <= 64 || words[0] >= 1 << 24,
        // What the first account accepts has its end where the machine has.
        Some(page_accept) => words[0] <= 64,
        // The simulated machine has no network.
        Some(account_allow) => !of_a_network(words[1]),
        // Of several pages from free lists nobody tells the numbers, nor of one that is mapped elsewhere.
        Some(page_alloc) => words[0] >> 56 == 0 || words[1] <= 1,
        Some(insert_pte) => words[2] >> 56 <= 2 || (words[0] == 0 && words[4] <= 1),
        Some(cap_mint) if [Kind::Filter as u64, Kind::Send as u64].contains(&words[0]) => false,
        // Seals, page numbers and saved registers are no contents that could be compared.
        Some(cap_mint | cap_narrow) => !is_in_area(words[4]),
        Some(env_read) => !is_in_area(words[2]),
        Some(pte_batch) => !is_in_area(words[1]),
        _ => true,
    }
}

/// Whether a call names pages that are the same on every machine.
pub(super) fn names_no_other(names: &Names, call: Call, words: &[u64; 6]) -> bool {
    let pages = pages_of(call, words);
    pages.iter().all(|page| is_anywhere(names, *page))
}

/// The words of a call that name pages; 0 for those that do not.
fn pages_of(call: Call, words: &[u64; 6]) -> [u64; 2] {
    use Call::*;
    match call {
        page_alloc if words[0] >> 56 != 0 => [0; 2],
        page_alloc | page_free | page_retire | page_break | page_give | page_limit
        | space_create => [words[0], 0],
        env_create => [words[1], 0],
        cap_mint if words[0] == Kind::Page as u64 => [words[1], 0],
        insert_pte if words[2] >> 56 > 2 => [0; 2],
        insert_pte | insert_superpage => [words[2], 0],
        table_insert => [words[3], words[4]],
        _ => [0; 2],
    }
}

/// Whether a page is the same on every machine: one with a name, the kernel's first, or none.
fn is_anywhere(names: &Names, word: u64) -> bool {
    let number = (word & 0xff_ffff_ffff_ffff) as u32;
    let named = names.pages().iter().any(|page| page.get() == number);
    named || number == 0 || number >= 1 << 23 || word & 0xff_ffff_0000_0000 != 0
}

/// Whether a resource is one of a network.
fn of_a_network(resource: u64) -> bool {
    [Resource::Filters as u64, Resource::Frames as u64].contains(&resource)
}

/// Whether memory that a call writes from an address on is some that the program loads from.
fn is_in_area(address: u64) -> bool {
    (PLACES[0] - 4096..PLACES[0] + (2 << 30)).contains(&address)
}

/// The index of what an argument names, whatever the right; `None` for the caller's own and for nothing of the kind.
fn target<W: World>(world: &W, word: u64, kind: Kind) -> Option<u16> {
    match word >> 56 {
        0 if word == 0 => None,
        0 => {
            let capability = slot_at(word).and_then(|slot| world.capability(slot))?;
            let body = capability.body();
            (body.kind() == kind).then_some(body.index() as u16)
        }
        _ => Some(ObjectName::from_word(word).index),
    }
}

/// Whether an argument names an environment that does not run when it has a slice; or none.
fn rests<W: World>(world: &W, word: u64) -> bool {
    use EnvironmentState::{Free, Stopped, Suspended};
    let state = |index| world.life(index).state();
    match target(world, word, Kind::Environment) {
        Some(index) => matches!(state(index), Free | Stopped | Suspended),
        None => word != 0,
    }
}

/// Whether an argument names a slice in which the caller does not run; or none.
fn is_anothers<W: World>(world: &W, word: u64) -> bool {
    match target(world, word, Kind::Slice) {
        Some(number) => world
            .slice(number)
            .is_none_or(|record| record.environment != world.me().word()),
        None => word != 0,
    }
}

/// Whether an argument names the caller itself, whatever the right.
fn means_caller<W: World>(world: &W, word: u64) -> bool {
    let me = world.me();
    match word >> 56 {
        0 if word == 0 => true,
        0 => {
            let capability = slot_at(word).and_then(|slot| world.capability(slot));
            capability.is_some_and(|capability: Capability| {
                let body = capability.body();
                body.kind() == Kind::Environment && body.index() == u32::from(me.index)
            })
        }
        _ => me.is_told(ObjectName::from_word(word)),
    }
}
