//! The benchmark table: bars and peers, a run, the stored run, and what is written of them.
//!
//! Bars and peers' figures have one place, `docs/benchmarks/bars.tsv`; here is its parser, and
//! nothing here knows a row by name.

use std::fmt::Write as _;

use anyhow::{Context, ensure};

use super::collect::{Measured, Row};

/// A line of the bars' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The row that it is for.
    pub row: String,
    /// What is counted.
    pub unit: String,
    /// What a value must not exceed; of [`TIMES`], what it must reach.
    pub bar: u64,
    /// Where it should be.
    pub beyond: u64,
    /// Figures of others, `-` for none.
    pub peers: String,
    /// Where these come from: system by system, apart by `; `.
    pub source: String,
}

/// The unit of ratios to others, of which more is better.
pub const TIMES: &str = "times";

impl Bar {
    fn is_met(&self, value: u64) -> bool {
        in_order(&self.unit, value, self.bar)
    }

    fn is_beyond(&self, value: u64) -> bool {
        in_order(&self.unit, value, self.beyond)
    }
}

/// Whether a value is as good as another one, at least.
fn in_order(unit: &str, value: u64, other: u64) -> bool {
    if unit == TIMES {
        value >= other
    } else {
        value <= other
    }
}

/// Names of the columns of the bars' table.
pub const BARS_COLUMNS: [&str; 7] = [
    "row",
    "unit",
    "bar",
    "beyond",
    "peers",
    "measured",
    "source of the peers' figures",
];

/// Reads the bars' table.
///
/// # Errors
/// A line that is not of its form, with its number.
pub fn parse_bars(text: &str) -> anyhow::Result<Vec<Bar>> {
    let mut bars: Vec<Bar> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<_> = line.split('\t').collect();
        if index == 0 {
            ensure!(
                cells == BARS_COLUMNS,
                "line 1: the columns must be {}",
                BARS_COLUMNS.join(", ")
            );
            continue;
        }
        let bar = bar(&cells).with_context(|| format!("line {}", index + 1))?;
        ensure!(
            bars.iter().all(|other| other.row != bar.row),
            "line {}: a second line for {}",
            index + 1,
            bar.row
        );
        bars.push(bar);
    }
    Ok(bars)
}

fn bar(cells: &[&str]) -> anyhow::Result<Bar> {
    ensure!(
        cells.len() == BARS_COLUMNS.len() && cells.iter().all(|cell| !cell.trim().is_empty()),
        "{} cells are wanted, none empty; - is for nothing",
        BARS_COLUMNS.len()
    );
    let number = |cell: &str| {
        cell.parse()
            .with_context(|| format!("{cell} is not a number"))
    };
    let (row, unit, peers, source) = (cells[0], cells[1], cells[4], cells[6]);
    let (bar, beyond) = (number(cells[2])?, number(cells[3])?);
    ensure!(
        in_order(unit, beyond, bar),
        "beyond lies on the wrong side of the bar"
    );
    ensure!(
        (peers == "-") == (source == "-"),
        "peers' figures and their source belong together"
    );
    Ok(Bar {
        row: row.to_owned(),
        unit: unit.to_owned(),
        bar,
        beyond,
        peers: peers.to_owned(),
        source: source.to_owned(),
    })
}

/// How a row stands to its bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It meets its bar.
    Pass,
    /// It does not.
    Fail,
    /// It has no bar.
    None,
}

impl Standing {
    fn of(row: &Row, bar: Option<&Bar>) -> Self {
        match bar {
            None => Self::None,
            Some(bar) if bar.is_met(row.value) => Self::Pass,
            Some(_) => Self::Fail,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::None => "none",
        }
    }
}

/// Versions that a run was taken with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The emulator's.
    pub emulator: String,
    /// The toolchain's.
    pub toolchain: String,
}

/// A run beside its bars and the stored run.
#[derive(Debug)]
pub struct Table<'a> {
    /// The bars.
    pub bars: &'a [Bar],
    /// What was measured, by the build without counters.
    pub measured: &'a Measured,
    /// Event counts, by the build with counters.
    pub events: &'a Measured,
    /// The stored run.
    pub stored: Option<&'a Stored>,
    /// What the run was taken with.
    pub versions: &'a Versions,
}

