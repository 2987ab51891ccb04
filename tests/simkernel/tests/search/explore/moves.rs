//! What can happen: calls by whoever runs on a core, what programs do by themselves, and what the kernel does.

use exopi_abi::capability::{Capability, Epoch, Restriction, Rights, Second};
use exopi_abi::domain::ObjectName;
use exopi_abi::{Call, Operation};
use exopi_sequence::Step;
use exopi_sequence::stage::{OPERATIONS, slot_address};
use exopi_simkernel::el0::Fault;
use exopi_simkernel::{Kernel, owned};

use super::super::judge::{Judged, words_at};
use super::super::oracle::Verdict;

/// An argument: a word, or a word that names the object that is at an index at that time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arg {
    Word(u64),
    /// Named as owned.
    Account(u16),
    Space(u16),
    Environment(u16),
    /// An account as whom to give to.
    Owner(u16),
}

impl From<u64> for Arg {
    fn from(word: u64) -> Self {
        Self::Word(word)
    }
}

/// What a holder leaves of a capability by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    Rights(u16),
    /// For the environment at an index alone.
    Holder(u16),
    /// It has ended.
    Ended,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Move {
    /// A call by whoever runs on a core.
    Call(u8, Call, [Arg; 6]),
    /// Two operations on its own space by one call, which stops at a refusal or goes on.
    Batch(u8, [(Call, [u64; 5]); 2], u64),
    /// A store by it, of a word that tells who it is.
    Store(u8, u64),
    Load(u8, u64),
    Fetch(u8, u64),
    /// It narrows the capability in a slot.
    Limit(u8, usize, Limit),
    /// It hands the bytes in a slot to who runs on the other core.
    HandOver(u8, usize),
    /// It takes an exception.
    Fault(u8),
    /// An idle core clears up.
    Sweep,
}

/// What came of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Nobody is there to make it.
    Impossible,
    /// It was refused and has changed nothing.
    Refused,
    /// It may have changed something.
    Done,
}

/// The word for what is at an index at present; a name of nothing if there is nothing.
fn word(kernel: &Kernel<'_>, arg: Arg) -> u64 {
    let domains = kernel.domains();
    let name = |index, epoch: Option<u64>| ObjectName {
        index,
        epoch: Epoch::from_low_bits(epoch.unwrap_or_default()),
    };
    match arg {
        Arg::Word(word) => word,
        Arg::Account(at) => owned(name(at, domains.account(at).map(|record| record.epoch))),
        Arg::Owner(at) => name(at, domains.account(at).map(|record| record.epoch)).word(),
        Arg::Space(at) => owned(name(at, domains.space(at).map(|record| record.epoch))),
        Arg::Environment(at) => owned(name(at, domains.environment(at).map(|record| record.epoch))),
    }
}

impl Move {
    /// The core whose environment makes it.
    fn core(&self) -> Option<u8> {
        match *self {
            Self::Call(core, ..)
            | Self::Batch(core, ..)
            | Self::Store(core, _)
            | Self::Load(core, _)
            | Self::Fetch(core, _)
            | Self::Limit(core, ..)
            | Self::HandOver(core, _)
            | Self::Fault(core) => Some(core),
            Self::Sweep => None,
        }
    }

    /// Makes it, and judges all that there is then.
    pub(super) fn make(&self, judged: &mut Judged<'_>) -> Verdict<Came> {
        if let Some(core) = self.core() {
            if !judged.kernel.is_busy(core) {
                return Ok(Came::Impossible);
            }
            judged.kernel.select(core);
        }
        match *self {
            Self::Call(_, call, args) => {
                let words = args.map(|arg| word(&judged.kernel, arg));
                make_call(judged, call, words, None)
            }
            Self::Batch(_, pair, on_refusal) => {
                let mut operations = [Operation::default(); OPERATIONS];
                for (operation, (call, arguments)) in operations.iter_mut().zip(pair) {
                    operation.call = call.number().into();
                    operation.arguments = arguments;
                }
                let at = exopi_sequence::stage::operations_address();
                let words = [0, at, 2, on_refusal, 0, 0];
                make_call(judged, Call::pte_batch, words, Some(operations)).map(|_| Came::Done)
            }
            Self::Store(_, at) => {
                let value = 0x100 + u64::from(judged.kernel.running().index);
                judged.step(&Step::Store { at, value }, true)?;
                judged.check()?;
                Ok(Came::Done)
            }
            Self::Load(_, at) => judged.step(&Step::Load { at }, true).map(|_| Came::Refused),
            Self::Fetch(_, at) => judged
                .step(&Step::Fetch { at }, true)
                .map(|_| Came::Refused),
            Self::Limit(_, slot, limit) => Ok(narrow(judged, slot, limit)),
            Self::HandOver(core, slot) => Ok(hand_over(judged, core, slot)),
            Self::Fault(_) => {
                // At an address that nothing is mapped at: a load.
                let fault = Fault {
                    esr: 0x9200_0007,
                    far: 0,
                };
                judged.kernel.fault(fault, 0);
                judged.check()?;
                Ok(Came::Done)
            }
            Self::Sweep => {
                judged.kernel.sweep();
                judged.check()?;
                Ok(Came::Done)
            }
        }
    }
}

fn make_call(
    judged: &mut Judged<'_>,
    call: Call,
    words: [u64; 6],
    operations: Option<[Operation; OPERATIONS]>,
) -> Verdict<Came> {
    let step = Step::Call {
        number: call.number(),
        words,
        operations,
    };
    let reply = judged.step(&step, true)?;
    let refused = reply.is_some_and(|reply| {
        let busy = reply.error() == Some(exopi_abi::Error::Busy);
        reply.error().is_some() && reply.status >> 16 == 0 && !busy
    });
    // A break that was refused may have begun.
    if refused && call != Call::page_break {
        return Ok(Came::Refused);
    }
    Ok(Came::Done)
}

/// Who runs puts a caveat on what is in a slot. One is enough: what chains of them leave is the property tests'
/// to show.
fn narrow(judged: &mut Judged<'_>, slot: usize, limit: Limit) -> Came {
    let at = slot_address(slot);
    let restriction = match limit {
        Limit::Rights(mask) => Restriction::Rights(Rights::from_bits(mask)),
        Limit::Ended => Restriction::Until(Second::new(1).unwrap_or(Second::MAX)),
        Limit::Holder(index) => match judged.kernel.domains().environment(index) {
            Some(record) => Restriction::Holder(
                ObjectName {
                    index,
                    epoch: Epoch::from_low_bits(record.epoch),
                }
                .identity(),
            ),
            None => return Came::Impossible,
        },
    };
    let Some(words) = words_at(&judged.kernel, at) else {
        return Came::Impossible;
    };
    let Ok(capability) = Capability::from_words(words) else {
        return Came::Impossible;
    };
    let narrowed = match capability.attenuate(restriction) {
        Ok(narrowed) if capability.caveats().is_empty() => narrowed.words(),
        _ => return Came::Impossible,
    };
    judged.oracle.attenuated(&words, restriction);
    judged.write_words(at, narrowed);
    Came::Done
}

fn hand_over(judged: &mut Judged<'_>, core: u8, slot: usize) -> Came {
    let (at, other) = (slot_address(slot), 1 - core);
    let words = words_at(&judged.kernel, at);
    match words {
        Some(words) if words != [0; 6] && judged.kernel.is_busy(other) => {
            judged.kernel.select(other);
            judged.write_words(at, words);
            judged.kernel.select(core);
            Came::Done
        }
        _ => Came::Impossible,
    }
}
