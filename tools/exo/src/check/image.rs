//! Laws of the kernel's half of the address space, from the kernel's own tables, and of what it exposes.
//!
//! What an attribute index means is in a register and not in memory: 0 is taken for Normal write-back and 1 for
//! Device memory, as in the kernel's `pte` module.

use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::FrameType;

use super::descriptor::{self, Can, Shape};
use super::frames::frames_of;
use super::kernel::Kernel;
use super::memory::Memory;
use super::reach::{Leaf, Step, walk};
use super::report::{Law, Report};
use super::state::State;

/// What the addresses of the upper half have above the bits that are looked up.
const UPPER: u64 = 0xffff_ff80_0000_0000;
/// Where generated code runs, and how much there may be of it (the kernel's `arch/aarch64/arena.rs`).
const ARENA: u64 = 0xffff_ffff_c020_0000;
const ARENA_BYTES: u64 = 1 << 21;
/// Memory attribute of RAM.
const NORMAL: u64 = 0;
/// Memory attribute of device registers.
const DEVICE: u64 = 1;
/// Bytes of a core's stacks with their guards, and where in them the guards are (`kernel.ld`).
const SLOT: u64 = 0x8000;
const GUARDS: [u64; 2] = [0, 0x3000];

/// Most entries of the kernel's half that are looked at.
const MOST_LEAVES: usize = 1 << 14;

/// Checks all of it.
pub(super) fn check(memory: &Memory, kernel: &Kernel, state: &State, report: &mut Report) {
    let Some(root) = state.image.physical_of(kernel.root) else {
        return report.add(Law::KernelMap, || "the root is not in the image".to_owned());
    };
    let mut leaves = Vec::new();
    let mut tables = vec![root / PAGE_SIZE];
    let whole = walk(memory, root / PAGE_SIZE, &mut |step| match step {
        Step::Table { frame, .. } => tables.push(frame),
        // A kernel has few; more are not looked at, and reported.
        Step::Leaf(leaf) if leaves.len() < MOST_LEAVES => leaves.push(leaf),
        Step::Leaf(_) => {}
    });
    report.require(whole && leaves.len() < MOST_LEAVES, Law::KernelMap, || {
        "the kernel's half has more entries than any kernel".to_owned()
    });
    for table in tables {
        let own = state
            .frame(table)
            .is_some_and(|frame| frame.is(FrameType::Kernel));
        report.require(own, Law::KernelMap, || {
            format!("frame {table:#x} is a table of the kernel's half, but not of its type")
        });
    }
    for leaf in &leaves {
        self::leaf(kernel, state, leaf, report);
    }
    write_or_execute(&leaves, report);
    generated_code(state, &leaves, report);
    image(kernel, state, &leaves, report);
    exposed(memory, state, report);
}

/// What holds for each leaf of the kernel's half.
fn leaf(kernel: &Kernel, state: &State, leaf: &Leaf, report: &mut Report) {
    let at = UPPER | leaf.at;
    let frame = leaf.frame;
    report.require(leaf.el0 == Can::default(), Law::KernelMap, || {
        format!(
            "EL0 has access to the kernel's {at:#x}, frame {frame:#x}: {:?}",
            leaf.el0
        )
    });
    let last = at + (leaf.pages * PAGE_SIZE - 1);
    let code = kernel.is_code(at) && kernel.is_code(last) || is_generated(leaf);
    report.require(code || !leaf.el1.execute, Law::KernelMap, || {
        format!("the kernel executes {at:#x}, frame {frame:#x}, which is no code of its image")
    });
    let ram = frame < state.frames.len() as u64;
    let wanted = if ram { NORMAL } else { DEVICE };
    let attribute = descriptor::attribute(leaf.entry);
    report.require(attribute == wanted, Law::KernelMap, || {
        let what = if ram { "RAM" } else { "no RAM" };
        format!("{at:#x} maps frame {frame:#x}, which is {what}, with attribute {attribute}")
    });
    let shared = leaf.entry & descriptor::INNER_SHAREABLE == descriptor::INNER_SHAREABLE;
    report.require(!ram || shared, Law::KernelMap, || {
        format!("{at:#x} maps frame {frame:#x} of RAM, but not inner shareable")
    });
}

/// Whether a leaf is the block of generated code.
fn is_generated(leaf: &Leaf) -> bool {
    UPPER | leaf.at == ARENA && leaf.pages * PAGE_SIZE == ARENA_BYTES
}

