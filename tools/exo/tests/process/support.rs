//! Stand-ins for the emulator: shell scripts in a directory that the test removes, told to `exo` by
//! `QEMU=`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use exo::elf;
use exo::image::{self, fake};
use tempfile::TempDir;

/// A directory with a script for an emulator and an image that is not looked at.
pub(crate) struct Fake {
    pub(crate) image: PathBuf,
    script: PathBuf,
    _dir: TempDir,
}

impl Fake {
    /// An emulator that runs these lines of shell.
    pub(crate) fn guest(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("kernel8.img");
        let kernel = elf::flatten(&fake::kernel()).unwrap();
        let bytes = image::assemble(kernel, &[("first", fake::program())]).unwrap();
        std::fs::write(&image, bytes).unwrap();
        let path = dir.path().join("qemu");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            image,
            script: path,
            _dir: dir,
        }
    }

    /// An `exo` that takes this for the emulator.
    pub(crate) fn exo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exo"));
        command
            .args(arguments)
            .env("QEMU", &self.script)
            .env_remove("QEMU_EXTRA")
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }
}

/// Standard output and error as text.
pub(crate) fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}
