//! Environments: who runs, where, and how others run, stop, read and mend them.
//!
//! An environment is a place to run in a space: a u-area, a state to go on with, an account to draw on. Those of
//! one space share everything else and are what other systems call threads; one in a space of its own is what
//! programs are made of. [`Builder`] makes both.

mod build;

pub use build::{Builder, Made, STACK_PAGES};

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use crate::capability::EnvironmentRights;
use crate::domain::{EnvironmentRecord, EnvironmentState, LifeWord, ObjectName};
use crate::handle::{Environment, Owns, Space};
use crate::uarea::{Frame, UArea};
use crate::{Error, PageNumber, VirtAddr, exposed, local, slice, stubs, wait};

impl Owns for EnvironmentRights {
    fn own() -> Option<ObjectName> {
        own()
    }
}

/// The calling environment's name. `None` only off target, where there is none.
///
/// Nobody tells an environment who it is. But it knows where its u-area is, its tables tell in which
/// frame, and one record names that frame: found once, the name is kept in the u-area's page.
pub fn own() -> Option<ObjectName> {
    let word = &local::own().name;
    match word.load(Ordering::Relaxed) {
        0 => {
            let name = find_own()?;
            word.store(name.word(), Ordering::Relaxed);
            Some(name)
        }
        word => Some(ObjectName::from_word(word)),
    }
}

#[cfg(target_os = "none")]
fn find_own() -> Option<ObjectName> {
    let uarea = crate::tables::mapping_of(local::uarea() as u64)?;
    exposed::environments()
        .find(|(_, record)| record.uarea == uarea.page.get())
        .map(|(name, _)| name)
}

#[cfg(not(target_os = "none"))]
fn find_own() -> Option<ObjectName> {
    None
}

/// The calling environment's record.
pub fn own_record() -> Option<EnvironmentRecord> {
    exposed::environment(own()?)
}

/// Gives the core to whoever is next, and comes back with the next turn; at once if nobody else could run.
pub fn yield_now() {
    wait::yield_core();
}

/// Ends the calling environment. Nothing of its stack is dropped; its pages are for others to give back.
#[expect(unsafe_code, reason = "the stack is left behind")]
pub fn leave() -> ! {
    loop {
        // SAFETY: nothing of this environment runs on. It is refused to nobody; if it were, there is
        // nothing to do but ask again.
        let _ = unsafe { stubs::env_destroy(crate::Object::Own) };
        crate::time::relax();
    }
}

impl Environment<'static> {
    /// Makes an environment in `space`, of which `uarea`, with what it holds, becomes the u-area, mapped at `at`
    /// where there are tables. It is stopped. [`Builder`] does all around it, too.
    ///
    /// # Errors
    /// Those of `env_create`.
    pub fn create(space: Space<'_>, uarea: PageNumber, at: VirtAddr) -> Result<Self, Error> {
        stubs::env_create(space.object(), uarea, at).map(Self::Owned)
    }
}

