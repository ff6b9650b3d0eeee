//! Carries out a plan's steps.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};

use super::{
    commands,
    machine::Machine,
    plan::{self, DEBIAN_PACKAGES, DEBIAN_PREFIX, LINKED_TOOLCHAIN, LINKER_VERSION, LLVM_MAJOR, Plan, Step},
};
use crate::{process, root_user};

/// Does what the plan says, or says what root must do.
pub fn run(plan: &Plan, machine: &Machine) -> anyhow::Result<()> {
    let needs_root = plan.steps.iter().any(|step| matches!(step, Step::Packages(_)));
    if needs_root && !root_user::is_root() {
        bail!(
            "the eBPF side needs {}. Installing it needs root. Run:\n\n    {}\n\nthen run this again",
            plan.toolchain,
            commands(plan).join("\n    ")
        );
    }
    eprintln!("setup: the eBPF side will be built with {}", plan.toolchain);
    for (idx, step) in plan.steps.iter().enumerate() {
        eprintln!(
            "setup: step {} of {}: {}",
            idx + 1,
            plan.steps.len(),
            title(step, machine)
        );
        let started = Instant::now();
        match step {
            Step::Packages(names) => install_packages(names)?,
            Step::Link => link()?,
            Step::Linker => build_linker()?,
        }
        eprintln!("setup: done in {} s", started.elapsed().as_secs());
    }
    Ok(())
}

fn title(step: &Step, machine: &Machine) -> String {
    match step {
        Step::Packages(names) => {
            let with_reason: Vec<String> = DEBIAN_PACKAGES
                .iter()
                .filter(|(name, _why)| names.contains(name))
                .map(|(name, why)| format!("{name} ({why})"))
                .collect();
            format!(
                "install Debian packages, 1 to 3 minutes: {}",
                with_reason.join(", ")
            )
        }
        Step::Link => format!("make {DEBIAN_PREFIX}/bin/rustc rustup's toolchain `{LINKED_TOOLCHAIN}`"),
        Step::Linker => {
            let replaced = match &machine.linker_version {
                Some(version) => format!(", in place of {version}"),
                None => String::new(),
            };
            format!("build bpf-linker {LINKER_VERSION} for LLVM {LLVM_MAJOR}{replaced}, 1 to 3 minutes")
        }
    }
}

const APT_FAILED: &str = "apt-get failed: its own words are above. Usual causes: no network, \
    another apt or dpkg at work (waited five minutes for its lock), or a conflict with Debian's packages rustc, \
    cargo or rustup (nothing is ever removed here: remove them yourself, or use rustup's own installer)";

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args([
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "Acquire::Retries=3",
            "--quiet",
        ])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

fn install_packages(names: &[&str]) -> anyhow::Result<()> {
    if names.contains(&"prometheus") {
        mask_server()?;
    }
    process::run(&mut apt_get(&["update"])).context(APT_FAILED)?;
    // rustc-web conflicts with rustc and rustup: never let apt solve that by removing what the user installed.
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    process::run(command.args(names)).context(APT_FAILED)
}

/// The package's `promtool` is wanted: its server must not start on a machine that never had it.
fn mask_server() -> anyhow::Result<()> {
    const UNIT: &str = "/etc/systemd/system/prometheus.service";
    match std::os::unix::fs::symlink("/dev/null", UNIT) {
        Ok(()) => Ok(()),
        // Masked already, or no systemd that could start it.
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot mask the unit {UNIT}")),
    }
}

fn link() -> anyhow::Result<()> {
    let mut command = Command::new("rustup");
    process::run(command.args(["toolchain", "link", LINKED_TOOLCHAIN, DEBIAN_PREFIX]))
}

fn build_linker() -> anyhow::Result<()> {
    let args = plan::linker_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = process::cargo(&args);
    // Without it the link step looks for LLVM in /usr/lib64.
    command
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM_MAJOR}"))
        .stdin(Stdio::null());
    process::run(&mut command).context("cannot build bpf-linker: cargo's own words are above (no network?)")
}
