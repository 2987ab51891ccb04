//! The call table, served: decoding is done, and what follows is what the real kernel's `syscall` does.

use exopi_abi::capability::{Capability, Kind};
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::net::Completion;
use exopi_abi::page::Owner;
use exopi_abi::registers::Outcome;
use exopi_abi::revocation::{Answer, Wanted};
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{
    Access, Allocation, Breaking, Calls, Error, Note, Object, OnRefusal, PageNumber, PageRun,
    PageSelect, PageSource, Progress, TableLevel, UserBytes, UserBytesMut, UserCapability,
    UserCapabilityMut, UserOperations, VirtAddr,
};
use exopi_cap::{Verified, seal, verify};
use exopi_domains::{Clock, Domains, Subject, Target, cap_narrow};
use exopi_pages::model::Machine;
use exopi_pages::{Right, Source};

use crate::board::TICKS_PER_SECOND;
use crate::kernel::{EXPOSED, Kernel, PowerOff};

mod batch;
mod net;

/// Most bytes that one console call moves.
const CONSOLE_BYTES: u64 = 256;

impl<'m> Kernel<'m> {
    /// Reads and verifies what the caller presents.
    fn presented(&mut self, capability: UserCapability<'_>) -> Result<Verified, Error> {
        let words = self.user(|user| user.read_words(capability.address()))?;
        let presenter = self.running().identity();
        let capability = Capability::from_words(words)?;
        verify(&capability, self.key(), presenter, self.seconds)
    }

    /// What `object` is, by a proof that is kept in `place`.
    pub(crate) fn target<'v>(
        &mut self,
        object: Object<'_>,
        place: &'v mut Option<Verified>,
    ) -> Result<Target<'v>, Error> {
        Ok(match object {
            Object::Own => Target::Own,
            Object::Owned(name) => Target::Owned(name),
            Object::Presented(capability) => {
                Target::Verified(place.insert(self.presented(capability)?))
            }
        })
    }

    /// Makes `call` on `object`, or says why its capability is refused.
    fn with_object<R: Outcome>(
        &mut self,
        object: Object<'_>,
        call: impl FnOnce(&mut Domains<'m>, &mut Machine, &Subject, Target<'_>) -> R,
    ) -> R {
        let mut place = None;
        match self.target(object, &mut place) {
            Ok(target) => self.enter(|domains, machine, by| call(domains, machine, by, target)),
            Err(error) => R::refused(error),
        }
    }

    /// The pages that are named, and the right to them, by a proof that is kept in `place`. `beside` is what comes
    /// first in the registers, and is refused first.
    fn right<'v>(
        &mut self,
        beside: Object<'_>,
        pages: PageRun<'_>,
        place: &'v mut Option<Verified>,
    ) -> Result<(PageNumber, Right<'v>), Error> {
        if let Object::Presented(beside) = beside {
            self.presented(beside)?;
        }
        Ok(match pages {
            PageRun::Owned(first) => (first, Right::Owner(self.subject().owner)),
            PageRun::Presented(first, capability) => {
                let verified = place.insert(self.presented(capability)?);
                (first, Right::Verified(verified))
            }
        })
    }

    /// Makes `call` on pages from a first one on, or says why their capability is refused.
    fn with_run<R: Outcome>(
        &mut self,
        pages: PageRun<'_>,
        call: impl FnOnce(&mut Domains<'m>, &mut Machine, &Subject, PageNumber, Right<'_>) -> R,
    ) -> R {
        let mut place = None;
        let (first, right) = match self.right(Object::Own, pages, &mut place) {
            Ok(named) => named,
            Err(error) => return R::refused(error),
        };
        self.enter(|domains, machine, by| call(domains, machine, by, first, right))
    }

    /// Writes the words of a capability for the caller.
    fn issue(
        &mut self,
        capability: &Capability,
        into: &UserCapabilityMut<'_>,
    ) -> Result<(), Error> {
        let words = capability.words();
        self.user(|user| user.write_capability(into.address(), words))
    }
}

/// How far a copy came, as the console calls tell it: a short one means that memory was not there.
fn copied(done: usize, wanted: usize) -> Progress {
    let stopped = (done == 0 && wanted > 0).then_some(Error::BadAddress);
    Progress {
        done: done as u64,
        stopped,
    }
}

