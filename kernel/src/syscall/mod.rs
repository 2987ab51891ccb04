//! System calls: what a row of the table does. One file for each resource.
//!
//! A call has come through `exopi_abi`'s decoders before it gets here. Then, in this order:
//!
//! 1. capabilities are read and verified, and what else lies in user memory is copied in ([`presented`]);
//! 2. the lock is taken, and `exopi_domains` checks everything against the records and carries it out; a refused
//!    call has changed nothing;
//! 3. what follows for this core and others happens as the lock's guard is given up.

mod account;
mod batch;
mod board;
mod cap;
mod console;
mod env;
mod mapping;
mod msgring;
mod net;
mod page;
mod presented;
mod revoke;
mod slice;
mod space;
mod transfer;
mod upcall;

use exopi_abi::calls::Ambient;
use exopi_abi::capability::Kind;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::net::Completion;
use exopi_abi::page::Owner;
use exopi_abi::revocation::{Answer, Wanted};
use exopi_abi::types::{
    Access, Allocation, Breaking, Note, Object, OnRefusal, PageNumber, PageRun, PageSelect,
    PageSource, TableLevel, UserBytes, UserBytesMut, UserCapability, UserCapabilityMut,
    UserOperations, VirtAddr,
};
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{Call, Calls, Error, Progress, Reply};

use crate::arch::core_data::Core;
use crate::{exposed, kernel};
use presented::with_object;

/// The environment that runs on this core and makes the call.
#[derive(Debug)]
pub struct Caller;

impl Ambient for Caller {
    /// What programs do most: with pages, in their own space.
    const APART: &'static [Call] = &[
        Call::insert_pte,
        Call::remove_pte,
        Call::protect_pte,
        Call::cap_mint,
    ];

    #[inline(always)]
    fn with(call: Call, work: impl FnOnce(&mut Self) -> Reply) -> Reply {
        // Of no length worth a look at the clock.
        if matches!(call, Call::null | Call::resume) {
            work(&mut Self)
        } else {
            kernel::masked(
                #[inline(always)]
                || work(&mut Self),
            )
        }
    }

    /// One page, mostly, and then of no such length either; of more pages the hold of the lock is noted.
    #[inline(always)]
    fn with_usual(_: Call, work: impl FnOnce(&mut Self) -> Reply) -> Reply {
        work(&mut Self)
    }

    #[inline(always)]
    fn observe(call: Call, arguments: [u64; 6], reply: Reply) {
        if cfg!(feature = "trace") {
            trace(call, arguments, reply);
        }
        #[cfg(feature = "count")]
        exposed::show_device_accesses();
    }
}

/// Prints a call in builds with feature `trace`, which exist for debugging alone.
fn trace(call: Call, arguments: [u64; 6], reply: Reply) {
    // Tracing what prints would never end.
    if !matches!(call, Call::console_write | Call::console_read) {
        crate::console::log!("{} {arguments:x?} = {reply:x?}", call.name());
    }
}

