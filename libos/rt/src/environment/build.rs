//! Making an environment: its stacks, its u-area, its first state.
//!
//! ```text
//!   at       guard                     nothing is mapped there, so that an overflow faults
//!   + 1      stack                     STACK_PAGES, or as many as one says
//!            guard
//!            stack of fault handlers   STACK_BYTES
//!            guard
//!            stack of notice handlers  STACK_BYTES
//!            u-area                    the last page
//! ```
//!
//! Where that is, the program says: address space is its to lay out.

use core::mem::offset_of;

use crate::domain::ObjectName;
use crate::handle::{Environment, Space};
use crate::layout::PAGE_SIZE;
use crate::local::{self, Local};
use crate::page::FrameType;
use crate::uarea::{Entry, Frame, UArea, UpcallClass};
use crate::upcall::STACK_BYTES;
use crate::{
    Access, Error, PageNumber, PageSelect, PageSource, Progress, VirtAddr, exposed, memory, tables,
};

/// Pages of a stack, unless one says otherwise: 64 KiB.
pub const STACK_PAGES: u64 = 16;

/// Pages of a handlers' stack.
const HANDLER_PAGES: u64 = STACK_BYTES as u64 / PAGE_SIZE;

const RW: Access = Access::READ.union(Access::WRITE);

/// An environment to be made.
///
/// It runs a function with an argument and ends when that returns. Its handlers of upcalls are at first
/// those of the one that makes it.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct Builder<'a> {
    entry: fn(u64),
    argument: u64,
    at: VirtAddr,
    stack_pages: u64,
    space: Space<'a>,
}

/// Where the parts are, in pages from the begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    stack_pages: u64,
}

impl Plan {
    /// First page and number of pages of the stack.
    const fn stack(self) -> (u64, u64) {
        (1, self.stack_pages)
    }

    /// The same of a class's handlers' stack.
    const fn handlers(self, class: UpcallClass) -> (u64, u64) {
        let first = 1 + self.stack_pages + 1;
        (first + class as u64 * (HANDLER_PAGES + 1), HANDLER_PAGES)
    }

    /// The u-area's page.
    const fn uarea(self) -> u64 {
        let (first, count) = self.handlers(UpcallClass::Notice);
        first + count
    }

    /// All pages, guards included.
    const fn pages(self) -> u64 {
        self.uarea() + 1
    }
}

impl Builder<'static> {
    /// An environment in the caller's own space that runs `entry(argument)`, with what belongs to it at `at`:
    /// [`Builder::pages`] pages of address space where nothing is.
    pub const fn new(entry: fn(u64), argument: u64, at: VirtAddr) -> Self {
        Self {
            entry,
            argument,
            at,
            stack_pages: STACK_PAGES,
            space: Space::Own,
        }
    }
}

impl<'a> Builder<'a> {
    /// With a stack of so many pages.
    pub const fn stack_pages(mut self, pages: u64) -> Self {
        self.stack_pages = pages;
        self
    }

