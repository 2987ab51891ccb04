//! What sets the two chips up and looks after their links, as lists.
//!
//! Names and places of registers are the data sheets'.

/// The PHY's registers (IEEE 802.3, 22.2.4), and bits of them.
pub(super) mod phy {
    pub const NUMBER: u32 = 1;
    pub const CONTROL: u8 = 0;
    pub const STATUS: u8 = 1;
    pub const ADVERTISED: u8 = 4;
    pub const PARTNER: u8 = 5;
    /// Negotiate, from the start.
    pub const NEGOTIATE: u32 = 1 << 12 | 1 << 9;
    pub const LINK: u32 = 1 << 2;
    /// 10 and 100 Mbit/s, half and full duplex, IEEE 802.3.
    pub const ALL_MODES: u32 = 0x01e1;
    /// Full duplex, at 100 and 10 Mbit/s.
    pub const FULL_DUPLEX: u32 = 1 << 8 | 1 << 6;
}

/// One thing to be done with the chip.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Writes a register.
    Write(u16, u32),
    /// Clears bits of a register and sets others.
    Modify {
        register: u16,
        clear: u32,
        set: u32,
    },
    /// Waits until these bits of a register have this value.
    Until {
        register: u16,
        mask: u32,
        value: u32,
    },
    /// Writes the own address: its first four bytes, and its last two with other bits.
    AddressLow(u16),
    AddressHigh(u16, u32),
    /// Writes a register of the PHY.
    PhyWrite(u8, u32),
    /// Reads a register of the PHY.
    PhyRead(u8),
    /// Takes the link out of the PHY's status that was read last.
    Link,
    /// Tells the MAC the duplex that PHY and partner have agreed on, out of what was read last: sets these
    /// bits of a register for full duplex, and those for half.
    Duplex {
        register: u16,
        full: u32,
        half: u32,
    },
}

/// LAN9514 registers.
pub(super) mod lan9514 {
    pub const ID: u16 = 0x00;
    pub const TX_CFG: u16 = 0x10;
    pub const HW_CFG: u16 = 0x14;
    pub const PM_CTRL: u16 = 0x20;
    pub const LED_CFG: u16 = 0x24;
    pub const BULK_IN_DELAY: u16 = 0x6c;
    pub const MAC_CR: u16 = 0x100;
    pub const ADDRESS_HIGH: u16 = 0x104;
    pub const ADDRESS_LOW: u16 = 0x108;
    pub const MII_ADDRESS: u16 = 0x114;
    pub const MII_DATA: u16 = 0x118;
    pub const FLOW: u16 = 0x11c;
    /// `HW_CFG`: reset of all but USB; an empty FIFO answers "not ready".
    pub const RESET: u32 = 1 << 3;
    pub const NOT_READY: u32 = 1 << 12;
    pub const PHY_RESET: u32 = 1 << 4;
    /// All three lights.
    pub const LEDS: u32 = 1 << 24 | 1 << 20 | 1 << 16;
    pub const TX_ON: u32 = 1 << 2;
    /// `MAC_CR`: do not receive what is sent (half duplex); full duplex; all groups; transmitter; receiver.
    pub const NOT_OWN: u32 = 1 << 23;
    pub const FULL_DUPLEX: u32 = 1 << 20;
    pub const ALL_GROUPS: u32 = 1 << 19;
    pub const ON: u32 = 1 << 3 | 1 << 2;
}

/// LAN7800 registers.
pub(super) mod lan7800 {
    pub const ID: u16 = 0x00;
    pub const HW_CFG: u16 = 0x10;
    pub const PMT_CTL: u16 = 0x14;
    pub const USB_CFG: u16 = 0x80;
    pub const BULK_IN_DELAY: u16 = 0x94;
    pub const FILTER: u16 = 0xb0;
    pub const RX_FIFO: u16 = 0xc0;
    pub const TX_FIFO: u16 = 0xc4;
    pub const RX_FIFO_END: u16 = 0xc8;
    pub const TX_FIFO_END: u16 = 0xcc;
    pub const FLOW: u16 = 0xd0;
    pub const MAC_CR: u16 = 0x100;
    pub const MAC_RX: u16 = 0x104;
    pub const MAC_TX: u16 = 0x108;
    pub const ADDRESS_HIGH: u16 = 0x118;
    pub const ADDRESS_LOW: u16 = 0x11c;
    pub const MII_ADDRESS: u16 = 0x120;
    pub const MII_DATA: u16 = 0x124;
    pub const PERFECT_HIGH: u16 = 0x400;
    pub const PERFECT_LOW: u16 = 0x404;
    pub const RESET: u32 = 1 << 1;
    pub const LEDS: u32 = 1 << 20 | 1 << 21;
    pub const PHY_RESET: u32 = 1 << 4;
    pub const READY: u32 = 1 << 7;
    /// An empty FIFO answers "not ready".
    pub const NOT_READY: u32 = 1 << 6;
    /// To all; to all groups; to one, if it is ours.
    pub const TO_ALL: u32 = 1 << 10;
    pub const TO_GROUPS: u32 = 1 << 9;
    pub const PERFECT: u32 = 1 << 1;
    /// Speed and duplex as the PHY says.
    pub const AUTOMATIC: u32 = 1 << 12 | 1 << 11;
    pub const FIFO_ON: u32 = 1 << 31;
    pub const ON: u32 = 1;
    /// An entry of the perfect filter counts.
    pub const VALID: u32 = 1 << 31;
    /// FIFO of 12 KiB: its last block of 512 bytes.
    pub const FIFO_END: u32 = 23;
    /// Longest frame, with check sequence and a tag.
    pub const MOST: u32 = 1522;
}

