//! The kernel's invariants, checked from outside while the suites run, and a machine whose memory is damaged
//! under it: the checker says what was done.

use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use exo::check::guest::{Checker, Share};
use exo::check::{Kernel, Law, Memory, Report, State, check};
use exo::emulator::{Boot, Emulator, Output};
use exo::image::NamedProgram;
use exo::lines::Lines;
use exo::run::Bootable;
use exopi_abi::capability::siphash::{Initial, Start};
use exopi_abi::capability::{Body, Capability, Kind, Rights};
use exopi_abi::exposed::{Header, MAGIC};
use exopi_abi::page::FrameType;
use exopi_e2e::{Turn, exo, kernel};

/// A suite that is soon done.
const SUITE: &str = "exposed";

#[test]
fn clean_suites_have_nothing_wrong() {
    let run = Turn::take().run(Command::new(exo()).args(["check", SUITE]));
    run.ends_with(0)
        .prints("check exposed\n")
        .prints("space 0: 1 environments")
        .prints("capabilities: 0 live")
        .prints(" 0 failed");
}

/// A machine that has run one suite and waits at its checkpoint.
struct Waiting {
    checker: Checker,
    emulator: Emulator,
    lines: Lines,
    _bootable: Bootable,
    _turn: Turn,
}

impl Waiting {
    fn boot() -> Self {
        let turn = Turn::take();
        let suite = NamedProgram::get("exopi-target-suite").expect("the suite builds");
        let bootable = Bootable::make(kernel(), &[suite]).unwrap();
        let share = Share::new().unwrap();
        let mut boot = Boot {
            append: Some(format!("suite={SUITE}")),
            talk: true,
            ..Boot::new(&bootable.image)
        };
        share.share(&mut boot);
        let mut waiting = Self {
            checker: Checker::new(share, kernel()).unwrap(),
            emulator: Emulator::start(&boot).unwrap(),
            lines: Lines::default(),
            _bootable: bootable,
            _turn: turn,
        };
        waiting.wait_for(&format!("C {SUITE}"));
        waiting
    }

    fn wait_for(&mut self, wanted: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Output::Bytes(bytes) = self.emulator.console().next(Duration::from_millis(100)) {
                let lines = self.lines.feed(&bytes).into_iter();
                if lines
                    .map(|line| line.into_text())
                    .any(|line| line == wanted)
                {
                    return;
                }
            }
        }
        panic!("the guest does not say {wanted}");
    }

    /// Stops it, lets `act` change its memory, and gives what is wrong then, and once all is as it was.
    fn damaged(&mut self, act: impl Fn(&Memory, &State) -> (u64, u64)) -> [Report; 2] {
        let path = self.checker.share().memory();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let changed = self.checker.while_quiet(|memory, kernel| {
            let state = State::read(memory, kernel, &mut Report::default()).unwrap();
            let (at, word) = act(memory, &state);
            let before = memory.word(at).unwrap();
            write(&file, at, word);
            let damaged = check(memory, kernel, &[]).report;
            write(&file, at, before);
            [damaged, check(memory, kernel, &[]).report]
        });
        changed.unwrap()
    }

    /// Lets the guest go on to its end.
    fn end(mut self) {
        self.emulator.send(b"\n").unwrap();
        let status = self.emulator.wait(Duration::from_secs(60));
        assert!(status.expect("the guest ends").success());
    }
}

