//! Every call with hostile arguments: each pair of registers with each pair of nasty values.
//!
//! Around a set of good arguments, two registers at a time take every value of a list, while the
//! program owns pages, tables and mappings that the values name. After each call:
//!
//! * the error is one that the call's row lists, or one of decoding;
//! * registers are scrubbed and kept as they must be;
//! * what was refused has changed nothing: free pages and the records of all pages that could be
//!   meant are the same. What was carried out is undone, and then they are the same too.
//!
//! `board_exit` and `board_reset` are left out: they are carried out, whatever their argument.

use exopi_rt::calls::{ROWS, Row};
use exopi_rt::layout::{EXPOSED_BASE, FIRST_UAREA, PAGE_SIZE, USER_END, USER_START};
use exopi_rt::page::PageRecord;
use exopi_rt::{Call, Error, PageNumber, PageSelect, TableLevel, exposed, memory, stubs};

use crate::area::{
    AREA, Area, RW, free_run, give_run, insert, insert_table, place, remove, remove_table, take_run,
};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers};

pub(crate) const SUITE: Suite = Suite {
    name: "hostile",
    cases: &[
        ("null", || sweep(Call::null)),
        ("page_alloc", || sweep(Call::page_alloc)),
        ("page_free", || sweep(Call::page_free)),
        ("table_insert", || sweep(Call::table_insert)),
        ("table_remove", || sweep(Call::table_remove)),
        ("insert_pte", || sweep(Call::insert_pte)),
        ("remove_pte", || sweep(Call::remove_pte)),
        ("resume", || sweep(Call::resume)),
        ("console_write", || sweep(Call::console_write)),
        ("console_read", || sweep(Call::console_read)),
    ],
};

/// Pages that the fixture owns in a row: two mapped, then loose ones.
const OWNED: u64 = 8;
/// Pages whose records are watched: the owned ones, some free ones after them, and the tables.
const WATCHED: usize = OWNED as usize + 4 + 5;
/// Nasty values.
const NASTY: usize = 44;

/// Pages, tables and mappings for the calls to be about.
///
/// ```text
///   AREA + 0, 1   pages 0 and 1 of the row      AREA + 2 MiB   an empty level-3 table
///   the row's others are loose, and free pages follow it
/// ```
struct Fixture {
    area: Area,
    row: PageNumber,
    table: PageNumber,
    links: PageNumber,
    nasty: [u64; NASTY],
}

/// What must be the same after a call.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    free_pages: u64,
    records: [Option<PageRecord>; WATCHED],
}

impl Fixture {
    fn new() -> Result<Self, Failure> {
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
        let mut fixture = Self {
            area,
            row,
            table,
            links,
            nasty: [0; NASTY],
        };
        fixture.nasty = fixture.nasty_values();
        Ok(fixture)
    }

    fn close(self) -> Outcome {
        remove(place(AREA)?, 2).unless_stopped()?;
        give_run(self.row, OWNED)?;
        remove_table(place(AREA + LEVEL3)?, TableLevel::Three)?;
        memory::give_page(self.table)?;
        memory::give_page(self.links)?;
        self.area.close()
    }

