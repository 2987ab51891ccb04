//! Tools that copy and move: `cp`, `mv`.

use alloc::string::String;

use exopi_fs::{Error, Files, OpenFlags};

use crate::tree::{is_folder, names, remove_all};
use crate::{CHUNK, Complaint, Outcome, at, each, inside, is_same, last_name, options};

const CP: &str = "cp [-r] FROM... TO";
const MV: &str = "mv FROM... TO";

/// What is to be taken, and where it goes: several only into a directory.
fn split<'w>(
    files: &mut Files,
    paths: &'w [&'w str],
    usage: &'static str,
) -> Result<(&'w [&'w str], &'w str), Complaint> {
    match paths.split_last() {
        Some((to, from)) if !from.is_empty() => {
            if from.len() > 1 && !is_folder(files, to) {
                return Err(at(to)(Error::NotDirectory));
            }
            Ok((from, to))
        }
        _ => Err(Complaint::Usage(usage)),
    }
}

/// Where `from` goes: into `to` under its own name if that is a directory.
fn target(files: &mut Files, from: &str, to: &str) -> Result<String, Complaint> {
    if is_folder(files, to) {
        let name = last_name(files, from).map_err(at(from))?;
        return Ok(inside(to, &name));
    }
    Ok(to.into())
}

/// Copies files, with `-r` directories and all that is in them. What is there under a file's name is overwritten.
///
/// # Errors
/// One cannot be copied; the others are.
pub fn cp(files: &mut Files, words: &[&str]) -> Outcome {
    let (set, paths) = options(words, "r", CP)?;
    let (from, to) = split(files, paths, CP)?;
    each(files, "cp", from, |files, path| {
        let target = target(files, path, to)?;
        if is_folder(files, path) {
            if !set.contains('r') {
                return Err(at(path)(Error::IsDirectory));
            }
            // It would never end.
            let here = files.here();
            let (of, into) = (here.join(path), here.join(&target));
            let (of, into) = (of.map_err(at(path))?, into.map_err(at(&target))?);
            if into.below(&of).is_some() {
                return Err(at(&target)(Error::IntoItself));
            }
        }
        copy_all(files, path, &target)
    })
}

fn copy_all(files: &mut Files, from: &str, to: &str) -> Outcome {
    if !is_folder(files, from) {
        return copy(files, from, to);
    }
    match files.mkdir(to) {
        Ok(()) => {}
        Err(Error::Exists) if is_folder(files, to) => {}
        Err(error) => return Err(at(to)(error)),
    }
    // Names are asked for before any is made: nothing is copied twice.
    for name in names(files, from)? {
        copy_all(files, &inside(from, &name), &inside(to, &name))?;
    }
    Ok(())
}

/// Copies a file.
fn copy(files: &mut Files, from: &str, to: &str) -> Outcome {
    let source = files.open(from, OpenFlags::READ).map_err(at(from))?;
    let outcome = copy_into(files, source, from, to);
    outcome.and(files.close(source).map_err(at(from)))
}

fn copy_into(files: &mut Files, source: exopi_fs::Descriptor, from: &str, to: &str) -> Outcome {
    if is_same(files, from, to) {
        return Err(at(to)(Error::Exists));
    }
    // Not emptied before: it may be the same file by another name (in other letters, or its short one).
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let target = files.open(to, flags).map_err(at(to))?;
    let outcome = move_bytes(files, source, target, from, to)
        .and_then(|copied| files.truncate(target, copied).map_err(at(to)));
    outcome.and(files.close(target).map_err(at(to)))
}

fn move_bytes(
    files: &mut Files,
    source: exopi_fs::Descriptor,
    target: exopi_fs::Descriptor,
    from: &str,
    to: &str,
) -> Result<u64, Complaint> {
    let (mut bytes, mut copied) = (alloc::vec![0; CHUNK], 0);
    loop {
        let count = files.read(source, &mut bytes).map_err(at(from))?;
        if count == 0 {
            return Ok(copied);
        }
        let piece = bytes.get(..count).unwrap_or_default();
        files.write_all(target, piece).map_err(at(to))?;
        copied += count as u64;
    }
}

/// Gives files and directories other names, or moves them into a directory; between mounts they are copied and removed.
///
/// # Errors
/// One cannot be moved; the others are.
pub fn mv(files: &mut Files, words: &[&str]) -> Outcome {
    let (_, paths) = options(words, "", MV)?;
    let (from, to) = split(files, paths, MV)?;
    each(files, "mv", from, |files, path| {
        let target = target(files, path, to)?;
        match files.rename(path, &target) {
            Err(Error::CrossMount) => {
                copy_all(files, path, &target)?;
                remove_all(files, path)
            }
            renamed => renamed.map_err(at(path)),
        }
    })
}
