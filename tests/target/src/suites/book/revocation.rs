//! A program is asked for pages, by itself here, and gives back what costs it least.

use alloc::vec::Vec;

use exopi_rt::domain::Resource;
use exopi_rt::giver::{self, Giver, InOrder};
use exopi_rt::revocation::{RevocationRecord, RevocationState, Wanted};
use exopi_rt::{Object, PageNumber, memory, stubs, time};

use crate::harness::{Failure, Outcome};

/// Pages that can be had again from somewhere else: nothing is lost with them.
struct Cache(Vec<PageNumber>);

impl Giver for Cache {
    fn give(&mut self, _: &RevocationRecord, missing: u32) -> u32 {
        let count = (missing as usize).min(self.0.len());
        let gone = self.0.drain(..count);
        gone.filter(|page| stubs::page_free(exopi_rt::PageRun::Owned(*page), 1).done == 1)
            .count() as u32
    }
}

pub(super) fn what_costs_least_goes_first() -> Outcome {
    let page = || stubs::page_alloc(exopi_rt::PageSelect::Any, 1).first;
    let mut clean = Cache((0..3).map(|_| page()).collect());
    let mut dirty = Cache((0..3).map(|_| page()).collect());
    let second = time::ticks_per_second();
    let pages = Wanted::Any(Resource::Pages);
    // SAFETY: it is answered below, in time.
    let serial = unsafe { stubs::revoke_request(Object::Own, pages, 4, 30 * second, 0, 20) }?;

    // Notice 31 tells a program that has set a handler; here it is known.
    let asked = giver::asked().ok_or(Failure::new("nothing was asked for"))?;
    check_eq!((asked.serial, asked.asked), (serial, 4));
    let met = giver::answer(&mut InOrder(&mut [
        &mut clean as &mut dyn Giver,
        &mut dirty,
    ]))?;
    check!(met);
    check_eq!((clean.0.len(), dirty.0.len()), (0, 2));
    check!(giver::asked().is_none());
    let index = crate::domain::own_name()?.index;
    let record = exopi_rt::exposed::revocation_at(index).ok_or(Failure::new("no record"))?;
    check_eq!(record.state(), RevocationState::Given);
    for page in dirty.0 {
        memory::give_page(page)?;
    }
    Ok(())
}
