//! What hostile calls are about, what must be the same after them, and how what they did is undone.

use exopi_rt::account;
use exopi_rt::cap::PageCap;
use exopi_rt::capability::{CAPABILITY_WORDS, Kind, PageRights};
use exopi_rt::domain::{AccountRecord, ObjectName};
use exopi_rt::layout::{EXPOSED_BASE, FIRST_UAREA, PAGE_SIZE, TABLES_BASE, USER_END, USER_START};
use exopi_rt::msgring::MAX_PAGES;
use exopi_rt::page::{DEFAULT_LIMIT, FrameType, Owner, PageRecord, SUPERPAGE_PAGES, Stamp};
use exopi_rt::pages::Run;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::revocation::MAX_VECTOR_PAGES;
use exopi_rt::{
    Account, Call, Environment, Error, Note, PageNumber, PageSelect, Slice, Space, TableLevel,
    environment, exposed, memory, stubs,
};

use super::network::Network;
use crate::area::{
    AREA, Area, RW, free_run, give_run, give_stamped, insert, insert_table, owner, place, record,
    remove, remove_table, take_run,
};
use crate::catch;
use crate::harness::{Failure, Outcome};

/// Pages that the fixture owns in a row: two mapped, then loose ones.
const OWNED: u64 = 8;
/// Pages whose records are watched: the owned ones, some free ones after them, and the tables.
const WATCHED: usize = OWNED as usize + 4 + 6;
/// The gate by which the program sends messages to itself: one of the nasty values.
const RING_GATE: u64 = 3;
/// Nasty values.
pub(super) const NASTY: usize = 51;
/// Bytes that a level-3 table covers.
const LEVEL3: u64 = TableLevel::Three.span();

/// Pages, tables and mappings for the calls to be about.
///
/// ```text
///   AREA + 0, 1   pages 0 and 1 of the row      AREA + 2 MiB   an empty level-3 table
///   at AREA a capability for the row's pages
///   the row's others are loose, and free pages follow it
/// ```
pub(super) struct Fixture {
    area: Option<Area>,
    tables: [PageNumber; 6],
    row: PageNumber,
    table: PageNumber,
    links: PageNumber,
    me: ObjectName,
    owner: Owner,
    network: Option<Network>,
    pub(super) nasty: [u64; NASTY],
}

/// What must be the same after a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    free_pages: u64,
    account: AccountRecord,
    records: [Option<PageRecord>; WATCHED],
}

impl Snapshot {
    /// The same as if no frame had been stamped.
    pub(super) fn without_stamps(&self) -> Self {
        let unstamped = |record: PageRecord| PageRecord {
            stamp: Stamp::NONE,
            ..record
        };
        Self {
            records: self.records.map(|record| record.map(unstamped)),
            ..*self
        }
    }

    /// The first thing in which two snapshots differ.
    pub(super) fn difference(
        &self,
        now: &Self,
    ) -> (u64, AccountRecord, Option<[Option<PageRecord>; 2]>) {
        let pairs = self.records.iter().zip(&now.records);
        let changed = pairs.map(|(before, now)| [*before, *now]);
        (
            now.free_pages,
            now.account,
            changed.into_iter().find(|[before, now]| before != now),
        )
    }
}

/// The page `offset` after another.
fn nth(page: PageNumber, offset: u64) -> PageNumber {
    PageNumber::new(page.get() + offset as u32)
}

/// The level that a word names, once the kernel has accepted it.
fn level(word: u64) -> TableLevel {
    if word == 2 {
        TableLevel::Two
    } else {
        TableLevel::Three
    }
}

/// A handle's word, as registers hold it.
pub(super) fn word(object: exopi_rt::Object<'_>) -> u64 {
    let mut words = Arguments::new([0; 6]);
    object.encode(&mut words);
    words.words()[0]
}

/// Puts a capability for pages where calls can find it.
fn write_capability(address: u64, cap: &PageCap) {
    let words: [u64; CAPABILITY_WORDS] = cap.capability().words();
    // SAFETY: the fixture's own page, mapped writable, to which nothing else refers.
    unsafe { (address as *mut [u64; CAPABILITY_WORDS]).write_volatile(words) };
}

/// A free page's place on the list changes when it is taken and given back, and whose it was.
fn without_list(record: PageRecord) -> PageRecord {
    match record.kind {
        FrameType::Free => PageRecord {
            first: 0,
            second: 0,
            owner: Owner::NOBODY,
            ..record
        },
        _ => record,
    }
}

