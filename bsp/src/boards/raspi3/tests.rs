//! The board over a bus that remembers by physical address what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::{Board, CONSOLE_INTERRUPT, DEVICE_WINDOWS, Name, SPIN_TABLE};
use crate::block::{BlockDevice, SECTOR, Segment, SegmentMemory};
use crate::bus::{Bus, DmaBuffer};
use crate::dma::DmaMemory;
use crate::traits::{DeviceError, InterruptController, Power, Random};

type Registers = Rc<RefCell<BTreeMap<u64, u32>>>;

struct Window {
    start: u64,
    registers: Registers,
}

impl Window {
    fn physical(&self, offset: usize) -> u64 {
        let address = self.start + offset as u64;
        let inside =
            |w: &crate::traits::MemoryRange| (w.start..w.start + w.length).contains(&address);
        assert!(
            DEVICE_WINDOWS.iter().any(inside),
            "{address:#x} is not mapped"
        );
        address
    }
}

impl Bus for Window {
    fn read32(&self, offset: usize) -> u32 {
        let registers = self.registers.borrow();
        let address = match self.physical(offset) {
            // The mailbox gives back what it was sent.
            0x3f00_b880 => 0x3f00_b8a0,
            address => address,
        };
        registers.get(&address).copied().unwrap_or(0)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.registers
            .borrow_mut()
            .insert(self.physical(offset), value);
    }
}

/// Firmware that says the serial clock has this rate, or nothing.
struct Buffer {
    words: [u32; 8],
    clock: Option<u32>,
}

impl DmaBuffer for Buffer {
    fn len(&self) -> usize {
        self.words.len()
    }
    fn read(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or(0)
    }
    fn write(&mut self, index: usize, value: u32) {
        self.words[index] = value;
    }
    fn bus_address(&self) -> u32 {
        0xc000_1000
    }
    fn hand_over(&mut self) {}
    fn take_back(&mut self) {
        if let Some(clock) = self.clock {
            self.words[1] = 0x8000_0000;
            self.words[4] = 0x8000_0008;
            self.words[6] = clock;
        }
    }
}

fn board(clock: Option<u32>) -> (Board<Buffer, Window>, Registers) {
    let registers = Registers::default();
    let board = Board::over(
        |start| Window {
            start,
            registers: registers.clone(),
        },
        Buffer {
            words: [0; 8],
            clock,
        },
    );
    (board, registers)
}

#[test]
fn the_console_starts_on_its_pins_at_its_speed() {
    for (clock, divisor) in [
        (Some(3_000_000), (1, 40)),
        (Some(48_000_000), (26, 3)),
        (None, (26, 3)),
    ] {
        let (mut board, registers) = board(clock);
        assert_eq!(board.start_console(), Ok(()));
        let registers = registers.borrow();
        assert_eq!(
            registers[&0x3f20_0004],
            0b100_100 << 12,
            "pins 14 and 15, function 0"
        );
        assert_eq!(registers[&0x3f20_0094], 0, "pull");
        assert_eq!((registers[&0x3f20_1024], registers[&0x3f20_1028]), divisor);
        assert_eq!(registers[&0x3f20_1030], 0x301, "on, both directions");
        assert_eq!(registers[&0x3f00_b8a0], 0xc000_1008, "asked the firmware");
    }
}

#[test]
fn a_clock_that_is_too_slow_is_refused() {
    let (mut board, _) = board(Some(1_000_000));
    assert_eq!(board.start_console(), Err(DeviceError::Refused));
}

#[test]
fn each_driver_is_at_its_address() {
    let (mut board, registers) = board(None);
    board.interrupts.init();
    board.interrupts.set_enabled(0, CONSOLE_INTERRUPT, true);
    board.power.power_off();
    board.random.init();
    let registers = registers.borrow();
    for (address, value) in [
        (0x4000_0008, 0x8000_0000),
        (0x3f00_b214, 1 << 25),
        (0x3f10_001c, 0x5a00_0020),
        (0x3f10_0020, 0x5a00_0555),
        (0x3f10_4000, 1),
        (0x3f10_4004, 0x4_0000),
    ] {
        assert_eq!(registers.get(&address), Some(&value), "{address:#x}");
    }
}

/// Memory that nothing is in.
struct NoMemory;

impl DmaMemory for NoMemory {
    fn len(&self) -> usize {
        0
    }
    fn bus_address(&self) -> u32 {
        0
    }
    fn bytes(&self, _: Range<usize>) -> &[u8] {
        &[]
    }
    fn bytes_mut(&mut self, _: Range<usize>) -> &mut [u8] {
        &mut []
    }
    fn clean(&mut self, _: Range<usize>) {}
    fn invalidate(&mut self, _: Range<usize>) {}
}

impl SegmentMemory for NoMemory {
    fn bus_address(&self, _: &Segment) -> Option<u32> {
        None
    }
    fn clean(&mut self, _: &Segment) {}
    fn invalidate(&mut self, _: &Segment) {}
    fn load(&self, _: u64, _: &mut [u32; SECTOR / 4]) {}
    fn store(&mut self, _: u64, _: &[u32; SECTOR / 4]) {}
}

#[test]
fn the_card_is_on_its_pins_and_its_controller_at_its_address() {
    let (mut board, registers) = board(Some(200_000_000));
    // As the firmware leaves them: the controller on the radio's pins, the card on another controller.
    registers.borrow_mut().insert(0x3f20_000c, 0o7_777_770_000);
    registers.borrow_mut().insert(0x3f20_0010, 0o4_400_000_000);
    registers.borrow_mut().insert(0x3f20_0014, 0o4_444);
    let mut slot = board
        .card
        .assemble(&mut board.pins, &mut board.firmware, NoMemory, NoMemory);
    {
        let registers = registers.borrow();
        assert_eq!(registers[&0x3f20_000c], 0, "pins 34 to 39");
        assert_eq!(registers[&0x3f20_0010], 0o7_700_000_000, "pins 48 and 49");
        assert_eq!(registers[&0x3f20_0014], 0o7_777, "pins 50 to 53");
        assert!(
            !registers.contains_key(&0x3f30_002c),
            "nothing is touched yet"
        );
    }
    slot.look_for_medium(0);
    assert_eq!(registers.borrow()[&0x3f30_002c], 1 << 24, "it is reset");
}

#[test]
fn each_core_but_the_first_has_a_place_in_the_spin_table() {
    let expected: Vec<_> = (1..4).map(|core| 0xd8 + 8 * core).collect();
    assert_eq!(SPIN_TABLE[..], expected);
}

#[test]
fn boards_have_names() {
    for (revision, name) in [
        (0x00a0_2082, "Raspberry Pi 3 Model B"),
        (0x00a2_2082, "Raspberry Pi 3 Model B"),
        (0x00a0_20d3, "Raspberry Pi 3 Model B+"),
        (0x00a0_3111, "unknown Raspberry Pi (revision 0xa03111)"),
        (0x0000_0082, "unknown Raspberry Pi (revision 0x82)"),
        (0, "unknown Raspberry Pi (revision 0x0)"),
    ] {
        assert_eq!(Name(revision).to_string(), name);
    }
}
