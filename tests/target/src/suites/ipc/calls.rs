//! Typed calls over gates.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_ipc::{CallError, Client, Handler, Server, Service};
use exopi_rt::capability::{Badge, EnvironmentRights};
use exopi_rt::domain::ObjectName;
use exopi_rt::transfer::{self, Call, MESSAGE_WORDS};
use exopi_rt::{Call as Number, Environment, Error, environment, exposed, time};

use super::{Random, paid};
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared};

exopi_ipc::messages! {
    /// What the accountant is asked.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Request {
        /// Adds to the caller's account.
        1 => Add { amount: u64 },
        /// Who am I?
        2 => Whoami {},
        /// The root of a number, by floating-point registers.
        3 => Root { square: u32 },
        /// How many requests were not understood, and how many came one way?
        4 => Count {},
        /// Die.
        5 => Leave {},
        /// Answer after so many ticks.
        6 => Late { ticks: u64 },
        /// Ask somebody else to add.
        7 => Forward { to: ObjectName, amount: u64 },
    }
}

/// Accounts by badge.
struct Accountant;

impl Service for Accountant {
    type Request = Request;
    type Answer = Result<(u64, u64), u32>;
}

/// What the accountant keeps.
#[derive(Default)]
struct Books {
    sums: [u64; 8],
    not_understood: u64,
    one_way: u64,
    late: u64,
}

impl Handler<Accountant> for Books {
    fn handle(&mut self, request: Request, from: &Call) -> Result<(u64, u64), u32> {
        self.one_way += u64::from(from.one_way);
        let badge = from.badge.into();
        match request {
            Request::Add { amount } => {
                let sum = self.sums.get_mut(from.badge as usize).ok_or(404u32)?;
                *sum = sum.checked_add(amount).ok_or(507u32)?;
                Ok((*sum, badge))
            }
            Request::Whoami {} => Ok((from.caller.word(), badge)),
            Request::Root { square } => Ok((root(square), badge)),
            Request::Count {} => Ok((self.not_understood, self.one_way)),
            Request::Leave {} => environment::leave(),
            Request::Late { ticks } => {
                let begin = time::ticks();
                while time::ticks() - begin < ticks {
                    environment::yield_now();
                }
                self.late += 1;
                Ok((ticks, self.late))
            }
            Request::Forward { to, amount } => {
                let client = Client::<Accountant>::bind(Environment::Owned(to))
                    .map_err(|error| error as u32)?;
                match paid(|| client.call(&Request::Add { amount })) {
                    Ok(answer) => answer,
                    Err(CallError::Refused(error)) => Err(error as u32),
                    Err(_) => Err(500),
                }
            }
        }
    }

    fn not_understood(&mut self, from: &Call) {
        self.not_understood += 1;
        self.one_way += u64::from(from.one_way);
    }
}

/// By registers of the vector unit, all of which it overwrites.
fn root(square: u32) -> u64 {
    let root: u64;
    // SAFETY: an instruction on registers; what it changes is said.
    unsafe {
        asm!(
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "dup v\\n\\().2d, {square}",
            ".endr",
            "ucvtf d0, {square}",
            "fsqrt d0, d0",
            "fcvtzu {root}, d0",
            square = in(reg) u64::from(square),
            root = out(reg) root,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
        );
    }
    root
}

/// What the peer runs.
fn serve(_: u64) {
    peer::begin();
    Server::<Accountant, _>::new(Books::default()).serve()
}

/// A case with an accountant in a space of its own.
fn with_accountant(case: impl FnOnce(&Peer, &Client<Accountant>) -> Outcome) -> Outcome {
    let shared = Shared::new(1)?;
    let peer = Peer::elsewhere(&shared, 0, serve, 0)?;
    peer.wait_for_rest()?;
    let client = Client::bind(peer.environment())?;
    case(&peer, &client)?;
    drop(client);
    peer.end()?;
    shared.close()
}

fn asked(client: &Client<Accountant>, request: Request) -> Result<(u64, u64), Failure> {
    let answer = paid(|| client.call(&request))
        .map_err(|error| Failure::new(alloc::format!("{request:?}: {error}")))?;
    answer.map_err(|code| Failure::new(alloc::format!("{request:?}: {code}")))
}

pub(super) fn between_spaces() -> Outcome {
    with_accountant(|_, client| {
        let me = peer::me()?.word();
        check_eq!(asked(client, Request::Whoami {})?, (me, 0));
        let mut sum = 0;
        for amount in 0..500 {
            sum += amount;
            check_eq!(asked(client, Request::Add { amount })?, (sum, 0));
            let square = (amount * amount) as u32;
            check_eq!(asked(client, Request::Root { square })?, (amount, 0));
        }
        // An error is an answer like others.
        let amount = u64::MAX;
        check_eq!(paid(|| client.call(&Request::Add { amount })), Ok(Err(507)));
        Ok(())
    })
}

