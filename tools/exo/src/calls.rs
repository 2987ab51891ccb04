//! `exo calls`: the reference page of all system calls, made from the call table.
//!
//! The page is committed, so that it can be read without building anything; a test fails when it is
//! not what the table says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use exopi_abi::Error;
use exopi_abi::calls::{Parameter, ROWS, Row};

use crate::workspace;

/// Write docs/calls.md, the reference of all system calls.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail if the page is not what the call table says.
    #[arg(long)]
    check: bool,
}

fn place() -> anyhow::Result<PathBuf> {
    Ok(workspace::root()?.join("docs/calls.md"))
}

/// Runs the subcommand.
///
/// # Errors
/// The page cannot be written, or `--check` finds it stale.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.check {
        check()?;
    } else {
        let place = place()?;
        std::fs::write(&place, page())
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that the committed page is what the table says.
///
/// # Errors
/// It is not, or it is missing.
pub fn check() -> anyhow::Result<()> {
    let place = place()?;
    let there = std::fs::read_to_string(&place).unwrap_or_default();
    if there != page() {
        bail!("docs/calls.md is not what the call table says: run `cargo exo calls`");
    }
    Ok(())
}

/// Registers of each argument.
fn registers(row: &Row) -> Vec<String> {
    let mut next = row.first_register;
    let take = |parameter: &Parameter| {
        let first = next;
        next += parameter.words;
        match parameter.words {
            1 => format!("x{first}"),
            _ => format!("x{first} to x{}", next - 1),
        }
    };
    row.arguments.iter().map(take).collect()
}

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for row in ROWS {
        section(&mut page, row);
    }
    page.push_str("## Errors\n\n| code | error | meaning |\n| --- | --- | --- |\n");
    for error in Error::ALL {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} |",
            *error as u16,
            error.name(),
            error.explanation()
        );
    }
    page
}

const HEAD: &str = "\
<!-- Made by `cargo exo calls` from the call table in kernel/abi/src/calls.rs: change that. -->

# System calls

A call is `svc #number`. How arguments and results lie in registers:

* Arguments are in x0 to x5, in order; most take one register. The table below has those that have several
  forms or take two.
* x0 comes back with the error code in bits 0 to 15, zero for success, and the number of items that
  were carried out in bits 16 to 63. x1 is the value, if the call gives one, or else zero.
* x2 to x18 and x30 come back as zero; x19 to x29, SP and the FP registers as they were.

| type | registers |
| --- | --- |
| `UserBytes`, `UserBytesMut` | address; length in bytes |
| `UserCapability`, `UserCapabilityMut` | address of 48 bytes, a multiple of 8 |
| `UserOperations` | address of operations of 64 bytes, a multiple of 8; how many |
| `Object` | 0: the caller's own; or a `UserCapability`; or one that belongs to the account that the caller draws on: form 1, epoch (its lowest 40 bits) in bits 16 to 55, index in bits 0 to 15 |
| `PageRun` | form 0, page number; 0: owned pages. Form 1, page number; a `UserCapability` for them |
| `PageSource` | a `PageRun`; or form 2, 3 or 4 and what a `PageSelect` of form 0, 1 or 2 has; 0: new pages |
| `PageSelect` | form 0, page number: this one. Form 1: any. Form 2, colour: any of it |
| `Access` | bit 0 load, which must be set, bit 1 store, bit 2 fetch instructions |
| `Owner` | epoch in bits 16 to 63, index in bits 0 to 15 of an account |
| `OnRefusal` | 0 stop, 1 go on |
| `UpcallClass` | 0 fault, 1 notice |

A form is in bits 56 to 63. Bits that no form uses are zero.

A refused call has changed nothing. A call over a range (its result is `Progress` or `Allocation`)
carries out items from the first on and stops at the first that is refused: those that it counts are
done and stay so. If it stopped without an error, it reached its bound, and the caller asks for the
rest.

";

fn section(page: &mut String, row: &Row) {
    let arguments: Vec<_> = row
        .arguments
        .iter()
        .map(|parameter| format!("{}: {}", parameter.name, parameter.type_name))
        .collect();
    let name = row.call.name();
    // Writing to a string does not fail.
    let _ = writeln!(
        page,
        "## {}: `{name}`\n\n```rust\nfn {name}({}) -> {}\n```\n",
        row.call.number(),
        arguments.join(", "),
        row.result
    );
    for line in row.doc.lines() {
        let _ = writeln!(page, "{}", without_paths(line.trim()));
    }
    page.push('\n');
    if !row.arguments.is_empty() {
        page.push_str("| register | argument | type |\n| --- | --- | --- |\n");
        for (parameter, register) in row.arguments.iter().zip(registers(row)) {
            let Parameter {
                name, type_name, ..
            } = parameter;
            let _ = writeln!(page, "| {register} | `{name}` | `{type_name}` |");
        }
        page.push('\n');
    }
    let errors: Vec<_> = row.all_errors().collect();
    if errors.is_empty() {
        page.push_str("It cannot be refused.\n\n");
        return;
    }
    page.push_str("| error | when |\n| --- | --- |\n");
    for error in errors {
        let _ = writeln!(page, "| `{}` | {} |", error.name(), error.explanation());
    }
    page.push('\n');
}

/// The text with links to Rust paths, which lead nowhere from a page, replaced by what they show.
fn without_paths(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        let parts = link
            .split_once("](")
            .and_then(|(shown, after)| Some((shown, after.split_once(')')?)));
        match parts {
            Some((shown, (target, after))) if !target.contains('/') => {
                out.push_str(shown);
                rest = after;
            }
            _ => {
                out.push('[');
                rest = link;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_paths_become_text() {
        for (line, expected) in [
            ("the [`V`](crate::V) and [a] (b)", "the `V` and [a] (b)"),
            (
                "see [x](https://a/b), [`y`](Y).",
                "see [x](https://a/b), `y`.",
            ),
            ("no [end](here", "no [end](here"),
        ] {
            assert_eq!(without_paths(line), expected);
        }
    }

    #[test]
    fn committed_page_is_what_the_table_says() {
        check().unwrap();
    }

    #[test]
    fn page_has_every_call_and_error() {
        let page = page();
        for row in ROWS {
            let name = row.call.name();
            assert!(page.contains(&format!(": `{name}`")), "{name}");
        }
        for error in Error::ALL {
            assert!(page.contains(error.explanation()), "{error}");
        }
        assert!(page.contains("| x0 to x1 | `bytes` | `UserBytes<'_>` |"));
    }
}
