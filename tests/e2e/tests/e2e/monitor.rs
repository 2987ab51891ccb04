//! The monitor, typed at as somebody would who looks at the machine for the first time.

use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel};

const PROMPT: &str = "\n> ";

/// Boots what an image has in it when nobody says otherwise, up to the first prompt.
fn started() -> Session {
    let mut session = Session::start(Run::command().arg(kernel()));
    session.wait_for("Exopi monitor.");
    session.wait_for(PROMPT);
    session
}

/// Types a line; returns what is said to it, up to the next prompt.
#[track_caller]
fn typed(session: &mut Session, line: &str) -> String {
    session.send(line.as_bytes());
    session.send(b"\r");
    session.wait_for(&format!("{line}\n"));
    session.wait_for(PROMPT)
}

/// Ends the machine.
#[track_caller]
fn off(mut session: Session) {
    session.send(b"off\r");
    session.end().ends_with(0).never_prints("KERNEL");
}

/// What `pages` says is free.
fn free_pages(session: &mut Session) -> u64 {
    let said = typed(session, "pages");
    let line = said.lines().find(|line| line.ends_with(" free"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a line with free pages").parse().unwrap()
}

#[test]
fn shows_what_the_kernel_shows() {
    let mut session = started();
    assert!(typed(&mut session, "help").contains("run NAME"));
    assert!(typed(&mut session, "machine").contains("4 cores"));
    assert!(free_pages(&mut session) > 200_000);
    let said = typed(&mut session, "pages 0 2");
    assert!(said.contains("the"), "{said}");
    let said = typed(&mut session, "envs");
    assert!(said.contains("running"), "{said}");
    assert_eq!(typed(&mut session, "spaces").lines().count(), 3);
    assert!(typed(&mut session, "accounts").lines().count() >= 2);
    assert!(typed(&mut session, "counters").contains("console_read"));
    let said = typed(&mut session, "net");
    for (heading, column) in [
        ("interface ", "no room"),
        ("filter ", "account"),
        ("ring ", "lost"),
        ("send ", "account"),
    ] {
        let line = said.lines().find(|line| line.starts_with(heading));
        assert!(line.is_some_and(|line| line.contains(column)), "{said}");
    }
    assert!(typed(&mut session, "frobnicate").contains("not understood"));
    off(session);
}

#[test]
fn requests_are_told_after_their_holders_have_gone() {
    let mut session = started();
    assert_eq!(typed(&mut session, "revocations").lines().count(), 2);
    let said = typed(
        &mut session,
        "run exopi-target-suite case=revocation:takes_from_the_dead",
    );
    assert!(said.contains("\nE "), "{said}");
    let said = typed(&mut session, "revocations");
    let row = said.lines().find(|line| line.contains(".gone"));
    let row = row.unwrap_or_else(|| panic!("no row: {said}"));
    let words: Vec<&str> = row.split_whitespace().collect();
    let [
        _,
        manager,
        resource,
        state,
        asked,
        given,
        taken,
        missed,
        left,
    ] = words[..]
    else {
        panic!("{row}");
    };
    assert_eq!((resource, state, asked, left), ("pages", "died", "4", "-"));
    let [given, taken, missed] = [given, taken, missed].map(|word| word.parse::<u32>().unwrap());
    // Nobody reads the vector of one that is dead.
    assert_eq!((given + taken, missed), (4, taken));
    assert!(
        manager
            .split_once('.')
            .is_some_and(|(index, _)| index != "0"),
        "{row}"
    );
    off(session);
}

#[test]
fn capabilities_are_data_that_the_kernel_knows() {
    let mut session = started();
    assert!(typed(&mut session, "caps").contains("none"));
    let mine = typed(&mut session, "mine");
    // The first run of own pages: "  0x200000: 9 pages from 0x2f1 on".
    let run = mine
        .lines()
        .find(|line| line.contains(" pages from "))
        .unwrap();
    let page = run.split_whitespace().rev().nth(1).unwrap();
    let said = typed(&mut session, &format!("mint {page} 1 rw"));
    assert!(said.contains("0: Page"), "{said}");
    assert!(typed(&mut session, "keep 0 r").contains("keeps r"));
    // The kernel makes parts of it, and of a damaged copy none.
    let part = format!("part 1 {page} 1 rw");
    assert!(typed(&mut session, &part).contains("rights r;"), "narrowed");
    let hex = typed(&mut session, "hex 0");
    let digits = hex.lines().next().unwrap().trim();
    let last = if digits.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{last}", &digits[..digits.len() - 1]);
    typed(&mut session, &format!("parse {forged}"));
    let said = typed(&mut session, &format!("part 3 {page} 1 r"));
    assert!(said.contains("refused: WrongSeal"), "{said}");
    // Nor for what it never owned.
    assert!(typed(&mut session, "mint 0 1 r").contains("refused: NotYours"));
    off(session);
}

#[test]
fn programs_of_the_image_run_and_leave_nothing_behind() {
    let mut session = started();
    assert!(typed(&mut session, "programs").contains("minimal"));
    let said = typed(&mut session, "run minimal one two");
    assert!(
        said.contains("minimal: my boot arguments are \"one two\""),
        "{said}"
    );
    assert!(said.contains("minimal: done"), "{said}");
    // The archive is mapped by then, and the monitor has all tables that it needs.
    let before = free_pages(&mut session);
    let said = typed(&mut session, "run minimal fault=nested");
    assert!(said.contains("suspended: Undefined"), "{said}");
    assert!(!said.contains("minimal: done"), "{said}");
    assert_eq!(free_pages(&mut session), before);
    assert!(typed(&mut session, "run nobody").contains("not understood"));
    let said = typed(&mut session, "run exopi-target-suite suite=memory");
    assert!(said.contains("\nE "), "{said}");
    assert_eq!(free_pages(&mut session), before);
    off(session);
}

#[test]
fn file_tools_work_on_files_in_memory() {
    let mut session = started();
    assert!(typed(&mut session, "programs").contains("files"));
    let commands = [
        "mkdir -p /a/b",
        "cp /arguments /a/b/copy",
        "ls -l /a/b",
        "mv /a/b/copy /moved",
        "hexdump /moved",
        "rm -r /a",
        "ls",
        "df",
        "cat /nobody",
        "frobnicate",
    ];
    let said = typed(&mut session, &format!("run files {}", commands.join(" ; ")));
    let expected = [
        "1980-01-01 00:00:00 copy",
        "00000000  6d 6b 64 69 72 20 2d 70  20 2f 61 2f 62 20 3b 20  |mkdir -p /a/b ; |",
        "\narguments\nmoved\n",
        "        4096           20         4076  /\n",
        "cat: /nobody: not found",
        "frobnicate: no such tool",
    ];
    for text in expected {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    // The next run has files of its own, and what is typed is a file.
    session.send(b"run files ls ; cat\r");
    session.wait_for("arguments\n");
    session.send(b"typed\r\x04");
    let said = session.wait_for(PROMPT);
    assert!(said.contains("typed\n"), "{said}");
    off(session);
}
