//! The search: environments, steps, and what is checked after each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use exopi_abi::capability::Kind;
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::uarea::{self, UArea, UpcallClass};
use exopi_abi::{Call, PageNumber, Reply};
use exopi_sequence::stage::{AREA, SLOTS, STORE, slot_address};
use exopi_sequence::{Chooser, Names, Purpose, Random, Step, learn};
use exopi_simkernel::{Board, Kernel, SimulatedWorld, Storage, found, owned};

use super::judge::{Judged, carried_out, words_at};
use super::oracle::Verdict;

/// Who is on the board.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// For the message of a failure.
    name: &'static str,
    /// Frames of the board.
    frames: u32,
    /// Pages that each environment but the first has beside its space's.
    pages: &'static [u32],
    /// How often, in a thousand steps, a capability is handed to another environment.
    handed: u64,
    /// Pages that the first environment has in a row from page 512 on.
    row: u64,
    /// Steps in all.
    steps: u64,
    /// Steps before everything begins anew.
    life: u64,
}

impl Scenario {
    pub(crate) const ONE_PAGE: Self = Self {
        name: "one_page_reaches_no_other",
        frames: 58,
        pages: &[1, 4],
        handed: 0,
        row: 0,
        steps: 1_000_000,
        life: 400,
    };
    pub(crate) const SHARING: Self = Self {
        name: "three_that_share",
        frames: 64,
        pages: &[4, 4],
        handed: 40,
        row: 0,
        steps: 300_000,
        life: 600,
    };
    pub(crate) const STRANGERS: Self = Self {
        name: "two_strangers",
        frames: 44,
        pages: &[6],
        handed: 2,
        row: 0,
        steps: 200_000,
        life: 300,
    };
    pub(crate) const WANT: Self = Self {
        name: "four_in_want",
        frames: 72,
        pages: &[2, 2, 2],
        handed: 25,
        row: 0,
        steps: 250_000,
        life: 500,
    };
    pub(crate) const SUPERPAGES: Self = Self {
        name: "superpages",
        frames: 1600,
        pages: &[6],
        handed: 30,
        row: 1024,
        steps: 20_000,
        life: 250,
    };
}

