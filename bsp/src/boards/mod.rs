//! Boards: addresses, interrupts, and which driver serves what.
//!
//! Each board is a module with the same names. All are compiled always, and tested on the host; the one
//! that a `board-*` feature chooses is this module's own names. Nothing else asks which board it is.

pub mod raspi3;

#[cfg(feature = "board-raspi3")]
pub use raspi3::{
    ATAG_LIST, BUS_ALIAS, Board, CARD_INTERRUPT, CARD_MEMORY, CONSOLE_BAUD, CONSOLE_INTERRUPT,
    CardParts, CardSlot, Console, DEVICE_WINDOWS, FirmwareMailbox, Generator, Interrupts,
    NETWORK_MEMORY, Name, Network, Pins, PowerSwitch, SPIN_TABLE, USB_INTERRUPT, UsbController,
};

#[cfg(all(target_os = "none", not(feature = "board-raspi3")))]
compile_error!("no board is chosen: turn on one of the features `board-raspi3`");

/// One entry for each board.
const CHOSEN: &[bool] = &[cfg!(feature = "board-raspi3")];

const _: () = assert!(
    count(CHOSEN) <= 1,
    "more than one board is chosen: turn on one of the features `board-raspi3`"
);

const fn count(mut chosen: &[bool]) -> u32 {
    let mut count = 0;
    while let [first, rest @ ..] = chosen {
        count += *first as u32;
        chosen = rest;
    }
    count
}
