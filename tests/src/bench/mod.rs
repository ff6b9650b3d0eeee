//! `cargo xtask bench`: what a packet costs, how long a database takes to the kernel, how much memory it needs.
//!
//! Packets are compared as ratios of alternating runs on one machine, never as bare times: generator and
//! receiver share a CPU, so the absolute figures belong to the machine.

pub mod contest;
mod lookup;
pub mod memory;
mod packets;
mod paths;
mod publish;
mod report;
pub mod row;

use std::path::PathBuf;

use anyhow::Context as _;
use cordon::{dataplane::ProgramSize, geo::Location, instant::Instant};
use serde::Serialize;
use std::sync::Arc;

pub use packets::PacketRow;
pub use publish::PublishRow;

/// The countries of the seven-country list (geodata notes, policy a).
pub const SEVEN: [&str; 7] = ["BY", "CN", "CU", "IR", "KP", "RU", "SY"];

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Alternating runs of each packet row
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Packets of each run
    #[arg(long, default_value_t = 2_000_000)]
    packets: u32,
    /// Publishes of each kind
    #[arg(long, default_value_t = 5)]
    publishes: usize,
    /// Only compare the packet path with that of another build: directory with its objects `entry` and `generation`
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Only measure what a look-up costs
    #[arg(long)]
    lookups: bool,
    /// Also write everything as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Kernel release.
    pub kernel: String,
    /// When.
    pub at: Instant,
    /// Packets against the floor.
    pub packets: Vec<PacketRow>,
    /// File to published, and policy-only changes.
    pub publishes: Vec<PublishRow>,
    /// What the verifier made of the programs.
    pub programs: Vec<ProgramSize>,
    /// Bytes.
    pub memory: memory::Memory,
}

/// Runs the benchmark and prints its tables.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if let Some(against) = &args.against {
        let rows = paths::measure(against, args.rounds, args.packets)?;
        report::print_paths(&rows);
        return write_json(args, &rows);
    }
    let kernel =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release")?;
    let world: Arc<Location> = crate::images::world()?;
    if args.lookups {
        let rows = lookup::measure(&world, args.rounds)?;
        report::print_lookups(&rows);
        return write_json(args, &rows);
    }
    eprintln!("publishing, {} times each ...", args.publishes);
    let (publishes, programs) = publish::measure(&world, args.publishes)?;
    let memory = memory::measure(&world)?;
    eprintln!(
        "packets, {} alternating runs of {} each ...",
        args.rounds, args.packets
    );
    let packets = packets::measure(&world, args.rounds, args.packets)?;
    let figures = Figures {
        kernel: kernel.trim().to_owned(),
        at: Instant::now(),
        packets,
        publishes,
        programs,
        memory,
    };
    report::print(&figures);
    write_json(args, &figures)
}

fn write_json(args: &BenchArgs, figures: &impl Serialize) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(figures)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Minimum, median and maximum.
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [0, values.len() / 2, last].map(|idx| values.get(idx).copied().unwrap_or(f64::NAN))
}
