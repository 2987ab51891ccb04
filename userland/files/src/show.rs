//! Tools that print: `ls`, `cat`, `df`, `hexdump`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::ControlFlow;

use exopi_fs::{Descriptor, Entry, Error, Files, Kind, Metadata, OpenFlags};

use crate::{CHUNK, Complaint, Outcome, at, each, options, print};

const LS: &str = "ls [-l] [PATH...]";
const HEXDUMP: &str = "hexdump PATH...";
const DF: &str = "df [PATH...]";

/// Lists directories, and files that are named: names, and with `-l` sizes and times.
///
/// # Errors
/// A path leads nowhere; the others are listed.
pub fn ls(files: &mut Files, words: &[&str]) -> Outcome {
    let (set, paths) = options(words, "l", LS)?;
    let long = set.contains('l');
    let paths = if paths.is_empty() { &["."] } else { paths };
    each(files, "ls", paths, |files, path| {
        let metadata = files.stat(path).map_err(at(path))?;
        if metadata.kind != Kind::Directory {
            return print(files, format_args!("{}", line(path, &metadata, long)));
        }
        if paths.len() > 1 {
            print(files, format_args!("{path}:\n"))?;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let listed = files.list(path, |entry| {
            entries.push(entry.clone());
            ControlFlow::Continue(())
        });
        listed.map_err(at(path))?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let line = line(&entry.name, &entry.metadata, long);
            print(files, format_args!("{line}"))?;
        }
        Ok(())
    })
}

fn line(name: &str, metadata: &Metadata, long: bool) -> String {
    let mark = if metadata.kind == Kind::Directory {
        "/"
    } else {
        ""
    };
    let mut line = String::new();
    if long {
        let time = metadata.modified;
        let writable = if metadata.read_only { "r" } else { "rw" };
        let _ = write!(
            line,
            "{writable:2} {:>10} {:04}-{:02}-{:02} {:02}:{:02}:{:02} ",
            metadata.size, time.year, time.month, time.day, time.hour, time.minute, time.second
        );
    }
    let _ = writeln!(line, "{name}{mark}");
    line
}

/// Calls `with` for each piece of a file.
fn pieces(
    files: &mut Files,
    path: &str,
    mut with: impl FnMut(&mut Files, &[u8]) -> Outcome,
) -> Outcome {
    let file = files.open(path, OpenFlags::READ).map_err(at(path))?;
    let mut bytes = alloc::vec![0; CHUNK];
    let outcome = loop {
        match files.read(file, &mut bytes) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                let piece = bytes.get(..count).unwrap_or_default();
                if let Err(complaint) = with(files, piece) {
                    break Err(complaint);
                }
            }
            Err(error) => break Err(at(path)(error)),
        }
    };
    outcome.and(files.close(file).map_err(at(path)))
}

/// Prints files as they are; without any, what comes from [`Descriptor::INPUT`].
///
/// # Errors
/// A file cannot be read; the others are printed.
pub fn cat(files: &mut Files, paths: &[&str]) -> Outcome {
    let put = |files: &mut Files, bytes: &[u8]| {
        files
            .write_all(Descriptor::OUTPUT, bytes)
            .map_err(Complaint::Output)
    };
    if paths.is_empty() {
        let mut bytes = alloc::vec![0; CHUNK];
        loop {
            let count = files.read(Descriptor::INPUT, &mut bytes);
            match count.map_err(at("input"))? {
                0 => return Ok(()),
                count => put(files, bytes.get(..count).unwrap_or_default())?,
            }
        }
    }
    each(files, "cat", paths, |files, path| pieces(files, path, put))
}

/// Prints how much room there is: on every mount, or where these paths are.
///
/// # Errors
/// A file system does not tell.
pub fn df(files: &mut Files, words: &[&str]) -> Outcome {
    let (_, paths) = options(words, "", DF)?;
    let spaces: Vec<_> = if paths.is_empty() {
        let mounts = files.mounts();
        mounts
            .map(|(location, space)| (String::from(location.as_str()), space))
            .collect()
    } else {
        let space = |path: &&str| (String::from(*path), files.statfs(path));
        paths.iter().map(space).collect()
    };
    print(
        files,
        format_args!("{:>12} {:>12} {:>12}  at\n", "KiB", "used", "free"),
    )?;
    let mut outcome = Ok(());
    for (path, space) in spaces {
        match space {
            Ok(space) => {
                let (total, free) = (space.total / 1024, space.free / 1024);
                let used = total.saturating_sub(free);
                print(
                    files,
                    format_args!("{total:>12} {used:>12} {free:>12}  {path}\n"),
                )?;
            }
            Err(error) => outcome = Err(at(&path)(error)),
        }
    }
    outcome
}

/// Prints files as numbers and letters, sixteen bytes a line.
///
/// # Errors
/// A file cannot be read; the others are printed.
pub fn hexdump(files: &mut Files, words: &[&str]) -> Outcome {
    let (_, paths) = options(words, "", HEXDUMP)?;
    if paths.is_empty() {
        return Err(Complaint::Usage(HEXDUMP));
    }
    each(files, "hexdump", paths, |files, path| {
        let kind = files.stat(path).map_err(at(path))?.kind;
        if kind == Kind::Directory {
            return Err(at(path)(Error::IsDirectory));
        }
        let mut offset = 0u64;
        pieces(files, path, |files, bytes| {
            let mut text = String::new();
            for row in bytes.chunks(16) {
                dump(&mut text, offset, row);
                offset += row.len() as u64;
            }
            print(files, format_args!("{text}"))
        })?;
        print(files, format_args!("{offset:08x}\n"))
    })
}

fn dump(text: &mut String, offset: u64, row: &[u8]) {
    let _ = write!(text, "{offset:08x} ");
    for place in 0..16 {
        if place == 8 {
            text.push(' ');
        }
        let _ = match row.get(place) {
            Some(byte) => write!(text, " {byte:02x}"),
            None => text.write_str("   "),
        };
    }
    let letter = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    let letters: String = row.iter().map(letter).collect();
    let _ = writeln!(text, "  |{letters}|");
}
