//! Who has this core: environments enter it, leave it, and hear of what has happened.
//!
//! A core gives itself to the next environment by its slices when the one that runs has come to its turn's end, yields,
//! stops, is suspended or dies, and sleeps when there is none:
//!
//! ```text
//!            begin (boot)
//!              |
//!              v   a call: settle
//!      +--> running <------------------ still runs
//!      |       |   asked by another core, or for a notice, or by the timer: __environment_interrupted
//!      |       |   a fault that cannot be delivered: __environment_suspended
//!      |       v
//!      |     leave: its state is put away, or dropped if it dies
//!      |       |
//!      |       v
//!      +--- dispatch --- nobody waits ---> idle: something dying is swept, else WFI
//!      ^                                     |
//!      +--------- somebody waits ------------+
//! ```
//!
//! What becomes of an environment is decided under the kernel lock by [`exopi_domains`]; here is what follows
//! from it. **A state is put away in the same hold of the lock in which its environment stops running**:
//! once the lock is free, another core may run it, read it, or destroy its u-area. For the same reason this
//! core's lower half is another space, or empty, before anybody hears that a dying environment has left.
#![expect(unsafe_code, reason = "called from assembly")]

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use exopi_abi::domain::{EnvironmentRecord, EnvironmentState, LifeWord, ObjectName};
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{exit, layout};
use exopi_domains::{Entering, Left, Next, Subject};

use crate::arch::core_data::{Core, CoreNumber};
use crate::arch::exception::Cause;
use crate::arch::tables::Processor;
use crate::arch::uarea::OwnUArea;
use crate::arch::upcall::SliceEnd;
use crate::arch::{barrier, context, mmu, smp, switch, timer, upcall};
use crate::kernel::{self, Guard};
use crate::{console, exposed, interrupts, network, power};

/// How many steps of what is due a core makes in a second while somebody runs on it, who has the rest of the time.
const STEPS_PER_SECOND: u64 = 20_000;
/// How often an idle core tries to get the lock before it waits for it: for a few of the longest holds.
const TRIALS: u32 = 1000;
/// After how many pauses without a step of its another core takes the work over.
const PAUSES: u64 = 4;

/// Who does what is due, while the other cores keep away from the lock: a core, and [`IDLE`] if nobody runs there.
/// Changed under the lock, as is how long this holds.
static WORKER: AtomicU8 = AtomicU8::new(0);
/// Until when, in ticks, others leave it to that one.
static WORKS_UNTIL: AtomicU64 = AtomicU64::new(0);
/// In [`WORKER`]: one that has nothing else to do, and gives it to nobody.
const IDLE: u8 = 0x80;

/// Where the first environment begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// First instruction.
    pub pc: u64,
    /// x1; x0 is [`layout::FIRST_ARGUMENTS`].
    pub argument_bytes: u64,
}

/// This core, as records and queues number it.
fn here() -> u8 {
    CoreNumber::current().index() as u8
}

/// Enters `first`, the first environment, which runs on this core by the records. All its registers are zero but
/// those that tell of its arguments: its u-area is a fresh page.
pub fn begin(mut kernel: Guard, first: Subject, start: Start) -> ! {
    exposed::describe(|machine| machine.first_el0_ticks = timer::now());
    take(first);
    set_timer(&mut kernel, &first);
    let area = Core::uarea();
    area.write(OwnUArea::saved_x(0), layout::FIRST_ARGUMENTS);
    area.write(OwnUArea::saved_x(1), start.argument_bytes);
    area.write(OwnUArea::SAVED_SP, layout::FIRST_STACK_TOP);
    area.write(OwnUArea::SAVED_PC, start.pc);
    go_on(kernel, first)
}

/// For the calls that give their caller's core away and succeed with no value, when all is decided: comes back
/// if the caller still runs. If not, its state is that after success, and somebody else is entered.
///
/// This, [`leave_if_dying`] and [`deliver`] are for the calls of `switch::MAY_LEAVE` alone.
pub fn settle(kernel: Guard) {
    let caller = Core::caller();
    if !kernel.runs(&caller) {
        leave(kernel, caller, [0; 2])
    }
}

