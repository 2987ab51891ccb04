//! The card: what the host wrote, the kernel reads; what the kernel wrote, the host reads.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use exopi_e2e::{Run, kernel, selftest_kernel};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// What the kernel copies from the first half of the card to the second (`kernel/src/boot/selftest/card.rs`): first
/// sector and count. The last piece is where a half ends.
const PIECES: [(u64, u64); 6] = [(1, 1), (7, 1), (8, 8), (19, 3), (64, 256), (1_001, 100)];
const LAST: u64 = 9;

/// Bytes that no other sector has.
fn contents(sector: u64, round: u64) -> Vec<u8> {
    let mut value = sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round << 32 | 1;
    let byte = |_| {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        value as u8
    };
    (0..SECTOR).map(byte).collect()
}

fn write(card: &File, sector: u64, round: u64) {
    let bytes = contents(sector, round);
    card.write_all_at(&bytes, sector * SECTOR).unwrap();
}

fn read(card: &File, sector: u64) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR as usize];
    card.read_exact_at(&mut bytes, sector * SECTOR).unwrap();
    bytes
}

fn boot(card: &Path, kernel: &Path, argument: &str) -> Run {
    let extra = env::var("QEMU_EXTRA").unwrap_or_default();
    let drive = format!("-drive file={},if=sd,format=raw", card.display());
    let mut command = Run::command();
    command
        .arg(kernel)
        .args(["--program", "minimal", "--append", argument])
        .env("QEMU_EXTRA", format!("{extra} {drive}"));
    Run::from(&mut command)
}

/// A card of this size has sectors copied by this self-test, and nothing else changed.
fn copies(bytes: u64, described: &str, test: &str) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("card.img");
    let card = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    card.set_len(bytes).unwrap();
    let half = bytes / SECTOR / 2;
    let copied = PIECES.into_iter().chain([(half - LAST, LAST)]);
    let pieces: Vec<_> = copied.collect();
    for (first, count) in &pieces {
        // And one more on each side, in both halves.
        for sector in first - 1..(first + count + 1).min(half) {
            write(&card, sector, 1);
            write(&card, half + sector, 2);
        }
    }
    let run = boot(&path, selftest_kernel(), test);
    run.ends_with(0)
        .prints(&format!("card: {described}"))
        .prints("card: beyond its end: Some(Refused(")
        .prints("afterwards it works: true")
        .prints("card: 0 requests failed, ")
        .prints("minimal: done");
    let is_copied = |sector: u64| {
        let mut all = pieces.iter();
        all.any(|(first, count)| (*first..first + count).contains(&sector))
    };
    for (first, count) in &pieces {
        for sector in first - 1..(first + count + 1).min(half) {
            let expected = match is_copied(sector) {
                true => contents(sector, 1),
                false => contents(half + sector, 2),
            };
            assert!(
                read(&card, sector) == contents(sector, 1),
                "sector {sector}"
            );
            assert!(
                read(&card, half + sector) == expected,
                "sector {}",
                half + sector
            );
        }
    }
    run
}

#[test]
fn a_card_addressed_by_byte_is_read_and_written() {
    let run = copies(64 * MIB, "64 MiB SDSC, ", "selftest=card");
    // All that is long enough goes by the DMA engine.
    run.prints(" retries: 0, set_up: 1, by_processor: 6 }");
}

#[test]
fn a_card_addressed_by_sector_is_read_and_written() {
    // Its second half begins where an address in bytes has more than 31 bits.
    let run = copies(4096 * MIB, "4096 MiB SDHC, ", "selftest=card");
    run.prints(" retries: 0, set_up: 1, by_processor: 6 }");
}

#[test]
fn the_largest_card_addressed_by_byte_is_read_and_written() {
    copies(2048 * MIB, "2048 MiB SDSC, ", "selftest=card");
}

#[test]
fn without_the_engine_the_processor_moves_the_data() {
    let test = "selftest=card-by-processor";
    for (size, described) in [(64, "64 MiB SDSC, "), (4096, "4096 MiB SDHC, ")] {
        let run = copies(size * MIB, described, test);
        run.prints(" retries: 0, set_up: 1, by_processor: 15 }");
        // Between two stretches of sectors the card interrupts.
        run.never_prints(" 0 interrupts");
    }
}

#[test]
fn a_boot_without_a_card_says_so_and_waits_for_nothing() {
    let run = Run::from(Run::of_minimal().arg("--icount"));
    run.ends_with(0)
        .prints("] card: none")
        .prints("minimal: done");
    // The lines begin with the seconds since the kernel's first instruction, which are instructions.
    let seconds = |text: &str| {
        let line = run.console.lines().find(|line| line.contains(text));
        let time = line.and_then(|line| line.strip_prefix('[')?.split_once(']'));
        time.and_then(|(time, _)| time.trim().parse::<f64>().ok())
            .expect("a time")
    };
    let took = seconds("] card: none") - seconds("] program: ");
    // A card that answers nothing is known by that at once; no second is waited for one that is not ready.
    assert!(took < 0.01, "{took}");
}

#[test]
fn the_shipped_kernel_tells_of_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("card.img");
    File::create(&path).unwrap().set_len(64 * MIB).unwrap();
    boot(&path, kernel(), "")
        .ends_with(0)
        .prints("card: 64 MiB SDSC, ")
        .prints("minimal: done");
}
