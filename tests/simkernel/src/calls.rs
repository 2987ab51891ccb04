//! The call table, served: decoding is done, and what follows is what the real kernel's `syscall` does.

use exopi_abi::capability::{Capability, Kind, Rights};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use exopi_abi::registers::Outcome;
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{
    Access, Allocation, Breaking, Calls, Error, Note, Object, OnRefusal, PageNumber, PageRun,
    PageSelect, PageSource, Progress, TableLevel, UserBytes, UserBytesMut, UserCapability,
    UserCapabilityMut, UserOperations, VirtAddr,
};
use exopi_cap::{Verified, seal, verify};
use exopi_domains::{Subject, Target};
use exopi_pages::model::Machine;
use exopi_pages::{Right, Source};

use crate::kernel::{Kernel, KernelDomains, PowerOff};

mod batch;

/// Most bytes that one console call moves.
const CONSOLE_BYTES: u64 = 256;
/// Most bytes that one call moves from or to another environment's u-area.
const STATE_BYTES: u64 = 512;

impl<'m> Kernel<'m> {
    /// Reads and verifies what the caller presents.
    fn presented(&mut self, capability: UserCapability<'_>) -> Result<Verified, Error> {
        let words = self.user(|user| user.read_words(capability.address()))?;
        let presenter = self.running().identity();
        let capability = Capability::from_words(words)?;
        verify(&capability, self.key(), presenter, self.seconds)
    }

    /// Makes `call` on `object`, or says why its capability is refused.
    fn with_object<R: Outcome>(
        &mut self,
        object: Object<'_>,
        call: impl FnOnce(&mut KernelDomains<'m>, &mut Machine, &Subject, Target<'_>) -> R,
    ) -> R {
        let verified;
        let target = match object {
            Object::Own => Target::Own,
            Object::Owned(name) => Target::Owned(name),
            Object::Presented(capability) => match self.presented(capability) {
                Ok(proof) => {
                    verified = proof;
                    Target::Verified(&verified)
                }
                Err(error) => return R::refused(error),
            },
        };
        self.enter(|domains, machine, by| call(domains, machine, by, target))
    }

    /// Makes `call` on pages from a first one on, or says why their capability is refused.
    fn with_run<R: Outcome>(
        &mut self,
        pages: PageRun<'_>,
        call: impl FnOnce(&mut KernelDomains<'m>, &mut Machine, &Subject, PageNumber, Right<'_>) -> R,
    ) -> R {
        let verified;
        let (first, right) = match pages {
            PageRun::Owned(first) => (first, Right::Owner(self.subject().owner)),
            PageRun::Presented(first, capability) => match self.presented(capability) {
                Ok(proof) => {
                    verified = proof;
                    (first, Right::Verified(&verified))
                }
                Err(error) => return R::refused(error),
            },
        };
        self.enter(|domains, machine, by| call(domains, machine, by, first, right))
    }

    /// Writes the words of a capability for the caller.
    fn issue(&mut self, capability: &Capability, into: &UserCapabilityMut<'_>) -> Result<(), Error> {
        let words = capability.words();
        self.user(|user| user.write_capability(into.address(), words))
    }
}

fn rights(word: u64) -> Result<Rights, Error> {
    match u16::try_from(word) {
        Ok(bits) => Ok(Rights::from_bits(bits)),
        Err(_) => Err(Error::Malformed),
    }
}
