//! The rules of the house, put to this repository.

use std::path::{Component, PathBuf};

use exopi_house::{dependencies, edges, files, links, manifests, workspace};

/// Fails with one line for each violation.
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn allowed(name: &str) -> String {
    let path = workspace::root().join("tests/house").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn dependencies_point_one_way() {
    let edges = workspace::edges(&workspace::metadata().unwrap());
    // The kernel knows its interface: without this edge nothing was read.
    assert!(
        edges
            .iter()
            .any(|edge| edge.from == "kernel" && edge.to == "kernel/abi")
    );
    none(&edges::violations(&edges));
}

#[test]
fn licences_are_permissive() {
    let packages = workspace::packages(&workspace::metadata().unwrap()).unwrap();
    assert!(!packages.is_empty());
    let list = allowed("allowed-licences.txt");
    none(&dependencies::licence_violations(
        &packages,
        &dependencies::list(&list),
    ));
}

#[test]
fn direct_dependencies_have_one_version() {
    let packages = workspace::packages(&workspace::metadata().unwrap()).unwrap();
    assert!(packages.iter().any(|package| !package.used_by.is_empty()));
    none(&dependencies::direct_violations(&packages));
}

#[test]
fn duplicates_are_listed_with_a_reason() {
    let packages = workspace::packages(&workspace::metadata().unwrap()).unwrap();
    let rows = dependencies::read_duplicates(&allowed("allowed-duplicates.toml")).unwrap();
    none(&dependencies::duplicate_violations(&packages, &rows));
}

#[test]
fn manifests_inherit() {
    let members = workspace::members(&workspace::metadata().unwrap()).unwrap();
    let mut found = Vec::new();
    for (folder, manifest) in &members {
        for violation in manifests::violations(manifest).unwrap() {
            found.push(format!("{folder}: {violation}"));
        }
        found.extend(manifests::board_violations(folder, manifest).unwrap());
    }
    assert!(members.contains_key("kernel"));
    none(&found);
}

#[test]
fn every_crate_is_a_member() {
    let members = workspace::members(&workspace::metadata().unwrap()).unwrap();
    let files = workspace::files().unwrap();
    let folders = files
        .keys()
        .filter_map(|path| path.strip_suffix("/Cargo.toml"));
    // Built with flags of its own, and nothing but a way into a crate that is a member.
    let apart = |folder: &str| folder == "tests/fuzz/libfuzzer";
    let strangers = folders.filter(|folder| !members.contains_key(*folder) && !apart(folder));
    let tell = |folder: &str| format!("{folder} is not in the workspace, so nothing checks it");
    none(&strangers.map(tell).collect::<Vec<_>>());
}

#[test]
fn files_are_clean() {
    let files = workspace::files().unwrap();
    assert!(files.contains_key("kernel/src/main.rs"));
    let homes = homes();
    let found = files
        .iter()
        .flat_map(|(path, content)| files::violations(path, content, &homes));
    none(&found.collect::<Vec<_>>());
}

/// Folders of this machine. One of a single part, as `/src`, is too common a word to look for.
fn homes() -> Vec<String> {
    let home = ["HOME", "CARGO_HOME"]
        .into_iter()
        .filter_map(std::env::var_os);
    let root = workspace::root().canonicalize().unwrap();
    let folders = home.map(PathBuf::from).chain([root]);
    let long = folders.filter(|path| {
        let parts = path.components();
        parts
            .filter(|part| matches!(part, Component::Normal(_)))
            .count()
            > 1
    });
    long.map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let files = workspace::files().unwrap();
    let text = |content| String::from_utf8(content).unwrap_or_default();
    let tree = files
        .into_iter()
        .map(|(path, content)| (path, text(content)));
    none(&links::violations(&tree.collect()));
}
