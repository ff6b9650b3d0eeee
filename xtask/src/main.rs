//! The only automation of this repository: `cargo xtask <verb>`. CI runs the same verbs as people do.

mod build;
mod ci;
mod dist;
mod mutate;
mod process;
mod root_user;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// cordon's automation
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what the eBPF side needs. Every other verb does this first
    Setup,
    /// Build the `cordon` binary (release)
    Build(build::BuildArgs),
    /// Build, then show the real binary at work in a lab of network namespaces (root)
    Demo(build::RunArgs),
    /// Run every test, those on the real kernel included (root)
    Test(test::TestArgs),
    /// Measure packets, reloads, memory and commands against Debian's peers (root; half an hour)
    Bench(build::RunArgs),
    /// Build a .deb, an .rpm and a static tarball with checksums
    Dist(dist::DistArgs),
    /// What `.ci/run` calls: format, tidy, clippy, deny, test, demo (root)
    Ci(ci::CiArgs),
    /// Run the packet corpus on the parser with one branch missing, for every branch (root; an hour)
    MutateParser(mutate::MutateArgs),
    /// Check the repository itself against its own rules
    Tidy,
}

fn main() -> ExitCode {
    match try_main(Args::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup => setup::run(),
        Verb::Build(args) => build::build(&args),
        Verb::Demo(args) => build::run_as_root("demo", &args),
        Verb::Bench(args) => build::run_as_root("bench", &args),
        Verb::Test(args) => test::run(&args).map(|_summary| ()),
        Verb::Dist(args) => dist::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::MutateParser(args) => mutate::run(&args),
        Verb::Tidy => tidy::run(),
    }
}
