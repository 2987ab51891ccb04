//! Calls through gates: what arrives, what comes back, who may, and what becomes of a call whose ends go.

use alloc::format;
use core::sync::atomic::Ordering;

use exopi_rt::cap::EnvironmentCap;
use exopi_rt::capability::EnvironmentRights;
use exopi_rt::domain::EnvironmentState;
use exopi_rt::transfer::{self, FOREVER};
use exopi_rt::uarea::UpcallClass;
use exopi_rt::{Call, Environment, Error, Object, exposed, stubs};

use crate::area::Area;
use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers};
use crate::other::{Other, mark, marked_vectors, serving, wait, yield_to};

pub(crate) const SUITE: Suite = Suite {
    name: "transfers",
    cases: &[
        (
            "a_message_goes_and_comes_back",
            a_message_goes_and_comes_back,
        ),
        ("each_refusal_has_its_reason", each_refusal_has_its_reason),
        ("a_sender_waits_for_nothing", a_sender_waits_for_nothing),
        ("calls_nest", calls_nest),
        (
            "a_callee_leaves_in_the_middle",
            a_callee_leaves_in_the_middle,
        ),
        ("a_caller_is_stopped_or_dies", a_caller_is_stopped_or_dies),
        ("a_callee_dies", a_callee_dies),
        ("all_cores_call_one", all_cores_call_one),
    ],
};

const GATE: u64 = 3;

/// A server, the `index`-th other environment, that has rested: it serves with `code`, SP at its pad.
pub(super) fn server(
    area: &Area,
    index: u64,
    code: unsafe extern "C" fn(),
) -> Result<Other, Failure> {
    let other = Other::new(area, index, serving::rest)?;
    let sp = other.pad_address();
    other.change(|uarea| {
        mark(uarea, 7 + index);
        uarea.saved.sp = sp;
        uarea.saved.pc = serving::rest as *const () as u64;
        let entry = &mut uarea.entries[UpcallClass::Pct as usize];
        (entry.pc, entry.sp) = (code as *const () as u64, sp);
    });
    other.run(0)?;
    other.wait_for(EnvironmentState::Asleep)?;
    Ok(other)
}

/// Calls with all registers in view.
fn call_marked(gate: u64) -> Result<(Registers, Registers), Failure> {
    machine::write_stub(0, Call::pct_call.number())?;
    machine::publish_stubs()?;
    let row = machine::row_of(Call::pct_call)?;
    let before = Registers::of_call(row, [gate, FOREVER, 0, 0, 0, 0]);
    let mut after = before;
    // SAFETY: the callee changes nothing but its pad.
    unsafe { machine::run_stub(0, &mut after) };
    Ok((before, after))
}

fn me() -> Result<exopi_rt::domain::ObjectName, Failure> {
    Environment::Own
        .name()
        .ok_or_else(|| Failure::new("no name"))
}

fn a_message_goes_and_comes_back() -> Outcome {
    let area = Area::new()?;
    let callee = server(&area, 0, serving::dump_and_answer)?;
    // By ownership there is no badge; by a capability its own.
    let cap: EnvironmentCap = Environment::Owned(callee.name).mint(EnvironmentRights::CALL)?;
    let badged = cap.badge(exopi_rt::capability::Badge::new(0x12_3456).ok_or(Error::Malformed)?)?;
    let badged = Environment::from(&badged).object();
    for (round, (object, badge)) in [(callee.object(), 0), (badged, 0x12_3456)]
        .into_iter()
        .enumerate()
    {
        stubs::gate_bind(GATE, object)?;
        let (before, after) = call_marked(GATE)?;
        let pad = callee.pad();
        check_eq!(pad.count, round as u64 + 1);
        check_eq!(pad.x[..8], before.x[..8], "the message");
        check_eq!(pad.x[8], me()?.word(), "who calls");
        check_eq!(pad.x[9], badge, "the badge");
        check!(pad.x[10..=18].iter().all(|word| *word == 0), "{:x?}", pad.x);
        check_eq!(pad.x[30], 0, "x30");
        check_eq!(pad.x[19..27], before.x[19..27], "x19..x26");
        check_eq!((pad.flags, pad.thread), (0, 7 << 32 | 0x7d));
        check_eq!(pad.uarea, callee.record()?.uarea_at);
        check!(pad.vectors == marked_vectors(7), "{:x?}", pad.vectors);
        // The callee answers with the message, each word and one more.
        for n in 0..8 {
            check_eq!(after.x[n], before.x[n] + 1, "x{n}");
        }
        let zero = after.x[8..=18].iter().chain([&after.x[30]]);
        check!(zero.clone().all(|word| *word == 0), "x8..x18, x30");
        machine::check_kept(&before, &after, 19, 29)?;
    }
    stubs::gate_unbind(GATE)?;
    callee.destroy()?;
    area.close()
}

