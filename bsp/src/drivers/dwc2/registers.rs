//! Registers of the controller in host mode, by byte offset.
//!
//! The block has no public manual of this chip's. Names and places are those that systems for it agree on.

use tock_registers::register_bitfields;

use crate::bus::{ReadOnly, ReadWrite, RegisterAt};

register_bitfields! {
    u32,
    pub(super) GAHBCFG [
        /// Lets the controller interrupt.
        INTERRUPT OFFSET(0) NUMBITS(1) [],
        /// The controller moves data itself.
        DMA OFFSET(5) NUMBITS(1) [],
        /// This chip's: a transfer counts as done only when memory has what was written.
        WAIT_FOR_WRITES OFFSET(4) NUMBITS(1) [],
    ],
    pub(super) GUSBCFG [
        /// Width of the bus to the PHY: 8 bits, or 16.
        PHY_16_BITS OFFSET(3) NUMBITS(1) [],
        /// ULPI instead of UTMI+.
        ULPI OFFSET(4) NUMBITS(1) [],
        /// The serial full-speed PHY instead of one of the two.
        FULL_SPEED_PHY OFFSET(6) NUMBITS(1) [],
        /// The two protocols by which host and device change roles.
        SESSION_REQUEST OFFSET(8) NUMBITS(1) [],
        HOST_NEGOTIATION OFFSET(9) NUMBITS(1) [],
        FORCE_HOST OFFSET(29) NUMBITS(1) [],
    ],
    pub(super) GRSTCTL [
        CORE_RESET OFFSET(0) NUMBITS(1) [],
        FLUSH_RECEIVE OFFSET(4) NUMBITS(1) [],
        FLUSH_SEND OFFSET(5) NUMBITS(1) [],
        /// Which transmit FIFO is flushed.
        SEND_FIFO OFFSET(6) NUMBITS(5) [ All = 0x10 ],
        /// The controller's bus master does nothing.
        BUS_IDLE OFFSET(31) NUMBITS(1) [],
    ],
    pub(super) GINTSTS [
        /// The controller is a host now.
        HOST OFFSET(0) NUMBITS(1) [],
        PORT OFFSET(24) NUMBITS(1) [],
        CHANNELS OFFSET(25) NUMBITS(1) [],
    ],
    pub(super) FIFO [
        /// In words of four bytes.
        START OFFSET(0) NUMBITS(16) [],
        DEPTH OFFSET(16) NUMBITS(16) [],
    ],
    pub(super) HCFG [
        /// The PHY's clock: 30 or 60 MHz is 0.
        CLOCK OFFSET(0) NUMBITS(2) [],
        /// Never high speed.
        NO_HIGH_SPEED OFFSET(2) NUMBITS(1) [],
    ],
    pub(super) HPRT [
        CONNECTED OFFSET(0) NUMBITS(1) [],
        /// Cleared by writing 1, as are the next three that say so.
        CONNECT_DETECTED OFFSET(1) NUMBITS(1) [],
        /// Writing 1 turns the port *off*.
        ENABLED OFFSET(2) NUMBITS(1) [],
        ENABLE_CHANGED OFFSET(3) NUMBITS(1) [],
        OVERCURRENT_CHANGED OFFSET(5) NUMBITS(1) [],
        RESET OFFSET(8) NUMBITS(1) [],
        POWER OFFSET(12) NUMBITS(1) [],
        SPEED OFFSET(17) NUMBITS(2) [ High = 0, Full = 1, Low = 2 ],
    ],
    pub(super) HCCHAR [
        MAX_PACKET OFFSET(0) NUMBITS(11) [],
        ENDPOINT OFFSET(11) NUMBITS(4) [],
        IN OFFSET(15) NUMBITS(1) [],
        LOW_SPEED OFFSET(17) NUMBITS(1) [],
        KIND OFFSET(18) NUMBITS(2) [ Control = 0, Bulk = 2, Interrupt = 3 ],
        /// Transactions in a microframe, for periodic endpoints; 1 for all others.
        COUNT OFFSET(20) NUMBITS(2) [],
        DEVICE OFFSET(22) NUMBITS(7) [],
        /// An interrupt transaction waits for an odd frame, not an even one.
        ODD_FRAME OFFSET(29) NUMBITS(1) [],
        DISABLE OFFSET(30) NUMBITS(1) [],
        ENABLE OFFSET(31) NUMBITS(1) [],
    ],
    /// A channel's events, and in the register after it those that interrupt.
    pub(super) HCINT [
        COMPLETE OFFSET(0) NUMBITS(1) [],
        HALTED OFFSET(1) NUMBITS(1) [],
        BUS_ERROR OFFSET(2) NUMBITS(1) [],
        STALL OFFSET(3) NUMBITS(1) [],
        NAK OFFSET(4) NUMBITS(1) [],
        TRANSACTION_ERROR OFFSET(7) NUMBITS(1) [],
        BABBLE OFFSET(8) NUMBITS(1) [],
        FRAME_OVERRUN OFFSET(9) NUMBITS(1) [],
        TOGGLE_ERROR OFFSET(10) NUMBITS(1) [],
    ],
    pub(super) HCTSIZ [
        BYTES OFFSET(0) NUMBITS(19) [],
        PACKETS OFFSET(19) NUMBITS(10) [],
        PID OFFSET(29) NUMBITS(2) [ Data0 = 0, Data2 = 1, Data1 = 2, Setup = 3 ],
    ],
    pub(super) HFNUM [ FRAME OFFSET(0) NUMBITS(16) [] ],
}

