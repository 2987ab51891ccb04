//! Batches: each operation as the call that it names, in order, with its result written into it.

use exopi_rt::page::{BATCH_BOUND, BATCH_MAPPINGS, INSERT_BOUND};
use exopi_rt::registers::{Argument, Arguments, Outcome as _};
use exopi_rt::{
    Access, Call, Error, Note, Object, OnRefusal, Operation, PageSource, Progress, Reply,
    UserOperations, VirtAddr, stubs,
};

use crate::area::{Area, RW, give_run, place, record, take_run};
use crate::catch;
use crate::domain::own_space;
use crate::granted::{mint_lasting, mint_pages, present, run};
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "batches",
    cases: &[
        ("in_order_with_results", in_order_with_results),
        ("stops_or_goes_on", stops_or_goes_on),
        ("only_calls_on_mappings", only_calls_on_mappings),
        ("arguments_are_decoded", arguments_are_decoded),
        ("bounds", bounds),
        ("unreadable_and_unwritable", unreadable_and_unwritable),
        ("takes_its_own_memory_away", takes_its_own_memory_away),
        ("space_by_capability", space_by_capability),
    ],
};

/// An operation: the call's arguments after the space, put into words.
fn operation(call: Call, arguments: impl FnOnce(&mut Arguments)) -> Operation {
    let into = &mut Arguments::new([0; 6]);
    arguments(into);
    let [a, b, c, d, e, _] = into.words();
    Operation {
        call: call.number().into(),
        arguments: [a, b, c, d, e],
        status: u64::MAX,
        value: u64::MAX,
    }
}

fn map(at: VirtAddr, source: PageSource<'_>, count: u64, access: Access) -> Operation {
    operation(Call::insert_pte, |into| {
        at.encode(into);
        source.encode(into);
        into.put(count);
        access.encode(into);
    })
}

fn unmap(at: VirtAddr, count: u64) -> Operation {
    operation(Call::remove_pte, |into| {
        at.encode(into);
        into.put(count);
    })
}

fn protect(at: VirtAddr, count: u64, access: Access) -> Operation {
    operation(Call::protect_pte, |into| {
        at.encode(into);
        into.put(count);
        access.encode(into);
    })
}

fn note(at: VirtAddr, value: u64) -> Result<Operation, Failure> {
    let note = Note::new(value).ok_or(Error::Malformed)?;
    Ok(operation(Call::pte_note, |into| {
        at.encode(into);
        note.encode(into);
    }))
}

fn batch(operations: &mut [Operation], on_refusal: OnRefusal) -> Progress {
    let operations = UserOperations::from(operations);
    // SAFETY: cases map and unmap in their area alone.
    unsafe { stubs::pte_batch(Object::Own, operations, on_refusal) }
}

/// What the kernel has written into an operation.
fn result(operation: &Operation) -> Progress {
    Progress::from_reply(Reply {
        status: operation.status,
        value: operation.value,
    })
}

const fn done(done: u64) -> Progress {
    Progress {
        done,
        stopped: None,
    }
}

fn at(index: u64) -> Result<VirtAddr, Failure> {
    place(Area::address(index))
}

fn in_order_with_results() -> Outcome {
    let area = Area::new()?;
    let first = take_run(4)?;
    let mut operations = [
        map(at(0)?, PageSource::owned(first), 4, RW),
        protect(at(1)?, 2, Access::READ),
        unmap(at(3)?, 1),
        note(at(3)?, 33)?,
        map(at(8)?, PageSource::owned(first), 1, Access::READ),
    ];
    check_eq!(batch(&mut operations, OnRefusal::Stop), done(5));
    let results = operations.each_ref().map(result);
    check_eq!(results, [done(4), done(2), done(1), done(0), done(1)]);
    // SAFETY: pages of the case's own.
    unsafe { catch::write(Area::address(0), 44) }?;
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::write(Area::address(1), 1) }.is_err());
    check_eq!(catch::read(Area::address(8))?, 44);
    check!(catch::read(Area::address(3)).is_err());
    let mut operations = [unmap(at(0)?, 3), unmap(at(8)?, 1)];
    check_eq!(batch(&mut operations, OnRefusal::Stop), done(2));
    check_eq!(record(first)?.references, 0);
    give_run(first, 4)?;
    area.close()
}

