//! The driver against a model of the per-core block, joined to the peripheral controller's model.

use std::cell::RefCell;

use proptest::prelude::*;

use super::Interrupts;
use crate::bus::Bus;
use crate::drivers::bcm2835_ic::PeripheralInterrupts;
use crate::drivers::bcm2835_ic::tests::Model as Peripherals;
use crate::traits::{InterruptController, Source};

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    control: u32,
    prescaler: u32,
    routing: u32,
    pmu: u32,
    local_timer: u32,
    timer_control: [u32; 4],
    mailbox_control: [u32; 4],
    mailboxes: [[u32; 4]; 4],
    /// Core timers whose condition is met: the four of each core.
    timers: [u32; 4],
}

#[derive(Default)]
struct Model {
    state: RefCell<State>,
    peripherals: Peripherals,
}

impl Model {
    fn source(&self, core: usize) -> u32 {
        let s = self.state.borrow();
        let timers = s.timers[core] & s.timer_control[core] & !(s.timer_control[core] >> 4);
        let full = (0..4).fold(0, |bits, n| {
            bits | u32::from(s.mailboxes[core][n] != 0) << n
        });
        let mailboxes = full & s.mailbox_control[core] & !(s.mailbox_control[core] >> 4);
        let peripherals = self.peripherals.output() && s.routing & 3 == core as u32;
        let pmu = s.pmu >> core & 1;
        let local_timer = u32::from(core == 0 && s.local_timer >> 28 & 3 == 3);
        timers & 0xf
            | (mailboxes & 0xf) << 4
            | u32::from(peripherals) << 8
            | pmu << 9
            | local_timer << 11
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let s = self.state.borrow();
        let core = offset / 4 % 4;
        match offset {
            0x40..=0x4c => s.timer_control[core],
            0x50..=0x5c => s.mailbox_control[core],
            0x60..=0x6c => self.source(core),
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut s = self.state.borrow_mut();
        let core = offset / 4 % 4;
        let (owner, box_number) = (offset / 0x10 % 4, offset / 4 % 4);
        match offset {
            0x00 => s.control = value,
            0x08 => s.prescaler = value,
            0x0c => s.routing = value,
            0x10 => s.pmu |= value,
            0x14 => s.pmu &= !value,
            0x34 => s.local_timer = value,
            0x40..=0x4c => s.timer_control[core] = value,
            0x50..=0x5c => s.mailbox_control[core] = value,
            0x80..=0xbc => s.mailboxes[owner][box_number] |= value,
            0xc0..=0xfc => s.mailboxes[owner][box_number] &= !value,
            _ => panic!("write of {offset:#x}"),
        }
    }
}

fn over(model: &Model) -> Interrupts<&Model, &Peripherals> {
    let mut interrupts = Interrupts::new(model, PeripheralInterrupts::new(&model.peripherals));
    interrupts.init();
    interrupts
}

#[test]
fn init_masks_everything_and_sets_the_timer_clock() {
    let model = Model::default();
    *model.state.borrow_mut() = State {
        control: 0x300,
        prescaler: 0x0600_0000,
        routing: 0b1101,
        pmu: 0xff,
        local_timer: 0x3000_1000,
        timer_control: [0xff; 4],
        mailbox_control: [0xff; 4],
        mailboxes: [[1, 0, 0, 0]; 4],
        timers: [0xf; 4],
    };
    model.peripherals.lines.set(u64::MAX);
    let mut interrupts = over(&model);
    for core in 0..4 {
        assert_eq!(model.source(core), 0);
        assert_eq!(interrupts.next_pending(core), None);
    }
    let after = model.state.borrow().clone();
    let expected = State {
        prescaler: 0x8000_0000,
        timers: [0xf; 4],
        ..State::default()
    };
    assert_eq!(after, expected);
}

#[test]
fn a_timer_interrupts_its_own_core_while_it_is_due() {
    let model = Model::default();
    let mut interrupts = over(&model);
    for core in 0..4 {
        interrupts.set_enabled(core, Source::Timer, true);
    }
    model.state.borrow_mut().timers[2] = 0b0010;
    for core in 0..4 {
        let expected = (core == 2).then_some(Source::Timer);
        assert_eq!(interrupts.next_pending(core), expected);
        assert_eq!(interrupts.next_pending(core), expected, "level");
    }
    // The other timers of the core (secure, hypervisor, virtual) are nobody's.
    model.state.borrow_mut().timers[2] = 0b1101;
    assert_eq!(interrupts.next_pending(2), None);
    model.state.borrow_mut().timers[2] = 0b0010;
    interrupts.set_enabled(2, Source::Timer, false);
    assert_eq!(interrupts.next_pending(2), None);
}

#[test]
fn inter_processor_interrupts_reach_their_core_once() {
    for target in 0..4 {
        let model = Model::default();
        let mut interrupts = over(&model);
        interrupts.send_ipi(target);
        assert_eq!(interrupts.next_pending(target), None, "masked");
        for core in 0..4 {
            interrupts.set_enabled(core, Source::Ipi, true);
        }
        interrupts.send_ipi(target);
        for core in 0..4 {
            let expected = (core == target).then_some(Source::Ipi);
            assert_eq!(interrupts.next_pending(core), expected);
            if core != target {
                interrupts.acknowledge_ipi(core);
            }
        }
        interrupts.acknowledge_ipi(target);
        assert_eq!(interrupts.next_pending(target), None);
    }
}

#[test]
fn peripherals_go_to_core_0_alone() {
    let model = Model::default();
    let mut interrupts = over(&model);
    model.peripherals.lines.set(1 << 57);
    for core in 1..4 {
        interrupts.set_enabled(core, Source::Peripheral(57), true);
    }
    assert_eq!(interrupts.next_pending(0), None);
    interrupts.set_enabled(0, Source::Peripheral(57), true);
    assert_eq!(interrupts.next_pending(0), Some(Source::Peripheral(57)));
    for core in 1..4 {
        assert_eq!(interrupts.next_pending(core), None);
    }
    // Taking the line away from a core that cannot have it does not take it from core 0.
    interrupts.set_enabled(1, Source::Peripheral(57), false);
    assert_eq!(interrupts.next_pending(0), Some(Source::Peripheral(57)));
}

#[test]
fn urgent_kinds_come_first() {
    let model = Model::default();
    let mut interrupts = over(&model);
    for source in [Source::Timer, Source::Ipi, Source::Peripheral(9)] {
        interrupts.set_enabled(0, source, true);
    }
    model.peripherals.lines.set(1 << 9);
    model.state.borrow_mut().timers[0] = 0b0010;
    interrupts.send_ipi(0);
    assert_eq!(interrupts.next_pending(0), Some(Source::Ipi));
    interrupts.acknowledge_ipi(0);
    assert_eq!(interrupts.next_pending(0), Some(Source::Timer));
    model.state.borrow_mut().timers[0] = 0;
    assert_eq!(interrupts.next_pending(0), Some(Source::Peripheral(9)));
}

#[test]
fn a_core_that_does_not_exist_is_ignored() {
    let model = Model::default();
    let mut interrupts = over(&model);
    let before = model.state.borrow().clone();
    for core in [4, 5, usize::MAX] {
        for source in [Source::Timer, Source::Ipi, Source::Peripheral(57)] {
            interrupts.set_enabled(core, source, true);
        }
        interrupts.send_ipi(core);
        interrupts.acknowledge_ipi(core);
        assert_eq!(interrupts.next_pending(core), None);
    }
    assert_eq!(*model.state.borrow(), before);
}

proptest! {
    /// Enabling and disabling in any order leaves exactly what was asked for last.
    #[test]
    fn each_core_s_sources_are_its_own(
        steps in prop::collection::vec((0..4usize, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let model = Model::default();
        let mut interrupts = over(&model);
        let mut expected = State { prescaler: 0x8000_0000, ..State::default() };
        for (core, timer, on) in steps {
            let source = if timer { Source::Timer } else { Source::Ipi };
            interrupts.set_enabled(core, source, on);
            if timer {
                expected.timer_control[core] = u32::from(on) << 1;
            } else {
                expected.mailbox_control[core] = u32::from(on);
            }
        }
        prop_assert_eq!(&*model.state.borrow(), &expected);
    }
}
