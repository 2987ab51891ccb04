//! `exo sizes`: how large the kernel is, crate by crate, in bytes and in lines of code.
//!
//! Bytes are those of symbols, so that what the optimiser puts into a caller counts there. Assembly and
//! entries with plain names are `(other)`; what no symbol covers has a row of its own, so that the
//! columns add up to the sections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind};

use crate::symbols::demangled;
use crate::workspace;

mod lines;

pub use lines::{Code, of_source};

/// Show sizes of the kernel by crate, and lines of code by crate.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel ELF file; built from this workspace if left out.
    #[arg(value_name = "KERNEL_ELF")]
    kernel: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// The kernel cannot be built or read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel = match &args.kernel {
        Some(path) => path.clone(),
        None => workspace::build_kernel(&[])?,
    };
    let elf =
        std::fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let sizes = of_elf(&elf).with_context(|| kernel.display().to_string())?;
    println!("kernel, bytes by crate\n{}", bytes_table(&sizes));
    println!("lines of code by crate, without blanks and comments");
    print!("{}", lines::table(&lines::of_workspace()?));
    Ok(ExitCode::SUCCESS)
}

/// Kinds of memory, in the order of the columns.
const KINDS: [&str; 4] = ["text", "rodata", "data", "bss"];

/// Bytes of each kind.
pub type Bytes = [u64; KINDS.len()];

fn kind(section: &object::Section<'_, '_>) -> Option<usize> {
    const SHF_WRITE: u64 = 1;
    const SHF_ALLOC: u64 = 2;
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
        return None;
    };
    let flags = sh_flags.0;
    if flags & SHF_ALLOC == 0 {
        return None;
    }
    Some(match section.kind() {
        SectionKind::Text => 0,
        SectionKind::UninitializedData => 3,
        _ if flags & SHF_WRITE != 0 => 2,
        _ => 1,
    })
}

/// Bytes by crate.
///
/// # Errors
/// It is no ELF file.
pub fn of_elf(elf: &[u8]) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let file = object::File::parse(elf).context("not an ELF file")?;
    let mut by_crate: BTreeMap<String, Bytes> = BTreeMap::new();
    for section in file.sections() {
        let Some(kind) = kind(&section) else { continue };
        let end = section.address() + section.size();
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.section_index() == Some(section.index()) && symbol.size() > 0)
            .collect();
        // Several symbols may name one place: the first counts, the others have no bytes left.
        symbols.sort_by_key(|symbol| (symbol.address(), u64::MAX - symbol.size()));
        let mut covered_to = section.address();
        let mut covered = 0;
        for symbol in symbols {
            let begin = symbol.address().max(covered_to);
            let until = symbol.address().saturating_add(symbol.size()).min(end);
            if until > begin {
                let name = crate_of(&demangled(symbol.name().unwrap_or_default()));
                by_crate.entry(name).or_default()[kind] += until - begin;
                covered += until - begin;
                covered_to = until;
            }
        }
        by_crate.entry(UNNAMED.to_owned()).or_default()[kind] += section.size() - covered;
    }
    Ok(by_crate)
}

/// Symbols that are no path: assembly, and entries with plain names.
const OTHER: &str = "(other)";
/// What no symbol covers.
const UNNAMED: &str = "(unnamed, padding)";

/// The crate that a demangled name belongs to: the first segment of its path. For an implementation,
/// `<a::T as b::Trait>::f`, it is that of the type.
fn crate_of(name: &str) -> String {
    let path = name.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = ["mut ", "const ", "dyn "]
        .iter()
        .fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
    match path.split_once("::") {
        Some((first, _)) if is_name(first) => first.to_owned(),
        // An implementation for a primitive type: that of the trait.
        _ => match name.split_once(" as ") {
            Some((_, after)) => crate_of(after),
            None => OTHER.to_owned(),
        },
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|character| character.is_alphanumeric() || character == '_')
}

fn bytes_table(sizes: &BTreeMap<String, Bytes>) -> String {
    let mut rows: Vec<_> = sizes
        .iter()
        .map(|(name, bytes)| (name.as_str(), *bytes))
        .collect();
    rows.sort_by_key(|(_, bytes)| u64::MAX - bytes[0]);
    let mut total = Bytes::default();
    for (_, bytes) in &rows {
        for (sum, value) in total.iter_mut().zip(bytes) {
            *sum += value;
        }
    }
    rows.push(("total", total));
    let mut text = format!("{:<24}", "crate");
    text.extend(KINDS.map(|kind| format!("{kind:>10}")));
    text.push('\n');
    for (name, bytes) in rows {
        text.push_str(&format!("{name:<24}"));
        text.extend(bytes.map(|value| format!("{value:>10}")));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_crates() {
        for (name, expected) in [
            ("exopi_kernel::boot::start", "exopi_kernel"),
            ("<exopi_abi::Error as core::fmt::Display>::fmt", "exopi_abi"),
            ("<&exopi_abi::Error as core::fmt::Debug>::fmt", "exopi_abi"),
            (
                "<&mut dyn core::fmt::Write as core::fmt::Write>::write_str",
                "core",
            ),
            ("<u64 as core::fmt::Display>::fmt", "core"),
            ("__rustc::rust_begin_unwind", "__rustc"),
            ("memcpy", OTHER),
            ("_start", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn own_executable_adds_up_to_its_sections() {
        let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let sizes = of_elf(&elf).unwrap();
        assert!(sizes["exo"][0] > 0);
        let file = object::File::parse(&*elf).unwrap();
        let sections: u64 = file
            .sections()
            .filter(|section| kind(section).is_some())
            .map(|section| section.size())
            .sum();
        let all: u64 = sizes.values().flatten().sum();
        assert_eq!(all, sections);
        let table = bytes_table(&sizes);
        assert!(
            table.starts_with("crate ") && table.contains("\ntotal "),
            "{table}"
        );
    }
}
