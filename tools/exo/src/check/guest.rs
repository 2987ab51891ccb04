//! A running machine, stopped where no core is in the middle of a change.
//!
//! Standing still is not enough: a core that is stopped half way through a system call has changed some records
//! and not yet others. At a *quiet point* every core is at EL0, or asleep in the kernel's idle loop, which holds
//! no lock. Both can be seen from outside, in the cores' registers and the instruction before the program
//! counter, so that the kernel needs nothing for it, and a suite no more than to wait in its own code for a byte
//! of the console.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::kernel::{Kernel, Located};
use super::memory::Memory;
use super::qmp::{Core, Qmp};
use super::{Findings, Grant, check};
use crate::emulator::{Boot, RAM};

/// How long it may take until all cores are quiet at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the machine goes on between two tries.
const PAUSE: Duration = Duration::from_millis(1);
/// The instruction that a core sleeps in.
const WFI: u64 = 0xd503_207f;

/// Where a machine's memory and control socket are: a folder that goes when this does.
#[derive(Debug)]
pub struct Share {
    dir: TempDir,
}

impl Share {
    /// Makes the folder, and in it the memory: a file without contents.
    ///
    /// # Errors
    /// There is no room.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("exo-").tempdir()?;
        let share = Self { dir };
        let file =
            std::fs::File::create(share.memory()).context("cannot make the memory's file")?;
        file.set_len(RAM)?;
        Ok(share)
    }

    /// The memory.
    pub fn memory(&self) -> PathBuf {
        self.dir.path().join("memory")
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// Makes a machine that is booted so share its memory.
    pub fn share(&self, boot: &mut Boot) {
        boot.memory = Some(self.memory());
        boot.control = Some(self.control());
    }
}

/// Checks one running machine.
#[derive(Debug)]
pub struct Checker {
    share: Share,
    kernel: Kernel,
    connected: Option<(Qmp, Memory)>,
}

impl Checker {
    /// For a machine that is booted with `share` and the kernel in this file.
    ///
    /// # Errors
    /// The file is no such kernel.
    pub fn new(share: Share, kernel: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            share,
            kernel: Kernel::open(kernel)?,
            connected: None,
        })
    }

    /// Where the machine's memory is.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Stops the machine at a quiet point, checks it, and lets it go on. If something is wrong, its memory is
    /// saved to `save` before.
    ///
    /// # Errors
    /// It has ended, or is never quiet, or its memory cannot be saved.
    pub fn check(&mut self, grants: &[Grant], save: Option<&Path>) -> anyhow::Result<Findings> {
        self.while_quiet(|memory, kernel| {
            let findings = check(memory, kernel, grants);
            if let Some(path) = save.filter(|_| !findings.report.is_clean()) {
                memory.save(path)?;
            }
            Ok(findings)
        })?
    }

    /// Stops the machine at a quiet point, does something, and lets it go on.
    ///
    /// # Errors
    /// It has ended, or is never quiet.
    pub fn while_quiet<R>(&mut self, act: impl FnOnce(&Memory, &Kernel) -> R) -> anyhow::Result<R> {
        let (qmp, memory) = match &mut self.connected {
            Some(connected) => connected,
            none => {
                let qmp = Qmp::connect(&self.share.control())?;
                none.insert((qmp, Memory::open(&self.share.memory())?))
            }
        };
        stop_quiet(qmp, memory, &self.kernel)?;
        let done = act(memory, &self.kernel);
        qmp.go_on()?;
        Ok(done)
    }
}

/// Stops the machine, and lets it go on for a moment as long as a core is at work in the kernel.
fn stop_quiet(qmp: &mut Qmp, memory: &Memory, kernel: &Kernel) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut image = None;
    loop {
        qmp.stop()?;
        let cores = qmp.cores()?;
        // The kernel does not move.
        image = image.or_else(|| kernel.locate(memory));
        if let Some(image) = &image
            && cores.iter().all(|core| is_quiet(*core, memory, image))
        {
            return Ok(());
        }
        qmp.go_on()?;
        if Instant::now() >= until {
            bail!("the cores are never quiet all at once: {cores:x?}");
        }
        thread::sleep(PAUSE);
    }
}

/// Whether a core has nothing half done: it is at EL0, or behind the instruction that it sleeps in.
fn is_quiet(core: Core, memory: &Memory, image: &Located) -> bool {
    if core.level() == 0 {
        return true;
    }
    let before = core.pc.checked_sub(4).and_then(|at| image.physical_of(at));
    let word = before.and_then(|at| Some((memory.word(at & !7)?, at & 4)));
    word.is_some_and(|(word, half)| word >> (8 * half) & 0xffff_ffff == WFI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::world::World;

    #[test]
    fn cores_at_el0_or_asleep_are_quiet() {
        let mut world = World::new();
        let (kernel, code) = (world.kernel(), world.kernel().text.start + 0x40);
        world.write_image(code, WFI << 32);
        let memory = world.memory();
        let image = kernel.locate(&memory).unwrap();
        let quiet = |pc, pstate| is_quiet(Core { pc, pstate }, &memory, &image);
        assert!(quiet(0x20_0000, 0x6000_0000));
        // Behind the instruction, at it, and somewhere else.
        assert!(quiet(code + 8, 0x3c5));
        assert!(!quiet(code + 4, 0x3c5));
        assert!(!quiet(code + 0x20, 0x3c5));
        assert!(!quiet(0x100, 0x3c9));
    }
}