/// The same for a yield: a caller with a prologue has saved for itself what it wants to keep. Its registers are in no
/// frame, and it begins there.
pub fn settle_yield(kernel: Guard) {
    let caller = Core::caller();
    if kernel.runs(&caller) {
        return;
    }
    let index = caller.name.index;
    let area = Core::uarea();
    let [prologue, _] = area.entry(UpcallClass::SliceBegin);
    // One that is to stop or to die has its state saved: others may want to see it.
    if prologue == 0 || kernel.life(index).state() != EnvironmentState::Ready {
        leave(kernel, caller, [0; 2])
    }
    switch::stop_stepping();
    switch::put_registers_away();
    let flags = kernel.flags_of_light(index, area.read(OwnUArea::MASKED) != 0);
    go(kernel, caller, flags)
}

/// For the calls that may be the caller's own end: comes back if it is not. Whoever was stopped from elsewhere
/// meanwhile comes back, too, to take the call's result along; the interrupt for that is under way.
pub fn leave_if_dying(kernel: Guard) {
    let caller = Core::caller();
    if !kernel.lives(caller.name) {
        leave(kernel, caller, [0; 2])
    }
}

/// One bounded step of what is being taken apart, on the way of a caller that would give the core away if anybody
/// wanted it. Not under the lock: it is a hold of its own.
pub fn sweep() {
    sweep_under(&mut kernel::lock(), false);
}

/// For the calls that change what the kernel keeps of an environment, which can be their caller: the account that it
/// draws on, and whether it is debugged.
pub fn renew(kernel: &Guard, name: ObjectName) {
    if let Some(context) = context::of(name.index) {
        context.renew(kernel);
    }
    let caller = Core::caller();
    let debugged = || record(kernel, &caller).is_some_and(|record| record.debugged != 0);
    if name == caller.name && !debugged() {
        switch::forget_steps();
    }
}

/// For the call that asks for an asynchronous upcall that waits: delivers it to the caller, whose state is
/// saved as that after success; comes back if there is none, or it must go on waiting.
pub fn deliver(mut kernel: Guard) {
    let caller = Core::caller();
    let limit = Core::leaving();
    if limit != 0 && upcall::takes_slice_end() {
        switch::stop_stepping();
        // Notices that wait, too, come when it goes on.
        let _ = upcall::deliver_slice_end(limit.saturating_sub(timer::now()));
    } else if let Some(bits) = notices_for(&mut kernel, &caller) {
        switch::stop_stepping();
        upcall::deliver_notice(bits);
    } else {
        return;
    }
    drop(kernel);
    switch::enter()
}

/// What this core does without an environment: waits for one, and takes apart what is dying.
pub fn idle() -> ! {
    loop {
        let mut kernel = lock_politely();
        expire(&mut kernel);
        let again = match kernel.next(here(), timer::now()) {
            Next::Run(next) => enter(kernel, next),
            Next::Again => true,
            Next::Idle => false,
        };
        // One of both in a hold: each is as much as one may be.
        let swept = !again && sweep_under(&mut kernel, true);
        let _ = set_timer_to(&kernel, None);
        drop(kernel);
        // Whoever gives this core something to do interrupts it. Between the look above and here that
        // stays pending, and ends the sleep at once.
        if !swept && !again {
            smp::sleep();
        }
        interrupts::serve();
        // That was it.
        let _ = Core::take_attention();
    }
}

/// Ends calls that this core sees to and whose deadlines have passed.
fn expire(kernel: &mut Guard) {
    kernel.expire(here(), timer::now());
    kernel.write_failed();
}

/// Waits for the lock behind those who have somebody to run, and takes interrupts meanwhile. After a while, though, it
/// waits as they do: there may be somebody for this core, too.
fn lock_politely() -> Guard {
    for _ in 0..TRIALS {
        if let Some(kernel) = kernel::try_lock() {
            return kernel;
        }
        interrupts::serve();
        smp::relax();
    }
    kernel::lock()
}

