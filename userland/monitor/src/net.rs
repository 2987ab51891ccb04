//! Interfaces, filters, packet rings and send capabilities, as tables.

use alloc::format;
use alloc::string::String;

use exopi_rt::net::{
    FilterRecord, FilterState, InterfaceRecord, InterfaceState, MAX_INTERFACES, RingRecord,
    SendRecord, filter_index,
};
use exopi_rt::page::Owner;
use exopi_rt::{exposed, println};

const INTERFACES: &str = "\
interface state  filters   received  unclaimed     copies    no room       sent       lost    refused";
const FILTERS: &str = "filter  parent key keys rings atoms state    account         frames";
const RINGS: &str = "ring   entries  filters tap account         frames       lost";
const SENDS: &str = "send   parent interface account         frames";

/// All that there are.
pub fn show() {
    println!("{INTERFACES}");
    let interfaces = (0..MAX_INTERFACES).filter_map(|n| Some((n, exposed::interface_at(n)?)));
    for (number, record) in interfaces {
        println!("{}", interface(number, &record));
    }
    println!("{FILTERS}");
    let header = exposed::header();
    for number in 0..MAX_INTERFACES {
        let each = header.filters.count / header.interfaces.count.max(1);
        let indices = (0..each as usize).filter_map(|place| filter_index(number, place));
        for (index, record) in indices.filter_map(|at| Some((at, exposed::filter_at(at)?))) {
            if record.epoch != 0 {
                println!("{}", filter(index, &record));
            }
        }
    }
    println!("{RINGS}");
    for index in 0..header.rings.count as u16 {
        if let Some(record) = exposed::ring_at(index).filter(|record| record.epoch != 0) {
            println!("{}", ring(index, &record));
        }
    }
    println!("{SENDS}");
    for index in 0..header.sends.count as u16 {
        if let Some(record) = exposed::send_at(index).filter(|record| record.epoch != 0) {
            println!("{}", send(index, &record));
        }
    }
}

fn account(owner: Owner) -> String {
    format!("{}.{}", owner.index(), owner.epoch().bits())
}

fn interface(number: usize, record: &InterfaceRecord) -> String {
    let state = match record.state {
        InterfaceState::Absent => "none",
        InterfaceState::Down => "down",
        InterfaceState::Up => "up",
    };
    let refused = record.refused_rule + record.refused_length + record.refused_many;
    format!(
        "{number:<9} {state:<6} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {refused:>10}",
        record.filters,
        record.received,
        record.unclaimed,
        record.copies,
        record.no_room,
        record.sent,
        record.lost,
    )
}

fn filter(index: u16, record: &FilterRecord) -> String {
    let state = match record.state {
        FilterState::Free => "free",
        FilterState::Live => "live",
        FilterState::Retired => "retired",
        FilterState::Leaving => "leaving",
    };
    format!(
        "{index:<7} {:>6} {:>3} {:>4} {:>5} {:>5} {state:<8} {:<12} {:>9}",
        record.parent,
        record.key,
        record.keys,
        record.references,
        record.atoms,
        account(record.account),
        record.frames,
    )
}

fn ring(index: u16, record: &RingRecord) -> String {
    let entries = u32::from(record.pages) << (12 - u32::from(record.entry.min(12)));
    let tap = match record.tap.checked_sub(1) {
        Some(interface) => format!("{interface}"),
        None => "-".into(),
    };
    format!(
        "{index:<6} {entries:>7} {:>8} {tap:>3} {:<12} {:>9} {:>10}",
        record.references,
        account(record.account),
        record.frames,
        record.lost,
    )
}

fn send(index: u16, record: &SendRecord) -> String {
    format!(
        "{index:<6} {:>6} {:>9} {:<12} {:>9}",
        record.parent,
        record.interface,
        account(record.account),
        record.frames,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_under_their_headings() {
        let rows = [
            (INTERFACES, interface(1, &InterfaceRecord::default())),
            (FILTERS, filter(0x4001, &FilterRecord::FREE)),
            (RINGS, ring(3, &RingRecord::FREE)),
            (SENDS, send(5, &SendRecord::FREE)),
        ];
        for (heading, row) in rows {
            assert_eq!(row.len(), heading.len(), "{heading}\n{row}");
        }
    }
}
