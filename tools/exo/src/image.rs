//! `exo image`: makes the boot image, one file of kernel and first programs, and the image of a card with it.
//!
//! The form is `exopi_abi::boot`'s; the kernel brings its magic and a zero word for the length, and
//! links its zeroed memory and stacks into its segments, so that the archive lies behind all of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use exopi_abi::boot;

use crate::card::{self, Content, Layout};
use crate::{elf, workspace};

pub mod fake;

/// The programs of an image for which none is named: the first is started, and can run the others.
pub const DEFAULT_PROGRAMS: [&str; 4] = ["monitor", "minimal", "files", "exopi-target-suite"];

/// Names on the card that boards look for.
const KERNEL: &str = "kernel8.img";
const CONFIG: &str = "config.txt";

/// Make the boot image kernel8.img, the kernel and behind it the first programs, and the image of a card with it.
///
/// The card has a partition table, a FAT partition with kernel8.img, config.txt and the firmware files that were given,
/// and an empty partition to its end. The same input gives the same bytes.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel ELF file; built from this workspace if left out.
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
    /// A program: a package of this workspace, which is built, or the path of an ELF file. Can be
    /// given several times; the first one becomes the first environment.
    #[arg(long = "program", value_name = "NAME|ELF", default_values = DEFAULT_PROGRAMS)]
    programs: Vec<String>,
    /// Features to build the kernel with, besides the default ones.
    #[arg(
        long,
        value_name = "FEATURES",
        value_delimiter = ',',
        conflicts_with = "kernel"
    )]
    features: Vec<String>,
    /// Where to write the boot image [default: target/image/kernel8.img]. With this alone, no card is made.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where to write the card's image [default: target/exopi.img].
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Size of the card: a power of two, which the emulator demands.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = card::size)]
    size: u64,
    /// Size of its FAT partition.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = card::size)]
    boot_size: u64,
    /// A file for the FAT partition, or a folder of such: what firmware a board needs, config.txt. Can be given several
    /// times.
    #[arg(long, value_name = "PATH")]
    firmware: Vec<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// A build fails, or the image cannot be made or written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel = match &args.kernel {
        Some(path) => path.clone(),
        None => workspace::build_kernel(&args.features)?,
    };
    let programs = args
        .programs
        .iter()
        .map(|program| NamedProgram::get(program))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let output = match &args.output {
        Some(path) => path.clone(),
        None => workspace::target_dir()?.join("image/kernel8.img"),
    };
    let image = make(&kernel, &programs)?;
    if let Some(dir) = output.parent() {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    }
    std::fs::write(&output, &image)
        .with_context(|| format!("cannot write {}", output.display()))?;
    let names: Vec<_> = programs.iter().map(|program| &*program.name).collect();
    eprintln!(
        "{}: {} bytes, kernel {} bytes, programs: {}",
        output.display(),
        image.len(),
        boot::kernel_length(&image)?,
        names.join(" ")
    );
    if args.card.is_some() || args.output.is_none() {
        make_card(args, image)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The card with this boot image, and a `config.txt` unless one is given.
fn make_card(args: &Args, kernel: Vec<u8>) -> anyhow::Result<()> {
    let path = match &args.card {
        Some(path) => path.clone(),
        None => workspace::target_dir()?.join("exopi.img"),
    };
    let content = |name: &str, bytes| Content {
        name: name.to_owned(),
        bytes,
    };
    let mut contents = vec![content(KERNEL, kernel)];
    let given = card::contents(&args.firmware)?;
    ensure!(
        !given
            .iter()
            .any(|file| file.name.eq_ignore_ascii_case(KERNEL)),
        "the card's {KERNEL} is the boot image: no other can be given"
    );
    if !given
        .iter()
        .any(|file| file.name.eq_ignore_ascii_case(CONFIG))
    {
        contents.push(content(CONFIG, card::CONFIG.into()));
    }
    contents.extend(given);
    let layout = Layout {
        card: args.size,
        boot: args.boot_size,
    };
    card::make(&path, layout, &contents)?;
    let names: Vec<_> = contents.iter().map(|content| &*content.name).collect();
    eprintln!(
        "{}: {} MiB, FAT {} MiB: {}",
        path.display(),
        args.size >> 20,
        args.boot_size >> 20,
        names.join(" ")
    );
    Ok(())
}

/// A program that goes into an image.
#[derive(Clone, Debug)]
pub struct NamedProgram {
    /// Name in the archive.
    pub name: String,
    /// Its ELF file, as the linker left it.
    pub path: PathBuf,
}

impl NamedProgram {
    /// The ELF file that `given` is the path of, or the package of that name, built.
    ///
    /// # Errors
    /// The build fails, or the path has no file name.
    pub fn get(given: &str) -> anyhow::Result<Self> {
        if given.contains(std::path::is_separator) || given.ends_with(".elf") {
            let path = PathBuf::from(given);
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{given} names no file"))?;
            return Ok(Self {
                name: name.to_owned(),
                path,
            });
        }
        Ok(Self {
            name: given.to_owned(),
            path: workspace::build_program(given, &[])?,
        })
    }
}

/// Makes a boot image out of ELF files, and checks it.
///
/// # Errors
/// A file cannot be read or does not fit into an image.
pub fn make(kernel: &Path, programs: &[NamedProgram]) -> anyhow::Result<Vec<u8>> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let flat = elf::flatten(&read(kernel)?)
        .with_context(|| format!("{} is no kernel", kernel.display()))?;
    let mut stripped = Vec::new();
    for NamedProgram { name, path } in programs {
        let program = elf::strip(&read(path)?)
            .with_context(|| format!("{} is no program for Exopi", path.display()))?;
        stripped.push((name.as_str(), program));
    }
    let image = assemble(flat, &stripped)?;
    check(&image).context("the image that was just made is wrong")?;
    Ok(image)
}

