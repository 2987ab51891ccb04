//! Bars as they are and as they must not be, and the forms that are written.

use super::*;
use crate::bench::collect::Event;

fn bars(lines: &[&str]) -> anyhow::Result<Vec<Bar>> {
    let mut text = BARS_COLUMNS.join("\t");
    for line in lines {
        text.push('\n');
        text.push_str(&line.replace('|', "\t"));
    }
    parse_bars(&text)
}

fn measured(rows: &[(&str, u64)]) -> Measured {
    let row = |(name, value): &(&str, u64)| Row {
        name: (*name).to_owned(),
        value: *value,
        unit: "instructions".to_owned(),
    };
    Measured {
        rows: rows.iter().map(row).collect(),
        events: vec![Event {
            row: "null_call".to_owned(),
            name: "exceptions".to_owned(),
            count: 1,
        }],
    }
}

const NULL_CALL: &str = "null_call|instructions|45|30|seL4 91|svc|sel4bench; QEMU 8";

#[test]
fn the_table_in_the_repository_is_well_formed() {
    let root = crate::workspace::root().unwrap();
    let text = std::fs::read_to_string(root.join("docs/benchmarks/bars.tsv")).unwrap();
    let bars = parse_bars(&text).unwrap();
    assert!(bars.iter().any(|bar| bar.row == "null_call"));
}

#[test]
fn bars_that_cannot_be_meant_are_refused() {
    let refusal = |lines: &[&str]| format!("{:#}", bars(lines).unwrap_err());
    assert!(refusal(&["a|i|45|30|-|svc"]).contains("line 2: 7 cells"));
    assert!(refusal(&["a|i|45||-|svc|-"]).contains("none empty"));
    assert!(refusal(&["a|i|x|30|-|svc|-"]).contains("x is not a number"));
    assert!(refusal(&["a|i|30|45|-|svc|-"]).contains("wrong side"));
    assert!(refusal(&["a|times|30|29|-|svc|-"]).contains("wrong side"));
    assert!(bars(&["a|times|30|45|-|svc|-"]).is_ok());
    assert!(refusal(&["a|i|45|30|seL4 9|svc|-"]).contains("belong together"));
    assert!(refusal(&[NULL_CALL, NULL_CALL]).contains("line 3: a second line for null_call"));
    assert!(parse_bars("row\tbar\n").is_err());
}

#[test]
fn run_is_judged_told_and_stored() {
    let bars = bars(&[
        NULL_CALL,
        "lost|instructions|9|8|-|svc|-",
        "gone|instructions|9|8|Minix 12|svc|a book",
        "other|instructions|7|7|Linux 12|svc|lmbench; QEMU 8",
    ])
    .unwrap();
    let measured = measured(&[("null_call", 46), ("other", 7), ("bare", 3)]);
    let versions = Versions {
        emulator: "QEMU 10".to_owned(),
        toolchain: "rustc 1".to_owned(),
    };
    let stored = Stored::parse("# emulator: QEMU 9\nrow\tvalue\nnull_call\t48\ti\t-\n").unwrap();
    let table = Table {
        bars: &bars,
        measured: &measured,
        events: &measured,
        stored: Some(&stored),
        versions: &versions,
    };
    assert_eq!(
        table.latest(),
        "null_call\t46\tinstructions\t45\tfail\nother\t7\tinstructions\t7\tpass\nbare\t3\tinstructions\t-\tnone\n"
    );
    assert_eq!(
        table.failures(""),
        [
            "null_call is 46, its bar 45",
            "lost has a bar but was not measured",
            "gone has a bar but was not measured"
        ]
    );
    assert_eq!(table.failures("null"), ["null_call is 46, its bar 45"]);
    assert_eq!(table.failures("max_"), Vec::<String>::new());
    let text = table.to_text();
    for part in [
        "QEMU 10; rustc 1",
        "stored values: QEMU 9",
        "48",
        "-2",
        "exceptions 1",
        "seL4 91",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    // What peers' figures come from, once each, of rows that were measured.
    let sources = text.lines().filter(|line| line.starts_with("peers: "));
    let expected = ["peers: sel4bench", "peers: QEMU 8", "peers: lmbench"];
    assert_eq!(sources.collect::<Vec<_>>(), expected);
    let again = Stored::parse(&table.to_store()).unwrap();
    assert_eq!(again.versions, versions);
    assert_eq!(again.value("null_call"), Some(46));
    assert_eq!(again.value("lost"), None);
}

#[test]
fn a_bar_is_met_by_its_own_value_and_in_its_own_unit() {
    let bars = bars(&[NULL_CALL]).unwrap();
    let failures = |measured: &Measured| {
        let table = Table {
            bars: &bars,
            measured,
            events: measured,
            stored: None,
            versions: &Versions::default(),
        };
        (table.failures(""), table.to_text())
    };
    let (none, text) = failures(&measured(&[("null_call", 45)]));
    assert_eq!(none, Vec::<String>::new());
    assert!(
        text.contains("pass ") && !text.contains("pass, beyond"),
        "{text}"
    );
    assert!(
        failures(&measured(&[("null_call", 30)]))
            .1
            .contains("pass, beyond")
    );
    let mut other = measured(&[("null_call", 45)]);
    other.rows[0].unit = "ticks".to_owned();
    assert_eq!(
        failures(&other).0,
        ["null_call is in ticks, its bar in instructions"]
    );
}

#[test]
fn of_ratios_more_is_better() {
    let bars = bars(&["ratio|times|100|150|-|one by the other|-"]).unwrap();
    for (value, standing) in [(99, "fail"), (100, "pass"), (150, "pass, beyond")] {
        let mut measured = measured(&[("ratio", value)]);
        measured.rows[0].unit = TIMES.to_owned();
        let table = Table {
            bars: &bars,
            measured: &measured,
            events: &Measured::default(),
            stored: None,
            versions: &Versions::default(),
        };
        assert_eq!(table.failures("").is_empty(), value >= 100);
        let text = table.to_text();
        let line = text.lines().find(|line| line.starts_with("ratio")).unwrap();
        assert!(line.contains(standing), "{line}");
        assert_eq!(line.contains("beyond"), value == 150, "{line}");
    }
}
