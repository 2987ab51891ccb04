//! The driver against a model with the password, the watchdog and the boot partition.

use std::cell::RefCell;

use proptest::prelude::*;

use super::PowerManager;
use crate::bus::Bus;
use crate::traits::Power;

#[derive(Debug, PartialEq)]
enum End {
    Reset,
    Off,
}

/// RSTC, RSTS, WDOG, and how the machine ended.
#[derive(Default)]
struct State {
    registers: [u32; 3],
    ended: Option<End>,
}

struct Model(RefCell<State>);

impl Bus for Model {
    /// The password is not readable.
    fn read32(&self, offset: usize) -> u32 {
        self.0.borrow().registers[(offset - 0x1c) / 4] & 0x00ff_ffff
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut s = self.0.borrow_mut();
        if s.ended.is_some() || value >> 24 != 0x5a {
            return;
        }
        s.registers[(offset - 0x1c) / 4] = value & 0x00ff_ffff;
        let [rstc, rsts, wdog] = s.registers;
        // The watchdog acts on time-out, whose time must have been set to be short.
        if (rstc >> 4) & 3 == 2 && (1..=65_536).contains(&(wdog & 0xf_ffff)) {
            s.ended = Some(if rsts & 0x555 == 0x555 {
                End::Off
            } else {
                End::Reset
            });
        }
    }
}

fn after(registers: [u32; 3], action: impl Fn(&mut PowerManager<&Model>)) -> State {
    let registers = registers.map(|value| value & 0x00ff_ffff);
    let model = Model(RefCell::new(State {
        registers,
        ended: None,
    }));
    action(&mut PowerManager::new(&model));
    model.0.into_inner()
}

#[test]
fn the_model_ignores_writes_without_password() {
    let model = Model(RefCell::default());
    for (offset, value) in [(0x20, 0x555), (0x24, 10), (0x1c, 0x20)] {
        model.write32(offset, value);
    }
    assert_eq!(model.0.borrow().registers, [0; 3]);
    assert_eq!(model.0.borrow().ended, None);
}

proptest! {
    // Whatever ran before: no watchdog that is armed already, everything else.
    #[test]
    fn each_ends_the_machine_its_own_way(rstc in any::<u32>(), rsts in any::<u32>(), wdog in any::<u32>()) {
        let before = [rstc & !0x30, rsts, wdog];
        let reset = after(before, |pm| pm.reset());
        prop_assert_eq!(reset.ended, Some(End::Reset));
        let off = after(before, |pm| pm.power_off());
        prop_assert_eq!(off.ended, Some(End::Off));
        for (state, partition) in [(reset.registers, 0), (off.registers, 0x555)] {
            prop_assert_eq!(state[0], before[0] & 0xff_ffcf | 0x20);
            prop_assert_eq!(state[1], before[1] & 0xff_faaa | partition);
        }
    }
}
