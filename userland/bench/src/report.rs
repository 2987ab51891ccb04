//! Running the rows and saying what came of them, in the suites' line protocol.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use exopi_protocol::{Record, Verdict};
use exopi_rt::exposed::Event;
use exopi_rt::{Error, ExitCode, args, exposed, println, time};

use crate::rows::{self, Measured, NETWORK, ROUNDS, ROWS, Row};
use crate::{flood, longest, measure, wire};

/// Name of the suite.
const SUITE: &str = "bench";
/// A figure that the kernel has noted by itself: name, how it is read, what it may be off by.
type Noted = (&'static str, fn() -> u64, &'static str);
/// Those that need no rounds.
const NOTED: [Noted; 3] = [
    (
        "boot_to_el0",
        rows::boot_to_el0,
        "+-16, a tick of the clock",
    ),
    (
        "max_lock_hold",
        rows::max_lock_hold,
        "since boot, +-16, a tick of the clock",
    ),
    (
        "max_irq_masked",
        rows::max_irq_masked,
        "since boot, +-16, a tick of the clock",
    ),
];
/// What rows count.
const UNIT: &str = "instructions";

/// Measures every row, or what else the boot arguments ask for.
pub(crate) fn main() -> ExitCode {
    let (rows, noted): (&[Measured], &[Noted]) = match args().value("rows") {
        Some("flood") => return flood::main(),
        Some("rate") => return wire::rates(),
        Some("network") => (NETWORK, &[]),
        _ => (ROWS, &NOTED),
    };
    // What the program keeps it takes now, so that free pages before and after are the same.
    let results = Vec::with_capacity(rows.len());
    drop(String::with_capacity(1024));
    if let Err(error) = rows::prepare().and_then(|()| wire::prepare()) {
        println!("bench: no page for tables: {error}");
        return ExitCode::FAILURE;
    }
    let counting = measure::events().iter().any(|count| *count != 0);
    println!(
        "{}",
        Record::Plan {
            suite: SUITE,
            cases: (rows.len() + noted.len()) as u64,
            free_pages: exposed::free_pages(),
        }
    );
    let mut failed = measure_rows(rows, results, counting);
    if !noted.is_empty()
        && let Err(error) = longest::make()
    {
        println!("bench: a call that is to take long was refused: {error}");
        return ExitCode::FAILURE;
    }
    for noted in noted {
        failed += u64::from(!print_noted(*noted));
    }
    println!(
        "{}",
        Record::End {
            suite: SUITE,
            passed: (rows.len() + noted.len()) as u64 - failed,
            failed,
            skipped: 0,
            free_pages: exposed::free_pages(),
        }
    );
    u8::from(failed != 0).into()
}

/// What one row's rounds gave, and how long they took in microseconds.
type Outcome = (Result<Row, Error>, u64);

/// Measures every row, then prints them all; gives how many failed. Printing would leave the console's
/// interrupts to be taken in the next row's rounds.
fn measure_rows(rows: &[Measured], mut results: Vec<Outcome>, counting: bool) -> u64 {
    for (name, measured) in rows {
        let begin = time::ticks();
        let row = measured(name);
        results.push((row, time::microseconds(time::ticks() - begin)));
    }
    let mut failed = 0;
    for ((name, _), (row, microseconds)) in rows.iter().zip(results) {
        println!("{}", Record::Running { case: name });
        let (verdict, detail) = match row {
            Ok(row) => {
                print_row(&row, counting);
                (Verdict::Ok, spread(&row))
            }
            Err(error) => {
                failed += 1;
                (Verdict::Fail, format!("a call was refused: {error}"))
            }
        };
        result(name, verdict, microseconds, &detail);
    }
    failed
}

/// The line that ends a case.
fn result(case: &str, verdict: Verdict, microseconds: u64, detail: &str) {
    println!(
        "{}",
        Record::Case {
            case,
            verdict,
            microseconds,
            detail,
        }
    );
}

/// A row's figure, and what the kernel has counted of it if it was built to count.
fn print_row(row: &Row, counting: bool) {
    let (name, value) = (row.name, row.least.instructions);
    println!(
        "{}",
        Record::Bench {
            row: name,
            value,
            unit: UNIT,
        }
    );
    if !counting {
        return;
    }
    for ((_, event), count) in Event::ALL.iter().zip(row.least.events) {
        let row = row.name;
        println!("{}", Record::Event { row, event, count });
    }
}

/// How far apart the rounds are, if they are.
fn spread(row: &Row) -> String {
    let (least, most) = (row.least.instructions, row.most);
    if least == most {
        format!("{ROUNDS} rounds alike")
    } else {
        format!("{ROUNDS} rounds from {least} to {most}")
    }
}

/// Prints a figure that the kernel has noted; whether it has.
fn print_noted((row, read, detail): Noted) -> bool {
    println!("{}", Record::Running { case: row });
    let value = read();
    println!(
        "{}",
        Record::Bench {
            row,
            value,
            unit: UNIT,
        }
    );
    let (verdict, detail) = match value {
        0 => (Verdict::Fail, "the kernel has noted nothing"),
        _ => (Verdict::Ok, detail),
    };
    result(row, verdict, 0, detail);
    verdict == Verdict::Ok
}
