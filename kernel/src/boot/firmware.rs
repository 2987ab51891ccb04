//! What the firmware tells: memory, board, boot arguments. It is asked in every way that a board offers.
//!
//! Memory: the mailbox, else the device tree, else the ATAGs. Boot arguments: the device tree, else the
//! ATAGs, else the mailbox, which an older emulator leaves empty.
#![expect(unsafe_code, reason = "devices, and what the firmware left in memory")]

use core::cell::UnsafeCell;

use exopi_bsp::boards::{ATAG_LIST, BUS_ALIAS, Board, FirmwareMailbox};
use exopi_bsp::bus::DmaBuffer;
use exopi_bsp::handover::{self, Handover};
use exopi_bsp::traits::{DeviceError, Firmware, MemoryRange};

use crate::arch::{barrier, cache, mmu};

/// Most bytes of boot arguments that are kept.
const ARGUMENT_BYTES: usize = 1024;
/// Words of the buffer for messages to the firmware: the boot arguments and what is around them.
const MESSAGE_WORDS: usize = 512;
/// What is assumed if nobody tells: the least that a Raspberry Pi 3 leaves to its processor.
const LEAST_MEMORY: MemoryRange = MemoryRange {
    start: 0,
    length: 512 << 20,
};

/// What was found out.
pub(super) struct Found {
    /// RAM of the processor.
    pub memory: MemoryRange,
    /// Who said so.
    pub memory_source: &'static str,
    /// The board's revision code; 0 if nobody told.
    pub board_revision: u32,
    arguments: [u8; ARGUMENT_BYTES],
    argument_bytes: usize,
}

impl Found {
    /// The boot arguments, as the firmware gave them.
    pub fn arguments(&self) -> &[u8] {
        self.arguments.get(..self.argument_bytes).unwrap_or(&[])
    }

    /// The same as text, as far as they are.
    pub fn arguments_text(&self) -> &str {
        let valid = match core::str::from_utf8(self.arguments()) {
            Ok(text) => return text,
            Err(error) => error.valid_up_to(),
        };
        core::str::from_utf8(&self.arguments[..valid]).unwrap_or("")
    }

    fn set_arguments(&mut self, from: &[u8]) {
        self.argument_bytes = from.len().min(ARGUMENT_BYTES);
        let length = self.argument_bytes;
        self.arguments[..length].copy_from_slice(&from[..length]);
    }
}

/// The memory that messages to the firmware travel in.
#[repr(C, align(64))]
struct MessageMemory(UnsafeCell<[u32; MESSAGE_WORDS]>);

// SAFETY: `Message` is the only way to it, and there is one.
unsafe impl Sync for MessageMemory {}

static MESSAGE: MessageMemory = MessageMemory(UnsafeCell::new([0; MESSAGE_WORDS]));

/// The buffer for messages to the firmware.
pub(super) struct Message(());

impl Message {
    fn word(index: usize) -> Option<*mut u32> {
        (index < MESSAGE_WORDS).then(|| MESSAGE.0.get().cast::<u32>().wrapping_add(index))
    }
}

impl DmaBuffer for Message {
    fn len(&self) -> usize {
        MESSAGE_WORDS
    }

    fn read(&self, index: usize) -> u32 {
        // SAFETY: the place is inside the buffer; the firmware may have written it, hence volatile.
        Self::word(index).map_or(0, |word| unsafe { word.read_volatile() })
    }

    fn write(&mut self, index: usize, value: u32) {
        if let Some(word) = Self::word(index) {
            // SAFETY: the place is inside the buffer, which the firmware does not have now.
            unsafe { word.write_volatile(value) };
        }
    }

    fn bus_address(&self) -> u32 {
        mmu::physical_of_image(MESSAGE.0.get() as usize) as u32 | BUS_ALIAS
    }

    fn hand_over(&mut self) {
        cache::clean_and_invalidate(MESSAGE.0.get() as usize, MESSAGE_WORDS * 4);
    }

    fn take_back(&mut self) {
        // Nothing was written meanwhile, so there is nothing to clean: this only invalidates.
        cache::clean_and_invalidate(MESSAGE.0.get() as usize, MESSAGE_WORDS * 4);
        barrier::complete_system();
    }
}

/// The board's devices, with the console turned on. Called once.
pub(super) fn board() -> (Board<Message>, Result<(), DeviceError>) {
    // SAFETY: `mmu::init` has mapped the device windows as Device memory where `mmu::device` says, for
    // good. This is called once, and nothing else drives the devices.
    let mut board = unsafe { Board::new(mmu::device, Message(())) };
    let console_works = board.start_console();
    (board, console_works)
}

/// Bytes of RAM at `physical`, mapped for it.
fn ram(physical: u64, length: u64) -> &'static [u8] {
    mmu::map_linear(physical..physical + length, true);
    // SAFETY: what the firmware hands over lies in RAM, which is mapped now; nobody writes it while the
    // kernel boots, and the slice is not kept longer.
    unsafe { core::slice::from_raw_parts(mmu::linear(physical) as *const u8, length as usize) }
}

/// The device tree at `pointer`, if there is one, inside of RAM, which ends at `ram_end`, and clear of the
/// kernel's image, whose pages have no other name.
fn device_tree(pointer: u64, ram_end: u64) -> Handover<'static> {
    let image = mmu::image();
    let image = mmu::physical_of_image(image.start)..mmu::physical_of_image(image.end);
    let readable = |length: u64| {
        let end = pointer.checked_add(length)?;
        let clear = end <= image.start || image.end <= pointer;
        (clear && end <= mmu::mapped_end(ram_end)).then(|| ram(pointer, length))
    };
    let aligned = pointer.is_multiple_of(8).then_some(8);
    aligned
        .and_then(readable)
        .and_then(handover::device_tree_size)
        .and_then(|size| readable(size as u64))
        .map(handover::device_tree)
        .unwrap_or_default()
}

/// The ATAG list, which lies below whatever is loaded.
fn atags() -> Handover<'static> {
    /// No list is longer.
    const MOST_BYTES: u64 = 0x1000 - ATAG_LIST;
    handover::atag_list(ram(ATAG_LIST, MOST_BYTES))
}

/// Asks for all that the kernel wants to know. `pointer` is what the firmware left in x0.
pub(super) fn ask(mailbox: &mut FirmwareMailbox<Message>, pointer: u64) -> Found {
    let told = mailbox.arm_memory().ok().filter(|memory| memory.length > 0);
    let certain = told.unwrap_or(LEAST_MEMORY);
    let ram_end = certain.start.saturating_add(certain.length);
    let (tree, atags) = (device_tree(pointer, ram_end), atags());
    let (memory, memory_source) = match (told, tree.memory, atags.memory) {
        (Some(memory), _, _) => (memory, "mailbox"),
        (_, Some(memory), _) => (memory, "device tree"),
        (_, _, Some(memory)) => (memory, "ATAGs"),
        _ => (LEAST_MEMORY, "kernel, since nobody told"),
    };
    let mut found = Found {
        memory,
        memory_source,
        board_revision: mailbox.board_revision().unwrap_or(0),
        arguments: [0; ARGUMENT_BYTES],
        argument_bytes: 0,
    };
    if let Some(arguments) = tree.command_line.or(atags.command_line) {
        found.set_arguments(arguments);
    } else {
        let mut line = [0; ARGUMENT_BYTES];
        if let Ok(length) = mailbox.command_line(&mut line) {
            found.set_arguments(line.get(..length).unwrap_or(&line));
        }
    }
    found
}
