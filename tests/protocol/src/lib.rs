//! The line protocol that suites and benchmarks speak over the console.
//!
//! A program under test prints one record a line, each beginning with a letter and a blank:
//!
//! ```text
//!   P <suite> <cases> <free pages>                   plan, first
//!   R <case>                                         this case runs now
//!   T <case> ok|fail|skip <µs> [detail]              and this is what came of it
//!   G <kind> <index> <count> <rights>                a capability that the suite has granted
//!   C <suite>                                        checkpoint: it waits for a byte of the console
//!   B <row> <value> <unit>                           a measured row of the benchmark table
//!   V <row> <event> <count>                          an event count that belongs to a row
//!   E <suite> <passed> <failed> <skipped> <free pages>   end, last
//! ```
//!
//! Names have no blanks. The parser is total: any line is a record or it is not. The target prints
//! records with their `Display`, the runner reads them with [`Record::parse`], so that the form is
//! written once.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;
use core::str::FromStr;

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Ok,
    /// It does not.
    Fail,
    /// It could not be tried here; the detail says why.
    Skip,
}

impl Verdict {
    const NAMES: [(Verdict, &'static str); 3] = [
        (Verdict::Ok, "ok"),
        (Verdict::Fail, "fail"),
        (Verdict::Skip, "skip"),
    ];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(verdict, _)| verdict == self);
        f.write_str(name.map_or("?", |(_, name)| name))
    }
}

/// A line of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The plan.
    Plan {
        /// Name of the suite.
        suite: &'a str,
        /// Cases that will follow.
        cases: u64,
        /// Pages on the free list before the first case.
        free_pages: u64,
    },
    /// A case begins.
    Running {
        /// Its name.
        case: &'a str,
    },
    /// A case has ended.
    Case {
        /// Its name.
        case: &'a str,
        /// What came of it.
        verdict: Verdict,
        /// How long it took, in microseconds.
        microseconds: u64,
        /// What else there is to say; empty for nothing.
        detail: &'a str,
    },
    /// The suite has minted a capability that may lie about in memory from now on, or parts of it: `count`
    /// objects from `index` on, and rights as a number.
    Grant {
        /// Name of the objects' kind, in small letters.
        kind: &'a str,
        /// The first object.
        index: u32,
        /// How many objects.
        count: u32,
        /// The bits of the rights.
        rights: u16,
    },
    /// The cases of a suite have ended, and the program waits in its own code for a byte of the console: whoever
    /// follows it may look at all of memory meanwhile.
    Checkpoint {
        /// Name of the suite.
        suite: &'a str,
    },
    /// A measured row.
    Bench {
        /// Its name in the benchmark table.
        row: &'a str,
        /// The figure.
        value: u64,
        /// What it counts.
        unit: &'a str,
    },
    /// An event count of a row.
    Event {
        /// The row's name in the benchmark table.
        row: &'a str,
        /// What was counted.
        event: &'a str,
        /// How often it happened in one round of the row.
        count: u64,
    },
    /// The end.
    End {
        /// Name of the suite.
        suite: &'a str,
        /// Cases that held.
        passed: u64,
        /// Cases that did not.
        failed: u64,
        /// Cases that could not be tried.
        skipped: u64,
        /// Pages on the free list after the last case.
        free_pages: u64,
    },
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Plan {
                suite,
                cases,
                free_pages,
            } => write!(f, "P {suite} {cases} {free_pages}"),
            Self::Running { case } => write!(f, "R {case}"),
            Self::Case {
                case,
                verdict,
                microseconds,
                detail: "",
            } => {
                write!(f, "T {case} {verdict} {microseconds}")
            }
            Self::Case {
                case,
                verdict,
                microseconds,
                detail,
            } => {
                write!(f, "T {case} {verdict} {microseconds} {detail}")
            }
            Self::Grant {
                kind,
                index,
                count,
                rights,
            } => write!(f, "G {kind} {index} {count} {rights}"),
            Self::Checkpoint { suite } => write!(f, "C {suite}"),
            Self::Bench { row, value, unit } => write!(f, "B {row} {value} {unit}"),
            Self::Event { row, event, count } => write!(f, "V {row} {event} {count}"),
            Self::End {
                suite,
                passed,
                failed,
                skipped,
                free_pages,
            } => {
                write!(f, "E {suite} {passed} {failed} {skipped} {free_pages}")
            }
        }
    }
}

/// The words of a line, one at a time.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl<'a> Record<'a> {
    /// The record on a line (without its line end), if it is one and nothing else.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = Words(line);
        let record = match words.next()? {
            "P" => Self::Plan {
                suite: words.next()?,
                cases: words.number()?,
                free_pages: words.number()?,
            },
            "R" => Self::Running {
                case: words.next()?,
            },
            "T" => {
                let case = words.next()?;
                let verdict = words.next()?;
                let (verdict, _) = Verdict::NAMES
                    .into_iter()
                    .find(|(_, name)| *name == verdict)?;
                let microseconds = words.number()?;
                return Some(Self::Case {
                    case,
                    verdict,
                    microseconds,
                    detail: words.0,
                });
            }
            "G" => Self::Grant {
                kind: words.next()?,
                index: words.number()?,
                count: words.number()?,
                rights: words.number()?,
            },
            "C" => Self::Checkpoint {
                suite: words.next()?,
            },
            "B" => Self::Bench {
                row: words.next()?,
                value: words.number()?,
                unit: words.next()?,
            },
            "V" => Self::Event {
                row: words.next()?,
                event: words.next()?,
                count: words.number()?,
            },
            "E" => Self::End {
                suite: words.next()?,
                passed: words.number()?,
                failed: words.number()?,
                skipped: words.number()?,
                free_pages: words.number()?,
            },
            _ => return None,
        };
        words.end()?;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    proptest! {
        #[test]
        fn records_survive_the_line(
            name in "[a-z_:]{1,20}",
            other in "[a-z]{1,9}",
            detail in "([!-~]([ -~]{0,30}[!-~])?)?",
            numbers: [u64; 4],
            verdict in 0..3usize,
        ) {
            let [a, b, c, d] = numbers;
            let verdict = Verdict::NAMES[verdict].0;
            for record in [
                Record::Plan { suite: &name, cases: a, free_pages: b },
                Record::Running { case: &name },
                Record::Case { case: &name, verdict, microseconds: a, detail: &detail },
                Record::Grant {
                    kind: &other,
                    index: a as u32,
                    count: b as u32,
                    rights: c as u16,
                },
                Record::Checkpoint { suite: &name },
                Record::Bench { row: &name, value: a, unit: &other },
                Record::Event { row: &name, event: &other, count: a },
                Record::End { suite: &name, passed: a, failed: b, skipped: c, free_pages: d },
            ] {
                let line = record.to_string();
                prop_assert_eq!(Record::parse(&line), Some(record));
            }
        }

        #[test]
        fn any_line_is_a_record_or_not(line: String) {
            let _ = Record::parse(&line);
        }
    }

    #[test]
    fn nearly_records_are_none() {
        for line in [
            "",
            "P",
            "P a 1",
            "P a 1 2 3",
            "T a good 1",
            "E a 1 2 3 -4",
            "p a 1 2",
            "R",
            "R a b",
            "C",
            "G page 1 2",
            "G page 4294967296 1 1",
            "G page 1 1 65536",
        ] {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }
}
