//! Threads: begun on a stack of their own, joined, named, and ended.
//!
//! ```text
//!   low                                                 high
//!    | guard |  stack, grows down ...   | result | function | guard |
//! ```
//!
//! What a thread runs and what it returns are at the upper end of its stack, so that a thread needs no
//! heap. The stack lives until somebody has joined the thread, or until it has ended if nobody will.
#![expect(unsafe_code, reason = "values on another thread's stack")]

use core::marker::PhantomData;
use core::sync::atomic::AtomicU64;

use crate::arch::{self, Context};
use crate::error::Error;
use crate::policy::Share;
use crate::runtime::{self, Inside};
use crate::stack::{STACK_PAGES, Stack};
use crate::table::{Ended, Outcome, State, ThreadId, ThreadIndex, Wait, Watch};

/// A thread to be made.
#[derive(Debug)]
#[must_use = "nothing is made before `spawn`"]
pub struct Builder {
    name: &'static str,
    share: Share,
    pages: u64,
    stack: Option<Stack>,
}

impl Builder {
    /// A thread without a name, with an equal share and a guarded stack of [`STACK_PAGES`].
    pub const fn new() -> Self {
        Self {
            name: "",
            share: Share::Equal,
            pages: STACK_PAGES,
            stack: None,
        }
    }

    /// With a name, for people.
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// With a share of the processor.
    pub const fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// With a guarded stack of so many pages.
    pub const fn stack_pages(mut self, pages: u64) -> Self {
        self.pages = pages;
        self
    }

    /// On this stack.
    pub fn stack(mut self, stack: Stack) -> Self {
        self.stack = Some(stack);
        self
    }

    /// Makes it. It is ready at once.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Full`], [`Error::Policy`], [`Error::Memory`], [`Error::NoRoom`].
    pub fn spawn<T, F>(self, work: F) -> Result<JoinHandle<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        reap();
        let mut stack = match self.stack {
            Some(stack) => stack,
            None => Stack::guarded(self.pages)?,
        };
        let packet = stack.place(Packet {
            result: None,
            work: Some(work),
            id: None,
        })?;
        let mut stack = Some(stack);
        let mut inside = runtime::enter().ok_or(Error::NotRunning)?;
        let begun = begin(&mut inside, self.name, self.share, packet, &mut stack);
        drop(inside);
        let id = begun.inspect_err(|_| {
            // SAFETY: no thread has it.
            drop(unsafe { core::ptr::read(packet).work });
        })?;
        Ok(JoinHandle {
            id,
            result: packet.cast(),
            held: PhantomData,
        })
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// What is at the upper end of a stack. The result comes first, where a handle that does not know the
/// function finds it.
#[repr(C)]
struct Packet<T, F> {
    result: Option<T>,
    work: Option<F>,
    id: Option<ThreadId>,
}

/// Enters a thread in the table and makes it ready. The stack stays with the caller on a refusal.
fn begin<T, F: FnOnce() -> T>(
    inside: &mut Inside,
    name: &'static str,
    share: Share,
    packet: *mut Packet<T, F>,
    stack: &mut Option<Stack>,
) -> Result<ThreadId, Error> {
    let now = arch::now();
    let begun = inside.with(|it| -> Result<ThreadId, Error> {
        let id = it.table.admit(name, share, now)?;
        // SAFETY: it was placed on the stack, which is in hand.
        unsafe { (*packet).id = Some(id) };
        let seat = it.seat(id.index()).ok_or(Error::Full)?;
        // SAFETY: the packet ends the stack, at a multiple of 16, and below it is the thread's own.
        unsafe {
            seat.context
                .prepare(packet.cast(), run::<T, F>, packet.cast())
        };
        seat.reserved = stack
            .as_ref()
            .map_or(0, |it| it.range().end - packet as u64);
        seat.stack = stack.take();
        it.table.start(id.index(), now);
        Ok(id)
    });
    begun.unwrap_or(Err(Error::NotRunning))
}

/// The first code of a thread: what it was made for, and its end.
extern "C-unwind" fn run<T, F: FnOnce() -> T>(packet: *mut ()) -> *mut Context {
    let packet = packet.cast::<Packet<T, F>>();
    // SAFETY: only the thread itself uses it until it has ended.
    let begun = unsafe { &mut *packet };
    if let Some(id) = begun.id {
        runtime::begin(id);
    }
    begun.result = begun.work.take().map(|work| work());
    finish(|| {
        // SAFETY: nobody joins the thread, so it is its own for good.
        drop(unsafe { (*packet).result.take() });
    })
}

/// Ends the calling thread. If nobody joins it, `forget` drops what it returned, which may do anything, so
/// that it comes before the end.
fn finish(mut forget: impl FnMut()) -> *mut Context {
    let mut forgotten = false;
    loop {
        let Some((me, mut inside)) = runtime::current().zip(runtime::enter()) else {
            return core::ptr::null_mut();
        };
        let detached =
            inside.with(|it| it.table.slot(me.index()).is_some_and(|slot| slot.detached));
        if detached != Some(true) || forgotten {
            return runtime::end(inside, Ended::Returned);
        }
        drop(inside);
        forget();
        forgotten = true;
    }
}

/// Frees what ended threads have left that nobody joins.
pub(crate) fn reap() {
    loop {
        let Some(mut inside) = runtime::enter() else {
            return;
        };
        let left = inside.with(|it| {
            let thread = it.table.unclaimed()?;
            it.table.free(thread);
            Some(it.seat(thread)?.stack.take())
        });
        // Outside, for the address space has a lock of its own.
        drop(inside);
        match left.flatten() {
            Some(stack) => drop(stack),
            None => return,
        }
    }
}

/// A thread that can be joined. Dropped, it lets the thread go its way.
#[derive(Debug)]
#[must_use = "dropping it lets the thread go its way; `detach` says so"]
pub struct JoinHandle<T> {
    id: ThreadId,
    result: *mut Option<T>,
    held: PhantomData<T>,
}

// SAFETY: it is the right to what another thread leaves, which may be sent.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared one tells the thread's name only.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// The thread's name.
    pub const fn id(&self) -> ThreadId {
        self.id
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        let alive =
            runtime::enter().and_then(|mut inside| inside.with(|it| it.table.is_alive(self.id)));
        alive != Some(true)
    }

