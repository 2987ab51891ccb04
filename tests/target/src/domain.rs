//! Who this program is: the records of its environment, space and account.

use exopi_rt::capability::Epoch;
use exopi_rt::domain::{
    AccountRecord, EnvironmentRecord, EnvironmentState, ObjectName, SpaceRecord,
};
use exopi_rt::exposed::{self, Section, header};
use exopi_rt::layout::{EXPOSED_BASE, FIRST_UAREA};
use exopi_rt::page::Owner;

use crate::harness::Failure;

/// Record `index` of a section.
fn record<T>(section: Section, index: u16) -> Result<T, Failure> {
    if u64::from(index) >= section.count {
        return Err(Failure::new("no such record"));
    }
    let at = EXPOSED_BASE + section.offset + u64::from(index) * section.stride;
    // SAFETY: the record is inside the region; the kernel writes only values of its type there.
    Ok(unsafe { (at as *const T).read_volatile() })
}

/// The record of an account.
pub(crate) fn account(index: u16) -> Result<AccountRecord, Failure> {
    record(header().accounts, index)
}

/// The record of a space.
pub(crate) fn space(index: u16) -> Result<SpaceRecord, Failure> {
    record(header().spaces, index)
}

/// The record of an environment.
pub(crate) fn environment(index: u16) -> Result<EnvironmentRecord, Failure> {
    record(header().environments, index)
}

fn name(index: u16, epoch: u64) -> ObjectName {
    ObjectName {
        index,
        epoch: Epoch::from_low_bits(epoch),
    }
}

/// This environment, the first: nobody else runs here while cases do.
pub(crate) fn own_name() -> Result<ObjectName, Failure> {
    for index in 0..header().environments.count as u16 {
        let record = environment(index)?;
        let runs = exposed::life_at(index).state() == EnvironmentState::Running;
        if runs && record.uarea_at == FIRST_UAREA {
            return Ok(name(index, record.epoch));
        }
    }
    Err(Failure::new("this environment is not in the records"))
}

/// The space of this environment.
pub(crate) fn own_space() -> Result<ObjectName, Failure> {
    let index = environment(own_name()?.index)?.space;
    Ok(name(index, space(index)?.epoch))
}

/// The account that this environment draws on.
pub(crate) fn own_account() -> Result<Owner, Failure> {
    Ok(environment(own_name()?.index)?.bound)
}
