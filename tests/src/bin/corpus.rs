//! The packet corpus: writes its rows from their generator, or a capture file of them.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use integration_tests::corpus::{data, rows};

/// The packet corpus
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write `tests/corpus/rows/` from the generator
    Write,
    /// Write every frame to a capture file, for tcpdump
    Pcap {
        /// The file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match try_main(Args::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corpus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Write => {
            let dir = data::directory().join("rows");
            for row in rows::all() {
                let path = dir.join(row.file_name());
                let text = data::to_text(&row)?;
                fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Verb::Pcap { file } => {
            fs::write(&file, data::to_pcap(&data::load()?))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}
