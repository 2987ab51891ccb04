//! SipHash-2-4-128 for inputs whose length is known when compiled: what seals capabilities.
//!
//! Sources: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (INDOCRYPT 2012) for the function;
//! the authors' reference code for the variant with 128 bits of output, which the paper lacks, and for
//! test vectors. In all capability work the input is 5, 15 or 17 bytes, so there is no buffering and no
//! length to look at: the words are compressed one after the other, and the last one carries the odd
//! bytes and the length. Additions, rotations and exclusive ors only: no table is read and no branch
//! taken by key or input, so time tells nothing of either.
//!
//! Rounds are inlined everywhere. On A64 a rotation that feeds an exclusive or is free (`eor` with a
//! rotated operand).

/// A key, a seal, or the hash itself: low half first, as the reference code reads and writes bytes.
pub type Block = [u64; 2];

/// The four words of state.
#[derive(Clone, Copy)]
struct State(u64, u64, u64, u64);

impl State {
    /// SipRound.
    #[inline(always)]
    const fn round(self) -> Self {
        let Self(mut v0, mut v1, mut v2, mut v3) = self;
        v0 = v0.wrapping_add(v1);
        v2 = v2.wrapping_add(v3);
        v1 = v1.rotate_left(13) ^ v0;
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.rotate_left(32).wrapping_add(v3);
        v2 = v2.wrapping_add(v1);
        v3 = v3.rotate_left(21) ^ v0;
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        Self(v0, v1, v2, v3)
    }

    /// Takes in a word of input: the 2 of SipHash-2-4.
    #[inline(always)]
    const fn compress(self, word: u64) -> Self {
        let Self(v0, v1, v2, v3) = self;
        let Self(v0, v1, v2, v3) = Self(v0, v1, v2, v3 ^ word).round().round();
        Self(v0 ^ word, v1, v2, v3)
    }

    /// The rounds before each half of the output: the 4 of SipHash-2-4.
    #[inline(always)]
    const fn finish(self) -> Self {
        self.round().round().round().round()
    }

    /// Half of the output.
    #[inline(always)]
    const fn fold(self) -> u64 {
        self.0 ^ self.1 ^ self.2 ^ self.3
    }
}

/// What every hash begins with, besides its key: "somepseudorandomlygeneratedbytes".
static INITIAL: [u64; 4] = [
    0x736f_6d65_7073_6575,
    0x646f_7261_6e64_6f6d,
    0x6c79_6765_6e65_7261,
    0x7465_6462_7974_6573,
];

