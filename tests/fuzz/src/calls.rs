//! Sequences of calls on the simulated kernel.

use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::{Call, Error};
use exopi_sequence::stage::{AREA, PLACES, STORE, bytes_address, operations_address, slot_address};
use exopi_simkernel::{Board, Kernel, Storage, found, owned};

use crate::input::Input;

/// Most calls of a sequence: what comes later is found sooner by another.
const MOST: usize = 200;

/// Two environments make calls. Whatever they are: everything can be counted again after each, cores use nothing that is
/// stale, and what was refused has changed nothing.
///
/// # Panics
/// Something is wrong.
pub fn calls(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let board = Board::SMALL;
    let mut storage = Storage::new(&board);
    let mut kernel = Kernel::boot(&board, &mut storage);
    let made = found(1, 6, |call, words| {
        let reply = kernel.call(call.number(), words);
        reply.error().map_or(Ok(reply.value), Err)
    });
    made.expect("the board has room for two");
    kernel.schedule();
    for _ in 0..MOST {
        if input.is_empty() || !step(&mut kernel, &mut input) {
            break;
        }
    }
}

/// One step; whether there is somebody left who can make one, on a machine that is on.
fn step(kernel: &mut Kernel<'_>, input: &mut Input<'_>) -> bool {
    let wanted = input.byte() % 2;
    let busy = [wanted, 1 - wanted]
        .into_iter()
        .find(|core| kernel.is_busy(*core));
    let Some(core) = busy else {
        return false;
    };
    kernel.select(core);
    if input.below(8) == 0 {
        // A word of its own, perhaps of a capability or an operation.
        let at = STORE + 8 * (u64::from(input.byte()) + 256 * u64::from(input.byte() & 1));
        let value = word(kernel, input);
        let _ = kernel.store(at, value);
    } else {
        let count = Call::ALL.len() + 2;
        let number = input.below(count) as u16;
        let words: [u64; 6] = core::array::from_fn(|_| word(kernel, input));
        let before = kernel.snapshot();
        let reply = kernel.dispatch(number, words);
        let refused = reply.error().is_some() && reply.status >> 16 == 0;
        let call = Call::from_number(number);
        // A break may have begun, and who is busy has been interrupted.
        if refused && call != Some(Call::page_break) && reply.error() != Some(Error::Busy) {
            let changed = before.difference(&kernel.snapshot());
            assert_eq!(changed, None, "{call:?} {words:x?} refused with {reply:x?}");
        }
        kernel.leave();
    }
    let checked = kernel.check();
    assert_eq!(checked, Ok(()));
    kernel.power().is_none()
}

/// Mostly a word that means something here.
fn word(kernel: &Kernel<'_>, input: &mut Input<'_>) -> u64 {
    let at = usize::from(input.byte());
    match input.below(10) {
        0 => 0,
        1 => (at % 50) as u64,
        2 => 1 << 56 | (at % 50) as u64,
        3 => (at as u64 % 8) << 56 | (at / 8) as u64,
        4 => PLACES[at % PLACES.len()],
        5 => slot_address(at % 4),
        6 => [operations_address(), bytes_address(), FIRST_UAREA, AREA][at % 4],
        7 => (at % 8) as u64,
        8 => object(kernel, at),
        _ => input.word(),
    }
}

/// Something that there is, named as owned or to be given to.
fn object(kernel: &Kernel<'_>, at: usize) -> u64 {
    let index = (at / 4 % 4) as u16;
    let domains = kernel.domains();
    let epoch = match at % 4 {
        0 | 3 => domains.account(index).map(|record| record.epoch),
        1 => domains.space(index).map(|record| record.epoch),
        _ => domains.environment(index).map(|record| record.epoch),
    };
    let name = exopi_abi::domain::ObjectName {
        index,
        epoch: exopi_abi::capability::Epoch::from_low_bits(epoch.unwrap_or_default()),
    };
    if at % 4 == 3 {
        name.word()
    } else {
        owned(name)
    }
}
