//! Senders and a receiver at random, against a queue of limited length.

use std::collections::VecDeque;

use exopi_abi::msgring::PAGE_ENTRIES;
use proptest::prelude::*;

use super::*;

/// What somebody does next.
#[derive(Clone, Debug)]
enum Act {
    Set(u8, u8),
    Clear,
    Send(bool, Vec<u8>),
    Receive,
    /// The receiver writes a word behind the head of the entry at which the kernel is.
    Scribble(u8, u64),
    Sleep,
}

fn acts() -> impl Strategy<Value = Act> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..260);
    prop_oneof![
        1 => (0..4u8, 0..5u8).prop_map(|(at, pages)| Act::Set(at, pages)),
        1 => Just(Act::Clear),
        30 => (any::<bool>(), bytes).prop_map(|(who, bytes)| Act::Send(who, bytes)),
        24 => Just(Act::Receive),
        3 => (1..32u8, any::<u64>()).prop_map(|(word, value)| Act::Scribble(word, value)),
        4 => Just(Act::Sleep),
    ]
}

/// The receiver's queue as it should be: room for so many, and what is in it.
struct Model {
    room: usize,
    letters: VecDeque<Letter>,
    number: u32,
    notice: bool,
}

fn expected(model: &mut Model, sender: ObjectName, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > 240 {
        return Err(Error::TooLong);
    }
    if model.room == 0 {
        return Err(Error::NotAccepting);
    }
    if model.letters.len() == model.room {
        return Err(Error::RingFull);
    }
    model.notice |= model.letters.is_empty();
    model.letters.push_back(Letter {
        number: model.number,
        sender,
        badge: 0,
        bytes: bytes.to_vec(),
    });
    model.number += 1;
    Ok(())
}

fn carry_out(scene: &mut Scene<'_>, model: &mut Model, act: Act) {
    match act {
        Act::Set(at, pages) => {
            let first = scene.first.plus(at.into()).expect("there is one");
            let set = scene.set(first, pages.into(), BIT);
            assert_eq!(set.is_ok(), pages != 0);
            if set.is_ok() {
                model.room = usize::from(pages) * PAGE_ENTRIES as usize;
                model.letters.clear();
                model.number = 0;
            }
        }
        Act::Clear => {
            scene.clear();
            model.room = 0;
            model.letters.clear();
        }
        Act::Send(second, bytes) => {
            let core = if second { 2 } else { 0 };
            let told = expected(model, scene.sender(core), &bytes);
            assert_eq!(scene.send(core as u8, 0, &bytes), told);
        }
        Act::Receive if model.room == 0 => {}
        Act::Receive => assert_eq!(scene.receive(), model.letters.pop_front()),
        Act::Scribble(word, value) => {
            if model.room != 0 && model.letters.len() < model.room {
                let next = scene.ring().written;
                scene.scribble(next, word.into(), value);
            }
        }
        // It sleeps only if nothing is there, and then it has been told of all that came.
        Act::Sleep => {
            let told = scene.notices() & 1 << BIT != 0;
            assert!(told || !model.notice);
            model.notice = false;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn rings_are_queues(acts in proptest::collection::vec(acts(), 1..150)) {
        let mut memory = Memory::new();
        let mut scene = Scene::new(&mut memory);
        let mut model = Model {
            room: 0,
            letters: VecDeque::new(),
            number: 0,
            notice: false,
        };
        for act in acts {
            carry_out(&mut scene, &mut model, act);
        }
        prop_assert_eq!(scene.world.check(), Ok(()));
    }
}
