//! What the tests share: names, and a device that serves a queue.

mod deaths;
mod examples;
mod extents;
mod fairness;
mod model;
mod partitions;
mod random;

use std::vec;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::disk::DiskStatus;
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;

use crate::{Command, Direction, Ended, Order, Queue, Request, Requester};

pub(super) fn environment(index: u16) -> ObjectName {
    ObjectName {
        index,
        epoch: Epoch::from_low_bits(1_000 + u64::from(index)),
    }
}

pub(super) fn extent(index: u16) -> ObjectName {
    ObjectName {
        index,
        epoch: Epoch::from_low_bits(5_000 + u64::from(index)),
    }
}

pub(super) fn account(index: u16) -> Owner {
    Owner::new(index, Epoch::from_low_bits(2_000 + u64::from(index)))
}

/// Memory of a queue.
pub(super) struct Pools {
    requests: Vec<Request>,
    requesters: Vec<Requester>,
}

impl Pools {
    pub(super) fn new(requests: usize, requesters: usize) -> Self {
        Self {
            requests: vec![Request::FREE; requests],
            requesters: vec![Requester::FREE; requesters],
        }
    }

    pub(super) fn queue(&mut self) -> Queue<'_> {
        Queue::new(&mut self.requests, &mut self.requesters)
    }
}

/// An end, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub requester: ObjectName,
    pub orphan: bool,
    pub token: u64,
    pub pages: Vec<u32>,
    pub status: DiskStatus,
    pub blocks: u32,
}

pub(super) fn keep(ends: &mut Vec<End>) -> impl FnMut(&Ended<'_>) {
    |ended| {
        ends.push(End {
            requester: ended.requester,
            orphan: ended.orphan,
            token: ended.token,
            pages: ended.pages.to_vec(),
            status: ended.status,
            blocks: ended.blocks,
        });
    }
}

/// An order of environment `who` for blocks from `first` on, with these pages.
pub(super) fn order(
    who: u16,
    direction: Direction,
    first: u32,
    pages: &[u32],
    token: u64,
) -> Order<'_> {
    Order {
        requester: environment(who),
        extent: extent(0),
        direction,
        first,
        pages,
        token,
    }
}

/// The next command, all extents being good.
pub(super) fn next(queue: &mut Queue<'_>, now: u64) -> Option<Command> {
    queue.next(now, |_, _| true, |_| panic!("told before its end"))
}

/// Ends the command and gives the ends.
pub(super) fn end(queue: &mut Queue<'_>, status: DiskStatus, now: u64) -> Vec<End> {
    let mut ends = Vec::new();
    queue.ended(status, now, keep(&mut ends));
    ends
}
