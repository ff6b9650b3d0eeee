//! The benchmark: `cargo xtask bench`.

use clap::Parser;
use integration_tests::bench::{self, BenchArgs};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> anyhow::Result<()> {
    bench::run(&Args::parse().bench)
}
