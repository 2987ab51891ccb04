//! What a fuzzer feeds: one function of bytes for each thing that reads what others wrote.
//!
//! A target takes any bytes, and fails by a panic: its own when two things differ that must not, or that of
//! what it feeds, overflow included. The fuzzer itself is in `libfuzzer/`, outside the workspace, since it is built with
//! other flags and a library that nothing else needs; the functions are here, so that they are checked like all code
//! and run on random bytes by plain `cargo test`. `make fuzz` runs each for a while.
//!
//! | target | feeds |
//! | --- | --- |
//! | [`filter`] | packet filters: records and expressions; the tree, its generated code and the plain meaning agree on frames |
//! | [`wire`] | capabilities, registers, operations: what decodes encodes to the same |
//! | [`handover`] | ATAG lists and device trees |
//! | [`images`] | boot images, archives and ELF files |
//! | [`disk`] | partition tables, and the registers of a card |
//! | [`calls`] | the simulated kernel: sequences of calls by two environments |
//! | [`frames`] | filters, packet rings and sending: nobody receives or sends what is not allowed |
//! | [`volume`] | FAT volumes with changed bytes, mounted and used; partition tables |

mod calls;
mod disk;
mod filter;
mod frames;
mod images;
mod input;
mod volume;
mod wire;

pub use calls::calls;
pub use disk::disk;
pub use filter::filter;
pub use frames::frames;
pub use images::{handover, images};
pub use volume::volume;
pub use wire::wire;

/// A function of bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("filter", filter),
    ("wire", wire),
    ("handover", handover),
    ("images", images),
    ("disk", disk),
    ("calls", calls),
    ("frames", frames),
    ("volume", volume),
];

#[cfg(test)]
mod tests {
    use exopi_sequence::Random;

    use super::*;

    /// The targets run on bytes that nobody has chosen: of that nothing must come. Lengths are mostly short.
    #[test]
    fn random_bytes_do_no_harm() {
        let seed = 7;
        let mut random = Random::new(seed);
        for round in 0..2000 {
            let most = 1 << random.below(11);
            let length = random.below(most) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| random.word() as u8).collect();
            for (name, target) in TARGETS {
                let ran = std::panic::catch_unwind(|| target(&bytes));
                assert!(
                    ran.is_ok(),
                    "seed {seed}, round {round}: {name} of {bytes:x?}"
                );
            }
        }
    }

    #[test]
    fn no_bytes_are_bytes() {
        TARGETS.into_iter().for_each(|(_, target)| target(&[]));
    }
}
