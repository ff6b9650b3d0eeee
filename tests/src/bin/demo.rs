//! cordon, shown: real binary, real database, real packets. `cargo xtask demo` runs it.

use std::process::ExitCode;

use clap::Parser;
use integration_tests::{demo, interrupt, rng::seed_from_time};

/// Shows cordon at work in a lab of network namespaces, with traffic from addresses drawn at random from the
/// world database. Needs root. Exit status 0 if everything was as expected, else 1.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Args {
    /// Draw the addresses of an earlier run again; default: another seed each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// XDP mode: the host file's `xdp_mode`
    #[arg(long, value_name = "MODE", default_value = "allow-skb",
          value_parser = ["allow-skb", "require-native", "skb"])]
    xdp_mode: String,
}

fn main() -> ExitCode {
    match try_main(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(args: Args) -> anyhow::Result<bool> {
    interrupt::note_signals()?;
    demo::run(&demo::Settings {
        seed: args.seed.unwrap_or_else(seed_from_time),
        xdp_mode: args.xdp_mode,
    })
}