impl Environment<'_> {
    /// Its record, if it is there still.
    pub fn record(self) -> Option<EnvironmentRecord> {
        exposed::environment(self.name()?)
    }

    /// What becomes of it; [`EnvironmentState::Free`] if it is gone.
    pub fn state(self) -> EnvironmentState {
        self.life().state()
    }

    /// Its word, of which its state is a part; [`LifeWord::FREE`] if it is gone.
    pub fn life(self) -> LifeWord {
        self.name().map_or(LifeWord::FREE, exposed::life)
    }

    /// Lets it run on `core`, with the state in its u-area's `saved`: in a slice that it has there, or has elsewhere
    /// and that is moved, or in a new one that is charged to the account that the caller draws on.
    ///
    /// # Errors
    /// Those of `slice_alloc`, `slice_move` and `env_run`.
    pub fn run(self, core: u64) -> Result<(), Error> {
        slice::place(self, core)?;
        self.run_in_slices()
    }

    /// Lets it run in the slices that it has, with the state in its u-area's `saved`.
    ///
    /// # Errors
    /// Those of `env_run`.
    pub fn run_in_slices(self) -> Result<(), Error> {
        stubs::env_run(self.object())
    }

    /// Stops it, however long another core takes to let go of it. One's own goes on when somebody else lets it
    /// run.
    ///
    /// # Errors
    /// Those of `env_stop`.
    #[expect(unsafe_code, reason = "others may run, with any effect")]
    pub fn stop(self) -> Result<(), Error> {
        // SAFETY: what others of the same space do meanwhile they could do at any time.
        wait::while_busy(|| unsafe { stubs::env_stop(self.object()) })
    }

    /// Gives it the core at once, for the rest of the slice that runs.
    ///
    /// # Errors
    /// Those of `env_yield`.
    #[expect(unsafe_code, reason = "others run, with any effect")]
    pub fn yield_to(self) -> Result<(), Error> {
        // SAFETY: as for `stop`.
        unsafe { stubs::env_yield(self.object()) }
    }

    /// The caller becomes its keeper: notice `bit` tells of its suspension and death.
    ///
    /// # Errors
    /// Those of `env_keep`.
    pub fn keep(self, bit: u8) -> Result<(), Error> {
        stubs::env_keep(self.object(), bit.into())
    }

    /// Lets it be debugged, or not: bit 21 of `pstate` in a frame then means one step and a fault upcall.
    ///
    /// # Errors
    /// Those of `env_debug`.
    pub fn debug(self, on: bool) -> Result<(), Error> {
        wait::while_busy(|| stubs::env_debug(self.object(), on.into()))
    }

    /// Gives it the console, which the caller owns.
    ///
    /// # Errors
    /// Those of `console_give`.
    pub fn give_console(self) -> Result<(), Error> {
        stubs::console_give(self.object())
    }

    /// Reads its u-area's page from byte `offset` on. It must not run.
    ///
    /// # Errors
    /// Those of `env_read`.
    pub fn read(self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let from = offset + done as u64;
            let progress = stubs::env_read(self.object(), from, rest.into());
            done += step(progress.unless_stopped()?)?;
        }
        Ok(())
    }

    /// Writes its u-area's page from byte `offset` on. It must not run.
    ///
    /// # Errors
    /// Those of `env_write`.
    #[expect(unsafe_code, reason = "what it does when it runs is changed")]
    pub fn write(self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let to = offset + done as u64;
            // SAFETY: it is another environment's u-area, of which Rust code here has no reference: the
            // caller's own is one that runs, and is refused.
            let progress = unsafe { stubs::env_write(self.object(), to, rest.into()) };
            done += step(progress.unless_stopped()?)?;
        }
        Ok(())
    }

    /// The state that it goes on with. It must not run.
    ///
    /// # Errors
    /// Those of `env_read`.
    pub fn saved(self) -> Result<Frame, Error> {
        let mut bytes = [0; size_of::<Frame>()];
        self.read(offset_of!(UArea, saved) as u64, &mut bytes)?;
        Ok(frame_of(&bytes))
    }

    /// Sets the state that it goes on with. It must not run.
    ///
    /// # Errors
    /// Those of `env_write`.
    pub fn set_saved(self, frame: &Frame) -> Result<(), Error> {
        let mut bytes = [0; size_of::<Frame>()];
        for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words_of(frame)) {
            *to = word.to_le_bytes();
        }
        self.write(offset_of!(UArea, saved) as u64, &bytes)
    }

    /// Destroys it, however many calls that takes. With the last environment of a space goes the space. One's own
    /// does not return.
    ///
    /// # Errors
    /// Those of `env_destroy`; [`Error::Busy`] if another core never lets go of it.
    #[expect(unsafe_code, reason = "its u-area disappears")]
    pub fn destroy(self) -> Result<(), Error> {
        // SAFETY: nothing but the environment itself refers to its u-area.
        wait::until_gone(|| unsafe { stubs::env_destroy(self.object()) })
    }

    /// Waits until it is gone, giving the core to others meanwhile.
    pub fn wait(self) {
        while self.state() != EnvironmentState::Free {
            // Each time: it may be waiting for this core.
            wait::yield_core();
            crate::time::relax();
        }
    }
}

/// What a call did, which was asked for something: nothing would be asked for ever.
fn step(done: u64) -> Result<usize, Error> {
    match usize::try_from(done) {
        Ok(0) | Err(_) => Err(Error::OutOfRange),
        Ok(done) => Ok(done),
    }
}

/// The words of a frame, in their order.
fn words_of(frame: &Frame) -> impl Iterator<Item = u64> {
    let Frame {
        x,
        sp,
        pc,
        pstate,
        esr,
        far,
        held,
    } = *frame;
    x.into_iter().chain([sp, pc, pstate, esr, far, held])
}

/// The frame in its bytes.
fn frame_of(bytes: &[u8; size_of::<Frame>()]) -> Frame {
    let mut words = bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut next = || words.next().unwrap_or(0);
    Frame {
        x: core::array::from_fn(|_| next()),
        sp: next(),
        pc: next(),
        pstate: next(),
        esr: next(),
        far: next(),
        held: next(),
    }
}

#[cfg(test)]
mod tests;
