//! Which toolchain builds the eBPF side, and what is missing for it. Pure: decides from a [`Machine`].

use std::fmt;

use anyhow::bail;

use super::{TOOLCHAIN_VARIABLE, machine::Machine};

/// The linker version that goes with Debian's toolchain. `.bpf-toolchain` and the build script know nothing of it.
pub const LINKER_VERSION: &str = "0.13.0";
/// LLVM of Debian's `rustc-web`; the linker is made for it.
pub const LLVM_MAJOR: u32 = 22;
/// Oldest compiler that builds the workspace (`rust-version` in Cargo.toml).
pub const OLDEST_RUSTC_MINOR: u32 = 95;
/// Where Debian's compiler lives.
pub const DEBIAN_PREFIX: &str = "/usr";
/// Name under which rustup knows Debian's compiler.
pub const LINKED_TOOLCHAIN: &str = "cordon-bpf";

/// What Debian must have, and why.
pub const DEBIAN_PACKAGES: &[(&str, &str)] = &[
    ("rustc-web", "compiler"),
    ("cargo-web", "its cargo"),
    ("rust-web-src", "source of its standard library"),
    ("llvm-22-dev", "LLVM that bpf-linker is built on"),
    ("iproute2", "`ip`, for the lab"),
    ("ethtool", "switches offloads of cards"),
    ("nftables", "`nft`, which serves the tier that a mark stands for"),
    ("ipset", "what the bench compares with, and `cordon import` reads"),
    ("iptables", "asks ipset"),
    ("xdp-tools", "`xdp-filter`, likewise, and a foreign XDP program"),
    ("curl", "the client that is served, refused or drained"),
    ("strace", "makes system calls of the daemon fail"),
    ("debootstrap", "makes the host that the tests boot"),
    ("systemd-container", "boots it"),
    ("lintian", "checks the .deb"),
    ("rpm", "makes and checks the .rpm"),
    ("minisign", "the stock one, for the tests of signatures"),
    ("qemu-system-x86", "runs tests on another kernel"),
    ("busybox-static", "all the programs of that machine"),
    ("cpio", "packs them up"),
    (
        "prometheus",
        "`promtool`, which judges metrics and alert rules; the server is not needed",
    ),
];

/// The toolchain that builds the eBPF side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// Named by the user.
    Named(String),
    /// A rustup nightly with `rust-src`.
    Nightly(String),
    /// Debian's compiler, by its rustup link.
    DebianLinked,
    /// Debian's compiler on a machine without rustup.
    DebianPlain,
}

impl Toolchain {
    /// What `.bpf-toolchain` says: a rustup toolchain, or the prefix of a compiler if there is no rustup.
    pub fn name(&self) -> &str {
        match self {
            Self::Named(name) | Self::Nightly(name) => name,
            Self::DebianLinked => LINKED_TOOLCHAIN,
            Self::DebianPlain => DEBIAN_PREFIX,
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "toolchain `{name}`, as {TOOLCHAIN_VARIABLE} says"),
            Self::Nightly(name) => write!(f, "rustup's `{name}` and its rust-src"),
            Self::DebianLinked => write!(f, "Debian's rustc-web (rustup toolchain `{LINKED_TOOLCHAIN}`)"),
            Self::DebianPlain => write!(f, "Debian's rustc-web (no rustup here)"),
        }
    }
}

/// Something to do before the toolchain works.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Install these Debian packages.
    Packages(Vec<&'static str>),
    /// Make Debian's compiler known to rustup.
    Link,
    /// Build bpf-linker.
    Linker,
}

impl Step {
    /// Commands for a user to type.
    pub fn commands(&self) -> Vec<String> {
        match self {
            Self::Packages(names) => vec![
                "sudo apt-get update".to_owned(),
                format!("sudo apt-get install --no-remove {}", names.join(" ")),
            ],
            Self::Link => vec![format!(
                "rustup toolchain link {LINKED_TOOLCHAIN} {DEBIAN_PREFIX}"
            )],
            Self::Linker => vec![format!(
                "LLVM_PREFIX=/usr/lib/llvm-{LLVM_MAJOR} cargo {}",
                linker_args().join(" ")
            )],
        }
    }
}

