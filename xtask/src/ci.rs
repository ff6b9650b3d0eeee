//! `ci`: what must hold before anything is merged. Cheap checks come first.

use std::{
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{build, process, root_user, setup, test, tidy};

/// Arguments of `ci`.
#[derive(clap::Args)]
pub struct CiArgs {
    /// Build as yourself, run tests and demo through sudo
    #[arg(long)]
    sudo: bool,
}

struct Step {
    name: &'static str,
    /// The text is what the closing table says about the step.
    run: fn(&CiArgs) -> anyhow::Result<String>,
}

const STEPS: [Step; 6] = [
    Step {
        name: "format",
        run: |_| format(),
    },
    Step {
        name: "tidy",
        run: |_| tidy::run().map(done),
    },
    Step {
        name: "clippy",
        run: |_| clippy(),
    },
    Step {
        name: "deny",
        run: |_| deny(),
    },
    Step {
        name: "test",
        run: |args| test::run(&test::TestArgs::all(args.sudo)),
    },
    Step {
        name: "demo",
        run: |args| build::run_as_root("demo", &build::RunArgs::plain(args.sudo)).map(done),
    },
];

/// Runs the steps in order and stops at the first that fails.
pub fn run(args: &CiArgs) -> anyhow::Result<()> {
    root_user::require("ci", args.sudo)?;
    let mut table = Vec::new();
    for step in &STEPS {
        eprintln!("\n== ci: {}", step.name);
        let started = Instant::now();
        let said = (step.run)(args).with_context(|| format!("ci stopped at step `{}`", step.name))?;
        table.push(row(step.name, started.elapsed(), &said));
    }
    println!("\nci:");
    for row in &table {
        println!("{row}");
    }
    Ok(())
}

fn row(name: &str, took: Duration, said: &str) -> String {
    format!("  {name:<8}{:>6} s  {said}", took.as_secs())
}

fn done((): ()) -> String {
    "ok".to_owned()
}

fn format() -> anyhow::Result<String> {
    require_component("fmt", "rustfmt")?;
    process::run(&mut process::cargo(&["fmt", "--all", "--check"])).map(done)
}

fn clippy() -> anyhow::Result<String> {
    require_component("clippy", "clippy")?;
    // The build script of `probe-userspace` needs the eBPF toolchain.
    setup::run()?;
    let mut command = process::cargo(&["clippy", "--all-targets"]);
    command
        .args(test::HOST_PACKAGES)
        .args(["--", "--deny", "warnings"]);
    process::run(&mut command)?;
    // Its library checks for the host too; its programs have no panic handler there.
    let lib = [
        "clippy",
        "--package",
        "probe-ebpf",
        "--lib",
        "--",
        "--deny",
        "warnings",
    ];
    process::run(&mut process::cargo(&lib))?;
    Ok("ok (the programs of probe-ebpf are seen by the compiler only)".to_owned())
}

fn require_component(verb: &str, component: &str) -> anyhow::Result<()> {
    let mut command = process::cargo(&[verb, "--version"]);
    if process::output_of(&mut command).is_none() {
        bail!(
            "`cargo {verb}` is missing: `rustup component add {component}`, or Debian's package {}",
            if component == "clippy" {
                "rust-web-clippy"
            } else {
                "rustfmt-web"
            }
        );
    }
    Ok(())
}

/// Licences, duplicate crates and sources. Advisories are left out: their database is a git repository on the
/// network, and a gate must give the same answer for the same commit.
fn deny() -> anyhow::Result<String> {
    if !has_deny() {
        // A gate that CI skips is none; at home, three minutes of building are for you to spend.
        if env::var_os("CI").is_none() {
            let said = format!(
                "SKIPPED, cargo-deny is missing: `cargo {}`",
                INSTALL_DENY.join(" ")
            );
            eprintln!("{said}");
            return Ok(said);
        }
        eprintln!("CI is set and cargo-deny is missing: building it, 3 to 6 minutes");
        process::run(process::cargo(&INSTALL_DENY).stdin(Stdio::null()))
            .context("cannot build cargo-deny")?;
    }
    process::run(&mut process::cargo(&[
        "deny", "--locked", "check", "bans", "licenses", "sources",
    ]))?;
    Ok("ok (bans, licenses, sources; advisories are not checked here)".to_owned())
}

const INSTALL_DENY: [&str; 5] = ["install", "cargo-deny", "--locked", "--version", "0.20.2"];

fn has_deny() -> bool {
    let mut command = process::cargo(&["deny", "--version"]);
    process::output_of(command.stderr(Stdio::null())).is_some()
}
