//! The rows about control transfer: calls to an environment in a space of its own, whose code is a few
//! instructions of this program, mapped there at the same address.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use exopi_rt::exposed::{self, Event};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_rt::{
    Access, Call, Environment, Error, PageNumber, PageRun, PageSource, Space, VirtAddr, memory,
    space, stubs, tables, transfer,
};

use crate::measure::{self, Sample};
use crate::rows::{Row, WINDOW};

const RW: Access = Access::READ.union(Access::WRITE);

/// The gate that leads to the callee.
const GATE: u64 = 0;

/// A callee that does nothing: its first instruction is the answer.
#[unsafe(naked)]
unsafe extern "C" fn answering() {
    naked_asm!(
        ".balign 64",
        "svc #{reply}",
        // Nobody waits: it rests until it is called.
        "b {answering}",
        reply = const Call::pct_reply as u16,
        answering = sym answering,
    )
}

/// A callee that answers with the counter as its first instruction finds it.
#[unsafe(naked)]
unsafe extern "C" fn reading() {
    naked_asm!(
        ".balign 64",
        "mrs x1, pmccntr_el0",
        "svc #{reply}",
        "b {reading}",
        reply = const Call::pct_reply as u16,
        reading = sym reading,
    )
}

/// The same as `answering` for one that has used vector registers since it had a core, and uses them now.
#[unsafe(naked)]
unsafe extern "C" fn answering_fp() {
    naked_asm!(
        ".balign 64",
        "fmov d0, #1.0",
        "svc #{reply}",
        "b {answering_fp}",
        reply = const Call::pct_reply as u16,
        answering_fp = sym answering_fp,
    )
}

/// An environment that serves calls, and what it was made of.
struct Callee {
    name: Environment<'static>,
    space: Space<'static>,
}

/// The page of this program that holds `code`, and its address.
fn page_of(code: u64) -> Result<(VirtAddr, PageNumber), Error> {
    let at = VirtAddr::new(code & !(PAGE_SIZE - 1)).ok_or(Error::BadAddress)?;
    let mapping = tables::mapping_of(at.get()).ok_or(Error::Vacant)?;
    Ok((at, mapping.page))
}

/// Writes a u-area that begins, and serves calls, at `code`, into a page that is taken for it.
fn uarea_for(code: u64, at: VirtAddr) -> Result<PageNumber, Error> {
    let page = memory::take_page()?;
    Space::Own
        .map(at, PageSource::owned(page), 1, RW)
        .unless_stopped()?;
    let place = at.get() as *mut u64;
    for word in 0..PAGE_SIZE as usize / 8 {
        // SAFETY: the page was mapped there just now, and nobody else has it.
        unsafe { place.wrapping_add(word).write_volatile(0) };
    }
    let entry = UpcallClass::Pct as usize * size_of::<Entry>();
    for offset in [entry, offset_of!(UArea, saved) + offset_of!(Frame, pc)] {
        // SAFETY: as above; the offsets are words of a u-area, which is less than a page.
        unsafe { place.wrapping_byte_add(offset).write_volatile(code) };
    }
    // SAFETY: nothing refers to it any more.
    unsafe { memory::unmap(at) }?;
    Ok(page)
}

impl Callee {
    /// Makes one that runs `code`, and waits until it rests.
    fn new(code: unsafe extern "C" fn()) -> Result<Self, Error> {
        let code = code as *const () as u64;
        let at = VirtAddr::new(WINDOW).ok_or(Error::BadAddress)?;
        let space = space::create()?;
        let (text, page) = page_of(code)?;
        let run = PageSource::Run(PageRun::Owned(page));
        space
            .map(text, run, 1, Access::READ | Access::EXECUTE)
            .unless_stopped()?;
        space.supply_tables(at)?;
        let uarea = uarea_for(code, at)?;
        let name = Environment::create(space, uarea, at)?;
        stubs::gate_bind(GATE, name.object())?;
        name.run(0)?;
        name.yield_to()?;
        Ok(Self { name, space })
    }

    fn end(self) -> Result<(), Error> {
        let uarea = self
            .name
            .record()
            .map(|record| PageNumber::new(record.uarea));
        stubs::gate_unbind(GATE)?;
        self.name.destroy()?;
        self.space.wait();
        uarea.map_or(Ok(()), memory::give_page)
    }
}

