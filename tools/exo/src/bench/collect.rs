//! What a benchmark run printed: rows and events, or why they do not count.

use exopi_protocol::{Record, Verdict};

use crate::lines::{LONGEST, Line, without_time};

/// A measured row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The figure.
    pub value: u64,
    /// What it counts.
    pub unit: String,
}

/// An event count of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The row's name.
    pub row: String,
    /// What was counted.
    pub name: String,
    /// How often it happened in one round.
    pub count: u64,
}

/// What a run printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Rows, in order.
    pub rows: Vec<Row>,
    /// Event counts, in order.
    pub events: Vec<Event>,
}

/// Rows that are a maximum since boot, by what their names begin with: read by the clock, whose ticks are 16 instructions,
/// while devices of the emulator, which do not count instructions, do their part.
const MAXIMA: &str = "max_";
/// By how much two of them may differ, in instructions.
const READING_ERROR: u64 = 35;

/// Rows that hang on the keys by which filters hash, which the kernel draws at boot, by what their names begin with: each
/// run has its own, and the first is judged.
const DRAWN: &str = "dpf_";

impl Row {
    /// Whether another run of the same build may give this.
    fn agrees_with(&self, other: &Self) -> bool {
        let error = if self.name.starts_with(DRAWN) {
            u64::MAX
        } else if self.name.starts_with(MAXIMA) {
            READING_ERROR
        } else {
            0
        };
        self.value.abs_diff(other.value) <= error
    }
}

impl Measured {
    /// The same with the least of each row that another run has, too.
    pub fn least(mut self, other: &Self) -> Self {
        for row in &mut self.rows {
            let there = other.rows.iter().find(|there| there.name == row.name);
            row.value = there.map_or(row.value, |there| row.value.min(there.value));
        }
        self
    }

    /// How another run of the same build differs: names of rows, with both values.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let named = |rows: &'_ [Row], name: &str| rows.iter().find(|row| row.name == name).cloned();
        let told = |row: Option<Row>| row.map_or("nothing".to_owned(), |row| row.value.to_string());
        let only_there = other
            .rows
            .iter()
            .filter(|row| self.rows.iter().all(|here| here.name != row.name));
        self.rows
            .iter()
            .chain(only_there)
            .map(|row| {
                let first = named(&self.rows, &row.name);
                (&row.name, first, named(&other.rows, &row.name))
            })
            .filter(|(_, first, second)| match (first, second) {
                (Some(first), Some(second)) => !first.agrees_with(second),
                _ => true,
            })
            .map(|(name, first, second)| format!("{name}: {}, then {}", told(first), told(second)))
            .collect()
    }
}

/// Follows a run.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    measured: Measured,
    wrong: Vec<String>,
    /// A plan came, and no end line yet.
    planned: bool,
}

impl Collector {
    /// Most things wrong that are told.
    const MOST: usize = 20;
    /// More rows than any table has.
    const MOST_ROWS: usize = 10_000;

