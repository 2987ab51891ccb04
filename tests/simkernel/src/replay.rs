//! A sequence on the simulated kernel, told as the target tells it.

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, ObjectName, SpaceRecord};
use exopi_abi::page::PageRecord;
use exopi_abi::{PageNumber, Reply};
use exopi_sequence::World;
use exopi_sequence::replay::{ARENA, Actor, Failure, Replay};

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

/// The lines of a sequence on a machine with these colours: those of `Q` and between them.
///
/// # Errors
/// The sequence cannot be made, or leaves something behind that cannot be given back.
pub fn lines(seed: u64, steps: u64, core: u64, colours: u8) -> Result<Vec<String>, Failure> {
    let board = Board {
        frames: 4 * ARENA as u32,
        colours,
        accounts: 1024,
        spaces: 1024,
        environments: 1024,
        ..Board::ROOMY
    };
    let mut storage = Storage::new(&board);
    let kernel = Kernel::boot(&board, &mut storage);
    let free = kernel.domains().pages.free_pages();
    let program = Program {
        kernel,
        colours: colours.into(),
    };
    let mut replay = Replay::new(program)?;
    let mut lines = Vec::new();
    replay.run(seed, steps, core, |line| lines.push(line.to_owned()))?;
    let program = replay.close()?;
    if program.kernel.domains().pages.free_pages() != free {
        return Err(Failure {
            what: "pages were lost",
            reply: None,
        });
    }
    Ok(lines)
}
