//! What the kernel keeps of each environment for the core that enters it: a table by index, reserved at boot.
//!
//! ```text
//!   CONTEXTS[index]  written under the kernel lock, when the environment is made
//!     life ----> its word: a core claims that before it reads anything else here
//!     name       who it is, as a PCT tells
//!     ttbr0      its space              |
//!     uarea      as the kernel sees it  |  what entering it puts into registers
//!     uarea_user as it sees it itself   |  and into the core's record
//!     pstate     what counts of a frame |
//!     owner, space                         what its calls are made with
//! ```
//!
//! The epoch in the word that was claimed says that the context is that of the environment that was meant: contexts
//! change only while their word is free, or by the core that has the environment, or under the lock by a word that
//! is read and written alone. So nothing here needs the lock to be read. Fields are atomics, for assembly and
//! for readers on other cores; all but `space` are at offsets that assembly may use.
//!
//! Links, with the gates, are [`exopi_domains`]' to understand. What they call a place is a context's address.
#![expect(unsafe_code, reason = "a cell that is written once, and read after")]

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use exopi_abi::PageNumber;
use exopi_abi::domain::{Life, MAX_ENVIRONMENTS, ObjectName};
use exopi_abi::page::Owner;
use exopi_abi::uarea::{UArea, UpcallClass};
use exopi_domains::{Domains, Links, Places, Subject};
use exopi_pages::Space;

use super::uarea::OwnUArea;
use super::{mmu, switch};

/// An environment, for the core that enters it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Context {
    /// Its word.
    life: AtomicPtr<Life>,
    /// Where the kernel sees its u-area.
    pub(super) uarea: AtomicPtr<UArea>,
    /// `TTBR0_EL1` while it runs.
    ttbr0: AtomicU64,
    /// Where it sees its u-area itself: `TPIDRRO_EL0`.
    pub(super) uarea_user: AtomicU64,
    /// The [`ObjectName::word`] of the environment.
    name: AtomicU64,
    /// Which bits of the processor state count in its frames.
    pub(super) pstate_mask: AtomicU64,
    /// The account that it draws on.
    owner: AtomicU64,
    space: Once<Space>,
    /// What it has to do with others by control transfer.
    links: Links,
}

/// Offsets into [`Context`] for assembly.
pub mod offset {
    use core::mem::offset_of;

    use exopi_domains::Links;

    use super::Context;

    /// The two are loaded as a pair.
    pub const LIFE_AND_UAREA: usize = offset_of!(Context, life);
    const _: () = assert!(offset_of!(Context, uarea) == LIFE_AND_UAREA + 8);
    /// The two are loaded as a pair.
    pub const TTBR0_AND_UAREA_USER: usize = offset_of!(Context, ttbr0);
    const _: () = assert!(offset_of!(Context, uarea_user) == TTBR0_AND_UAREA_USER + 8);
    pub const UAREA_USER: usize = offset_of!(Context, uarea_user);
    pub const NAME: usize = offset_of!(Context, name);
    pub const PSTATE: usize = offset_of!(Context, pstate_mask);
    /// The two are loaded as a pair.
    pub const CALLER_AND_REST: usize = offset_of!(Context, links) + offset_of!(Links, caller);
    const _: () = assert!(offset_of!(Links, rest) == offset_of!(Links, caller) + 8);
    /// The two are loaded as a pair.
    pub const CALLER_PC_AND_SP: usize = offset_of!(Context, links) + offset_of!(Links, caller_pc);
    const _: () = assert!(offset_of!(Links, caller_sp) == offset_of!(Links, caller_pc) + 8);
    pub const CALLEE: usize = offset_of!(Context, links) + offset_of!(Links, callee);
    pub const HOMES: usize = offset_of!(Context, links) + offset_of!(Links, homes);
    pub const GATES: usize = offset_of!(Context, links) + offset_of!(Links, gates);
}

/// What is written while nobody reads it.
#[derive(Debug)]
struct Once<T>(UnsafeCell<Option<T>>);

// SAFETY: it is written by `fill` alone, before the word of its environment says that there is one.
unsafe impl<T: Copy + Send> Sync for Once<T> {}

static CONTEXTS: [Context; MAX_ENVIRONMENTS] = [const { Context::blank() }; MAX_ENVIRONMENTS];

/// What a core has that nobody runs on: it is in no space.
pub static NOBODY: Context = Context::blank();

/// The same, as cores keep whom they run.
pub const fn nobody() -> *mut Context {
    (&raw const NOBODY).cast_mut()
}

