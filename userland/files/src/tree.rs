//! Tools that make and remove: `mkdir`, `rm`.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use exopi_fs::{Error, Files, Kind};

use crate::{Complaint, Outcome, at, each, inside, options};

const MKDIR: &str = "mkdir [-p] PATH...";
const RM: &str = "rm [-r] [-f] PATH...";

/// Makes directories; with `-p` those above them too, and none where one is.
///
/// # Errors
/// One cannot be made; the others are.
pub fn mkdir(files: &mut Files, words: &[&str]) -> Outcome {
    let (set, paths) = options(words, "p", MKDIR)?;
    if paths.is_empty() {
        return Err(Complaint::Usage(MKDIR));
    }
    each(files, "mkdir", paths, |files, path| {
        if !set.contains('p') {
            return files.mkdir(path).map_err(at(path));
        }
        let location = files.here().join(path).map_err(at(path))?;
        let mut above = String::new();
        for name in location.path().names() {
            above = inside(&above, name);
            match files.mkdir(&above) {
                Ok(()) => {}
                Err(Error::Exists) if is_folder(files, &above) => {}
                Err(error) => return Err(at(&above)(error)),
            }
        }
        Ok(())
    })
}

pub(crate) fn is_folder(files: &mut Files, path: &str) -> bool {
    files
        .stat(path)
        .is_ok_and(|found| found.kind == Kind::Directory)
}

/// The names in a directory.
pub(crate) fn names(files: &mut Files, path: &str) -> Result<Vec<String>, Complaint> {
    let mut names = Vec::new();
    let listed = files.list(path, |entry| {
        names.push(entry.name.clone());
        ControlFlow::Continue(())
    });
    listed.map_err(at(path)).map(|()| names)
}

/// Removes files; with `-r` directories and all that is in them; with `-f` nothing that is not there is missed.
///
/// # Errors
/// One cannot be removed; the others are.
pub fn rm(files: &mut Files, words: &[&str]) -> Outcome {
    let (set, paths) = options(words, "rf", RM)?;
    if paths.is_empty() && !set.contains('f') {
        return Err(Complaint::Usage(RM));
    }
    each(files, "rm", paths, |files, path| {
        let removed = if set.contains('r') {
            remove_all(files, path)
        } else {
            files.remove(path).map_err(at(path))
        };
        match removed {
            Err(Complaint::At(_, Error::NotFound)) if set.contains('f') => Ok(()),
            removed => removed,
        }
    })
}

/// Removes what is there, and all below.
pub(crate) fn remove_all(files: &mut Files, path: &str) -> Outcome {
    if files.stat(path).map_err(at(path))?.kind != Kind::Directory {
        return files.remove(path).map_err(at(path));
    }
    // As deep as paths can be.
    for name in names(files, path)? {
        remove_all(files, &inside(path, &name))?;
    }
    files.rmdir(path).map_err(at(path))
}
