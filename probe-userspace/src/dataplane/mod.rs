//! The kernel side's loader: the only caller of bpf(2).
//!
//! [`Dataplane`] owns the pinned state: entry program, links, shared maps, generations. Its methods are
//! synchronous and may take seconds (filling tables): the daemon calls them from one thread of its own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use probe_common::Verdict;
use serde::Serialize;

use crate::{compile::Image, host::ModeChoice, instant::Instant};

/// What went wrong in the kernel, with the fix.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// Something went wrong.
    #[error("{0}")]
    Other(String),
}

/// How to open the dataplane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory on a bpffs under which `v1/` is made; `None`: nothing is pinned, and everything ends with the
    /// process (`observe`, tests).
    pub pin_dir: Option<PathBuf>,
    /// What the entry program does with a packet if no generation can be called.
    pub no_generation_pass: bool,
}

/// XDP mode of a link. `skb` is slower: the packet is judged after the kernel has built its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, after the driver.
    Skb,
}

/// An interface that packets are judged on.
#[derive(Clone, Debug, Serialize)]
pub struct Attached {
    /// Name at the time of attaching.
    pub ifname: String,
    /// Index; 0 if the interface is gone.
    pub ifindex: u32,
    /// Mode obtained.
    pub mode: Mode,
}

/// What a publish did.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// Generation number.
    pub number: u32,
    /// Slot it lives in.
    pub slot: u8,
    /// Whether the location tables of an earlier generation were shared.
    pub shared_location: bool,
    /// Samples judged by the kernel and compared with the oracle.
    pub n_samples: usize,
    /// Time for loading the programs, filling the tables, comparing the samples and storing the word.
    pub load: Duration,
    /// See `load`.
    pub fill: Duration,
    /// See `load`.
    pub verify: Duration,
    /// Boot-time deadline after which the kernel reverts, if the publish must be confirmed; Unix time.
    pub confirm_until: Option<Instant>,
}

/// A generation in the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationInfo {
    /// Number.
    pub number: u32,
    /// Slot.
    pub slot: u8,
    /// When it was published.
    pub published: Instant,
    /// Image digest, lower-case hexadecimal.
    pub image_digest: String,
    /// Location digest, lower-case hexadecimal.
    pub location_digest: String,
}

/// The state word and its neighbours, decoded.
#[derive(Clone, Debug, Serialize)]
pub struct StateInfo {
    /// The generation that judges packets now; `None`: none can be called.
    pub active: Option<GenerationInfo>,
    /// The generation the kernel reverts to, or that a rollback would take.
    pub previous: Option<GenerationInfo>,
    /// Seconds until the kernel reverts; `None` if confirmed.
    pub confirm_left_s: Option<u64>,
    /// The deadline passed unconfirmed: `active` above is the earlier generation again.
    pub reverted: bool,
    /// Halted until; `Some(None)`: until resumed.
    pub halted: Option<Option<Instant>>,
}

/// A counter with its labels.
#[derive(Clone, Debug, Serialize)]
pub struct CounterRow {
    /// Name of the reason.
    pub reason: &'static str,
    /// Class, if the reason has one.
    pub class: Option<u16>,
    /// Packets.
    pub packets: u64,
    /// Bytes (L2).
    pub bytes: u64,
}

/// What [`detach_all`] removed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Detached {
    /// Interfaces whose link was removed.
    pub interfaces: Vec<String>,
    /// Pins removed.
    pub n_pins: usize,
}

/// The kernel side.
#[derive(Debug)]
pub struct Dataplane {
    _private: (),
}

fn not_yet<T>() -> Result<T, DataplaneError> {
    Err(DataplaneError::Other("not written yet".to_owned()))
}

impl Dataplane {
    /// Opens the dataplane: adopts what is pinned (links, shared maps, generations), makes what is missing, and
    /// deletes what no slot names. Takes a file lock, so that two daemons never share a pin directory.
    pub fn open(_settings: &Settings) -> Result<Self, DataplaneError> {
        not_yet()
    }

    /// Makes these the failsafe prefixes, by adding and removing single entries.
    pub fn set_failsafe(&mut self, _prefixes: &[IpNet]) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Loads the image into a free slot, fills its tables (or shares the location tables), compares samples with
    /// the oracle, and stores the state word. Anything that fails leaves the running generation untouched.
    /// With `confirm`, the kernel itself reverts after that time unless [`Self::confirm`] is called.
    pub fn publish(
        &mut self,
        _image: &Arc<Image>,
        _confirm: Option<Duration>,
    ) -> Result<Published, DataplaneError> {
        not_yet()
    }

    /// Tells the dataplane the image of a generation it adopted, so that later publishes know what changed.
    /// `false`: the digest is not that of the active generation.
    pub fn recognise(&mut self, _image: &Arc<Image>) -> Result<bool, DataplaneError> {
        not_yet()
    }

    /// Makes the active generation the confirmed one.
    pub fn confirm(&mut self) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Takes the previous generation back at once.
    pub fn revert(&mut self) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Drops everything but failsafe prefixes and control traffic, until an instant or until resumed.
    pub fn halt(&mut self, _until: Option<Instant>) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Back to the policy.
    pub fn resume(&mut self) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Attaches the entry program to an interface by a pinned link. Refuses while nothing is published.
    pub fn attach(&mut self, _ifname: &str, _mode: ModeChoice) -> Result<Attached, DataplaneError> {
        not_yet()
    }

    /// Detaches from one interface.
    pub fn detach(&mut self, _ifname: &str) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// The interfaces attached to.
    pub fn interfaces(&self) -> Result<Vec<Attached>, DataplaneError> {
        not_yet()
    }

    /// The state now.
    pub fn state(&self) -> Result<StateInfo, DataplaneError> {
        not_yet()
    }

    /// Stores the difference between the system's clock and boot time. Called at start and when the clock steps.
    pub fn sync_clock(&mut self) -> Result<(), DataplaneError> {
        not_yet()
    }

    /// Runs a packet from an address through the active generation's sample program: uncounted, nothing sent.
    /// State (halt) and failsafe prefixes are taken into account as in production.
    pub fn judge(&self, _address: IpAddr, _now: Instant) -> Result<Verdict, DataplaneError> {
        not_yet()
    }

    /// Counters that are not zero: the entry program's, all generations' since the start, summed over CPUs.
    pub fn counters(&self) -> Result<Vec<CounterRow>, DataplaneError> {
        not_yet()
    }
}

/// Removes links, then generations, then the shared maps. Needs no daemon, only the pin directory.
pub fn detach_all(_pin_dir: &Path) -> Result<Detached, DataplaneError> {
    not_yet()
}
