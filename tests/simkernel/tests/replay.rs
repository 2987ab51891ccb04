//! Sequences that the target makes as well: here that they can be made, again and again alike, and leave nothing
//! behind. The target's are compared with them by the tests of the booted system.

use exopi_simkernel::replay::{difference, lines, lines_with};

#[test]
fn a_sequence_is_the_same_each_time_and_leaves_nothing() {
    for seed in 0..12 {
        let [one, other] = [(); 2].map(|()| lines(seed, 300, 8).unwrap());
        assert_eq!(one, other, "seed {seed}");
        let steps = one.iter().filter(|line| line.starts_with("S "));
        assert_eq!(steps.count(), 300);
    }
}

/// The machine is another one, with other page numbers and free lists, and the sequence the same.
#[test]
fn what_is_told_does_not_depend_on_the_machine() {
    for seed in 0..10 {
        let small = lines_with(4000, seed, 200, 8).unwrap();
        let large = lines_with(9001, seed, 200, 8).unwrap();
        assert_eq!(difference(&small, &large), None, "seed {seed}");
    }
}