/// When this core is to look again at the latest: a request's time is over then, or an interface has something to do. If
/// it is over already, after a pause: whoever runs here gets somewhere, and another core may be at work.
fn next_deadline(kernel: &Guard) -> Option<u64> {
    let network = network::due(here());
    let next = kernel.next_deadline().into_iter().chain(network).min()?;
    let now = timer::now();
    let later = now.saturating_add(pause());
    Some(if next <= now { later } else { next })
}

/// The pause between two steps of what is due on a core where somebody runs, in ticks.
fn pause() -> u64 {
    timer::frequency() / STEPS_PER_SECOND
}

/// One bounded step of what is due, unless another core is at it. Whether there was one to make.
fn do_due_step(kernel: &mut Guard, idle: bool) -> bool {
    let now = timer::now();
    if !kernel.is_due(now) {
        return false;
    }
    let worker = WORKER.load(Ordering::Relaxed);
    let another = worker & !IDLE != here() && now < WORKS_UNTIL.load(Ordering::Relaxed);
    if another && (worker & IDLE != 0 || !idle) {
        return false;
    }
    let me = if idle { here() | IDLE } else { here() };
    WORKER.store(me, Ordering::Relaxed);
    let until = now.saturating_add(PAUSES * pause());
    WORKS_UNTIL.store(until, Ordering::Relaxed);
    let _ = kernel.due(&mut Processor, now);
    kernel.show_free_pages();
    true
}

/// One bounded step of what is due, or else of what interfaces have to do, on the core of somebody who goes on afterwards.
fn do_what_is_due(kernel: &mut Guard) {
    if !do_due_step(kernel, false) {
        network::work(kernel, timer::now(), true);
    }
}

/// Whether interfaces come first in the next step: neither a flood of frames nor one of ends keeps the other waiting.
static FRAMES_FIRST: AtomicBool = AtomicBool::new(false);

/// One bounded step of what is due, or else of what is being taken apart, or of what interfaces have to do, on a core
/// where nobody runs: `idle` if nobody is about to. Whether there was one to make.
fn sweep_under(kernel: &mut Guard, idle: bool) -> bool {
    let now = timer::now();
    let frames_first = FRAMES_FIRST.fetch_xor(true, Ordering::Relaxed);
    let swept = frames_first && network::work(kernel, now, false)
        || step_of_ends(kernel, idle)
        || !frames_first && network::work(kernel, now, false);
    if swept {
        kernel.show_free_pages();
    }
    swept
}

/// One bounded step of what is due, of what ends have left behind, or of what is being taken apart.
fn step_of_ends(kernel: &mut Guard, idle: bool) -> bool {
    if do_due_step(kernel, idle) {
        return true;
    }
    if network::is_untidy(kernel) {
        network::tidy(kernel);
        return true;
    }
    kernel.is_ending() && kernel.sweep(&mut Processor)
}

/// The record of `subject`'s environment, unless that is gone.
fn record<'k>(kernel: &'k Guard, subject: &Subject) -> Option<&'k EnvironmentRecord> {
    kernel
        .environment(subject.name.index)
        .filter(|record| record.epoch == subject.name.epoch.bits())
}

/// Makes `subject` the one that has this core: its space, its u-area, its registers that are in no frame.
pub fn take(subject: Subject) {
    mmu::enter_space(&subject.space);
    // Whoever runs by the records has one.
    if let Some(context) = context::of(subject.name.index) {
        Core::take(context);
        switch::take_registers();
    }
}

/// Takes `subject`'s notices, if it takes them now.
fn notices_for(kernel: &mut Guard, subject: &Subject) -> Option<u64> {
    let waiting = record(kernel, subject).is_some_and(|record| record.notices != 0);
    (waiting && upcall::takes_notice()).then(|| kernel.take_notices(subject.name.index).into())
}

/// Enters `subject`, which has this core, with the state in `saved`, or first its handler of notices.
fn go_on(mut kernel: Guard, subject: Subject) -> ! {
    if let Some(bits) = notices_for(&mut kernel, &subject) {
        upcall::deliver_notice(bits);
    }
    drop(kernel);
    switch::enter()
}

