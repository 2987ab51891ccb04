//! The other cores: released from the firmware's spin table into WFI, and woken by messages.
//!
//! A message is a bit in the receiver's word and an inter-processor interrupt; sending one twice before
//! it is served is sending it once, so a queue never fills.
#![expect(unsafe_code, reason = "the spin table is raw memory")]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use exopi_bsp::boards::SPIN_TABLE;
use spin::RelaxStrategy;
use spin::mutex::TicketMutex;

use super::core_data::{Core, CoreNumber, count};
use super::{barrier, cache, mmu, pmu, switch, timer, vectors};
use crate::exposed::MAX_CORES;
use crate::{environment, interrupts};

/// What a core can be asked from another one.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Message {
    /// Say that you are there.
    Ping = 1,
    /// Stop for good: the machine is about to end.
    Stop = 2,
    /// Look after the environment that runs on you, or for one that waits.
    Attend = 4,
}

/// What a core shares with those that send to it.
struct Mailbox {
    online: AtomicBool,
    answered: AtomicBool,
    messages: AtomicU32,
}

static MAILBOXES: [Mailbox; MAX_CORES] = [const {
    Mailbox {
        online: AtomicBool::new(false),
        answered: AtomicBool::new(false),
        messages: AtomicU32::new(0),
    }
}; MAX_CORES];

unsafe extern "C" {
    static __start_secondary: u8;
}

/// What each core does for itself before anything else in Rust: all else counts on its record.
pub fn init_this_core() {
    Core::init();
    vectors::init();
    switch::init();
    timer::init();
    pmu::init();
}

/// Lets cores 1 to 3 go, waits until each is asleep in the kernel and answers a message, and returns how
/// many cores run, this one included. One that does not answer within `patience` ticks is left out.
pub fn start_others(patience: u64) -> usize {
    let entry = mmu::physical_of_image(&raw const __start_secondary as usize);
    let mut running = 1;
    for (release, core) in SPIN_TABLE.into_iter().zip(CoreNumber::all().skip(1)) {
        let place = mmu::linear(release);
        // SAFETY: page 0 is RAM, mapped, and holds the spin table: nobody else's until all cores are
        // out of it.
        unsafe { (place as *mut u64).write_volatile(entry) };
        // The core waits with its caches off.
        cache::clean_and_invalidate(place, size_of::<u64>());
        aarch64_cpu::asm::sev();
        let mailbox = &MAILBOXES[core.index()];
        let deadline = timer::now() + patience;
        if wait_for(&mailbox.online, deadline) {
            send(core, Message::Ping);
            running += usize::from(wait_for(&mailbox.answered, deadline));
        }
    }
    running
}

fn wait_for(flag: &AtomicBool, deadline: u64) -> bool {
    while !flag.load(Ordering::Acquire) {
        if timer::now() >= deadline {
            return false;
        }
        relax();
    }
    true
}

/// For the body of a loop that waits for another core. The emulator runs cores in turns when it counts
/// instructions, and goes on to the next at this hint.
#[inline(always)]
pub fn relax() {
    // SAFETY: a hint.
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// How a core waits for a lock.
#[derive(Debug)]
pub struct Relax;

impl RelaxStrategy for Relax {
    fn relax() {
        relax();
    }
}

/// What cores share: each waits for no more than those before it.
pub type Lock<T> = TicketMutex<T, Relax>;

/// Sends `message` to `core`.
pub fn send(core: CoreNumber, message: Message) {
    MAILBOXES[core.index()]
        .messages
        .fetch_or(message as u32, Ordering::Release);
    barrier::complete_system();
    interrupts::send_ipi(core);
}

/// Asks every other core to stop for good.
pub fn stop_others() {
    for core in CoreNumber::all() {
        let there = MAILBOXES[core.index()].online.load(Ordering::Acquire);
        if core != CoreNumber::current() && there {
            send(core, Message::Stop);
        }
    }
}

/// Serves what was sent to this core.
pub fn serve_messages() {
    count(&Core::counters().ipis);
    let mailbox = &MAILBOXES[CoreNumber::current().index()];
    let messages = mailbox.messages.swap(0, Ordering::AcqRel);
    if messages & Message::Ping as u32 != 0 {
        mailbox.answered.store(true, Ordering::Release);
    }
    if messages & Message::Attend as u32 != 0 {
        Core::ask_attention();
    }
    if messages & Message::Stop as u32 != 0 {
        sleep_for_good();
    }
}

/// Sleeps, masked, without ever looking at an interrupt again.
pub fn sleep_for_good() -> ! {
    loop {
        aarch64_cpu::asm::wfi();
    }
}

/// Where the other cores come from the boot code.
#[unsafe(no_mangle)]
extern "C" fn secondary_main() -> ! {
    init_this_core();
    mmu::leave_lower_half();
    let core = CoreNumber::current();
    interrupts::enable_here(core);
    MAILBOXES[core.index()]
        .online
        .store(true, Ordering::Release);
    environment::idle()
}

/// Sleeps until an interrupt is pending. It is masked, and served by the caller.
pub fn sleep() {
    barrier::complete_system();
    aarch64_cpu::asm::wfi();
}