    /// Waits for the thread's end and gives its stack back.
    ///
    /// # Errors
    /// How it ended, if its function did not return.
    ///
    /// # Panics
    /// If the thread joins itself.
    pub fn join(self) -> Result<T, Ended> {
        let (outcome, stack) = self.join_with_stack();
        drop(stack);
        outcome
    }

    /// The same, with the stack for the next one.
    ///
    /// # Panics
    /// If the thread joins itself.
    pub fn join_with_stack(mut self) -> (Result<T, Ended>, Option<Stack>) {
        assert_ne!(
            runtime::current(),
            Some(self.id),
            "a thread that joins itself"
        );
        while !self.is_finished() {
            let wait = Wait {
                key: self.id.end_key(),
                ..Wait::NONE
            };
            runtime::park_in(|table| (wait, table.is_some_and(|table| table.is_alive(self.id))));
        }
        let left = self.collect();
        core::mem::forget(self);
        let (result, ended, stack) = left.unwrap_or((None, Ended::Lost, None));
        (result.ok_or(ended), stack)
    }

    /// What an ended thread has left: its result, how it ended, its stack. Its slot is free then. `None` if it
    /// has not ended, or its scheduler has.
    fn collect(&mut self) -> Option<(Option<T>, Ended, Option<Stack>)> {
        let mut inside = runtime::enter()?;
        inside.with(|it| {
            let slot = it.table.named(self.id)?;
            let ended = (slot.state == State::Ended).then_some(slot.ended)?;
            // SAFETY: the thread has ended, its stack is there as long as its slot, and only this handle
            // knows of it.
            let result = unsafe { (*self.result).take() };
            it.table.free(self.id.index());
            let stack = it.seat(self.id.index())?.stack.take();
            Some((result, ended, stack))
        })?
    }

    /// Lets the thread go its way: what it returns is dropped, its stack is given back when it has ended.
    pub fn detach(self) {
        drop(self);
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let detached = runtime::enter()
            .is_some_and(|mut inside| inside.with(|it| it.table.detach(self.id)) == Some(true));
        if !detached {
            // It has ended. What it has left is dropped outside the lock.
            drop(self.collect());
        }
    }
}