/// What sets a LAN9514 up.
pub(super) const SET_UP_9514: &[Op] = {
    use lan9514 as r;
    &[
        Op::Until {
            register: r::ID,
            mask: 0xffff_0000,
            value: 0xec00_0000,
        },
        Op::Write(r::HW_CFG, r::RESET),
        Op::Until {
            register: r::HW_CFG,
            mask: r::RESET,
            value: 0,
        },
        Op::Write(r::PM_CTRL, r::PHY_RESET),
        Op::Until {
            register: r::PM_CTRL,
            mask: r::PHY_RESET,
            value: 0,
        },
        Op::AddressLow(r::ADDRESS_LOW),
        Op::AddressHigh(r::ADDRESS_HIGH, 0),
        Op::Modify {
            register: r::HW_CFG,
            clear: 0,
            set: r::NOT_READY,
        },
        Op::Write(r::BULK_IN_DELAY, 0),
        Op::Write(r::LED_CFG, r::LEDS),
        Op::Write(r::FLOW, 0),
        Op::PhyWrite(phy::ADVERTISED, phy::ALL_MODES),
        Op::PhyWrite(phy::CONTROL, phy::NEGOTIATE),
        Op::Write(r::MAC_CR, r::NOT_OWN | r::ALL_GROUPS),
        Op::Write(r::TX_CFG, r::TX_ON),
        Op::Modify {
            register: r::MAC_CR,
            clear: 0,
            set: r::ON,
        },
    ]
};

/// What looks after a LAN9514's link. The PHY keeps a lost link in its status until that was read once.
pub(super) const WATCH_9514: &[Op] = {
    use lan9514 as r;
    &[
        Op::PhyRead(phy::STATUS),
        Op::PhyRead(phy::STATUS),
        Op::Link,
        Op::PhyRead(phy::PARTNER),
        Op::Duplex {
            register: r::MAC_CR,
            full: r::FULL_DUPLEX,
            half: r::NOT_OWN,
        },
    ]
};

/// What sets a LAN7800 up.
pub(super) const SET_UP_7800: &[Op] = {
    use lan7800 as r;
    &[
        Op::Until {
            register: r::ID,
            mask: 0xffff_0000,
            value: 0x7800_0000,
        },
        Op::Modify {
            register: r::HW_CFG,
            clear: 0,
            set: r::RESET,
        },
        Op::Until {
            register: r::HW_CFG,
            mask: r::RESET,
            value: 0,
        },
        Op::AddressLow(r::ADDRESS_LOW),
        Op::AddressHigh(r::ADDRESS_HIGH, 0),
        Op::AddressLow(r::PERFECT_LOW),
        Op::AddressHigh(r::PERFECT_HIGH, r::VALID),
        Op::Modify {
            register: r::USB_CFG,
            clear: 0,
            set: r::NOT_READY,
        },
        Op::Write(r::BULK_IN_DELAY, 0),
        Op::Modify {
            register: r::HW_CFG,
            clear: 0,
            set: r::LEDS,
        },
        Op::Write(r::RX_FIFO_END, r::FIFO_END),
        Op::Write(r::TX_FIFO_END, r::FIFO_END),
        Op::Write(r::FLOW, 0),
        Op::Write(r::FILTER, r::TO_ALL | r::TO_GROUPS | r::PERFECT),
        Op::Modify {
            register: r::PMT_CTL,
            clear: 0,
            set: r::PHY_RESET,
        },
        Op::Until {
            register: r::PMT_CTL,
            mask: r::PHY_RESET | r::READY,
            value: r::READY,
        },
        Op::Modify {
            register: r::MAC_CR,
            clear: 0,
            set: r::AUTOMATIC,
        },
        Op::PhyWrite(phy::CONTROL, phy::NEGOTIATE),
        Op::Modify {
            register: r::MAC_TX,
            clear: 0,
            set: r::ON,
        },
        Op::Modify {
            register: r::TX_FIFO,
            clear: 0,
            set: r::FIFO_ON,
        },
        Op::Modify {
            register: r::MAC_RX,
            clear: 0x3fff << 16,
            set: r::MOST << 16 | r::ON,
        },
        Op::Modify {
            register: r::RX_FIFO,
            clear: 0,
            set: r::FIFO_ON,
        },
    ]
};

pub(super) const WATCH_7800: &[Op] =
    &[Op::PhyRead(phy::STATUS), Op::PhyRead(phy::STATUS), Op::Link];
