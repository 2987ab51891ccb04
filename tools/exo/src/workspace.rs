//! The workspace from outside: where it lies, and what cargo builds in it.
//!
//! Everything is built by calling cargo at the workspace's root, so that its `.cargo/config.toml`
//! holds, and the path of what was built is taken from cargo's own messages.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use cargo_metadata::Message;

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
        .args(["build", "--release", "--package", package])
        .args(target.map(|target| format!("--target={target}")))
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
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
    let mut built = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(executable) = artifact.executable
        {
            built = Some(executable.into_std_path_buf());
        }
    }
    if !child.wait()?.success() {
        bail!("building {package} failed");
    }
    built.with_context(|| format!("package {package} has no program to run"))
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
