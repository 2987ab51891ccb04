//! A crew: environments of this program's space that run Rust functions, one on each of the other cores, at the same
//! time as the case on its own.
//!
//! ```text
//!   AT + n MiB   stacks and u-area of hand n (environment::Builder), with tables of the program's
//! ```
//!
//! Each draws on the program's account or on one of its own. They are told what to do through statics, tell of what
//! does not hold by [`broken`], print nothing, and leave by returning. Where one touches memory that may not be there it
//! does so by [`load`] and [`store`].

use alloc::format;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::panic::Location;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::environment::{self, Builder, Made};
use exopi_rt::layout::FIRST_UAREA;
use exopi_rt::upcall::{self, Action, Fault};
use exopi_rt::{Account, Error, VirtAddr, exposed, memory, time};

use crate::area::place;
use crate::catch;
use crate::harness::{Failure, Outcome};
use crate::other;

/// Where the hands' stacks are.
const AT: u64 = 0x2a_0000_0000;
/// How far they are apart.
const APART: u64 = 0x10_0000;
/// Pages of a hand's stack.
const STACK_PAGES: u64 = 4;

/// Cores that this program does not run on.
pub(crate) fn other_cores() -> core::ops::Range<u64> {
    1..exposed::machine().cores
}

/// How often the rounds of parallel cases are done: once, or as often as the boot argument `soak=` says.
pub(crate) fn soak() -> u64 {
    exopi_rt::args().parsed("soak").unwrap_or(1)
}

/// Seconds after which a parallel case does no more rounds, unless it soaks: four cores that wait for one another are slow
/// where the emulator has fewer.
const PATIENCE_SECONDS: u64 = 1;

/// The numbers of rounds to be done, which end before `most` if time is over or something was told to [`broken`]. One is
/// always done.
pub(crate) fn rounds(most: u64) -> impl Iterator<Item = u64> {
    let begin = time::ticks();
    let patience = PATIENCE_SECONDS * soak() * time::ticks_per_second();
    (0..most * soak())
        .take_while(move |round| *round == 0 || time::ticks() - begin < patience && !is_over())
}

/// Where something did not hold, and what was found and expected there: the first time since it was last asked.
static BROKEN: AtomicPtr<Location<'static>> = AtomicPtr::new(core::ptr::null_mut());
static FOUND: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Not 0 when all are to come to their end.
static OVER: AtomicU64 = AtomicU64::new(0);

/// Nothing has been told of, and nobody is to come to an end.
pub(crate) fn begin() {
    OVER.store(0, Ordering::Relaxed);
    BROKEN.store(core::ptr::null_mut(), Ordering::Release);
}

