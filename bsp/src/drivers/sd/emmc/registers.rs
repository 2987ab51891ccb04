//! Registers of the controller, by byte offset (BCM2835 ARM Peripherals, section 5).

use tock_registers::register_bitfields;

use crate::bus::{ReadOnly, ReadWrite, RegisterAt};

register_bitfields! {
    u32,
    pub(super) BLKSIZECNT [
        SIZE OFFSET(0) NUMBITS(10) [],
        COUNT OFFSET(16) NUMBITS(16) [],
    ],
    pub(super) CMDTM [
        COUNTED OFFSET(1) NUMBITS(1) [],
        /// The controller sends CMD12 when all blocks have gone.
        AUTO_STOP OFFSET(2) NUMBITS(1) [],
        FROM_CARD OFFSET(4) NUMBITS(1) [],
        MULTIPLE OFFSET(5) NUMBITS(1) [],
        RESPONSE OFFSET(16) NUMBITS(2) [ None = 0, Long = 1, Short = 2, Busy = 3 ],
        CHECK_CRC OFFSET(19) NUMBITS(1) [],
        CHECK_INDEX OFFSET(20) NUMBITS(1) [],
        HAS_DATA OFFSET(21) NUMBITS(1) [],
        /// A command that ends what goes on.
        ABORT OFFSET(22) NUMBITS(2) [ Yes = 3 ],
        INDEX OFFSET(24) NUMBITS(6) [],
    ],
    pub(super) STATUS [
        COMMAND_BUSY OFFSET(0) NUMBITS(1) [],
        DATA_BUSY OFFSET(1) NUMBITS(1) [],
    ],
    pub(super) CONTROL0 [
        FOUR_LINES OFFSET(1) NUMBITS(1) [],
    ],
    pub(super) CONTROL1 [
        INTERNAL_CLOCK OFFSET(0) NUMBITS(1) [],
        CLOCK_STABLE OFFSET(1) NUMBITS(1) [],
        CLOCK OFFSET(2) NUMBITS(1) [],
        DIVIDER_HIGH OFFSET(6) NUMBITS(2) [],
        DIVIDER_LOW OFFSET(8) NUMBITS(8) [],
        /// The longest is 14.
        DATA_TIMEOUT OFFSET(16) NUMBITS(4) [],
        RESET_ALL OFFSET(24) NUMBITS(1) [],
        RESET_COMMAND OFFSET(25) NUMBITS(1) [],
        RESET_DATA OFFSET(26) NUMBITS(1) [],
    ],
    /// What has happened; in the two registers after it what is noticed, and what interrupts.
    pub(super) INTERRUPT [
        COMMAND_DONE OFFSET(0) NUMBITS(1) [],
        /// All data has gone, or the card is no longer busy.
        DATA_DONE OFFSET(1) NUMBITS(1) [],
        WRITE_READY OFFSET(4) NUMBITS(1) [],
        READ_READY OFFSET(5) NUMBITS(1) [],
        /// Any of those that follow.
        ERROR OFFSET(15) NUMBITS(1) [],
        NO_ANSWER OFFSET(16) NUMBITS(1) [],
        ANSWER_CRC OFFSET(17) NUMBITS(1) [],
        ANSWER_END OFFSET(18) NUMBITS(1) [],
        ANSWER_INDEX OFFSET(19) NUMBITS(1) [],
        DATA_TIMEOUT OFFSET(20) NUMBITS(1) [],
        DATA_CRC OFFSET(21) NUMBITS(1) [],
        DATA_END OFFSET(22) NUMBITS(1) [],
        AUTO_STOP OFFSET(24) NUMBITS(1) [],
    ],
}

pub(super) const BLKSIZECNT: RegisterAt<ReadWrite, BLKSIZECNT::Register> = RegisterAt::new(0x04);
pub(super) const ARG1: RegisterAt<ReadWrite> = RegisterAt::new(0x08);
pub(super) const CMDTM: RegisterAt<ReadWrite, CMDTM::Register> = RegisterAt::new(0x0c);
pub(super) const RESP: [RegisterAt<ReadOnly>; 4] = [
    RegisterAt::new(0x10),
    RegisterAt::new(0x14),
    RegisterAt::new(0x18),
    RegisterAt::new(0x1c),
];
pub(super) const DATA: RegisterAt<ReadWrite> = RegisterAt::new(0x20);
pub(super) const STATUS: RegisterAt<ReadOnly, STATUS::Register> = RegisterAt::new(0x24);
pub(super) const CONTROL0: RegisterAt<ReadWrite, CONTROL0::Register> = RegisterAt::new(0x28);
pub(super) const CONTROL1: RegisterAt<ReadWrite, CONTROL1::Register> = RegisterAt::new(0x2c);
pub(super) const INTERRUPT: RegisterAt<ReadWrite, INTERRUPT::Register> = RegisterAt::new(0x30);
pub(super) const IRPT_MASK: RegisterAt<ReadWrite> = RegisterAt::new(0x34);
pub(super) const IRPT_EN: RegisterAt<ReadWrite, INTERRUPT::Register> = RegisterAt::new(0x38);
pub(super) const CONTROL2: RegisterAt<ReadWrite> = RegisterAt::new(0x3c);
