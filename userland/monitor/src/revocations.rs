//! What environments were asked for, and what came of it, as a table.

use alloc::format;
use alloc::string::String;

use exopi_rt::domain::{ObjectName, Resource};
use exopi_rt::revocation::{RevocationRecord, RevocationState};
use exopi_rt::{exposed, println, time};

use crate::show::dotted;

/// The first line, for [`row`]s below it.
const HEADING: &str = "\
holder       manager      resource     state      asked  given  taken missed  time left";

/// The last request to each environment that there has been one to.
pub fn show() {
    println!("{HEADING}");
    let asked = (0..u16::MAX).map_while(|index| Some((index, exposed::revocation_at(index)?)));
    for (index, record) in asked.filter(|(_, record)| record.state() != RevocationState::None) {
        let left = record.deadline.saturating_sub(time::ticks());
        let milliseconds = time::microseconds(left).div_ceil(1000);
        println!(
            "{}",
            row(index, holder(index, &record), &record, milliseconds)
        );
    }
}

/// Whom a request was to, if it lives: the place may have been given to another one since.
fn holder(index: u16, asked: &RevocationRecord) -> Option<ObjectName> {
    let found = exposed::environments().find(|(name, _)| name.index == index);
    let gone = asked.state() == RevocationState::Died;
    let (name, _) = found.filter(|(_, record)| record.account == asked.owner() && !gone)?;
    Some(name)
}

/// A request to the environment in a place, which is `holder` if it lives, with so many milliseconds left.
fn row(index: u16, holder: Option<ObjectName>, record: &RevocationRecord, left: u64) -> String {
    let holder = holder.map_or_else(|| format!("{index}.gone"), dotted);
    let resource = Resource::ALL.get(usize::from(record.resource));
    let left = match record.state() {
        RevocationState::Asked | RevocationState::Extended => format!("{left} ms"),
        _ => "-".into(),
    };
    format!(
        "{holder:<12} {:<12} {:<12} {:<9} {:>6} {:>6} {:>6} {:>6} {left:>10}",
        dotted(ObjectName::from_word(record.by)),
        resource.map_or("?", |resource| name(*resource)),
        state(record.state()),
        record.asked,
        record.given,
        record.taken,
        record.missed,
    )
}

const fn name(resource: Resource) -> &'static str {
    match resource {
        Resource::Pages => "pages",
        Resource::Environments => "environments",
        Resource::Spaces => "spaces",
        Resource::Accounts => "accounts",
        Resource::Slices => "slices",
        Resource::Filters => "filters",
        Resource::Frames => "frames",
    }
}

const fn state(state: RevocationState) -> &'static str {
    match state {
        RevocationState::None => "none",
        RevocationState::Asked => "asked",
        RevocationState::Extended => "extended",
        RevocationState::Taking => "taking",
        RevocationState::Given => "given",
        RevocationState::Taken => "taken",
        RevocationState::Died => "died",
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use exopi_rt::capability::Epoch;

    use super::*;

    #[test]
    fn a_row_stands_under_its_heading() {
        let manager = ObjectName {
            index: 3,
            epoch: Epoch::from_low_bits(17),
        };
        let mut record = RevocationRecord {
            by: manager.word(),
            state: RevocationState::Extended as u8,
            asked: 12,
            given: 4,
            taken: 5,
            missed: 1,
            ..RevocationRecord::default()
        };
        let shown = row(7, None, &record, 250);
        let words: Vec<&str> = shown.split_whitespace().collect();
        let expected = [
            "7.gone", "3.17", "pages", "extended", "12", "4", "5", "1", "250", "ms",
        ];
        assert_eq!(words, expected);
        for (word, under) in [("12", "asked"), ("4", "given"), ("5", "taken")] {
            let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
            assert_eq!(
                end(&shown, &format!(" {word} ")),
                end(HEADING, &format!(" {under} "))
            );
        }
        assert_eq!(shown.len(), HEADING.len());
        record.state = RevocationState::Taken as u8;
        assert!(row(7, None, &record, 250).ends_with(" -"));
    }
}
