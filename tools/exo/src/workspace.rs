//! The workspace from outside: where it lies, and what cargo builds in it.
//!
//! Everything is built by calling cargo at the workspace's root, so that its `.cargo/config.toml`
//! holds, and the path of what was built is taken from cargo's own messages.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};
use cargo_metadata::Message;
use cargo_metadata::diagnostic::Diagnostic;

/// Target of the kernel.
pub const KERNEL_TARGET: &str = "aarch64-unknown-none-softfloat";
/// Target of programs.
pub const PROGRAM_TARGET: &str = "aarch64-unknown-none";
/// Package of the kernel.
pub const KERNEL_PACKAGE: &str = "exopi-kernel";

/// The workspace's root: the nearest directory upwards that holds the kernel's interface, or else
/// the place that this command was built from.
///
/// # Errors
/// There is neither.
pub fn root() -> anyhow::Result<PathBuf> {
    let is_root = |path: &&Path| path.join("kernel/abi/Cargo.toml").is_file();
    let here = std::env::current_dir().context("the working directory is gone")?;
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .find(is_root)
        .or_else(|| built_from.ancestors().find(is_root))
        .map(Path::to_path_buf)
        .context("not inside Exopi's sources: call exo from there")
}

/// Where cargo puts what it builds.
///
/// # Errors
/// There is no workspace.
pub fn target_dir() -> anyhow::Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(dir)?,
        None => root()?.join("target"),
    })
}

/// Builds the kernel with these features added to the default ones.
///
/// A kernel with features gets a target directory of its own: the plain one is never overwritten by
/// it, and builds of both can run at the same time.
///
/// # Errors
/// The build fails; cargo has said why.
pub fn build_kernel(features: &[String]) -> anyhow::Result<PathBuf> {
    build(KERNEL_PACKAGE, Some(KERNEL_TARGET), features)
}

/// Builds the program that `package` is, with these features added to its default ones.
///
/// # Errors
/// The build fails; cargo has said why.
pub fn build_program(package: &str, features: &[String]) -> anyhow::Result<PathBuf> {
    build(package, Some(PROGRAM_TARGET), features)
}

/// Builds the host command that `package` is.
///
/// # Errors
/// The build fails; cargo has said why.
pub fn build_tool(package: &str) -> anyhow::Result<PathBuf> {
    build(package, None, &[])
}

fn build(package: &str, target: Option<&str>, features: &[String]) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(root()?)
        .args(["build", "--package", package])
        .args(
            target
                .into_iter()
                .flat_map(|target| ["--release", "--target", target]),
        )
        .arg("--message-format=json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !features.is_empty() {
        let mut sorted = features.to_vec();
        sorted.sort();
        let apart = target_dir()?.join(format!("with-{}", sorted.join("-").replace('/', ".")));
        command.args(["--features", &sorted.join(",")]);
        command.arg("--target-dir").arg(apart);
    }
    let mut child = command
        .spawn()
        .context("cannot run cargo: is it in PATH?")?;
    let output = child.stdout.take().context("cargo's output is a pipe")?;
    let errors = child.stderr.take().context("cargo's errors are a pipe")?;
    let what = describe(package, features);
    let progress = thread::spawn(move || pass_on(errors, &what));
    let mut built = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        match message? {
            Message::CompilerArtifact(artifact) => {
                built = artifact.executable.map(Into::into).or(built);
            }
            Message::CompilerMessage(said) if !is_known(&said.message) => {
                eprint!("{}", said.message.rendered.unwrap_or(said.message.message));
            }
            _ => {}
        }
    }
    let held_back = progress.join().unwrap_or_default();
    if !child.wait()?.success() {
        eprint!("{held_back}");
        bail!("building {package} failed");
    }
    built.with_context(|| format!("package {package} has no program to run"))
}

/// What is built, for people.
fn describe(package: &str, features: &[String]) -> String {
    match features {
        [] => package.to_owned(),
        features => format!("{package} with {}", features.join(", ")),
    }
}

/// Passes on what cargo says besides the compiler's messages, but for its progress: of that, one line
/// says what is built if there is any work. Returns the rest, which is of use if the build fails.
fn pass_on(errors: impl Read, what: &str) -> String {
    let mut progress = String::new();
    for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match status(&line) {
            // Blocking: another cargo is at work, which is worth knowing.
            None | Some("Blocking") => eprintln!("{line}"),
            Some(word) => {
                if progress.is_empty() && word != "Finished" {
                    eprintln!("exo: building {what}");
                }
                progress.push_str(&line);
                progress.push('\n');
            }
        }
    }
    progress
}

/// The word that a line of cargo's progress begins with: right-aligned in twelve columns.
fn status(line: &str) -> Option<&str> {
    let (column, rest) = line.split_at_checked(12)?;
    let word = column.trim_start();
    let mut letters = word.chars();
    let is_word = letters
        .next()
        .is_some_and(|first| first.is_ascii_uppercase())
        && letters.all(|letter| letter.is_ascii_lowercase());
    (is_word && rest.starts_with(' ')).then_some(word)
}

/// The one warning that every build for the target gives: the feature that works around erratum
/// 835769 has no stable name (see `.cargo/config.toml`).
fn is_known(message: &Diagnostic) -> bool {
    const KNOWN: &str = "unknown and unstable feature specified for `-Ctarget-feature`: \
                         `fix-cortex-a53-835769`";
    message.message == KNOWN
}

/// First line that `rustc --version` prints in the workspace.
///
/// # Errors
/// There is no rustc.
pub fn toolchain() -> anyhow::Result<String> {
    let output = Command::new("rustc")
        .current_dir(root()?)
        .arg("--version")
        .output()
        .context("cannot run rustc: is it in PATH?")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_what_cargo_has_to_say() {
        assert_eq!(status("   Compiling exopi-abi v0.1.0"), Some("Compiling"));
        assert_eq!(
            status("    Finished `release` profile [optimized]"),
            Some("Finished")
        );
        for line in [
            "warning: unused manifest key: package.colour",
            "error: could not compile `exopi-abi`",
            "error[E0425]: cannot find value",
            "  --> src/lib.rs:1:1",
            "Caused by: the lock file needs to be updated",
            "            ",
            "    feature requires a nightly compiler",
            "",
        ] {
            assert_eq!(status(line), None, "{line}");
        }
    }

    #[test]
    fn only_progress_is_held_back() {
        let said = "   Compiling a v1\nwarning: odd\n    Finished it\n";
        assert_eq!(
            pass_on(said.as_bytes(), "a"),
            "   Compiling a v1\n    Finished it\n"
        );
    }
}
