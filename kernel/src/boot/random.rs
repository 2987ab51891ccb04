//! Random numbers at boot: the key of all seals, and what tells this boot from every other.
//!
//! They come from the board's generator. Capabilities are worth as much as their key can be kept from being
//! guessed: so without a generator, or with one that does not answer, there is no key and no boot.

use exopi_bsp::traits::{DeviceError, Random};

use crate::arch::timer;

/// How many seconds the generator may take. It discards its first words, and how long that takes no document
/// tells; it began when the devices did.
pub(super) const PATIENCE: u64 = 30;

/// What is drawn once.
pub(super) struct Drawn {
    /// The words of the key of all seals.
    pub key: [u64; 2],
    /// A number that no other boot has. Everybody may read it, so it is a draw of its own.
    pub boot_id: u64,
    /// What decides where packet filters are looked for: told to nobody.
    pub secrets: [u64; 2],
}

/// The digits of `number` in hexadecimal, all of them. `fmt` would take fewer instructions for each leading zero; but
/// how long a boot takes must not depend on what was drawn, or no two boots could be compared.
pub(super) fn hex(number: u64) -> [u8; 16] {
    core::array::from_fn(|place| {
        let digit = number >> (60 - 4 * place) & 0xf;
        b"0123456789abcdef"[digit as usize]
    })
}

/// Draws from `generator`, which has been started, and may take `patience` ticks.
///
/// # Errors
/// [`DeviceError::TimedOut`] if it does not answer; [`DeviceError::Malformed`] if it always says the
/// same.
pub(super) fn draw(generator: &mut impl Random, patience: u64) -> Result<Drawn, DeviceError> {
    let deadline = timer::now() + patience;
    let mut words = [0; 10];
    for word in &mut words {
        *word = loop {
            match generator.try_next() {
                Ok(word) => break u64::from(word),
                Err(error) if timer::now() >= deadline => return Err(error),
                Err(_) => {}
            }
        };
    }
    let [first, rest @ ..] = words;
    if rest.iter().all(|word| *word == first) {
        return Err(DeviceError::Malformed);
    }
    let [a, b, c, d, e, f, g, h, i, j] = words;
    Ok(Drawn {
        key: [a << 32 | b, c << 32 | d],
        boot_id: e << 32 | f,
        secrets: [g << 32 | h, i << 32 | j],
    })
}
