//! Prints what LLVM's assembler, as it is in `rustc`, makes of each case of the encoder's tests:
//!
//! ```text
//! cargo run -p exopi-a64 --example words > kernel/a64/tests/words.txt
//! ```

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use object::{Object, ObjectSection};

#[path = "../tests/cases/mod.rs"]
mod cases;

fn main() -> ExitCode {
    match words() {
        Ok(words) => {
            println!(
                "# Written by `cargo run -p exopi-a64 --example words`: LLVM's word for each line."
            );
            for ((text, _), word) in cases::all().iter().zip(words) {
                println!("{word:08x}  {text}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("words: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has all cases assembled in one go.
fn words() -> Result<Vec<u32>, Box<dyn std::error::Error>> {
    let mut source = "#![no_std]\ncore::arch::global_asm!(\n".to_owned();
    for (text, _) in cases::all() {
        // A branch far out of the section needs no target there: its offset is a constant.
        source += &format!(
            "    \"{}\",\n",
            text.replace(" .+", " #").replace(" .-", " #-")
        );
    }
    source += ");\n";
    let path = std::env::temp_dir().join(format!("words-{}.o", std::process::id()));
    let mut rustc = Command::new("rustc")
        .args([
            "--crate-type=lib",
            "--emit=obj",
            "--target=aarch64-unknown-none",
            "-o",
        ])
        .args([path.as_os_str(), "-".as_ref()])
        .stdin(Stdio::piped())
        .spawn()?;
    rustc
        .stdin
        .take()
        .ok_or("no pipe")?
        .write_all(source.as_bytes())?;
    if !rustc.wait()?.success() {
        return Err("rustc failed".into());
    }
    let bytes = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    let file = object::File::parse(bytes.as_slice())?;
    let text = file.section_by_name(".text").ok_or("no .text")?;
    let (words, _) = text.data()?.as_chunks();
    Ok(words.iter().copied().map(u32::from_le_bytes).collect())
}
