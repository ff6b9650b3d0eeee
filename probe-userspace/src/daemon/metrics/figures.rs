//! What the engine tells the metrics. It does so after every event that may change something, and each second: a scrape
//! reads what was told last and never waits for the engine, nor makes it wait.

use std::collections::BTreeMap;

use prometheus_client::metrics::histogram::Histogram;

use crate::{
    daemon::api::Status,
    dataplane::{CounterReader, FillReader, Published},
    instant::Instant,
};

/// Bounds of the buckets of durations, in seconds: a policy-only change takes hundredths, a world database a second.
const DURATION_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The state of the engine, and how to read what changes by itself.
#[derive(Clone, Debug)]
pub struct Figures {
    /// When it was told.
    pub as_of: Instant,
    /// The status, without counters.
    pub status: Status,
    /// Reads the counters; `None` before the start is over.
    pub counters: Option<CounterReader>,
    /// Reads how full the maps are.
    pub maps: Option<FillReader>,
    /// Number of problems by the name of their topic.
    pub problems: BTreeMap<String, u64>,
    /// When the database in force was built, Unix time in seconds.
    pub database_built_s: Option<u64>,
    /// When the policy in force was accepted.
    pub policy_accepted: Option<Instant>,
    /// When the first of its kind ends.
    pub ends: Vec<(&'static str, Instant)>,
    /// Interfaces that the host file names.
    pub n_configured: usize,
    /// What the entry program does if no generation can be called.
    pub no_generation_pass: bool,
    /// What publishes took.
    pub publishes: PublishDurations,
}

impl Figures {
    /// Before anything is known.
    pub fn starting() -> Self {
        Self {
            as_of: Instant::now(),
            status: Status::starting(),
            counters: None,
            maps: None,
            problems: BTreeMap::new(),
            database_built_s: None,
            policy_accepted: None,
            ends: Vec::new(),
            n_configured: 0,
            no_generation_pass: false,
            publishes: PublishDurations::default(),
        }
    }
}

/// What the publishes of this process took. Clones share the figures.
#[derive(Clone, Debug)]
pub struct PublishDurations {
    phases: [(&'static str, Histogram); 5],
}

impl Default for PublishDurations {
    fn default() -> Self {
        let phases = ["compile", "load", "fill", "verify", "total"];
        Self {
            phases: phases.map(|phase| (phase, Histogram::new(DURATION_BUCKETS))),
        }
    }
}

impl PublishDurations {
    /// Notes a publish.
    pub fn note(&self, published: &Published, compile_ms: u64) {
        let compile = compile_ms as f64 / 1e3;
        let [load, fill, verify] =
            [published.load, published.fill, published.verify].map(|duration| duration.as_secs_f64());
        let values = [compile, load, fill, verify, compile + load + fill + verify];
        for ((_, histogram), value) in self.phases.iter().zip(values) {
            histogram.observe(value);
        }
    }

    /// By the name of the phase.
    pub fn phases(&self) -> &[(&'static str, Histogram)] {
        &self.phases
    }
}
