//! Builds the eBPF objects of `probe-ebpf` and leaves them in `OUT_DIR` as `entry`, `generation` and `peers`.
//!
//! Which compiler builds them is found by `cargo xtask setup`, which writes its name to `.bpf-toolchain`; the
//! variable `CORDON_BPF_TOOLCHAIN` overrides it. The reasons are in `xtask/src/setup/`.

use std::{env, fs, path::Path};

use anyhow::{Context as _, anyhow};
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace root is the parent")?;
    let recorded = root.join(".bpf-toolchain");
    println!("cargo:rerun-if-env-changed=CORDON_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed={}", recorded.display());
    println!(
        "cargo:rerun-if-changed={}",
        root.join("probe-common/src").display()
    );

    let toolchain = match env::var("CORDON_BPF_TOOLCHAIN") {
        Ok(name) => name,
        Err(_) => fs::read_to_string(&recorded)
            .map_err(|_| anyhow!("no compiler for the eBPF side is set up: run `cargo xtask setup` once"))?,
    };
    // SAFETY: a build script's main thread is its only thread here, so nothing reads the environment meanwhile.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };

    let features: &[&str] = if env::var_os("CARGO_FEATURE_LOG").is_some() {
        &["log"]
    } else {
        &[]
    };
    let root_dir = root.join("probe-ebpf");
    let package = Package {
        name: "probe-ebpf",
        root_dir: root_dir
            .to_str()
            .context("the path of the workspace is not UTF-8")?,
        no_default_features: false,
        features,
    };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain.trim()))
}