/// Defines a function that calls through the gate between two readings: what it took, the second word of the answer,
/// and the first reading. `before` runs just before: another call, after which no vector register is this program's,
/// or the use of one.
macro_rules! calling {
    ($name:ident, $before:literal) => {
        #[inline(never)]
        fn $name() -> Result<(Sample, u64, u64), Error> {
            let (begin, end, status, word): (u64, u64, u64, u64);
            let mut events = measure::Events::default();
            let counters = exposed::counters(0).map_or(events.as_ptr(), |counters| {
                counters.events.as_ptr().cast::<u64>()
            });
            // SAFETY: the callees here keep x19..x29, and the kernel SP; events are read where they are shown, and
            // written to the array.
            unsafe {
                asm!(
                    $before,
                    "mov x8, #{gate}",
                    "mov x9, #0",
                    "ldp x22, x23, [x26]",
                    "ldp x24, x25, [x26, #16]",
                    "ldp x27, x28, [x26, #32]",
                    "mrs x20, pmccntr_el0",
                    "svc #{call}",
                    "mrs x21, pmccntr_el0",
                    "ldp x2, x3, [x26]",
                    "ldp x4, x5, [x26, #16]",
                    "ldp x6, x7, [x26, #32]",
                    "sub x2, x2, x22",
                    "sub x3, x3, x23",
                    "sub x4, x4, x24",
                    "sub x5, x5, x25",
                    "sub x6, x6, x27",
                    "sub x7, x7, x28",
                    "stp x2, x3, [x0]",
                    "stp x4, x5, [x0, #16]",
                    "stp x6, x7, [x0, #32]",
                    gate = const GATE,
                    call = const Call::pct_call as u16,
                    inout("x0") events.as_mut_ptr() => _,
                    out("x8") status,
                    out("x1") word,
                    out("x20") begin,
                    out("x21") end,
                    out("x22") _, out("x23") _, out("x24") _, out("x25") _, out("x27") _,
                    out("x28") _,
                    in("x26") counters,
                    clobber_abi("C"),
                );
            }
            match Error::from_code(status as u16) {
                Some(error) => Err(error),
                None => {
                    let instructions = end - begin - measure::overhead();
                    let sample = Sample {
                        instructions,
                        events,
                    };
                    Ok((sample, word, begin))
                }
            }
        }
    };
}

calling!(call, "mov x8, #{gate}\n mov x9, #0\n svc #{call}");
calling!(call_fp, "fmov d0, #2.0");

const _: () = assert!(Event::COUNT == 6, "six words are copied");

/// Rounds with a callee that runs `code`.
fn rounds(
    name: &'static str,
    code: unsafe extern "C" fn(),
    round: impl FnMut() -> Result<Sample, Error>,
) -> Result<Row, Error> {
    let callee = Callee::new(code)?;
    let row = Row::measured(name, round);
    callee.end()?;
    row
}

/// From the call to the callee's first instruction.
pub(crate) fn oneway(name: &'static str) -> Result<Row, Error> {
    rounds(name, reading, || {
        let (mut sample, entered, begin) = call()?;
        sample.instructions = entered - begin - measure::overhead();
        Ok(sample)
    })
}

/// To a callee that answers at once, and back.
pub(crate) fn roundtrip(name: &'static str) -> Result<Row, Error> {
    rounds(name, answering, || call().map(|(sample, ..)| sample))
}

/// The same, both sides having vector registers of their own and using one in each round.
pub(crate) fn roundtrip_fp(name: &'static str) -> Result<Row, Error> {
    rounds(name, answering_fp, || call_fp().map(|(sample, ..)| sample))
}

/// The call as Rust makes it, with what the compiler stores and loads around it.
pub(crate) fn api(name: &'static str) -> Result<Row, Error> {
    #[inline(never)]
    fn through_rust(message: &mut transfer::Message) -> Result<(), Error> {
        transfer::call(GATE, transfer::FOREVER, message)
    }
    rounds(name, answering, || {
        let mut message = core::array::from_fn(|n| n as u64);
        // After this no vector register is this program's, until it uses one.
        through_rust(&mut message)?;
        let before = measure::events();
        through_rust(&mut message)?;
        let begin = measure::now();
        through_rust(&mut message)?;
        let end = measure::now();
        let events = measure::between(before, measure::events());
        if message != core::array::from_fn(|n| n as u64) {
            return Err(Error::Malformed);
        }
        Ok(Sample {
            instructions: end - begin - measure::overhead(),
            // Of two calls.
            events: events.map(|count| count / 2),
        })
    })
}
