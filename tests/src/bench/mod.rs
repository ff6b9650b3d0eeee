//! `cargo xtask bench`: cordon beside the peers, all on one machine, in namespaces that the bench makes.
//!
//! What is compared are ratios of alternating runs, never bare times: generator and receiver share a CPU, so the
//! absolute figures belong to the machine.

pub mod chart;
mod commands;
pub mod contest;
pub mod contestant;
pub mod list;
mod lookup;
pub mod memory;
pub mod packets;
mod paths;
mod publish;
pub mod ratios;
mod reload;
mod report;
pub mod row;
pub mod wire;

use std::{env, fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use cordon::{dataplane::ProgramSize, geo::Location, instant::Instant};
use serde::Serialize;

pub use publish::PublishRow;
use ratios::Stored;
use row::{Group, Row};

/// The countries of the seven-country list (geodata notes, policy a).
pub const SEVEN: [&str; 7] = ["BY", "CN", "CU", "IR", "KP", "RU", "SY"];

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Rounds of each contest; in each, all contestants in turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only these parts; several are separated by commas
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    only: Vec<Group>,
    /// Packets of a contestant in a round
    #[arg(long, default_value_t = 1_000_000)]
    packets: u32,
    /// Publishes and reloads of each kind
    #[arg(long, default_value_t = 5)]
    publishes: usize,
    /// Reloads of each contestant under packets
    #[arg(long, default_value_t = 100)]
    reloads: usize,
    /// Compare with the stored ratios; fail if one has lost more than 15 %
    #[arg(long, conflicts_with = "store")]
    check: bool,
    /// Store the ratios of this run in `tests/bench/ratios.json`, for `--check`
    #[arg(long)]
    store: bool,
    /// Write the figures into the README
    #[arg(long)]
    readme: bool,
    /// Only compare the packet path with that of another build: directory with its objects `entry` and `generation`
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Where the report goes as JSON; the chart lies beside it [default: `bench/bench.json` in the target directory]
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What every part is given.
#[derive(Debug)]
pub struct Bench {
    /// The database that ships with cordon.
    pub world: Arc<Location>,
    /// Rounds of a contest.
    pub rounds: usize,
    /// Packets of a contestant in a round.
    pub packets: u32,
    /// Publishes and reloads of each kind.
    pub publishes: usize,
    /// Reloads of each contestant under packets.
    pub reloads: usize,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Kernel, processor and number of CPUs.
    pub machine: String,
    /// When.
    pub at: Instant,
    /// Rounds of a contest.
    pub rounds: usize,
    /// What is compared.
    pub rows: Vec<Row>,
    /// File to published, and policy-only changes, step by step.
    pub publishes: Vec<PublishRow>,
    /// What the verifier made of the programs.
    pub programs: Vec<ProgramSize>,
}

/// A part of the bench.
type Part = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// All parts, in the order in which they run and are reported.
const PARTS: [(Group, Part); 5] = [
    (Group::Lookup, lookup::measure),
    (Group::Packets, packets::measure),
    (Group::Reload, reload::measure),
    (Group::Memory, memory::measure),
    (Group::Commands, commands::measure),
];

impl Figures {
    /// The parts that were measured, each once.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.rows.iter().map(|row| row.group).collect();
        groups.dedup();
        groups
    }
}

/// Runs the benchmark, prints and writes the report.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if let Some(against) = &args.against {
        let rows = paths::measure(against, args.rounds, args.packets)?;
        report::print_paths(&rows);
        return match &args.json {
            Some(file) => write(file.clone(), &serde_json::to_string_pretty(&rows)?),
            None => Ok(()),
        };
    }
    // A check that cannot be made should not take minutes to say so.
    let stored = args.check.then(Stored::read).transpose()?;
    let bench = Bench {
        world: crate::images::world()?,
        rounds: args.rounds,
        packets: args.packets,
        publishes: args.publishes,
        reloads: args.reloads,
    };
    let parts = PARTS
        .iter()
        .filter(|(group, _)| args.only.is_empty() || args.only.contains(group));
    let mut figures = Figures {
        machine: machine()?,
        at: Instant::now(),
        rounds: args.rounds,
        rows: Vec::new(),
        publishes: Vec::new(),
        programs: Vec::new(),
    };
    let mut groups = Vec::new();
    for (group, measure) in parts {
        if *group == Group::Reload {
            eprintln!("reload: cordon's publishes, {} of each kind ...", args.publishes);
            (figures.publishes, figures.programs) = publish::measure(&bench.world, args.publishes)?;
            figures
                .rows
                .extend(figures.publishes.iter().map(PublishRow::as_row));
        }
        figures.rows.extend(measure(&bench)?);
        groups.push(*group);
    }

    println!("{}", report::full(&figures));
    let json = match &args.json {
        Some(file) => file.clone(),
        None => output_dir()?.join("bench.json"),
    };
    write(
        json.with_extension("svg"),
        &chart::svg(&figures.rows, &figures.machine),
    )?;
    write(json, &serde_json::to_string_pretty(&figures)?)?;
    if args.readme {
        into_readme(&report::for_readme(&figures))?;
    }
    if args.store {
        let file = Stored::of(&figures.machine, &figures.rows).write(&groups)?;
        eprintln!("bench: stored the ratios in {}", file.display());
    }
    if let Some(stored) = stored {
        let comparison = stored.compare(&figures.rows, &groups);
        println!("{comparison}");
        comparison.into_result()?;
    }
    Ok(())
}

fn write(file: PathBuf, content: &str) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("bench: wrote {}", file.display());
    Ok(())
}

/// `bench` in the target directory that this binary lies in.
fn output_dir() -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where the bench itself lies")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("the bench lies outside a target directory")?;
    Ok(target.join("bench"))
}

/// Replaces what stands between the README's two marks.
fn into_readme(block: &str) -> anyhow::Result<()> {
    const MARKS: [&str; 2] = ["<!-- bench -->\n", "<!-- /bench -->"];
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let file = PathBuf::from(package).join("../README.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let (before, rest) = text
        .split_once(MARKS[0])
        .context("the README has no mark for the figures")?;
    let (_, after) = rest
        .split_once(MARKS[1])
        .context("the README has no mark behind the figures")?;
    write(file, &format!("{before}{}{block}{}{after}", MARKS[0], MARKS[1]))
}

fn machine() -> anyhow::Result<String> {
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release")?;
    let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read what the CPUs are")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let n_cpus = cpus.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("Linux {}, {n_cpus} CPUs ({model})", kernel.trim()))
}

/// Minimum, median and maximum.
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [0, values.len() / 2, last].map(|idx| values.get(idx).copied().unwrap_or(f64::NAN))
}
