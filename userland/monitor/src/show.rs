//! What the kernel shows to everybody, as tables. No command here makes a call but to print.

use alloc::{format, string::String};
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{EnvironmentState, ObjectName, Resource};
use exopi_rt::exposed::CoreCounters;
use exopi_rt::page::{FrameType, Owner, PageRecord};
use exopi_rt::{Call, PageNumber, exposed, print, println, time};

/// Frames by type, and by owner.
pub fn pages() {
    let mut types = [0_u64; TYPES.len()];
    let mut owners: [(Owner, u64); 16] = [(Owner::NOBODY, 0); 16];
    let mut more = 0;
    for record in records() {
        if let Some((count, _)) = types
            .iter_mut()
            .zip(TYPES)
            .find(|(_, (kind, _))| *kind == record.kind)
        {
            *count += 1;
        }
        let owner = record.charged_to();
        if owner == Owner::NOBODY {
            continue;
        }
        let place = owners
            .iter_mut()
            .find(|(other, count)| *other == owner || *count == 0);
        match place {
            Some(place) => *place = (owner, place.1 + 1),
            None => more += 1,
        }
    }
    println!(
        "{:>8} frames of 4 KiB, {} colours",
        exposed::page_count(),
        exposed::machine().colours
    );
    for ((_, name), count) in TYPES.iter().zip(types).filter(|(_, count)| *count > 0) {
        println!("{count:>8} {name}");
    }
    for (owner, count) in owners.iter().filter(|(_, count)| *count > 0) {
        println!("{count:>8} of account {}", Name(*owner));
    }
    if more > 0 {
        println!("{more:>8} of further accounts");
    }
}

/// Types of frames, as they are listed.
const TYPES: [(FrameType, &str); 8] = [
    (FrameType::Free, "free"),
    (FrameType::Kernel, "the kernel's"),
    (FrameType::Plain, "plain"),
    (FrameType::Table2, "level-2 tables"),
    (FrameType::Table3, "level-3 tables"),
    (FrameType::Links, "links of tables"),
    (FrameType::Root, "roots of spaces"),
    (FrameType::UArea, "u-areas"),
];

/// Every frame's record.
fn records() -> impl Iterator<Item = PageRecord> {
    exposed::pages().map(|(_, record)| record)
}

/// The records of `count` frames from `first` on.
pub fn page_records(first: u32, count: u32) {
    println!("   frame type    account        epoch refs others/limit");
    for number in (first..).take(count as usize) {
        let Some(record) = exposed::page(PageNumber::new(number)) else {
            println!("there is no frame {number:#x}");
            return;
        };
        let kind = TYPES.iter().find(|(kind, _)| *kind == record.kind);
        println!(
            "{number:#8x} {:<7} {:<10} {:>9} {:>4} {:>6}/{}{}",
            kind.map_or("?", |(_, name)| name.split(' ').next().unwrap_or(name)),
            Name(record.charged_to()),
            record.stamp.epoch().bits(),
            record.references,
            record.foreign,
            record.stamp.limit(),
            if record.is_leaving() { " leaving" } else { "" },
        );
    }
}

/// An account as index and epoch; a dash for nobody.
struct Name(Owner);

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0 == Owner::NOBODY {
            return f.pad("-");
        }
        f.pad(&dotted(ObjectName::from_word(self.0.word())))
    }
}

/// A name as index and epoch.
pub fn dotted(name: ObjectName) -> String {
    format!("{}.{}", name.index, name.epoch.bits())
}

/// Every environment there is.
pub fn environments() {
    println!("environment  state      core space account    draws on   notices dispatched");
    for (at, record) in exposed::environments() {
        let name = dotted(at);
        let dispatches =
            exposed::live_at(at.index).map_or(0, |life| life.dispatches.load(Ordering::Relaxed));
        let word = exposed::life(at);
        print!("{name:<12} {:<10} ", state(word.state()));
        match word.core() {
            None => print!("   - "),
            Some(core) => print!("{core:>4} "),
        }
        println!(
            "{:>5} {:<10} {:<10} {:>7x} {:>10}",
            record.space,
            Name(record.account),
            Name(record.bound),
            record.notices,
            dispatches,
        );
    }
}

const fn state(state: EnvironmentState) -> &'static str {
    match state {
        EnvironmentState::Free => "free",
        EnvironmentState::Stopped => "stopped",
        EnvironmentState::Ready => "ready",
        EnvironmentState::Asleep => "asleep",
        EnvironmentState::Running => "running",
        EnvironmentState::Calling => "calling",
        EnvironmentState::Suspended => "suspended",
        EnvironmentState::Dying => "dying",
    }
}

/// Every space there is.
pub fn spaces() {
    println!("space        account    ASID     root environments");
    for (name, record) in exposed::spaces() {
        let name = dotted(name);
        println!(
            "{name:<12} {:<10} {:>4} {:#8x} {:>12}{}",
            Name(record.owner),
            record.asid,
            record.root,
            record.members,
            if record.dying == 0 { "" } else { " dying" },
        );
    }
}

/// Every account there is, with what it may use and uses.
pub fn accounts() {
    println!("account      parent          pages  environments       spaces     accounts");
    for (name, record) in exposed::accounts() {
        let name = dotted(name);
        print!("{name:<12} {:>6}", record.parent);
        for resource in Resource::ALL {
            let (used, allowance) = (
                record.used[resource as usize],
                record.allowance[resource as usize],
            );
            let used = format!("{used}/{allowance}");
            print!(" {used:>13}");
        }
        println!("{}", if record.dying == 0 { "" } else { " dying" });
    }
}

/// What each core has counted.
pub fn counters() {
    let cores = exposed::machine().cores as usize;
    print!("{:<18}", "since boot");
    for core in 0..cores {
        print!("{:>12}", format!("core {core}"));
    }
    println!();
    let row = |name: &str, of: &dyn Fn(usize) -> u64| {
        if (0..cores).any(|core| of(core) > 0) {
            print!("{name:<18}");
            (0..cores).for_each(|core| print!("{:>12}", of(core)));
            println!();
        }
    };
    for call in Call::ALL {
        row(call.name(), &|core| exposed::calls(core, *call));
    }
    let counter = |core, of: fn(&CoreCounters) -> &AtomicU64| {
        exposed::counters(core).map_or(0, |counters| of(counters).load(Ordering::Relaxed))
    };
    row("unknown calls", &|core| {
        counter(core, |of| &of.unknown_calls)
    });
    row("upcalls", &|core| counter(core, |of| &of.upcalls));
    row("interrupts", &|core| counter(core, |of| &of.interrupts));
    row("from other cores", &|core| counter(core, |of| &of.ipis));
    let header = exposed::header();
    for (what, ticks) in [
        ("hold of the kernel's lock", &header.longest_hold_ticks),
        ("time without interrupts", &header.longest_masked_ticks),
    ] {
        let microseconds = time::microseconds(ticks.load(Ordering::Relaxed));
        println!("longest {what}: {microseconds} us");
    }
}

/// The machine.
pub fn machine() {
    let machine = exposed::machine();
    println!(
        "board {:#x}, {} cores, boot {:016x}",
        machine.board_revision, machine.cores, machine.boot_id
    );
    println!(
        "cache shared by the cores: {} KiB, {} bytes a line, {} colours of pages",
        machine.cache_bytes / 1024,
        machine.cache_line,
        machine.colours,
    );
    println!(
        "up for {} ms",
        time::microseconds(time::ticks() - machine.entry_ticks) / 1000
    );
}
