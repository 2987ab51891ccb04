//! A sequence on the simulated kernel, told as the target tells it.

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::page::PageRecord;
use exopi_abi::slice::SliceRecord;
use exopi_abi::uarea::UArea;
use exopi_abi::{Call, PageNumber, Reply};
use exopi_sequence::World;
use exopi_sequence::replay::{ARENA, Actor, Failure, Replay};
use exopi_sequence::stage::STORE;

use crate::{Board, Kernel, SimulatedWorld, Storage};

/// The first environment of a simulated kernel, making a sequence.
#[derive(Debug)]
struct Program<'m> {
    kernel: Kernel<'m>,
    colours: u64,
}

impl World for Program<'_> {
    fn page(&self, page: PageNumber) -> Option<PageRecord> {
        SimulatedWorld(&self.kernel).page(page)
    }

    fn account(&self, index: u16) -> Option<AccountRecord> {
        SimulatedWorld(&self.kernel).account(index)
    }

    fn space(&self, index: u16) -> Option<SpaceRecord> {
        SimulatedWorld(&self.kernel).space(index)
    }

    fn environment(&self, index: u16) -> Option<EnvironmentRecord> {
        SimulatedWorld(&self.kernel).environment(index)
    }

    fn life(&self, index: u16) -> LifeWord {
        SimulatedWorld(&self.kernel).life(index)
    }

    fn slice(&self, number: u16) -> Option<SliceRecord> {
        SimulatedWorld(&self.kernel).slice(number)
    }

    fn entry(&self, at: u64) -> u64 {
        SimulatedWorld(&self.kernel).entry(at)
    }

    fn stored(&self, at: u64) -> u64 {
        SimulatedWorld(&self.kernel).stored(at)
    }

    fn me(&self) -> ObjectName {
        self.kernel.first().environment
    }
}

impl Actor for Program<'_> {
    fn call(&mut self, number: u16, words: [u64; 6]) -> Reply {
        let reply = self.kernel.call(number, words);
        // Whoever else got the core has nothing to run: its first instruction faults, and so does the one of its
        // handler, until it is suspended and the turn comes back.
        while self.kernel.is_busy(0) && self.kernel.running() != self.me() {
            self.kernel.fault_at_once();
        }
        reply
    }

    fn load(&mut self, at: u64) -> Option<u64> {
        self.kernel.load(at).ok()
    }

    fn store(&mut self, at: u64, value: u64) -> bool {
        self.kernel.store(at, value).is_ok()
    }

    fn frames(&self) -> u32 {
        self.kernel.domains().pages.len() as u32
    }

    fn colours(&self) -> u64 {
        self.colours
    }
}

/// The lines of a sequence on a machine with these colours.
///
/// # Errors
/// The sequence cannot be made, or leaves something behind that cannot be given back.
pub fn lines(seed: u64, steps: u64, colours: u8) -> Result<Vec<String>, Failure> {
    lines_with(4 * ARENA as u32, seed, steps, colours)
}

/// The same on a machine of so many frames.
///
/// # Errors
/// As of [`lines`].
pub fn lines_with(frames: u32, seed: u64, steps: u64, colours: u8) -> Result<Vec<String>, Failure> {
    let board = Board {
        frames,
        colours,
        accounts: 1024,
        spaces: 1024,
        environments: 1024,
        ..Board::ROOMY
    };
    let mut storage = Storage::new(&board);
    let mut kernel = Kernel::boot(&board, &mut storage);
    // The target's program has no store either before it begins.
    let _ = kernel.call(Call::remove_pte.number(), [0, STORE, 1, 0, 0, 0]);
    for level in [3, 2] {
        let _ = kernel.call(Call::table_remove.number(), [0, STORE, level, 0, 0, 0]);
    }
    // And it has masked notices.
    let masked = FIRST_UAREA + core::mem::offset_of!(UArea, masked) as u64;
    if kernel.store(masked, 1).is_err() {
        return Err(Failure {
            what: "no u-area",
            reply: None,
        });
    }
    let free = kernel.domains().pages.free_pages();
    let program = Program {
        kernel,
        colours: colours.into(),
    };
    let mut replay = Replay::new(program)?;
    let mut lines = Vec::new();
    replay.run(seed, steps, |line| lines.push(line.to_owned()))?;
    let program = replay.close()?;
    if program.kernel.domains().pages.free_pages() != free {
        return Err(Failure {
            what: "pages were lost",
            reply: None,
        });
    }
    Ok(lines)
}

/// Where two tellings differ first: the lines there, with the step that they belong to.
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    let longest = one.len().max(other.len());
    let nothing = "nothing more";
    let line =
        |lines: &[String], at: usize| lines.get(at).map_or(nothing, String::as_str).to_owned();
    let at = (0..longest).find(|at| one.get(*at) != other.get(*at))?;
    let steps = one.iter().take(at).rev();
    let step = steps.into_iter().find(|line| line.starts_with("S "));
    let step = step.map_or("the beginning", String::as_str);
    Some(format!(
        "after `{step}`: `{}`, and `{}`",
        line(one, at),
        line(other, at)
    ))
}
