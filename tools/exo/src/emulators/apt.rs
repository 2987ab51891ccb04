//! Unpacks a Debian package, and all that it needs, into a folder of ours.
//!
//! The packages come from the archive that this machine uses anyway, by its own apt settings (proxies
//! included), checked by its own keys. Lists, downloads and the record of what is installed are private:
//! the record is empty, so that every needed library comes along, and the machine's own stays as it is.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks `package` of `suite` into `root`; lists and downloads stay under `folder`.
pub(super) fn unpack(
    package: &str,
    suite: &str,
    folder: &Utf8Path,
    root: &Utf8Path,
) -> anyhow::Result<()> {
    let apt = Apt::prepare(suite, folder)?;
    apt.get(&["update"])?;
    apt.get(&["install", "--download-only", "--yes", "-t", suite, package])?;
    fs::create_dir_all(root)?;
    let mut unpacked = 0;
    for entry in apt.archives.read_dir_utf8()? {
        let path = entry?.into_path();
        if path.extension() == Some("deb") {
            let status = Command::new("dpkg-deb")
                .args(["-x", path.as_str(), root.as_str()])
                .status()
                .context("cannot run dpkg-deb")?;
            ensure!(status.success(), "cannot unpack {path}");
            unpacked += 1;
        }
    }
    ensure!(unpacked > 0, "apt downloaded nothing");
    fs::remove_dir_all(&apt.archives)?;
    Ok(())
}

/// An apt of our own.
struct Apt {
    config: Utf8PathBuf,
    archives: Utf8PathBuf,
}

impl Apt {
    fn prepare(suite: &str, folder: &Utf8Path) -> anyhow::Result<Self> {
        let archive = archive()?;
        let state = folder.join("apt").join(suite);
        let archives = state.join("archives");
        for needed in [state.join("lists/partial"), archives.join("partial")] {
            fs::create_dir_all(needed)?;
        }
        let keys = match fs::exists(KEYS) {
            Ok(true) => format!("[signed-by={KEYS}] "),
            _ => String::new(),
        };
        // A suite of backports stands on the release that it is named after.
        let release = suite.split('-').next().unwrap_or(suite);
        let mut suites = vec![release, suite];
        suites.dedup();
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb {keys}{archive} {suite} main\n"))
            .collect();
        fs::write(state.join("sources.list"), sources)?;
        fs::write(state.join("status"), "")?;
        let config = state.join("apt.conf");
        fs::write(&config, settings(&state))?;
        Ok(Self { config, archives })
    }

    fn get(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let status = Command::new("apt-get")
            .args(["-qq", "-c", self.config.as_str()])
            .args(arguments)
            .status()
            .context("cannot run apt-get")?;
        ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
        Ok(())
    }
}

/// Settings read after the machine's own, so that only what is ours changes.
fn settings(state: &Utf8Path) -> String {
    format!(
        "#clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Pre-Invoke;\n\
         #clear DPkg::Post-Invoke;\n\
         Dir::Etc::SourceList \"{state}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"/dev/null\";\n\
         Dir::Etc::PreferencesParts \"/dev/null\";\n\
         Dir::State \"{state}\";\n\
         Dir::State::Lists \"{state}/lists\";\n\
         Dir::State::Status \"{state}/status\";\n\
         Dir::Cache \"{state}\";\n\
         Dir::Cache::Archives \"{state}/archives\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Install-Recommends \"false\";\n\
         Acquire::Languages \"none\";\n\
         Debug::NoLocking \"true\";\n"
    )
}

/// The Debian archive that this machine uses.
fn archive() -> anyhow::Result<String> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if field(&system, "ID") != Some("debian") {
        bail!(
            "this machine is not a Debian: bring qemu-system-aarch64 in another way and run \
             `make test-target QEMU=<path>` with it"
        );
    }
    let release = field(&system, "VERSION_CODENAME").unwrap_or_default();
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(RELEASE) $(COMPONENT) $(CREATED_BY) $(REPO_URI) $(ORIGIN)",
        ])
        .output()
        .context("cannot run apt-get")?;
    choose(&String::from_utf8_lossy(&output.stdout), release)
        .with_context(|| format!("apt's sources name no main archive of {release}"))
}

/// The value of a field of `os-release`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = values.find(|(key, _)| *key == name)?;
    Some(value.trim_matches('"'))
}

/// The archive of `release` in apt's list of what it indexes. The origin is known only once apt has
/// fetched its lists, so it decides between archives but is not demanded.
fn choose(targets: &str, release: &str) -> Option<String> {
    let mut found = None;
    for line in targets.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [suite, "main", "Packages", address, origin @ ..] = words.as_slice() else {
            continue;
        };
        if *suite == release {
            if origin == ["Debian"] {
                return Some((*address).to_owned());
            }
            found.get_or_insert_with(|| (*address).to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_of_the_release_is_chosen() {
        let targets = "\
            trixie-updates main Packages http://a.example/debian/ Debian\n\
            trixie main Packages http://extra.example/ Extra\n\
            trixie main DEP-11 http://icons.example/debian/ Debian\n\
            trixie contrib Packages http://b.example/debian/ Debian\n\
            trixie main Packages http://c.example/debian/ Debian\n";
        assert_eq!(
            choose(targets, "trixie").as_deref(),
            Some("http://c.example/debian/")
        );
        assert_eq!(choose(targets, "forky"), None);
    }

    #[test]
    fn an_archive_without_lists_is_still_found() {
        let targets = "trixie main Packages http://c.example/debian/ \n";
        assert_eq!(
            choose(targets, "trixie").as_deref(),
            Some("http://c.example/debian/")
        );
    }

    #[test]
    fn fields_lose_their_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=\"bookworm\"\n";
        assert_eq!(field(text, "ID"), Some("debian"));
        assert_eq!(field(text, "VERSION_CODENAME"), Some("bookworm"));
        assert_eq!(field(text, "NAME"), None);
    }
}