impl Calls for Kernel<'_> {
    fn null(&mut self) -> Result<u64, Error> {
        Ok(exopi_abi::VERSION)
    }

    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        self.enter(|domains, machine, by| domains.page_alloc(machine, by, which, count))
    }

    fn page_free(&mut self, pages: PageRun<'_>, count: u64) -> Progress {
        self.with_run(pages, |domains, _, by, first, right| {
            domains.page_free(by, right, first, count)
        })
    }

    fn table_insert(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        self.with_object(space, |domains, machine, by, space| {
            domains.table_insert(machine, by, space, at, level, table, links)
        })
    }

    fn table_remove(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        self.with_object(space, |domains, machine, by, space| {
            domains.table_remove(machine, by, space, at, level)
        })
    }

    fn insert_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        let mut place = None;
        let source = match source {
            PageSource::New(which) => Source::New(which),
            PageSource::Run(pages) => match self.right(space, pages, &mut place) {
                Ok((first, right)) => Source::Run(first, right),
                Err(error) => return Progress::refused(error),
            },
        };
        self.with_object(space, |domains, machine, by, space| {
            domains.insert_pte(machine, by, space, at, source, count, access)
        })
    }

    fn remove_pte(&mut self, space: Object<'_>, at: VirtAddr, count: u64) -> Progress {
        self.with_object(space, |domains, machine, by, space| {
            domains.remove_pte(machine, by, space, at, count)
        })
    }

    fn resume(&mut self, class: UpcallClass) -> Result<(), Error> {
        if self.release(class) {
            Ok(())
        } else {
            Err(Error::NoFrame)
        }
    }

    fn console_write(&mut self, bytes: UserBytes<'_>) -> Progress {
        if !self.has_console() {
            return Progress::refused(Error::MissingRight);
        }
        let wanted = bytes.length().min(CONSOLE_BYTES) as usize;
        let mut buffer = vec![0; wanted];
        let done = self.user(|user| user.read(bytes.address(), &mut buffer));
        self.printed.extend_from_slice(&buffer[..done]);
        copied(done, wanted)
    }

    fn console_read(&mut self, into: UserBytesMut<'_>) -> Progress {
        if !self.has_console() {
            return Progress::refused(Error::MissingRight);
        }
        let wanted = into.length().min(CONSOLE_BYTES) as usize;
        let waiting: Vec<u8> = self.typed.iter().copied().take(wanted).collect();
        let done = self.user(|user| user.write(into.address(), &waiting));
        self.typed.drain(..done);
        copied(done, waiting.len())
    }

    fn board_exit(&mut self, status: u64) -> Result<(), Error> {
        self.power_off(PowerOff::Exit(status))
    }

    fn board_reset(&mut self) -> Result<(), Error> {
        self.power_off(PowerOff::Reset)
    }

    fn protect_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        count: u64,
        access: Access,
    ) -> Progress {
        self.with_object(space, |domains, machine, by, space| {
            domains.protect_pte(machine, by, space, at, count, access)
        })
    }

    fn insert_superpage(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        pages: PageRun<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        let mut place = None;
        let (first, right) = match self.right(space, pages, &mut place) {
            Ok(named) => named,
            Err(error) => return Progress::refused(error),
        };
        self.with_object(space, |domains, machine, by, space| {
            domains.insert_superpage(machine, by, space, at, first, right, count, access)
        })
    }

    fn pte_note(&mut self, space: Object<'_>, at: VirtAddr, note: Note) -> Result<(), Error> {
        self.with_object(space, |domains, machine, by, space| {
            domains.pte_note(machine, by, space, at, note)
        })
    }

    fn pte_batch(
        &mut self,
        space: Object<'_>,
        operations: UserOperations<'_>,
        on_refusal: OnRefusal,
    ) -> Progress {
        self.carry_out_all(space, &operations, on_refusal)
    }

    fn cap_mint(
        &mut self,
        kind: Kind,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>,
    ) -> Result<(), Error> {
        let minted = self.enter(|domains, _, by| domains.cap_mint(by, kind, index, count, rights));
        let capability = seal(&minted?, self.key());
        self.issue(&capability, &into)
    }

    fn cap_narrow(
        &mut self,
        from: UserCapability<'_>,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>,
    ) -> Result<(), Error> {
        let from = self.presented(from)?;
        let capability = cap_narrow(&from, self.key(), index, count, rights)?;
        self.issue(&capability, &into)
    }

    fn page_give(&mut self, first: PageNumber, count: u64, to: Owner) -> Progress {
        self.enter(|domains, _, by| domains.page_give(by, first, count, to))
    }

    fn page_accept(&mut self, count: u32) -> Result<(), Error> {
        self.enter(|domains, _, by| domains.page_accept(by, count))
    }

    fn page_retire(&mut self, pages: PageRun<'_>, count: u64) -> Progress {
        self.with_run(pages, |domains, _, by, first, right| {
            domains.page_retire(by, right, first, count)
        })
    }

    fn page_break(&mut self, pages: PageRun<'_>, count: u64) -> Breaking {
        self.with_run(pages, |domains, machine, by, first, right| {
            domains.page_break(machine, by, right, first, count)
        })
    }

    fn page_limit(&mut self, first: PageNumber, count: u64, limit: u16) -> Progress {
        self.enter(|domains, _, by| domains.page_limit(by, first, count, limit))
    }

    fn account_create(
        &mut self,
        pages: u32,
        environments: u32,
        spaces: u32,
        accounts: u32,
        guaranteed: u32,
    ) -> Result<ObjectName, Error> {
        self.enter(|domains, _, by| {
            domains.account_create(by, pages, environments, spaces, accounts, guaranteed)
        })
    }

    fn account_bind(&mut self, account: Object<'_>) -> Result<(), Error> {
        self.with_object(account, |domains, _, by, account| {
            domains.account_bind(by, account)
        })
    }

    fn account_destroy(&mut self, account: Object<'_>) -> Progress {
        self.with_object(account, |domains, machine, by, account| {
            domains.account_destroy(machine, by, account)
        })
    }

    fn space_create(&mut self, root: PageNumber) -> Result<ObjectName, Error> {
        self.enter(|domains, machine, by| domains.space_create(machine, by, root, EXPOSED))
    }

    fn space_destroy(&mut self, space: Object<'_>) -> Progress {
        self.with_object(space, |domains, machine, by, space| {
            domains.space_destroy(machine, by, space)
        })
    }

    fn env_create(
        &mut self,
        space: Object<'_>,
        uarea: PageNumber,
        at: VirtAddr,
    ) -> Result<ObjectName, Error> {
        self.with_object(space, |domains, machine, by, space| {
            domains.env_create(machine, by, space, uarea, at)
        })
    }

    fn env_run(&mut self, environment: Object<'_>) -> Result<(), Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.env_run(by, environment)
        })
    }

    fn env_stop(&mut self, environment: Object<'_>) -> Result<(), Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.env_stop(by, environment)
        })
    }

    fn env_yield(&mut self, to: Object<'_>) -> Result<(), Error> {
        let now = self.now();
        self.with_object(to, |domains, _, by, to| domains.env_yield(by, to, now))
    }

    fn env_keep(&mut self, environment: Object<'_>, bit: u64) -> Result<(), Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.env_keep(by, environment, bit)
        })
    }

    fn env_debug(&mut self, environment: Object<'_>, on: u64) -> Result<(), Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.env_debug(by, environment, on).map(|_| ())
        })
    }

    fn env_read(
        &mut self,
        environment: Object<'_>,
        offset: u64,
        into: UserBytesMut<'_>,
    ) -> Progress {
        self.state_read(environment, offset, &into)
    }

    fn env_write(&mut self, environment: Object<'_>, offset: u64, from: UserBytes<'_>) -> Progress {
        self.state_write(environment, offset, &from)
    }

    fn env_destroy(&mut self, environment: Object<'_>) -> Progress {
        self.with_object(environment, |domains, machine, by, environment| {
            domains.env_destroy(machine, by, environment)
        })
    }

    fn revoke_request(
        &mut self,
        environment: Object<'_>,
        wanted: Wanted,
        count: u32,
        after: u64,
        extension: u64,
        bit: u64,
    ) -> Result<u64, Error> {
        let clock = Clock {
            now: self.now(),
            second: TICKS_PER_SECOND,
        };
        self.with_object(environment, |domains, _, by, environment| {
            domains.revoke_request(by, environment, wanted, count, after, extension, bit, clock)
        })
    }

    fn revoke_answer(&mut self, serial: u64, answer: Answer) -> Result<(), Error> {
        let now = self.now();
        self.enter(|domains, _, by| domains.revoke_answer(by, serial, answer, now))
    }

    fn revoke_setup(
        &mut self,
        vector: PageNumber,
        count: u64,
        order: PageNumber,
    ) -> Result<(), Error> {
        self.enter(|domains, machine, by| domains.revoke_setup(machine, by, vector, count, order))
    }

    fn msgring_set(&mut self, first: PageNumber, pages: u64, bit: u64) -> Result<(), Error> {
        self.enter(|domains, machine, by| domains.msgring_set(machine, by, first, pages, bit))
    }

    fn msgring_clear(&mut self) -> Result<(), Error> {
        self.enter(|domains, _, by| domains.msgring_clear(by));
        Ok(())
    }

    fn msgring_send(&mut self, gate: u64, message: UserBytes<'_>) -> Result<(), Error> {
        self.message(gate, &message)
    }

    fn upcall_deliver(&mut self) -> Result<(), Error> {
        self.deliver_notices();
        Ok(())
    }

    fn console_give(&mut self, to: Object<'_>) -> Result<(), Error> {
        self.give_console(to)
    }

    fn gate_bind(&mut self, gate: u64, environment: Object<'_>) -> Result<(), Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.gate_bind(by, gate, environment)
        })
    }

    fn gate_unbind(&mut self, gate: u64) -> Result<(), Error> {
        self.enter(|domains, _, by| domains.gate_unbind(by, gate))
    }

    fn gate_yield(&mut self, gate: u64) -> Result<(), Error> {
        let now = self.now();
        self.enter(|domains, _, by| domains.gate_yield(by, gate, now))
    }

    fn pct_call(&mut self, gate: u64, deadline: u64) -> Result<(), Error> {
        self.transfer(gate, Some(deadline))
    }

    fn pct_send(&mut self, gate: u64) -> Result<(), Error> {
        self.transfer(gate, None)
    }

    fn pct_reply(&mut self) -> Result<(), Error> {
        self.answer()
    }

    fn account_allow(
        &mut self,
        account: Object<'_>,
        resource: Resource,
        amount: u32,
    ) -> Result<u64, Error> {
        self.with_object(account, |domains, _, by, account| {
            domains.account_allow(by, account, resource, amount)
        })
    }

    fn dpf_split(&mut self, filter: Object<'_>, atoms: UserBytes<'_>) -> Result<u64, Error> {
        self.split(filter, &atoms)
    }

    fn dpf_insert(
        &mut self,
        parent: Object<'_>,
        key: u64,
        atoms: UserBytes<'_>,
        ring: Object<'_>,
    ) -> Result<ObjectName, Error> {
        self.insert_filter(parent, key, &atoms, ring)
    }

    fn dpf_delete(&mut self, filter: Object<'_>, keep: u64) -> Progress {
        self.delete_filter(filter, keep)
    }

    fn dpf_ref(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        self.refer(filter, ring)
    }

    fn dpf_unref(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        self.unrefer(filter, ring)
    }

    fn dpf_pktring(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        self.route(filter, ring)
    }

    fn pktring_setring(
        &mut self,
        entry: u64,
        pages: UserBytes<'_>,
        notice: u64,
    ) -> Result<ObjectName, Error> {
        self.set_ring(entry, &pages, notice)
    }

    fn pktring_modring(
        &mut self,
        ring: Object<'_>,
        at: u64,
        page: PageNumber,
    ) -> Result<(), Error> {
        self.mod_ring(ring, at, page)
    }

    fn pktring_delring(&mut self, ring: Object<'_>) -> Progress {
        self.del_ring(ring)
    }

    fn nettap(&mut self, root: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        self.tap(root, ring)
    }

    fn send_refine(&mut self, from: Object<'_>, atoms: UserBytes<'_>) -> Result<ObjectName, Error> {
        self.refine_send(from, &atoms)
    }

    fn send_delete(&mut self, send: Object<'_>) -> Progress {
        self.delete_send(send)
    }

    fn net_xmit(
        &mut self,
        send: Object<'_>,
        pieces: UserBytes<'_>,
        completion: Completion,
    ) -> Progress {
        self.transmit(send, &pieces, completion)
    }

    fn slice_alloc(
        &mut self,
        core: u64,
        position: u64,
        environment: Object<'_>,
    ) -> Result<ObjectName, Error> {
        self.with_object(environment, |domains, _, by, environment| {
            domains.slice_alloc(by, core, position, environment)
        })
    }

    fn slice_bind(&mut self, slice: Object<'_>, environment: Object<'_>) -> Result<(), Error> {
        let (mut one, mut other) = (None, None);
        let slice = self.target(slice, &mut one)?;
        let environment = self.target(environment, &mut other)?;
        self.enter(|domains, _, by| domains.slice_bind(by, slice, environment))
    }

    fn slice_move(
        &mut self,
        slice: Object<'_>,
        core: u64,
        position: u64,
    ) -> Result<ObjectName, Error> {
        self.with_object(slice, |domains, _, by, slice| {
            domains.slice_move(by, slice, core, position)
        })
    }

    fn slice_free(&mut self, slice: Object<'_>) -> Result<(), Error> {
        self.with_object(slice, |domains, _, by, slice| domains.slice_free(by, slice))
    }
}