    /// The guest printed a line.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Text(text) => self.text(text),
            Line::Noise(_) => self.wrong("bytes that are no text on the console".to_owned()),
            Line::Overlong(_) => self.wrong(format!("a line longer than {LONGEST} bytes")),
        }
    }

    fn text(&mut self, text: &str) {
        let plain = without_time(text);
        let fatal = [
            "KERNEL ",
            "warning:",
            "boot image refused:",
            "first environment suspended:",
        ];
        if fatal.iter().any(|begin| plain.starts_with(begin)) {
            return self.wrong(plain.to_owned());
        }
        match Record::parse(text) {
            Some(Record::Bench { row, value, unit }) => self.row(row, value, unit),
            Some(Record::Event { row, event, count }) => self.event(row, event, count),
            Some(Record::Plan { .. }) => self.planned = true,
            Some(Record::End { failed, .. }) => {
                self.planned = false;
                if failed > 0 {
                    self.wrong(format!("{failed} failed"));
                }
            }
            Some(Record::Case {
                case,
                verdict: Verdict::Fail,
                detail,
                ..
            }) => self.wrong(format!("{case} failed: {detail}")),
            // Benchmarks have no checkpoints: nobody would answer.
            Some(Record::Checkpoint { .. } | Record::Grant { .. }) => {
                self.wrong(format!("not a record of a benchmark: {text}"));
            }
            Some(Record::Case { .. } | Record::Running { .. }) | None => {}
        }
    }

    fn row(&mut self, name: &str, value: u64, unit: &str) {
        if self.measured.rows.iter().any(|row| row.name == name) {
            return self.wrong(format!("{name} was measured twice"));
        }
        if self.measured.rows.len() < Self::MOST_ROWS {
            self.measured.rows.push(Row {
                name: name.to_owned(),
                value,
                unit: unit.to_owned(),
            });
        }
    }

    fn event(&mut self, row: &str, name: &str, count: u64) {
        if self.measured.events.len() < Self::MOST_ROWS {
            self.measured.events.push(Event {
                row: row.to_owned(),
                name: name.to_owned(),
                count,
            });
        }
    }

    fn wrong(&mut self, what: String) {
        if self.wrong.len() < Self::MOST {
            self.wrong.push(what);
        }
    }

    /// What was measured, or what was wrong. The run ended with this status in words, if it failed.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn finish(mut self, ended: Result<(), String>) -> Result<Measured, Vec<String>> {
        if let Err(status) = ended {
            self.wrong(status);
        }
        if self.planned {
            self.wrong("no end line".to_owned());
        }
        // A build that counts events prints those alone.
        if self.measured.rows.is_empty() && self.measured.events.is_empty() {
            self.wrong("nothing was measured".to_owned());
        }
        if self.wrong.is_empty() {
            Ok(self.measured)
        } else {
            Err(self.wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(lines: &[&str]) -> Result<Measured, Vec<String>> {
        let mut collector = Collector::default();
        for line in lines {
            collector.line(&Line::Text((*line).to_owned()));
        }
        collector.finish(Ok(()))
    }

    #[test]
    fn rows_and_events_are_collected() {
        let measured = collected(&["[0.1] board", "B a 41 instructions", "V a tlbi 2"]).unwrap();
        assert_eq!(measured.rows[0].value, 41);
        assert_eq!(measured.events[0].count, 2);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |lines: &[&str]| collected(lines).unwrap_err().join("; ");
        let row = "B a 41 instructions";
        assert_eq!(wrong(&[]), "nothing was measured");
        assert_eq!(wrong(&[row, row]), "a was measured twice");
        assert_eq!(wrong(&[row, "[0.1] warning: x"]), "warning: x");
        assert_eq!(wrong(&[row, "KERNEL PANIC x"]), "KERNEL PANIC x");
        assert_eq!(wrong(&["P b 1 7", row]), "no end line");
        assert_eq!(wrong(&[row, "T c fail 1 oh"]), "c failed: oh");
        let ended = Collector::default().finish(Err("status 3".to_owned()));
        assert!(ended.unwrap_err().contains(&"status 3".to_owned()));
    }

    #[test]
    fn runs_that_differ_are_told_apart() {
        let first = collected(&["B a 41 i", "B b 2 i", "B c 3 i"]).unwrap();
        let second = collected(&["B a 41 i", "B c 4 i", "B d 5 i"]).unwrap();
        assert_eq!(first.differences(&first), Vec::<String>::new());
        assert_eq!(
            first.differences(&second),
            ["b: 2, then nothing", "c: 3, then 4", "d: nothing, then 5"]
        );
        let least = second.least(&first);
        let values: Vec<u64> = least.rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [41, 3, 5]);
        let maximum = |value: u64| collected(&[&format!("B max_a {value} i")]).unwrap();
        assert!(maximum(100).differences(&maximum(135)).is_empty());
        assert_eq!(
            maximum(136).differences(&maximum(100)),
            ["max_a: 136, then 100"]
        );
        let drawn = |value: u64| collected(&[&format!("B dpf_a {value} i")]).unwrap();
        assert!(drawn(7).differences(&drawn(9)).is_empty());
    }
}
