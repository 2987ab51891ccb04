//! Expressions against libpcap: its programs, from a stored table, run by an interpreter of classic BPF, of which the
//! table tells what libpcap's own says of some frames.

use exopi_filter::build::Expression;
use exopi_filter::oracle;
use proptest::prelude::*;

use bpf::{Instruction, Program};

#[path = "../src/bpf.rs"]
mod bpf;
mod frames;

/// An expression, its program, and of which of [`frames::all`] libpcap says that it takes them.
struct Known {
    text: &'static str,
    program: Vec<Instruction>,
    taken: u64,
}

/// Expressions with their programs.
fn programs() -> Vec<Known> {
    let mut programs = vec![];
    for section in include_str!("bpf.txt").split("> ").skip(1) {
        let mut lines = section.lines();
        let expression = lines.next().unwrap();
        let count: usize = lines.next().unwrap().parse().unwrap();
        let instruction = |line: &str| {
            let numbers: Vec<u32> = line
                .split(' ')
                .map(|number| number.parse().unwrap())
                .collect();
            Instruction {
                code: numbers[0] as u16,
                if_true: numbers[1] as u8,
                if_false: numbers[2] as u8,
                k: numbers[3],
            }
        };
        let program: Vec<_> = lines.by_ref().take(count).map(instruction).collect();
        assert_eq!(program.len(), count);
        let taken = lines.next().and_then(|line| line.strip_prefix("= "));
        assert_eq!(lines.next(), None);
        programs.push(Known {
            text: expression,
            program,
            taken: u64::from_str_radix(taken.unwrap(), 16).unwrap(),
        });
    }
    programs
}

/// Whether one of the expression's filters takes the frame.
fn ours(expression: &Expression, frame: &[u8]) -> bool {
    expression.alternatives().any(|facts| {
        let list = facts.atoms().unwrap();
        oracle::matches(list.program().unwrap().operations(), frame)
    })
}

/// A frame in which each field has one of the values that the expressions ask for, or another.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let link = || {
        prop_oneof![
            Just([2, 0, 0, 0, 0, 1]),
            Just([2, 0, 0, 0, 0, 2]),
            Just([0xff; 6])
        ]
    };
    let kind =
        prop_oneof![6 => Just(0x0800u16), 3 => Just(0x0806), 1 => Just(0x86dd), 1 => any::<u16>()];
    let address = || {
        prop_oneof![
            4 => Just([10, 0, 2, 2]),
            4 => Just([10, 0, 2, 15]),
            1 => Just([10, 0, 3, 255]),
            1 => Just([10, 1, 0, 0]),
            1 => any::<[u8; 4]>(),
        ]
    };
    let port = || prop_oneof![3 => Just(80u16), 2 => Just(53), 2 => Just(1234), 1 => any::<u16>()];
    let fragment =
        prop_oneof![6 => Just(0x4000u16), 1 => Just(0x2000), 1 => Just(1), 1 => Just(0x1f00)];
    let protocol =
        prop_oneof![4 => Just(6u8), 3 => Just(17), 2 => Just(1), 1 => Just(0x2f), 1 => any::<u8>()];
    let words = prop_oneof![5 => Just(5u8), 1 => 0..16u8];
    let length = prop_oneof![3 => Just(100usize), 2 => 0..=60usize];
    let ip = (
        words,
        fragment,
        protocol,
        address(),
        address(),
        port(),
        port(),
    );
    (link(), link(), kind, ip, length).prop_map(|(to, from, kind, ip, length)| {
        let (words, fragment, protocol, source, destination, source_port, port) = ip;
        let mut frame = vec![0; 100];
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&from);
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        if kind == 0x0806 {
            frame[28..32].copy_from_slice(&source);
            frame[38..42].copy_from_slice(&destination);
        } else {
            frame[14] = 0x40 | words;
            frame[20..22].copy_from_slice(&fragment.to_be_bytes());
            frame[23] = protocol;
            frame[26..30].copy_from_slice(&source);
            frame[30..34].copy_from_slice(&destination);
            let ports = 14 + usize::from(words) * 4;
            if ports >= 34 {
                frame[ports..ports + 2].copy_from_slice(&source_port.to_be_bytes());
                frame[ports + 2..ports + 4].copy_from_slice(&port.to_be_bytes());
            }
        }
        frame.truncate(length);
        frame
    })
}

#[test]
fn the_table_has_all_expressions() {
    let lines = include_str!("expressions.txt").lines();
    let expressions = lines.filter(|line| !line.starts_with('#'));
    let ours = expressions.map(|line| line.split(" | ").next().unwrap());
    let table: Vec<&str> = programs().into_iter().map(|known| known.text).collect();
    assert_eq!(table, ours.collect::<Vec<_>>());
    assert!(table.len() > 20);
}

