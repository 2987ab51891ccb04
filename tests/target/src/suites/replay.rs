//! Random sequences of calls, which the simulated kernel makes as well: its answers and records are
//! compared with what is printed here.
//!
//! Boot arguments: `replay=SEED` prints the sequence of that seed line by line, for whoever compares; `seeds=N`
//! those of the seeds that follow, too, and `steps=N` says how long each is. Without them a few sequences run
//! unprinted: that the program survives them and gets everything back is seen here as well.

use exopi_rt::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_rt::page::PageRecord;
use exopi_rt::slice::SliceRecord;
use exopi_rt::{PageNumber, Reply, args, exposed, println, tables, upcall};
use exopi_sequence::World;
use exopi_sequence::replay::{Actor, Replay};

use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers};

pub(crate) const SUITE: Suite = Suite {
    name: "replay",
    cases: &[("sequences", sequences)],
};

/// Stubs that are written: calls have lower numbers, and one more has none.
const NUMBERS: u16 = 128;
/// Steps of a sequence if nobody says.
const STEPS: u64 = 300;
/// Sequences if nobody says.
const SEEDS: core::ops::Range<u64> = 0..4;

/// This program.
#[derive(Debug)]
struct Program {
    me: ObjectName,
}

impl World for Program {
    fn page(&self, page: PageNumber) -> Option<PageRecord> {
        exposed::page(page)
    }

    fn account(&self, index: u16) -> Option<AccountRecord> {
        exposed::account_at(index)
    }

    fn space(&self, index: u16) -> Option<SpaceRecord> {
        exposed::space_at(index)
    }

    fn environment(&self, index: u16) -> Option<EnvironmentRecord> {
        exposed::environment_at(index)
    }

    fn life(&self, index: u16) -> LifeWord {
        exposed::life_at(index)
    }

    fn slice(&self, number: u16) -> Option<SliceRecord> {
        exposed::slice_at(number).filter(|record| !record.is_free())
    }

    fn entry(&self, at: u64) -> u64 {
        // As a page's entry names it; a superpage's is another table's.
        match tables::mapping_of(at) {
            Some(mapping) if !mapping.superpage => u64::from(mapping.page.get()) << 12 | 1,
            _ => 0,
        }
    }

    fn stored(&self, at: u64) -> u64 {
        load(at).unwrap_or_default()
    }

    fn me(&self) -> ObjectName {
        self.me
    }
}

impl Actor for Program {
    fn call(&mut self, number: u16, words: [u64; 6]) -> Reply {
        let mut registers = Registers::with_arguments(words);
        // SAFETY: sequences map, and store, where nothing else of the program is, give back what they took
        // themselves, and do not end it.
        unsafe { machine::run_stub((number % NUMBERS).into(), &mut registers) };
        registers.reply()
    }

    fn load(&mut self, at: u64) -> Option<u64> {
        load(at)
    }

    fn store(&mut self, at: u64, value: u64) -> bool {
        // SAFETY: sequences store where they alone map.
        unsafe { attempt!("str {value}, [{at}]"; value = in(reg) value, at = in(reg) at) }.is_ok()
    }

    fn frames(&self) -> u32 {
        exposed::page_count() as u32
    }

    fn colours(&self) -> u64 {
        exposed::machine().colours
    }
}

fn load(at: u64) -> Option<u64> {
    let mut value: u64 = 0;
    // SAFETY: a load changes nothing, and may fault.
    let loaded =
        unsafe { attempt!("ldr {value}, [{at}]"; value = inout(reg) value, at = in(reg) at) };
    loaded.ok().map(|()| value)
}

fn sequences() -> Outcome {
    for number in 0..NUMBERS {
        machine::write_stub(number.into(), number)?;
    }
    machine::publish_stubs()?;
    // What a sequence does to environments of its own is told to their keeper, which may be this program.
    let number = |name| {
        args()
            .value(name)
            .and_then(|value| value.parse::<u64>().ok())
    };
    let steps = number("steps").unwrap_or(STEPS);
    let first = number("replay");
    let begin = first.unwrap_or(SEEDS.start);
    let end = begin + number("seeds").unwrap_or(if first.is_some() { 1 } else { SEEDS.end });
    upcall::masked(|| (begin..end).try_for_each(|seed| sequence(seed, steps, first.is_some())))
}

fn sequence(seed: u64, steps: u64, printed: bool) -> Outcome {
    let failed = |failure| Failure::new(alloc::format!("{failure}"));
    let me = crate::domain::own_name()?;
    let mut replay = Replay::new(Program { me }).map_err(failed)?;
    if printed {
        let colours = exposed::machine().colours;
        println!("Q {seed} {steps} {colours}");
    }
    let print = |line: &str| {
        if printed {
            println!("{line}");
        }
    };
    let ran = replay.run(seed, steps, print);
    if printed {
        println!("Q end");
    }
    replay.close().map_err(failed)?;
    ran.map_err(failed)
}
