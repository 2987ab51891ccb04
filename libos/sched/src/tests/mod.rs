//! Tests on the host: policies against naive models, the table against its invariants, and everything that
//! threads do under random interruptions, whose seed each test prints when it fails.

mod executor;
mod policies;
mod primitives;
mod table;

use crate::heap::{Cell, Heap};
use crate::table::ThreadIndex;
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};

/// The thread of a number.
fn thread(index: usize) -> ThreadIndex {
    ThreadIndex::new(index).unwrap()
}

/// What is done to a heap.
#[derive(Clone, Debug)]
enum Step {
    Insert(usize, u8),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (0..8_usize, any::<u8>()).prop_map(|(thread, key)| Step::Insert(thread, key));
    proptest::prop_oneof![3 => insert, 1 => (0..8_usize).prop_map(Step::Remove)]
}

proptest! {
    /// The first is always the least of what a map holds, and in the end all come out in order.
    #[test]
    fn heaps_are_as_sorted_maps(steps in prop::collection::vec(step(), 0..60)) {
        let mut heap = Heap::new([Cell::empty(0_u8); 8]);
        let mut model = [None; 8];
        for step in steps {
            match step {
                Step::Insert(index, key) => {
                    heap.insert(thread(index), key);
                    model[index] = Some(key);
                }
                Step::Remove(index) => {
                    let there = heap.remove(thread(index));
                    prop_assert_eq!(there, model[index].take().is_some());
                }
            }
            prop_assert_eq!(heap.first().map(|(_, key)| key), model.iter().flatten().min().copied());
            for (index, key) in model.iter().enumerate() {
                prop_assert_eq!(heap.key(thread(index)), *key);
            }
            // Of those that may, the least, too.
            let mut odd = |it: ThreadIndex| it.get() % 2 == 1;
            let found = heap.first_that(&mut odd).and_then(|it| heap.key(it));
            let least = model.iter().skip(1).step_by(2).flatten().min().copied();
            prop_assert_eq!(found, least);
        }
        let mut rest: Vec<u8> = model.into_iter().flatten().collect();
        rest.sort_unstable();
        for key in rest {
            let (first, found) = heap.first().unwrap();
            prop_assert_eq!(found, key);
            heap.remove(first);
        }
        prop_assert_eq!(heap.first(), None);
    }
}
