//! Threads of the host that hand a baton to each other: one goes on at a time, as on one core.
#![expect(unsafe_code, reason = "contexts by pointers, as on the target")]

use std::boxed::Box;
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::vec::Vec;

use crate::runtime::{self, Runtime};

/// A place where one thread waits until it is its turn.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_one();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.opened.wait_while(open, |open| !*open);
        *open.unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// Where a thread goes on.
#[derive(Debug)]
pub(crate) struct Context(Option<Arc<Gate>>);

/// What a thread begins with, sent to the one of the host.
struct First {
    runtime: &'static Runtime,
    main: extern "C-unwind" fn(*mut ()) -> *mut Context,
    argument: *mut (),
}

// SAFETY: the argument is the new thread's own.
unsafe impl Send for First {}

/// What unwinds a thread that [`leave`]s: where it goes on.
struct Leave(*mut Context);

// SAFETY: contexts are the scheduler's, and used by who has the baton.
unsafe impl Send for Leave {}

impl Context {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    fn gate(&mut self) -> Arc<Gate> {
        self.0.get_or_insert_default().clone()
    }

    /// # Safety
    /// As on the target; of `top` nothing is used.
    pub(crate) unsafe fn prepare(
        &mut self,
        top: *mut u8,
        main: extern "C-unwind" fn(*mut ()) -> *mut Context,
        argument: *mut (),
    ) {
        let _ = top;
        let gate = Arc::new(Gate::default());
        self.0 = Some(gate.clone());
        let first = First {
            runtime: runtime::runtime(),
            main,
            argument,
        };
        std::thread::spawn(move || run(first, &gate));
    }
}

/// A thread of the host from begin to end.
fn run(first: First, gate: &Gate) {
    gate.pass();
    runtime::install(first.runtime);
    let main = std::panic::AssertUnwindSafe(|| (first.main)(first.argument));
    let next = match std::panic::catch_unwind(main) {
        Ok(next) => next,
        Err(payload) => match payload.downcast::<Leave>() {
            Ok(leave) => leave.0,
            // A test has failed here: it must not hang there.
            Err(_) => std::process::abort(),
        },
    };
    // SAFETY: the thread that ended has said where it goes on, and has the baton.
    unsafe { &mut *next }.gate().open();
}

/// # Safety
/// As on the target.
pub(crate) unsafe fn switch(from: *mut Context, to: *mut Context) {
    // SAFETY: the caller has the baton.
    let from = unsafe { &mut *from }.gate();
    // SAFETY: as above, and the first reference is gone.
    unsafe { &mut *to }.gate().open();
    from.pass();
}

/// # Safety
/// As on the target.
pub(crate) unsafe fn leave(to: *mut Context) -> ! {
    std::panic::resume_unwind(Box::new(Leave(to)))
}

std::thread_local! {
    /// Random choices are made here and now.
    static CHOOSING: Cell<bool> = const { Cell::new(false) };
}

/// The environments that tests have declared dead.
static DEAD: Mutex<Vec<u64>> = Mutex::new(Vec::new());

pub(crate) fn environment() -> u64 {
    exopi_rt::upcall::uarea() as u64
}

pub(crate) fn is_alive(environment: u64) -> bool {
    let dead = DEAD.lock().unwrap_or_else(PoisonError::into_inner);
    !dead.contains(&environment)
}

/// From now on an environment counts as gone.
#[cfg(test)]
pub(crate) fn declare_dead(environment: u64) {
    let mut dead = DEAD.lock().unwrap_or_else(PoisonError::into_inner);
    dead.push(environment);
}

pub(crate) fn in_upcall() -> bool {
    false
}

/// The runtime's own clock, which goes on by a tick with each look.
pub(crate) fn now() -> u64 {
    runtime::runtime().host.tick()
}

/// What tests set of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Ticks, and the state of the random numbers; 0 for none.
    state: Mutex<(u64, u64)>,
}

impl Host {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new((0, 0)),
        }
    }

    fn tick(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        state.0
    }

    /// The clock is at least there.
    #[cfg(test)]
    pub(crate) fn advance(&self, to: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.max(to);
    }

    /// Whether a thread is interrupted here (xorshift64*, Vigna 2016).
    fn choose(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut word = state.1;
        word ^= word >> 12;
        word ^= word << 25;
        word ^= word >> 27;
        state.1 = word;
        word.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 62 == 3
    }
}

/// From now on threads of the calling thread's runtime are interrupted at random.
#[cfg(test)]
pub(crate) fn set_chance(seed: u64) {
    let host = &runtime::runtime().host;
    host.state.lock().unwrap().1 = seed;
}

/// A place where a thread may be interrupted.
pub(crate) fn chance() {
    let here = runtime::current().is_some() && !CHOOSING.replace(true);
    if here {
        if runtime::runtime().host.choose() {
            runtime::yield_now();
        }
        CHOOSING.set(false);
    }
}
