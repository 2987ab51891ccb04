//! What the kernel knows is memory: a program picks a page by what it reads, and sees what was counted.

use core::sync::atomic::Ordering;

use exopi_rt::page::FrameType;
use exopi_rt::pages::{Run, colour_of};
use exopi_rt::{Call, PageSelect, environment, exposed, pages, stubs};

use crate::harness::{Failure, Outcome};

pub(super) fn a_page_is_chosen_and_calls_are_counted() -> Outcome {
    let machine = exposed::machine();
    check!(machine.cores >= 1 && machine.colours >= 1);

    // The kernel never searches. Who wants the highest free page of a colour looks for it, and asks for that one.
    let colour = machine.colours as u8 - 1;
    let (page, _) = exposed::pages()
        .filter(|(page, record)| record.kind == FrameType::Free && colour_of(*page) == colour)
        .last()
        .ok_or(Failure::new("no free page has the colour"))?;
    let free = exposed::free_pages();
    check_eq!(pages::take(PageSelect::Exact(page))?, page);
    check_eq!(exposed::free_pages(), free - 1);

    // Whose it is now, and how many mappings it has, is told to everybody.
    let me = environment::own().and_then(exposed::environment);
    let me = me.ok_or(Failure::new("no record of one's own"))?;
    let record = exposed::page(page).ok_or(Failure::new("it has no record"))?;
    check_eq!((record.kind, record.owner), (FrameType::Plain, me.bound));
    check_eq!((record.references, record.foreign), (0, 0));
    Run::owned(page, 1).free().unless_stopped()?;

    // Each core counts what it does; this runs on core 0.
    let before = exposed::calls(0, Call::null);
    for _ in 0..10 {
        stubs::null()?;
    }
    check_eq!(exposed::calls(0, Call::null), before + 10);
    // The longest that the kernel has ever kept the others waiting.
    let longest = &exposed::header().longest_hold_ticks;
    check!(longest.load(Ordering::Relaxed) > 0);
    Ok(())
}