/// Puts a flat kernel and programs together. Looks at neither, so that tests can make images which
/// only the kernel can refuse.
///
/// # Errors
/// The kernel has no header, a name is too long, or there are too many programs.
pub fn assemble(mut kernel: Vec<u8>, programs: &[(&str, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let magic = boot::KERNEL_HEADER_OFFSET..boot::KERNEL_HEADER_OFFSET + boot::KERNEL_MAGIC.len();
    ensure!(
        kernel.get(magic.clone()) == Some(&boot::KERNEL_MAGIC[..]),
        "no kernel header at offset {} of the flattened kernel",
        boot::KERNEL_HEADER_OFFSET
    );
    let length = kernel.len() as u64;
    kernel
        .get_mut(magic.end..magic.end + size_of::<u64>())
        .context("the kernel ends in its header")?
        .copy_from_slice(&length.to_le_bytes());
    let count = u32::try_from(programs.len())?;
    ensure!(
        count <= boot::MAX_PROGRAMS,
        "{count} programs, but an image holds {} at most",
        boot::MAX_PROGRAMS
    );

    let mut entries = Vec::new();
    let mut contents = Vec::new();
    let contents_at = boot::ARCHIVE_HEADER_BYTES + programs.len() * boot::ARCHIVE_ENTRY_BYTES;
    for (name, program) in programs {
        ensure!(
            name.len() <= boot::NAME_BYTES,
            "the name {name} is longer than {} bytes",
            boot::NAME_BYTES
        );
        let offset = contents_at + contents.len();
        entries.extend(boot::entry_bytes(name, offset as u64, program.len() as u64));
        contents.extend_from_slice(program);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }
    entries.append(&mut contents);
    let header = boot::ArchiveHeader {
        count,
        length: (boot::ARCHIVE_HEADER_BYTES + entries.len()) as u64,
        checksum: boot::checksum(&entries),
        kernel_checksum: boot::checksum(&kernel),
    };
    let mut image = kernel;
    image.extend(header.to_bytes());
    image.append(&mut entries);
    Ok(image)
}

/// Checks a boot image as the kernel will, its programs included.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(image: &[u8]) -> anyhow::Result<boot::Archive<'_>> {
    let archive = boot::check_image(image)?;
    for program in archive.programs() {
        elf::check_program(program.elf).with_context(|| format!("program {}", program.name))?;
    }
    Ok(archive)
}

#[cfg(test)]
mod tests;
