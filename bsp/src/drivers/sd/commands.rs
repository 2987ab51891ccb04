//! Commands of an SD card, and what its answers say.
//!
//! Source: SD Specifications Part 1, Physical Layer Simplified Specification 9.10 ("PLSS"): commands in 4.7,
//! responses in 4.9, card status in 4.10.1.

/// Form of the answer that a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// None.
    None,
    /// 48 bits, with number of the command and checksum: R1, R6, R7.
    Short,
    /// The same; afterwards the card may be busy: R1b.
    Busy,
    /// 48 bits with neither: R3.
    Unchecked,
    /// 136 bits: R2.
    Long,
}

/// Data that goes along with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None.
    None,
    /// One block of so many bytes from the card, at most [`MOST_SMALL`](super::controller::MOST_SMALL), kept by the
    /// controller.
    Small(u16),
    /// So many sectors from the card into the request's memory.
    Read(u16),
    /// So many sectors from the request's memory to the card.
    Write(u16),
}

impl Data {
    /// Sectors of the request's memory.
    pub const fn sectors(self) -> u16 {
        match self {
            Self::None | Self::Small(_) => 0,
            Self::Read(sectors) | Self::Write(sectors) => sectors,
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// 0 to 63.
    pub index: u8,
    /// Argument.
    pub argument: u32,
    /// What comes back.
    pub response: Response,
    /// What goes along.
    pub data: Data,
    /// Bits of a short response that say that the command was not done, so that no data will come.
    pub refusals: u32,
    /// Microseconds for which nothing may happen in the data or busy phase.
    pub patience: u64,
}

/// Errors in a card status (PLSS 4.10.1, table 4-42).
pub mod status {
    /// The argument was beyond the card's end.
    pub const OUT_OF_RANGE: u32 = 1 << 31;
    /// Misaligned for the block length; on the emulator also what is beyond the end.
    pub const ADDRESS_ERROR: u32 = 1 << 30;
    /// A block length that the card does not do.
    pub const BLOCK_LEN_ERROR: u32 = 1 << 29;
    /// A write to a protected block.
    pub const WP_VIOLATION: u32 = 1 << 26;
    /// The card is locked by a password: no error by itself.
    pub const CARD_IS_LOCKED: u32 = 1 << 25;
    /// The command before this one was damaged on its way.
    pub const COM_CRC_ERROR: u32 = 1 << 23;
    /// The command is not one for this state.
    pub const ILLEGAL_COMMAND: u32 = 1 << 22;
    /// The card's own correction of its contents failed.
    pub const CARD_ECC_FAILED: u32 = 1 << 21;
    /// An error inside the card.
    pub const CC_ERROR: u32 = 1 << 20;
    /// Any other error.
    pub const ERROR: u32 = 1 << 19;
    /// Register bits that cannot be written, or a wrong copy.
    pub const CSD_OVERWRITE: u32 = 1 << 16;
    /// Only a part was erased, the rest being protected.
    pub const WP_ERASE_SKIP: u32 = 1 << 15;
    /// The card can take data.
    pub const READY_FOR_DATA: u32 = 1 << 8;
    /// The command before was understood as one for applications.
    pub const APP_CMD: u32 = 1 << 5;

    /// Everything that says "not done", for the command itself or for the data before it.
    pub const ERRORS: u32 = OUT_OF_RANGE
        | ADDRESS_ERROR
        | BLOCK_LEN_ERROR
        | 1 << 28
        | 1 << 27
        | WP_VIOLATION
        | 1 << 24
        | COM_CRC_ERROR
        | ILLEGAL_COMMAND
        | CARD_ECC_FAILED
        | CC_ERROR
        | ERROR
        | CSD_OVERWRITE
        | WP_ERASE_SKIP;
}

/// What a card does, as its status says (bits 9 to 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Selected, ready for data.
    Transfer,
    /// Sends data.
    Sending,
    /// Takes data.
    Receiving,
    /// Programs what it took.
    Programming,
    /// Any other: it has been reset, or is not selected.
    Elsewhere,
}

impl State {
    /// The state in a card status.
    pub const fn of(status: u32) -> Self {
        match status >> 9 & 0xf {
            4 => Self::Transfer,
            5 => Self::Sending,
            6 => Self::Receiving,
            7 => Self::Programming,
            _ => Self::Elsewhere,
        }
    }
}

/// Longest time until a read block begins: 100 ms (PLSS 4.6.2.1), and as much again for the bus.
pub const READ_PATIENCE: u64 = 200_000;
/// Longest time for which a card may be busy with a write: 500 ms for SDXC, 250 ms for others (PLSS 4.6.2.2), and as
/// much again.
pub const WRITE_PATIENCE: u64 = 1_000_000;
/// Longest busy time after selecting a card or stopping a transfer: as after a write.
const BUSY_PATIENCE: u64 = WRITE_PATIENCE;

impl Command {
    const fn new(index: u8, argument: u32, response: Response) -> Self {
        Self {
            index,
            argument,
            response,
            data: Data::None,
            refusals: 0,
            patience: BUSY_PATIENCE,
        }
    }

    const fn with(self, data: Data, patience: u64) -> Self {
        Self {
            data,
            refusals: status::ERRORS,
            patience,
            ..self
        }
    }

    /// The same, not done if the answer has any of these bits.
    const fn refused_by(self, refusals: u32) -> Self {
        Self { refusals, ..self }
    }

    /// CMD0: all cards to the idle state.
    pub const fn go_idle() -> Self {
        Self::new(0, 0, Response::None)
    }

