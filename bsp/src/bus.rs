//! Device registers, generic over the bus that reaches them.
//!
//! A driver holds a [`Bus`] and names its registers as [`Register`]s: an offset, an access, and the
//! fields that `tock_registers::register_bitfields!` describes. On target the bus is [`Mmio`], where an
//! access is one volatile load or store; in host tests it is a model with the device's side effects.
//! All of tock's field methods (`read`, `is_set`, `write`, `modify`, ...) work on either.

use core::marker::PhantomData;

use tock_registers::RegisterLongName;
use tock_registers::interfaces::{Readable, Writeable};

/// A window of 32-bit device registers, addressed by byte offset.
///
/// Accesses reach the device in program order, each exactly once: neither an implementation nor a
/// caller may merge, repeat or drop one, since devices act on reads as well as on writes.
pub trait Bus {
    /// Reads the register at `offset` bytes into the window. `offset` is a multiple of 4.
    fn read32(&self, offset: usize) -> u32;
    /// Writes the register at `offset` bytes into the window. `offset` is a multiple of 4.
    fn write32(&self, offset: usize, value: u32);
}

impl<B: Bus + ?Sized> Bus for &B {
    #[inline(always)]
    fn read32(&self, offset: usize) -> u32 {
        (**self).read32(offset)
    }

    #[inline(always)]
    fn write32(&self, offset: usize, value: u32) {
        (**self).write32(offset, value);
    }
}

/// Marks a register that may be read.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {}
/// Marks a register that may be written.
#[derive(Clone, Copy, Debug)]
pub enum WriteOnly {}
/// Marks a register that may be read and written.
#[derive(Clone, Copy, Debug)]
pub enum ReadWrite {}

/// An access that includes reading.
pub trait CanRead {}
impl CanRead for ReadOnly {}
impl CanRead for ReadWrite {}

/// An access that includes writing.
pub trait CanWrite {}
impl CanWrite for WriteOnly {}
impl CanWrite for ReadWrite {}

/// Name of a register: where it lies, what may be done with it (`A`) and which fields it has (`R`).
///
/// Drivers declare these as constants, one for each row of the manual's register table.
#[derive(Debug)]
pub struct RegisterAt<A, R: RegisterLongName = ()> {
    offset: usize,
    marks: PhantomData<(A, R)>,
}

impl<A, R: RegisterLongName> RegisterAt<A, R> {
    /// Names the register at `offset` bytes into its device's window.
    ///
    /// # Panics
    /// At compile time, for an offset that is not a multiple of 4.
    pub const fn new(offset: usize) -> Self {
        assert!(offset.is_multiple_of(4), "registers are 32 bits wide");
        Self {
            offset,
            marks: PhantomData,
        }
    }

    /// The register on a particular bus, ready for tock's field methods.
    #[inline(always)]
    pub const fn on<'b, B: Bus>(&self, bus: &'b B) -> Register<'b, B, A, R> {
        Register {
            bus,
            offset: self.offset,
            marks: PhantomData,
        }
    }

    /// Byte offset into the window, for models.
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

/// A register on a bus: what [`RegisterAt::on`] gives.
#[derive(Debug)]
pub struct Register<'b, B: Bus, A, R: RegisterLongName = ()> {
    bus: &'b B,
    offset: usize,
    marks: PhantomData<(A, R)>,
}

impl<B: Bus, A: CanRead, R: RegisterLongName> Readable for Register<'_, B, A, R> {
    type T = u32;
    type R = R;

    #[inline(always)]
    fn get(&self) -> u32 {
        self.bus.read32(self.offset)
    }
}

impl<B: Bus, A: CanWrite, R: RegisterLongName> Writeable for Register<'_, B, A, R> {
    type T = u32;
    type R = R;

    #[inline(always)]
    fn set(&self, value: u32) {
        self.bus.write32(self.offset, value);
    }
}

pub use mmio::Mmio;

#[expect(unsafe_code, reason = "the one place where device memory is touched")]
mod mmio {
    use super::Bus;

    /// Device memory that is mapped into the address space.
    ///
    /// The processor keeps accesses to one block in order, but the chip's bus may answer different
    /// blocks out of order, and asks for a read barrier after the last read of a block and a write
    /// barrier before the first write to one (BCM2835 ARM Peripherals, section 1.3). Which access is
    /// first or last is not known here, so each has its barrier, which costs little beside the access.
    /// It also puts what was written to ordinary memory before the write that tells a device or a core
    /// of it.
    #[derive(Debug)]
    pub struct Mmio {
        base: usize,
    }

    // A window's address says nothing about a thread; drivers are guarded by their owners.
    impl Mmio {
        /// The window of device registers at virtual address `base`.
        ///
        /// # Safety
        /// `base` is 4-byte aligned and, from the first access until the machine stops, mapped as
        /// Device memory over every offset that the driver using this window names. The device is
        /// driven through this value alone.
        pub const unsafe fn new(base: usize) -> Self {
            Self { base }
        }
    }

    impl Bus for Mmio {
        #[inline(always)]
        fn read32(&self, offset: usize) -> u32 {
            super::count_access();
            // SAFETY: `new`'s caller vouches for the mapping; `RegisterAt` for the alignment.
            let value = unsafe { ((self.base + offset) as *const u32).read_volatile() };
            read_barrier();
            value
        }

        #[inline(always)]
        fn write32(&self, offset: usize, value: u32) {
            super::count_access();
            write_barrier();
            // SAFETY: `new`'s caller vouches for the mapping; `RegisterAt` for the alignment.
            unsafe { ((self.base + offset) as *mut u32).write_volatile(value) }
        }
    }

    /// What was read before is here before anything after it happens.
    #[inline(always)]
    fn read_barrier() {
        // SAFETY: orders memory accesses and does nothing else.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!("dmb oshld", options(nostack, preserves_flags));
        }
    }

    /// What was written before is seen before what is written after.
    #[inline(always)]
    fn write_barrier() {
        // SAFETY: orders memory accesses and does nothing else.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!("dmb oshst", options(nostack, preserves_flags));
        }
    }
}

/// Device register accesses since boot, for the event columns of `make bench`.
#[cfg(feature = "count")]
pub static ACCESSES: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

#[inline(always)]
fn count_access() {
    #[cfg(feature = "count")]
    ACCESSES.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
}

/// Memory shared with a device that is not coherent with the processor's caches.
///
/// The driver fills it, hands it over, waits for the device, takes it back and reads.
pub trait DmaBuffer {
    /// Size in 32-bit words.
    fn len(&self) -> usize;
    /// Whether it has no words.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads word `index`; 0 beyond the end.
    fn read(&self, index: usize) -> u32;
    /// Writes word `index`; nothing beyond the end.
    fn write(&mut self, index: usize, value: u32);
    /// Where the device sees word 0: 16-byte aligned.
    fn bus_address(&self) -> u32;
    /// Makes what was written visible to the device (cleans the cache lines to the point of coherency),
    /// and ends only when it is: the driver's next register write may set the device going (DSB).
    fn hand_over(&mut self);
    /// Makes what the device wrote visible here (invalidates the cache lines). Reads after it come
    /// after the register read that told of the answer (DSB).
    fn take_back(&mut self);
}