/// The interpreter says what libpcap's says.
#[test]
fn programs_take_what_libpcap_takes() {
    let frames = frames::all();
    let mut both = 0;
    for Known {
        text,
        program,
        taken,
    } in programs()
    {
        let program = Program::new(&program).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let takes = taken >> number & 1 != 0;
            let length = program.run(frame);
            assert_eq!(length != 0, takes, "{text}, frame {number}: {frame:02x?}");
            // It returns at the first instruction that says so, or for a load beyond the frame.
            let executed = program.executed(frame);
            assert!((1..64).contains(&executed), "{text}, frame {number}");
        }
        both += u32::from(taken != 0);
    }
    assert!(both >= 25, "{both} expressions take a frame");
}

#[test]
fn programs_that_lead_out_of_themselves_are_refused() {
    let end = Instruction {
        code: 6,
        ..Instruction::default()
    };
    let with = |code, if_true, if_false, k| Instruction {
        code,
        if_true,
        if_false,
        k,
    };
    assert!(Program::new(&[end]).is_some());
    assert!(Program::new(&[with(0x15, 0, 0, 1), end]).is_some());
    for bad in [
        with(0x15, 1, 0, 1),
        with(0x45, 0, 1, 1),
        with(0x05, 0, 0, 1),
        with(0x05, 0, 0, u32::MAX),
        // A division.
        with(0x34, 0, 0, 1),
    ] {
        assert!(Program::new(&[bad, end]).is_none(), "{bad:?}");
    }
    // Falls off its end.
    assert!(Program::new(&[with(0x28, 0, 0, 12)]).is_none());
    assert!(Program::new(&[end; bpf::MOST]).is_none());
    assert!(Program::new(&[]).is_none());
}

/// Of the frames below, some satisfy each expression: else agreement would say nothing.
#[test]
fn frames_take_both_sides() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = frame();
    let mut draw = || strategy.new_tree(&mut runner).unwrap().current();
    let count = if cfg!(miri) { 500 } else { 4000 };
    let mut frames: Vec<Vec<u8>> = (0..count).map(|_| draw()).collect();
    // Of connections, which are too rare to be drawn.
    frames.extend(frames::all());
    for Known { text, program, .. } in programs() {
        let program = Program::new(&program).unwrap();
        let taken = frames
            .iter()
            .filter(|frame| program.run(frame) != 0)
            .count();
        let never = text.ends_with("src host 10.0.2.15");
        assert!((taken > 0) != never || cfg!(miri), "{text}");
        assert!(taken < frames.len(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 4000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_mean_what_they_mean_to_libpcap(frame in frame()) {
        for Known { text, program, .. } in programs() {
            let program = Program::new(&program).unwrap();
            let expression: Expression = text.parse().unwrap();
            let (ours, theirs) = (ours(&expression, &frame), program.run(&frame) != 0);
            // Where one of two places may hold it, libpcap's program ends when the first is not in the
            // frame, and never looks at the other. And for a network it loads the whole address.
            let more = expression.alternatives().count() > 1 || text.contains("net");
            let short = frame.len() < 100 && more;
            prop_assert!(ours == theirs || ours && short, "{} {:02x?}", text, &frame);
        }
    }

    #[test]
    fn any_text_is_understood_or_refused(words in proptest::collection::vec(word(), 0..12), junk in ".{0,40}") {
        let text = words.join(" ");
        for text in [text.as_str(), junk.as_str()] {
            if let Ok(expression) = text.parse::<Expression>() {
                prop_assert!(expression.alternatives().count() <= 8);
                for facts in expression.alternatives() {
                    let _ = facts.atoms().map(|list| list.program().unwrap().atoms().len());
                }
            }
        }
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "ip",
        "arp",
        "tcp",
        "udp",
        "icmp",
        "and",
        "and",
        "and",
        "&&",
        "or",
        "not",
        "src",
        "dst",
        "host",
        "net",
        "port",
        "proto",
        "ether",
        "80",
        "0x800",
        "10.0.2.2",
        "10.0.0.0/8",
        "2:0:0:0:0:1",
        "(",
        ")",
    ])
}

#[test]
fn what_is_not_in_the_subset_is_refused_where_it_stands() {
    for (text, word) in [
        ("", 0),
        ("tcp or udp", 1),
        ("not tcp", 0),
        ("( tcp )", 0),
        ("tcp portrange 1-2", 1),
        ("tcp port http", 2),
        ("tcp port 65536", 2),
        ("tcp port 080", 2),
        ("tcp port +80", 2),
        ("port 80", 2),
        ("host 10.0.2.2", 2),
        ("arp and port 80", 4),
        ("ip host example", 2),
        ("ip net 10.0.0.1/8", 2),
        ("ip net 10.0.0.0/33", 2),
        ("tcp host 10.0.2.2", 1),
        ("icmp port 80", 1),
        ("tcp and", 2),
        ("tcp udp", 1),
        ("ip6", 0),
        ("vlan", 0),
        ("less 64", 0),
        ("ip[0] = 5", 0),
        ("ether host 02:00:00:00:00", 2),
        ("ether host 02:00:00:00:00:001", 2),
        ("ether 02:00:00:00:00:01", 1),
        (
            "tcp port 1 and port 2 and host 1.2.3.4 and host 1.2.3.5",
            12,
        ),
    ] {
        let refusal = text.parse::<Expression>().err();
        assert_eq!(refusal.map(|refusal| refusal.0), Some(word), "{text}");
    }
}