    /// CMD2: all cards send their CID.
    pub const fn all_send_cid() -> Self {
        Self::new(2, 0, Response::Long)
    }

    /// CMD3: the card takes a new address and tells it.
    pub const fn send_relative_address() -> Self {
        Self::new(3, 0, Response::Short)
    }

    /// CMD7: selects the card of this address.
    pub const fn select(address: u16) -> Self {
        Self::new(7, (address as u32) << 16, Response::Busy).refused_by(status::ERRORS)
    }

    /// CMD8: asks whether the card works at 2.7 to 3.6 V, with a pattern to be sent back. Cards of version 1
    /// do not answer.
    pub const fn send_interface_condition() -> Self {
        Self::new(8, INTERFACE_CONDITION, Response::Short)
    }

    /// CMD9: the card of this address sends its CSD.
    pub const fn send_csd(address: u16) -> Self {
        Self::new(9, (address as u32) << 16, Response::Long)
    }

    /// CMD12: ends a transfer of several blocks.
    pub const fn stop_transmission() -> Self {
        Self::new(12, 0, Response::Busy)
    }

    /// CMD13: the card of this address sends its status.
    pub const fn send_status(address: u16) -> Self {
        Self::new(13, (address as u32) << 16, Response::Short)
    }

    /// CMD16: blocks of 512 bytes, for cards that could have others.
    pub const fn set_block_length() -> Self {
        Self::new(16, 512, Response::Short).refused_by(status::ERRORS)
    }

    /// CMD55: the next command is one for applications.
    pub const fn application(address: u16) -> Self {
        Self::new(55, (address as u32) << 16, Response::Short)
    }

    /// ACMD6: four data lines.
    pub const fn set_bus_width_4() -> Self {
        Self::new(6, 2, Response::Short).refused_by(status::ERRORS)
    }

    /// ACMD41: begins the card's own set-up, and asks whether it is done. Version 2 is told that we know high
    /// capacity, and allow the power that fast cards draw (PLSS 4.2.3.1).
    pub const fn operating_condition(version_2: bool) -> Self {
        let argument = match version_2 {
            true => VOLTAGES | 1 << 30 | 1 << 28,
            false => VOLTAGES,
        };
        Self::new(41, argument, Response::Unchecked)
    }

    /// ACMD51: the card sends its SCR.
    pub const fn send_scr() -> Self {
        Self::new(51, 0, Response::Short).with(Data::Small(8), READ_PATIENCE)
    }

    /// CMD6: asks for function 1, high speed, in group 1 (PLSS 4.3.10); sets it, or says whether that could be done.
    pub const fn switch_to_high_speed(set: bool) -> Self {
        let mode = (set as u32) << 31;
        Self::new(6, mode | 0x00ff_fff1, Response::Short).with(Data::Small(64), READ_PATIENCE)
    }

    /// CMD17 or CMD18: reads sectors from this address on, in the card's unit.
    pub const fn read(address: u32, sectors: u16) -> Self {
        let index = match sectors {
            1 => 17,
            _ => 18,
        };
        Self::new(index, address, Response::Short).with(Data::Read(sectors), READ_PATIENCE)
    }

    /// CMD24 or CMD25: writes sectors from this address on, in the card's unit.
    pub const fn write(address: u32, sectors: u16) -> Self {
        let index = match sectors {
            1 => 24,
            _ => 25,
        };
        Self::new(index, address, Response::Short).with(Data::Write(sectors), WRITE_PATIENCE)
    }

    /// Whether the controller ends the transfer by a CMD12 of its own.
    pub const fn stops_by_itself(&self) -> bool {
        self.data.sectors() > 1
    }
}

/// Argument of CMD8: voltage window 1, pattern 0xaa (PLSS 4.3.13). What comes back must have the same twelve bits.
pub const INTERFACE_CONDITION: u32 = 0x1aa;
/// 2.7 to 3.6 V, in OCR and ACMD41.
pub const VOLTAGES: u32 = 0x00ff_8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sector_is_no_stream() {
        let one = [Command::read(5, 1), Command::write(5, 1)];
        assert_eq!(one.map(|command| command.index), [17, 24]);
        assert!(one.iter().all(|command| !command.stops_by_itself()));
        let two = [Command::read(5, 2), Command::write(5, 256)];
        assert_eq!(two.map(|command| command.index), [18, 25]);
        assert!(two.iter().all(Command::stops_by_itself));
    }

    #[test]
    fn states_are_those_of_the_table() {
        // PLSS table 4-42: 0 idle, 1 ready, 2 ident, 3 stby, 4 tran, 5 data, 6 rcv, 7 prg, 8 dis.
        let states: Vec<_> = (0..16).map(|state| State::of(state << 9)).collect();
        assert_eq!(states[4], State::Transfer);
        assert_eq!(states[5], State::Sending);
        assert_eq!(states[6], State::Receiving);
        assert_eq!(states[7], State::Programming);
        let others = (0..16).filter(|state| !(4..8).contains(state));
        assert!(
            others
                .into_iter()
                .all(|state| states[state] == State::Elsewhere)
        );
    }

    #[test]
    fn what_is_no_error_is_not_taken_for_one() {
        let harmless = status::CARD_IS_LOCKED | status::READY_FOR_DATA | status::APP_CMD | 0xf << 9;
        assert_eq!(status::ERRORS & harmless, 0);
        // Reserved bits, and erase reset, which another command than the awaited one causes.
        assert_eq!(status::ERRORS & (1 << 18 | 1 << 17 | 1 << 14 | 1 << 13), 0);
    }
}