impl Table<'_> {
    fn bar(&self, row: &Row) -> Option<&Bar> {
        self.bars.iter().find(|bar| bar.row == row.name)
    }

    /// What is wrong with the run, in rows whose names begin with `judged`.
    pub fn failures(&self, judged: &str) -> Vec<String> {
        let mut failures = Vec::new();
        let is_judged = |name: &str| name.starts_with(judged);
        for row in self.measured.rows.iter().filter(|row| is_judged(&row.name)) {
            let Some(bar) = self.bar(row) else { continue };
            if row.unit != bar.unit {
                failures.push(format!(
                    "{} is in {}, its bar in {}",
                    row.name, row.unit, bar.unit
                ));
            } else if !bar.is_met(row.value) {
                failures.push(format!(
                    "{} is {}, its bar {}",
                    row.name, row.value, bar.bar
                ));
            }
        }
        for bar in self.bars.iter().filter(|bar| is_judged(&bar.row)) {
            if self.measured.rows.iter().all(|row| row.name != bar.row) {
                failures.push(format!("{} has a bar but was not measured", bar.row));
            }
        }
        failures
    }

    /// The machine-readable copy.
    pub fn latest(&self) -> String {
        let mut text = String::new();
        for row in &self.measured.rows {
            let bar = self.bar(row);
            let standing = Standing::of(row, bar).name();
            let bar = bar.map_or("-".to_owned(), |bar| bar.bar.to_string());
            let Row { name, value, unit } = row;
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}\t{value}\t{unit}\t{bar}\t{standing}");
        }
        text
    }

    /// What `--store` keeps.
    pub fn to_store(&self) -> String {
        let Versions {
            emulator,
            toolchain,
        } = self.versions;
        let mut text = format!(
            "# Written by exo bench --store.\n# emulator: {emulator}\n# toolchain: {toolchain}\n\
             row\tvalue\tunit\tevents\n"
        );
        for row in &self.measured.rows {
            let Row { name, value, unit } = row;
            let events = self.events(row);
            let _ = writeln!(text, "{name}\t{value}\t{unit}\t{events}");
        }
        text
    }

    fn events(&self, row: &Row) -> String {
        let of_row = self
            .events
            .events
            .iter()
            .filter(|event| event.row == row.name);
        let events: Vec<_> = of_row
            .filter(|event| event.count > 0)
            .map(|event| format!("{} {}", event.name, event.count))
            .collect();
        if events.is_empty() {
            "-".to_owned()
        } else {
            events.join(", ")
        }
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut lines = vec![
            [
                "row", "value", "unit", "bar", "beyond", "", "stored", "change", "events", "peers",
            ]
            .map(str::to_owned),
        ];
        lines.extend(self.measured.rows.iter().map(|row| self.line(row)));
        let mut text = String::new();
        let Versions {
            emulator,
            toolchain,
        } = self.versions;
        let _ = writeln!(text, "{emulator}; {toolchain}");
        if let Some(stored) = self
            .stored
            .filter(|stored| stored.versions != *self.versions)
        {
            let Versions {
                emulator,
                toolchain,
            } = &stored.versions;
            let _ = writeln!(text, "stored values: {emulator}; {toolchain}");
        }
        text.push_str(&aligned(&lines));
        for source in self.sources() {
            let _ = writeln!(text, "peers: {source}");
        }
        text
    }

    /// Where peers' figures come from, each system and version once.
    fn sources(&self) -> Vec<&str> {
        let measured = self.measured.rows.iter().filter_map(|row| self.bar(row));
        let mut sources = Vec::new();
        for bar in measured.filter(|bar| bar.source != "-") {
            for source in bar.source.split("; ") {
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        sources
    }

    fn line(&self, row: &Row) -> [String; 10] {
        let bar = self.bar(row);
        let none = || "-".to_owned();
        let standing = match (Standing::of(row, bar), bar) {
            (Standing::Pass, Some(bar)) if bar.is_beyond(row.value) => "pass, beyond",
            (standing, _) => standing.name(),
        };
        let stored = self.stored.and_then(|stored| stored.value(&row.name));
        let change = stored.map(|stored| i128::from(row.value) - i128::from(stored));
        [
            row.name.clone(),
            row.value.to_string(),
            row.unit.clone(),
            bar.map_or_else(none, |bar| bar.bar.to_string()),
            bar.map_or_else(none, |bar| bar.beyond.to_string()),
            standing.to_owned(),
            stored.map_or_else(none, |stored| stored.to_string()),
            change.map_or_else(none, |change| format!("{change:+}")),
            self.events(row),
            bar.map_or_else(none, |bar| bar.peers.clone()),
        ]
    }
}

/// Columns of numbers, to be aligned on the right.
const NUMBERS: [usize; 5] = [1, 3, 4, 6, 7];

fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|cell| lines.iter().map(|line| line[cell].len()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = if NUMBERS.contains(&column) {
                write!(row, "{cell:>width$}  ")
            } else {
                write!(row, "{cell:<width$}  ")
            };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// The stored run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    versions: Versions,
    rows: Vec<(String, u64)>,
}

impl Stored {
    /// Reads what [`Table::to_store`] wrote.
    ///
    /// # Errors
    /// A line that is not of its form.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut stored = Self::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                match comment.trim().split_once(": ") {
                    Some(("emulator", version)) => stored.versions.emulator = version.to_owned(),
                    Some(("toolchain", version)) => stored.versions.toolchain = version.to_owned(),
                    _ => {}
                }
                continue;
            }
            let mut cells = line.split('\t');
            match (cells.next(), cells.next()) {
                (Some("row"), _) => {}
                (Some(row), Some(value)) => {
                    let value = value
                        .parse()
                        .with_context(|| format!("{row}: {value} is not a number"))?;
                    stored.rows.push((row.to_owned(), value));
                }
                _ => anyhow::bail!("not a row: {line}"),
            }
        }
        Ok(stored)
    }

    fn value(&self, row: &str) -> Option<u64> {
        let (_, value) = self.rows.iter().find(|(name, _)| name == row)?;
        Some(*value)
    }
}

#[cfg(test)]
mod tests;
