//! What others' code we take: its licences, and how many versions of it.

use std::collections::{BTreeMap, BTreeSet};

use spdx::{Expression, ParseMode};

/// A package of others.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name in the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its manifest says in `license`.
    pub license: Option<String>,
    /// The folder of each member that names it directly.
    pub used_by: Vec<String>,
}

/// The lines of a list; `#` begins a comment.
pub fn list(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| match line.split_once('#') {
        Some((line, _)) => line.trim(),
        None => line.trim(),
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// Packages that cannot be had under the allowed licences alone.
pub fn licence_violations(packages: &[Package], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        // A `license-file` alone is not judged: nobody here reads it for every update.
        let Some(license) = &package.license else {
            found.push(format!("{name} names no licence"));
            continue;
        };
        // The lax mode reads `MIT/Apache-2.0`, which older manifests write for `OR`.
        match Expression::parse_mode(license, ParseMode::LAX) {
            Ok(expression) => {
                if !expression.evaluate(|part| allowed.contains(&part.to_string().as_str())) {
                    found.push(format!("{name} is under {license}"));
                }
            }
            Err(error) => found.push(format!("{name}: {license}: {}", error.reason)),
        }
    }
    found
}

/// Direct dependencies that are there in more than one version.
pub fn direct_violations(packages: &[Package]) -> Vec<String> {
    let direct: Vec<_> = packages.iter().filter(|p| !p.used_by.is_empty()).collect();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in direct {
        let users = package.used_by.join(", ");
        let version = format!("{} by {users}", package.version);
        versions.entry(&package.name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let tell = |(name, versions): (&str, BTreeSet<String>)| {
        let versions: Vec<_> = versions.into_iter().collect();
        format!("{name} is used directly in {}", versions.join(" and "))
    };
    versions.into_iter().map(tell).collect()
}

/// A package that is allowed to be there more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Its name.
    pub name: String,
    /// The versions, all of them.
    pub versions: BTreeSet<String>,
}

/// Reads the list of allowed duplicates: `name = { versions = ["1.0.0", "2.0.0"], reason = "..." }`.
///
/// # Errors
/// It has another form, or a row without a reason.
pub fn read_duplicates(text: &str) -> anyhow::Result<Vec<Duplicate>> {
    let table: toml::Table = text.parse()?;
    let mut rows = Vec::new();
    for (name, row) in table {
        let reason = row.get("reason").and_then(toml::Value::as_str);
        anyhow::ensure!(
            reason.is_some_and(|reason| !reason.trim().is_empty()),
            "{name} has no reason"
        );
        let versions = row.get("versions").and_then(toml::Value::as_array);
        let versions = versions.into_iter().flatten();
        let versions = versions.filter_map(|version| version.as_str().map(str::to_owned));
        let versions = versions.collect();
        rows.push(Duplicate { name, versions });
    }
    Ok(rows)
}

/// Differences between the packages that are there more than once and the list of those that may be.
pub fn duplicate_violations(packages: &[Package], allowed: &[Duplicate]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let versions = versions.entry(&package.name).or_default();
        versions.insert(package.version.clone());
    }
    versions.retain(|_, versions| versions.len() > 1);
    let mut found = Vec::new();
    for row in allowed {
        match versions.remove(row.name.as_str()) {
            Some(versions) if versions == row.versions => {}
            Some(versions) => found.push(format!("{}: there are {versions:?}", row.name)),
            None => found.push(format!("{}: the row is stale", row.name)),
        }
    }
    found.extend(versions.iter().map(|(name, v)| format!("{name}: {v:?}")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: Option<&str>, used_by: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            used_by: used_by.iter().map(|user| (*user).to_owned()).collect(),
        }
    }

    fn refused(license: Option<&str>) -> bool {
        let allowed = [
            "MIT",
            "Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "Unicode-3.0",
        ];
        !licence_violations(&[package("a", "1.0.0", license, &[])], &allowed).is_empty()
    }

    #[test]
    fn licence_expressions_are_understood() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
        ] {
            assert!(!refused(Some(good)), "{good}");
        }
        for bad in [
            "GPL-3.0-only",
            "MPL-2.0",
            "MIT AND GPL-2.0-only",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "Apache-2.0 WITH Classpath-exception-2.0",
            "MIT WITH LLVM-exception",
            "Whatever",
            "MIT OR",
            "",
        ] {
            assert!(refused(Some(bad)), "{bad}");
        }
        assert!(refused(None));
    }

    #[test]
    fn a_direct_dependency_has_one_version() {
        let one = package("a", "1.0.0", None, &["libos/rt", "kernel"]);
        let other = package("a", "2.0.0", None, &["tools/exo"]);
        let transitive = package("a", "2.0.0", None, &[]);
        assert!(direct_violations(&[one.clone(), transitive]).is_empty());
        assert_eq!(direct_violations(&[one, other]).len(), 1);
    }

    #[test]
    fn duplicates_and_their_list_agree() {
        let row = "a = { versions = [\"1.0.0\", \"2.0.0\"], reason = \"b lags\" }";
        let allowed = read_duplicates(row).unwrap();
        let a1 = package("a", "1.0.0", None, &[]);
        let a2 = package("a", "2.0.0", None, &[]);
        let a3 = package("a", "3.0.0", None, &[]);
        let there = [a1.clone(), a2.clone()];
        assert!(duplicate_violations(&there, &allowed).is_empty());
        // Missing from the list, stale in the list, other versions.
        assert_eq!(duplicate_violations(&there, &[]).len(), 1);
        assert_eq!(
            duplicate_violations(std::slice::from_ref(&a1), &allowed).len(),
            1
        );
        assert_eq!(duplicate_violations(&[a1, a2, a3], &allowed).len(), 1);
    }

    #[test]
    fn a_row_gives_its_reason() {
        assert!(read_duplicates("a = { versions = [\"1\", \"2\"] }").is_err());
        assert!(read_duplicates("a = { versions = [], reason = \" \" }").is_err());
        assert!(read_duplicates("a = 1").is_err());
        assert!(read_duplicates("# nothing\n").unwrap().is_empty());
    }

    #[test]
    fn lists_have_comments() {
        assert_eq!(list("# all\nMIT\n\n ISC # short\n"), ["MIT", "ISC"]);
    }
}