/// Generated code lies in frames of the kernel's, is executed and not written, and has no other name.
fn generated_code(state: &State, leaves: &[Leaf], report: &mut Report) {
    let wanted = Can {
        read: true,
        write: false,
        execute: true,
    };
    for code in leaves.iter().filter(|leaf| is_generated(leaf)) {
        report.require(code.el1 == wanted, Law::KernelMap, || {
            format!("generated code is {:?} for EL1", code.el1)
        });
        let end = code.frame + code.pages;
        for frame in code.frame..end {
            let own = state
                .frame(frame)
                .is_some_and(|frame| frame.is(FrameType::Kernel));
            report.require(own, Law::KernelMap, || {
                format!("generated code lies in frame {frame:#x}, which is not the kernel's")
            });
        }
        let named = |leaf: &&Leaf| leaf.frame < end && code.frame < leaf.frame + leaf.pages;
        for other in leaves
            .iter()
            .filter(named)
            .filter(|leaf| leaf.at != code.at)
        {
            report.add(Law::KernelMap, || {
                format!("generated code has another name, {:#x}", UPPER | other.at)
            });
        }
    }
}

/// No frame is written under one name and executed under another.
fn write_or_execute(leaves: &[Leaf], report: &mut Report) {
    for code in leaves.iter().filter(|leaf| leaf.el1.execute) {
        let end = code.frame + code.pages;
        let written = leaves.iter().find(|leaf| {
            leaf.el1.write && leaf.frame < end && code.frame < leaf.frame + leaf.pages
        });
        if let Some(written) = written {
            report.add(Law::KernelMap, || {
                format!(
                    "frame {:#x} is executed at {:#x} and written at {:#x}",
                    code.frame,
                    UPPER | code.at,
                    UPPER | written.at
                )
            });
        }
    }
}

/// Each page of the image is mapped where it was linked, as what it is.
fn image(kernel: &Kernel, state: &State, leaves: &[Leaf], report: &mut Report) {
    for at in kernel.image().step_by(PAGE_SIZE as usize) {
        let found = leaves
            .iter()
            .find(|leaf| (leaf.at..leaf.at + leaf.pages * PAGE_SIZE).contains(&(at & !UPPER)));
        let guard =
            kernel.stacks.contains(&at) && GUARDS.contains(&((at - kernel.stacks.start) % SLOT));
        let wanted = if guard {
            None
        } else {
            Some(Can {
                read: true,
                write: at >= kernel.variables.start,
                execute: kernel.is_code(at),
            })
        };
        let can = found.map(|leaf| leaf.el1);
        report.require(can == wanted, Law::KernelMap, || {
            format!("the image at {at:#x} should be {wanted:?} for EL1, and is {can:?}")
        });
        let Some(leaf) = found else { continue };
        let physical = leaf.frame * PAGE_SIZE + ((at & !UPPER) - leaf.at);
        report.require(
            state.image.physical_of(at) == Some(physical),
            Law::KernelMap,
            || format!("the image at {at:#x} leads to {physical:#x}"),
        );
    }
}

/// The exposed region shows frames of the kernel's, its sections and nothing else.
fn exposed(memory: &Memory, state: &State, report: &mut Report) {
    let mut shown = Vec::new();
    for (index, entry) in (0..).zip(memory.table(state.exposed).unwrap_or_default()) {
        entries(memory, entry, 2, index << 21, &mut shown);
    }
    for (offset, entry, level) in shown {
        let pages = descriptor::pages(level);
        let frame = descriptor::frame(entry);
        let (el0, el1) = descriptor::permissions(entry, 0);
        let read = Can {
            read: true,
            ..Can::default()
        };
        let normal = descriptor::attribute(entry) == NORMAL
            && entry & descriptor::INNER_SHAREABLE == descriptor::INNER_SHAREABLE;
        report.require(el0 == read && el1 == read && normal, Law::Exposed, || {
            format!("the entry for {offset:#x} of the region is {entry:#x}")
        });
        let needed = state.places.iter().any(|place| {
            place.offset < offset + pages * PAGE_SIZE && offset < place.offset + place.bytes
        });
        report.require(needed, Law::Exposed, || {
            format!("frame {frame:#x} is shown at {offset:#x} of the region, where no section is")
        });
        for number in frames_of(frame * PAGE_SIZE, pages * PAGE_SIZE) {
            let own = state
                .frame(number)
                .is_some_and(|frame| frame.is(FrameType::Kernel));
            report.require(own, Law::Exposed, || {
                format!("frame {number:#x} is shown in the exposed region, but not the kernel's")
            });
        }
    }
}

/// Collects the leaves below an entry, with where in the region they are and their level.
fn entries(memory: &Memory, entry: u64, level: u8, offset: u64, into: &mut Vec<(u64, u64, u8)>) {
    match descriptor::shape(entry, level) {
        Shape::Nothing => {}
        Shape::Leaf => into.push((offset, entry, level)),
        Shape::Table => {
            let below = memory.table(descriptor::frame(entry)).unwrap_or_default();
            for (index, entry) in (0..).zip(below) {
                entries(memory, entry, level + 1, offset + index * PAGE_SIZE, into);
            }
        }
    }
}
