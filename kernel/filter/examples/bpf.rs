//! Prints what libpcap's compiler makes of each line of `tests/expressions.txt` (`tcpdump` must be
//! there; it needs no rights for this):
//!
//! ```text
//! cargo run -p exopi-filter --example bpf > kernel/filter/tests/bpf.txt
//! ```

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("# Written by `cargo run -p exopi-filter --example bpf`: libpcap's program for each");
    println!(
        "# expression of expressions.txt: number of instructions, then code, jt, jf, k of each."
    );
    let lines = include_str!("../tests/expressions.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (ours, theirs) = line.split_once(" | ").unwrap_or((line, line));
        let run = Command::new("tcpdump")
            .args(["-y", "EN10MB", "-ddd", theirs])
            .output();
        match run {
            Ok(output) if output.status.success() => {
                print!("> {ours}\n{}", String::from_utf8_lossy(&output.stdout));
            }
            Ok(output) => {
                // What can never be true it says, and compiles all the same or not at all.
                let told = String::from_utf8_lossy(&output.stderr);
                if told.contains("expression rejects all packets") {
                    println!("> {ours}\n1\n6 0 0 0");
                } else {
                    eprint!("bpf: {theirs}: {told}");
                    return ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprintln!("bpf: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
