//! Laws of the page array: types, free lists, stamps, and whom frames are charged to.

use std::collections::HashMap;

use exopi_abi::domain::Resource;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::{FrameType, NONE, Owner, PageRecord, SUPERPAGE_PAGES};

use super::network;
use super::report::{Law, Report};
use super::state::{Frame, State};

/// Checks all of it.
pub(super) fn check(state: &State, report: &mut Report) {
    for (number, frame) in state.numbered() {
        record(state, number, frame, report);
    }
    kernel_uses(state, report);
    free_lists(state, report);
    charges(state, report);
}

/// What can be told of a record by itself.
fn record(state: &State, number: u64, frame: &Frame, report: &mut Report) {
    let Some(kind) = frame.kind else {
        return report.add(Law::Record, || format!("frame {number:#x} has no type"));
    };
    let plain = kind == FrameType::Plain;
    let pins = u32::from(frame.marks & PageRecord::MAX_PINS);
    let marked = if plain {
        pins <= frame.references
    } else {
        frame.marks == 0
    };
    report.require(marked, Law::Record, || {
        format!(
            "frame {number:#x} is {kind:?} with {} references, and its marks are {:#x}",
            frame.references, frame.marks
        )
    });
    let mappable = matches!(kind, FrameType::Plain | FrameType::UArea);
    report.require(
        mappable || (frame.references, frame.foreign) == (0, 0),
        Law::Record,
        || {
            format!(
                "frame {number:#x} is {kind:?} and has {} references, {} of others",
                frame.references, frame.foreign
            )
        },
    );
    // A page that was left half broken still has the other half, which may be the superpage that it is in.
    let superpage = state.frame(number - number % SUPERPAGE_PAGES);
    let mapped = |frame: &Frame| frame.references > 0;
    let breaking = plain && (mapped(frame) || superpage.is_some_and(mapped));
    let leaving = frame.marks & PageRecord::LEAVING != 0;
    report.require(!leaving || !plain || breaking, Law::Leaving, || {
        format!(
            "frame {number:#x} is {kind:?} with {} references, and leaving",
            frame.references
        )
    });
    let epoch = frame.stamp.epoch().bits();
    report.require(plain == (epoch != 0), Law::Stamp, || {
        format!("frame {number:#x} is {kind:?} with epoch {epoch}")
    });
    if kind == FrameType::Kernel {
        let clean = frame.owner == Owner::NOBODY && (frame.first, frame.second) == (0, 0);
        report.require(clean && frame.stamp.limit() == 0, Law::KernelFrame, || {
            format!("frame {number:#x} is the kernel's, but its record is not zero: {frame:x?}")
        });
    }
    if let Some(owner) = frame.charged_to() {
        report.require(state.account(owner).is_some(), Law::Owner, || {
            format!(
                "frame {number:#x} ({kind:?}) is charged to {}, which there is not",
                name(owner)
            )
        });
    }
}

/// An account as reports name it.
pub(super) fn name(owner: Owner) -> String {
    format!(
        "account {} of epoch {}",
        owner.index(),
        owner.epoch().bits()
    )
}

/// What the kernel uses for itself is of its type: page 0 with the spin table, and the image.
fn kernel_uses(state: &State, report: &mut Report) {
    for number in state.image.frames().chain([0]) {
        let is_kernel = state
            .frame(number)
            .is_some_and(|frame| frame.is(FrameType::Kernel));
        report.require(is_kernel, Law::KernelFrame, || {
            format!("frame {number:#x} is used by the kernel, but is not of its type")
        });
    }
}