pub(super) fn hostile_requests() -> Outcome {
    const SEED: u64 = 0x1bad_5eed;
    with_accountant(|_, client| {
        let gate = client.transfer().slot();
        let mut random = Random(SEED);
        let mut refused = 0;
        for round in 0..2000 {
            let mut message = [0; MESSAGE_WORDS];
            let used = random.next() as usize % (MESSAGE_WORDS + 1);
            for word in message.iter_mut().take(used) {
                *word = random.next() >> (random.next() % 64);
            }
            // Those that would end it, or take long, or call anybody.
            if matches!(message[0], 5..=7) {
                message[0] = 8;
            }
            let sent = message;
            paid(|| transfer::call(gate, transfer::FOREVER, &mut message))?;
            let fits = match message {
                [0, 0, _, 0..8, 0, 0, 0, 0] | [0, 1, 507, 0, 0, 0, 0, 0] => true,
                [1, 0, 0, 0, 0, 0, 0, 0] => {
                    refused += 1;
                    true
                }
                // `Count` answers with another number.
                [0, 0, _, _, 0, 0, 0, 0] => sent[0] == 4,
                _ => false,
            };
            check!(fits, "seed {SEED:x}, round {round}: {sent:x?} {message:x?}");
        }
        check!(refused > 100, "{refused} were refused");
        check_eq!(asked(client, Request::Count {})?, (refused, 0));
        Ok(())
    })
}

pub(super) fn badges() -> Outcome {
    with_accountant(|peer, _| {
        let cap = peer.environment().mint(EnvironmentRights::CALL)?;
        let mut clients = alloc::vec::Vec::new();
        for number in [1, 2, 7, 8] {
            let badge = Badge::new(number).ok_or(Error::OutOfRange)?;
            let cap = cap.badge(badge)?;
            clients.push((number, Client::<Accountant>::bind((&cap).into())?));
        }
        for round in 1..=10 {
            for (badge, client) in &clients {
                let amount = u64::from(*badge);
                let expected = if *badge < 8 {
                    Ok((round * amount, amount))
                } else {
                    Err(404)
                };
                check_eq!(paid(|| client.call(&Request::Add { amount })), Ok(expected));
            }
        }
        Ok(())
    })
}

pub(super) fn one_way() -> Outcome {
    with_accountant(|peer, client| {
        for amount in 1..=100 {
            check_eq!(paid(|| client.send(&Request::Add { amount })), Ok(()));
            peer.wait_for_rest()?;
        }
        // Words that are no request, one way.
        let slot = client.transfer().slot();
        paid(|| transfer::send(slot, &[9; MESSAGE_WORDS]))?;
        peer.wait_for_rest()?;
        check_eq!(asked(client, Request::Count {})?, (1, 101));
        check_eq!(asked(client, Request::Add { amount: 0 })?, (5050, 0));
        Ok(())
    })
}

pub(super) fn nested() -> Outcome {
    with_accountant(|_, client| {
        // Another one in this space, which the first one calls in turn.
        let other = Peer::here(1, 0, serve, 0)?;
        other.wait_for_rest()?;
        let to = other.name();
        for round in 1..=100 {
            let forward = Request::Forward { to, amount: 3 };
            check_eq!(asked(client, forward)?, (3 * round, 0));
        }
        other.end()?;
        let gone = paid(|| client.call(&Request::Forward { to, amount: 3 }));
        check_eq!(gone, Ok(Err(Error::NotYours as u32)));
        Ok(())
    })
}

pub(super) fn dying() -> Outcome {
    with_accountant(|peer, client| {
        check_eq!(asked(client, Request::Add { amount: 1 })?, (1, 0));
        let stale = Err(CallError::Refused(Error::Stale));
        check_eq!(paid(|| client.call(&Request::Leave {})), stale);
        peer.wait_for_end()?;
        check_eq!(paid(|| client.call(&Request::Add { amount: 1 })), stale);
        check_eq!(
            paid(|| client.send(&Request::Add { amount: 1 })),
            stale.map(drop)
        );
        Ok(())
    })
}

