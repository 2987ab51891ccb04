//! The exposed region says what is so.

use exopi_rt::capability::Epoch;
use exopi_rt::exposed::{self, MAGIC};
use exopi_rt::page::{DEFAULT_LIMIT, FrameType, MAX_COLOURS, NONE, Owner};
use exopi_rt::{Call, Error, PageNumber, TableLevel, VERSION, layout, memory, stubs, time};

use crate::area::{AREA, all_pages, record};
use crate::catch;
use crate::harness::{Outcome, Suite};
use crate::machine::{self, Registers};

pub(crate) const SUITE: Suite = Suite {
    name: "exposed",
    cases: &[
        ("header", header),
        ("machine", machine_is_sane),
        ("page_array_agrees_with_calls", page_array_agrees_with_calls),
        ("frames_add_up", frames_add_up),
        ("free_lists_are_linked", free_lists_are_linked),
        ("references_add_up", references_add_up),
        ("counters_count_up", counters_count_up),
        ("cannot_be_written", cannot_be_written),
        ("nothing_else_is_there", nothing_else_is_there),
    ],
};

fn header() -> Outcome {
    let header = exposed::header();
    check_eq!(header.magic, MAGIC);
    check_eq!(header.version, VERSION);
    check_eq!(stubs::null()?, VERSION);
    check!(header.pages.stride >= 32, "stride {}", header.pages.stride);
    check_eq!(header.counters.count, header.machine.cores);
    check!(exposed::page(PageNumber::new(exposed::page_count() as u32)).is_none());
    check!(exposed::counters(header.counters.count as usize).is_none());
    Ok(())
}

fn machine_is_sane() -> Outcome {
    let machine = exposed::machine();
    check!((1..=4).contains(&machine.cores), "{} cores", machine.cores);
    check_eq!(machine.ticks_per_second, time::ticks_per_second());
    check!(machine.entry_ticks < machine.first_el0_ticks);
    check!(machine.first_el0_ticks < time::ticks());
    Ok(())
}

fn page_array_agrees_with_calls() -> Outcome {
    let free = exposed::free_pages();
    let page = memory::take_page()?;
    check_eq!(exposed::free_pages(), free - 1);
    let taken = record(page)?;
    check_eq!(taken.kind, FrameType::Plain);
    check!(taken.owner != Owner::NOBODY);
    check!(taken.stamp.epoch() != Epoch::NONE);
    check_eq!(taken.stamp.limit(), DEFAULT_LIMIT);
    check_eq!(taken.references, 0);
    memory::give_page(page)?;
    check_eq!(exposed::free_pages(), free);
    let given = record(page)?;
    check_eq!(given.kind, FrameType::Free);
    check_eq!(given.charged_to(), Owner::NOBODY);
    check_eq!(given.owner, taken.owner, "whose contents it holds");
    check_eq!(given.stamp.epoch(), Epoch::NONE);
    Ok(())
}

/// Frames = free + kernel + those of owners, and what is free or the kernel's has no owner.
fn frames_add_up() -> Outcome {
    let (mut free, mut kernel, mut owned) = (0, 0, 0);
    for (page, record) in all_pages() {
        let has_owner = match record.kind {
            FrameType::Free => {
                free += 1;
                false
            }
            FrameType::Kernel => {
                kernel += 1;
                false
            }
            _ => {
                owned += 1;
                true
            }
        };
        check_eq!(
            record.charged_to() != Owner::NOBODY,
            has_owner,
            "{page:?} has an owner"
        );
    }
    check_eq!(free, exposed::free_pages());
    check_eq!(free + kernel + owned, exposed::page_count());
    Ok(())
}

/// Each free page's neighbours on its list name it and are of its colour, and each list that there is has
/// one begin and one end.
fn free_lists_are_linked() -> Outcome {
    let colours = exposed::machine().colours as u32;
    check!(
        colours.is_power_of_two() && colours as usize <= MAX_COLOURS,
        "{colours} colours"
    );
    let mut ends = [(0, 0); MAX_COLOURS];
    for (page, free) in all_pages().filter(|(_, record)| record.kind == FrameType::Free) {
        let colour = page.get() % colours;
        let (heads, tails) = &mut ends[colour as usize];
        match free.first {
            NONE => *tails += 1,
            next => {
                check_eq!(
                    next % colours,
                    colour,
                    "the colour of what follows {page:?}"
                );
                let next = record(PageNumber::new(next))?;
                check_eq!(next.kind, FrameType::Free, "what follows {page:?}");
                check_eq!(
                    next.second,
                    page.get(),
                    "what precedes the page after {page:?}"
                );
            }
        }
        *heads += u64::from(free.second == NONE);
    }
    for (colour, ends) in ends.into_iter().enumerate() {
        check!(
            matches!(ends, (0, 0) | (1, 1)),
            "begins and ends of colour {colour}: {ends:?}"
        );
    }
    Ok(())
}

