//! The tarball: the same tree, for systems without either package manager.

use std::{env::consts::ARCH, path::PathBuf, process::Command};

use super::{Release, read, write};
use crate::process;

/// Packs the tree; gives the tarball's path.
pub fn pack(release: &Release) -> anyhow::Result<PathBuf> {
    let name = format!("cordon-{}-{ARCH}-linux", release.version);
    let tree = release.work.join(&name);
    process::run(
        Command::new("cp")
            .args(["--archive"])
            .args([&release.stage, &tree]),
    )?;
    let configure = read(&release.packaging.join("scripts/configure.sh"))?;
    let script = release.fill("tarball/install.sh", &[("configure", configure.trim_end())])?;
    write(&tree.join("install.sh"), &script)?;
    let package = release.out.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--gzip",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .arg(format!("--mtime=@{}", release.epoch_s))
        .arg("--file")
        .arg(&package)
        .arg("--directory")
        .arg(&release.work)
        .arg(&name);
    process::run(&mut command)?;
    Ok(package)
}