    /// Borders of every type that an argument can have, and names of things that there are.
    fn nasty_values(&self) -> [u64; NASTY] {
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
            AREA + 2 * PAGE_SIZE,
            AREA + LEVEL3 - PAGE_SIZE,
            AREA + LEVEL3,
            AREA + 2 * LEVEL3,
            AREA + (1 << 30),
            FIRST_UAREA,
            EXPOSED_BASE,
            USER_END - 1,
            USER_END,
            0xffff_ff80_0008_0000,
            page(0),
            page(2),
            page(OWNED),
            u64::from(self.table.get()),
            u64::from(self.area.level3.get()),
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

    fn snapshot(&self) -> Snapshot {
        let tables = [
            self.area.level2,
            self.area.level3,
            self.area.links,
            self.table,
            self.links,
        ];
        let mut records = [None; WATCHED];
        let row = (0..OWNED + 4).map(|offset| nth(self.row, offset));
        for (place, page) in records.iter_mut().zip(row.chain(tables)) {
            *place = exposed::page(page).map(without_list);
        }
        Snapshot {
            free_pages: exposed::free_pages(),
            records,
        }
    }

    /// Arguments with which the call would do something, or nearly.
    fn good(&self, call: Call) -> [u64; 6] {
        let page = |offset| u64::from(self.row.get()) + offset;
        match call {
            Call::page_alloc => [page(OWNED), 1, 0, 0, 0, 0],
            Call::page_free => [page(2), 0, 1, 0, 0, 0],
            Call::table_insert => [0, AREA + 2 * LEVEL3, 3, page(6), page(7), 0],
            Call::table_remove => [0, AREA + LEVEL3, 3, 0, 0, 0],
            Call::insert_pte => [0, AREA + 2 * PAGE_SIZE, page(2), 0, 1, 3],
            Call::remove_pte => [0, AREA, 1, 0, 0, 0],
            Call::console_write | Call::console_read => [AREA, 0, 0, 0, 0, 0],
            _ => [0; 6],
        }
    }

    /// Takes back what a call has carried out.
    fn undo(&self, call: Call, words: [u64; 6], done: u64, value: u64) -> Outcome {
        let address = |word| place(word);
        let number = |word: u64| PageNumber::new(word as u32);
        match call {
            Call::page_alloc => give_run(number(value), done),
            Call::page_free => retake(number(words[0]), done),
            Call::table_insert => {
                let table = remove_table(address(words[1])?, level(words[2]))?;
                check_eq!(u64::from(table.get()), words[3], "the table");
                Ok(())
            }
            Call::table_remove => {
                check_eq!(value, u64::from(self.table.get()), "the table");
                let at = address(words[1])?;
                Ok(insert_table(at, TableLevel::Three, self.table, self.links)?)
            }
            Call::insert_pte => {
                let at = address(words[1])?;
                let mut removed = 0;
                while removed < done {
                    let next = at.plus(removed).ok_or(Error::BadAddress)?;
                    removed += remove(next, done - removed).unless_stopped()?;
                }
                Ok(())
            }
            Call::remove_pte => {
                let first = (words[1] - AREA) / PAGE_SIZE;
                let progress = insert(address(words[1])?, nth(self.row, first), done, RW);
                check_eq!(progress.done, done, "mapped again");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One call with everything checked. `row` is the call's.
    fn attack(&self, row: &Row, words: [u64; 6], before: &Snapshot) -> Outcome {
        let registers = Registers::with_arguments(words);
        let mut after = registers;
        // SAFETY: what the values name is the fixture's, which nothing else uses, or not the
        // program's at all; `harmful` has sorted out the rest.
        unsafe { machine::run_stub(0, &mut after) };
        let reply = after.reply();
        let done = match row.result {
            "Progress" | "Allocation" => reply.status >> 16,
            _ => u64::from(reply.error().is_none()),
        };
        if let Some(error) = reply.error() {
            let code_is_known = Error::from_code(reply.status as u16).is_some();
            check!(
                row.can_give(error) && code_is_known,
                "{words:x?} give {:#x}",
                reply.status
            );
        }
        machine::check_scrubbed(&registers, &after)?;
        if done > 0 {
            self.undo(row.call, words, done, reply.value)?;
        }
        let now = self.snapshot();
        check!(
            now == *before,
            "{words:x?} give {reply:x?} and change {:x?}",
            difference(before, &now)
        );
        Ok(())
    }
}

/// Bytes that a level-3 table covers.
const LEVEL3: u64 = TableLevel::Three.span();

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

/// A free page's place on the list changes when it is taken and given back.
fn without_list(record: PageRecord) -> PageRecord {
    match record.kind {
        exopi_rt::page::FrameType::Free => PageRecord {
            first: 0,
            second: 0,
            owner: exopi_rt::page::Owner::NOBODY,
            ..record
        },
        _ => record,
    }
}

/// The first thing in which two snapshots differ.
fn difference(before: &Snapshot, now: &Snapshot) -> (u64, Option<[Option<PageRecord>; 2]>) {
    let pairs = before.records.iter().zip(&now.records);
    let changed = pairs.map(|(before, now)| [*before, *now]);
    (
        now.free_pages,
        changed.into_iter().find(|[before, now]| before != now),
    )
}

/// Arguments that a program may use, to its own harm: printing memory, or reading what was typed into
/// what it lives in.
fn harmful(call: Call, words: [u64; 6]) -> bool {
    match call {
        Call::console_write => words[1] != 0 && catch::read(words[0]).is_ok(),
        Call::console_read => words[1] != 0 && (FIRST_UAREA..EXPOSED_BASE).contains(&words[0]),
        _ => false,
    }
}

fn sweep(call: Call) -> Outcome {
    let fixture = Fixture::new()?;
    let row = ROWS.iter().find(|row| row.call == call);
    let row = row.ok_or_else(|| Failure::new("no such row"))?;
    machine::write_stub(0, call.number())?;
    machine::publish_stubs()?;
    let good = fixture.good(call);
    let before = fixture.snapshot();
    fixture.attack(row, good, &before)?;
    for first in 0..good.len() {
        for second in first + 1..good.len() {
            for one in fixture.nasty {
                for two in fixture.nasty {
                    let mut words = good;
                    (words[first], words[second]) = (one, two);
                    if !harmful(call, words) {
                        fixture.attack(row, words, &before)?;
                    }
                }
            }
        }
    }
    // Mappings are as before, too.
    for index in [0, 1] {
        check!(
            catch::read(Area::address(index)).is_ok(),
            "page {index} is gone"
        );
    }
    for index in [2, 511, 512, 1024] {
        check!(
            catch::read(Area::address(index)).is_err(),
            "page {index} has come"
        );
    }
    fixture.close()
}
