//! What every member's `Cargo.toml` inherits: lints, licence, edition, and the version of each dependency.

use toml::{Table, Value};

/// Fields of `[package]` that are set once for all.
const INHERITED: [&str; 4] = ["edition", "license", "publish", "rust-version"];

/// What a manifest sets by itself that it should take from the workspace.
///
/// # Errors
/// It is no manifest.
pub fn violations(manifest: &str) -> anyhow::Result<Vec<String>> {
    let manifest: Table = manifest.parse()?;
    let mut found = Vec::new();
    if !inherits(manifest.get("lints")) {
        found.push("[lints] does not inherit".to_owned());
    }
    for field in INHERITED {
        let package = manifest.get("package");
        if !inherits(package.and_then(|package| package.get(field))) {
            found.push(format!("package.{field} does not inherit"));
        }
    }
    own_versions(&manifest, &mut found);
    Ok(found)
}

fn inherits(value: Option<&Value>) -> bool {
    let workspace = value.and_then(|value| value.get("workspace"));
    workspace.and_then(Value::as_bool) == Some(true)
}

/// Dependencies of any kind, those of single targets too, that do not come from the workspace table.
fn own_versions(table: &Table, found: &mut Vec<String>) {
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let rows = table.get(kind).and_then(Value::as_table);
        for (name, row) in rows.into_iter().flatten() {
            if !inherits(Some(row)) {
                found.push(format!("{kind}.{name} is not from the workspace table"));
            }
        }
    }
    let targets = table.get("target").and_then(Value::as_table);
    for (_, target) in targets.into_iter().flatten() {
        if let Some(target) = target.as_table() {
            own_versions(target, found);
        }
    }
}

/// Features that choose a board, where they must not be: the board layer has them, the kernel forwards
/// them, and nobody else knows that there are boards.
///
/// # Errors
/// It is no manifest.
pub fn board_violations(folder: &str, manifest: &str) -> anyhow::Result<Vec<String>> {
    if folder == "bsp" || folder == "kernel" {
        return Ok(Vec::new());
    }
    // As a value, so that comments do not count.
    let manifest: Table = manifest.parse()?;
    let mentioned = mentions(&Value::Table(manifest), "board-");
    let tell = || format!("{folder} chooses a board");
    Ok(mentioned.then(tell).into_iter().collect())
}

fn mentions(value: &Value, needle: &str) -> bool {
    match value {
        Value::String(text) => text.contains(needle),
        Value::Array(values) => values.iter().any(|value| mentions(value, needle)),
        Value::Table(table) => table
            .iter()
            .any(|(key, value)| key.contains(needle) || mentions(value, needle)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
        [package]
        name = 'a'
        edition.workspace = true
        license.workspace = true
        publish.workspace = true
        rust-version.workspace = true
        [lints]
        workspace = true
        [dependencies]
        b.workspace = true
        c = { workspace = true, features = ['std'] }
    ";

    #[test]
    fn a_good_manifest_passes() {
        assert!(violations(GOOD).unwrap().is_empty());
    }

    #[test]
    fn each_lapse_is_found() {
        for (good, bad) in [
            ("[lints]", "[lint]"),
            ("edition.workspace = true", "edition = '2021'"),
            ("license.workspace = true", ""),
            ("license.workspace = true", "license.workspace = false"),
            ("publish.workspace = true", "publish = true"),
            ("rust-version.workspace = true", ""),
            ("b.workspace = true", "b = '1'"),
            ("b.workspace = true", "b = { path = '../b' }"),
            ("[dependencies]", "[dev-dependencies]\nd = '1'"),
            ("[dependencies]", "[build-dependencies]\nd = '1'"),
            (
                "[dependencies]",
                "[target.'cfg(unix)'.dependencies]\nd = '1'",
            ),
        ] {
            let manifest = GOOD.replace(good, bad);
            assert_eq!(violations(&manifest).unwrap().len(), 1, "{bad}");
        }
        assert!(violations("not a manifest").is_err());
    }

    #[test]
    fn boards_are_chosen_in_two_places() {
        let manifest = "[features]\nx = ['exopi-bsp/board-raspi3']";
        assert!(board_violations("kernel", manifest).unwrap().is_empty());
        assert_eq!(board_violations("tools/exo", manifest).unwrap().len(), 1);
        let manifest = "[features]\nboard-raspi3 = []";
        assert!(board_violations("bsp", manifest).unwrap().is_empty());
        assert_eq!(board_violations("libos/rt", manifest).unwrap().len(), 1);
        let comment = "# board-raspi3\n[features]";
        assert!(board_violations("libos/rt", comment).unwrap().is_empty());
    }
}
