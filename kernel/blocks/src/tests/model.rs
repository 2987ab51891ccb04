//! A disk that does what commands say, and the naive way of doing requests: one after the other.

use std::collections::BTreeMap;
use std::vec::Vec;

use exopi_abi::disk::MOST_BLOCKS;

use crate::{Command, Direction};

/// Contents of blocks, or of pages: a number for each. Those that are not there hold 0.
pub(super) type Contents = BTreeMap<u32, u64>;

fn copy(from: &Contents, at: u32, to: &mut Contents, place: u32) {
    to.insert(place, from.get(&at).copied().unwrap_or(0));
}

/// What is moved between a run of blocks and pages.
pub(super) fn transfer(
    direction: Direction,
    first: u32,
    pages: &[u32],
    disk: &mut Contents,
    memory: &mut Contents,
) {
    for (index, page) in pages.iter().enumerate() {
        let block = first + index as u32;
        match direction {
            Direction::Read => copy(disk, block, memory, *page),
            Direction::Write => copy(memory, *page, disk, block),
        }
    }
}

/// The device.
pub(super) fn serve(command: &Command, disk: &mut Contents, memory: &mut Contents) {
    assert!((1..=MOST_BLOCKS).contains(&command.pages().len()));
    transfer(
        command.direction,
        command.blocks.first,
        command.pages(),
        disk,
        memory,
    );
}

/// A request as it was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub who: u16,
    pub direction: Direction,
    pub first: u32,
    pub pages: Vec<u32>,
}
