//! This repository, as cargo and git tell it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Metadata, MetadataCommand};

use crate::dependencies::Package;
use crate::edges::Edge;

/// Top folder of the repository that this crate is in.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What cargo knows, with every feature on, and the lock file as it is.
///
/// # Errors
/// Cargo refuses.
pub fn metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new()
        .current_dir(root())
        .features(cargo_metadata::CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()])
        .exec()
        .context("cargo metadata")
}

/// The path from the top of the workspace, or the whole path if it is outside.
fn folder(metadata: &Metadata, path: &Utf8Path) -> String {
    let inside = path.strip_prefix(&metadata.workspace_root);
    inside.unwrap_or(path).to_string()
}

/// Folder and manifest of each member.
///
/// # Errors
/// A manifest cannot be read.
pub fn members(metadata: &Metadata) -> anyhow::Result<BTreeMap<String, String>> {
    let mut members = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let place = package.manifest_path.parent().context("no folder")?;
        let manifest = fs::read_to_string(&package.manifest_path)?;
        members.insert(folder(metadata, place), manifest);
    }
    Ok(members)
}

/// Every dependency of a member on something by its path: normal, dev, build, optional.
pub fn edges(metadata: &Metadata) -> Vec<Edge> {
    let mut edges = Vec::new();
    for package in metadata.workspace_packages() {
        let from = package.manifest_path.parent();
        let from = from.map(|place| folder(metadata, place));
        for dependency in &package.dependencies {
            if let (Some(from), Some(path)) = (&from, &dependency.path) {
                edges.push(Edge {
                    from: from.clone(),
                    to: folder(metadata, path),
                });
            }
        }
    }
    edges.sort();
    edges.dedup();
    edges
}

/// Every package of others that some build of ours compiles, for any target.
///
/// # Errors
/// Cargo has not resolved the workspace.
pub fn packages(metadata: &Metadata) -> anyhow::Result<Vec<Package>> {
    let resolve = metadata.resolve.as_ref().context("nothing is resolved")?;
    let mut users: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for node in &resolve.nodes {
        if metadata.workspace_members.contains(&node.id) {
            for dependency in &node.deps {
                let user = metadata[&node.id].name.to_string();
                users.entry(&dependency.pkg).or_default().push(user);
            }
        }
    }
    let others = resolve.nodes.iter().map(|node| &node.id);
    let others = others.filter(|id| !metadata.workspace_members.contains(id));
    let packages = others.map(|id| {
        let package = &metadata[id];
        Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            license: package.license.clone(),
            used_by: users.remove(id).unwrap_or_default(),
        }
    });
    Ok(packages.collect())
}

/// Path and content of every file that is tracked or would be with `git add`.
///
/// # Errors
/// This is no git repository, or a file cannot be read.
pub fn files() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(root())
        .output()
        .context("git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let mut files = BTreeMap::new();
    for path in String::from_utf8(output.stdout)?.split_terminator('\0') {
        // One that is tracked and deleted is no longer there to be judged.
        let place = root().join(path);
        if place.is_file() {
            files.insert(path.to_owned(), fs::read(place)?);
        }
    }
    Ok(files)
}
