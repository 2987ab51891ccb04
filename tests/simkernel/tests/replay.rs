//! Sequences that the target makes as well: here that they can be made, again and again alike, and leave nothing
//! behind. The target's are compared with them by the tests of the booted system.

use exopi_simkernel::replay::lines;

#[test]
fn a_sequence_is_the_same_each_time_and_leaves_nothing() {
    for seed in 0..40 {
        let [one, other] = [(); 2].map(|()| lines(seed, 300, 0, 8).unwrap());
        assert_eq!(one, other, "seed {seed}");
        let steps = one.iter().filter(|line| line.starts_with("S "));
        assert_eq!(steps.count(), 300);
    }
}

/// The machine is another one, and the sequence the same.
#[test]
fn what_is_told_does_not_depend_on_the_machine() {
    let longer = |line: &&String| line.starts_with("S ");
    for seed in 0..10 {
        let first = lines(seed, 100, 0, 8).unwrap();
        let second = lines(seed, 200, 0, 8).unwrap();
        let first: Vec<_> = first.iter().filter(longer).collect();
        let second: Vec<_> = second.iter().filter(longer).take(100).collect();
        assert_eq!(first, second, "seed {seed}");
    }
}
