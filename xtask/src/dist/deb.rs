//! The .deb.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Release, read, scripts, stage, write};
use crate::process;

/// Packs the tree; gives the package's path.
pub fn pack(release: &Release) -> anyhow::Result<PathBuf> {
    let tree = release.work.join("deb");
    process::run(
        Command::new("cp")
            .args(["--archive"])
            .args([&release.stage, &tree]),
    )?;
    changelog(release, &tree)?;
    let overrides = tree.join("usr/share/lintian/overrides/cordon");
    write(
        &overrides,
        &read(&release.packaging.join("deb/lintian-overrides"))?,
    )?;

    let mut installed_bytes = 0;
    let mut sums = Command::new("md5sum");
    sums.current_dir(&tree);
    for path in stage::entries(&tree)?.iter().filter(|path| path.is_file()) {
        installed_bytes += path.metadata()?.len();
        sums.arg(path.strip_prefix(&tree)?);
    }
    let sums = process::output_of(&mut sums).context("md5sum failed")?;
    let architecture = process::output_of(&mut process::tool("dpkg", &["--print-architecture"]))
        .context("dpkg failed: the .deb is made on Debian")?;
    let control = tree.join("DEBIAN");
    let words = [
        ("version", release.version.as_str()),
        ("architecture", architecture.trim()),
        ("installed_kib", &(installed_bytes / 1024).to_string()),
        ("depends", &depends(&tree.join("usr/sbin/cordon"))?),
    ];
    write(&control.join("control"), &release.fill("deb/control", &words)?)?;
    write(&control.join("md5sums"), &sums)?;
    for name in ["postinst", "prerm", "postrm"] {
        let path = control.join(name);
        write(&path, &scripts::fill(release, &format!("deb/{name}"), &[])?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }

    let name = format!("cordon_{}_{}.deb", release.version, architecture.trim());
    let package = release.out.join(name);
    let mut command = Command::new("dpkg-deb");
    command.env("SOURCE_DATE_EPOCH", &release.epoch_s);
    command.args(["--root-owner-group", "--build"]);
    if release.is_quick {
        command.args(["-Zgzip", "-z1"]);
    } else {
        command.arg("-Zxz");
    }
    process::run(command.args([&tree, &package]))?;
    Ok(package)
}

/// sysusers.d, tmpfiles.d and units are systemd's. A static program needs nothing else.
fn depends(binary: &Path) -> anyhow::Result<String> {
    let headers =
        process::output_of(Command::new("objdump").arg("-p").arg(binary)).context("objdump failed")?;
    let versions = headers
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_2."));
    let newest = versions.filter_map(|minor| minor.parse::<u32>().ok()).max();
    Ok(match newest {
        Some(minor) => format!("libc6 (>= 2.{minor}), libgcc-s1, systemd"),
        None => "systemd".to_owned(),
    })
}

/// Debian's own form; what changed is in CHANGELOG.md.
fn changelog(release: &Release, tree: &Path) -> anyhow::Result<()> {
    let at = format!("@{}", release.epoch_s);
    let date = process::output_of(&mut process::tool(
        "date",
        &["--utc", "--rfc-email", "--date", &at],
    ))
    .context("date failed")?;
    let text = format!(
        "cordon ({}) unstable; urgency=medium\n\n  * What changed is in CHANGELOG.md, beside this file.\n\n -- cordon maintainers <cordon@packages.invalid>  {}\n",
        release.version,
        date.trim()
    );
    let path = tree.join("usr/share/doc/cordon/changelog");
    write(&path, &text)?;
    stage::gzip(&path)
}
