//! The driver against a model of 64 level lines, in both readings of the summary bits.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;

use super::PeripheralInterrupts;
use crate::bus::Bus;

/// Lines with a bit in the basic pending register, and which.
const SHOWN: [(u32, u32); 11] = [
    (7, 10),
    (9, 11),
    (10, 12),
    (18, 13),
    (19, 14),
    (53, 15),
    (54, 16),
    (55, 17),
    (56, 18),
    (57, 19),
    (62, 20),
];

#[derive(Default)]
pub(in crate::drivers) struct Model {
    pub(in crate::drivers) lines: Cell<u64>,
    enabled: Cell<u64>,
    basic_enabled: Cell<u32>,
    fiq: Cell<u32>,
    /// Whether the summary bits cover the shown lines too, as the emulator has it.
    summary_covers_all: bool,
    reads: RefCell<Vec<usize>>,
}

impl Model {
    /// As a boot loader might leave it.
    fn in_use(summary_covers_all: bool) -> Self {
        Self {
            enabled: Cell::new(u64::MAX),
            basic_enabled: Cell::new(0xff),
            fiq: Cell::new(0xff),
            summary_covers_all,
            ..Self::default()
        }
    }

    fn pending(&self) -> u64 {
        self.lines.get() & self.enabled.get()
    }

    /// Whether the output to the processor is raised.
    pub(in crate::drivers) fn output(&self) -> bool {
        self.pending() != 0
    }

    fn basic(&self) -> u32 {
        let shown = SHOWN.iter().fold(0, |lines, (line, _)| lines | 1 << line);
        let summed = if self.summary_covers_all {
            self.pending()
        } else {
            self.pending() & !shown
        };
        let mut value = u32::from(summed as u32 != 0) << 8 | u32::from(summed >> 32 != 0) << 9;
        for (line, bit) in SHOWN {
            value |= ((self.pending() >> line) as u32 & 1) << bit;
        }
        value
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        self.reads.borrow_mut().push(offset);
        match offset {
            0x00 => self.basic(),
            0x04 => self.pending() as u32,
            0x08 => (self.pending() >> 32) as u32,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let low = u64::from(value);
        match offset {
            0x0c => self.fiq.set(value),
            0x10 => self.enabled.set(self.enabled.get() | low),
            0x14 => self.enabled.set(self.enabled.get() | low << 32),
            0x18 => self.basic_enabled.set(self.basic_enabled.get() | value),
            0x1c => self.enabled.set(self.enabled.get() & !low),
            0x20 => self.enabled.set(self.enabled.get() & !(low << 32)),
            0x24 => self.basic_enabled.set(self.basic_enabled.get() & !value),
            _ => panic!("write of {offset:#x}"),
        }
    }
}

#[test]
fn init_masks_everything() {
    let model = Model::in_use(true);
    model.lines.set(u64::MAX);
    let mut interrupts = PeripheralInterrupts::new(&model);
    interrupts.init();
    assert_eq!((model.enabled.get(), model.basic_enabled.get()), (0, 0));
    assert_eq!(model.fiq.get() & 0x80, 0);
    assert_eq!(interrupts.next_pending(), None);
}

#[test]
fn a_line_beyond_the_last_is_ignored() {
    let model = Model::default();
    let mut interrupts = PeripheralInterrupts::new(&model);
    for line in 64..=255 {
        interrupts.set_enabled(line, true);
        interrupts.set_enabled(line, false);
    }
    assert_eq!(model.enabled.get(), 0);
}

#[test]
fn shown_lines_cost_one_read() {
    for summary_covers_all in [false, true] {
        let model = Model {
            summary_covers_all,
            ..Model::default()
        };
        let mut interrupts = PeripheralInterrupts::new(&model);
        for (line, _) in SHOWN {
            interrupts.set_enabled(line as u8, true);
        }
        for (line, _) in SHOWN {
            model.lines.set(1 << line);
            model.reads.borrow_mut().clear();
            assert_eq!(interrupts.next_pending(), Some(line as u8));
            assert_eq!(*model.reads.borrow(), [0x00]);
        }
    }
}

#[test]
fn what_the_hardware_reports_unasked_is_not_passed_on() {
    struct Lying;
    impl Bus for Lying {
        fn read32(&self, _: usize) -> u32 {
            u32::MAX
        }
        fn write32(&self, _: usize, _: u32) {}
    }
    let mut interrupts = PeripheralInterrupts::new(Lying);
    assert_eq!(interrupts.next_pending(), None);
    interrupts.set_enabled(3, true);
    assert_eq!(interrupts.next_pending(), Some(3));
}

proptest! {
    /// While lines stay raised, each enabled one has its turn before any has a second.
    #[test]
    fn pending_lines_are_served_in_turn(
        lines in any::<u64>(),
        enabled in any::<u64>(),
        masked in any::<u64>(),
        summary_covers_all in any::<bool>(),
    ) {
        let model = Model::in_use(summary_covers_all);
        let mut interrupts = PeripheralInterrupts::new(&model);
        interrupts.init();
        for line in 0..64 {
            if enabled >> line & 1 == 1 {
                interrupts.set_enabled(line, true);
            }
        }
        for line in 0..64 {
            if masked >> line & 1 == 1 {
                interrupts.set_enabled(line, false);
            }
        }
        prop_assert_eq!(model.enabled.get(), enabled & !masked);
        model.lines.set(lines);
        let expected = lines & enabled & !masked;
        for _ in 0..2 {
            let mut served = 0u64;
            for _ in 0..expected.count_ones() {
                let line = interrupts.next_pending().unwrap();
                prop_assert_eq!(served >> line & 1, 0, "line {} twice in a round", line);
                served |= 1 << line;
            }
            prop_assert_eq!(served, expected);
        }
        if expected == 0 {
            prop_assert_eq!(interrupts.next_pending(), None);
        }
    }
}
