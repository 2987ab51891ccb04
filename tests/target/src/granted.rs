//! Capabilities for cases: minted, bent, and presented as they are.

use exopi_rt::capability::{CAPABILITY_WORDS, Kind, PageRights, Restriction, Rights};
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{
    Access, Capability, Error, Object, PageNumber, PageRun, PageSource, Progress, UserCapability,
    UserCapabilityMut, VirtAddr, stubs,
};

use crate::checkpoint;
use crate::harness::{Failure, Outcome};

/// A capability as it lies in memory, or what looks like one.
pub(crate) type Words = [u64; CAPABILITY_WORDS];

/// Everything that a page's capability can allow.
pub(crate) const ALL: PageRights = PageRights::all();
/// What a mapping for loads and stores needs.
pub(crate) const READ_WRITE: PageRights = PageRights::READ.union(PageRights::WRITE);

/// Asks for a capability of any kind.
pub(crate) fn mint(kind: Kind, index: u64, count: u64, rights: u64) -> Result<Words, Error> {
    let mut words = [0; CAPABILITY_WORDS];
    let into = UserCapabilityMut::from(&mut words);
    stubs::cap_mint(kind, index, count, rights, into)?;
    Ok(words)
}

/// The same for objects that outlive the case. Its bytes stay somewhere on the stack, and who looks at memory
/// from outside is told that they may.
pub(crate) fn mint_lasting(
    kind: Kind,
    index: u64,
    count: u64,
    rights: u64,
) -> Result<Words, Error> {
    let words = mint(kind, index, count, rights)?;
    // What was minted fits.
    checkpoint::granted(kind, index as u32, count as u32, rights as u16);
    Ok(words)
}

/// A capability for pages of this program.
pub(crate) fn mint_pages(
    first: PageNumber,
    count: u64,
    rights: PageRights,
) -> Result<Words, Error> {
    mint(Kind::Page, first.get().into(), count, rights.bits().into())
}

/// Where the kernel is to read a capability: whatever the words are.
pub(crate) fn present(words: &Words) -> Result<UserCapability<'_>, Error> {
    present_at(words.as_ptr() as u64)
}

/// The same at any address.
pub(crate) fn present_at<'a>(address: u64) -> Result<UserCapability<'a>, Error> {
    UserCapability::decode(&mut Arguments::new([address, 0, 0, 0, 0, 0]))
}

/// Pages by a capability.
pub(crate) fn run(first: PageNumber, words: &Words) -> Result<PageRun<'_>, Error> {
    Ok(PageRun::Presented(first, present(words)?))
}

/// Maps pages by a capability. Nothing else of the program uses the addresses that cases map at.
pub(crate) fn insert_by(
    at: VirtAddr,
    first: PageNumber,
    words: &Words,
    count: u64,
    access: Access,
) -> Progress {
    match run(first, words) {
        // SAFETY: the kernel maps over nothing.
        Ok(run) => unsafe {
            stubs::insert_pte(Object::Own, at, PageSource::Run(run), count, access)
        },
        Err(error) => Progress::refused(error),
    }
}

/// The capability with one more caveat.
pub(crate) fn attenuate(words: &Words, restriction: Restriction) -> Result<Words, Failure> {
    Ok(Capability::from_words(*words)?
        .attenuate(restriction)?
        .words())
}

/// The capability with a mask of rights sealed in.
pub(crate) fn masked(words: &Words, rights: PageRights) -> Result<Words, Failure> {
    attenuate(words, Restriction::Rights(Rights::from(rights)))
}

/// Checks that a capability maps `page` at `at` with `access`, and takes the mapping away again.
pub(crate) fn check_maps(at: VirtAddr, page: PageNumber, words: &Words, access: Access) -> Outcome {
    insert_by(at, page, words, 1, access).unless_stopped()?;
    crate::area::remove(at, 1).unless_stopped()?;
    Ok(())
}
