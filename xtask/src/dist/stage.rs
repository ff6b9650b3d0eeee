//! The tree that all packages hold.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Release, read, write};
use crate::process;

const DOC: &str = "usr/share/doc/cordon";
const SHARE: &str = "usr/share/cordon";
const UNITS: &str = "usr/lib/systemd/system";

/// Directories that are taken as they are, and where they go.
const DIRECTORIES: [(&str, &str); 4] = [
    ("policies/examples", "usr/share/cordon/policies/examples"),
    ("policies/groups", "usr/share/cordon/policies/groups"),
    ("probe-userspace/packaging/grafana", "usr/share/cordon/grafana"),
    (
        "probe-userspace/packaging/prometheus",
        "usr/share/cordon/prometheus",
    ),
];

/// Files, and where they go. The licences are in `copyright` too, as Debian wants it.
const FILES: [(&str, &str); 4] = [
    ("README.md", DOC),
    ("CHANGELOG.md", DOC),
    ("SECURITY.md", DOC),
    ("policies/data/dbip-country-lite.LICENSE", DOC),
];

/// Lays out the tree.
pub fn lay_out(release: &Release, root: &Path, binaries: &Path) -> anyhow::Result<()> {
    let stage = &release.stage;
    binary(binaries, stage)?;
    generated(release, binaries)?;
    for (file, dir) in FILES {
        copy(&root.join(file), &stage.join(dir))?;
    }
    for (from, to) in DIRECTORIES {
        copy_dir(&root.join(from), &stage.join(to))?;
    }
    copy_dir(&root.join("docs"), &stage.join(DOC).join("docs"))?;
    write(
        &stage.join(SHARE).join("cordon.toml"),
        &read(&release.packaging.join("cordon.toml"))?,
    )?;
    write(
        &stage.join(DOC).join("copyright"),
        &read(&release.packaging.join("deb/copyright"))?,
    )?;
    systemd(release)?;
    set_modes(stage)
}

/// Debug symbols are for those who build it.
fn binary(binaries: &Path, stage: &Path) -> anyhow::Result<()> {
    let to = stage.join("usr/sbin");
    copy(&binaries.join("cordon"), &to)?;
    process::run(Command::new("strip").arg(to.join("cordon")))
}

/// Manual pages and completions, from the parser itself.
fn generated(release: &Release, binaries: &Path) -> anyhow::Result<()> {
    let dir = release.work.join("generated");
    process::run(Command::new(binaries.join("manual")).arg(&dir))?;
    let stage = &release.stage;
    let man = stage.join("usr/share/man/man1");
    copy_dir(&dir.join("man"), &man)?;
    for entry in fs::read_dir(&man)? {
        gzip(&entry?.path())?;
    }
    for (file, to) in [
        ("cordon.bash", "usr/share/bash-completion/completions/cordon"),
        ("_cordon", "usr/share/zsh/vendor-completions/_cordon"),
        ("cordon.fish", "usr/share/fish/vendor_completions.d/cordon.fish"),
    ] {
        write(&stage.join(to), &read(&dir.join("completions").join(file))?)?;
    }
    Ok(())
}

fn systemd(release: &Release) -> anyhow::Result<()> {
    let stage = &release.stage;
    let sandbox = read(&release.packaging.join("systemd/sandbox.conf"))?;
    for unit in ["cordon.service", "cordon-restore.service"] {
        let text = release.fill(&format!("systemd/{unit}"), &[("SANDBOX", sandbox.trim_end())])?;
        write(&stage.join(UNITS).join(unit), &text)?;
    }
    for kind in ["sysusers", "tmpfiles"] {
        let text = read(&release.packaging.join(format!("systemd/cordon.{kind}")))?;
        write(&stage.join(format!("usr/lib/{kind}.d/cordon.conf")), &text)?;
    }
    Ok(())
}

/// Without a name and a time in it, so that the same text gives the same bytes.
pub fn gzip(path: &Path) -> anyhow::Result<()> {
    process::run(Command::new("gzip").args(["--best", "--no-name"]).arg(path))
}

fn copy(file: &Path, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name = file.file_name().context("a file without a name")?;
    fs::copy(file, dir.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// The files of a directory, and of those within; none if it is not there.
fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => copy_dir(
                &path,
                &to.join(path.file_name().context("a directory without a name")?),
            )?,
            false => copy(&path, to)?,
        }
    }
    Ok(())
}

/// Whatever the checkout's modes are.
fn set_modes(dir: &Path) -> anyhow::Result<()> {
    for path in entries(dir)? {
        let is_program = path.parent().is_some_and(|dir| dir.ends_with("usr/sbin"));
        let mode = if path.is_dir() || is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    }
    Ok(())
}

/// Everything below a directory, itself included, in order.
pub fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![dir.to_owned()];
    let mut names: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    names.sort();
    for path in names {
        match path.is_dir() {
            true => found.extend(entries(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
