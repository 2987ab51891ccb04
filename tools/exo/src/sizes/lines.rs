//! Lines of code: those with something on them that is neither blank nor comment.
//!
//! Tests are counted apart: files named `tests.rs` or below `tests/`, and what follows a
//! `#[cfg(test)]` before a module to the file's end, where this workspace keeps its tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::MetadataCommand;

use crate::workspace;

/// Lines of code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Of the program.
    pub program: u64,
    /// Of its tests.
    pub tests: u64,
}

/// Lines of every member of the workspace, by crate name.
///
/// # Errors
/// Cargo does not know the workspace, or a file cannot be read.
pub(super) fn of_workspace() -> anyhow::Result<BTreeMap<String, Code>> {
    let metadata = MetadataCommand::new()
        .current_dir(workspace::root()?)
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    let mut crates = BTreeMap::new();
    for package in &metadata.packages {
        let dir = package
            .manifest_path
            .parent()
            .context("a manifest lies in a directory")?;
        let code: &mut Code = crates.entry(package.name.to_string()).or_default();
        for part in ["src", "tests", "build.rs"] {
            // Other folders may be packages of their own.
            add(code, dir.join(part).as_std_path(), part == "tests")?;
        }
    }
    Ok(crates)
}

fn add(code: &mut Code, path: &Path, is_test: bool) -> anyhow::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let of_tests = path.file_stem().is_some_and(|stem| stem == "tests");
            add(code, &path, is_test || of_tests)?;
        }
    } else if path.is_file()
        && path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "S")
    {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let found = of_source(&text);
        if is_test {
            code.tests += found.program + found.tests;
        } else {
            code.program += found.program;
            code.tests += found.tests;
        }
    }
    Ok(())
}

/// Lines of a source file. Block comments are known where they begin a line; text within strings
/// that looks like a comment counts as one.
pub fn of_source(text: &str) -> Code {
    let mut code = Code::default();
    let mut in_comment = false;
    let mut in_tests = false;
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if in_comment || line.starts_with("/*") {
            in_comment = !line.contains("*/");
            continue;
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        let before_module = lines
            .peek()
            .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        in_tests |= line == "#[cfg(test)]" && before_module;
        if in_tests {
            code.tests += 1;
        } else {
            code.program += 1;
        }
    }
    code
}

pub(super) fn table(crates: &BTreeMap<String, Code>) -> String {
    let mut rows: Vec<_> = crates
        .iter()
        .map(|(name, code)| (name.as_str(), *code))
        .collect();
    let total = rows.iter().fold(Code::default(), |sum, (_, code)| Code {
        program: sum.program + code.program,
        tests: sum.tests + code.tests,
    });
    rows.push(("total", total));
    let mut text = format!("{:<24}{:>10}{:>10}\n", "crate", "code", "tests");
    for (name, Code { program, tests }) in rows {
        text.push_str(&format!("{name:<24}{program:>10}{tests:>10}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_do_not_count() {
        let source =
            "//! What.\n\nfn f() {\n    // why\n    g(); // here\n}\n/* a\nb */\nfn g() {}\n";
        let code = of_source(source);
        assert_eq!(
            code,
            Code {
                program: 4,
                tests: 0
            }
        );
    }

    #[test]
    fn tests_count_apart() {
        let source =
            "fn f() {}\n#[cfg(test)]\nmod x;\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        let code = of_source(source);
        assert_eq!(
            code,
            Code {
                program: 3,
                tests: 4
            }
        );
    }

    #[test]
    fn this_workspace_has_code_and_tests() {
        let crates = of_workspace().unwrap();
        assert!(crates["exo"].program > 1000 && crates["exo"].tests > 500);
        assert!(table(&crates).contains("\ntotal "));
    }
}
