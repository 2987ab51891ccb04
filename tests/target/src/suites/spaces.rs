//! Environments in spaces of their own: each sees its own memory at an address that all use, whichever core
//! they take turns on, and none sees another's registers.

use alloc::format;
use alloc::vec::Vec;

use exopi_rt::domain::EnvironmentState;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::FrameType;
use exopi_rt::space;
use exopi_rt::uarea::Frame;
use exopi_rt::{Environment, PageNumber, PageSource, Space, exposed, memory};

use crate::area::{Area, RW, insert, place, record, remove};
use crate::harness::{Failure, Outcome, Suite};
use crate::other::{code, wait};

pub(crate) const SUITE: Suite = Suite {
    name: "spaces",
    cases: &[("same_address_other_memory", same_address_other_memory)],
};

/// Where each has its word, and its u-area.
const WORDS: u64 = 0x50_0000_0000;
const UAREA: u64 = WORDS + PAGE_SIZE;

/// An environment in a space of its own.
struct Lone {
    environment: Environment<'static>,
    /// All pages that are its space's alone.
    pages: Vec<PageNumber>,
    words: PageNumber,
    space: Space<'static>,
}

impl Lone {
    /// One that compares its word with `word`, `rounds` times. `window` is a page of this program's address space
    /// where nothing is.
    fn new(word: u64, rounds: u64, window: u64) -> Result<Self, Failure> {
        let words = memory::take_page()?;
        let uarea = memory::take_page()?;
        for page in [words, uarea] {
            insert(place(window)?, page, 1, RW).unless_stopped()?;
            // SAFETY: the page is mapped there, and nobody else's.
            unsafe { core::ptr::write_bytes(window as *mut u8, 0, PAGE_SIZE as usize) };
            if page == words {
                // SAFETY: as above.
                unsafe { (window as *mut [u64; 3]).write_volatile([word, 0, rounds]) };
            }
            remove(place(window)?, 1).unless_stopped()?;
        }
        let space = space::create()?;
        space
            .map(place(WORDS)?, PageSource::owned(words), 1, RW)
            .unless_stopped()?;
        // The code may lie across a page's end.
        let code = code::compare as *const () as u64;
        let first = code & !(PAGE_SIZE - 1);
        space.copy_own(first, first + 2 * PAGE_SIZE, place(window)?)?;
        let environment = Environment::create(space, uarea, place(UAREA)?)?;
        let mut frame = Frame {
            pc: code,
            ..Frame::default()
        };
        frame.x[19] = WORDS;
        frame.x[20] = word;
        environment.set_saved(&frame)?;
        let root = Space::record(space)
            .ok_or_else(|| Failure::new("no space"))?
            .root;
        Ok(Self {
            environment,
            pages: space::pages_of(PageNumber::new(root)).collect(),
            words,
            space,
        })
    }

    fn end(self) -> Outcome {
        self.environment.destroy()?;
        // The kernel takes the rest apart in idle time.
        wait(
            || Ok(self.space.record().is_none()),
            || "the space stays".into(),
        )?;
        for page in self.pages {
            let record = record(page)?;
            if record.kind == FrameType::Plain && record.references == 0 {
                memory::give_page(page)?;
            }
        }
        Ok(())
    }
}

fn same_address_other_memory() -> Outcome {
    const ROUNDS: u64 = 100;
    let area = Area::new()?;
    for core in 0..exposed::machine().cores {
        let mut lone = Vec::new();
        for index in 0..3 {
            lone.push(Lone::new(index * 0x0101 + 7, ROUNDS, Area::address(9))?);
        }
        for one in &lone {
            one.environment.run(core)?;
        }
        for one in &lone {
            let state = || one.environment.state();
            let ended = [EnvironmentState::Stopped, EnvironmentState::Suspended];
            wait(|| Ok(ended.contains(&state())), || format!("{:?}", state()))?;
            check_eq!(state(), ended[0], "{:x?}", one.environment.saved());
        }
        for one in lone {
            insert(place(Area::address(9))?, one.words, 1, RW).unless_stopped()?;
            // SAFETY: the page is mapped there.
            let [_, count, _] = unsafe { (Area::address(9) as *const [u64; 3]).read_volatile() };
            remove(place(Area::address(9))?, 1).unless_stopped()?;
            check_eq!(count, ROUNDS);
            one.end()?;
        }
    }
    area.close()
}
