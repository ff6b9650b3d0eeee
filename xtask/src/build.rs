//! `build`, and the verbs that build a binary of `integration-tests` and run it as root.

use crate::{process, root_user, setup};

/// Arguments of `build`.
#[derive(clap::Args)]
pub struct BuildArgs {
    /// Features of `probe-userspace`, for example `log`: the eBPF side prints through aya-log
    #[arg(long)]
    features: Option<String>,
}

/// Arguments of `demo` and `bench`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Build as yourself, run the result through sudo
    #[arg(long)]
    sudo: bool,
    /// Passed on, for example `--seed 7`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl RunArgs {
    /// Nothing passed on.
    pub fn plain(sudo: bool) -> Self {
        Self {
            sudo,
            args: Vec::new(),
        }
    }
}

/// Builds `cordon` for release.
pub fn build(args: &BuildArgs) -> anyhow::Result<()> {
    setup::run()?;
    let mut command = process::cargo(&[
        "build",
        "--release",
        "--package",
        "probe-userspace",
        "--bin",
        "cordon",
    ]);
    if let Some(features) = &args.features {
        command.args(["--features", features]);
    }
    process::run(&mut command)
}

/// Builds for release, then runs a binary of `integration-tests`, telling it where `cordon` lies.
pub fn run_as_root(binary: &str, args: &RunArgs) -> anyhow::Result<()> {
    root_user::require(binary, args.sudo)?;
    setup::run()?;
    // In one go: apart, cargo would choose features for each and build shared dependencies twice.
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--package",
        "probe-userspace",
        "--package",
        "integration-tests",
        "--bin",
        "cordon",
        "--bin",
        binary,
    ]))?;
    let mut command = process::cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "integration-tests",
        "--bin",
        binary,
        "--",
    ]);
    let (name, cordon) = process::cordon_variable("release")?;
    command.args(&args.args).env(name, &cordon);
    if args.sudo && !root_user::is_root() {
        root_user::run_through_sudo(&mut command, &[(name, &cordon)]);
    }
    process::run(&mut command)
}
