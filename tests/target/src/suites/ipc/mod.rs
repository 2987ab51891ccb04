//! `exopi-ipc` on the kernel: typed calls, lent pages, rings across cores, pipes.

pub(super) mod calls;
mod loans;
pub(super) mod pipes;
mod rings;

use exopi_ipc::CallError;
use exopi_rt::{Error, environment};

use crate::harness::Suite;

pub(crate) const SUITE: Suite = Suite {
    name: "ipc",
    cases: &[
        ("typed_calls_between_spaces", calls::between_spaces),
        ("hostile_requests", calls::hostile_requests),
        ("badges_tell_clients_apart", calls::badges),
        ("one_way", calls::one_way),
        ("a_server_that_calls", calls::nested),
        ("a_server_that_dies", calls::dying),
        ("a_server_that_is_late", calls::late),
        ("a_server_that_is_stopped", calls::stopped),
        ("registers_stay_with_their_owner", calls::registers),
        ("lent_pages_come_back", loans::returned),
        ("lent_pages_that_are_kept", loans::kept),
        ("rings_across_cores", rings::across_cores),
        ("hostile_ring_memory", rings::hostile),
        ("pipes_on_one_core", pipes::on_one_core),
        ("pipes_across_cores", pipes::across_cores),
        ("pipes_end", pipes::ends),
        ("a_peer_that_dies", pipes::dying),
        ("requests_and_answers_by_gates", pipes::requests),
        ("hostile_pipe_memory", pipes::hostile),
    ],
};

/// What a call comes to once the callee has paid what it owes: on a slow host it may have left its core late.
pub(super) fn paid<T, E: Debts>(mut call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    loop {
        match call() {
            Err(error) if error.is_indebted() => environment::yield_now(),
            told => return told,
        }
    }
}

/// What a call is refused with.
pub(super) trait Debts {
    /// Whether that is because the callee owes time.
    fn is_indebted(&self) -> bool;
}

impl Debts for Error {
    fn is_indebted(&self) -> bool {
        *self == Error::Indebted
    }
}

impl Debts for CallError {
    fn is_indebted(&self) -> bool {
        *self == CallError::Refused(Error::Indebted)
    }
}

/// Pseudo-random numbers: xorshift64*, whose seed the case tells when it fails.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
