//! Barriers, each under a name that says what it orders, and counted in builds that count.

use aarch64_cpu::asm::barrier as asm;
use exopi_abi::exposed::Event;

use super::core_data::count_event;

/// Stores to tables happen before what follows: TLB invalidations and other cores' walks
/// (ARM DDI 0487, D8.14.1: `DSB ISHST`).
#[inline(always)]
pub fn after_table_stores() {
    count_event(Event::Barrier);
    asm::dsb(asm::ISHST);
}

/// Loads and stores before are seen before those that follow, by whoever shares the memory.
#[inline(always)]
pub fn between_accesses() {
    count_event(Event::Barrier);
    asm::dmb(asm::ISH);
}

/// All that was begun before (stores, TLB and cache maintenance) is complete on all cores.
#[inline(always)]
pub fn complete() {
    count_event(Event::Barrier);
    asm::dsb(asm::ISH);
}

/// All that was begun before is complete for every observer, devices included.
#[inline(always)]
pub fn complete_system() {
    count_event(Event::Barrier);
    asm::dsb(asm::SY);
}

/// What follows is fetched and executed with the new state.
#[inline(always)]
pub fn instructions() {
    count_event(Event::Barrier);
    asm::isb(asm::SY);
}
