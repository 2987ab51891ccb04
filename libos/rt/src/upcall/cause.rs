//! What an exception syndrome says (ARM DDI 0487, ESR_EL1), for exceptions from EL0 in AArch64.

/// Why a program was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCause {
    /// An instruction that is undefined, or that EL0 may not execute.
    Undefined,
    /// An instruction on a system register, or for a cache or the TLB, that EL0 may not execute.
    SystemInstruction,
    /// `svc` with this number: 0, as others are calls.
    Svc(u16),
    /// An instruction could not be fetched.
    InstructionAbort {
        /// From here.
        address: u64,
        /// For this reason.
        kind: AbortKind,
    },
    /// A load or store could not be done.
    DataAbort {
        /// Of this address.
        address: u64,
        /// It was a store.
        write: bool,
        /// For this reason.
        kind: AbortKind,
    },
    /// The PC is not a multiple of 4.
    PcAlignment {
        /// The PC.
        address: u64,
    },
    /// The stack pointer is used as a base and is not a multiple of 16.
    SpAlignment,
    /// A floating-point exception.
    FpException,
    /// `brk` with this number.
    Breakpoint(u16),
    /// A single step.
    SingleStep,
    /// Another exception of this class.
    Other(u8),
}

/// Why memory could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortKind {
    /// Nothing is mapped there; the walk ended at this level.
    Translation(u8),
    /// The mapping does not allow it; it is of this level.
    Permission(u8),
    /// The mapping's access flag is clear; it is of this level.
    AccessFlag(u8),
    /// The address is not aligned as the access needs it.
    Alignment,
    /// The memory system answered with an error.
    External,
    /// Another reason: the fault status code.
    Other(u8),
}

impl AbortKind {
    /// Bits 0..6 of the syndrome.
    const fn decode(esr: u64) -> Self {
        let code = (esr & 0x3f) as u8;
        let level = code & 3;
        match code >> 2 {
            0b0001 => Self::Translation(level),
            0b0010 => Self::AccessFlag(level),
            0b0011 => Self::Permission(level),
            _ if code == 0b10_0001 => Self::Alignment,
            _ if code == 0b01_0000 || code >> 2 == 0b0101 => Self::External,
            _ => Self::Other(code),
        }
    }
}

impl FaultCause {
    /// The cause behind a syndrome and a fault address.
    pub const fn decode(esr: u64, far: u64) -> Self {
        /// The syndrome's "write, not read" bit.
        const WRITE: u64 = 1 << 6;
        /// Set for cache maintenance, which counts as a write and is none.
        const MAINTENANCE: u64 = 1 << 8;

        let class = (esr >> 26 & 0x3f) as u8;
        let number = esr as u16;
        let kind = AbortKind::decode(esr);
        match class {
            0x00 => Self::Undefined,
            0x15 => Self::Svc(number),
            0x18 => Self::SystemInstruction,
            0x20 => Self::InstructionAbort { address: far, kind },
            0x22 => Self::PcAlignment { address: far },
            0x24 => Self::DataAbort {
                address: far,
                write: esr & WRITE != 0 && esr & MAINTENANCE == 0,
                kind,
            },
            0x26 => Self::SpAlignment,
            0x2c => Self::FpException,
            0x32 => Self::SingleStep,
            0x3c => Self::Breakpoint(number),
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syndromes_as_processors_give_them() {
        for (esr, cause) in [
            (0x0200_0000, FaultCause::Undefined),
            (0x5600_0000, FaultCause::Svc(0)),
            (0x6200_0000, FaultCause::SystemInstruction),
            (0xf200_0007, FaultCause::Breakpoint(7)),
            (0x9a00_0000, FaultCause::SpAlignment),
            (0x8a00_0000, FaultCause::PcAlignment { address: 6 }),
            (0xca00_0022, FaultCause::SingleStep),
            (0xc200_0000, FaultCause::Other(0x30)),
        ] {
            assert_eq!(FaultCause::decode(esr, 6), cause, "{esr:#x}");
        }
    }

    #[test]
    fn aborts_tell_address_direction_and_reason() {
        let data = |esr| match FaultCause::decode(esr, 0x1234) {
            FaultCause::DataAbort {
                address: 0x1234,
                write,
                kind,
            } => (write, kind),
            other => panic!("{other:?}"),
        };
        assert_eq!(data(0x9200_0007), (false, AbortKind::Translation(3)));
        assert_eq!(data(0x9200_0045), (true, AbortKind::Translation(1)));
        assert_eq!(data(0x9200_004f), (true, AbortKind::Permission(3)));
        assert_eq!(data(0x9200_014f), (false, AbortKind::Permission(3)));
        assert_eq!(data(0x9200_000b), (false, AbortKind::AccessFlag(3)));
        assert_eq!(data(0x9200_0021), (false, AbortKind::Alignment));
        assert_eq!(data(0x9200_0010), (false, AbortKind::External));
        assert_eq!(data(0x9200_0030), (false, AbortKind::Other(0x30)));
        assert_eq!(
            FaultCause::decode(0x8200_000f, 0x4000),
            FaultCause::InstructionAbort {
                address: 0x4000,
                kind: AbortKind::Permission(3)
            }
        );
    }
}