/// A frame's references are the entries that name it: those of level-3 tables, and those of level-2 tables
/// that name no table.
fn references_add_up() -> Outcome {
    let (mut named, mut pages, mut entries, mut tables) = (0, 0, 0, 0);
    for (_, record) in all_pages() {
        match record.kind {
            FrameType::Plain | FrameType::UArea => named += u64::from(record.references),
            FrameType::Table3 => {
                tables += 1;
                pages += u64::from(record.first);
            }
            FrameType::Table2 => entries += u64::from(record.first),
            _ => {}
        }
    }
    check!(entries >= tables, "{entries} entries name {tables} tables");
    check_eq!(
        named,
        pages + entries - tables,
        "references to pages, against entries,"
    );
    Ok(())
}

fn counters_count_up() -> Outcome {
    let nulls = exposed::calls(0, Call::null);
    let counters = || exposed::counters(0).ok_or(Error::OutOfRange);
    let count =
        |word: &core::sync::atomic::AtomicU64| word.load(core::sync::atomic::Ordering::Relaxed);
    let unknown = count(&counters()?.unknown_calls);
    let upcalls = count(&counters()?.upcalls);
    for _ in 0..10 {
        stubs::null()?;
    }
    check_eq!(exposed::calls(0, Call::null), nulls + 10);

    machine::write_stub(0, 0x7777)?;
    machine::publish_stubs()?;
    let mut registers = Registers::marked();
    // SAFETY: the number is no call's.
    unsafe { machine::run_stub(0, &mut registers) };
    check_eq!(count(&counters()?.unknown_calls), unknown + 1);

    check_eq!(count(&counters()?.upcalls), upcalls);
    check!(catch::read(AREA).is_err());
    check_eq!(count(&counters()?.upcalls), upcalls + 1);
    check_eq!(exposed::calls(0, Call::null), nulls + 10);
    Ok(())
}

fn cannot_be_written() -> Outcome {
    let header = exposed::header();
    let pages = layout::EXPOSED_BASE + header.pages.offset;
    let counters = layout::EXPOSED_BASE + header.counters.offset;
    for address in [layout::EXPOSED_BASE, counters, pages] {
        check!(catch::read(address).is_ok(), "{address:#x} is not readable");
        // SAFETY: the kernel must refuse it.
        let written = unsafe { catch::write(address, 0) };
        let caught = written.err().map(|caught| caught.cause());
        check!(
            matches!(
                caught,
                Some(exopi_rt::upcall::FaultCause::DataAbort { address: at, write: true, .. })
                    if at == address
            ),
            "a store to {address:#x} gives {caught:x?}"
        );
        // SAFETY: the kernel must refuse it.
        let executed = unsafe { catch::execute(address) };
        check!(executed.is_err(), "{address:#x} can be executed");
    }
    check_eq!(header.magic, MAGIC);
    Ok(())
}

/// Neither behind the region nor beyond user space is anything to be seen, and programs map nothing
/// there.
fn nothing_else_is_there() -> Outcome {
    let header = exposed::header();
    let end = header.pages.offset + header.pages.count * header.pages.stride;
    // The array is mapped in whole blocks; what is left of the last one tells nothing.
    let end = layout::EXPOSED_BASE + end;
    let behind = end.next_multiple_of(TableLevel::Three.span());
    for address in (end..behind).step_by(8) {
        // SAFETY: if it is not mapped, the fault fails the case.
        let word = unsafe { (address as *const u64).read_volatile() };
        check_eq!(word, 0, "the word at {address:#x}");
    }
    for address in [behind, layout::USER_END - 1, layout::USER_END] {
        check!(catch::read(address).is_err(), "{address:#x} is readable");
    }
    // Not even with all words right is a call about such an address.
    for address in [layout::TABLES_BASE, layout::EXPOSED_BASE, behind] {
        machine::write_stub(0, Call::remove_pte.number())?;
        machine::publish_stubs()?;
        let mut registers = Registers::with_arguments([0, address, 1, 0, 0, 0]);
        // SAFETY: the kernel must refuse it.
        unsafe { machine::run_stub(0, &mut registers) };
        check_eq!(
            registers.reply().error(),
            Some(Error::BadAddress),
            "unmapping {address:#x}"
        );
        check!(catch::read(layout::EXPOSED_BASE).is_ok());
    }
    Ok(())
}
