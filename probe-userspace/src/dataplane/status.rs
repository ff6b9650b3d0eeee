//! What the dataplane says about itself.

use std::time::Duration;

use serde::Serialize;

use crate::instant::Instant;

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
    /// How leaving packets are seen there, `tcx` or `clsact`; `None`: they are not, because no policy in force asks.
    pub egress: Option<&'static str>,
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
    /// Samples that could not be judged, because the interface they would come in by is not there.
    pub n_skipped: usize,
    /// Time for building the location index; nothing if the tables are shared.
    pub build: Duration,
    /// Time for loading the programs.
    pub load: Duration,
    /// Time for filling the tables.
    pub fill: Duration,
    /// Time for comparing the samples.
    pub verify: Duration,
    /// Boot-time deadline after which the kernel reverts, if the publish must be confirmed; Unix time.
    pub confirm_until: Option<Instant>,
}

/// A program in the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramSize {
    /// Name of its function.
    pub name: &'static str,
    /// Instructions that the verifier went through (Linux 5.16 and later say so).
    pub verified_instructions: Option<u32>,
    /// Time of BPF_PROG_LOAD: verifier and compiler; `None` for a program that an earlier process loaded.
    pub load: Option<Duration>,
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
    /// The engines of its location tables, IPv4 and IPv6: `index` or `lpm`.
    pub engines: [&'static str; 2],
    /// Location prefixes that are in an LPM trie: an index leaves none to one.
    pub lpm_prefixes: usize,
    /// Whether it judges leaving packets too.
    pub is_both: bool,
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
    /// Nothing was ever published: the state word names no slot.
    pub is_empty: bool,
    /// Halted until; `Some(None)`: until resumed.
    pub halted: Option<Option<Instant>>,
}

/// A counter with its labels.
#[derive(Clone, Debug, Serialize)]
pub struct CounterRow {
    /// `in`: packets received; `out`: packets leaving. The sum over `in` is the number of packets received.
    pub direction: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// Name of the class, if the reason has one.
    pub class: Option<String>,
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