impl Fixture {
    pub(super) fn new() -> Result<Self, Failure> {
        let area = Area::new()?;
        let [table, links] = [memory::take_page()?, memory::take_page()?];
        insert_table(place(AREA + LEVEL3)?, TableLevel::Three, table, links)?;
        // In the middle of free pages, so that some follow.
        let around = free_run(OWNED + 4)?;
        let row = take_run(OWNED + 4)?;
        if row != around {
            return Err(Failure::new("the free pages have moved"));
        }
        give_run(nth(row, OWNED), 4)?;
        insert(place(AREA)?, row, 2, RW).unless_stopped()?;
        let cap = PageCap::mint(row.get().into(), OWNED, PageRights::all())?;
        write_capability(AREA, &cap);
        let me = environment::own().ok_or_else(|| Failure::new("no name of one's own"))?;
        let mut fixture = Self {
            tables: [
                area.level2,
                area.links2,
                area.level3,
                area.links,
                table,
                links,
            ],
            area: Some(area),
            row,
            table,
            links,
            me,
            owner: owner()?,
            network: None,
            nasty: [0; NASTY],
        };
        let network = Network::new(row)?;
        fixture.nasty = fixture.nasty_values(&network);
        fixture.network = Some(network);
        Ok(fixture)
    }

    pub(super) fn close(mut self) -> Outcome {
        self.clear()
    }

    fn clear(&mut self) -> Outcome {
        let Some(area) = self.area.take() else {
            return Ok(());
        };
        if let Some(network) = self.network.take() {
            network.close()?;
        }
        remove(place(AREA)?, 2).unless_stopped()?;
        give_run(self.row, OWNED)?;
        remove_table(place(AREA + LEVEL3)?, TableLevel::Three)?;
        memory::give_page(self.table)?;
        memory::give_page(self.links)?;
        area.close()
    }

    /// The empty table.
    pub(super) fn table(&self) -> PageNumber {
        self.table
    }

