//! Every call with hostile arguments: each pair of registers with each pair of nasty values.
//!
//! Around a set of good arguments, two registers at a time take every value of a list, while the
//! program owns pages, tables, mappings and a capability that the values name. After each call:
//!
//! * the error is one that the call's row lists, or one of decoding;
//! * registers are scrubbed and kept as they must be;
//! * what was refused has changed nothing: free pages and the records of all pages that could be
//!   meant, and of the program's account, are the same. What was carried out is undone, and then they are the
//!   same too, but for stamps, which never come again.
//!
//! Registers that a call does not take are tried by one, since nothing may look at them.
//!
//! `board_exit` and `board_reset` are left out: they are carried out, whatever their argument; and so is `pct_reply`,
//! which takes none and has the program wait for a call.

mod fixture;
mod network;

use exopi_rt::calls::Row;
use exopi_rt::page::FrameType;
use exopi_rt::{Call, Error};

use crate::area::{Area, record};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers};
use fixture::{Fixture, Snapshot};

macro_rules! sweeps {
    ($($call:ident)+) => {
        &[$( (stringify!($call), || sweep(Call::$call)) ),+]
    };
}

pub(crate) const SUITE: Suite = Suite {
    name: "hostile",
    cases: sweeps! {
        null page_alloc page_free table_insert table_remove insert_pte remove_pte resume
        console_write console_read protect_pte insert_superpage pte_note pte_batch
        cap_mint cap_narrow page_give page_accept page_retire page_break page_limit
        account_create account_bind account_destroy space_create space_destroy
        env_create env_run env_stop env_yield env_keep env_debug env_read env_write env_destroy
        upcall_deliver console_give gate_bind gate_unbind gate_yield pct_call pct_send
        revoke_request revoke_answer revoke_setup msgring_set msgring_clear msgring_send
        account_allow dpf_split dpf_insert dpf_delete dpf_ref dpf_unref dpf_pktring
        pktring_setring pktring_modring pktring_delring nettap send_refine send_delete net_xmit
        slice_alloc slice_bind slice_move slice_free
    },
};

// Each call has a case, but for the two that end the machine, and one without arguments that does not come back.
const _: () = assert!(SUITE.cases.len() + 3 == Call::ALL.len());

/// One call with everything checked, on what is as `before` says. `row` is the call's. Gives what is so now.
fn attack(
    fixture: &Fixture,
    row: &Row,
    words: [u64; 6],
    before: Snapshot,
) -> Result<Snapshot, Failure> {
    let registers = Registers::of_call(row, words);
    let mut after = registers;
    // SAFETY: what the values name is the fixture's, which nothing else uses, or not the
    // program's at all; `harmful` has sorted out the rest.
    unsafe { machine::run_stub(0, &mut after) };
    let reply = after.reply_of(row);
    let done = match row.result {
        "Progress" | "Allocation" | "Breaking" => reply.status >> 16,
        _ => u64::from(reply.error().is_none()),
    };
    if let Some(error) = reply.error() {
        let code_is_known = Error::from_code(reply.status as u16).is_some();
        check!(
            row.can_give(error) && code_is_known,
            "{words:x?} give {:#x}",
            reply.status
        );
    }
    machine::check_refused(row, &registers, &after)?;
    if done > 0 {
        fixture.undo(row.call, words, done, reply.value)?;
    }
    let now = fixture.snapshot()?;
    let same = if done > 0 {
        now.without_stamps() == before.without_stamps()
    } else {
        now == before
    };
    check!(
        same,
        "{words:x?} give {reply:x?} and change {:x?}",
        before.difference(&now)
    );
    Ok(now)
}

fn sweep(call: Call) -> Outcome {
    let fixture = Fixture::new()?;
    let row = machine::row_of(call)?;
    fixture.prepare(call)?;
    machine::write_stub(0, call.number())?;
    machine::publish_stubs()?;
    let good = fixture.good(call);
    let taken: usize = row.arguments.iter().map(|argument| argument.words).sum();
    let mut before = attack(&fixture, row, good, fixture.snapshot()?)?;
    for first in 0..good.len() {
        for one in fixture.nasty {
            let mut words = good;
            words[first] = one;
            if !fixture.harmful(call, words) {
                before = attack(&fixture, row, words, before)?;
            }
            for second in first + 1..taken {
                for two in fixture.nasty {
                    words[second] = two;
                    if !fixture.harmful(call, words) {
                        before = attack(&fixture, row, words, before)?;
                    }
                    words[second] = good[second];
                }
            }
        }
    }
    check_mappings(&fixture)?;
    fixture.unprepare(call)?;
    fixture.close()
}

/// Checks that mappings are as before, too.
fn check_mappings(fixture: &Fixture) -> Outcome {
    for index in [0, 1] {
        check!(
            catch::read(Area::address(index)).is_ok(),
            "page {index} is gone"
        );
        let address = Area::address(index) + 8;
        // SAFETY: the page is the fixture's own.
        let written = unsafe { catch::write(address, 1) };
        check!(written.is_ok(), "page {index} cannot be written");
    }
    for index in [2, 511, 512, 1024] {
        check!(
            catch::read(Area::address(index)).is_err(),
            "page {index} has come"
        );
    }
    check_eq!(record(fixture.table())?.kind, FrameType::Table3);
    Ok(())
}
