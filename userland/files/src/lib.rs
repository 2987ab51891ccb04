//! File tools as functions on a program's files: `ls cat cp mv rm mkdir df hexdump`.
//!
//! What they print goes to [`Descriptor::OUTPUT`], complaints to [`Descriptor::ERRORS`], so that who calls them decides
//! what these are: the console, a pipe, a file. The program `files` is a way to call them by name.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::fmt;

use exopi_fs::{Descriptor, Error, Files, Location};

mod copy;
mod show;
mod tree;

pub use copy::{cp, mv};
pub use show::{cat, df, hexdump, ls};
pub use tree::{mkdir, rm};

/// Bytes that are moved at once.
const CHUNK: usize = 16 * 1024;

/// What a tool could not do, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// About this path.
    At(String, Error),
    /// It cannot be printed.
    Output(Error),
    /// It was called in a way that it has not.
    Usage(&'static str),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path, error) => write!(f, "{path}: {error}"),
            Self::Output(error) => write!(f, "cannot print: {error}"),
            Self::Usage(usage) => write!(f, "usage: {usage}"),
        }
    }
}

/// What came of a tool.
pub type Outcome = Result<(), Complaint>;

/// Ties an error to a path.
fn at(path: &str) -> impl Fn(Error) -> Complaint {
    move |error| Complaint::At(path.into(), error)
}

/// A tool: its name, and what it does with its arguments.
pub type Tool = (&'static str, fn(&mut Files, &[&str]) -> Outcome);

/// All tools.
pub const TOOLS: [Tool; 8] = [
    ("cat", cat),
    ("cp", cp),
    ("df", df),
    ("hexdump", hexdump),
    ("ls", ls),
    ("mkdir", mkdir),
    ("mv", mv),
    ("rm", rm),
];

/// Runs the tool that the first word names with the others; complains if need be. Returns the exit status: 0, 1 for what
/// could not be done, 2 for what was not understood.
pub fn run(files: &mut Files, words: &[&str]) -> u8 {
    let Some((name, arguments)) = words.split_first() else {
        return 0;
    };
    let Some((_, tool)) = TOOLS.iter().find(|(known, _)| known == name) else {
        complain(files, &format!("{name}: no such tool\n"));
        return 2;
    };
    match tool(files, arguments) {
        Ok(()) => 0,
        Err(complaint) => {
            complain(files, &format!("{name}: {complaint}\n"));
            if matches!(complaint, Complaint::Usage(_)) {
                2
            } else {
                1
            }
        }
    }
}

fn complain(files: &mut Files, text: &str) {
    // Who cannot be told is not told.
    let _ = files.write_all(Descriptor::ERRORS, text.as_bytes());
}

/// Prints.
fn print(files: &mut Files, text: fmt::Arguments<'_>) -> Outcome {
    let text = format!("{text}");
    let printed = files.write_all(Descriptor::OUTPUT, text.as_bytes());
    printed.map_err(Complaint::Output)
}

/// Goes on with the other paths when one fails; the last failure is the outcome, the ones before are told.
fn each(
    files: &mut Files,
    name: &str,
    paths: &[&str],
    mut work: impl FnMut(&mut Files, &str) -> Outcome,
) -> Outcome {
    let mut last = Ok(());
    for path in paths {
        if let Err(complaint) = work(files, path)
            && let Err(before) = core::mem::replace(&mut last, Err(complaint))
        {
            complain(files, &format!("{name}: {before}\n"));
        }
    }
    last
}

/// The options before the paths, of which `known` are all letters that there are; `--` ends them.
fn options<'w>(
    words: &'w [&'w str],
    known: &str,
    usage: &'static str,
) -> Result<(String, &'w [&'w str]), Complaint> {
    let (mut set, mut rest) = (String::new(), words);
    while let Some((word, more)) = rest.split_first() {
        let letters = match word.strip_prefix('-') {
            Some("-") => return Ok((set, more)),
            Some(letters) if !letters.is_empty() => letters,
            _ => break,
        };
        if !letters.chars().all(|letter| known.contains(letter)) {
            return Err(Complaint::Usage(usage));
        }
        set.push_str(letters);
        rest = more;
    }
    Ok((set, rest))
}

/// The last name of a path, as it is after dots are resolved.
fn last_name(files: &Files, path: &str) -> Result<String, Error> {
    let location = files.here().join(path)?;
    match location.path().split() {
        Some((_, name)) => Ok(name.into()),
        None => Err(Error::Busy),
    }
}

/// A name in a directory.
fn inside(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// Whether both paths lead to one place by their text.
fn is_same(files: &Files, one: &str, other: &str) -> bool {
    let here: Location = files.here();
    here.join(one) == here.join(other)
}
