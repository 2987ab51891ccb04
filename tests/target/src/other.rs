//! Other environments of this program's space: made, run, looked at, and destroyed by a case.
//!
//! They run bare instructions, with no libOS under them: what a case wants to see of them lies in their
//! u-area, which it can read like any other memory, and in a page of their own, to which their SP points.
//!
//! ```text
//!   area page 2n      u-area: state, vector registers, thread word set by the case, read after a stop
//!   area page 2n + 1  pad: where `dump` leaves the registers that it found
//! ```

pub(crate) mod code;
pub(crate) mod serving;
pub(crate) mod turns;

use alloc::format;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{EnvironmentRecord, EnvironmentState, ObjectName};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::uarea::{UArea, Vectors};
use exopi_rt::{
    Environment, Error, Object, PageNumber, Progress, UserBytes, UserBytesMut, exposed, memory,
    stubs, time,
};

use crate::area::{Area, RW, insert, place, remove};
use crate::harness::{Failure, Outcome};

/// How long anything may take that another core has to do: far longer than it does.
const PATIENCE_SECONDS: u64 = 15;

/// Another environment.
#[derive(Debug)]
pub(crate) struct Other {
    /// Its name.
    pub(crate) name: ObjectName,
    /// Its u-area, as this program sees it.
    uarea: *mut UArea,
    /// Its pad.
    pad: *mut Pad,
    /// The frames of both.
    pages: [PageNumber; 2],
    gone: bool,
}

/// What `dump` leaves.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Pad {
    /// x0..x30.
    pub(crate) x: [u64; 31],
    /// NZCV.
    pub(crate) flags: u64,
    /// TPIDR_EL0.
    pub(crate) thread: u64,
    /// TPIDRRO_EL0.
    pub(crate) uarea: u64,
    /// The vector registers.
    pub(crate) vectors: Vectors,
    /// How often it has dumped; other code counts its rounds here.
    pub(crate) count: u64,
    /// For the case and the code that it runs to agree about.
    pub(crate) word: u64,
}

/// Offset of [`Pad::count`], for code.
pub(crate) const COUNT: usize = offset_of!(Pad, count);
/// Offset of [`Pad::word`], for code.
pub(crate) const WORD: usize = offset_of!(Pad, word);

impl Other {
    /// Makes one, the `index`-th in the area, whose tables it uses, to begin at `code` with SP at its pad.
    pub(crate) fn new(_: &Area, index: u64, code: unsafe extern "C" fn()) -> Result<Self, Failure> {
        let [at, pad] = [2 * index, 2 * index + 1].map(Area::address);
        let pages = [memory::take_page()?, memory::take_page()?];
        // A page that was this program's before has whatever was left there.
        insert(place(at)?, pages[0], 1, RW).unless_stopped()?;
        insert(place(pad)?, pages[1], 1, RW).unless_stopped()?;
        for at in [at, pad] {
            // SAFETY: the page is mapped there, and nobody else's.
            unsafe { core::ptr::write_bytes(at as *mut u8, 0, PAGE_SIZE as usize) };
        }
        remove(place(at)?, 1).unless_stopped()?;
        let name = stubs::env_create(Object::Own, pages[0], place(at)?)?;
        let other = Self {
            name,
            uarea: at as *mut UArea,
            pad: pad as *mut Pad,
            pages,
            gone: false,
        };
        other.change(|uarea| {
            uarea.saved.pc = code as *const () as u64;
            uarea.saved.sp = pad;
        });
        Ok(other)
    }

    /// The frame of its u-area.
    pub(crate) fn page(&self) -> PageNumber {
        self.pages[0]
    }

