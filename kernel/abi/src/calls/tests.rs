//! The products of the table agree with each other.

use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;

use super::*;

type Seen = Rc<RefCell<Vec<String>>>;

/// Notes what reached it, and answers with something to tell the calls apart.
struct Recorder(Seen);

impl Recorder {
    fn note(&self, text: String) {
        self.0.borrow_mut().push(text);
    }
}

impl Calls for Recorder {
    fn null(&mut self) -> Result<u64, Error> {
        self.note("null".into());
        Ok(crate::VERSION)
    }

    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        self.note(format!("page_alloc {which:?} {count}"));
        Allocation {
            first: PageNumber::new(7),
            progress: Progress {
                done: 3,
                stopped: Some(Error::Taken),
            },
        }
    }

    fn page_free(&mut self, first: PageNumber, count: u64) -> Progress {
        self.note(format!("page_free {first:?} {count}"));
        Progress {
            done: count,
            stopped: None,
        }
    }

    fn table_insert(
        &mut self,
        space: Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: Option<PageNumber>,
    ) -> Result<(), Error> {
        self.note(format!(
            "table_insert {space:?} {at:?} {level:?} {table:?} {links:?}"
        ));
        Err(Error::Occupied)
    }

    fn table_remove(&mut self, _: Space, _: VirtAddr, _: TableLevel) -> Result<PageNumber, Error> {
        Ok(PageNumber::new(9))
    }

    fn insert_pte(
        &mut self,
        space: Space,
        at: VirtAddr,
        source: PageSource,
        count: u64,
        access: Access,
    ) -> Progress {
        self.note(format!(
            "insert_pte {space:?} {at:?} {source:?} {count} {access:?}"
        ));
        Progress {
            done: 1,
            stopped: None,
        }
    }

    fn remove_pte(&mut self, _: Space, _: VirtAddr, _: u64) -> Progress {
        Progress::refused(Error::Vacant)
    }

    fn resume(&mut self, _: UpcallClass) -> Result<(), Error> {
        Err(Error::NoFrame)
    }

    fn console_write(&mut self, bytes: UserBytes<'_>) -> Progress {
        Progress {
            done: bytes.length(),
            stopped: None,
        }
    }

    fn console_read(&mut self, into: UserBytesMut<'_>) -> Progress {
        Progress {
            done: into.length(),
            stopped: None,
        }
    }

    fn board_exit(&mut self, _: u64) -> Result<(), Error> {
        Err(Error::MissingRight)
    }

    fn board_reset(&mut self) -> Result<(), Error> {
        Err(Error::MissingRight)
    }
}

fn installed() -> Seen {
    let seen = Seen::default();
    crate::host::install(Some(Box::new(Recorder(seen.clone()))));
    seen
}

#[test]
fn numbers_and_names_agree() {
    for row in ROWS {
        assert_eq!(Call::from_number(row.call.number()), Some(row.call));
        assert!(row.doc.trim().ends_with('.'), "{}", row.call.name());
    }
    assert_eq!(Call::from_number(0), None);
    assert_eq!(Call::from_number(Call::ALL.len() as u16 + 1), None);
}

#[test]
fn arguments_reach_the_handler_as_they_were_given() {
    let seen = installed();
    let given = stubs::page_alloc(PageSelect::Exact(PageNumber::new(5)), 4);
    assert_eq!((given.first.get(), given.progress.done), (7, 3));
    assert_eq!(given.progress.stopped, Some(Error::Taken));
    assert_eq!(seen.borrow().as_slice(), ["page_alloc Exact(page 0x5) 4"]);
    let mut buffer = [0; 5];
    let read = stubs::console_read((&mut buffer[..]).into());
    assert_eq!(read.unless_stopped(), Ok(5));
}

#[test]
fn arguments_that_cannot_be_meant_never_reach_the_handler() {
    let seen = installed();
    let mut recorder = Recorder(seen.clone());
    let mut refused = |number, from| dispatch(&mut recorder, number, from).error();
    assert_eq!(refused(2, [1 << 60, 1, 0, 0, 0, 0]), Some(Error::Malformed));
    assert_eq!(
        refused(3, [1 << 40, 1, 0, 0, 0, 0]),
        Some(Error::OutOfRange)
    );
    assert_eq!(refused(6, [0, 1, 5, 1, 1, 0]), Some(Error::BadAddress));
    assert_eq!(
        refused(6, [0, 0x1_0000, 5, 1, 2, 0]),
        Some(Error::Malformed)
    );
    assert_eq!(
        refused(9, [u64::MAX, 2, 0, 0, 0, 0]),
        Some(Error::BadAddress)
    );
    assert_eq!(refused(0, [0; 6]), Some(Error::NoSuchCall));
    assert_eq!(refused(999, [0; 6]), Some(Error::NoSuchCall));
    assert!(seen.borrow().is_empty());
}
