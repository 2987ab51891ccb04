//! Calls on the board. They are the first environment's alone, and there is no other one yet.

use exopi_abi::Error;

use crate::power;

pub(super) fn exit(status: u64) -> Result<(), Error> {
    power::off(status & 0xff)
}

pub(super) fn reset() -> Result<(), Error> {
    power::reset()
}