/// Arguments of the cargo that builds bpf-linker.
pub fn linker_args() -> Vec<String> {
    let feature = format!("llvm-{LLVM_MAJOR}");
    [
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--force",
        "--no-default-features",
        "--features",
        &feature,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A toolchain and what it lacks.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The toolchain.
    pub toolchain: Toolchain,
    /// In this order; empty if all is there.
    pub steps: Vec<Step>,
}

/// Decides.
pub fn plan(machine: &Machine) -> anyhow::Result<Plan> {
    if let Some(name) = &machine.named_toolchain {
        if machine.linker_version.is_none() {
            bail!(
                "{TOOLCHAIN_VARIABLE} is `{name}`, but no bpf-linker is on PATH: `cargo install bpf-linker`"
            );
        }
        return Ok(Plan {
            toolchain: Toolchain::Named(name.clone()),
            steps: Vec::new(),
        });
    }
    if let Some(nightly) = usable_nightly(machine) {
        return Ok(Plan {
            toolchain: Toolchain::Nightly(nightly.to_owned()),
            steps: Vec::new(),
        });
    }
    if !machine.has_apt {
        bail!(
            "no toolchain for the eBPF side, and this is not Debian. With rustup:\n\n    \
             rustup toolchain install nightly --component rust-src\n    cargo install bpf-linker\n"
        );
    }
    debian(machine)
}

/// Plain `nightly` before dated ones; `None` without a linker, whatever its version: it belongs to that setup.
fn usable_nightly(machine: &Machine) -> Option<&str> {
    machine.linker_version.as_ref()?;
    let mut usable: Vec<&str> = machine
        .nightlies
        .iter()
        .filter(|nightly| nightly.has_rust_src)
        .filter(|nightly| {
            nightly
                .rustc_minor
                .is_some_and(|minor| minor >= OLDEST_RUSTC_MINOR)
        })
        .map(|nightly| nightly.name.as_str())
        .collect();
    usable.sort_unstable_by_key(|name| (is_dated(name), std::cmp::Reverse(*name)));
    usable.first().copied()
}

/// `nightly-2026-05-01-x86_64-..`, not `nightly-x86_64-..`.
fn is_dated(name: &str) -> bool {
    name.strip_prefix("nightly-")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn debian(machine: &Machine) -> anyhow::Result<Plan> {
    let mut steps = Vec::new();
    let missing: Vec<&str> = DEBIAN_PACKAGES
        .iter()
        .map(|(name, _why)| *name)
        .filter(|name| !machine.packages.iter().any(|package| package == name))
        .collect();
    if missing.is_empty() {
        check_debian_compiler(machine)?;
    } else {
        steps.push(Step::Packages(missing));
    }
    if machine.has_rustup && !machine.is_linked {
        steps.push(Step::Link);
    }
    if machine.linker_version.as_deref() != Some(LINKER_VERSION) {
        steps.push(Step::Linker);
    }
    let toolchain = if machine.has_rustup {
        Toolchain::DebianLinked
    } else {
        Toolchain::DebianPlain
    };
    Ok(Plan { toolchain, steps })
}

/// The package is there: is it one that we can work with?
fn check_debian_compiler(machine: &Machine) -> anyhow::Result<()> {
    let Some(compiler) = &machine.debian_compiler else {
        bail!(
            "package rustc-web is installed, but {DEBIAN_PREFIX}/bin/rustc does not run: `sudo apt-get install --reinstall rustc-web cargo-web`"
        );
    };
    if compiler.minor < OLDEST_RUSTC_MINOR {
        bail!(
            "{DEBIAN_PREFIX}/bin/rustc is 1.{}, too old: 1.{OLDEST_RUSTC_MINOR} is needed. Add Debian's security archive to the apt sources (it has rustc-web 1.96), then `sudo apt-get update && sudo apt-get install rustc-web cargo-web rust-web-src`",
            compiler.minor
        );
    }
    if compiler.llvm_major != LLVM_MAJOR {
        bail!(
            "{DEBIAN_PREFIX}/bin/rustc uses LLVM {}, but this version of cordon knows how to build bpf-linker for LLVM {LLVM_MAJOR} only: build one for it and name the toolchain in {TOOLCHAIN_VARIABLE}",
            compiler.llvm_major
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
