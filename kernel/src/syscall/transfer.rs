//! Gates, and control transfers that `arch::pct` has not carried out by itself.
//!
//! ```text
//!   message in x0..x7 --> pct: on the stack --> here: claim, link, leave, take --> pct: registers, eret
//!                                                `-- refused ---------------------> pct: x8, back to the caller
//! ```

use exopi_abi::Error;
use exopi_abi::uarea::UpcallClass;
use exopi_domains::{Answered, Begun, Behind, Subject, Target};

use crate::arch::core_data::Core;
use crate::arch::tables::Processor;
use crate::arch::uarea::OwnUArea;
use crate::arch::{context, pct, switch, timer};
use crate::environment::{set_timer, settle_yield, take, vacate};
use crate::kernel::{Guard, lock};

pub(super) fn bind(by: &Subject, gate: u64, environment: Target<'_>) -> Result<(), Error> {
    lock().gate_bind(by, gate, environment)
}

pub(super) fn unbind(by: &Subject, gate: u64) -> Result<(), Error> {
    lock().gate_unbind(by, gate)
}

pub(super) fn yield_to(by: &Subject, gate: u64) -> Result<(), Error> {
    let mut kernel = lock();
    kernel.gate_yield(by, gate, timer::now())?;
    settle_yield(kernel);
    // Whoever gives its core away does not come back here, and who does not have it was refused.
    Err(Error::NotReady)
}

/// Claims whom `gate` leads to, and tells where it is entered.
fn begin(kernel: &mut Guard, by: &Subject, gate: u64) -> Result<(Begun, [u64; 2]), Error> {
    let begun = kernel.pct_begin(by, gate, timer::now())?;
    let context = context::of(begun.callee.name.index);
    match context.map(|context| context.entry(UpcallClass::Pct)) {
        Some([pc, sp]) if pc != 0 => Ok((begun, [pc, sp])),
        _ => {
            kernel.pct_abandon(&begun);
            Err(Error::NotAccepting)
        }
    }
}

pub(super) fn call(by: &Subject, gate: u64, deadline: u64) -> Result<(), Error> {
    let mut kernel = lock();
    let (begun, entry) = begin(&mut kernel, by, gate)?;
    let behind = pct::behind();
    switch::put_registers_away();
    kernel.pct_link(&mut Processor, by, &begun, behind, deadline)?;
    switch::forget_steps();
    Core::charge();
    take(begun.callee);
    set_timer(&mut kernel, &begun.callee);
    pct::pass(begun.told(by.name, false), entry);
    Ok(())
}

pub(super) fn send(by: &Subject, gate: u64) -> Result<(), Error> {
    let mut kernel = lock();
    let (begun, entry) = begin(&mut kernel, by, gate)?;
    switch::put_away([0; 2]);
    kernel.pct_link_one_way(&begun);
    Core::charge();
    take(begun.callee);
    kernel.pct_sent(&mut Processor, by);
    set_timer(&mut kernel, &begun.callee);
    pct::pass(begun.told(by.name, true), entry);
    Ok(())
}

pub(super) fn reply(by: &Subject) -> Result<(), Error> {
    let mut kernel = lock();
    let area = Core::uarea();
    let masked = area.read(OwnUArea::MASKED) != 0;
    // Once it has answered, another core may enter it: nothing of it is touched after that.
    switch::put_registers_away();
    if !kernel.serves(by.name.index) {
        // If something else than a call gets it going, it goes on behind this one.
        let Behind { pc, sp, .. } = pct::behind();
        area.save_behind([pc, sp], 0, false);
    }
    Core::charge();
    match kernel.pct_reply(&mut Processor, by, masked, timer::now())? {
        Answered::Caller {
            subject,
            pc,
            sp,
            steps,
            departs,
        } => {
            switch::forget_steps();
            take(subject);
            if departs {
                // This core is in another space by now.
                kernel.departed(&mut Processor, by.name.index);
            }
            set_timer(&mut kernel, &subject);
            if steps {
                switch::step_on();
            }
            pct::pass([0; 2], [pc, sp]);
            Ok(())
        }
        Answered::Nobody { departs } => {
            switch::forget_steps();
            vacate(kernel, by, departs)
        }
    }
}