fn stops_or_goes_on() -> Outcome {
    let area = Area::new()?;
    let first = take_run(2)?;
    let source = PageSource::owned(first);
    let operations = [
        map(at(0)?, source, 1, RW),
        unmap(at(1)?, 1),
        map(at(2)?, source, 1, RW),
    ];
    let untouched = result(&operations[0]);
    let mut stopping = operations;
    check_eq!(batch(&mut stopping, OnRefusal::Stop), done(2));
    check_eq!(result(&stopping[1]), Progress::refused(Error::Vacant));
    check_eq!(result(&stopping[2]), untouched);
    check!(catch::read(Area::address(2)).is_err());
    let mut going_on = operations;
    check_eq!(batch(&mut going_on, OnRefusal::GoOn), done(3));
    let results = going_on.each_ref().map(result);
    check_eq!(results[0], Progress::refused(Error::Occupied));
    check_eq!(results[2], done(1));
    let mut rest = [unmap(at(0)?, 1), unmap(at(2)?, 1)];
    check_eq!(batch(&mut rest, OnRefusal::Stop), done(2));
    give_run(first, 2)?;
    area.close()
}

/// Every other number, those beyond 16 bits included.
fn only_calls_on_mappings() -> Outcome {
    let allowed = [
        Call::insert_pte,
        Call::remove_pte,
        Call::protect_pte,
        Call::insert_superpage,
        Call::pte_note,
    ];
    let others = Call::ALL.iter().filter(|call| !allowed.contains(call));
    let numbers = others.map(|call| u64::from(call.number()));
    let wide = u64::from(Call::insert_pte.number()) | 1 << 16;
    for number in numbers.chain([0, 40, 0xffff, wide, u64::MAX]) {
        let mut operations = [Operation {
            call: number,
            ..Operation::default()
        }];
        check_eq!(
            batch(&mut operations, OnRefusal::Stop),
            done(1),
            "call {number}"
        );
        check_eq!(
            result(&operations[0]),
            Progress::refused(Error::Malformed),
            "call {number}"
        );
    }
    Ok(())
}

fn arguments_are_decoded() -> Outcome {
    let area = Area::new()?;
    let page = take_run(1)?;
    let good = map(at(0)?, PageSource::owned(page), 1, RW);
    for (word, value, error) in [
        (0, 0, Error::BadAddress),
        (0, Area::address(0) + 1, Error::BadAddress),
        (1, 1 << 32, Error::OutOfRange),
        (1, 9 << 56, Error::Malformed),
        (2, 8, Error::Malformed),
        (3, 0, Error::BadCount),
        (4, 0, Error::Malformed),
        (4, 8, Error::Malformed),
    ] {
        let mut operations = [good];
        operations[0].arguments[word] = value;
        check_eq!(batch(&mut operations, OnRefusal::GoOn), done(1));
        check_eq!(
            result(&operations[0]),
            Progress::refused(error),
            "word {word} {value:#x}"
        );
    }
    check_eq!(record(page)?.references, 0);
    give_run(page, 1)?;
    area.close()
}

fn bounds() -> Outcome {
    let area = Area::new()?;
    check_eq!(
        batch(&mut [], OnRefusal::Stop),
        Progress::refused(Error::BadCount)
    );
    let mut many = [note(at(0)?, 5)?; BATCH_BOUND as usize + 1];
    check_eq!(batch(&mut many, OnRefusal::GoOn), done(BATCH_BOUND));
    check_eq!(
        many[BATCH_BOUND as usize].status,
        u64::MAX,
        "the one beyond"
    );
    // An operation at its bound is not whole, and ends the batch.
    let wanted = INSERT_BOUND + 1;
    let first = take_run(wanted)?;
    let source = PageSource::owned(first);
    let mut operations = [map(at(0)?, source, wanted, RW), note(at(200)?, 1)?];
    check_eq!(batch(&mut operations, OnRefusal::Stop), done(1));
    check_eq!(result(&operations[0]), done(INSERT_BOUND));
    // So do operations that were all whole.
    let half = BATCH_MAPPINGS / 2;
    let mut operations = [
        protect(at(0)?, half, Access::READ),
        protect(at(half)?, half, Access::READ),
        note(at(200)?, 1)?,
    ];
    check_eq!(batch(&mut operations, OnRefusal::GoOn), done(2));
    let mut operations = [unmap(at(0)?, 64), unmap(at(64)?, 64)];
    check_eq!(batch(&mut operations, OnRefusal::Stop), done(2));
    give_run(first, wanted)?;
    area.close()
}

