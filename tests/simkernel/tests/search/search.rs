//! The search: environments, steps, and what is checked after each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use exopi_abi::capability::{CAPABILITY_WORDS, Kind};
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::page::BATCH_BOUND;
use exopi_abi::uarea::{self, UArea, UpcallClass};
use exopi_abi::{Call, Operation, PageNumber, Reply};
use exopi_pages::model::Machine;
use exopi_sequence::stage::{AREA, OPERATIONS, SLOTS, STORE, operations_address, slot_address};
use exopi_sequence::{Chooser, Edit, Names, Purpose, Random, Step, learn};
use exopi_simkernel::el0::Use;
use exopi_simkernel::{Board, Kernel, SimulatedWorld, Storage, found, owned};

use super::oracle::{Made, Oracle, Reach, Verdict, Words};

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
        steps: 250_000,
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
    if std::env::var_os("EXOPI_TALLY").is_some() {
        println!("{done} steps; carried out and refused, by call:");
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
        let step = chooser.step(&SimulatedWorld(&life.kernel), &life.names);
        let trace = std::env::var_os("EXOPI_TRACE").is_some();
        if trace {
            println!("{at}: {:?} {step:x?}", life.kernel.running());
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

/// The words at an address of the running environment's memory.
fn words_at(kernel: &Kernel<'_>, at: u64) -> Option<Words> {
    let mut words = [0; CAPABILITY_WORDS];
    for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
        *word = kernel.load(at.checked_add(offset)?).ok()?;
    }
    at.is_multiple_of(8).then_some(words)
}

/// A kernel, those who run on it, and what is known of them.
struct Life<'m> {
    kernel: Kernel<'m>,
    oracle: Oracle,
    names: Names,
}