/// Enters an environment that has this core by the records.
fn enter(mut kernel: Guard, next: Entering) -> ! {
    let subject = next.subject;
    take(subject);
    set_timer(&mut kernel, &subject);
    upcall::begin_slice(next.light, next.length, next.slice);
    go_on(kernel, subject)
}

/// Lets the timer take this core from `subject`, which has just been given it, at the end of its turn, if somebody else
/// could run, or when a call's deadline comes.
pub fn set_timer(kernel: &mut Guard, subject: &Subject) {
    Core::set_leaving(0);
    let end = kernel.deadline(subject, timer::now());
    set_turn(kernel, subject, end);
}

/// The same for one that has had this core before, when there are other things to be in time for.
pub fn renew_timer(kernel: &mut Guard, subject: &Subject) {
    match Core::leaving() {
        0 => {
            let end = kernel.deadline(subject, timer::now());
            set_turn(kernel, subject, end);
        }
        limit => {
            let _ = set_timer_to(kernel, Some(limit));
        }
    }
}

/// The turn in which `subject` runs here ends at `end`, if anybody waits for that.
fn set_turn(kernel: &Guard, subject: &Subject, end: Option<u64>) {
    let alarm = set_timer_to(kernel, end);
    if let (Some(end), Some(slice)) = (end, kernel.turn(subject.core)) {
        Core::set_turn(end, slice.index, kernel.leaving_ticks(), alarm);
    }
}

/// Lets the timer interrupt this core at `end`, if there is one, or before, when a call's deadline comes or there is
/// something else to be done: when that is, or `u64::MAX`. Nobody's turn ends here without the lock.
fn set_timer_to(kernel: &Guard, end: Option<u64>) -> u64 {
    let alarms = [kernel.alarms.earliest(here()), next_deadline(kernel)];
    let alarm = alarms.into_iter().flatten().min();
    match [end, alarm].into_iter().flatten().min() {
        Some(first) => timer::set_deadline(first),
        None => timer::cancel(),
    }
    let alarm = alarm.unwrap_or(u64::MAX);
    Core::set_turn(0, 0, 0, alarm);
    alarm
}

/// Takes this core from `by`, whose registers were put away, which is in no frame and whose time was charged, and gives
/// it to the next one. `departs`: its word still has this core; if not, another core may be in it by now.
pub fn vacate(mut kernel: Guard, by: &Subject, departs: bool) -> ! {
    mmu::empty_lower_half();
    Core::vacate();
    let now = kernel.asked();
    if departs {
        let how = Left { now, flags: 0 };
        kernel.left(&mut Processor, by, how);
    } else {
        kernel.vacated(by, now);
    }
    dispatch(kernel)
}

/// Takes this core from `subject`, which does not run any more by the records and whose registers are in
/// `saved`, and gives it to the next one. `why` is its syndrome and address if it was suspended.
fn leave(kernel: Guard, subject: Subject, why: [u64; 2]) -> ! {
    if kernel.lives(subject.name) {
        switch::put_away(why);
    } else {
        switch::drop_state();
        mmu::empty_lower_half();
    }
    go(kernel, subject, 0)
}

/// The same for one whose registers are where they belong. Its word has `flags` from now on.
fn go(mut kernel: Guard, subject: Subject, flags: u64) -> ! {
    Core::charge();
    Core::vacate();
    untangle(&mut kernel, &subject);
    let now = kernel.asked();
    kernel.left(&mut Processor, &subject, Left { now, flags });
    dispatch(kernel)
}

/// Lets the caller of a fast call that `subject` serves here, if it does, wait without this core. What it has begun of
/// cache maintenance is complete then: it can go on elsewhere.
fn untangle(kernel: &mut Guard, subject: &Subject) {
    barrier::complete();
    kernel.untangle(&mut Processor, subject.name.index);
}