/// Where what every hash begins with is taken from.
#[derive(Clone, Copy)]
pub struct Initial(&'static [u64; 4]);

impl Initial {
    /// From the code: sixteen instructions make it.
    pub const KNOWN: Self = Self(&INITIAL);

    /// From memory: two loads, for who hashes more than once.
    #[inline(always)]
    pub fn in_memory() -> Self {
        Self(core::hint::black_box(&INITIAL))
    }
}

/// Where hashing under a key begins.
#[derive(Clone, Copy)]
pub struct Start(State);

impl Start {
    /// Under this key.
    #[inline(always)]
    pub const fn under(key: Block, Initial(initial): Initial) -> Self {
        // 0xee is for the longer output.
        Self(State(
            key[0] ^ initial[0],
            key[1] ^ initial[1] ^ 0xee,
            key[0] ^ initial[2],
            key[1] ^ initial[3],
        ))
    }
}

/// The hash from `start` on of `words`, eight bytes each, followed by the lowest `TAIL` bytes of `tail`.
/// All numbers count as little-endian. `TAIL` is less than 8, or it does not compile; higher bytes of
/// `tail` are not looked at.
#[inline(always)]
pub const fn siphash<const WORDS: usize, const TAIL: u32>(
    Start(mut state): Start,
    words: [u64; WORDS],
    tail: u64,
) -> Block {
    const { assert!(TAIL < 8) };
    let mut at = 0;
    while at < WORDS {
        state = state.compress(words[at]);
        at += 1;
    }
    // The length modulo 256 is the top byte of the last word.
    let length = WORDS as u64 * 8 + TAIL as u64;
    let state = state.compress(tail & ((1 << (8 * TAIL)) - 1) | length << 56);
    let State(v0, v1, v2, v3) = state;
    let low = State(v0, v1, v2 ^ 0xee, v3).finish();
    let State(v0, v1, v2, v3) = low;
    let high = State(v0, v1 ^ 0xdd, v2, v3).finish();
    [low.fold(), high.fold()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use siphasher::sip128::SipHasher24;

    use super::*;

    /// Hash of the first bytes of 0, 1, 2, ... under the key 00 01 .. 0f, from the reference code's
    /// `vectors.h`: the lengths in use, and those about them where the form of the last word changes.
    const VECTORS: [(usize, u128); 9] = [
        (0, 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293),
        (1, 0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45),
        (5, 0x1368_8759_8077_6f88_5452_7a07_690e_9627),
        (7, 0xa1f1_ebbe_d8db_c153_c0b8_4aa6_1ff0_8239),
        (8, 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4),
        (15, 0x5493_e999_33b0_a811_7e08_ec0f_97cf_c3d9),
        (16, 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577),
        (17, 0x473d_06e8_738d_b898_54c0_66c4_7ae4_7740),
        (63, 0x5150_d177_2f50_834a_503e_069a_973f_bd7c),
    ];

    fn word(bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    }

    fn fixed<const WORDS: usize, const TAIL: u32>(key: Block, input: &[u8]) -> Block {
        let words = core::array::from_fn(|at| word(&input[at * 8..at * 8 + 8]));
        let start = Start::under(key, Initial::in_memory());
        siphash::<WORDS, TAIL>(start, words, word(&input[WORDS * 8..]))
    }

    /// Our function for whatever length the input has, up to 63.
    fn ours(key: Block, input: &[u8]) -> [u8; 16] {
        macro_rules! by_length {
            ($($words:literal)*) => {
                match (input.len() / 8, input.len() % 8) {
                    $(
                        ($words, 0) => fixed::<$words, 0>(key, input),
                        ($words, 1) => fixed::<$words, 1>(key, input),
                        ($words, 2) => fixed::<$words, 2>(key, input),
                        ($words, 3) => fixed::<$words, 3>(key, input),
                        ($words, 4) => fixed::<$words, 4>(key, input),
                        ($words, 5) => fixed::<$words, 5>(key, input),
                        ($words, 6) => fixed::<$words, 6>(key, input),
                        ($words, 7) => fixed::<$words, 7>(key, input),
                    )*
                    _ => panic!("{} bytes", input.len()),
                }
            };
        }
        let [low, high] = by_length!(0 1 2 3 4 5 6 7);
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }

    #[test]
    fn reference_vectors() {
        let bytes: [u8; 64] = core::array::from_fn(|at| at as u8);
        let key = [word(&bytes[..8]), word(&bytes[8..16])];
        for (length, hash) in VECTORS {
            assert_eq!(ours(key, &bytes[..length]), hash.to_be_bytes(), "{length}");
        }
    }

    #[test]
    fn bytes_beyond_the_tail_do_not_count() {
        let start = Start::under([1, 2], Initial::KNOWN);
        let of = |tail| siphash::<1, 5>(start, [3], tail);
        assert_eq!(of(0x12_3456_789a), of(0xffff_ff12_3456_789a));
        assert_ne!(of(0x12_3456_789a), of(0x13_3456_789a));
    }

    proptest! {
        #[test]
        fn same_as_another_implementation(
            key: Block,
            input in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let theirs = SipHasher24::new_with_keys(key[0], key[1]).hash(&input);
            prop_assert_eq!(ours(key, &input), theirs.as_bytes());
        }
    }
}
