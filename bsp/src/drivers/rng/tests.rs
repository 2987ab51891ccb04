//! The driver against a model that has to warm up and can run dry.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::Rng;
use crate::bus::Bus;
use crate::traits::{DeviceError, Random};

/// Depth of the FIFO.
const DEPTH: usize = 16;

#[derive(Default)]
struct State {
    enabled: bool,
    interrupts_off: bool,
    to_discard: u32,
    made: u32,
    ready: VecDeque<u32>,
}

#[derive(Default)]
struct Model(RefCell<State>);

impl Model {
    /// Lets the generator make `words` words, numbered from 0 since it was made.
    fn run(&self, words: u32) {
        let mut s = self.0.borrow_mut();
        for _ in 0..words {
            if !s.enabled {
                return;
            }
            let word = s.made;
            s.made += 1;
            if s.to_discard > 0 {
                s.to_discard -= 1;
            } else if s.ready.len() < DEPTH {
                s.ready.push_back(word);
            }
        }
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let mut s = self.0.borrow_mut();
        match offset {
            0x00 => u32::from(s.enabled),
            0x04 => s.to_discard | (s.ready.len() as u32) << 24,
            0x08 => s
                .ready
                .pop_front()
                .expect("read without a word being ready"),
            0x10 => u32::from(s.interrupts_off),
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut s = self.0.borrow_mut();
        match offset {
            0x00 => s.enabled = value & 1 == 1,
            0x04 => s.to_discard = value & 0xf_ffff,
            0x10 => s.interrupts_off = value & 1 == 1,
            _ => panic!("write of {offset:#x}"),
        }
    }
}

#[test]
fn nothing_comes_before_the_warm_up_is_over() {
    let model = Model::default();
    let mut rng = Rng::new(&model);
    assert_eq!(rng.try_next(), Err(DeviceError::TimedOut));
    model.run(10);
    rng.init();
    assert!(model.0.borrow().interrupts_off);
    for _ in 0..64 {
        assert_eq!(rng.try_next(), Err(DeviceError::TimedOut));
        model.run(0x1000);
    }
    assert_eq!(rng.try_next(), Err(DeviceError::TimedOut));
    model.run(1);
    assert_eq!(rng.try_next(), Ok(0x4_0000));
}

#[test]
fn a_dry_generator_says_so_and_recovers() {
    let model = Model::default();
    let mut rng = Rng::new(&model);
    rng.init();
    model.run(0x4_0000 + 3);
    for word in 0..3 {
        assert_eq!(rng.try_next(), Ok(0x4_0000 + word));
    }
    assert_eq!(rng.try_next(), Err(DeviceError::TimedOut));
    model.run(1);
    assert_eq!(rng.try_next(), Ok(0x4_0003));
}