pub(super) fn late() -> Outcome {
    with_accountant(|peer, client| {
        let ticks = time::ticks_per_second() / 50;
        let late = Request::Late { ticks };
        // In time, though it gives the core away in between.
        check_eq!(asked(client, late)?, (ticks, 1));
        let deadline = time::ticks() + ticks / 4;
        let timed_out = Err(CallError::Refused(Error::TimedOut));
        check_eq!(paid(|| client.call_until(&late, deadline)), timed_out);
        check!(time::ticks() >= deadline, "before the deadline");
        // It rests when it has found that nobody waits.
        peer.wait_for_rest()?;
        check_eq!(asked(client, Request::Add { amount: 4 })?, (4, 0));
        Ok(())
    })
}

/// What is in its u-area of an interrupted handler is past: it rests, and does not go on in the middle of it.
pub(super) fn stopped() -> Outcome {
    with_accountant(|peer, client| {
        let rounds = 20;
        for round in 1..=rounds {
            // The handler gives the core away, and is saved there.
            let late = Request::Late { ticks: 1000 };
            check_eq!(asked(client, late)?, (1000, round));
            check_eq!(asked(client, Request::Add { amount: 1 })?, (round, 0));
            peer.environment().stop()?;
            let stopped = paid(|| client.call(&Request::Whoami {}));
            check_eq!(stopped, Err(CallError::Refused(Error::NotReady)));
            peer.environment().run(0)?;
            peer.wait_for_rest()?;
        }
        check_eq!(asked(client, Request::Add { amount: 1 })?, (rounds + 1, 0));
        check_eq!(asked(client, Request::Count {})?, (0, 0));
        Ok(())
    })
}

/// To be counted where nobody is late: a callee in debt is called again.
pub(in super::super) fn switches() -> Outcome {
    const CALLS: u64 = 100;
    with_accountant(|peer, client| {
        let dispatches = |name: ObjectName| {
            exposed::live_at(name.index).map_or(0, |life| life.dispatches.load(Ordering::Relaxed))
        };
        let counts = || [Number::pct_call, Number::pct_reply].map(|call| exposed::calls(0, call));
        let (me, it) = (peer::me()?, peer.name());
        let before = (dispatches(me), dispatches(it), counts());
        for _ in 0..CALLS {
            asked(client, Request::Whoami {})?;
        }
        check_eq!(dispatches(it) - before.1, CALLS);
        // Whoever waits for an answer has its core still, and is given it back with the answer.
        check_eq!(dispatches(me) - before.0, 0);
        check_eq!(counts(), before.2.map(|count| count + CALLS));
        Ok(())
    })
}

/// What the callee found in x19..x28 at its first instruction.
static FOUND: [AtomicU64; 10] = [const { AtomicU64::new(0) }; 10];

/// A callee's entry that tells what it finds, and answers with marks everywhere.
#[unsafe(naked)]
unsafe extern "C" fn spying() {
    core::arch::naked_asm!(
        "adrp x10, {found}",
        "add x10, x10, :lo12:{found}",
        "stp x19, x20, [x10]",
        "stp x21, x22, [x10, #16]",
        "stp x23, x24, [x10, #32]",
        "stp x25, x26, [x10, #48]",
        "stp x27, x28, [x10, #64]",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
        "mov x\\n, #0xbad",
        ".endr",
        "mov x0, #0",
        "2: svc #{reply}",
        "b 2b",
        found = sym FOUND,
        reply = const Number::pct_reply as u16,
    )
}

/// A callee with that entry.
fn spy(_: u64) {
    peer::begin();
    let entry = exopi_rt::uarea::Entry {
        pc: spying as *const () as u64,
        sp: 0,
    };
    // SAFETY: the entry uses no stack.
    unsafe { exopi_rt::upcall::set_entry(exopi_rt::uarea::UpcallClass::Pct, entry) };
    let refused = transfer::reply(&[0; MESSAGE_WORDS]);
    panic!("{refused}");
}

/// A service without words.
struct Nothing;

impl Service for Nothing {
    type Request = ();
    type Answer = ();
}

pub(super) fn registers() -> Outcome {
    let shared = Shared::new(1)?;
    let peer = Peer::here(0, 0, spy, 0)?;
    peer.wait_for_rest()?;
    let client = Client::<Nothing>::bind(peer.environment())?;
    for place in &FOUND {
        place.store(!0, Ordering::Relaxed);
    }
    // As many secrets as there are registers to keep them in across the call.
    let secrets = core::hint::black_box([0x5ec0_u64; 12]);
    let kept = secrets.map(|secret| core::hint::black_box(secret) + 1);
    check_eq!(paid(|| client.call(&())), Ok(()));
    check_eq!(kept, [0x5ec1; 12]);
    for (place, n) in FOUND.iter().zip(19..) {
        check_eq!(place.load(Ordering::Relaxed), 0, "x{n} at the callee");
    }
    drop(client);
    peer.end()?;
    shared.close()
}