    /// How calls name it.
    pub(crate) fn object(&self) -> Object<'static> {
        Object::Owned(self.name)
    }

    /// As a call's argument names it.
    pub(crate) fn argument(&self) -> u64 {
        let mut words = Arguments::new([0; 6]);
        self.object().encode(&mut words);
        words.words()[0]
    }

    /// Its u-area. It may change at any time if the environment runs.
    pub(crate) fn uarea(&self) -> UArea {
        // SAFETY: the page is mapped until `destroy`, and any bytes are a u-area.
        unsafe { self.uarea.read_volatile() }
    }

    /// Changes its u-area, while it is on no core.
    pub(crate) fn change(&self, change: impl FnOnce(&mut UArea)) {
        let mut uarea = self.uarea();
        change(&mut uarea);
        // SAFETY: as in `uarea`; writable.
        unsafe { self.uarea.write_volatile(uarea) };
    }

    /// Where its pad is: what SP begins with.
    pub(crate) fn pad_address(&self) -> u64 {
        self.pad as u64
    }

    /// Its pad.
    pub(crate) fn pad(&self) -> Pad {
        // SAFETY: the page is mapped, and any bytes are a pad.
        unsafe { self.pad.read_volatile() }
    }

    /// Changes its pad, while it is on no core.
    pub(crate) fn change_pad(&self, change: impl FnOnce(&mut Pad)) {
        let mut pad = self.pad();
        change(&mut pad);
        // SAFETY: as in `pad`; writable.
        unsafe { self.pad.write_volatile(pad) };
    }

    fn atomic(&self, offset: usize) -> &AtomicU64 {
        let at = self.pad.wrapping_byte_add(offset).cast::<AtomicU64>();
        // SAFETY: the page is mapped for as long as this is; the word is aligned.
        unsafe { &*at }
    }

    /// Its count, as it is now.
    pub(crate) fn count(&self) -> u64 {
        self.atomic(COUNT).load(Ordering::Acquire)
    }

    /// Its word, which it may look at while it runs.
    pub(crate) fn word(&self) -> &AtomicU64 {
        self.atomic(WORD)
    }

    /// Its record.
    pub(crate) fn record(&self) -> Result<EnvironmentRecord, Failure> {
        exposed::environment(self.name).ok_or_else(|| Failure::new("the environment is gone"))
    }

    /// What becomes of it.
    pub(crate) fn state(&self) -> EnvironmentState {
        exposed::life(self.name).state()
    }

    /// Lets it run on `core`.
    pub(crate) fn run(&self, core: u64) -> Outcome {
        Ok(Environment::from(self.name).run(core)?)
    }

    /// Waits until it is in `state`, giving this core away meanwhile. A state that ends its running is reached when
    /// it has left its core, too: until then its registers are on their way to its u-area.
    pub(crate) fn wait_for(&self, state: EnvironmentState) -> Outcome {
        let life = || exposed::life(self.name);
        wait(
            || {
                let life = life();
                let has_core = life.core().is_some();
                Ok(life.state() == state && has_core == (state == EnvironmentState::Running))
            },
            || format!("{:?} instead of {state:?}", life()),
        )
    }

    /// Waits until its count is `count` or more.
    pub(crate) fn wait_for_count(&self, count: u64) -> Outcome {
        wait(
            || Ok(self.count() >= count),
            || format!("{} of {count}, {:?}", self.count(), self.state()),
        )
    }

    /// Stops it, wherever it is.
    pub(crate) fn stop(&self) -> Outcome {
        wait(
            || match stop(self.object()) {
                Ok(()) => Ok(true),
                Err(Error::Busy) => Ok(false),
                Err(error) => Err(error.into()),
            },
            || "it does not stop".into(),
        )
    }

    /// Whether what it goes on with is a branch to itself. It must be on no core, and its PC in this program.
    pub(crate) fn turns(&self) -> bool {
        const BRANCH_TO_ITSELF: u32 = 0x1400_0000;
        // SAFETY: the caller knows that its code is this program's.
        let instruction = unsafe { (self.uarea().saved.pc as *const u32).read_volatile() };
        instruction == BRANCH_TO_ITSELF
    }

    /// Destroys it, wherever it is, and gives its page back.
    pub(crate) fn destroy(mut self) -> Outcome {
        self.end()
    }

    fn end(&mut self) -> Outcome {
        if core::mem::replace(&mut self.gone, true) {
            return Ok(());
        }
        Environment::Owned(self.name).destroy()?;
        remove(place(self.pad as u64)?, 1).unless_stopped()?;
        for page in self.pages {
            memory::give_page(page)?;
        }
        Ok(())
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Gives this core to `to`, or to whoever is next.
pub(crate) fn yield_to(to: Object<'_>) -> Result<(), Error> {
    // SAFETY: what others do meanwhile is what the case has told them to.
    unsafe { stubs::env_yield(to) }
}

/// Stops an environment.
pub(crate) fn stop(environment: Object<'_>) -> Result<(), Error> {
    // SAFETY: as above.
    unsafe { stubs::env_stop(environment) }
}

/// Writes part of an environment's u-area.
pub(crate) fn write_state(environment: Object<'_>, offset: usize, from: &[u8]) -> Progress {
    // SAFETY: nothing of the program depends on another environment's state.
    unsafe { stubs::env_write(environment, offset as u64, UserBytes::from(from)) }
}

/// Reads part of an environment's u-area.
pub(crate) fn read_state(environment: Object<'_>, offset: usize, into: &mut [u8]) -> Progress {
    stubs::env_read(environment, offset as u64, UserBytesMut::from(into))
}

/// How many turns a wait lets pass between two looks, in which it offers its core to others: an offer takes the kernel's
/// lock, for which whoever is waited for may be waiting, too. Where the emulator has fewer processors than the machine,
/// every core that asks for the lock without need costs the others the time that its host gives it.
const APART: u32 = 500;

/// Waits, giving this core away, until `done`; fails with what `state` says if that takes too long.
pub(crate) fn wait(
    mut done: impl FnMut() -> Result<bool, Failure>,
    state: impl FnOnce() -> alloc::string::String,
) -> Outcome {
    let begin = time::ticks();
    while !done()? {
        if time::microseconds(time::ticks() - begin) > PATIENCE_SECONDS * 1_000_000 {
            return Err(Failure::new(state()));
        }
        yield_to(Object::Own)?;
        for _ in 0..APART {
            time::relax();
        }
        // What takes long is looked for less often: each look takes the kernel's lock, and whoever is waited for needs it.
        let now = time::ticks();
        let pause = (now - begin) / 16;
        while time::ticks() - now < pause.min(time::ticks_per_second() / 500) {
            time::relax();
        }
    }
    Ok(())
}

/// A state with marks everywhere, to be recognised: x0..x30, flags and thread word by `seed`, to go on at
/// `code`.
pub(crate) fn mark(uarea: &mut UArea, seed: u64) {
    uarea.saved.x = marked_x(seed);
    uarea.saved.pstate = FLAGS;
    uarea.thread = seed << 32 | 0x7d;
    uarea.vectors = marked_vectors(seed);
}

/// The flags of a marked state: N and C.
pub(crate) const FLAGS: u64 = 0xa000_0000;

/// The registers of a marked state.
pub(crate) fn marked_x(seed: u64) -> [u64; 31] {
    core::array::from_fn(|n| (seed << 16 | 0x0100) + n as u64)
}

/// The vector registers of a marked state: FPCR rounds towards zero, FPSR has its cumulative bits set.
pub(crate) fn marked_vectors(seed: u64) -> Vectors {
    Vectors {
        v: core::array::from_fn(|n| {
            u128::from(seed) << 96 | 0xf << 64 | u128::from(seed) << 16 | n as u128
        }),
        fpcr: 0xc0_0000,
        fpsr: 0x1f,
    }
}

/// Where the state that an environment goes on with is in its u-area, for calls that read and write that.
pub(crate) const SAVED: usize = offset_of!(UArea, saved);
