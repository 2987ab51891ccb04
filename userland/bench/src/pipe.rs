//! The row about pipes: a request of one byte and its answer of one byte, both sides waiting by handing over the
//! core.
//!
//! The other side is a copy of this program in a space of its own, which runs what any program would: `read`, `write`
//! in a loop. Pages for the pipes are at the same address in both.

use embedded_io::{Read, Write};
use exopi_ipc::Gate;
use exopi_ipc::loan::words_at;
use exopi_ipc::pipe::{self, Reader, Writer};
use exopi_ipc::wait::HandOver;
use exopi_rt::domain::ObjectName;
use exopi_rt::environment::{self, Builder, Made};
use exopi_rt::layout::{PAGE_SIZE, USER_START};
use exopi_rt::upcall::{self, Action};
use exopi_rt::{
    Access, Environment, Error, PageNumber, PageSource, Space, VirtAddr, memory, space, time,
};

use crate::measure::{self, Sample};
use crate::rows::{Row, WINDOW};

const RW: Access = Access::READ.union(Access::WRITE);

/// Where the pipes are, a page each: there and back.
const PIPES: [u64; 2] = [WINDOW + 0x10_0000, WINDOW + 0x10_1000];
/// Where pages are copied through.
const SCRATCH: u64 = WINDOW + 0x10_2000;
/// Where the other side's stacks are.
const STACKS: u64 = WINDOW + 0x10_4000;

fn place(at: u64) -> Result<VirtAddr, Error> {
    VirtAddr::new(at).ok_or(Error::BadAddress)
}

/// The words of a pipe.
fn words(pipe: usize) -> Result<&'static [core::sync::atomic::AtomicU64], Error> {
    let at = place(PIPES[pipe])?;
    // SAFETY: the page is mapped while the row is measured, and is nothing but words.
    Ok(unsafe { words_at(at, 1) })
}

/// Gives every byte back until there are no more.
fn echo(program: u64) {
    upcall::on_fault(|_| Action::Abort);
    let program = Environment::Owned(ObjectName::from_word(program));
    let (Ok(there), Ok(back), Ok(gate)) = (words(0), words(1), Gate::bind(program)) else {
        return;
    };
    let ends = (
        Reader::new(there, HandOver(&gate)),
        Writer::new(back, HandOver(&gate)),
    );
    if let (Ok(mut reader), Ok(mut writer)) = ends {
        let mut byte = [0];
        while reader.read(&mut byte) == Ok(1) && writer.write(&byte) == Ok(1) {}
    }
}

/// The other side, and what it is made of.
struct Other {
    made: Made<'static>,
    space: Space<'static>,
    pages: alloc::vec::Vec<PageNumber>,
    pipes: [PageNumber; 2],
}

impl Other {
    fn new() -> Result<Self, Error> {
        let pipes = [
            memory::map_new(place(PIPES[0])?, RW)?,
            memory::map_new(place(PIPES[1])?, RW)?,
        ];
        for pipe in [0, 1] {
            pipe::format(words(pipe)?).map_err(|_| Error::BadCount)?;
        }
        let space = space::create()?;
        space.copy_own(USER_START, WINDOW, place(SCRATCH)?)?;
        for (at, page) in PIPES.into_iter().zip(pipes) {
            space
                .map(place(at)?, PageSource::owned(page), 1, RW)
                .unless_stopped()?;
        }
        let me = environment::own().ok_or(Error::Stale)?;
        let made = Builder::new(echo, me.word(), place(STACKS)?)
            .in_space(space)
            .build()?;
        let root = space.record().ok_or(Error::Stale)?.root;
        let pages = space::pages_of(PageNumber::new(root)).collect();
        made.environment().run(0)?;
        Ok(Self {
            made,
            space,
            pages,
            pipes,
        })
    }

    fn end(self) -> Result<(), Error> {
        self.made.environment().destroy()?;
        self.space.wait();
        for page in self.pages {
            memory::give_page(page)?;
        }
        for (at, page) in PIPES.into_iter().zip(self.pipes) {
            // SAFETY: both ends are gone.
            unsafe { memory::unmap_and_give(place(at)?, page) }?;
        }
        Ok(())
    }
}

const _: () = assert!(SCRATCH == PIPES[1] + PAGE_SIZE);

/// A byte there, and a byte back.
pub(crate) fn roundtrip(name: &'static str) -> Result<Row, Error> {
    let other = Other::new()?;
    let row = ask(name, &other);
    other.end()?;
    row
}

fn ask(name: &'static str, other: &Other) -> Result<Row, Error> {
    let gate = Gate::bind(other.made.environment())?;
    let small = |_| Error::BadCount;
    let mut writer = Writer::new(words(0)?, HandOver(&gate)).map_err(small)?;
    let mut reader = Reader::new(words(1)?, HandOver(&gate)).map_err(small)?;
    let mut request = 0u8;
    Row::measured(name, || {
        request = request.wrapping_add(1);
        let mut answer = [0];
        let before = measure::events();
        let begin = time::cycles();
        let written = writer.write(&[request]);
        let read = reader.read(&mut answer);
        let end = time::cycles();
        let events = measure::between(before, measure::events());
        if (written, read) != (Ok(1), Ok(1)) || answer != [request] {
            return Err(Error::Malformed);
        }
        Ok(Sample {
            instructions: end - begin - measure::overhead(),
            events,
        })
    })
}
