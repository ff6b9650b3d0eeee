//! `setup`: what the eBPF side needs, found or installed.
//!
//! The BPF target has no precompiled `core`: it is built from the standard library's source of exactly the compiler
//! in use, and linked by a `bpf-linker` made for that compiler's LLVM. Three ways lead there, tried in this order:
//! the toolchain named by `CORDON_BPF_TOOLCHAIN`, a rustup nightly with `rust-src`, Debian's `rustc-web`.
//!
//! `machine` looks, `plan` decides (pure), `install` acts.

mod install;
mod machine;
mod plan;

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, bail};

use crate::process;
use machine::Machine;
use plan::Plan;

/// Variable that names the toolchain, for those who know better.
pub const TOOLCHAIN_VARIABLE: &str = "CORDON_BPF_TOOLCHAIN";

/// Where the build script of `probe-userspace` reads the toolchain's name.
const TOOLCHAIN_FILE: &str = ".bpf-toolchain";

/// Finds the toolchain, installs what is missing, leaves its name for the build script.
pub fn run() -> anyhow::Result<()> {
    let mut machine = Machine::look();
    let mut plan = plan::plan(&machine)?;
    if !plan.steps.is_empty() {
        install::run(&plan, &machine)?;
        machine = Machine::look();
        plan = plan::plan(&machine)?;
        if !plan.steps.is_empty() {
            bail!(
                "installed without an error, yet still missing: {}",
                commands(&plan).join("; ")
            );
        }
    }
    record(&process::workspace_root(), plan.toolchain.name())?;
    eprintln!("setup: the eBPF side is built with {}", plan.toolchain);
    Ok(())
}

/// What the plan's steps would type.
fn commands(plan: &Plan) -> Vec<String> {
    plan.steps.iter().flat_map(plan::Step::commands).collect()
}

/// Writes the name; leaves the file alone if it is there already, or cargo would rebuild the eBPF side.
fn record(root: &Path, name: &str) -> anyhow::Result<()> {
    let file = root.join(TOOLCHAIN_FILE);
    let text = format!("{name}\n");
    match fs::read_to_string(&file) {
        Ok(present) if present == text => return Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
        _ => {}
    }
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn the_record_is_rewritten_only_when_it_changes() {
        let root = env::temp_dir().join(format!("cordon-xtask-record-{}", process::id()));
        fs::create_dir_all(&root).unwrap();
        let modified = || {
            fs::metadata(root.join(TOOLCHAIN_FILE))
                .unwrap()
                .modified()
                .unwrap()
        };

        record(&root, "nightly").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let file = fs::File::options()
            .write(true)
            .open(root.join(TOOLCHAIN_FILE))
            .unwrap();
        file.set_modified(long_ago).unwrap();
        record(&root, "nightly").unwrap();
        assert_eq!(
            modified(),
            long_ago,
            "an unchanged name should not touch the file"
        );

        record(&root, "cordon-bpf").unwrap();
        assert_eq!(
            fs::read_to_string(root.join(TOOLCHAIN_FILE)).unwrap(),
            "cordon-bpf\n"
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