/// Makes a thread that runs `work`: [`Builder::spawn`] with nothing said.
///
/// # Errors
/// Those of [`Builder::spawn`].
pub fn spawn<T, F>(work: F) -> Result<JoinHandle<T>, Error>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(work)
}

/// Lets others run that are ready; who is no thread gives its environment's core away.
pub fn yield_now() {
    runtime::yield_now();
}

/// The calling thread's name; `None` for an environment that runs none.
pub fn current() -> Option<ThreadId> {
    runtime::current()
}

/// What a thread is called, if it is there still.
pub fn name_of(id: ThreadId) -> Option<&'static str> {
    let mut inside = runtime::enter()?;
    inside.with(|it| it.table.named(id).map(|slot| slot.name))?
}

/// Ticks of processor time that a thread has had until it was last charged.
pub fn ticks_of(id: ThreadId) -> Option<u64> {
    let mut inside = runtime::enter()?;
    inside.with(|it| it.table.named(id).map(|slot| slot.used))?
}

/// All threads that have not ended, with what they are called: into `into`, as many as there is room for.
/// Returns how many there are.
pub fn list(into: &mut [Option<(ThreadId, &'static str)>]) -> usize {
    let mut count = 0;
    let Some(mut inside) = runtime::enter() else {
        return 0;
    };
    inside.with(|it| {
        let mut index = 0;
        while let Some((thread, slot)) =
            ThreadIndex::new(index).and_then(|thread| Some((thread, it.table.slot(thread)?)))
        {
            index += 1;
            if matches!(slot.state, State::Free | State::Ended) {
                continue;
            }
            if let Some(place) = into.get_mut(count) {
                *place = it.table.id(thread).map(|id| (id, slot.name));
            }
            count += 1;
        }
    });
    count
}

/// Waits until the clock shows `tick`.
pub fn sleep_until(tick: u64) {
    let wait = Wait {
        deadline: Some(tick),
        ..Wait::NONE
    };
    while runtime::park(wait, || true) != Outcome::TimedOut {}
}

/// Waits for so many ticks of the counter.
pub fn sleep(ticks: u64) {
    sleep_until(arch::now().saturating_add(ticks));
}

/// Waits while a word holds a value, and until the clock shows `deadline` if there is one. For words that
/// others write who wake nobody: programs, devices, the kernel. It is looked at when a slice begins and
/// before the environment sleeps, which it then does until the word changes.
///
/// # Errors
/// [`Error::TimedOut`].
pub fn wait_while(
    word: &'static AtomicU64,
    holds: u64,
    deadline: Option<u64>,
) -> Result<(), Error> {
    let watch = Watch { word, holds };
    let wait = Wait {
        deadline,
        watch: Some(watch),
        ..Wait::NONE
    };
    while !watch.has_changed() {
        if runtime::park(wait, || !watch.has_changed()) == Outcome::TimedOut {
            return Err(Error::TimedOut);
        }
    }
    Ok(())
}

/// Ends the calling thread, here and now. Who joins it is told [`Ended::Exited`]; what it holds is handed on
/// as of one that died.
///
/// # Safety
/// Nothing on the thread's stack is dropped, and the stack goes. So nothing of it may be pinned, or lent to
/// others.
///
/// # Panics
/// If the caller is no thread.
pub unsafe fn exit() -> ! {
    // SAFETY: the caller answers for the stack.
    unsafe { exit_as(Ended::Exited) }
}

/// # Safety
/// As for [`exit`].
pub(crate) unsafe fn exit_as(ended: Ended) -> ! {
    assert!(runtime::current().is_some(), "no thread");
    let inside = runtime::enter().expect("a thread has a table");
    let next = runtime::end(inside, ended);
    // SAFETY: it was picked; the caller answers for the stack.
    unsafe { arch::leave(next) }
}

/// The calling thread's pointer for itself (`TPIDR_EL0`), 0 at its begin. It goes with the thread. Rust keeps
/// nothing there.
#[cfg(target_os = "none")]
pub fn pointer() -> u64 {
    arch::thread_pointer()
}

/// Sets the calling thread's pointer for itself.
#[cfg(target_os = "none")]
pub fn set_pointer(word: u64) {
    arch::set_thread_pointer(word);
}
