//! Builds the eBPF objects of `probe-ebpf` and leaves them in `OUT_DIR` as `entry`, `egress`, `generation` and `peers`.
//!
//! Which compiler builds them is found by `cargo xtask setup`, which writes its name to `.bpf-toolchain`; the
//! variable `CORDON_BPF_TOOLCHAIN` overrides it. The reasons are in `xtask/src/setup/`.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

fn main() -> ExitCode {
    match try_main() {
        Ok(()) => ExitCode::SUCCESS,
        // Not `Result`: under RUST_BACKTRACE a stack of twenty frames would bury the message.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace root is the parent")?;
    println!(
        "cargo:rerun-if-changed={}",
        root.join("probe-common/src").display()
    );

    let toolchain = toolchain(root)?;
    let path = search_path(&toolchain)?;
    // SAFETY: a build script's main thread is its only thread here, so nothing reads the environment meanwhile.
    unsafe {
        env::set_var("PATH", path);
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // aya-build shows what the inner cargo says as warnings: leave only what is wrong.
        env::set_var("CARGO_TERM_QUIET", "true");
        env::remove_var("CARGO_TERM_VERBOSE");
    }

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
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain)).with_context(|| {
        format!("the eBPF side does not build with toolchain `{toolchain}`, see the lines above")
    })
}

/// The name of a rustup toolchain, or, on a machine without rustup, the prefix of a compiler (`/usr`).
fn toolchain(root: &Path) -> anyhow::Result<String> {
    let recorded = root.join(".bpf-toolchain");
    println!("cargo:rerun-if-env-changed=CORDON_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed={}", recorded.display());
    let name = match env::var("CORDON_BPF_TOOLCHAIN") {
        Ok(name) if !name.is_empty() => name,
        _ => fs::read_to_string(&recorded)
            .ok()
            .context("no compiler for the eBPF side is set up: run `cargo xtask setup` once")?,
    };
    match name.trim() {
        "" => bail!(".bpf-toolchain is empty: run `cargo xtask setup` once"),
        name => Ok(name.to_owned()),
    }
}

/// `PATH` on which the inner cargo finds its compiler and bpf-linker. Without rustup, aya-build calls whatever
/// `cargo` comes first: make that the one of the prefix. Debian's cargo does not put `~/.cargo/bin` on `PATH`.
fn search_path(toolchain: &str) -> anyhow::Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let prefix_bin = toolchain
        .starts_with('/')
        .then(|| Path::new(toolchain).join("bin"));
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let dirs = prefix_bin
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(cargo_home.map(|dir| dir.join("bin")));
    env::join_paths(dirs).context("a directory of PATH has a colon in its name")
}