/// Where there is no operation, or no place for its result, nothing is done.
fn unreadable_and_unwritable() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    let page = take_run(1)?;
    let border = Area::address(1);
    let good = map(at(8)?, PageSource::owned(page), 1, RW);
    let size = size_of::<Operation>() as u64;
    let raw = |address, count| {
        let words = Arguments::new([address, count, 0, 0, 0, 0]);
        UserOperations::decode(&mut { words })
    };
    let make = |address, count| -> Result<Progress, Failure> {
        // SAFETY: it maps in the area alone.
        Ok(unsafe { stubs::pte_batch(Object::Own, raw(address, count)?, OnRefusal::GoOn) })
    };
    let bad = Progress::refused(Error::BadAddress);
    check_eq!(make(border, 1)?, bad);
    // It lies across the border: the call, or its arguments, or all but the result can be read.
    for words in 1..8 {
        let address = border - 8 * words;
        let words = [
            good.call,
            good.arguments[0],
            good.arguments[1],
            good.arguments[2],
        ];
        let rest = [good.arguments[3], good.arguments[4], 0, 0];
        for (offset, word) in (0..).zip(words.into_iter().chain(rest)) {
            let place = address + 8 * offset;
            if place < border {
                // SAFETY: the page is mapped, and the case's own.
                unsafe { (place as *mut u64).write_volatile(word) };
            }
        }
        check_eq!(make(address, 1)?, bad, "at {address:#x}");
        check!(catch::read(Area::address(8)).is_err());
    }
    // The second of two.
    // SAFETY: the page is mapped, and the case's own.
    unsafe { ((border - size) as *mut Operation).write_volatile(good) };
    let second = Progress {
        done: 1,
        stopped: Some(Error::BadAddress),
    };
    check_eq!(make(border - size, 2)?, second);
    check!(catch::read(Area::address(8)).is_ok());
    crate::area::remove(at(8)?, 1).unless_stopped()?;
    // Read-only.
    // SAFETY: nothing in use is there.
    unsafe { stubs::protect_pte(Object::Own, at(0)?, 1, Access::READ) }.unless_stopped()?;
    check_eq!(make(border - size, 1)?, bad);
    check!(catch::read(Area::address(8)).is_err());
    for (address, count) in [(4, 1), (Area::address(0), u64::MAX), (u64::MAX - 7, 1)] {
        check_eq!(raw(address, count).err(), Some(Error::BadAddress));
    }
    give_run(page, 1)?;
    area.close()
}

fn takes_its_own_memory_away() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    let operations = Area::address(0) as *mut [Operation; 2];
    // SAFETY: the page is mapped, and the case's own.
    unsafe { operations.write_volatile([unmap(at(0)?, 1), note(at(1)?, 1)?]) };
    let words = Arguments::new([Area::address(0), 2, 0, 0, 0, 0]);
    let batch = UserOperations::decode(&mut { words })?;
    // SAFETY: the case uses the page no more.
    let progress = unsafe { stubs::pte_batch(Object::Own, batch, OnRefusal::GoOn) };
    let expected = Progress {
        done: 1,
        stopped: Some(Error::BadAddress),
    };
    check_eq!(progress, expected);
    check!(catch::read(Area::address(0)).is_err());
    let page = area.forget(0)?;
    give_run(page, 1)?;
    area.close()
}

fn space_by_capability() -> Outcome {
    use exopi_rt::capability::{Kind, SpaceRights};
    let area = Area::new()?;
    let page = take_run(1)?;
    let by_pages = mint_pages(page, 1, crate::granted::READ_WRITE)?;
    let of = |rights: SpaceRights| -> Result<_, Failure> {
        let index = own_space()?.index.into();
        Ok(mint_lasting(Kind::Space, index, 1, rights.bits().into())?)
    };
    let source = PageSource::Run(run(page, &by_pages)?);
    for (space, expected) in [
        (of(SpaceRights::MAP)?, [done(1), done(1)]),
        (
            of(SpaceRights::JOIN)?,
            [Progress::refused(Error::MissingRight); 2],
        ),
    ] {
        let mut operations = [map(at(0)?, source, 1, RW), unmap(at(0)?, 1)];
        let words = UserOperations::from(&mut operations[..]);
        let space = Object::Presented(present(&space)?);
        // SAFETY: it maps in the area alone.
        let progress = unsafe { stubs::pte_batch(space, words, OnRefusal::GoOn) };
        check_eq!(progress, done(2));
        check_eq!(operations.each_ref().map(result), expected);
    }
    give_run(page, 1)?;
    area.close()
}
