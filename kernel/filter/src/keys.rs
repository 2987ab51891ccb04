//! Keys: interned once however many filters declare them, so that code is made once for each.
//!
//! ```text
//!   intern --> idle, no code --emit, set_code--> idle, with code --declare--> in use
//!                  ^                                  |    ^                     |
//!                  +--------- (free) <--reclaim-------+    +-- last user gone ---+
//! ```

use crate::records::{FilterId, KeyId, KeyRecord, MAX_WORDS, Part, Step};
use crate::trie::Trie;
use crate::{Error, MAX_ATOMS, MAX_KEYS, Operation, Program};

/// Most words that generated code keeps in registers; more are computed twice.
pub(crate) const REGISTER_WORDS: usize = 3;

impl Trie<'_> {
    /// The key that asks what `program` asks; its values must be 0. It looks at every key record.
    ///
    /// # Errors
    /// [`Error::NotCanonical`] if a value is not 0; [`Error::NoKey`] if it is new and there is no room:
    /// [`Trie::reclaim`] may make some.
    pub fn intern(&mut self, program: Program<'_>) -> Result<KeyId, Error> {
        if program
            .operations()
            .any(|operation| operation.asked() != operation)
        {
            return Err(Error::NotCanonical);
        }
        let mut steps = [Step::default(); MAX_ATOMS];
        let mut count = 0;
        for (step, operation) in steps.iter_mut().zip(program.operations()) {
            *step = Step::new(operation);
            count += 1;
        }
        let words = pack(steps.get_mut(..count).unwrap_or_default());
        let steps_used = steps.get(..count).unwrap_or_default();
        let fingerprint = fingerprint(steps_used);
        let known = |key: &&KeyRecord| key.fingerprint == fingerprint && key.steps() == steps_used;
        let position = |at: usize| KeyId(at as u16);
        if let Some(at) = self.keys.iter().position(|key| known(&key)) {
            return Ok(position(at));
        }
        let at = self
            .keys
            .iter()
            .position(|key| key.count == 0)
            .ok_or(Error::NoKey)?;
        self.keys[at] = KeyRecord {
            steps,
            fingerprint,
            count: count as u8,
            words: words as u8,
            ..KeyRecord::default()
        };
        Ok(position(at))
    }

    /// Says where the code of a key is: a multiple of 4, in octets from the arena's begin.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Present`] if it has code; [`Error::Malformed`] for 0, where the
    /// arena has its entry, and for what is no multiple of 4.
    pub fn set_code(&mut self, key: KeyId, offset: u32) -> Result<(), Error> {
        let record = self.keys.get_mut(usize::from(key.0));
        let record = record
            .filter(|record| record.count > 0)
            .ok_or(Error::Unknown)?;
        if record.code != 0 {
            return Err(Error::Present);
        }
        if offset == 0 || !offset.is_multiple_of(4) {
            return Err(Error::Malformed);
        }
        record.code = offset;
        Ok(())
    }

    /// Splits `filter` by one key more, behind those that it has. Gives the key's position, 0 to 3.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Leaving`], [`Error::NoCode`], [`Error::TooManyKeys`].
    pub fn declare(&mut self, filter: FilterId, key: KeyId) -> Result<usize, Error> {
        let record = self.growing(filter)?;
        let position = usize::from(record.key_count);
        let code = self
            .key(key)
            .ok_or(Error::Unknown)?
            .code()
            .ok_or(Error::NoCode)?;
        if position >= MAX_KEYS {
            return Err(Error::TooManyKeys);
        }
        if let Some(record) = self.keys.get_mut(usize::from(key.0)) {
            record.users += 1;
        }
        self.update(filter, |record| {
            if let Some(place) = record.keys.get_mut(position) {
                *place = key.0;
            }
            if let Some(place) = record.code.get_mut(position) {
                *place = code;
            }
            record.key_count += 1;
        });
        Ok(position)
    }

    /// Frees the record of one key that no filter declares and tells where its code was, if it had any;
    /// `None` if there is no such key.
    pub fn reclaim(&mut self) -> Option<Option<u32>> {
        let idle = |key: &&mut KeyRecord| key.count > 0 && key.users == 0;
        let record = self.keys.iter_mut().find(idle)?;
        let code = record.code();
        *record = KeyRecord::default();
        Some(code)
    }

    /// One user less for each key of a filter that goes.
    pub(crate) fn release_keys(&mut self, keys: [u16; MAX_KEYS]) {
        for key in keys {
            if let Some(record) = self.keys.get_mut(usize::from(key)) {
                record.users = record.users.saturating_sub(1);
            }
        }
    }

    /// Packs the values that `program` gives to a key, for children at `place`.
    ///
    /// # Errors
    /// [`Error::WrongKey`].
    pub(crate) fn values(
        key: &KeyRecord,
        program: Program<'_>,
        place: u32,
        words: &mut [u64; MAX_WORDS],
    ) -> Result<(), Error> {
        if program.atoms().len() != key.steps().len() {
            return Err(Error::WrongKey);
        }
        words[0] = place.into();
        for (step, operation) in key.steps().iter().zip(program.operations()) {
            if step.operation(0) != operation.asked() {
                return Err(Error::WrongKey);
            }
            if let Operation::Equal { width, value, .. } = operation {
                put(words, step, width.swap(value));
            }
        }
        Ok(())
    }
}

/// Puts a field where it is packed.
pub(crate) fn put(words: &mut [u64; MAX_WORDS], step: &Step, field: u64) {
    if let Some(word) = words.get_mut(usize::from(step.word)) {
        *word |= field << step.bit;
    }
}

/// Gives each field its place in words of 64 bits and tells how many those are. The first 32 bits are
/// the place of the key.
///
/// A field goes to the first word that has room, if so all find theirs in as few as registers hold;
/// else one behind the other, so that each word is complete before the next begins.
fn pack(steps: &mut [Step]) -> usize {
    let mut used = [0u32; REGISTER_WORDS];
    used[0] = 32;
    let fields = |step: &&mut Step| step.part == Part::Field;
    let mut all = true;
    for step in steps.iter_mut().filter(fields) {
        let bits = step.width().bits();
        let Some(word) = used.iter().position(|used| used + bits <= 64) else {
            all = false;
            break;
        };
        (step.word, step.bit) = (word as u8, used[word] as u8);
        used[word] += bits;
    }
    if all {
        return used.iter().rposition(|&used| used > 0).unwrap_or(0) + 1;
    }
    let (mut word, mut bit) = (0, 32);
    for step in steps.iter_mut().filter(fields) {
        let bits = step.width().bits();
        if bit + bits > 64 {
            (word, bit) = (word + 1, 0);
        }
        (step.word, step.bit) = (word, bit as u8);
        bit += bits;
    }
    usize::from(word) + 1
}

/// A number that differs for most keys that differ. Nobody gains by making two the same: those are
/// compared in full.
fn fingerprint(steps: &[Step]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    steps.iter().fold(steps.len() as u64, |hash, step| {
        let head = u64::from(step.offset) << 32
            | (step.part as u64) << 16
            | u64::from(step.width) << 8
            | u64::from(step.shift as u8);
        let mixed = (hash ^ head).wrapping_mul(ODD).rotate_left(29) ^ step.mask;
        mixed.wrapping_mul(ODD).rotate_left(31)
    })
}