/// Runs a scenario: many lives from one seed.
///
/// # Panics
/// Something was found. Says how to see it again.
pub(crate) fn search(scenario: Scenario) {
    let seed = number("EXOPI_SEED").unwrap_or(20);
    let steps = number("EXOPI_STEPS").unwrap_or(scenario.steps);
    let mut done = 0;
    let mut tally = BTreeMap::new();
    for life in seed.. {
        if done >= steps {
            break;
        }
        let mut at = 0;
        let found = catch_unwind(AssertUnwindSafe(|| {
            live(&scenario, life, &mut at, &mut tally)
        }));
        let what = match found {
            Ok(Ok(())) => {
                done += at;
                continue;
            }
            Ok(Err(what)) => what,
            Err(_) => "a panic, told above".into(),
        };
        panic!(
            "step {at} of a life, after {done} steps: {what}\nto see it again: EXOPI_SEED={life} \
             EXOPI_STEPS=1 cargo test -p exopi-simkernel --test search {}",
            scenario.name
        );
    }
    println!("{}: {done} steps from seed {seed} on", scenario.name);
    if std::env::var_os("EXOPI_TALLY").is_some() {
        println!("carried out and refused, by call:");
        for (call, [good, bad]) in tally {
            println!("{call:>20} {good:8} {bad:8}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

type Tally = BTreeMap<&'static str, [u64; 2]>;

/// One life: from boot on, until everybody is gone or it has lasted long enough.
fn live(scenario: &Scenario, seed: u64, at: &mut u64, tally: &mut Tally) -> Verdict {
    let board = Board {
        frames: scenario.frames,
        colours: 2,
        key: [seed, !seed],
        ..Board::SMALL
    };
    let mut storage = Storage::new(&board);
    let mut life = Life::new(Kernel::boot(&board, &mut storage), scenario)?;
    let mut random = Random::new(seed);
    let mut chooser = Chooser::new(random.word(), Purpose::Search);
    while *at < scenario.life {
        *at += 1;
        if !life.choose_core(&mut random)? {
            return Ok(());
        }
        if random.below(1000) < scenario.handed {
            life.hand_over(&mut random);
        }
        let step = chooser.step(&SimulatedWorld(&life.judged.kernel), &life.names);
        let trace = std::env::var_os("EXOPI_TRACE").is_some();
        if trace {
            println!("{at}: {:?} {step:x?}", life.judged.kernel.running());
        }
        let reply = life.step(&step, random.below(16) == 0)?;
        if trace {
            println!("{at}: {reply:x?}");
        }
        if let (Step::Call { number, .. }, Some(reply)) = (step, reply)
            && let Some(call) = Call::from_number(number)
        {
            let good = reply.error().is_none() || reply.status >> 16 > 0;
            tally.entry(call.name()).or_default()[usize::from(!good)] += 1;
        }
    }
    Ok(())
}

/// A kernel, those who run on it, what is known of them, and what they know.
struct Life<'m> {
    judged: Judged<'m>,
    names: Names,
}

impl<'m> Life<'m> {
    /// Boots, and has the first environment make the others, each with an account of its own and on a core
    /// of its own, with calls that are judged like any other.
    fn new(kernel: Kernel<'m>, scenario: &Scenario) -> Verdict<Self> {
        let mut names = Names::new();
        let first = kernel.first();
        names.add(Kind::Account, first.account);
        names.add(Kind::Space, first.space);
        names.add(Kind::Environment, first.environment);
        let mut life = Self {
            judged: Judged::boot(kernel),
            names,
        };
        for (core, pages) in (1..).zip(scenario.pages) {
            life.found(core, *pages)?;
        }
        life.furnish(scenario.row)?;
        life.name_pages();
        Ok(life)
    }

    /// Everything that is not the kernel's or somebody's store is worth a name; of many pages, some.
    fn name_pages(&mut self) {
        let kernel = &self.judged.kernel;
        let count = kernel.domains().pages.len() as u32;
        let stores: Vec<u32> = (0..8)
            .filter_map(|core| kernel.frame_at(core, STORE))
            .collect();
        for page in 0..count {
            let near = |edge: u32| page.abs_diff(edge) < 3;
            let chosen = count <= 80 || page < 40 || [512, 1024, 1536].into_iter().any(near);
            if chosen && !stores.contains(&page) {
                self.names.add_page(PageNumber::new(page));
            }
        }
        // And one of the kernel's that is always there.
        self.names.add_page(PageNumber::new(0));
    }

    /// The first environment has tables for the area, too, and pages in a row with a capability for them.
    fn furnish(&mut self, row: u64) -> Verdict {
        for page in (512..512 + row).step_by(16) {
            self.must(Call::page_alloc, [page, 16, 0, 0, 0, 0])?;
        }
        for first in (512..512 + row).step_by(512) {
            self.must(Call::page_retire, [first, 0, 256, 0, 0, 0])?;
            self.must(Call::page_retire, [first + 256, 0, 256, 0, 0, 0])?;
        }
        for level in [2, 3] {
            let mut pages = [0; 2];
            for page in &mut pages {
                *page = self.must(Call::page_alloc, [1 << 56, 1, 0, 0, 0, 0])?;
            }
            self.must(Call::table_insert, [0, AREA, level, pages[0], pages[1], 0])?;
        }
        Ok(())
    }

    /// Makes a step, and takes note of what it told.
    fn step(&mut self, step: &Step, closely: bool) -> Verdict<Option<Reply>> {
        let reply = self.judged.step(step, closely)?;
        if let (Step::Call { number, words, .. }, Some(reply)) = (step, reply) {
            let world = SimulatedWorld(&self.judged.kernel);
            learn(&mut self.names, &world, *number, words, reply);
        }
        Ok(reply)
    }

    /// A call that everything begins with.
    fn must(&mut self, call: Call, words: [u64; 6]) -> Verdict<u64> {
        let step = Step::Call {
            number: call.number(),
            words,
            operations: None,
        };
        let reply = self.step(&step, true)?;
        carried_out(call, words, reply)
    }

    /// An account, a space with a store, and an environment that runs on `core`.
    fn found(&mut self, core: u8, pages: u32) -> Verdict {
        found(core, pages.into(), |call, words| {
            let value = self.must(call, words)?;
            // The first environment, which draws on the other's account now, has a gate to it.
            if call == Call::env_create {
                let environment = owned(ObjectName::from_word(value));
                let gate = u64::from(core) - 1;
                self.must(Call::gate_bind, [gate, environment, 0, 0, 0, 0])?;
            }
            Ok::<_, String>(value)
        })?;
        let kernel = &mut self.judged.kernel;
        kernel.schedule();
        // It takes calls.
        let here = kernel.core();
        kernel.select(core);
        let entry = core::mem::offset_of!(UArea, entries)
            + UpcallClass::Pct as usize * size_of::<uarea::Entry>();
        let stored = kernel.store(FIRST_UAREA + entry as u64, AREA);
        kernel.select(here);
        stored.map_err(|fault| format!("no entry for calls: {fault:?}"))
    }

    /// Some core on which somebody runs; none if everybody is gone. Idle cores clear up now and then.
    fn choose_core(&mut self, random: &mut Random) -> Verdict<bool> {
        let cores = self.judged.kernel.cores();
        if random.below(20) == 0 {
            self.judged.kernel.sweep();
            self.judged.check()?;
        }
        let start = random.below(cores.into()) as u8;
        let busy = (start..cores)
            .chain(0..start)
            .find(|core| self.judged.kernel.is_busy(*core));
        if let Some(core) = busy {
            self.judged.kernel.select(core);
        }
        Ok(busy.is_some())
    }

    /// Somebody hands the bytes of a capability to the one who runs here.
    fn hand_over(&mut self, random: &mut Random) {
        let here = self.judged.kernel.core();
        let other = random.below(self.judged.kernel.cores().into()) as u8;
        let slot = |random: &mut Random| slot_address(random.below(SLOTS as u64) as usize);
        let (from, to) = (slot(random), slot(random));
        if self.judged.kernel.is_busy(other) {
            self.judged.kernel.select(other);
            let words = words_at(&self.judged.kernel, from);
            self.judged.kernel.select(here);
            if let Some(words) = words {
                self.judged.write_words(to, words);
            }
        }
    }
}