fn call(gate: u64) -> Result<(), Error> {
    transfer::call(gate, FOREVER, &mut [1; 8])
}

fn each_refusal_has_its_reason() -> Outcome {
    let area = Area::new()?;
    let callee = server(&area, 0, serving::dump_and_answer)?;
    check_eq!(call(GATE), Err(Error::NoGate));
    check_eq!(call(16), Err(Error::NoGate));
    check_eq!(stubs::gate_unbind(GATE), Err(Error::NoGate));
    let whole = Environment::Owned(callee.name);
    let cap = whole.mint(EnvironmentRights::SCHEDULE)?;
    stubs::gate_bind(GATE, Environment::from(&cap).object())?;
    check_eq!(call(GATE), Err(Error::MissingRight));
    let cap = whole.mint(EnvironmentRights::CALL)?;
    stubs::gate_bind(GATE, Environment::from(&cap).object())?;
    check_eq!(call(GATE), Ok(()));
    check_eq!(transfer::yield_to(GATE), Err(Error::MissingRight));
    let cap = whole.mint(EnvironmentRights::READ_STATE)?;
    let object = Environment::from(&cap).object();
    check_eq!(stubs::gate_bind(GATE, object), Err(Error::MissingRight));
    // Masked as it answers: closed from then on.
    callee.change(|uarea| uarea.masked = 1);
    check_eq!(call(GATE), Ok(()));
    check_eq!(call(GATE), Err(Error::NotAccepting));
    callee.change(|uarea| uarea.masked = 0);
    callee.stop()?;
    check_eq!(call(GATE), Err(Error::NotReady));
    stubs::gate_bind(GATE + 1, Object::Own)?;
    check_eq!(call(GATE + 1), Err(Error::Busy));
    stubs::gate_unbind(GATE + 1)?;
    callee.destroy()?;
    check_eq!(call(GATE), Err(Error::Stale));
    stubs::gate_unbind(GATE)?;
    // One without an entry, and one that was interrupted.
    let closed = server(&area, 0, serving::dump_and_answer)?;
    closed.change(|uarea| uarea.entries[UpcallClass::Pct as usize].pc = 0);
    stubs::gate_bind(GATE, closed.object())?;
    check_eq!(call(GATE), Err(Error::NotAccepting));
    stubs::gate_unbind(GATE)?;
    closed.destroy()?;
    area.close()
}

fn a_sender_waits_for_nothing() -> Outcome {
    let area = Area::new()?;
    let callee = server(&area, 0, serving::dump_and_answer)?;
    stubs::gate_bind(GATE, callee.object())?;
    let message = core::array::from_fn(|n| 0x700 + n as u64);
    for round in 1..=3 {
        transfer::send(GATE, &message)?;
        let pad = callee.pad();
        check_eq!(pad.count, round);
        check_eq!(pad.x[..8], message);
        check_eq!(pad.x[8..10], [me()?.word(), transfer::ONE_WAY]);
        callee.wait_for(EnvironmentState::Asleep)?;
    }
    stubs::gate_unbind(GATE)?;
    callee.destroy()?;
    area.close()
}

/// Others bind gates of their own by what their first registers say.
fn forwarder(area: &Area, index: u64, to: &Other) -> Result<Other, Failure> {
    let object = to.object();
    let mut words = exopi_rt::registers::Arguments::new([0; 6]);
    exopi_rt::registers::Argument::encode(object, &mut words);
    let word = words.words()[0];
    let other = Other::new(area, index, serving::bind_and_rest)?;
    let sp = other.pad_address();
    other.change(|uarea| {
        uarea.saved.x[1] = word;
        let entry = &mut uarea.entries[UpcallClass::Pct as usize];
        (entry.pc, entry.sp) = (serving::forward as *const () as u64, sp);
    });
    other.run(0)?;
    other.wait_for(EnvironmentState::Asleep)?;
    Ok(other)
}