/// Something does not hold. The case fails with the place, and with both words.
#[track_caller]
pub(crate) fn broken(found: u64, expected: u64) {
    let place = core::ptr::from_ref(Location::caller()).cast_mut();
    let first = BROKEN.compare_exchange(
        core::ptr::null_mut(),
        place,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
    if first.is_ok() {
        FOUND[0].store(found, Ordering::Relaxed);
        FOUND[1].store(expected, Ordering::Release);
    }
    OVER.store(1, Ordering::Release);
}

/// Tells of a refusal that is none of `known`. Whether it is one of them.
#[track_caller]
pub(crate) fn known(error: Error, known: &[Error]) -> bool {
    let is_known = known.contains(&error);
    if !is_known {
        broken(error as u64, known.first().map_or(0, |error| *error as u64));
    }
    is_known
}

/// Whether all are to come to their end.
pub(crate) fn is_over() -> bool {
    OVER.load(Ordering::Acquire) != 0
}

/// All come to their end from now on.
pub(crate) fn finish() {
    OVER.store(1, Ordering::Release);
}

/// Fails with what was told to [`broken`], if anything was.
pub(crate) fn check_whole() -> Outcome {
    let place = BROKEN.load(Ordering::Acquire).cast_const();
    // SAFETY: only `broken` stores one, and it lasts for good.
    let Some(place) = (unsafe { place.as_ref() }) else {
        return Ok(());
    };
    let [found, expected] = [0, 1].map(|index: usize| FOUND[index].load(Ordering::Acquire));
    Err(Failure::new(format!(
        "{}:{}: {found:#x}, expected {expected:#x}",
        place.file(),
        place.line()
    )))
}

/// Counts events, to be told in the end.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Tally<N> {
    /// Nothing has happened.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }

    /// Event `which` has happened.
    pub(crate) fn count(&self, which: usize) {
        if let Some(place) = self.0.get(which) {
            place.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often event `which` has happened until now.
    pub(crate) fn peek(&self, which: usize) -> u64 {
        self.0
            .get(which)
            .map_or(0, |place| place.load(Ordering::Acquire))
    }

    /// The counts, which begin anew.
    pub(crate) fn take(&self) -> [u64; N] {
        self.0
            .each_ref()
            .map(|place| place.swap(0, Ordering::Relaxed))
    }
}

/// Pseudo-random numbers (xorshift), never the same for two seeds.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// By a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// What [`load`] has found.
#[repr(C)]
struct Loaded {
    is_there: u64,
    word: u64,
}

/// Loads a word, if one can be loaded there. The first instruction is the one that may fault.
#[unsafe(naked)]
unsafe extern "C" fn try_load(at: u64) -> Loaded {
    naked_asm!("ldr x1, [x0]", "mov x0, #1", "ret")
}

/// Stores a word, if one can be stored there, and says whether it was.
#[unsafe(naked)]
unsafe extern "C" fn try_store(at: u64, word: u64) -> u64 {
    naked_asm!("str x1, [x0]", "mov x0, #1", "ret")
}

/// Loads a word from an address where something is mapped or nothing.
pub(crate) fn load(at: u64) -> Option<u64> {
    // SAFETY: a load changes nothing, and its fault is `handler`'s.
    let loaded = unsafe { try_load(at) };
    (loaded.is_there != 0).then_some(loaded.word)
}

/// Stores a word at an address where something is mapped or nothing, and says whether it was stored.
///
/// # Safety
/// Nothing may depend on the word.
pub(crate) unsafe fn store(at: u64, word: u64) -> bool {
    // SAFETY: the caller says that the word may change, and the fault is `handler`'s.
    (unsafe { try_store(at, word) }) != 0
}

/// What faults in [`load`] and [`store`] come back as. Any other goes to the suite's handler if it is the case's own; of
/// a hand's it is told, and that is the end of the hand.
pub(crate) fn handler(fault: &mut Fault<'_>) -> Action {
    let pc = fault.pc();
    if [try_load as *const () as u64, try_store as *const () as u64].contains(&pc) {
        fault.registers()[0] = 0;
        // Behind the instruction that says that it was done.
        fault.set_pc(pc + 8);
        return Action::Resume;
    }
    if upcall::uarea() as u64 == FIRST_UAREA {
        return catch::handler(fault);
    }
    broken(pc, fault.address());
    environment::leave()
}

/// On whose account a hand runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draws {
    /// The program's.
    Program,
    /// One of its own, with this beside what itself takes.
    Own(Allowance),
}

/// One of the crew.
#[derive(Debug)]
struct Hand {
    made: Made<'static>,
    account: Option<Account<'static>>,
    at: VirtAddr,
}

/// The crew. Those that have not left are ended with it.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Hand>);

impl Crew {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        begin();
        Self(Vec::new())
    }

    /// Makes a hand that is to run `job(argument)`. The job's first act must be [`arrive`].
    pub(crate) fn add(
        &mut self,
        job: fn(u64),
        argument: u64,
        account: Draws,
    ) -> Result<ObjectName, Failure> {
        let at = place(AT + self.0.len() as u64 * APART)?;
        memory::supply_tables(at)?;
        let builder = Builder::new(job, argument, at).stack_pages(STACK_PAGES);
        let account = match account {
            Draws::Program => None,
            Draws::Own(allowance) => Some(Account::create(Allowance {
                // Guards take none.
                pages: allowance.pages + builder.pages() as u32 - 3,
                environments: allowance.environments + 1,
                ..allowance
            })?),
        };
        if let Some(account) = account {
            account.bind()?;
        }
        let made = builder.build();
        Account::Own.bind()?;
        let made = made?;
        self.0.push(Hand { made, account, at });
        Ok(made.name())
    }

    /// Adds one for each of the other cores, whose argument is its core.
    pub(crate) fn add_each(&mut self, job: fn(u64), account: Draws) -> Outcome {
        for core in other_cores() {
            self.add(job, core, account)?;
        }
        Ok(())
    }

    /// Names, in the order in which they were added.
    pub(crate) fn names(&self) -> impl Iterator<Item = ObjectName> {
        self.0.iter().map(|hand| hand.made.name())
    }

    /// Lets all run, the first one on core 1, the next on core 2 and so on.
    pub(crate) fn start(&self) -> Outcome {
        for (hand, core) in self.0.iter().zip(other_cores().cycle()) {
            if let Some(account) = hand.account {
                account.bind()?;
            }
            let run = hand.made.environment().run(core);
            Account::Own.bind()?;
            run?;
        }
        Ok(())
    }

    /// Whether all have left.
    pub(crate) fn has_left(&self) -> bool {
        let state = |hand: &Hand| hand.made.environment().state();
        self.0
            .iter()
            .all(|hand| state(hand) == EnvironmentState::Free)
    }

    /// Waits until all have left, ends what is theirs, and fails with what they have told of.
    pub(crate) fn join(mut self) -> Outcome {
        let waited = other::wait(
            || Ok(self.has_left()),
            || format!("somebody does not leave: {:?}", self.states()),
        );
        check_whole()?;
        waited?;
        self.end()
    }

    /// Ends all that are there, wherever they are.
    pub(crate) fn end(&mut self) -> Outcome {
        finish();
        for hand in core::mem::take(&mut self.0) {
            match hand.account {
                Some(account) => account.destroy()?,
                None if hand.made.environment().record().is_some() => hand.made.end()?,
                None => hand.made.join(),
            }
            memory::remove_tables(hand.at)?;
        }
        Ok(())
    }

    fn states(&self) -> Vec<EnvironmentState> {
        let state = |hand: &Hand| hand.made.environment().state();
        self.0.iter().map(state).collect()
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Crew {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What every job begins with: its faults are its own.
pub(crate) fn arrive() {
    upcall::on_fault(handler);
}

/// Lets some time pass without a call, in a hand or in the case: a few times as long as a call takes. Cores that wait for
/// the kernel's lock wait in turn, and where the emulator has fewer processors than the machine each turn takes as long
/// as its host gives to somebody else. So those who hammer must be elsewhere for most of the time, or they get nothing
/// done.
pub(crate) fn pause(random: &mut Random) {
    for _ in 0..random.below(30_000) {
        time::relax();
    }
}
