//! Peers: environments that talk with the program, in a space of their own or in its own.
//!
//! One in a space of its own is a copy of the program as it is when the case begins, but for pages that both have:
//!
//! ```text
//!   AREA            shared pages: words that both sides read and write
//!   AREA + 1 MiB    the peers' stacks and u-areas, a place for each
//!   AREA + 1.5 MiB  where pages are copied through
//! ```

use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use exopi_ipc::loan::words_at;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::environment::{self, Builder, Made};
use exopi_rt::layout::{PAGE_SIZE, USER_START};
use exopi_rt::upcall::{self, Action};
use exopi_rt::{Environment, Error, PageNumber, PageSource, Space, memory, space};

use crate::area::{AREA, RW, place};
use crate::harness::{Failure, Outcome};
use crate::other::wait;

/// Where the first peer's stacks are; the next ones' follow.
const STACKS: u64 = AREA + 0x10_0000;
/// Address space for each.
const EACH: u64 = 0x4_0000;
/// Where pages are copied through.
const SCRATCH: u64 = AREA + 0x18_0000;

/// Pages that the program shares with its peers, from [`AREA`] on.
#[derive(Debug)]
pub(crate) struct Shared {
    pages: Vec<PageNumber>,
}

impl Shared {
    /// Takes and maps `count` pages, all zero.
    pub(crate) fn new(count: u64) -> Result<Self, Failure> {
        let mut shared = Self { pages: Vec::new() };
        for index in 0..count {
            let at = place(AREA + index * PAGE_SIZE)?;
            shared.pages.push(memory::map_new(at, RW)?);
        }
        for word in shared.words(0, count)? {
            word.store(0, core::sync::atomic::Ordering::Relaxed);
        }
        Ok(shared)
    }

    /// The words of `count` pages from page `first` on.
    pub(crate) fn words(&self, first: u64, count: u64) -> Result<&[AtomicU64], Failure> {
        check!(first + count <= self.pages.len() as u64);
        shared_words(first, count)
    }

    /// Gives them back, and the tables of the area.
    pub(crate) fn close(mut self) -> Outcome {
        self.clear()?;
        memory::remove_tables(place(AREA)?)?;
        Ok(())
    }

    fn clear(&mut self) -> Outcome {
        for (index, page) in core::mem::take(&mut self.pages).into_iter().enumerate() {
            let at = place(AREA + index as u64 * PAGE_SIZE)?;
            // SAFETY: peers are gone, and the words are borrowed from this.
            unsafe { memory::unmap_and_give(at, page) }?;
        }
        Ok(())
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.clear();
        let _ = place(AREA).map(memory::remove_tables);
    }
}

/// The words of shared pages, for peers, which have no [`Shared`]: they end before it does.
pub(crate) fn shared_words(first: u64, count: u64) -> Result<&'static [AtomicU64], Failure> {
    let at = place(AREA + first * PAGE_SIZE)?;
    // SAFETY: they are mapped for as long as the case's `Shared` lives, and are nothing but words.
    Ok(unsafe { words_at(at, count) })
}

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    made: Made<'static>,
    /// Its space and what that is made of, if it has one of its own.
    space: Option<(Space<'static>, Vec<PageNumber>)>,
    gone: bool,
}

/// A fault in a peer must not unwind the case: its stack is a copy, or somebody else's.
pub(crate) fn begin() {
    upcall::on_fault(|_| Action::Abort);
}

fn builder(index: u64, entry: fn(u64), argument: u64) -> Result<Builder<'static>, Failure> {
    Ok(Builder::new(entry, argument, place(STACKS + index * EACH)?))
}

impl Peer {
    /// A peer in the program's own space that runs `entry(argument)` on `core`.
    pub(crate) fn here(
        index: u64,
        core: u64,
        entry: fn(u64),
        argument: u64,
    ) -> Result<Self, Failure> {
        Ok(Self {
            made: builder(index, entry, argument)?.start(core)?,
            space: None,
            gone: false,
        })
    }

    /// The same in a space of its own, with the shared pages.
    pub(crate) fn elsewhere(
        shared: &Shared,
        core: u64,
        entry: fn(u64),
        argument: u64,
    ) -> Result<Self, Failure> {
        let space = space::create()?;
        space.copy_own(USER_START, AREA, place(SCRATCH)?)?;
        for (index, page) in shared.pages.iter().enumerate() {
            let at = place(AREA + index as u64 * PAGE_SIZE)?;
            let source = PageSource::owned(*page);
            space.map(at, source, 1, RW).unless_stopped()?;
        }
        let made = builder(0, entry, argument)?.in_space(space).build()?;
        let mut peer = Self {
            made,
            space: Some((space, Vec::new())),
            gone: false,
        };
        peer.note_pages();
        peer.made.environment().run(core)?;
        Ok(peer)
    }

    /// Notes what its space is made of: nothing runs there.
    fn note_pages(&mut self) {
        if let Some((space, pages)) = &mut self.space
            && let Some(record) = space.record()
        {
            *pages = space::pages_of(PageNumber::new(record.root)).collect();
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> ObjectName {
        self.made.name()
    }

    /// By that it is bound.
    pub(crate) fn environment(&self) -> Environment<'static> {
        self.made.environment()
    }

    /// Waits until it rests, having run on this core or another.
    pub(crate) fn wait_for_rest(&self) -> Outcome {
        wait(
            || Ok(self.environment().state() == EnvironmentState::Asleep),
            || alloc::format!("{:?}", self.environment().life()),
        )
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&self) -> Outcome {
        wait(
            || Ok(self.environment().state() == EnvironmentState::Free),
            || alloc::format!("{:?}", self.environment().life()),
        )
    }

    /// Ends it, wherever it is, and gives back what it was made of.
    pub(crate) fn end(mut self) -> Outcome {
        self.clear()
    }

    fn clear(&mut self) -> Outcome {
        if core::mem::replace(&mut self.gone, true) {
            return Ok(());
        }
        let there = self.environment().state() != EnvironmentState::Free;
        let Some((space, _)) = &self.space else {
            if there {
                self.made.end()?;
            } else {
                self.made.join();
            }
            return Ok(());
        };
        let space = *space;
        if there {
            match self.environment().stop() {
                // It has come to its end by itself meanwhile.
                Err(Error::NotYours) => self.wait_for_end()?,
                stopped => {
                    stopped?;
                    self.note_pages();
                    self.environment().destroy()?;
                }
            }
        }
        wait(
            || Ok(space.record().is_none()),
            || "its space is there".into(),
        )?;
        for page in self.space.take().into_iter().flat_map(|(_, pages)| pages) {
            memory::give_page(page)?;
        }
        Ok(())
    }
}

/// For cases that end early, as for [`Shared`].
impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// The calling environment's name.
pub(crate) fn me() -> Result<ObjectName, Failure> {
    environment::own().ok_or_else(|| Failure::new("no name"))
}
