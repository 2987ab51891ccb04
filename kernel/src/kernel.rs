//! The kernel's state, behind its one lock.
//!
//! Calls decode their arguments and copy from user memory first, then take the lock: the guard *is* the
//! right to change anything that is shared. The lock is fair, so no core waits for more than the others
//! before it; how long it was ever held is exposed.

use core::ops::{Deref, DerefMut};

use exopi_pages::Pages;
use spin::RelaxStrategy;
use spin::mutex::TicketMutex;
use spin::mutex::ticket::TicketMutexGuard;

use crate::arch::{smp, timer};
use crate::environment::Environment;
use crate::exposed;

/// All that cores share and change.
#[derive(Debug)]
pub struct Kernel {
    /// Frames: what they are and whose.
    pub pages: Pages<'static>,
    /// The first environment, once it is made; there are no others yet.
    pub first: Option<Environment>,
}

/// How a core waits for the lock.
struct Relax;

impl RelaxStrategy for Relax {
    fn relax() {
        smp::relax();
    }
}

static KERNEL: TicketMutex<Kernel, Relax> = TicketMutex::new(Kernel {
    pages: Pages::none(),
    first: None,
});

/// Puts in what boot has made.
pub fn init(pages: Pages<'static>, first: Environment) {
    *KERNEL.lock() = Kernel {
        pages,
        first: Some(first),
    };
}

/// The kernel's state, for as long as this lives.
#[derive(Debug)]
pub struct Guard {
    kernel: TicketMutexGuard<'static, Kernel, Relax>,
    since: u64,
}

/// Waits for the lock.
#[inline(always)]
pub fn lock() -> Guard {
    let kernel = KERNEL.lock();
    Guard {
        kernel,
        since: timer::now(),
    }
}

impl Deref for Guard {
    type Target = Kernel;

    #[inline(always)]
    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl DerefMut for Guard {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }
}

impl Drop for Guard {
    #[inline(always)]
    fn drop(&mut self) {
        exposed::note_hold(timer::now() - self.since);
    }
}
