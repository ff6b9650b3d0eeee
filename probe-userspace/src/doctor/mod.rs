//! What is wrong with a host, and what takes it away. [`findings`] is the decision, a function of [`Facts`] without IO;
//! `collect` gathers them.

mod checks;
mod collect;
mod front;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::{
    checks::findings,
    collect::collect,
    front::{Peers, peers},
};
use crate::{
    daemon::api::Status,
    dataplane::KernelSupport,
    diagnostic::Diagnostic,
    host::{Host, ModeChoice},
    link::{Features, Link},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Something does not work, or does not do what the host file says.
    Problem,
    /// It works, and may not for long, or not as meant.
    Warning,
    /// Good to know before something is done. Not counted as a finding.
    Note,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What it is about.
    pub topic: &'static str,
    /// What is wrong.
    pub what: String,
    /// What takes it away.
    pub fix: String,
}

/// What was found out about a host. `Err` and `None`: it could not be found out.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Release of the kernel; for people only, nothing is decided by it.
    pub kernel: String,
    /// What the kernel was seen to do.
    pub support: KernelSupport,
    /// Effective capabilities of this process, as a bit mask.
    pub capabilities: Option<u64>,
    /// The pin directory.
    pub pins: Pins,
    /// Errors and warnings about the host file; its absence is an error.
    pub host_file: Vec<Diagnostic>,
    /// Why there is no host file to go by.
    pub host_file_refused: Option<String>,
    /// What it says that matters here.
    pub host: HostFacts,
    /// Interfaces.
    #[serde(skip)]
    pub links: Vec<Nic>,
    /// Whether something keeps the system's clock right; `None`: the kernel does not say.
    pub is_clock_kept: Option<bool>,
    /// Now, Unix time in seconds.
    pub now_s: u64,
    /// The daemon's status, or why there is none.
    #[serde(skip)]
    pub daemon: Result<Box<Status>, String>,
    /// Number of trusted keys, or why they cannot be used.
    pub keys: Result<usize, String>,
    /// Connections to this host's servers.
    pub peers: Peers,
}

/// What the host file says that matters here.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostFacts {
    /// `interfaces`.
    pub interfaces: Vec<String>,
    /// `xdp_mode`.
    pub mode: ModeChoice,
    /// Number of `[[failsafe]]` entries.
    pub n_failsafe: usize,
}

impl HostFacts {
    /// Of a host file.
    pub fn new(host: &Host) -> Self {
        let interfaces = host.interfaces.iter();
        Self {
            interfaces: interfaces.map(|name| name.value.clone()).collect(),
            mode: host.mode,
            n_failsafe: host.failsafe.len(),
        }
    }
}

/// An interface and its driver.
#[derive(Clone, Debug, Default)]
pub struct Nic {
    /// As rtnetlink shows it.
    pub link: Link,
    /// As ethtool shows it.
    pub features: Features,
    /// Name of its driver.
    pub driver: Option<String>,
}

/// What is in the pin directory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pins {
    /// Its path.
    pub dir: String,
    /// Whether it, or the nearest directory above it, lies on a bpffs; or why that cannot be told.
    pub is_bpffs: Option<Result<bool, String>>,
    /// Layout versions besides this one's.
    pub other_versions: Vec<String>,
    /// What cordon does not put there.
    pub foreign: Vec<String>,
    /// Interfaces whose links are pinned, by index.
    pub attached: Vec<u32>,
}