impl Calls for Caller {
    #[inline(always)]
    fn null(&mut self) -> Result<u64, Error> {
        Ok(exposed::version())
    }

    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        page::alloc(&Core::caller(), which, count)
    }

    fn page_free(&mut self, pages: PageRun<'_>, count: u64) -> Progress {
        page::free(&Core::caller(), pages, count)
    }

    fn table_insert(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, space, |space| {
            mapping::table_insert(by, space, at, level, table, links)
        })
    }

    fn table_remove(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let by = &Core::caller();
        with_object(by, space, |space| {
            mapping::table_remove(by, space, at, level)
        })
    }

    #[inline(always)]
    fn insert_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        match (space, source) {
            (Object::Own, PageSource::Run(PageRun::Owned(first))) => {
                mapping::insert_own(at, first, count, access)
            }
            (Object::Own, PageSource::Run(PageRun::Presented(first, capability))) => {
                mapping::insert_own_by(at, first, capability, count, access)
            }
            (Object::Own, PageSource::New(which)) => {
                mapping::insert_own_new(at, which, count, access)
            }
            (_, PageSource::Run(run)) => mapping::insert_any(space, at, run, count, access),
            (_, PageSource::New(which)) => mapping::insert_new(space, at, which, count, access),
        }
    }

    #[inline(always)]
    fn remove_pte(&mut self, space: Object<'_>, at: VirtAddr, count: u64) -> Progress {
        match space {
            Object::Own => mapping::remove_own(at, count),
            _ => mapping::remove_any(space, at, count),
        }
    }

    #[inline(always)]
    fn resume(&mut self, class: UpcallClass) -> Result<(), Error> {
        upcall::resume(class)
    }

    fn console_write(&mut self, bytes: UserBytes<'_>) -> Progress {
        console::write(&Core::caller(), &bytes)
    }

    fn console_read(&mut self, into: UserBytesMut<'_>) -> Progress {
        console::read(&Core::caller(), &into)
    }

    fn board_exit(&mut self, status: u64) -> Result<(), Error> {
        board::exit(&Core::caller(), status)
    }

    fn board_reset(&mut self) -> Result<(), Error> {
        board::reset(&Core::caller())
    }

    #[inline(always)]
    fn protect_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        count: u64,
        access: Access,
    ) -> Progress {
        match space {
            Object::Own => mapping::protect_own(at, count, access),
            _ => mapping::protect_any(space, at, count, access),
        }
    }

    fn insert_superpage(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        pages: PageRun<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        let by = &Core::caller();
        with_object(by, space, |space| {
            mapping::insert_superpage(by, space, at, pages, count, access)
        })
    }

    fn pte_note(&mut self, space: Object<'_>, at: VirtAddr, note: Note) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, space, |space| mapping::note(by, space, at, note))
    }

    fn pte_batch(
        &mut self,
        space: Object<'_>,
        operations: UserOperations<'_>,
        on_refusal: OnRefusal,
    ) -> Progress {
        let by = &Core::caller();
        with_object(by, space, |space| {
            batch::carry_out_all(by, space, &operations, on_refusal)
        })
    }

    #[inline(always)]
    fn cap_mint(
        &mut self,
        kind: Kind,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>,
    ) -> Result<(), Error> {
        cap::mint(kind, index, count, rights, &into)
    }

    fn cap_narrow(
        &mut self,
        from: UserCapability<'_>,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>,
    ) -> Result<(), Error> {
        cap::narrow(&Core::caller(), from, index, count, rights, &into)
    }

    fn page_give(&mut self, first: PageNumber, count: u64, to: Owner) -> Progress {
        page::give(&Core::caller(), first, count, to)
    }

    fn page_accept(&mut self, count: u32) -> Result<(), Error> {
        page::accept(&Core::caller(), count)
    }

    fn page_retire(&mut self, pages: PageRun<'_>, count: u64) -> Progress {
        page::retire(&Core::caller(), pages, count)
    }

    fn page_break(&mut self, pages: PageRun<'_>, count: u64) -> Breaking {
        page::break_all(&Core::caller(), pages, count)
    }

    fn page_limit(&mut self, first: PageNumber, count: u64, limit: u16) -> Progress {
        page::limit(&Core::caller(), first, count, limit)
    }

    fn account_create(
        &mut self,
        pages: u32,
        environments: u32,
        spaces: u32,
        accounts: u32,
        guaranteed: u32,
    ) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        account::create(by, pages, environments, spaces, accounts, guaranteed)
    }

    fn account_bind(&mut self, account: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, account, |account| account::bind(by, account))
    }

    fn account_destroy(&mut self, account: Object<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, account, |account| account::destroy(by, account))
    }

    fn space_create(&mut self, root: PageNumber) -> Result<ObjectName, Error> {
        space::create(&Core::caller(), root)
    }

    fn space_destroy(&mut self, space: Object<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, space, |space| space::destroy(by, space))
    }

    fn env_create(
        &mut self,
        space: Object<'_>,
        uarea: PageNumber,
        at: VirtAddr,
    ) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        with_object(by, space, |space| env::create(by, space, uarea, at))
    }

    fn env_run(&mut self, environment: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| env::run(by, environment))
    }

    fn env_stop(&mut self, environment: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| env::stop(by, environment))
    }

    fn env_yield(&mut self, to: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, to, |to| env::yield_to(by, to))
    }

    fn env_keep(&mut self, environment: Object<'_>, bit: u64) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            env::keep(by, environment, bit)
        })
    }

    fn env_debug(&mut self, environment: Object<'_>, on: u64) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            env::debug(by, environment, on)
        })
    }

    fn env_read(
        &mut self,
        environment: Object<'_>,
        offset: u64,
        into: UserBytesMut<'_>,
    ) -> Progress {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            env::read(by, environment, offset, &into)
        })
    }

    fn env_write(&mut self, environment: Object<'_>, offset: u64, from: UserBytes<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            env::write(by, environment, offset, &from)
        })
    }

    fn env_destroy(&mut self, environment: Object<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, environment, |environment| env::destroy(by, environment))
    }

    fn upcall_deliver(&mut self) -> Result<(), Error> {
        upcall::deliver()
    }

    fn console_give(&mut self, to: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, to, |to| console::give(by, to))
    }

    fn gate_bind(&mut self, gate: u64, environment: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            transfer::bind(by, gate, environment)
        })
    }

    fn gate_unbind(&mut self, gate: u64) -> Result<(), Error> {
        transfer::unbind(&Core::caller(), gate)
    }

    fn gate_yield(&mut self, gate: u64) -> Result<(), Error> {
        transfer::yield_to(&Core::caller(), gate)
    }

    fn pct_call(&mut self, gate: u64, deadline: u64) -> Result<(), Error> {
        transfer::call(&Core::caller(), gate, deadline)
    }

    fn pct_send(&mut self, gate: u64) -> Result<(), Error> {
        transfer::send(&Core::caller(), gate)
    }

    fn pct_reply(&mut self) -> Result<(), Error> {
        transfer::reply(&Core::caller())
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
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            revoke::request(by, environment, wanted, count, [after, extension], bit)
        })
    }

    fn revoke_answer(&mut self, serial: u64, answer: Answer) -> Result<(), Error> {
        revoke::answer(&Core::caller(), serial, answer)
    }

    fn revoke_setup(
        &mut self,
        vector: PageNumber,
        count: u64,
        order: PageNumber,
    ) -> Result<(), Error> {
        revoke::set_up(&Core::caller(), vector, count, order)
    }

    fn msgring_set(&mut self, first: PageNumber, pages: u64, bit: u64) -> Result<(), Error> {
        msgring::set(&Core::caller(), first, pages, bit)
    }

    fn msgring_clear(&mut self) -> Result<(), Error> {
        msgring::clear(&Core::caller());
        Ok(())
    }

    fn msgring_send(&mut self, gate: u64, message: UserBytes<'_>) -> Result<(), Error> {
        msgring::send(&Core::caller(), gate, &message)
    }

    fn account_allow(
        &mut self,
        account: Object<'_>,
        resource: Resource,
        amount: u32,
    ) -> Result<u64, Error> {
        let by = &Core::caller();
        with_object(by, account, |account| {
            account::allow(by, account, resource, amount)
        })
    }

    fn dpf_split(&mut self, filter: Object<'_>, atoms: UserBytes<'_>) -> Result<u64, Error> {
        let by = &Core::caller();
        with_object(by, filter, |filter| net::split(by, filter, &atoms))
    }

    fn dpf_insert(
        &mut self,
        parent: Object<'_>,
        key: u64,
        atoms: UserBytes<'_>,
        ring: Object<'_>,
    ) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        with_object(by, parent, |parent| {
            with_object(by, ring, |ring| net::insert(by, parent, key, &atoms, ring))
        })
    }

    fn dpf_delete(&mut self, filter: Object<'_>, keep: u64) -> Progress {
        let by = &Core::caller();
        with_object(by, filter, |filter| net::delete(by, filter, keep))
    }

    fn dpf_ref(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, filter, |filter| {
            with_object(by, ring, |ring| net::refer(by, filter, ring))
        })
    }

    fn dpf_unref(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, filter, |filter| {
            with_object(by, ring, |ring| net::unrefer(by, filter, ring))
        })
    }

    fn dpf_pktring(&mut self, filter: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, filter, |filter| {
            with_object(by, ring, |ring| net::route(by, filter, ring))
        })
    }

    fn pktring_setring(
        &mut self,
        entry: u64,
        pages: UserBytes<'_>,
        notice: u64,
    ) -> Result<ObjectName, Error> {
        net::set_ring(&Core::caller(), entry, &pages, notice)
    }

    fn pktring_modring(
        &mut self,
        ring: Object<'_>,
        at: u64,
        page: PageNumber,
    ) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, ring, |ring| net::mod_ring(by, ring, at, page))
    }

    fn pktring_delring(&mut self, ring: Object<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, ring, |ring| net::del_ring(by, ring))
    }

    fn nettap(&mut self, root: Object<'_>, ring: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, root, |root| {
            with_object(by, ring, |ring| net::tap(by, root, ring))
        })
    }

    fn send_refine(&mut self, from: Object<'_>, atoms: UserBytes<'_>) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        with_object(by, from, |from| net::refine(by, from, &atoms))
    }

    fn send_delete(&mut self, send: Object<'_>) -> Progress {
        let by = &Core::caller();
        with_object(by, send, |send| net::delete_send(by, send))
    }

    fn net_xmit(
        &mut self,
        send: Object<'_>,
        pieces: UserBytes<'_>,
        completion: Completion,
    ) -> Progress {
        let by = &Core::caller();
        with_object(by, send, |send| {
            net::transmit(by, send, &pieces, completion)
        })
    }

    fn slice_alloc(
        &mut self,
        core: u64,
        position: u64,
        environment: Object<'_>,
    ) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        with_object(by, environment, |environment| {
            slice::alloc(by, core, position, environment)
        })
    }

    fn slice_bind(&mut self, slice: Object<'_>, environment: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, slice, |slice| {
            with_object(by, environment, |environment| {
                slice::bind(by, slice, environment)
            })
        })
    }

    fn slice_move(
        &mut self,
        slice: Object<'_>,
        core: u64,
        position: u64,
    ) -> Result<ObjectName, Error> {
        let by = &Core::caller();
        with_object(by, slice, |slice| slice::move_to(by, slice, core, position))
    }

    fn slice_free(&mut self, slice: Object<'_>) -> Result<(), Error> {
        let by = &Core::caller();
        with_object(by, slice, |slice| slice::free(by, slice))
    }
}
