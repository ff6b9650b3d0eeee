//! The .rpm.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context as _;

use super::{Release, scripts, stage, write};
use crate::process;

/// Directories that other packages own.
const SHARED: [&str; 19] = [
    "/",
    "/usr",
    "/usr/lib",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/bash-completion",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/fish",
    "/usr/share/fish/vendor_completions.d",
    "/usr/share/man",
    "/usr/share/man/man1",
    "/usr/share/zsh",
    "/usr/share/zsh/site-functions",
    "/usr/share/zsh/vendor-completions",
];

/// Packs the tree; gives the package's path.
pub fn pack(release: &Release) -> anyhow::Result<PathBuf> {
    let tree = release.work.join("rpm");
    process::run(
        Command::new("cp")
            .args(["--archive"])
            .args([&release.stage, &tree]),
    )?;
    // Debian has a directory of its own for this.
    let zsh = tree.join("usr/share/zsh");
    fs::rename(zsh.join("vendor-completions"), zsh.join("site-functions"))?;

    let mut files = String::new();
    for path in stage::entries(&tree)? {
        let inside = format!("/{}", path.strip_prefix(&tree)?.display());
        if SHARED.contains(&inside.as_str()) {
            continue;
        }
        let kind = match inside.as_str() {
            _ if path.is_dir() => "%dir ",
            it if it.starts_with("/usr/share/doc/") || it.starts_with("/usr/share/man/") => "%doc ",
            _ => "",
        };
        let mode = if path.is_dir() || inside.starts_with("/usr/sbin/") {
            "0755"
        } else {
            "0644"
        };
        files.push_str(&format!("%attr({mode},root,root) {kind}{inside}\n"));
    }
    let files_path = release.work.join("files");
    write(&files_path, &files)?;

    let words = [
        ("version", release.version.as_str()),
        ("payload", if release.is_quick { "w1.gzdio" } else { "w9.xzdio" }),
        ("stage", &tree.to_string_lossy()),
        ("files", &files_path.to_string_lossy()),
    ];
    let spec = release.work.join("cordon.spec");
    write(&spec, &scripts::fill(release, "rpm/cordon.spec", &words)?)?;
    let topdir = release.work.join("rpmbuild");
    let mut command = Command::new("rpmbuild");
    command
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", topdir.display()))
        // Debian's rpm has no database of its own packages: what the program needs is found in it all the same.
        .args([
            "--nodeps",
            "--define",
            "source_date_epoch_from_changelog 0",
            "--define",
        ])
        .args(["clamp_mtime_to_source_date_epoch 1"])
        .env("SOURCE_DATE_EPOCH", &release.epoch_s)
        .arg(&spec);
    process::run(&mut command)?;

    let made = stage::entries(&topdir.join("RPMS"))?;
    let made = made
        .iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "rpm"))
        .context("rpmbuild made no package")?;
    let package = release
        .out
        .join(made.file_name().context("a package without a name")?);
    fs::rename(made, &package)?;
    Ok(package)
}