    /// In another space. What `entry` needs must be mapped there at the same addresses
    /// ([`Space::copy_own`]).
    pub const fn in_space<'b>(self, space: Space<'b>) -> Builder<'b> {
        Builder {
            entry: self.entry,
            argument: self.argument,
            at: self.at,
            stack_pages: self.stack_pages,
            space,
        }
    }

    const fn plan(&self) -> Plan {
        Plan {
            stack_pages: self.stack_pages,
        }
    }

    /// Pages of address space that it takes.
    pub const fn pages(&self) -> u64 {
        self.plan().pages()
    }

    /// Makes it. It is stopped. All pages are new, of the account that the caller draws on.
    ///
    /// # Errors
    /// Those of `page_alloc`, `insert_pte`, `table_insert` and `env_create`. In the caller's own space, what was made
    /// is undone but for tables; in another, what was mapped stays: it goes with the space.
    pub fn build(self) -> Result<Made<'a>, Error> {
        let made = self.map_and_create();
        if made.is_err() && matches!(self.space, Space::Own) {
            unmap_own(self.at, self.plan());
        }
        made
    }

    /// Makes it and lets it run on `core`, in a slice of its own that is charged to the account that the caller draws
    /// on.
    ///
    /// # Errors
    /// Those of [`Builder::build`], `slice_alloc` and `env_run`; it is ended then.
    pub fn start(self, core: u64) -> Result<Made<'a>, Error> {
        let made = self.build()?;
        made.environment().run(core).inspect_err(|_| {
            // It has never run: nothing can refuse to end it.
            let _ended = made.end();
        })?;
        Ok(made)
    }

    fn map_and_create(self) -> Result<Made<'a>, Error> {
        let plan = self.plan();
        let [fault, notice] = [UpcallClass::Fault, UpcallClass::Notice];
        for (first, count) in [plan.stack(), plan.handlers(fault), plan.handlers(notice)] {
            let at = self.at.plus(first).ok_or(Error::BadAddress)?;
            let new = PageSource::New(PageSelect::Any);
            self.space.map(at, new, count, RW).unless_stopped()?;
        }
        let at = self.at.plus(plan.uarea()).ok_or(Error::BadAddress)?;
        memory::with_page(|uarea| {
            let environment = match Environment::create(self.space, uarea, at) {
                Err(Error::NoTable) => {
                    self.space.supply_tables(at)?;
                    Environment::create(self.space, uarea, at)?
                }
                outcome => outcome?,
            };
            let name = environment.name().ok_or(Error::Stale)?;
            self.write_uarea(environment, name).inspect_err(|_| {
                // It was made just now and does not run: nothing can refuse to end it.
                let _destroyed = environment.destroy();
            })?;
            Ok(Made {
                name,
                uarea,
                at: self.at,
                plan,
                space: self.space,
            })
        })
    }

    /// Writes all of the u-area's page that anybody reads: a page that is taken may hold anything of the
    /// account's.
    fn write_uarea(&self, environment: Environment<'_>, name: ObjectName) -> Result<(), Error> {
        const WORDS: usize = (local::OFFSET + size_of::<Local>()) / 8;
        let mut image = Image([0; WORDS]);
        self.fill(&mut image, name);
        for (index, words) in image.0.chunks(64).enumerate() {
            let mut bytes = [0; 512];
            for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
                *to = word.to_le_bytes();
            }
            let used = bytes.get(..words.len() * 8).unwrap_or(&bytes);
            environment.write(index as u64 * 512, used)?;
        }
        Ok(())
    }

    /// First address above a part.
    fn top(&self, (first, count): (u64, u64)) -> u64 {
        self.at.get() + (first + count) * PAGE_SIZE
    }

    fn fill<const N: usize>(&self, image: &mut Image<N>, name: ObjectName) {
        let plan = self.plan();
        let saved = offset_of!(UArea, saved);
        image.set(saved + offset_of!(Frame, x), self.entry as usize as u64);
        image.set(saved + offset_of!(Frame, x) + 8, self.argument);
        image.set(saved + offset_of!(Frame, sp), self.top(plan.stack()));
        image.set(saved + offset_of!(Frame, pc), begin as *const () as u64);
        image.set(saved + offset_of!(Frame, held), 1);
        for class in [UpcallClass::Fault, UpcallClass::Notice] {
            let index = class as usize;
            let stack = self.top(plan.handlers(class));
            image.set(local::OFFSET + offset_of!(Local, stacks) + index * 8, stack);
            if let Some((function, handler, pc)) = crate::upcall::inherited(class) {
                let functions = local::OFFSET + offset_of!(Local, functions);
                image.set(functions + index * 8, function);
                let handlers = local::OFFSET + offset_of!(Local, handlers);
                image.set(handlers + index * 8, handler);
                let entry = offset_of!(UArea, entries) + index * size_of::<Entry>();
                image.set(entry + offset_of!(Entry, pc), pc);
                image.set(entry + offset_of!(Entry, sp), stack);
            }
        }
        image.set(local::OFFSET + offset_of!(Local, name), name.word());
    }
}

/// The words of a u-area's page.
struct Image<const N: usize>([u64; N]);

impl<const N: usize> Image<N> {
    fn set(&mut self, offset: usize, word: u64) {
        if let Some(place) = self.0.get_mut(offset / 8) {
            *place = word;
        }
    }
}

/// The first code of an environment: what it was made for, and its end.
extern "C" fn begin(entry: *const (), argument: u64) -> ! {
    #[expect(unsafe_code, reason = "a function by its address")]
    // SAFETY: only the state that `fill` writes begins here, and it has an `fn(u64)` in x0.
    let entry = unsafe { core::mem::transmute::<*const (), fn(u64)>(entry) };
    entry(argument);
    super::leave()
}

/// An environment that was made, and what belongs to it. Forgetting it ends nothing.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    name: ObjectName,
    uarea: PageNumber,
    at: VirtAddr,
    plan: Plan,
    space: Space<'a>,
}

impl Made<'_> {
    /// Its name.
    pub const fn name(&self) -> ObjectName {
        self.name
    }

    /// By that it is run, stopped, kept, read.
    pub const fn environment(&self) -> Environment<'static> {
        Environment::Owned(self.name)
    }

    /// Where it sees its u-area.
    pub fn uarea(&self) -> u64 {
        self.at.get() + self.plan.uarea() * PAGE_SIZE
    }

    /// Waits until it has ended by itself, and gives its pages back if they are in the caller's own space.
    pub fn join(self) {
        self.environment().wait();
        self.give_back();
    }

    /// Ends it wherever it is, and gives its pages back if they are in the caller's own space.
    ///
    /// # Errors
    /// Those of [`Environment::destroy`].
    pub fn end(self) -> Result<(), Error> {
        self.environment().destroy()?;
        self.give_back();
        Ok(())
    }

    fn give_back(self) {
        if matches!(self.space, Space::Own) {
            unmap_own(self.at, self.plan);
            // It was the u-area's alone. If somebody else has given it back already, that is well.
            let _given = memory::give_page(self.uarea);
        }
    }
}

/// Unmaps and gives back what is mapped in the caller's own space for an environment that is gone.
#[expect(unsafe_code, reason = "stacks disappear")]
fn unmap_own(at: VirtAddr, plan: Plan) {
    let end = at.get() + plan.pages() * PAGE_SIZE;
    for (at, mapping) in tables::mappings(at.get(), end) {
        let plain = |page| exposed::page(page).is_some_and(|it| it.kind == FrameType::Plain);
        if plain(mapping.page) {
            // SAFETY: they were the stacks of an environment that does not run any more, or never did.
            let removed: Progress = unsafe { Space::Own.remove(at, 1) };
            if removed.stopped.is_none() {
                // Somebody else who maps it keeps it.
                let _given = memory::give_page(mapping.page);
            }
        }
    }
}