/// Each colour has one list, from the one free frame without a previous one, on which all of them are.
fn free_lists(state: &State, report: &mut Report) {
    let mut heads: HashMap<u64, u64> = HashMap::new();
    let mut free = 0;
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for (number, frame) in state.numbered() {
        if !frame.is(FrameType::Free) {
            continue;
        }
        free += 1;
        let colour = number % state.colours;
        *counts.entry(colour).or_default() += 1;
        if frame.second == NONE
            && let Some(other) = heads.insert(colour, number)
        {
            report.add(Law::FreeList, || {
                format!("frames {other:#x} and {number:#x} both begin the list of colour {colour}")
            });
        }
    }
    report.require(free == state.free_pages, Law::FreeCount, || {
        format!(
            "{free} frames are free, but the header says {}",
            state.free_pages
        )
    });
    let mut colours: Vec<_> = counts.into_iter().collect();
    colours.sort_unstable();
    for (colour, count) in colours {
        let listed = match heads.get(&colour) {
            Some(head) => follow(state, colour, *head, count, report),
            None => 0,
        };
        report.require(listed == count, Law::FreeList, || {
            format!("of {count} free frames of colour {colour} {listed} are on its list")
        });
    }
}

/// How many frames are on a list, as far as it is one.
fn follow(state: &State, colour: u64, head: u64, most: u64, report: &mut Report) -> u64 {
    let mut listed = 0;
    let mut previous = NONE;
    let mut number = head as u32;
    while number != NONE && listed < most {
        let frame = state.frame(number.into());
        let on_it = frame.filter(|frame| {
            frame.is(FrameType::Free)
                && u64::from(number) % state.colours == colour
                && frame.second == previous
        });
        let Some(frame) = on_it else {
            report.add(Law::FreeList, || {
                format!("frame {number:#x} does not belong behind {previous:#x} on the list of colour {colour}")
            });
            return listed;
        };
        listed += 1;
        previous = number;
        number = frame.first;
    }
    report.require(number == NONE, Law::FreeList, || {
        format!("the list of colour {colour} goes on at {number:#x} after all {most} of its frames")
    });
    listed
}

/// Frames = free + kernel + sum over owners: no frame is charged twice, and what an account says that it
/// has used is what is charged to it, and what it gave to its children.
fn charges(state: &State, report: &mut Report) {
    let mut charged: HashMap<Owner, [u64; Resource::COUNT]> = HashMap::new();
    let mut add = |owner: Owner, resource: Resource, count: u64| {
        charged.entry(owner).or_default()[resource as usize] += count;
    };
    for owner in state.frames.iter().filter_map(Frame::charged_to) {
        add(owner, Resource::Pages, 1);
    }
    for (_, space) in state.live_spaces() {
        add(space.owner, Resource::Spaces, 1);
    }
    for (_, environment) in state.live_environments() {
        add(environment.account, Resource::Environments, 1);
    }
    for (_, slice) in state.live_slices() {
        add(slice.account, Resource::Slices, 1);
    }
    for (owner, resource, count) in network::charges(&state.network) {
        add(owner, resource, count);
    }
    let names: HashMap<u16, Owner> = state
        .live_accounts()
        .map(|(owner, _)| (owner.index(), owner))
        .collect();
    for (owner, account) in state.live_accounts() {
        let parent = names
            .get(&account.parent)
            .filter(|parent| **parent != owner);
        let Some(parent) = parent else { continue };
        add(*parent, Resource::Accounts, 1);
        for resource in Resource::ALL {
            add(
                *parent,
                resource,
                account.allowance[resource as usize].into(),
            );
        }
    }
    for (owner, account) in state.live_accounts() {
        let real = charged.get(&owner).copied().unwrap_or_default();
        for resource in Resource::ALL {
            let used = account.used[resource as usize];
            let allowance = account.allowance[resource as usize];
            let real = real[resource as usize];
            report.require(u64::from(used) == real, Law::Charge, || {
                format!(
                    "{} says that it used {used} {resource:?}, but it is {real}",
                    name(owner)
                )
            });
            report.require(used <= allowance, Law::Allowance, || {
                format!("{} used {used} {resource:?} of {allowance}", name(owner))
            });
        }
    }
}

/// The frames that a range of memory lies in.
pub(super) fn frames_of(physical: u64, bytes: u64) -> std::ops::Range<u64> {
    physical / PAGE_SIZE..(physical + bytes).div_ceil(PAGE_SIZE)
}