impl<'m> Life<'m> {
    /// Boots, and has the first environment make the others, each with an account of its own and on a core
    /// of its own, with calls that are judged like any other.
    fn new(kernel: Kernel<'m>, scenario: &Scenario) -> Verdict<Self> {
        let mut oracle = Oracle::new(kernel.domains().pages.len());
        let mut names = Names::new();
        let first = kernel.first();
        let [root, tables @ ..] = first.tables.map(PageNumber::get);
        oracle.boot(first.account, first.space, root, first.environment);
        for [table, links] in tables.as_chunks().0 {
            oracle.boot_table(first.space, *table, *links);
        }
        oracle.boot_uarea(first.environment, FIRST_UAREA, first.uarea.get());
        let store = first.store.get();
        oracle.boot_mapping(
            first.space,
            STORE,
            store,
            exopi_abi::Access::READ | exopi_abi::Access::WRITE,
        );
        names.add(Kind::Account, first.account);
        names.add(Kind::Space, first.space);
        names.add(Kind::Environment, first.environment);
        let mut life = Self {
            kernel,
            oracle,
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
        let pages = &self.kernel.domains().pages;
        let count = pages.len() as u32;
        let stores: Vec<u32> = (0..8)
            .filter_map(|core| self.kernel.frame_at(core, STORE))
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

    /// A call that everything begins with.
    fn must(&mut self, call: Call, words: [u64; 6]) -> Verdict<u64> {
        let step = Step::Call {
            number: call.number(),
            words,
            operations: None,
        };
        match self.step(&step, true)? {
            Some(reply) if reply.error().is_none() => Ok(reply.value),
            reply => Err(format!("{call:?} {words:x?} begins with {reply:x?}")),
        }
    }

    /// An account, a space with a store, and an environment that runs on `core`.
    fn found(&mut self, core: u8, pages: u32) -> Verdict {
        found(core, pages.into(), |call, words| {
            let value = self.must(call, words)?;
            // The first environment, which draws on the other's account now, has a gate to it.
            if call == Call::env_create {
                let environment = owned(ObjectName::from_word(value));
                self.must(
                    Call::gate_bind,
                    [u64::from(core) - 1, environment, 0, 0, 0, 0],
                )?;
            }
            Ok::<_, String>(value)
        })?;
        self.kernel.schedule();
        // It takes calls.
        let here = self.kernel.core();
        self.kernel.select(core);
        let entry = core::mem::offset_of!(UArea, entries)
            + UpcallClass::Pct as usize * size_of::<uarea::Entry>();
        let stored = self.kernel.store(FIRST_UAREA + entry as u64, AREA);
        self.kernel.select(here);
        stored.map_err(|fault| format!("no entry for calls: {fault:?}"))
    }

    /// Some core on which somebody runs; none if everybody is gone. Idle cores clear up now and then.
    fn choose_core(&mut self, random: &mut Random) -> Verdict<bool> {
        let cores = self.kernel.cores();
        if random.below(20) == 0 {
            self.kernel.sweep();
            self.check()?;
        }
        let start = random.below(cores.into()) as u8;
        let busy = (start..cores)
            .chain(0..start)
            .find(|core| self.kernel.is_busy(*core));
        if let Some(core) = busy {
            self.kernel.select(core);
        }
        Ok(busy.is_some())
    }

    /// Somebody hands the bytes of a capability to the one who runs here.
    fn hand_over(&mut self, random: &mut Random) {
        let here = self.kernel.core();
        let other = random.below(self.kernel.cores().into()) as u8;
        let slot = |random: &mut Random| slot_address(random.below(SLOTS as u64) as usize);
        let (from, to) = (slot(random), slot(random));
        if self.kernel.is_busy(other) {
            self.kernel.select(other);
            let words = words_at(&self.kernel, from);
            self.kernel.select(here);
            if let Some(words) = words {
                self.write_words(to, words);
            }
        }
    }

    fn write_words(&mut self, at: u64, words: Words) -> bool {
        self.oracle
            .forget(self.kernel.running(), at, size_of::<Words>() as u64);
        let places = (at..).step_by(8);
        let mut pairs = places.zip(words);
        pairs.all(|(at, word)| self.kernel.store(at, word).is_ok())
    }

    /// Makes a step, and checks everything. A call's reply. `closely`: also whether a refused call has left the
    /// machine as it was.
    fn step(&mut self, step: &Step, closely: bool) -> Verdict<Option<Reply>> {
        let me = self.kernel.running();
        let reply = match *step {
            Step::Call {
                number,
                words,
                operations,
            } => Some(self.call(number, words, operations, closely)?),
            Step::Load { at } => {
                match self.kernel.load(at) {
                    Ok(value) => self.oracle.loaded(me, at, value)?,
                    Err(_) => self.oracle.faulted(me, at, Use::Load)?,
                }
                None
            }
            Step::Store { at, value } => {
                match self.kernel.store(at, value) {
                    Ok(()) => self.oracle.stored(me, at, value),
                    Err(_) => self.oracle.faulted(me, at, Use::Store)?,
                }
                None
            }
            Step::Fetch { at } => {
                if self.kernel.fetch(at).is_err() {
                    self.oracle.faulted(me, at, Use::Fetch)?;
                }
                None
            }
            Step::Edit(edit) => {
                self.edit(&edit);
                None
            }
        };
        Ok(reply)
    }

    fn edit(&mut self, edit: &Edit) {
        let (from, to) = (slot_address(edit.source()), slot_address(edit.target()));
        let (Some(source), Some(target)) =
            (words_at(&self.kernel, from), words_at(&self.kernel, to))
        else {
            return;
        };
        if let Ok(words) = edit.apply(source, target)
            && self.write_words(to, words)
            && let Edit::Attenuate { restriction, .. } = edit
        {
            self.oracle.attenuated(&source, words, *restriction);
        }
    }

    fn call(
        &mut self,
        number: u16,
        words: [u64; 6],
        operations: Option<[Operation; OPERATIONS]>,
        closely: bool,
    ) -> Verdict<Reply> {
        for (index, operation) in operations.iter().flatten().enumerate() {
            self.write_operation(index, operation);
        }
        let me = self.kernel.running();
        let arguments = words
            .into_iter()
            .chain(operations.iter().flatten().flat_map(|one| one.arguments));
        let presented: BTreeMap<u64, Words> = arguments
            .filter_map(|at| Some((at, words_at(&self.kernel, at)?)))
            .collect();
        let batch = Call::from_number(number) == Some(Call::pte_batch);
        let asked = batch.then(|| self.operations(words[1], words[2]));
        let before = self.kernel.snapshot();
        let machine = closely.then(|| self.kernel.machine().clone());
        let core = self.kernel.core();
        let reply = self.kernel.dispatch(number, words);
        let then = self.kernel.is_busy(core).then(|| self.kernel.running());
        let after = self.kernel.snapshot();
        let refused = reply.error().is_some() && reply.status >> 16 == 0;
        // Some have an effect, too: a break goes on behind it, and an answer that comes too late ends the call.
        let breaks = matches!(
            Call::from_number(number),
            Some(Call::page_break | Call::pct_reply)
        );
        // A call that is busy has asked for an interrupt, which has come.
        let busy = reply.error() == Some(exopi_abi::Error::Busy);
        if refused && !breaks && !busy {
            if let Some(difference) = before.difference(&after) {
                return Err(format!(
                    "a call refused with {reply:x?} has changed {difference}"
                ));
            }
            if machine.is_some_and(|machine| !self.has_memory_of(&machine)) {
                return Err(format!("a call refused with {reply:x?} has changed memory"));
            }
        }
        self.kernel.leave();
        let fresh = before.taken(&after);
        learn(
            &mut self.names,
            &SimulatedWorld(&self.kernel),
            number,
            &words,
            reply,
        );
        let mut operations = asked.unwrap_or_default();
        if self.kernel.is_busy(core) && self.kernel.running() == me {
            for (operation, done) in operations
                .iter_mut()
                .zip(self.operations(words[1], words[2]))
            {
                (operation.status, operation.value) = (done.status, done.value);
            }
        }
        let kernel = &self.kernel;
        let made = Made {
            by: me,
            number,
            words,
            reply,
            operations,
            before: &|at| presented.get(&at).copied(),
            after: &|at| words_at(kernel, at),
            entry: &|space, at| kernel.frame_in(space, at),
            fresh,
            then,
        };
        self.oracle.call(&made)?;
        self.forget(me, number, &words);
        // What has changed nothing has been looked at before.
        if !refused || breaks || busy || closely {
            self.check()?;
        }
        Ok(reply)
    }

    /// Whether memory is as it was.
    fn has_memory_of(&self, before: &Machine) -> bool {
        let frames = (0..self.kernel.domains().pages.len() as u32).map(PageNumber::new);
        let now = self.kernel.machine();
        frames
            .into_iter()
            .all(|frame| before.contents(frame) == now.contents(frame))
    }

    /// Pages in which the kernel may have written for the caller.
    fn forget(&mut self, me: ObjectName, number: u16, words: &[u64; 6]) {
        let written = match Call::from_number(number) {
            Some(Call::cap_mint | Call::cap_narrow) => (words[4], 48),
            Some(Call::env_read) => (words[2], words[3]),
            Some(Call::console_read) => (words[0], words[1]),
            Some(Call::pte_batch) => (words[1], words[2].saturating_mul(64)),
            _ => return,
        };
        self.oracle.forget(me, written.0, written.1.min(4096));
    }

    fn write_operation(&mut self, index: usize, operation: &Operation) {
        let [a, b, c, d, e] = operation.arguments;
        let words = [operation.call, a, b, c, d, e, 0, 0];
        let at = operations_address() + (index * size_of::<Operation>()) as u64;
        self.oracle
            .forget(self.kernel.running(), at, size_of::<Operation>() as u64);
        for (at, word) in (at..).step_by(8).zip(words) {
            // Without a store there is nothing to write to, and the call will say so.
            let _ = self.kernel.store(at, word);
        }
    }

    /// The operations of a batch, as far as they can be read.
    fn operations(&self, at: u64, count: u64) -> Vec<Operation> {
        let read = |at| self.kernel.load(at).ok();
        let operation = |index: u64| {
            let at = at.checked_add(index * size_of::<Operation>() as u64)?;
            let mut words = [0; 8];
            for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
                *word = read(at.checked_add(offset)?)?;
            }
            let [call, a, b, c, d, e, status, value] = words;
            Some(Operation {
                call,
                arguments: [a, b, c, d, e],
                status,
                value,
            })
        };
        (0..count.min(BATCH_BOUND)).map_while(operation).collect()
    }

    /// All that must hold between two steps.
    fn check(&self) -> Verdict {
        self.kernel.check()?;
        let machine = self.kernel.machine();
        self.oracle
            .contents(|page| machine.contents(PageNumber::new(page)))?;
        self.oracle
            .reach(self.kernel.translations().map(|(space, at, found)| Reach {
                space,
                at,
                page: found.frame.get(),
                pages: found.pages,
                write: found.write,
                execute: found.execute,
            }))
    }
}
