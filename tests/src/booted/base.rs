//! The Debian that is booted: made once by debootstrap, kept under `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context as _, bail};

use crate::cordon_process::binary;

/// What it needs beside the base system.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2";

/// Programs that make and boot it, and the packages they are in.
const PROGRAMS: [(&str, &str); 3] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("dpkg-deb", "dpkg"),
];

/// The first program that is not here, with its package: without it nothing can be booted.
pub fn missing() -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    PROGRAMS
        .iter()
        .find(|(program, _)| !dirs.iter().any(|dir| dir.join(program).is_file()))
        .map(|(program, package)| format!("`{program}` is missing (package {package})"))
}

/// The directory of the base system, made if it is not there: the release of the host, so that the binary runs on it.
pub fn directory() -> anyhow::Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    let target = binary()?
        .ancestors()
        .nth(2)
        .context("the binary lies outside a target directory")?;
    let release = release()?;
    let base = target.join("booted").join(&release);
    if base.is_dir() {
        return Ok(base);
    }
    let unfinished = base.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    eprintln!("making a Debian {release} to boot, once: a minute or two");
    let output = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), &release])
        .arg(&unfinished)
        .stdin(Stdio::null())
        .output()
        .context("cannot run debootstrap")?;
    if !output.status.success() {
        bail!("debootstrap failed:\n{}", String::from_utf8_lossy(&output.stdout));
    }
    // Never needed again, and a third of it all.
    for cache in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        remove(&unfinished.join(cache))?;
        fs::create_dir_all(unfinished.join(cache).join("partial"))?;
    }
    fs::rename(&unfinished, &base).with_context(|| format!("cannot rename it to {}", base.display()))?;
    Ok(base)
}

fn release() -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name
        .context("/etc/os-release has no VERSION_CODENAME: is this Debian?")?
        .to_owned())
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
