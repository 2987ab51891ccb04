//! The call table. Each row is a system call; all else about calls is made from the rows.
//!
//! A row is written as a function with a number. From it come:
//!
//! * [`Call`]: number and name, for dispatch, traces and counters;
//! * a method of [`Calls`], which the kernel (and a simulated kernel) must implement, so that a
//!   forgotten handler does not compile;
//! * typed decoding: [`dispatch`], and [`entries`] for the kernel's table of functions;
//! * a stub in [`stubs`], by which EL0 makes the call;
//! * a [`Row`] for the reference page.
//!
//! Numbers are dense from 1 on, never used again for something else. `svc #0` is nobody's number: it
//! goes to the environment's fault upcall, like every exception that the kernel has no use for.

mod entry;
#[macro_use]
mod generate;
mod row;

use crate::capability::Kind;
use crate::domain::{ObjectName, Resource};
use crate::net::Completion;
use crate::page::Owner;
use crate::registers::{Argument, Arguments, Outcome, Reply};
use crate::revocation::{Answer, Wanted};
use crate::types::{
    Access, Allocation, Breaking, Note, Object, OnRefusal, PageNumber, PageRun, PageSelect,
    PageSource, TableLevel, UserBytes, UserBytesMut, UserCapability, UserCapabilityMut,
    UserOperations, VirtAddr,
};
use crate::uarea::UpcallClass;
use crate::{Error, Progress};

pub use entry::{Ambient, Entry};
use entry::{first_usual, is_among, sum};
pub use row::{Parameter, Row};

