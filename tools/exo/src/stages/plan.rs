//! What each stage runs.
//!
//! The packages of each lint come from the folders of the workspace and not from a list, so that a
//! new crate is covered on the day it appears.

use std::path::Path;

use super::count::Form;
use super::workspace::Workspace;
use super::{Stage, Step};

const KERNEL_TARGET: &str = "aarch64-unknown-none-softfloat";
const EL0_TARGET: &str = "aarch64-unknown-none";
const KERNEL: &str = "exopi-kernel";
const E2E: &str = "exopi-e2e";

pub(super) fn steps(stage: Stage, port: Option<&Path>) -> anyhow::Result<Vec<Step>> {
    let workspace = Workspace::read()?;
    Ok(match stage {
        Stage::Host => vec![workspace.cargo(
            "cargo test",
            Form::CargoTest,
            "test --workspace --no-fail-fast --exclude",
            &[E2E.to_owned()],
        )],
        Stage::Target => {
            let mut test = workspace.exo("test", Form::Summary)?;
            if let Some(port) = port {
                test.command.arg("--port").arg(port);
                return Ok(vec![test]);
            }
            // The emulator counts instructions there, and interrupts come exactly in time.
            let mut timed = workspace.exo("test", Form::Summary)?;
            timed.command.args(["--timed", "timed:"]);
            // The same on one core: what the limits are for.
            let mut limits = workspace.exo("bench", Form::Status)?;
            limits.command.args(["--judge", "max_"]);
            vec![test, timed, limits]
        }
        Stage::E2e => vec![
            workspace.exo("image", Form::Silent)?,
            workspace.cargo(
                "cargo test",
                Form::CargoTest,
                "test --no-fail-fast --package",
                &[E2E.to_owned()],
            ),
        ],
        Stage::Lint => lints(&workspace),
    })
}

fn lints(workspace: &Workspace) -> Vec<Step> {
    let status = |name: &str, line: &str, packages: &[String]| {
        workspace.cargo(name, Form::Status, line, packages)
    };
    let kernel = workspace.packages(is_kernel_side);
    let el0 = workspace.packages(is_el0);
    let clippy = |name: &str, target: &str, packages: &[String]| {
        let mut step = status(name, &format!("clippy --target {target}"), packages);
        step.command.args(["--", "-Dwarnings"]);
        step
    };
    let doc = |name: &str, target: &str, packages: &[String]| {
        let mut step = status(name, &format!("doc --no-deps {target}"), packages);
        step.command.env("RUSTDOCFLAGS", "-Dwarnings");
        step
    };
    vec![
        status("rustfmt", "fmt --all --check", &[]),
        status(
            "clippy, host",
            "clippy --workspace --all-targets -- -Dwarnings",
            &[],
        ),
        clippy("clippy, kernel target", KERNEL_TARGET, &kernel),
        clippy(
            "clippy, kernel target with its features",
            &format!("{KERNEL_TARGET} --features count,selftest,trace"),
            &["--package".to_owned(), KERNEL.to_owned()],
        ),
        clippy("clippy, EL0 target", EL0_TARGET, &el0),
        doc("rustdoc, host", "--workspace", &[]),
        doc(
            "rustdoc, kernel target",
            &format!("--target {KERNEL_TARGET}"),
            &kernel,
        ),
        doc(
            "rustdoc, EL0 target",
            &format!("--target {EL0_TARGET}"),
            &el0,
        ),
    ]
}

/// Whether a crate's folder is built for EL1.
fn is_kernel_side(folder: &Path) -> bool {
    folder.starts_with("kernel") || folder.starts_with("bsp")
}

/// Whether a crate's folder is built for EL0.
fn is_el0(folder: &Path) -> bool {
    let wholly = [
        "libos",
        "userland",
        "tests/echo",
        "tests/target",
        "tests/protocol",
    ];
    wholly.iter().any(|top| folder.starts_with(top))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_the_target() {
        for folder in ["kernel", "kernel/abi", "kernel/pages", "bsp"] {
            assert!(is_kernel_side(Path::new(folder)), "{folder}");
            assert!(!is_el0(Path::new(folder)), "{folder}");
        }
        for folder in [
            "libos/rt",
            "userland/bench",
            "tests/echo",
            "tests/target",
            "tests/protocol",
        ] {
            assert!(is_el0(Path::new(folder)), "{folder}");
            assert!(!is_kernel_side(Path::new(folder)), "{folder}");
        }
        for folder in ["tests/house", "tests/targets", "tools/exo"] {
            assert!(!is_kernel_side(Path::new(folder)), "{folder}");
            assert!(!is_el0(Path::new(folder)), "{folder}");
        }
    }

    #[test]
    fn every_stage_has_a_plan() {
        for stage in [Stage::Host, Stage::Target, Stage::E2e, Stage::Lint] {
            assert!(!steps(stage, None).unwrap().is_empty());
        }
        assert_eq!(steps(Stage::Lint, None).unwrap().len(), 8);
    }

    #[test]
    fn a_port_goes_to_the_target_suite() {
        let port = Path::new("/dev/ttyUSB0");
        let steps = steps(Stage::Target, Some(port)).unwrap();
        assert_eq!(steps.len(), 1);
        let arguments: Vec<_> = steps[0].command.get_args().collect();
        assert_eq!(arguments, ["test", "--port", "/dev/ttyUSB0"]);
    }
}