/// The turn of `subject`, whose state is in `saved`, has come to its end at `end`, and somebody else could run. Whether it
/// goes on for a while: it is told, or has been, and the limit has not been reached.
fn stays(kernel: &Guard, end: u64, now: u64) -> bool {
    let mut limit = Core::leaving();
    if limit == 0 {
        limit = end.saturating_add(kernel.leaving_ticks());
        let left = limit.saturating_sub(now);
        if left == 0 || upcall::deliver_slice_end(left) == SliceEnd::Nothing {
            return false;
        }
        Core::set_leaving(limit);
    }
    let _ = set_timer_to(kernel, Some(limit));
    now < limit
}

/// Gives this core, which nobody has, to the next environment, or lets it idle.
fn dispatch(mut kernel: Guard) -> ! {
    let now = timer::now();
    let network = network::due(here()).is_some_and(|due| due <= now);
    if kernel.is_ending() || network::is_untidy(&kernel) || network || kernel.is_due(now) {
        // The space that this core was in may be what is swept.
        mmu::empty_lower_half();
        sweep_under(&mut kernel, false);
        drop(kernel);
        idle()
    }
    kernel.write_failed();
    if let Next::Run(next) = kernel.next(here(), timer::now()) {
        enter(kernel, next)
    }
    mmu::empty_lower_half();
    drop(kernel);
    // It asks again.
    idle()
}

/// Called by `switch` when a core or a device has asked for the environment that runs here, whose state is in
/// `saved`: it is to leave, or has notices.
#[unsafe(no_mangle)]
extern "C" fn __environment_interrupted() -> ! {
    let mut kernel = kernel::lock();
    let subject = Core::caller();
    if kernel.caller_is_wanted(subject.name.index) {
        untangle(&mut kernel, &subject);
    }
    expire(&mut kernel);
    if kernel.runs(&subject) {
        let now = kernel.asked();
        switch::stop_stepping();
        match kernel.deadline(&subject, now) {
            Some(end) if end <= now => {
                if stays(&kernel, end, now) {
                    go_on(kernel, subject)
                }
                kernel.preempt(&subject);
            }
            deadline => {
                // Who leaves makes room for that: one step in a hold.
                do_what_is_due(&mut kernel);
                Core::set_leaving(0);
                set_turn(&kernel, &subject, deadline);
                go_on(kernel, subject)
            }
        }
    }
    leave(kernel, subject, [0; 2])
}

/// Called by `pct` when this core has gone from the environment of `context` to another one that it has claimed, by a few
/// instructions, and there is more to do: see [`exopi_domains::Domains::yielded`]. `part` is the core's `part_light` or
/// `part_saved`, by what the first one is.
#[unsafe(no_mangle)]
extern "C" fn __yielded(context: &'static context::Context, part: u64) {
    let light = part & LifeWord::LIGHT;
    kernel::lock().yielded(&mut Processor, context.name().index, light, here());
}

/// Called by `switch` when an upcall cannot be delivered: its frame waits to be resumed already, or there is no
/// handler. The state is in `saved`, with syndrome and address.
#[unsafe(no_mangle)]
extern "C" fn __environment_suspended() -> ! {
    let mut kernel = kernel::lock();
    let subject = Core::caller();
    let cause = Cause {
        esr: Core::uarea().read(OwnUArea::SAVED_ESR),
        far: Core::uarea().read(OwnUArea::SAVED_FAR),
    };
    let told = kernel.suspended(&subject);
    if !told {
        drop(kernel);
        nobody_left(cause)
    }
    leave(kernel, subject, [cause.esr, cause.far])
}

/// The first environment is suspended, and nobody keeps it: the machine ends.
fn nobody_left(cause: Cause) -> ! {
    let area = Core::uarea();
    let why = if area.holds(UpcallClass::Fault) {
        "a fault in its fault handler"
    } else {
        "no fault handler"
    };
    let pc = area.read(OwnUArea::SAVED_PC);
    console::print(format_args!(
        "first environment suspended: {cause}, at pc {pc:#x}: {why}\n"
    ));
    power::off(exit::FIRST_ENVIRONMENT_DIED)
}
