//! `tidy`: the repository checked against its own rules, those that no compiler and no linter knows.

mod manifest;
mod orphan;
mod rust;
mod source;
mod text;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, bail};

use crate::process;

pub use source::code_only;

/// A broken rule: `file:line: what is wrong`.
type Finding = String;

/// A tracked text file.
struct File {
    /// Relative to the root of the workspace, with slashes.
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path)
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| extensions.contains(&extension))
    }

    fn finding(&self, line_idx: usize, what: impl std::fmt::Display) -> Finding {
        format!("{}:{}: {what}", self.path, line_idx + 1)
    }
}

/// Checks every tracked file.
pub fn run() -> anyhow::Result<()> {
    let root = process::workspace_root();
    let files = tracked_files(&root)?;
    let findings = check(&files);
    if !findings.is_empty() {
        bail!("tidy: {} findings:\n{}", findings.len(), findings.join("\n"));
    }
    eprintln!("tidy: {} text files, nothing to say", files.len());
    Ok(())
}

fn check(files: &[File]) -> Vec<Finding> {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for file in files {
        text::check(file, &paths, &mut findings);
        if file.has_extension(&["rs"]) {
            rust::check(file, &mut findings);
        }
        if file.path.ends_with("Cargo.toml") || file.path == "Cargo.lock" {
            manifest::check(file, &mut findings);
        }
    }
    orphan::check(files, &mut findings);
    findings
}

/// Tracked files, and new ones that git does not ignore, so that a finding comes before the commit.
fn tracked_files(root: &Path) -> anyhow::Result<Vec<File>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    // `safe.directory`: CI often runs as root in a clone that belongs to someone else.
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.directory=*"])
        .args(list)
        .current_dir(root);
    let names = process::output_of(&mut command)
        .context("cannot list the tracked files: tidy needs git and a clone, not an archive")?;
    let mut files = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        // Deleted but not yet committed.
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        // Not text: the database.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: name.to_owned(),
                text,
            });
        }
    }
    if files.is_empty() {
        bail!("git lists no tracked file");
    }
    Ok(files)
}

/// What the rules say about one file.
#[cfg(test)]
fn findings_of(path: &str, text: &str) -> Vec<Finding> {
    check(&[File {
        path: path.to_owned(),
        text: text.to_owned(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let files = tracked_files(&process::workspace_root()).unwrap();
        assert!(
            files.iter().any(|file| file.path == "xtask/src/tidy/mod.rs"),
            "the list should hold this very file"
        );
        let findings = check(&files);
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
