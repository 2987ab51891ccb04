//! The driver against a model of function selection and of the pull sequence with its waits.

use std::cell::RefCell;

use proptest::prelude::*;

use super::{Function, Gpio, Pin, Pull};
use crate::bus::Bus;

/// One read is one cycle.
struct State {
    now: u32,
    fsel: [u32; 6],
    control: u32,
    control_since: u32,
    clock: [u32; 2],
    clock_since: u32,
    pulls: [u32; 54],
}

struct Model(RefCell<State>);

impl Model {
    fn new(fsel: [u32; 6], pulls: [u32; 54]) -> Self {
        Self(RefCell::new(State {
            now: 0,
            fsel,
            control: 0,
            control_since: 0,
            clock: [0; 2],
            clock_since: 0,
            pulls,
        }))
    }

    fn function(&self, pin: u8) -> u32 {
        let pin = usize::from(pin);
        (self.0.borrow().fsel[pin / 10] >> (pin % 10 * 3)) & 7
    }
}

impl State {
    /// Changing the control ends what the clocked pads were taking over.
    fn write_control(&mut self, value: u32) {
        for pin in 0..54 {
            if (self.clock[pin / 32] >> (pin % 32)) & 1 == 1 {
                assert!(self.now - self.clock_since >= 150, "the pads had no time");
                self.pulls[pin] = self.control;
            }
        }
        self.control = value;
        self.control_since = self.now;
    }

    fn write_clock(&mut self, bank: usize, value: u32) {
        if value != 0 {
            assert!(
                self.now - self.control_since >= 150,
                "the control had no time"
            );
            self.clock_since = self.now;
        }
        self.clock[bank] = value;
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let mut s = self.0.borrow_mut();
        s.now += 1;
        match offset {
            0x00..=0x14 => s.fsel[offset / 4],
            0x34 => 0x1234_5678,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut s = self.0.borrow_mut();
        match offset {
            0x00..=0x14 => s.fsel[offset / 4] = value,
            0x94 => s.write_control(value),
            0x98 => s.write_clock(0, value),
            0x9c => s.write_clock(1, value),
            _ => panic!("write of {offset:#x}"),
        }
    }
}

#[test]
fn there_are_54_pins() {
    assert!(Pin::new(53).is_some());
    assert!(Pin::new(54).is_none());
}

#[test]
fn functions_have_the_manual_s_codes() {
    let codes = [
        (Function::Input, 0),
        (Function::Output, 1),
        (Function::Alt5, 2),
        (Function::Alt4, 3),
        (Function::Alt0, 4),
        (Function::Alt1, 5),
        (Function::Alt2, 6),
        (Function::Alt3, 7),
    ];
    let model = Model::new([0; 6], [0; 54]);
    for (function, code) in codes {
        Gpio::new(&model).set_function(Pin::new(14).unwrap(), function);
        assert_eq!(model.function(14), code);
    }
}

proptest! {
    #[test]
    fn a_function_changes_one_pin(pin in 0..54u8, before in any::<[u32; 6]>()) {
        let model = Model::new(before, [0; 54]);
        let old: Vec<_> = (0..54).map(|pin| model.function(pin)).collect();
        Gpio::new(&model).set_function(Pin::new(pin).unwrap(), Function::Alt0);
        for other in 0..54 {
            let expected = if other == pin { 4 } else { old[usize::from(other)] };
            prop_assert_eq!(model.function(other), expected);
        }
    }

    #[test]
    fn a_pull_changes_the_named_pins(
        pins in prop::collection::vec(0..54u8, 0..6),
        pull in prop::sample::select(vec![Pull::Off, Pull::Down, Pull::Up]),
    ) {
        const BEFORE: u32 = 3; // no driver can ask for it
        let model = Model::new([0; 6], [BEFORE; 54]);
        let named: Vec<_> = pins.iter().map(|pin| Pin::new(*pin).unwrap()).collect();
        Gpio::new(&model).set_pull(&named, pull);
        let s = model.0.borrow();
        for pin in 0..54u8 {
            let expected = if pins.contains(&pin) { pull as u32 } else { BEFORE };
            prop_assert_eq!(s.pulls[usize::from(pin)], expected);
        }
        prop_assert_eq!((s.control, s.clock), (0, [0; 2]));
    }
}