calls! {
    /// Does nothing but return the version of the interface, [`VERSION`](crate::VERSION).
    #[errors()]
    1 => fn null() -> Result<u64, Error>;

    /// Allocates `count` pages for the account that the caller draws on: exactly `which` and the ones that
    /// follow it, or heads of free lists. The kernel never searches; the page array shows which pages are
    /// free. A page that last held another owner's contents is zeroed. All pages of a call are stamped
    /// with one new epoch.
    ///
    /// Stops at the first page that is not free, and after at most 16 pages. The value is the first page.
    #[errors(BadCount, Taken, Exhausted, OverAllowance, Stale)]
    2 => fn page_alloc(which: PageSelect, count: u64) -> Allocation;

    /// Gives `count` plain pages back: pages of the caller's account, or by a capability with the right to
    /// free. A page that is still referred to is refused. Contents stay until somebody else gets the page.
    ///
    /// Stops at the first refusal, and after at most 64 pages.
    #[errors(BadCount, NotYours, WrongType, InUse)]
    3 => fn page_free(pages: PageRun<'_>, count: u64) -> Progress;

    /// Makes `table`, a plain page of the space's account that nothing refers to, the table of `level` that
    /// covers `at`, all its entries empty. With it comes `links`, a second such page, in which the
    /// kernel keeps what leads from a page to its mappings. The table of the level above must be there.
    /// For a space that is presented: the right to map.
    #[errors(NotYours, WrongType, InUse, NoTable, Occupied)]
    #[changes_memory]
    4 => fn table_insert(
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber
    ) -> Result<(), Error>;

    /// Takes the empty table of `level` that covers `at` out of the space, notes and all. The table and its
    /// links are plain pages again, stamped anew; the links' page is filled with zeros. Returns the table's
    /// page number; the links' page can be read in the page array beforehand.
    #[errors(Vacant, NoTable, NotEmpty, NotYours, Exhausted)]
    #[changes_memory]
    5 => fn table_remove(space: Object<'_>, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error>;

    /// Maps `count` pages from `source` on at `at` and the pages of address space that follow it.
    /// Only plain pages can be mapped, only where there is no mapping yet, and only where the tables have
    /// been inserted. By a capability: its rights must contain `access`, and it must not end with a time. New
    /// pages are allocated as by `page_alloc`, with nothing minted; the tables show which.
    ///
    /// Stops at the first refusal, and after at most 128 pages, 32 if they are executable (those are
    /// made visible to instruction fetches first), 16 if they are new.
    #[errors(
        BadCount, NotYours, WrongType, NoTable, Occupied, TimeLimited, Leaving, LimitReached, Taken,
        Exhausted, OverAllowance
    )]
    #[changes_memory]
    6 => fn insert_pte(
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access
    ) -> Progress;

    /// Removes the mappings of `count` pages of address space from `at` on, and with them every
    /// trace in any core's TLB, before it returns. A superpage goes as a whole or not at all.
    ///
    /// Stops at the first page that has no mapping, and after at most 64 mappings.
    #[errors(BadCount, NotYours, Vacant, NoTable, WrongType, Misaligned)]
    #[changes_memory]
    7 => fn remove_pte(space: Object<'_>, at: VirtAddr, count: u64) -> Progress;

    /// Goes on with the state in the u-area's frame of `class`, which is released: registers, SP, PC
    /// and condition flags come from the frame. Returns only to refuse.
    #[errors(NoFrame)]
    #[changes_memory]
    8 => fn resume(class: UpcallClass) -> Result<(), Error>;

    /// Sends bytes to the console. The caller must own it: at boot the first environment does. Returns how
    /// many were taken; fewer than all if the transmitter's queue is full, or after 256.
    #[errors(MissingRight)]
    9 => fn console_write(bytes: UserBytes<'_>) -> Progress;

    /// Takes bytes that the console has received and nobody has read. The caller must own it.
    /// Returns how many there were, at most 256; never waits.
    #[errors(MissingRight)]
    10 => fn console_read(into: UserBytesMut<'_>) -> Progress;

    /// Stops the machine. In the emulator its exit status is the lowest 8 bits of `status`; a board
    /// turns itself off. Only for the holder of the board: the first environment. Returns only to
    /// refuse.
    #[errors(MissingRight)]
    11 => fn board_exit(status: u64) -> Result<(), Error>;

    /// Starts the machine anew. Only for the holder of the board: the first environment. Returns
    /// only to refuse.
    #[errors(MissingRight)]
    12 => fn board_reset() -> Result<(), Error>;

    /// Changes what `count` pages of address space from `at` on may be used for, within the access that each
    /// was bound with. Once it returns, no core uses an older mapping. A superpage changes as a whole or not
    /// at all.
    ///
    /// Stops at the first refusal, and after at most 128 mappings, 32 if they become executable.
    #[errors(BadCount, NotYours, Vacant, NoTable, WrongType, MissingRight, Misaligned)]
    #[changes_memory]
    13 => fn protect_pte(space: Object<'_>, at: VirtAddr, count: u64, access: Access) -> Progress;

    /// Maps `count` superpages of 512 pages, from `source` on, at `at`: like `insert_pte`, but each is one
    /// entry of a level-2 table. Address and first page are multiples of 512 pages; the pages are not new
    /// and not executable, since making 2 MiB visible to instruction fetches takes too long for one call.
    ///
    /// Stops at the first refusal, and after at most 2 superpages. Progress counts superpages.
    #[errors(
        BadCount, NotYours, WrongType, NoTable, Occupied, TimeLimited, Leaving, LimitReached,
        Misaligned
    )]
    #[changes_memory]
    14 => fn insert_superpage(
        space: Object<'_>,
        at: VirtAddr,
        pages: PageRun<'_>,
        count: u64,
        access: Access
    ) -> Progress;

    /// Writes `note` into the entry for the page at `at`, which must map nothing. A later mapping overwrites it,
    /// and leaves an empty entry when it goes.
    #[errors(NotYours, NoTable, Occupied)]
    15 => fn pte_note(space: Object<'_>, at: VirtAddr, note: Note) -> Result<(), Error>;

    /// Carries out operations on one space, each as the call that it names, in order: `insert_pte`,
    /// `remove_pte`, `protect_pte`, `insert_superpage`, `pte_note`. Each one's result is written into it.
    ///
    /// Stops after the first operation that was refused or reached its bound, unless told to go on; after 16
    /// operations; and when those that were carried out count for 128 mappings, where a capability is 16, an
    /// executable page 4, a new one 8, a superpage that was asked for 64, and every operation at least 1.
    /// Progress counts operations, the last one included. One whose result could not be written is refused
    /// before it begins.
    #[errors(BadCount)]
    #[changes_memory]
    16 => fn pte_batch(
        space: Object<'_>,
        operations: UserOperations<'_>,
        on_refusal: OnRefusal
    ) -> Progress;

    /// Mints a capability with `rights` for `count` objects of `kind` from `index` on, and writes its words
    /// to `into`: at most 1,024 pages that belong to the account that the caller draws on, stamped alike; or
    /// one space, environment, slice or child account that is charged to it.
    #[errors(Malformed, BadCount, OutOfRange, NotYours, WrongType, Stale, MissingRight)]
    17 => fn cap_mint(
        kind: Kind,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>
    ) -> Result<(), Error>;

    /// Issues a capability for a part of what `from` is good for, with those of `rights` that it has and all
    /// its caveats, and writes its words to `into`.
    #[errors(BadCount)]
    18 => fn cap_narrow(
        from: UserCapability<'_>,
        index: u64,
        count: u64,
        rights: u64,
        into: UserCapabilityMut<'_>
    ) -> Result<(), Error>;

    /// Gives `count` plain pages of the caller's account, from `first` on, to the account `to`, as they
    /// are: contents and charge move, and with a new stamp all capabilities for them end. Nothing may refer to
    /// them, and `to` must accept as many (`page_accept`).
    ///
    /// Stops at the first refusal, and after at most 512 pages.
    #[errors(BadCount, OutOfRange, NotYours, WrongType, InUse, Stale, OverAllowance, Exhausted)]
    19 => fn page_give(first: PageNumber, count: u64, to: Owner) -> Progress;

    /// From now on the account that the caller draws on takes up to `count` pages from whoever gives some.
    #[errors(Stale)]
    20 => fn page_accept(count: u32) -> Result<(), Error>;

    /// Stamps `count` plain pages anew, all alike, so that no capability made before is good for them:
    /// pages of the caller's account, or by a capability with the right to retire. Mappings stay.
    ///
    /// Stops at the first refusal, and after at most 512 pages.
    #[errors(BadCount, NotYours, WrongType, Exhausted)]
    21 => fn page_retire(pages: PageRun<'_>, count: u64) -> Progress;

    /// Removes every mapping of `count` plain pages, whoever has it, and with it every trace in any core's TLB:
    /// pages of the caller's account, or by a capability with the right to retire. A superpage that a page
    /// is in goes as a whole. Who made a mapping may make it again, unless the page is retired first.
    ///
    /// Stops at the first refusal, after at most 64 mappings, and after at most 512 pages. A page that is left
    /// half done cannot be bound until it is done. The value is how many superpage mappings went.
    #[errors(BadCount, NotYours, WrongType)]
    #[changes_memory]
    22 => fn page_break(pages: PageRun<'_>, count: u64) -> Breaking;

    /// Sets how many references others may have to each of `count` pages of the caller's account from `first`
    /// on. Those that there are stay.
    ///
    /// Stops at the first refusal, and after at most 512 pages.
    #[errors(BadCount, OutOfRange, NotYours, WrongType)]
    23 => fn page_limit(first: PageNumber, count: u64, limit: u16) -> Progress;

    /// Carves an account out of the one that the caller draws on, with these allowances. Its parent is
    /// charged with all of them, and with one account. Of its plain pages, `guaranteed` (at most 8) are left to it
    /// whatever is revoked.
    #[errors(OutOfRange, OverAllowance, Exhausted, Stale)]
    24 => fn account_create(
        pages: u32,
        environments: u32,
        spaces: u32,
        accounts: u32,
        guaranteed: u32
    ) -> Result<ObjectName, Error>;

    /// From now on the caller draws on `account`, and what belongs to that is its own to use: its pages are
    /// named as owned, its objects too. `Own` is the account that the caller is charged to. For an account
    /// that is presented: the right to draw.
    #[errors(NotYours, Stale, TimeLimited)]
    25 => fn account_bind(account: Object<'_>) -> Result<(), Error>;

    /// Destroys an account with all that is charged to it: accounts, environments, spaces, pages. For one that
    /// is presented: the right to destroy. `Own` is refused.
    ///
    /// Done when progress is 1; 0 says that more is to be done, by the kernel in idle time, and by whoever calls
    /// again.
    #[errors(MissingRight, NotYours, Stale, Busy)]
    26 => fn account_destroy(account: Object<'_>) -> Progress;

    /// Makes `root`, a plain page that nothing refers to, of the account that the caller draws on, the
    /// root of a new space that is charged to that account, with nothing in it.
    #[errors(NotYours, WrongType, InUse, OverAllowance, Exhausted, Stale)]
    27 => fn space_create(root: PageNumber) -> Result<ObjectName, Error>;

    /// Destroys a space of the caller's account in which there is no environment: its mappings, tables and
    /// root, whose pages are plain again. One that environments were in goes with the last of them.
    ///
    /// Done when progress is 1; 0 asks for another call.
    #[errors(NotYours, NotEmpty)]
    28 => fn space_destroy(space: Object<'_>) -> Progress;

    /// Makes an environment in `space`, charged to the account that the caller draws on, which it draws on, too.
    /// `uarea`, a plain page of that account that nothing refers to, becomes its u-area with the contents
    /// that it has, mapped at `at`, where there are tables. It is stopped; its state to go on with is
    /// the u-area's `saved`. For a space that is presented: the right to join.
    #[errors(
        NotYours, WrongType, InUse, NoTable, Occupied, OverAllowance, Exhausted, Stale, TimeLimited
    )]
    29 => fn env_create(
        space: Object<'_>,
        uarea: PageNumber,
        at: VirtAddr
    ) -> Result<ObjectName, Error>;

    /// Lets an environment that is stopped run whenever a slice that is bound to it has its turn; without one it gets
    /// nowhere. It goes on with the state in its u-area's `saved`. For one that is presented: the right to
    /// schedule.
    #[errors(NotYours, NotReady)]
    30 => fn env_run(environment: Object<'_>) -> Result<(), Error>;

    /// Stops an environment that is ready, is suspended, or runs: its state is in its u-area's `saved`, and its
    /// slices pass by. One that runs on another core is interrupted, and the call is busy until that has happened.
    /// `Own` gives the core away until somebody else lets the caller run. For one that is presented: the right to
    /// schedule.
    #[errors(NotYours, Busy)]
    #[changes_memory]
    31 => fn env_stop(environment: Object<'_>) -> Result<(), Error>;

    /// Gives the rest of the slice that runs to `to`, which must be ready and on no core. `Own` ends the turn: what is
    /// left carries over to the slice's next one, and whoever is next on this core has it; the caller goes on
    /// if nobody else could run. For one that is presented: the right to schedule.
    #[errors(NotYours, NotReady)]
    #[changes_memory]
    32 => fn env_yield(to: Object<'_>) -> Result<(), Error>;

    /// Makes the caller the keeper of `environment`: notice `bit`, 0 to 31, tells it of suspension and death.
    /// For one that is presented: the right to keep.
    #[errors(NotYours, OutOfRange, TimeLimited)]
    33 => fn env_keep(environment: Object<'_>, bit: u64) -> Result<(), Error>;

    /// Lets an environment be debugged (`on` 1) or not (0): with it, bit 21 of `pstate` in a frame means to take
    /// one step and then a fault upcall. Not while it runs, unless it is the caller. For one that is
    /// presented: the right to write its state.
    #[errors(NotYours, Busy)]
    34 => fn env_debug(environment: Object<'_>, on: u64) -> Result<(), Error>;

    /// Reads the u-area of an environment that does not run, from its byte `offset` on. For one that is
    /// presented: the right to read its state.
    ///
    /// Reads as much as there is room for, and at most 512 bytes.
    #[errors(NotYours, Busy, OutOfRange)]
    35 => fn env_read(environment: Object<'_>, offset: u64, into: UserBytesMut<'_>) -> Progress;

    /// Writes the u-area of an environment that does not run, from its byte `offset` on. For one that is
    /// presented: the right to write its state.
    ///
    /// Writes at most 512 bytes.
    #[errors(NotYours, Busy, OutOfRange)]
    #[changes_memory]
    36 => fn env_write(environment: Object<'_>, offset: u64, from: UserBytes<'_>) -> Progress;

    /// Destroys an environment; `Own` does not return. Its u-area is a plain page of its account again. With the
    /// last environment of a space goes the space. One that runs on another core is interrupted, and the call is
    /// busy until that has happened. For one that is presented: the right to destroy.
    ///
    /// Done when progress is 1; 0 says that the space is not gone yet: the kernel goes on in idle time.
    #[errors(NotYours, Busy)]
    #[changes_memory]
    37 => fn env_destroy(environment: Object<'_>) -> Progress;

    /// Delivers an asynchronous upcall that waits, now that it is not masked any more. Returns at once if none
    /// does, and after its handler has resumed.
    #[errors()]
    #[changes_memory]
    38 => fn upcall_deliver() -> Result<(), Error>;

    /// Hands the console to an environment; the caller must own it. When that environment dies, the first one
    /// owns it again. For an environment that is presented: the right to write its state.
    #[errors(MissingRight, NotYours)]
    39 => fn console_give(to: Object<'_>) -> Result<(), Error>;

    /// Binds the caller's `gate`, 0 to 15, to an environment, instead of what it was bound to: from now on the
    /// number suffices to call it or to give the core to it. For one that is presented: the right to call, or
    /// the right to schedule; the gate is good for those that there are, and has the capability's badge.
    #[errors(NoGate, NotYours, TimeLimited)]
    40 => fn gate_bind(gate: u64, environment: Object<'_>) -> Result<(), Error>;

    /// Unbinds the caller's `gate`.
    #[errors(NoGate)]
    41 => fn gate_unbind(gate: u64) -> Result<(), Error>;

    /// Gives the rest of the slice to the environment behind `gate`, which is ready to run. A caller with a
    /// prologue is entered there when it next has a core; another one goes on behind the call.
    #[errors(NoGate, MissingRight, Stale, NotReady, Busy, Indebted)]
    #[moves_message]
    42 => fn gate_yield(gate: u64) -> Result<(), Error>;

    /// Enters the environment behind `gate` with the message, in the rest of the caller's slice, and waits for
    /// its answer. While the caller waits, its slices run the callee. At `deadline`, in ticks of the counter, the
    /// call has failed and an answer is refused; 0 means no deadline.
    ///
    /// A callee is entered if it has an entry for calls and has given its core away itself; not while it serves a
    /// call, has been interrupted, or had masked asynchronous upcalls when it left.
    #[errors(NoGate, MissingRight, Stale, NotReady, Busy, NotAccepting, Indebted, TimedOut)]
    #[moves_message]
    43 => fn pct_call(gate: u64, deadline: u64) -> Result<(), Error>;

    /// Enters the environment behind `gate` with the message, as `pct_call` does, and waits for nothing: the caller
    /// goes on when it next has a core, and the callee's reply goes to nobody.
    #[errors(NoGate, MissingRight, Stale, NotReady, Busy, NotAccepting, Indebted)]
    #[moves_message]
    44 => fn pct_send(gate: u64) -> Result<(), Error>;

    /// Answers the call that the caller serves: who waits for it goes on with the message, in the rest of the
    /// slice, and the caller is again what it was before. If nobody was to be answered, the core goes to
    /// whoever is next.
    #[errors(NotWaiting, TimedOut)]
    #[moves_message]
    45 => fn pct_reply() -> Result<(), Error>;

    /// Asks an environment to give back `count` of what its account has: the account that it is charged to. It
    /// hears so by notice 31, and has `after` ticks (100 microseconds to a minute), and `extension` (up to a minute)
    /// more if it asks for them. Then the kernel takes what is missing: plain pages, in the order that the
    /// environment has left if it has, but not those that the account is guaranteed; then what accounts below it have
    /// not used, their pages, and page tables. What was given and taken
    /// leaves the account's allowance and flows to its parent. Notice `bit`, 0 to 31, tells the caller of the
    /// outcome, which is in the record. The value is the request's serial. For an environment that is
    /// presented: the right to revoke.
    ///
    /// An account is asked once at a time. Of a resource at most what is used is asked for; of pages by number,
    /// at most 512, those that the account has.
    #[errors(NotYours, OutOfRange, BadCount, Busy, Exhausted)]
    #[changes_memory]
    46 => fn revoke_request(
        environment: Object<'_>,
        wanted: Wanted,
        count: u32,
        after: u64,
        extension: u64,
        bit: u64
    ) -> Result<u64, Error>;

    /// Answers the request `serial` to the caller: done, which is the outcome if the account uses no more than it is
    /// to; or more time, once, if the request has an extension.
    #[errors(Stale, TimedOut, OverAllowance, MissingRight)]
    47 => fn revoke_answer(serial: u64, answer: Answer) -> Result<(), Error>;

    /// Sets up what the kernel writes and reads when it takes from the caller: its repossession vector in `count`
    /// pages (at most 4) from `vector` on, and its order page, unless that is 0. They are plain pages of the account
    /// that the caller is charged to, pinned until the next call, the end of the caller, or until they are
    /// taken as the last ones. The vector is empty then.
    #[errors(BadCount, NotYours, WrongType, Leaving, LimitReached, Busy, Stale, Exhausted)]
    #[changes_memory]
    48 => fn revoke_setup(vector: PageNumber, count: u64, order: PageNumber) -> Result<(), Error>;

    /// Makes `pages` pages (1 to 16) from `first` on the caller's ring for messages, instead of the one that it had, and
    /// empty. They are plain pages of the account that the caller is charged to, pinned until the next call,
    /// `msgring_clear`, the end of the caller, or until they are taken as the last ones. Whoever has bound a gate to the
    /// caller with the right to call may send. Notice `bit`, 0 to 31, tells that a message has come into a ring from which
    /// the one before had been taken, or that the kernel has taken the ring.
    #[errors(
        BadCount, OutOfRange, NotYours, WrongType, Leaving, LimitReached, Busy, Stale, Exhausted
    )]
    #[changes_memory]
    49 => fn msgring_set(first: PageNumber, pages: u64, bit: u64) -> Result<(), Error>;

    /// From now on the caller has no ring for messages, and its pages are not pinned any more. What was in it stays in
    /// them. Succeeds without a ring, too.
    #[errors()]
    50 => fn msgring_clear() -> Result<(), Error>;

    /// Copies `message`, at most 240 bytes, into the ring of the environment behind `gate`, with the caller's name and
    /// the gate's badge, on whatever core that one is. It needs the right to call, and waits for nothing: without a free
    /// entry the call is refused.
    #[errors(TooLong, NoGate, MissingRight, Stale, NotAccepting, RingFull)]
    51 => fn msgring_send(gate: u64, message: UserBytes<'_>) -> Result<(), Error>;

    /// Sets how much of `resource` an account may use that was carved out of the one that the caller draws on. What
    /// it grows by is charged to that one; what it shrinks by flows back, down to what is in use. Returns how much
    /// it is now. For an account that is presented: the right to destroy.
    #[errors(MissingRight, NotYours, Stale, OverAllowance)]
    52 => fn account_allow(
        account: Object<'_>,
        resource: Resource,
        amount: u32
    ) -> Result<u64, Error>;

    /// Splits `filter` by one key more, behind those that it has: a list of atoms whose values are 0. Children of one key
    /// differ in a value; a later key sees only what earlier ones leave. The value is the key's position, 0 to 3.
    /// For a filter that is presented: the right to split.
    ///
    /// A filter has at most 4 keys, with at most 64 atoms in all of them. A key is charged to the filter's account.
    #[errors(
        BadCount, Malformed, NotYours, TimeLimited, Stale, LimitReached, OverAllowance, Exhausted
    )]
    53 => fn dpf_split(filter: Object<'_>, atoms: UserBytes<'_>) -> Result<u64, Error>;

    /// Makes a filter below `parent`, by its key at position `key`: what the atoms take of the parent's frames is the new
    /// one's from now on, and goes to `ring`, unless that is `Own`: then to nobody. For a filter that is
    /// presented: the right to refine, by this key.
    #[errors(
        BadCount, Malformed, NotYours, TimeLimited, Stale, MissingRight, LimitReached,
        OverAllowance, OutOfRange, Overlap, Exhausted
    )]
    54 => fn dpf_insert(
        parent: Object<'_>,
        key: u64,
        atoms: UserBytes<'_>,
        ring: Object<'_>
    ) -> Result<ObjectName, Error>;

    /// Deletes a filter and all below it; if `keep` is not 0, it alone: what those below it leave is then the next live
    /// filter's above. No frame comes to what is being deleted. For a filter that is presented: the right to delete.
    ///
    /// Stops after 8 filters; the background goes on as well. Progress is 1 when it is gone.
    #[errors(NotYours, TimeLimited, MissingRight, Stale)]
    55 => fn dpf_delete(filter: Object<'_>, keep: u64) -> Progress;

    /// Has each of a filter's frames put into a ring of the caller's, too. For a filter that is presented: the right to
    /// share.
    ///
    /// A filter has at most 8 references. It goes with the last one, if the environment that made it has ended.
    #[errors(NotYours, TimeLimited, Stale, Occupied, LimitReached, OverAllowance, Exhausted)]
    56 => fn dpf_ref(filter: Object<'_>, ring: Object<'_>) -> Result<(), Error>;

    /// Takes away the reference of `filter`, which needs no right, to a ring of the caller's.
    #[errors(NotYours, Vacant)]
    57 => fn dpf_unref(filter: Object<'_>, ring: Object<'_>) -> Result<(), Error>;

    /// Has a filter's frames put into a ring of the caller's, in place of the one that had them by this call or by
    /// `dpf_insert`. For a filter that is presented: the right to receive.
    #[errors(NotYours, TimeLimited, Stale, Occupied, LimitReached, OverAllowance, Exhausted)]
    58 => fn dpf_pktring(filter: Object<'_>, ring: Object<'_>) -> Result<(), Error>;

    /// Makes a packet ring of entries of 2 to the power of `entry` bytes (6 to 12) in pages of the account that the
    /// caller draws on: 64 at most, their numbers as 64-bit words. They are pinned until the ring's end, and
    /// left as they are: an entry whose state word is not 0 is full. A frame that is put there leaves notice number
    /// `notice` (0 to 31; 32 for none) for the caller.
    #[errors(
        BadCount, Malformed, Stale, OverAllowance, Exhausted, OutOfRange, NotYours, WrongType,
        Leaving, LimitReached
    )]
    59 => fn pktring_setring(
        entry: u64,
        pages: UserBytes<'_>,
        notice: u64
    ) -> Result<ObjectName, Error>;

    /// Puts `page` in place of page number `at` of a ring of the caller's, or behind its last one.
    #[errors(NotYours, Stale, OutOfRange, LimitReached, WrongType, Leaving)]
    60 => fn pktring_modring(ring: Object<'_>, at: u64, page: PageNumber) -> Result<(), Error>;

    /// Ends a ring of the caller's, and the references to it. No frame is put into it from now on.
    ///
    /// Stops after 16 references; the background goes on as well. Progress is 1 when it is gone.
    #[errors(NotYours)]
    61 => fn pktring_delring(ring: Object<'_>) -> Progress;

    /// Makes a ring of the caller's see every frame of an interface, received and sent. `root` is the interface's first
    /// filter; if it is presented, with all rights.
    #[errors(NotYours, TimeLimited, MissingRight, Stale, Occupied, LimitReached)]
    62 => fn nettap(root: Object<'_>, ring: Object<'_>) -> Result<(), Error>;

    /// Makes a send capability that allows what `from` does and the atoms do, of a frame's first 128 bytes. For one that
    /// is presented: the right to refine.
    #[errors(
        BadCount, Malformed, NotYours, TimeLimited, Stale, LimitReached, OutOfRange, OverAllowance,
        Exhausted
    )]
    63 => fn send_refine(from: Object<'_>, atoms: UserBytes<'_>) -> Result<ObjectName, Error>;

    /// Ends a send capability of the caller's account, and all that were narrowed from it. None of them is good from now
    /// on.
    ///
    /// Stops after 8; the background goes on as well. Progress is 1 when it is gone.
    #[errors(NotYours, MissingRight)]
    64 => fn send_delete(send: Object<'_>) -> Progress;

    /// Sends frames, each of 1 to 8 pieces of pages of the account that the caller draws on, by the interface and within
    /// the atoms of `send`. Pieces are words; the last one of a frame says so. The first 128 bytes are copied, and
    /// checked; the other pieces are pinned until the frame has gone, and then 1 is added to the completion
    /// word. Senders are served in turn. For a send capability that is presented: the right to send.
    ///
    /// Takes at most 16 pieces, stops at the first refusal, and after 4 frames, or more than 8 pieces. Progress counts
    /// pieces.
    #[errors(
        NotYours, Stale, BadCount, NotReady, LimitReached, OverAllowance, Exhausted, OutOfRange,
        WrongType, Leaving
    )]
    65 => fn net_xmit(
        send: Object<'_>,
        pieces: UserBytes<'_>,
        completion: Completion
    ) -> Progress;

    /// Makes a slice for `environment` on `core`, at `position`, 0 to 127, or at the lowest one that is free if that
    /// is 2^64 - 1. It is charged to the account that the caller draws on. For an environment that is presented:
    /// the right to schedule.
    #[errors(NotYours, OutOfRange, Taken, OverAllowance, Exhausted, Stale, TimeLimited)]
    66 => fn slice_alloc(
        core: u64,
        position: u64,
        environment: Object<'_>
    ) -> Result<ObjectName, Error>;

    /// Gives the turns of a slice to `environment` from the next one on. `Own` is the slice that runs now. For a
    /// slice that is presented: the right to use it; for an environment: the right to schedule.
    #[errors(NotYours, Stale, TimeLimited)]
    67 => fn slice_bind(slice: Object<'_>, environment: Object<'_>) -> Result<(), Error>;

    /// Moves a slice to `position` of `core`, named as for `slice_alloc`. With another place it has another name,
    /// and no capability made before is good for it. For one that is presented: the right to move it.
    #[errors(NotYours, Stale, OutOfRange, Taken, Exhausted)]
    68 => fn slice_move(
        slice: Object<'_>,
        core: u64,
        position: u64
    ) -> Result<ObjectName, Error>;

    /// Gives a slice back. If it runs now, its turn goes on to its end. For one that is presented: the right to free
    /// it.
    #[errors(NotYours)]
    69 => fn slice_free(slice: Object<'_>) -> Result<(), Error>;
}

#[cfg(test)]
mod tests;
