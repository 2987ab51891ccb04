//! Interrupts: asked of the controller, acknowledged, handed to whom they are for.
//!
//! They are taken at EL0 and in idle alone. Handlers are short, take no lock but their device's own,
//! and leave decisions to later.

use core::sync::atomic::{AtomicBool, Ordering};

use exopi_abi::exposed::Event;
use exopi_bsp::boards::Interrupts;
use exopi_bsp::traits::{InterruptController, Source};

use crate::arch::core_data::{Core, CoreNumber, count, count_event};
use crate::arch::smp::{self, Lock, Message};
use crate::arch::timer;
use crate::{card, console, kernel, network};

static CONTROLLER: Lock<Option<Interrupts>> = Lock::new(None);

static TIMER_SEEN: AtomicBool = AtomicBool::new(false);

/// Whether a timer has interrupted since boot: the boot's check that it does.
pub fn timer_seen() -> bool {
    TIMER_SEEN.load(Ordering::Relaxed)
}

/// Most interrupts that are served before the core goes back to what it did. What is left interrupts
/// again at once; the bound keeps a stuck line from keeping the core for ever.
const MOST_AT_ONCE: usize = 16;

/// Takes the controller over, and turns on what the kernel serves.
pub fn init(mut controller: Interrupts) {
    controller.init();
    let here = CoreNumber::current().index();
    controller.set_enabled(here, Source::Timer, true);
    controller.set_enabled(here, Source::Ipi, true);
    controller.set_enabled(here, console::INTERRUPT, true);
    *CONTROLLER.lock() = Some(controller);
}

/// Lets `core` be interrupted by others and by its timer.
pub fn enable_here(core: CoreNumber) {
    if let Some(controller) = CONTROLLER.lock().as_mut() {
        controller.set_enabled(core.index(), Source::Ipi, true);
        controller.set_enabled(core.index(), Source::Timer, true);
    }
}

/// Turns on an interrupt of a device that was set up later than the controller.
pub fn enable(source: Source) {
    if let Some(controller) = CONTROLLER.lock().as_mut() {
        controller.set_enabled(CoreNumber::current().index(), source, true);
    }
}

/// Interrupts `core`.
pub fn send_ipi(core: CoreNumber) {
    if let Some(controller) = CONTROLLER.lock().as_mut() {
        controller.send_ipi(core.index());
    }
}

/// Interrupts the cores of a set, bit n for core n, to look after who runs on them or waits for them. This core
/// may be among them: it does so as soon as it is at EL0 or idle.
pub fn reschedule(cores: u8) {
    for core in CoreNumber::all().filter(|core| cores >> core.index() & 1 != 0) {
        smp::send(core, Message::Attend);
    }
}

/// Serves what is pending on this core.
pub fn serve() {
    let here = CoreNumber::current().index();
    for _ in 0..MOST_AT_ONCE {
        let pending = CONTROLLER.lock().as_mut().and_then(|controller| {
            let source = controller.next_pending(here);
            if source == Some(Source::Ipi) {
                controller.acknowledge_ipi(here);
            }
            source
        });
        let Some(source) = pending else {
            return;
        };
        count(&Core::counters().interrupts);
        match source {
            Source::Ipi => smp::serve_messages(),
            Source::Timer => {
                timer::cancel();
                // Something is due, or whoever runs here is at the end of its turn, or soon will be.
                Core::ask_attention();
                TIMER_SEEN.store(true, Ordering::Relaxed);
            }
            source if source == console::INTERRUPT => kernel::masked(console::serve),
            source if source == card::INTERRUPT => kernel::masked(card::serve),
            source if source == network::INTERRUPT => {
                #[cfg(feature = "selftest")]
                crate::boot::network::serve();
                kernel::masked(network::serve);
            }
            // Nothing else was turned on.
            Source::Peripheral(_) => {}
        }
    }
}

/// Called by the vectors for an interrupt from EL0, caller-saved registers being safe. Returns 1 if the
/// environment must not just go on, 0 if it may.
#[expect(unsafe_code, reason = "the vectors call it by name")]
#[unsafe(no_mangle)]
extern "C" fn __serve_interrupts() -> u64 {
    count_event(Event::Exception);
    serve();
    Core::take_attention().into()
}

/// Makes the controller usable for a kernel that failed.
///
/// # Safety
/// As for [`console::seize`].
#[expect(unsafe_code, reason = "the other cores must be told to stop")]
pub unsafe fn seize() {
    while CONTROLLER.is_locked() {
        // SAFETY: the caller's.
        unsafe { CONTROLLER.force_unlock() };
    }
}