/// The address of the first context; the others follow it.
pub fn table() -> u64 {
    CONTEXTS.as_ptr() as u64
}

/// The links in the contexts, whose places are the contexts' addresses.
#[derive(Debug)]
pub struct InContexts;

impl Places for InContexts {
    fn links(&self, index: u16) -> Option<&Links> {
        of(index).map(|context| &context.links)
    }

    fn place(&self, index: u16) -> u64 {
        table() + u64::from(index) * size_of::<Context>() as u64
    }

    fn index(&self, place: u64) -> Option<u16> {
        let offset = place.checked_sub(table())?;
        let index = offset / size_of::<Context>() as u64;
        let exact = offset.is_multiple_of(size_of::<Context>() as u64);
        let index = u16::try_from(index).ok().filter(|_| exact)?;
        of(index).map(|_| index)
    }
}

/// The context of the environment at `index`, if there can be one.
#[inline(always)]
pub fn of(index: u16) -> Option<&'static Context> {
    CONTEXTS.get(usize::from(index))
}

/// Fills in the context of the environment at `index`, which was made in this hold of the lock and is stopped.
pub fn fill(kernel: &Domains<'static>, index: u16) {
    let (Some(context), Some(record)) = (of(index), kernel.environment(index)) else {
        return;
    };
    let (Some(subject), Some(life)) = (kernel.subject(index, 0), kernel.words().get(index)) else {
        return;
    };
    let uarea = mmu::linear_page(PageNumber::new(record.uarea)) as *mut UArea;
    let ttbr0 = subject.space.ttbr0();
    context
        .life
        .store(core::ptr::from_ref(life).cast_mut(), Ordering::Relaxed);
    context.name.store(subject.name.word(), Ordering::Relaxed);
    context.ttbr0.store(ttbr0, Ordering::Relaxed);
    context.uarea.store(uarea, Ordering::Relaxed);
    context.uarea_user.store(record.uarea_at, Ordering::Relaxed);
    // SAFETY: the environment is stopped and was made under the lock that the caller still has: no core reads
    // the context, since it could not claim the word.
    unsafe { *context.space.0.get() = Some(subject.space) };
    context.renew(kernel);
}

impl Context {
    const fn blank() -> Self {
        Self {
            life: AtomicPtr::new(null_mut()),
            uarea: AtomicPtr::new(null_mut()),
            ttbr0: AtomicU64::new(0),
            uarea_user: AtomicU64::new(0),
            name: AtomicU64::new(0),
            pstate_mask: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            space: Once(UnsafeCell::new(None)),
            links: Links::blank(),
        }
    }

    /// Takes note of what can change of an environment: the account that it draws on, and whether it is
    /// debugged. Under the lock.
    pub fn renew(&self, kernel: &Domains<'static>) {
        let index = self.name().index;
        if let Some(record) = kernel.environment(index) {
            let mask = switch::pstate_mask(record.debugged != 0);
            self.pstate_mask.store(mask, Ordering::Relaxed);
            self.owner.store(record.bound.word(), Ordering::Relaxed);
        }
    }

    /// What changes of it as it runs.
    pub fn life(&self) -> Option<&'static Life> {
        // SAFETY: null, or one of the lives that are shown to everybody, which are there for ever: see `fill`.
        unsafe { self.life.load(Ordering::Relaxed).as_ref() }
    }

    /// Where its upcalls of `class` enter: first instruction, 0 for none, and stack pointer. For the core that
    /// has claimed it.
    pub fn entry(&self, class: UpcallClass) -> [u64; 2] {
        let place = self.uarea.load(Ordering::Relaxed);
        // SAFETY: who is claimed is there, and its u-area with it.
        unsafe { OwnUArea::new(place) }.entry(class)
    }

    /// Who it is.
    #[inline(always)]
    pub fn name(&self) -> ObjectName {
        ObjectName::from_word(self.name.load(Ordering::Relaxed))
    }

    /// The account that it draws on.
    #[inline(always)]
    pub fn owner(&self) -> Owner {
        Owner::from_word(self.owner.load(Ordering::Relaxed))
    }

    /// The environment as one that runs on `core`, for the core that has claimed it.
    #[inline(always)]
    pub fn subject(&self, core: u8) -> Option<Subject> {
        Some(Subject {
            name: self.name(),
            owner: self.owner(),
            space: self.space()?,
            core,
        })
    }

    /// The space that it is in, for the core that has claimed it.
    #[inline(always)]
    pub fn space(&self) -> Option<Space> {
        // SAFETY: `fill` was done before the word could be claimed, and is not done again before it is free.
        unsafe { *self.space.0.get() }
    }
}