    /// Borders of every type that an argument can have, and names of things that there are.
    fn nasty_values(&self, network: &Network) -> [u64; NASTY] {
        let [filter, ring] = network.words();
        let page = |offset| u64::from(self.row.get()) + offset;
        let end = exposed::page_count();
        [
            0,
            1,
            2,
            3,
            4,
            7,
            8,
            16,
            17,
            64,
            65,
            128,
            129,
            0xfff,
            0x1000,
            USER_START,
            USER_START - 1,
            AREA,
            AREA + 1,
            AREA + PAGE_SIZE,
            AREA + 2 * PAGE_SIZE - 8,
            AREA + 2 * PAGE_SIZE,
            AREA + LEVEL3 - PAGE_SIZE,
            AREA + LEVEL3,
            AREA + 2 * LEVEL3,
            AREA + (1 << 30),
            FIRST_UAREA,
            TABLES_BASE,
            EXPOSED_BASE,
            USER_END - 1,
            USER_END,
            0xffff_ff80_0008_0000,
            page(0),
            page(2),
            page(OWNED),
            // By a capability, if the next register has its address.
            1 << 56 | page(0),
            // Newly allocated, of a colour.
            4 << 56,
            u64::from(self.table.get()),
            u64::from(self.tables[2].get()),
            word(Environment::Owned(self.me).object()),
            filter,
            ring,
            end - 1,
            end,
            u32::MAX.into(),
            1 << 32,
            1 << 48,
            1 << 56,
            1 << 56 | 1,
            1 << 63,
            u64::MAX,
        ]
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, Failure> {
        let mut records = [None; WATCHED];
        let row = (0..OWNED + 4).map(|offset| nth(self.row, offset));
        for (place, page) in records.iter_mut().zip(row.chain(self.tables)) {
            *place = exposed::page(page).map(without_list);
        }
        let name = ObjectName::from_word(self.owner.word());
        Ok(Snapshot {
            free_pages: exposed::free_pages(),
            account: exposed::account(name).ok_or_else(|| Failure::new("no account"))?,
            records,
        })
    }

    /// Arguments with which the call would do something, or nearly.
    pub(super) fn good(&self, call: Call) -> [u64; 6] {
        let page = |offset| u64::from(self.row.get()) + offset;
        let third = AREA + 2 * PAGE_SIZE;
        match call {
            Call::page_alloc => [page(OWNED), 1, 0, 0, 0, 0],
            Call::page_free | Call::page_retire => [page(2), 0, 1, 0, 0, 0],
            Call::page_break => [page(0), 0, 2, 0, 0, 0],
            Call::page_give => [page(2), 1, self.owner.word(), 0, 0, 0],
            Call::page_accept => [0; 6],
            Call::page_limit => [page(2), 1, DEFAULT_LIMIT.into(), 0, 0, 0],
            Call::table_insert => [0, AREA + 2 * LEVEL3, 3, page(6), page(7), 0],
            Call::table_remove => [0, AREA + LEVEL3, 3, 0, 0, 0],
            Call::insert_pte => [0, third, page(2), 0, 1, 3],
            Call::insert_superpage => [0, AREA + 2 * LEVEL3, page(0) & !511, 0, 1, 3],
            Call::remove_pte => [0, AREA, 1, 0, 0, 0],
            Call::protect_pte => [0, AREA, 1, 1, 0, 0],
            Call::pte_note => [0, third, 5, 0, 0, 0],
            // What is at the address names no call.
            Call::pte_batch => [0, AREA + 1024, 1, 0, 0, 0],
            Call::cap_mint => [Kind::Page as u64, page(2), 1, 1, AREA + 2048, 0],
            Call::cap_narrow => [AREA, page(2), 1, 1, AREA + 2048, 0],
            Call::account_create => [1, 0, 0, 0, 0, 0],
            Call::space_create => [page(4), 0, 0, 0, 0, 0],
            Call::env_create => [0, page(4), third, 0, 0, 0],
            Call::env_read | Call::env_write => [0, 0, AREA + 1024, 8, 0, 0],
            Call::console_write | Call::console_read => [AREA, 0, 0, 0, 0, 0],
            Call::revoke_request => [1 << 56, 0, 1, 1 << 30, 0, 3],
            Call::revoke_setup => [page(2), 1, page(3), 0, 0, 0],
            Call::slice_alloc => [0, 5, 0, 0, 0, 0],
            Call::slice_move => [0, 0, 9, 0, 0, 0],
            Call::slice_free => [1 << 56, 0, 0, 0, 0, 0],
            Call::msgring_set => [page(2), 2, 3, 0, 0, 0],
            Call::msgring_send => [RING_GATE, AREA, 8, 0, 0, 0],
            // No environment: of its own it would not come back.
            Call::env_stop | Call::env_destroy => [1 << 56, 0, 0, 0, 0, 0],
            _ => match &self.network {
                Some(network) => network.good(call, page(0)),
                None => [0; 6],
            },
        }
    }

    /// What must be there before a call can do anything: a ring of the program's own, and a gate to it.
    pub(super) fn prepare(&self, call: Call) -> Outcome {
        if call == Call::msgring_send {
            stubs::gate_bind(RING_GATE, exopi_rt::Object::Own)?;
            self.set_ring()?;
        }
        Ok(())
    }

    /// The opposite.
    pub(super) fn unprepare(&self, call: Call) -> Outcome {
        if call == Call::msgring_send {
            stubs::msgring_clear()?;
            stubs::gate_unbind(RING_GATE)?;
        }
        Ok(())
    }

    /// The ring is empty.
    fn set_ring(&self) -> Outcome {
        let first = nth(self.row, 2);
        // SAFETY: the fixture's page is loose, and nothing else's.
        Ok(unsafe { stubs::msgring_set(first, 1, 3) }?)
    }

    /// Takes back what a call has carried out.
    pub(super) fn undo(&self, call: Call, words: [u64; 6], done: u64, value: u64) -> Outcome {
        let number = |word: u64| PageNumber::new(word as u32);
        match call {
            Call::page_alloc if words[0] >> 56 == 0 => give_run(number(value), done),
            Call::page_alloc => give_stamped(number(value), done),
            Call::page_free => retake(number(words[0]), done),
            Call::page_accept => Ok(account::accept_pages(0)?),
            Call::page_limit => {
                let run = Run::owned(number(words[0]), done);
                Ok(run.limit(DEFAULT_LIMIT).unless_stopped().map(drop)?)
            }
            Call::page_break => self.map_again(),
            Call::table_insert => {
                let table = remove_table(place(words[1])?, level(words[2]))?;
                check_eq!(u64::from(table.get()), words[3], "the table");
                Ok(())
            }
            Call::table_remove => {
                check_eq!(value, u64::from(self.table.get()), "the table");
                let at = place(words[1])?;
                Ok(insert_table(at, TableLevel::Three, self.table, self.links)?)
            }
            Call::insert_pte => self.unmap(words, done),
            // Pages of the program's own, which lie as a superpage wants them.
            Call::insert_superpage => Ok(remove(place(words[1])?, done * SUPERPAGE_PAGES)
                .unless_stopped()
                .map(drop)?),
            Call::remove_pte => self.map_again(),
            Call::protect_pte => {
                // SAFETY: the fixture's mappings, to what they were.
                let back = unsafe { Space::Own.protect(place(words[1])?, done, RW) };
                Ok(back.unless_stopped().map(drop)?)
            }
            Call::pte_note => {
                let none = Note::new(0).unwrap_or_default();
                Ok(Space::Own.note(place(words[1])?, none)?)
            }
            Call::account_create => Ok(Account::Owned(ObjectName::from_word(value)).destroy()?),
            Call::space_create => Ok(Space::Owned(ObjectName::from_word(value)).destroy()?),
            Call::env_create => Ok(Environment::Owned(ObjectName::from_word(value)).destroy()?),
            Call::env_debug => Ok(Environment::Own.debug(false)?),
            Call::gate_bind => Ok(stubs::gate_unbind(words[0])?),
            Call::revoke_setup => {
                let none = PageNumber::new(0);
                // SAFETY: nothing is written to.
                Ok(unsafe { stubs::revoke_setup(none, 0, none) }?)
            }
            Call::slice_alloc => Ok(Slice::Owned(ObjectName::from_word(value)).free()?),
            Call::slice_move => Ok(Slice::Own.move_to(0, Some(0)).map(drop)?),
            Call::msgring_set => Ok(stubs::msgring_clear()?),
            Call::msgring_send => self.set_ring(),
            _ => match &self.network {
                Some(network) => network.undo(call, value),
                None => Ok(()),
            },
        }
    }

    /// Removes what `insert_pte` has mapped, and gives back what it has allocated.
    fn unmap(&self, words: [u64; 6], done: u64) -> Outcome {
        let at = place(words[1])?;
        for offset in 0..done {
            let next = at.plus(offset).ok_or(Error::BadAddress)?;
            let mapping = exopi_rt::tables::mapping_of(next.get());
            let page = mapping
                .ok_or_else(|| Failure::new("it is not in the tables"))?
                .page;
            remove(next, 1).unless_stopped()?;
            if words[2] >> 56 >= 2 {
                memory::give_page(page)?;
            }
        }
        Ok(())
    }

    /// Maps the row's first pages again, as far as they are not mapped.
    fn map_again(&self) -> Outcome {
        for index in 0..2 {
            let page = nth(self.row, index);
            if record(page)?.references == 0 {
                insert(place(Area::address(index))?, page, 1, RW).unless_stopped()?;
            }
        }
        Ok(())
    }

    /// Arguments that a program may use, to its own harm: printing memory, having what it lives in written
    /// or broken, ending itself.
    pub(super) fn harmful(&self, call: Call, words: [u64; 6]) -> bool {
        let own = |at: u64| (FIRST_UAREA..TABLES_BASE).contains(&at);
        let myself = words[0] == 0 || words[0] == word(Environment::Owned(self.me).object());
        match call {
            Call::console_write => words[1] != 0 && catch::read(words[0]).is_ok(),
            Call::console_read => words[1] != 0 && own(words[0]),
            Call::pte_batch => words[2] != 0 && own(words[1]),
            Call::cap_mint | Call::cap_narrow => own(words[4]),
            // Nobody would let it run again.
            Call::env_stop | Call::env_destroy => myself,
            // It would lose what it lives in.
            Call::revoke_request => myself,
            // The kernel writes to what may be a page of the program's.
            Call::revoke_setup => self.writes_own(words, MAX_VECTOR_PAGES),
            Call::msgring_set => self.writes_own(words, MAX_PAGES),
            // Without a slice it would not go on once it gives the core away, nor on this core.
            Call::slice_free => words[0] == 0,
            Call::slice_move => words[0] == 0 && (1..4).contains(&words[1]),
            Call::page_break => self.breaks_own(words),
            _ => match &self.network {
                Some(network) => network.harmful(call, words, self.row.get().into()),
                None => false,
            },
        }
    }

    /// Whether pages that the program lives in are among those, so many at most, that a call sets up to be written.
    fn writes_own(&self, words: [u64; 6], most: u64) -> bool {
        let first = words[0] & 0xffff_ffff;
        let fixtures = u64::from(self.row.get()) + 2..u64::from(self.row.get()) + OWNED;
        (first..first + words[1].min(most)).any(|number| {
            let record = exposed::page(PageNumber::new(number as u32));
            !fixtures.contains(&number)
                && record.is_some_and(|record| record.charged_to() == self.owner)
        })
    }

    /// Whether pages that the program lives in are among those that a call breaks.
    fn breaks_own(&self, words: [u64; 6]) -> bool {
        let first = words[0] & 0xffff_ffff;
        let fixtures = u64::from(self.row.get())..u64::from(self.row.get()) + OWNED;
        (first..first + words[2].min(256)).any(|number| {
            let record = exposed::page(PageNumber::new(number as u32));
            !fixtures.contains(&number)
                && record.is_some_and(|record| {
                    record.charged_to() == self.owner && record.references > 0
                })
        })
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// Takes pages that were given back.
fn retake(first: PageNumber, count: u64) -> Outcome {
    let mut done = 0;
    while done < count {
        let select = PageSelect::Exact(nth(first, done));
        let wanted = (count - done).min(16);
        done += stubs::page_alloc(select, wanted)
            .progress
            .unless_stopped()?;
    }
    Ok(())
}
