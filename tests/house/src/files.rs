//! What tracked files may contain.
//!
//! The words looked for are put together from pieces here, so that this file does not contain them.

/// Rust files stay below this many lines.
const LINES: usize = 600;
/// The table of calls is one invocation of a macro, and whoever serves it implements one trait: a few lines for each call,
/// which are found where the others are.
const TABLES: [&str; 3] = [
    "kernel/abi/src/calls.rs",
    "kernel/src/syscall/mod.rs",
    "tests/simkernel/src/calls.rs",
];
/// They stay below this many.
const LINES_OF_TABLES: usize = 900;
/// Pictures in the book stay below this many bytes.
const PICTURE: usize = 200 * 1024;

/// What is wrong with one tracked file. `homes` are folders of the machine that runs the test, which no
/// file may name.
pub fn violations(path: &str, content: &[u8], homes: &[String]) -> Vec<String> {
    let text = match std::str::from_utf8(content) {
        Ok(text) if !text.contains('\0') => text,
        _ if is_picture(path) && content.len() < PICTURE => return Vec::new(),
        _ => return vec![format!("{path} is binary")],
    };
    let mut found = Vec::new();
    for home in homes.iter().map(String::as_str).chain(SOMEBODYS) {
        found.extend(
            lines_with(text, |line| names_path(line, home))
                .map(|number| format!("{path}:{number} names a folder of one machine")),
        );
    }
    if path.ends_with(".rs") {
        found.extend(rust_violations(path, text));
    }
    found
}

/// Where people's folders are, on any machine.
const SOMEBODYS: [&str; 3] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

fn is_picture(path: &str) -> bool {
    let kinds = [".png", ".jpg", ".jpeg", ".gif", ".webp"];
    path.starts_with("docs/") && kinds.iter().any(|kind| path.ends_with(kind))
}

fn rust_violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push(format!("{path} does not open with what it is (`//! ...`)"));
    }
    let lines = text.lines().count();
    let most = if TABLES.contains(&path) {
        LINES_OF_TABLES
    } else {
        LINES
    };
    if lines >= most {
        found.push(format!("{path} has {lines} lines"));
    }
    if is_logic_root(path) && !text.contains("#![forbid(unsafe_code)]") {
        found.push(format!("{path} does not forbid unsafe code"));
    }
    for unfinished in ["todo", "unimplemented", "dbg"] {
        let call = format!("{unfinished}!");
        found.extend(
            lines_with(text, |line| has_word(line, &call))
                .map(|number| format!("{path}:{number} has {call}")),
        );
    }
    for (name, what) in [
        ("ignore", "a test that never runs"),
        ("allow(", "a lint that is off without an expectation"),
    ] {
        let attributes = ["#[", "#![", ", "].map(|start| format!("{start}{name}"));
        // The last form is an attribute only inside `cfg_attr`.
        let has = |line: &str| {
            line.contains(&attributes[0])
                || line.contains(&attributes[1])
                || line.contains("cfg_attr(") && line.contains(&attributes[2])
        };
        found.extend(lines_with(text, has).map(|number| format!("{path}:{number}: {what}")));
    }
    if !path.starts_with("bsp/") {
        let board = concat!("feature = \"boa", "rd-");
        found.extend(
            lines_with(text, |line| line.contains(board))
                .map(|number| format!("{path}:{number} depends on the board")),
        );
    }
    found
}

/// Whether this is the root of a logic crate, a crate of decisions beside the kernel.
fn is_logic_root(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    matches!(parts.as_slice(), ["kernel", name, "src", "lib.rs"] if *name != "abi")
}

fn lines_with(text: &str, wrong: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    let lines = text.lines().zip(1..);
    lines.filter_map(move |(line, number)| wrong(line).then_some(number))
}

