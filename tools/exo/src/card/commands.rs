//! `exo ls`, `exo cat`, `exo cp`: files on the FAT volume of a card's image.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use exopi_fs::{Error, FileSystem, Kind, Location};

use super::{CHUNK, CardVolume, bar, list, mount};

/// List what is in a card's image.
#[derive(clap::Args)]
pub struct Ls {
    /// The image.
    image: PathBuf,
    /// A directory or file on it.
    #[arg(default_value = "/")]
    path: String,
    /// Number of the partition, from 1 on; else the first one with FAT.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
}

/// Print files of a card's image.
#[derive(clap::Args)]
pub struct Cat {
    /// The image.
    image: PathBuf,
    /// Files on it.
    #[arg(required = true)]
    paths: Vec<String>,
    /// Number of the partition, from 1 on; else the first one with FAT.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
}

/// Copy a file onto a card's image, off it, or from one place on it to another.
///
/// A place on an image is written IMAGE:/PATH. Into a directory the file goes under its own name; a file that is
/// there is replaced.
#[derive(clap::Args)]
pub struct Cp {
    /// The file.
    #[arg(value_name = "FILE|IMAGE:/PATH")]
    from: String,
    /// Where it goes.
    #[arg(value_name = "FILE|IMAGE:/PATH")]
    to: String,
    /// Number of the partition, from 1 on; else the first one with FAT.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
}

/// Runs `exo ls`.
///
/// # Errors
/// The image has no such volume, or the volume no such path.
pub fn ls(args: &Ls) -> anyhow::Result<ExitCode> {
    let mut volume = mount(&args.image, args.partition, false)?;
    let tell = |error: Error| anyhow::anyhow!("{}: {error}", args.path);
    let location = Location::root().join(&args.path).map_err(tell)?;
    let mut out = std::io::stdout().lock();
    let metadata = volume.stat(location.path()).map_err(tell)?;
    if metadata.kind == Kind::File {
        writeln!(out, "{:>12}  {}", metadata.size, args.path)?;
        return Ok(ExitCode::SUCCESS);
    }
    for entry in list(&mut volume, location.as_str()).map_err(tell)? {
        let mark = if entry.metadata.kind == Kind::Directory {
            "/"
        } else {
            ""
        };
        writeln!(out, "{:>12}  {}{mark}", entry.metadata.size, entry.name)?;
    }
    let space = volume.statfs()?;
    writeln!(out, "{:>12}  bytes free of {}", space.free, space.total)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `exo cat`.
///
/// # Errors
/// As for [`ls`].
pub fn cat(args: &Cat) -> anyhow::Result<ExitCode> {
    let mut volume = mount(&args.image, args.partition, false)?;
    for path in &args.paths {
        let mut out = std::io::stdout().lock();
        fetch(&mut volume, path, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file of a volume to `out`.
fn fetch(volume: &mut CardVolume, path: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let tell = |error: Error| anyhow::anyhow!("{path}: {error}");
    let location = Location::root().join(path).map_err(tell)?;
    let file = volume.open(location.path()).map_err(tell)?;
    let size = volume.stat_open(file).map_err(tell)?.size;
    let (bar, mut offset, mut bytes) = (bar(size as usize), 0, vec![0; CHUNK]);
    loop {
        let count = volume.read_at(file, offset, &mut bytes).map_err(tell)?;
        let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        out.write_all(read)?;
        offset += count as u64;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    out.flush()?;
    volume.close(file).map_err(tell)
}

/// A place to copy from or to.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Here(&'a Path),
    Image(&'a Path, &'a str),
}

impl<'a> Place<'a> {
    /// An image's path begins with a slash, so that names with colons can be files here.
    fn new(text: &'a str) -> Self {
        match text.split_once(":/") {
            Some((image, rest)) if !image.is_empty() => {
                Self::Image(Path::new(image), &text[text.len() - rest.len() - 1..])
            }
            _ => Self::Here(Path::new(text)),
        }
    }
}

/// Runs `exo cp`.
///
/// # Errors
/// A file cannot be read or written.
pub fn cp(args: &Cp) -> anyhow::Result<ExitCode> {
    let partition = args.partition;
    match (Place::new(&args.from), Place::new(&args.to)) {
        (Place::Here(_), Place::Here(_)) => {
            bail!("neither is on an image: a place on one is written IMAGE:/PATH")
        }
        (Place::Image(image, path), Place::Here(to)) => {
            let mut volume = mount(image, partition, false)?;
            let to = match path.rsplit('/').next() {
                Some(name) if to.is_dir() => to.join(name),
                _ => to.to_path_buf(),
            };
            let mut bytes = Vec::new();
            // All of it is read before anything is overwritten.
            fetch(&mut volume, path, &mut bytes)?;
            std::fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        }
        (Place::Here(from), Place::Image(image, path)) => {
            let bytes = std::fs::read(from);
            let bytes = bytes.with_context(|| format!("cannot read {}", from.display()))?;
            let name = from
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            deposit(image, partition, path, name, &bytes)?;
        }
        (Place::Image(from, path), Place::Image(image, to)) => {
            let mut bytes = Vec::new();
            fetch(&mut mount(from, partition, false)?, path, &mut bytes)?;
            let name = path.rsplit('/').next().unwrap_or_default();
            deposit(image, partition, to, name, &bytes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file onto an image, under `name` if `path` is a directory.
fn deposit(
    image: &Path,
    partition: Option<usize>,
    path: &str,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let mut volume = mount(image, partition, true)?;
    put(&mut volume, path, name, bytes).with_context(|| format!("cannot write {path}"))?;
    volume.unmount()?;
    Ok(())
}

fn put(volume: &mut CardVolume, path: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut location = Location::root().join(path)?;
    if volume
        .stat(location.path())
        .is_ok_and(|found| found.kind == Kind::Directory)
    {
        location = location.join(name)?;
    }
    let file = match volume.open(location.path()) {
        Err(Error::NotFound) => volume.create(location.path())?,
        opened => opened?,
    };
    let bar = bar(bytes.len());
    // What is too large is refused before the old contents go.
    volume.truncate(file, bytes.len() as u64)?;
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        let (mut rest, mut offset) = (chunk, (number * CHUNK) as u64);
        while !rest.is_empty() {
            let count = volume.write_at(file, offset, rest)?;
            rest = rest.get(count..).unwrap_or_default();
            offset += count as u64;
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    volume.close(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_and_a_slash_make_an_image() {
        let image = |image, path| Place::Image(Path::new(image), path);
        assert_eq!(Place::new("card.img:/a/b"), image("card.img", "/a/b"));
        assert_eq!(Place::new("dir/card.img:/"), image("dir/card.img", "/"));
        assert_eq!(Place::new("a:b"), Place::Here(Path::new("a:b")));
        assert_eq!(Place::new(":/a"), Place::Here(Path::new(":/a")));
    }
}
