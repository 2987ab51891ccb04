//! The forms that cross the line: capabilities, registers, operations.

use exopi_abi::capability::{
    Badge, CAPABILITY_WORDS, Capability, Epoch, Identity, Restriction, Rights, Second,
};
use exopi_abi::host::Served;
use exopi_abi::{Call, Operation, Reply, calls};

use crate::input::Input;

/// Whatever decodes encodes to the same words, and what a holder makes of a capability is one.
///
/// # Panics
/// Something is wrong.
pub fn wire(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    while !input.is_empty() {
        match input.below(3) {
            0 => capability(&mut input),
            1 => registers(&mut input),
            _ => operation(&mut input),
        }
    }
}

fn capability(input: &mut Input<'_>) {
    let mut words: [u64; CAPABILITY_WORDS] = core::array::from_fn(|_| input.word());
    // One of a kind, with few caveats, is far from most words.
    if input.byte() & 1 == 0 {
        words[1] &= !0 >> 16 | u64::from(input.byte()) << 48;
        words[2] = u64::from(1 + input.byte() % 4) | words[2] & 0xffff_ffff_0000_0300;
    }
    let Ok(mut capability) = Capability::from_words(words) else {
        return;
    };
    assert_eq!(capability.words(), words);
    let bytes = capability.to_bytes();
    assert_eq!(
        Capability::from_bytes(&bytes).map(|it| it.words()).ok(),
        Some(words)
    );
    while !input.is_empty() {
        let holder = Identity {
            index: input.word() as u32,
            epoch: Epoch::from_low_bits(input.word()),
        };
        let restriction = match input.below(4) {
            0 => Restriction::Rights(Rights::from_bits(input.word() as u16)),
            1 => Restriction::Holder(holder),
            2 => Badge::new(input.word() as u32)
                .map_or(Restriction::Badge(Badge::MAX), Restriction::Badge),
            _ => Restriction::Until(Second::MAX),
        };
        let Ok(narrowed) = capability.attenuate(restriction) else {
            break;
        };
        assert_eq!(narrowed.body().rights(), capability.body().rights());
        assert_eq!(narrowed.caveats().count(), capability.caveats().count() + 1);
        let again = Capability::from_words(narrowed.words());
        assert_eq!(again.map(|it| it.words()).ok(), Some(narrowed.words()));
        capability = narrowed;
    }
}

/// A call's arguments, decoded and encoded: what comes of them is decoded to the same again.
fn registers(input: &mut Input<'_>) {
    let number = u16::from(input.byte()) + u16::from(input.byte() & 1) * 0xff00;
    let words: [u64; 6] = core::array::from_fn(|_| word(input));
    let made = make(number, words);
    if let Some((call, encoded)) = made {
        assert_eq!(call.number(), number);
        assert_eq!(make(number, encoded), made, "{call:?} {words:x?}");
    }
}

/// Mostly words that mean something somewhere.
fn word(input: &mut Input<'_>) -> u64 {
    match input.below(4) {
        0 => input.byte().into(),
        1 => u64::from(input.byte()) << 56 | u64::from(input.byte()) << 12,
        2 => u64::from(input.byte()) << 12,
        _ => input.word(),
    }
}

/// The call that was decoded, and its arguments encoded again.
fn make(number: u16, words: [u64; 6]) -> Option<(Call, [u64; 6])> {
    let mut seen = None;
    let mut served = Served(|call, words| {
        seen = Some((call, words));
        Reply::success(0)
    });
    let reply = calls::dispatch(&mut served, number, words);
    assert!(
        seen.is_some() || reply.error().is_some(),
        "{number} {words:x?}"
    );
    seen
}

fn operation(input: &mut Input<'_>) {
    let call = Call::from_number(input.byte().into());
    let arguments = core::array::from_fn(|_| word(input));
    // No call carries out more at once than fit into a byte.
    assert!(Operation::weight(call, arguments, input.byte().into()) > 0);
}