fn write(file: &File, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

/// Where the first environment's first page is mapped: the place of a level-3 entry, and the entry.
fn first_leaf(memory: &Memory, state: &State) -> (u64, u64) {
    let (_, space) = state.live_spaces().next().unwrap();
    let mut table = u64::from(space.root);
    for _ in 0..2 {
        let entries = memory.table(table).unwrap();
        let entry = entries.iter().find(|entry| **entry & 3 == 3);
        table = entry.unwrap() >> 12 & 0xf_ffff_ffff;
    }
    let entries = memory.table(table).unwrap();
    let index = entries.iter().position(|entry| entry & 3 == 3).unwrap();
    (table * 4096 + index as u64 * 8, entries[index])
}

/// Where the exposed header is.
fn header(memory: &Memory, state: &State) -> u64 {
    let mut pages = state.image.frames().map(|frame| frame * 4096);
    pages.find(|at| memory.word(*at) == Some(MAGIC)).unwrap()
}

#[test]
fn damage_under_a_running_machine_is_found_and_named() {
    let mut machine = Waiting::boot();
    let found = machine.checker.check(&[], None).unwrap();
    assert!(found.report.is_clean(), "{}", found.report);
    type Damage = fn(&Memory, &State) -> (u64, u64);
    let damages: [(Law, Damage); 6] = [
        // Global: seen by every space.
        (Law::Attributes, |memory, state| {
            let (at, entry) = first_leaf(memory, state);
            (at, entry & !(1 << 11))
        }),
        // Something that is not the program's.
        (Law::Mapped, |memory, state| {
            let (at, entry) = first_leaf(memory, state);
            let (_, space) = state.live_spaces().next().unwrap();
            (
                at,
                entry & !(0xf_ffff_ffff << 12) | u64::from(space.root) << 12,
            )
        }),
        // The mapping is gone, the count is not.
        (Law::References, |memory, state| {
            (first_leaf(memory, state).0, 0)
        }),
        (Law::SelfEntry, |_, state| {
            let (_, space) = state.live_spaces().next().unwrap();
            (u64::from(space.root) * 4096 + 510 * 8, 0)
        }),
        (Law::FreeCount, |memory, state| {
            let at = header(memory, state) + offset_of!(Header, free_pages) as u64;
            (at, state.free_pages - 1)
        }),
        (Law::Region, |memory, state| (header(memory, state), 0)),
    ];
    for (law, damage) in damages {
        let [damaged, restored] = machine.damaged(damage);
        assert!(damaged.breaks(law), "not {}:\n{damaged}", law.name());
        assert!(restored.is_clean(), "{restored}");
    }
    machine.end();
}

#[test]
fn capability_that_nobody_granted_is_found() {
    let mut machine = Waiting::boot();
    let path = machine.checker.share().memory();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let found = machine.checker.while_quiet(|memory, kernel| {
        let state = State::read(memory, kernel, &mut Report::default()).unwrap();
        let key = state
            .image
            .key(memory, kernel)
            .expect("the kernel has a key");
        let plain = |number: &u64| state.frame(*number).unwrap().is(FrameType::Plain);
        let number = (0..state.frames.len() as u64).find(plain).unwrap();
        let epoch = state.frame(number).unwrap().stamp.epoch();
        let body = Body::of_kind(Kind::Page, Rights::from_bits(1), number as u32, 1, epoch);
        let body = body.unwrap();
        let at = number * 4096 + 64;
        let before = memory.read(at, 48).unwrap();
        let capability = Capability::new(&body, body.seal(Start::under(key, Initial::KNOWN)));
        file.write_all_at(&capability.to_bytes(), at).unwrap();
        let report = check(memory, kernel, &[]).report;
        file.write_all_at(&before, at).unwrap();
        report
    });
    let found = found.unwrap();
    assert!(
        found.breaks(Law::Capability) && found.count() == 1,
        "{found}"
    );
    machine.end();
}

#[test]
fn saved_memories_are_checked() {
    let mut machine = Waiting::boot();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved");
    let saved = machine.checker.while_quiet(|memory, _| memory.save(&path));
    saved.unwrap().unwrap();
    machine.end();
    let turn = Turn::take();
    let run = |path: &Path| {
        let mut command = Command::new(exo());
        command.arg("check").arg("--dump").arg(path);
        turn.run(command.arg("--kernel").arg(kernel()))
    };
    run(&path).ends_with(0).prints("violations: 0\n");
    let memory = Memory::open(&path).unwrap();
    let known = Kernel::open(kernel()).unwrap();
    let state = State::read(&memory, &known, &mut Report::default()).unwrap();
    let (at, entry) = first_leaf(&memory, &state);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    write(&file, at, entry & !(1 << 11));
    run(&path).ends_with(1).prints("attributes: space 0: ");
    file.set_len(4097).unwrap();
    run(&path).ends_with(1).says("not a whole number of pages");
}
