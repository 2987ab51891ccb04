//! A second environment for cases: it makes the calls that it is told to, and has nothing of its own.
//!
//! It shares the space, so that it can be told through statics, and runs on the same core, in turns:
//!
//! ```text
//!   case:    REQUEST := call, words;  yield --.        .--> REPLY
//!   second:                                   '--> svc '--> yield
//! ```
//!
//! It is charged to an account of its own, whose pages it uses up: what the program owns is not its own,
//! and it can take nothing.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::calls::ROWS;
use exopi_rt::cap::EnvironmentCap;
use exopi_rt::capability::EnvironmentRights;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::environment::{self, Builder};
use exopi_rt::upcall::{self, Action};
use exopi_rt::{Account, Call, Environment, Reply, exposed, memory};

use crate::area::place;
use crate::harness::{Failure, Outcome};
use crate::machine::{self, Registers};
use crate::other::wait;

/// Where its stacks and its u-area are: the first half of 2 MiB with tables of their own.
pub(crate) const AT: u64 = 0x38_0000_0000;
/// The stub that it runs; cases have the others.
const STUB: u64 = machine::STUBS - 1;
/// How often it gets a turn before a case gives up waiting for it.
const TURNS: u32 = 1000;

/// 1 while a call is to be made.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// Its number.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Its arguments.
static WORDS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
/// What it gave: x0, x1.
static REPLY: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Notices that it has taken.
static NOTICES: AtomicU32 = AtomicU32::new(0);
/// 1 once it takes notices itself: the runtime drops those that come before.
static HEARS: AtomicU32 = AtomicU32::new(0);

/// What the second environment runs.
fn serve(_: u64) {
    // The program's handler would unwind the case that runs. A fault here is this environment's end.
    upcall::on_fault(|_| Action::Abort);
    upcall::on_notice(|notice| {
        NOTICES.fetch_or(notice.bits(), Ordering::Relaxed);
    });
    HEARS.store(1, Ordering::Release);
    loop {
        if PENDING.load(Ordering::Acquire) == 1 {
            let words = WORDS.each_ref().map(|word| word.load(Ordering::Relaxed));
            let number = NUMBER.load(Ordering::Relaxed);
            let row = ROWS
                .iter()
                .find(|row| u64::from(row.call.number()) == number);
            let mut registers = match row {
                Some(row) => Registers::of_call(row, words),
                None => Registers::with_arguments(words),
            };
            // SAFETY: the case has written the stub; it answers for what it asks for.
            unsafe { machine::run_stub(STUB, &mut registers) };
            let reply = row.map_or(registers.reply(), |row| registers.reply_of(row));
            REPLY[0].store(reply.status, Ordering::Relaxed);
            REPLY[1].store(reply.value, Ordering::Relaxed);
            PENDING.store(0, Ordering::Release);
        }
        environment::yield_now();
    }
}

/// The second environment while a case uses it.
#[derive(Debug)]
pub(crate) struct Second {
    account: Account<'static>,
    name: ObjectName,
    cap: EnvironmentCap,
    closed: bool,
}

impl Second {
    /// Makes it, and lets it wait for its turn.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::with_pages(0, 0)
    }

    /// The same with so many pages more, which it may allocate, and so many that are guaranteed to it.
    pub(crate) fn with_pages(more: u32, guaranteed: u32) -> Result<Self, Failure> {
        NOTICES.store(0, Ordering::Relaxed);
        HEARS.store(0, Ordering::Relaxed);
        let builder = Builder::new(serve, 0, place(AT)?);
        // The tables are the space's, so they come from the program's account; guards take no pages.
        memory::supply_tables(place(AT)?)?;
        let pages = builder.pages() as u32 - 3;
        let allowance = Allowance {
            pages: pages + more,
            // Itself, and one more of each, so that it is for want of another right that it gets none.
            environments: 2,
            spaces: 1,
            ..Allowance::default()
        };
        let account = Account::create_guaranteed(allowance, guaranteed)?;
        account.bind()?;
        let made = builder.build();
        let minted = match &made {
            Ok(made) => made.environment().mint(EnvironmentRights::all()),
            Err(error) => Err(*error),
        };
        Account::Own.bind()?;
        let second = Self {
            account,
            name: made?.name(),
            cap: minted?,
            closed: false,
        };
        let core = Environment::Own.life().core().unwrap_or(0);
        second.environment().run(core.into())?;
        wait(
            || Ok(HEARS.load(Ordering::Acquire) == 1),
            || "the second environment does not begin".into(),
        )?;
        Ok(second)
    }

    /// Whether it has got notice `bit`: it waits, or its handler has had it in a turn that came meanwhile.
    pub(crate) fn is_told(&self, bit: u32) -> bool {
        let waiting = exposed::environment(self.name).map_or(0, |record| record.notices);
        (waiting | NOTICES.load(Ordering::Relaxed)) & 1 << bit != 0
    }

    /// Its name.
    pub(crate) fn name(&self) -> ObjectName {
        self.name
    }

    /// With all rights to it.
    pub(crate) fn environment(&self) -> Environment<'_> {
        (&self.cap).into()
    }

    /// The account that it draws on.
    pub(crate) fn account(&self) -> Account<'static> {
        self.account
    }

    /// Has it make a call.
    pub(crate) fn call(&self, call: Call, words: [u64; 6]) -> Result<Reply, Failure> {
        machine::write_stub(STUB, call.number())?;
        machine::publish_stubs()?;
        for (place, word) in WORDS.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        NUMBER.store(call.number().into(), Ordering::Relaxed);
        PENDING.store(1, Ordering::Release);
        for _ in 0..TURNS {
            environment::yield_now();
            if PENDING.load(Ordering::Acquire) == 0 {
                return Ok(Reply {
                    status: REPLY[0].load(Ordering::Relaxed),
                    value: REPLY[1].load(Ordering::Relaxed),
                });
            }
        }
        PENDING.store(0, Ordering::Relaxed);
        let state = self.environment().state();
        Err(Failure::new(alloc::format!(
            "the second environment, {state:?}, does not come back from {} with {words:x?}",
            call.name()
        )))
    }

    /// Ends it with its account, and gives the tables back, unless that was done before.
    pub(crate) fn close(&mut self) -> Outcome {
        if core::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.account.destroy()?;
        check_eq!(self.environment().state(), EnvironmentState::Free);
        check!(self.account.record().is_none(), "its account is there");
        Ok(memory::remove_tables(place(AT)?)?)
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