/// Whether the line has `word` and not merely a longer word that ends in it.
fn has_word(line: &str, word: &str) -> bool {
    let starts = line.match_indices(word).map(|(at, _)| &line[..at]);
    starts
        .into_iter()
        .any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether the line names the absolute path `folder`, and not a relative path or address that has it inside.
fn names_path(line: &str, folder: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "_-.*)}>~".contains(c);
    let mut starts = line.match_indices(folder).map(|(at, _)| &line[..at]);
    starts.any(|before| !before.ends_with(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        violations(path, text.as_bytes(), &["/srv/checkout".to_owned()]).len()
    }

    #[test]
    fn a_good_file_passes() {
        let text = "//! What it is.\n\n#[expect(dead_code, reason = \"later\")]\nfn f() {}\n";
        assert_eq!(count("libos/rt/src/lib.rs", text), 0);
        assert_eq!(count("docs/page.md", "no `//!` needed"), 0);
        assert_eq!(count("docs/empty.md", ""), 0);
    }

    #[test]
    fn binaries_are_pictures_of_the_book() {
        let small = [0u8; 10];
        let large = vec![0u8; PICTURE];
        assert!(violations("docs/a.png", &small, &[]).is_empty());
        assert_eq!(violations("docs/a.png", &large, &[]).len(), 1);
        assert_eq!(violations("docs/a.bin", &small, &[]).len(), 1);
        assert_eq!(violations("kernel/a.png", &small, &[]).len(), 1);
        assert_eq!(violations("kernel/a", b"\xff\xfe", &[]).len(), 1);
    }

    #[test]
    fn rust_files_open_with_what_they_are() {
        for text in ["fn f() {}\n", "// What\n", "#![no_std]\n//! What.\n", ""] {
            assert_eq!(count("build.rs", text), 1, "{text:?}");
        }
    }

    #[test]
    fn unfinished_work_is_found() {
        for name in ["todo", "unimplemented", "dbg"] {
            let text = format!("//! What.\nfn f() {{ {name}!() }}\n");
            assert_eq!(count("a.rs", &text), 1, "{name}");
            let text = format!("//! What.\nfn f() {{ my_{name}!() }}\n");
            assert_eq!(count("a.rs", &text), 0, "my_{name}");
        }
    }

    #[test]
    fn silenced_tests_and_lints_are_found() {
        for (before, after) in [
            ("#[", ""),
            ("#[", " = \"slow\""),
            ("#[cfg_attr(miri, ", ")"),
        ] {
            let text = format!("//! What.\n{before}ignore{after}]\n");
            assert_eq!(count("a.rs", &text), 1, "{text}");
        }
        for before in ["#[", "#![", "#[cfg_attr(test, "] {
            let text = format!("//! What.\n{before}allow(dead_code)]\n");
            assert_eq!(count("a.rs", &text), 1, "{text}");
        }
        assert_eq!(count("a.rs", "//! What.\nfn f() { self.allow(x) }\n"), 0);
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        for folder in SOMEBODYS.iter().copied().chain(["/srv/checkout"]) {
            assert_eq!(count("docs/a.md", &format!("see `{folder}x`")), 1);
            assert_eq!(count("Makefile", &format!("A={folder}x")), 1);
            assert_eq!(count("a.md", &format!("https://a.example{folder}x")), 0);
            assert_eq!(count("a.md", &format!("docs{folder}x")), 0);
        }
    }

    #[test]
    fn long_files_are_found() {
        let text = |lines| "//! What.\n".repeat(lines);
        assert_eq!(count("a.rs", &text(LINES - 1)), 0);
        assert_eq!(count("a.rs", &text(LINES)), 1);
        assert_eq!(count(TABLES[0], &text(LINES_OF_TABLES - 1)), 0);
        assert_eq!(count(TABLES[0], &text(LINES_OF_TABLES)), 1);
    }

    #[test]
    fn logic_crates_forbid_unsafe_code() {
        let bare = "//! What.\n#![no_std]\n";
        assert_eq!(count("kernel/pages/src/lib.rs", bare), 1);
        assert_eq!(count("kernel/abi/src/lib.rs", bare), 0);
        assert_eq!(count("kernel/src/main.rs", bare), 0);
        assert_eq!(count("kernel/pages/src/owner.rs", bare), 0);
        let good = "//! What.\n#![forbid(unsafe_code)]\n";
        assert_eq!(count("kernel/pages/src/lib.rs", good), 0);
    }

    #[test]
    fn boards_are_known_to_the_board_layer() {
        let text = concat!("//! What.\n#[cfg(feature = \"boa", "rd-raspi3\")]\n");
        assert_eq!(count("kernel/src/main.rs", text), 1);
        assert_eq!(count("bsp/src/boards/mod.rs", text), 0);
    }
}
