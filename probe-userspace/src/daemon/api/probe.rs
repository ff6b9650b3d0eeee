//! `--confirm auto`: what is tried, and how it stands.

use serde::{Deserialize, Serialize};

/// A policy that the daemon confirms by itself if all probes hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// Seconds for which all must hold.
    pub settle_s: u64,
    /// Seconds for which all have held; absent: at least one does not hold, or none was tried yet.
    pub held_s: Option<u64>,
    /// The probes.
    pub probes: Vec<ProbeRow>,
    /// Probes that did not hold before the policy was published, and why: they do not count against it.
    pub left_out: Vec<String>,
}

/// A probe and what came of it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// What is tried.
    pub probe: String,
    /// Whether it holds; absent: not tried yet.
    pub holds: Option<bool>,
    /// Why it does not.
    pub message: Option<String>,
}
