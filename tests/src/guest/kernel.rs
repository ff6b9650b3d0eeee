//! A kernel of Debian's, from its package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// A kernel and its modules, unpacked.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What boots.
    pub image: PathBuf,
    /// Directory of the modules.
    modules: PathBuf,
}

impl Kernel {
    /// The newest of a series that Debian has. What is there already is not fetched again.
    pub fn fetch(series: &str, dir: &Path) -> anyhow::Result<Self> {
        let package = newest(series)?;
        let unpacked = dir.join(&package);
        if !unpacked.join("boot").exists() {
            let fetched =
                tempfile::tempdir_in(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
            run(Command::new("apt-get")
                .args(["-o", "APT::Sandbox::User=root", "download", &package])
                .current_dir(fetched.path()))?;
            let file = only_entry(fetched.path())?;
            // Unpacked beside, then moved: half a package is none.
            let partial = fetched.path().join("unpacked");
            run(Command::new("dpkg-deb").arg("--extract").args([&file, &partial]))?;
            match fs::rename(&partial, &unpacked) {
                Err(error) if !unpacked.join("boot").exists() => {
                    return Err(error).with_context(|| format!("cannot make {}", unpacked.display()));
                }
                _ => {}
            }
        }
        let boot = fs::read_dir(unpacked.join("boot"))?.flatten();
        let image = boot.map(|entry| entry.path()).find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        });
        Ok(Self {
            image: image.with_context(|| format!("{package} has no kernel in it"))?,
            modules: only_entry(&unpacked.join("lib/modules"))?.join("kernel"),
        })
    }

    /// The file of a module; `path` is that in the kernel's source, without its ending.
    pub fn module(&self, path: &str) -> PathBuf {
        self.modules.join(format!("{path}.ko"))
    }
}

/// Name of the newest package of a series.
fn newest(series: &str) -> anyhow::Result<String> {
    let pattern = format!(
        r"^linux-image-{}\.[0-9]+-[0-9]+-cloud-amd64$",
        series.replace('.', r"\.")
    );
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", &pattern])
        .output()
        .context("cannot run apt-cache")?;
    let found = String::from_utf8_lossy(&output.stdout);
    let names = found.lines().filter_map(|line| line.split_whitespace().next());
    let newest = names.max_by_key(|name| numbers(name));
    newest.map(str::to_owned).with_context(|| {
        format!("Debian has no cloud kernel {series} here: `apt-get update`, or this release has another one")
    })
}

fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn only_entry(dir: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .next()
        .with_context(|| format!("{} is empty", dir.display()))
}

pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_compared_by_their_numbers() {
        let name = |abi: u32| format!("linux-image-6.1.0-{abi}-cloud-amd64");
        assert!(numbers(&name(56)) > numbers(&name(9)));
    }
}
