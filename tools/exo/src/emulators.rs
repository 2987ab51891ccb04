//! `exo emulators`: the target suite on the emulator versions that people have.
//!
//! Each version is unpacked under the build folder from the distribution's own signed packages, with all
//! its shared libraries, so that nothing is installed, nobody needs to be root, and a machine with
//! another release runs it too. [`apt`] finds and unpacks; what is there already is used again.

use std::fs;
use std::io::{Write, stdout};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

use crate::stages::count::{Form, Tally};
use crate::stages::workspace::Workspace;
use crate::stages::{exit_code, run_step};

mod apt;

/// Which emulators to try.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only unpack, and start each once, without the suite.
    #[arg(long)]
    unpack_only: bool,
}

/// A version of the emulator, and the suite of Debian that has it.
struct Emulator {
    version: &'static str,
    suite: &'static str,
}

/// The oldest and the newest that we promise to work on: what Debian 12 and Debian 13 ship.
const EMULATORS: [Emulator; 2] = [
    Emulator {
        version: "7.2",
        suite: "bookworm",
    },
    Emulator {
        version: "10.0",
        suite: "bookworm-backports",
    },
];

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let folder = workspace.target().join("emulators");
    let mut lines = Vec::new();
    let mut total = Tally::default();
    for emulator in &EMULATORS {
        let tally = match unpack(emulator, &folder).and_then(|wrapper| {
            if args.unpack_only {
                starts(&wrapper)?;
                return Ok(Tally::ONE_PASSED);
            }
            let mut step = workspace.exo("test", Form::Summary)?;
            step.command.env("QEMU", &wrapper);
            run_step(step, &mut stdout())
        }) {
            // A suite that ran nothing has proved nothing.
            Ok(tally) if tally.passed + tally.failed == 0 => Tally::ONE_FAILED,
            Ok(tally) => tally,
            Err(error) => {
                println!("emulator {}: {error:#}", emulator.version);
                Tally::ONE_FAILED
            }
        };
        lines.push(format!("emulator {}: {tally}", emulator.version));
        total += tally;
    }
    println!("{}\n{total}", lines.join("\n"));
    stdout().flush()?;
    Ok(exit_code(total))
}

/// The command that starts an emulator, made if it is not there yet.
fn unpack(emulator: &Emulator, folder: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    let home = folder.join(emulator.version);
    let wrapper = home.join("qemu-system-aarch64");
    if !wrapper.exists() {
        println!("unpacking emulator {} under {home}", emulator.version);
        // What an interrupted run left is not to be trusted.
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let root = home.join("root");
        apt::unpack("qemu-system-arm", emulator.suite, folder, &root)?;
        write_wrapper(&wrapper, &root)?;
    }
    let version = version(&wrapper)?;
    println!("emulator {}: {version}", emulator.version);
    ensure!(
        version.contains(&format!("version {}.", emulator.version)),
        "the package is of another version"
    );
    Ok(wrapper)
}

/// Writes the script that starts the unpacked emulator.
///
/// It goes through the unpacked dynamic loader: libraries of one release under the loader of another
/// do not run. `exec` keeps the process id, so that whoever started the script can stop the emulator.
fn write_wrapper(wrapper: &Utf8Path, root: &Utf8Path) -> anyhow::Result<()> {
    let loader = find(root, |path| {
        let name = path.file_name().unwrap_or_default();
        name.starts_with("ld-linux-") && path.parent().is_some_and(|p| p.ends_with("lib64"))
            || name.starts_with("ld-linux-aarch64")
    })?;
    let libc = find(root, |path| path.file_name() == Some("libc.so.6"))?;
    let triple = libc.parent().and_then(Utf8Path::file_name);
    let triple = triple.context("the C library is in no folder")?;
    let loader = loader.strip_prefix(root)?;
    let script = format!(
        "#!/bin/sh\n\
         # Starts the unpacked emulator with the loader and the libraries of its own release.\n\
         root=$(dirname \"$0\")/root\n\
         # Its modules too: those of an installed emulator of another version do not fit.\n\
         export QEMU_MODULE_DIR=\"$root/usr/lib/{triple}/qemu\"\n\
         exec \"$root/{loader}\" --library-path \"$root/lib/{triple}:$root/usr/lib/{triple}\" \\\n\
         \x20   \"$root/usr/bin/qemu-system-aarch64\" -L \"$root/usr/share/qemu\" \"$@\"\n"
    );
    // Renamed into place when it is whole: its presence means that all the rest is there.
    let draft = wrapper.with_extension("draft");
    fs::write(&draft, script)?;
    let status = Command::new("chmod")
        .args(["+x", draft.as_str()])
        .status()?;
    ensure!(status.success(), "cannot make {draft} executable");
    fs::rename(&draft, wrapper)?;
    Ok(())
}

/// The first file below a folder that is wanted.
fn find(folder: &Utf8Path, wanted: fn(&Utf8Path) -> bool) -> anyhow::Result<Utf8PathBuf> {
    fn search(folder: &Utf8Path, wanted: fn(&Utf8Path) -> bool) -> Option<Utf8PathBuf> {
        for entry in folder.read_dir_utf8().ok()?.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if let Some(found) = search(path, wanted) {
                    return Some(found);
                }
            } else if wanted(path) {
                return Some(path.to_owned());
            }
        }
        None
    }
    search(folder, wanted).with_context(|| format!("{folder} lacks the C library or its loader"))
}

/// The first line of the emulator's own account of its version.
fn version(wrapper: &Utf8Path) -> anyhow::Result<String> {
    let output = Command::new(wrapper).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "it does not start: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Boots a kernel of one endless loop, to see that the machine exists and takes a raw image.
fn starts(wrapper: &Utf8Path) -> anyhow::Result<()> {
    let image = wrapper.with_file_name("loop.img");
    // `b .`
    fs::write(&image, 0x1400_0000u32.to_le_bytes())?;
    let machine = "-M raspi3b -display none -monitor none -serial none -kernel";
    let mut child = Command::new(wrapper)
        .args(machine.split(' '))
        .arg(&image)
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let early = child.try_wait()?;
    child.kill().ok();
    child.wait()?;
    ensure!(early.is_none(), "it ended by itself: {early:?}");
    Ok(())
}
