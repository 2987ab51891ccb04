//! The workspace as cargo tells it, and commands that run at its top.
//!
//! Read while running and not when built, so that a moved or second checkout is never mistaken for this one.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use cargo_metadata::camino::Utf8PathBuf;
use cargo_metadata::{Metadata, MetadataCommand};

use super::Step;
use super::count::Form;

/// The workspace that the command was called in.
pub(crate) struct Workspace(Metadata);

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec();
        metadata.map(Self).context("cannot read the workspace")
    }

    /// Its top folder.
    pub(crate) fn root(&self) -> &Utf8PathBuf {
        &self.0.workspace_root
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Utf8PathBuf {
        &self.0.target_directory
    }

    /// A subcommand of this very command.
    pub(crate) fn exo(&self, subcommand: &str, form: Form) -> anyhow::Result<Step> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(subcommand).current_dir(self.root());
        Ok(Step {
            name: format!("exo {subcommand}"),
            command,
            form,
        })
    }

    /// A cargo command, in words, and more words that may hold blanks.
    pub(crate) fn cargo(&self, name: &str, form: Form, line: &str, more: &[String]) -> Step {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).args(more);
        command.current_dir(self.root());
        Step {
            name: name.to_owned(),
            command,
            form,
        }
    }

    /// `--package` options for the members whose folder is wanted.
    pub(crate) fn packages(&self, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
        let members = self.0.workspace_packages().into_iter();
        let wanted = members.filter(|package| {
            let folder = package.manifest_path.parent();
            let folder = folder.and_then(|folder| folder.strip_prefix(self.root()).ok());
            folder.is_some_and(|folder| wanted(folder.as_std_path()))
        });
        wanted
            .flat_map(|package| ["--package".to_owned(), package.name.to_string()])
            .collect()
    }
}