pub(super) const GAHBCFG: RegisterAt<ReadWrite, GAHBCFG::Register> = RegisterAt::new(0x008);
pub(super) const GUSBCFG: RegisterAt<ReadWrite, GUSBCFG::Register> = RegisterAt::new(0x00c);
pub(super) const GRSTCTL: RegisterAt<ReadWrite, GRSTCTL::Register> = RegisterAt::new(0x010);
pub(super) const GINTSTS: RegisterAt<ReadWrite, GINTSTS::Register> = RegisterAt::new(0x014);
pub(super) const GINTMSK: RegisterAt<ReadWrite, GINTSTS::Register> = RegisterAt::new(0x018);
pub(super) const GRXFSIZ: RegisterAt<ReadWrite> = RegisterAt::new(0x024);
pub(super) const GNPTXFSIZ: RegisterAt<ReadWrite, FIFO::Register> = RegisterAt::new(0x028);
pub(super) const GSNPSID: RegisterAt<ReadOnly> = RegisterAt::new(0x040);
pub(super) const HPTXFSIZ: RegisterAt<ReadWrite, FIFO::Register> = RegisterAt::new(0x100);
pub(super) const HCFG: RegisterAt<ReadWrite, HCFG::Register> = RegisterAt::new(0x400);
pub(super) const HFNUM: RegisterAt<ReadOnly, HFNUM::Register> = RegisterAt::new(0x408);
pub(super) const HAINT: RegisterAt<ReadOnly> = RegisterAt::new(0x414);
pub(super) const HAINTMSK: RegisterAt<ReadWrite> = RegisterAt::new(0x418);
pub(super) const HPRT: RegisterAt<ReadWrite, HPRT::Register> = RegisterAt::new(0x440);
pub(super) const PCGCTL: RegisterAt<ReadWrite> = RegisterAt::new(0xe00);

/// The registers of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelRegisters(usize);

impl ChannelRegisters {
    /// Those of `channel`, below [`super::CHANNELS`].
    pub(super) const fn of(channel: usize) -> Self {
        Self(0x500 + 0x20 * channel)
    }
    pub(super) const fn character(self) -> RegisterAt<ReadWrite, HCCHAR::Register> {
        RegisterAt::new(self.0)
    }
    pub(super) const fn split(self) -> RegisterAt<ReadWrite> {
        RegisterAt::new(self.0 + 0x04)
    }
    pub(super) const fn events(self) -> RegisterAt<ReadWrite, HCINT::Register> {
        RegisterAt::new(self.0 + 0x08)
    }
    pub(super) const fn mask(self) -> RegisterAt<ReadWrite, HCINT::Register> {
        RegisterAt::new(self.0 + 0x0c)
    }
    pub(super) const fn size(self) -> RegisterAt<ReadWrite, HCTSIZ::Register> {
        RegisterAt::new(self.0 + 0x10)
    }
    pub(super) const fn memory(self) -> RegisterAt<ReadWrite> {
        RegisterAt::new(self.0 + 0x14)
    }
}