fn calls_nest() -> Outcome {
    let area = Area::new()?;
    let last = server(&area, 0, serving::dump_and_answer)?;
    let middle = forwarder(&area, 1, &last)?;
    let first = forwarder(&area, 2, &middle)?;
    stubs::gate_bind(GATE, first.object())?;
    for _ in 0..10 {
        let mut message = [100; 8];
        transfer::call(GATE, FOREVER, &mut message)?;
        // One from the last, and one in x0 from each on the way.
        check_eq!(message, [103, 101, 101, 101, 101, 101, 101, 101]);
        check_eq!(last.pad().x[8], middle.name.word());
    }
    // The last one dies: the middle one hears of it and answers all the same.
    last.destroy()?;
    let mut message = [100; 8];
    transfer::call(GATE, FOREVER, &mut message)?;
    // Of the middle one the message and two, as it does for a refusal, and one more.
    check_eq!(message[0], 103);
    stubs::gate_unbind(GATE)?;
    first.destroy()?;
    middle.destroy()?;
    area.close()
}

fn a_callee_leaves_in_the_middle() -> Outcome {
    let area = Area::new()?;
    let callee = server(&area, 0, serving::yield_and_answer)?;
    let other = Other::new(&area, 1, crate::other::code::count)?;
    stubs::gate_bind(GATE, callee.object())?;
    other.change_pad(|pad| pad.word = 20);
    other.run(0)?;
    for _ in 0..5 {
        let mut message = [5; 8];
        transfer::call(GATE, FOREVER, &mut message)?;
        check_eq!(message[0], 6);
    }
    check!(other.count() > 0, "nobody has run meanwhile");
    stubs::gate_unbind(GATE)?;
    other.destroy()?;
    callee.destroy()?;
    area.close()
}

/// A caller of a server that holds it until the server's word is set. `core` is where the caller runs.
fn held(area: &Area, core: u64) -> Result<[Other; 2], Failure> {
    let callee = server(area, 0, serving::hold)?;
    let mut words = exopi_rt::registers::Arguments::new([0; 6]);
    exopi_rt::registers::Argument::encode(callee.object(), &mut words);
    let word = words.words()[0];
    let caller = Other::new(area, 1, serving::call_once)?;
    caller.change(|uarea| uarea.saved.x[1] = word);
    caller.run(core)?;
    callee.wait_for_count(1)?;
    // On this program's core the callee has left since then, and the caller waits by its word. On another one the two
    // are alone, and it waits there.
    if core == 0 {
        caller.wait_for(EnvironmentState::Calling)?;
    } else {
        check_eq!(caller.state(), EnvironmentState::Running);
    }
    Ok([callee, caller])
}

fn a_caller_is_stopped_or_dies() -> Outcome {
    for core in 0..exposed::machine().cores {
        for dies in [false, true] {
            let area = Area::new()?;
            let [callee, caller] = held(&area, core)?;
            if dies {
                caller.destroy()?;
            } else {
                caller.stop()?;
                let saved = caller.uarea().saved;
                check_eq!(saved.x[8], Error::Interrupted as u64);
                check_eq!(saved.held, 1);
                caller.destroy()?;
            }
            // The answer comes too late, and the callee rests.
            callee.word().store(1, Ordering::Release);
            callee.wait_for(EnvironmentState::Asleep)?;
            check_eq!(callee.pad().x[0], Error::NotWaiting as u64);
            callee.destroy()?;
            area.close()?;
        }
    }
    Ok(())
}

fn a_callee_dies() -> Outcome {
    for core in 0..exposed::machine().cores {
        let area = Area::new()?;
        let [callee, caller] = held(&area, core)?;
        callee.destroy()?;
        caller.wait_for_count(1)?;
        caller.wait_for(EnvironmentState::Stopped)?;
        check_eq!(caller.pad().x[0], Error::Stale as u64);
        caller.destroy()?;
        area.close()?;
    }
    Ok(())
}

/// An environment on each core calls one server, again while that is busy; each call has its own answer.
fn all_cores_call_one() -> Outcome {
    const CALLS: u64 = 2000;
    let area = Area::new()?;
    let callee = server(&area, 0, serving::answer)?;
    let mut words = exopi_rt::registers::Arguments::new([0; 6]);
    exopi_rt::registers::Argument::encode(callee.object(), &mut words);
    let word = words.words()[0];
    let mut callers = alloc::vec::Vec::new();
    for core in 0..exposed::machine().cores {
        let caller = Other::new(&area, core + 1, serving::hammer)?;
        caller.change(|uarea| uarea.saved.x[1] = word);
        caller.change_pad(|pad| pad.word = CALLS);
        caller.run(core)?;
        callers.push(caller);
    }
    for caller in &callers {
        caller.wait_for_count(CALLS)?;
        caller.wait_for(EnvironmentState::Stopped)?;
    }
    wait(
        || Ok(callee.state() == EnvironmentState::Asleep),
        || format!("the server is {:?}", callee.state()),
    )?;
    yield_to(Object::Own)?;
    for caller in callers {
        caller.destroy()?;
    }
    callee.destroy()?;
    area.close()
}
