//! The control API's requests and answers. Both ends of the socket use these types.
//!
//! Instants are RFC 3339 text, digests lower-case hexadecimal.

mod exempt;
mod gap;
mod generation;
mod halt;
mod health;
mod history;
mod lift;
mod locate;
mod probe;
mod push;
mod source;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    exempt::{
        AddRequest, Exempted, ExemptionQuery, Exemptions, ExplainedExemption, RemoveQuery, RenewRequest,
        SyncQuery, Synced,
    },
    gap::{Gap, Gaps},
    generation::Generation,
    halt::{HaltReply, HaltRequest, Halted, ResumeReply, ResumeRequest, ServiceHalted},
    health::Health,
    history::{Ended, HistoryEntry, HistoryReply, RollbackRequest, RolledBack},
    lift::{LiftReply, LiftRequest, Lifted, UnliftReply, UnliftRequest},
    locate::{LocateQuery, Located, LocatedOrder},
    probe::{ProbeRow, Probing},
    push::{
        BreakGlassRequest, BreakGlassState, BundleRef, PushOutcome, PushQuery, Pushed, UnmanageRequest,
        Unmanaged,
    },
    source::SourceRow,
};
use super::Refusal;
use crate::{compile::Heading, diagnostic::Diagnostic, policy::limits::MAX_FILE_BYTES};

/// Most bytes of the lists that go with a plain policy.
pub const MAX_LISTS_BYTES: usize = 16 << 20;

/// Largest request body: the largest policy and lists with every character escaped as JSON escapes line ends and
/// quotes, and room for the rest of the request.
pub const MAX_BODY_BYTES: usize = 2 * (MAX_FILE_BYTES + MAX_LISTS_BYTES) + (1 << 20);

/// Largest body of a request that carries no file.
pub const MAX_SMALL_BODY_BYTES: usize = 64 << 10;

/// Most overrides that a status lists.
pub const MAX_OVERRIDES_LISTED: usize = 100;

/// Reads the body of a request.
pub fn read_request<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::with_status(400, format!("not the JSON that was expected: {error}")))
}

/// `POST /v1/apply`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The policy file as the user named it, for remarks.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The lists that it names, by name and text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, String>,
    /// The kernel reverts after this many seconds unless confirmed; absent: in force at once.
    pub confirm_s: Option<u64>,
    /// The daemon confirms by itself if the probes of the host file hold; needs `confirm_s`.
    #[serde(default)]
    pub confirm_auto: bool,
    /// Publish although the policy would cut somebody off.
    #[serde(default)]
    pub override_lockout: bool,
    /// The caller's SSH peer.
    pub ssh_peer: Option<std::net::IpAddr>,
    /// Put it in force for a while although this host takes signed policies only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlassRequest>,
}

/// What became of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new generation judges packets.
    Published,
    /// The generation in force is the same already.
    AlreadyInForce,
}

/// Answer to an apply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// What happened.
    pub outcome: Outcome,
    /// The policy.
    pub policy: PolicyRef,
    /// Number of the generation in force.
    pub generation: u32,
    /// Seconds until the kernel reverts; absent when in force for good.
    pub confirm_left_s: Option<u64>,
    /// What must hold for the daemon to confirm it by itself; absent: it does not.
    #[serde(default)]
    pub probing: Option<Probing>,
    /// Warnings of the compile.
    pub diagnostics: Vec<Diagnostic>,
    /// Who is cut off, if the refusal was overridden.
    pub lockouts: Vec<String>,
    /// What the daemon could not do besides, such as attach to an absent interface.
    pub problems: Vec<String>,
    /// What becomes of the lifts and halts of services that there were.
    #[serde(default)]
    pub amendments: Vec<String>,
}

/// Answer to a confirm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confirmed {
    /// The policy now in force for good.
    pub policy: PolicyRef,
}

/// `GET /v1/events`: what a watcher wants to see; all of it, if nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Name of a class: a country's code, `unknown` or `lan`.
    pub country: Option<String>,
    /// Name of an action.
    pub action: Option<String>,
    /// Name of an interface.
    pub interface: Option<String>,
    /// Only packets that did not get through.
    #[serde(default)]
    pub drops: bool,
}

/// A line of the answer to `GET /v1/events`, which does not end. Empty lines mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WatchLine {
    /// The first one.
    Start {
        /// The policy in force.
        policy: Option<String>,
        /// Whether it reports any verdicts: `[events]`.
        is_reporting: bool,
        /// What the watcher may not have meant.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// A verdict.
    Event(EventRow),
    /// This watcher was too slow.
    Lost {
        /// Events of all kinds that it did not get.
        n: u64,
    },
}

/// A sampled verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// When, to the millisecond.
    pub time: String,
    /// The interface it came by.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Outermost VLAN.
    pub vlan: Option<u16>,
    /// Source address, cut as the policy's `[events]` says; absent: not told.
    pub source: Option<String>,
    /// Where the source is; absent: nobody looked it up.
    pub country: Option<String>,
    /// IP protocol by name or number; absent: not known.
    pub protocol: Option<String>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Length of the frame (L2).
    pub bytes: u32,
    /// What was decided.
    pub action: String,
    /// Why.
    pub reason: String,
    /// What became of it: `passed`, `dropped`, `answered`, `redirected`.
    pub fate: String,
    /// Generation that judged.
    pub generation: u32,
}

/// `GET /v1/explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainQuery {
    /// The source address.
    pub ip: std::net::IpAddr,
    /// Destination.
    pub to: Option<std::net::IpAddr>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination port.
    pub port: Option<u16>,
    /// Interface it comes in by.
    pub interface: Option<String>,
    /// Outermost VLAN.
    pub vlan: Option<u16>,
    /// Whether it opens a connection.
    #[serde(default)]
    pub opens: bool,
}

impl ExplainQuery {
    /// Where the packet goes.
    pub fn heading(&self) -> Heading {
        Heading {
            destination: self.to,
            protocol: self.protocol,
            port: self.port,
            interface: self.interface.clone(),
            vlan: self.vlan,
            opens: self.opens,
        }
    }
}

/// A verdict by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictNames {
    /// `pass`, `drop`.
    pub action: String,
    /// Name of the reason.
    pub reason: String,
    /// Class name, if the reason has one.
    pub class: Option<String>,
    /// Name of the tier that has the action's parameters.
    #[serde(default)]
    pub tier: Option<String>,
}

/// Answer to an explain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// What the compiled policy says, and why; see `compile::Explanation`.
    pub explanation: serde_json::Value,
    /// The run-time exemptions that cover the address now.
    #[serde(default)]
    pub exemptions: Vec<ExplainedExemption>,
    /// The verdict the kernel must give.
    pub expected: VerdictNames,
    /// The verdict the kernel gives.
    pub live: VerdictNames,
    /// Whether they are the same.
    pub same: bool,
    /// Orders that would speak about the packet, but are lifted.
    #[serde(default)]
    pub lifted: Vec<Lifted>,
}

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// One word.
    pub state: Health,
    /// One sentence.
    pub sentence: String,
    /// What the daemon is busy with; the rest is then as it was before.
    pub busy: Option<String>,
    /// The policy in force.
    pub policy: Option<PolicyRef>,
    /// The bundle that brought it.
    #[serde(default)]
    pub bundle: Option<BundleRef>,
    /// Whether this host takes signed policies only.
    #[serde(default)]
    pub managed: bool,
    /// Nobody signed the policy in force.
    #[serde(default)]
    pub break_glass: Option<BreakGlassState>,
    /// The generation in force.
    pub generation: Option<Generation>,
    /// Seconds until the kernel reverts; absent when confirmed.
    pub confirm_left_s: Option<u64>,
    /// What must hold for the daemon to confirm it by itself; absent: it does not.
    #[serde(default)]
    pub probing: Option<Probing>,
    /// The deadline passed unconfirmed; the earlier policy holds again.
    pub reverted: bool,
    /// A policy is in the state directory, in force or not.
    #[serde(default)]
    pub is_stored: bool,
    /// The halt in force.
    pub halted: Option<Halted>,
    /// Services that are halted.
    #[serde(default)]
    pub halted_services: Vec<ServiceHalted>,
    /// Orders that are lifted.
    #[serde(default)]
    pub lifts: Vec<Lifted>,
    /// The database in force.
    pub database: Option<Database>,
    /// Where bundles are pulled from.
    #[serde(default)]
    pub sources: Vec<SourceRow>,
    /// Interfaces attached to.
    pub interfaces: Vec<Interface>,
    /// Times in which packets came by unjudged.
    #[serde(default)]
    pub gaps: Gaps,
    /// The policy's orders.
    pub orders: Vec<OrderRef>,
    /// The policy's overrides, the first [`MAX_OVERRIDES_LISTED`].
    pub overrides: Vec<OverrideRow>,
    /// All of them.
    pub n_overrides: usize,
    /// Exemptions made at run time.
    #[serde(default)]
    pub n_exemptions: usize,
    /// Those of them that end within seven days.
    #[serde(default)]
    pub n_exemptions_expiring: usize,
    /// What is wrong.
    pub problems: Vec<String>,
    /// Counters that are not zero.
    pub counters: Vec<CounterRow>,
    /// Events since the maps were made.
    #[serde(default)]
    pub events: EventCounts,
    /// Frames that devices did not take from a redirect.
    #[serde(default)]
    pub redirect_errors: u64,
    /// Frames counted as `not_ip`, by their type.
    #[serde(default)]
    pub ethertypes: Vec<EthertypeRow>,
    /// Whether answers to the host's own connections pass under the policy in force.
    #[serde(default)]
    pub replies: bool,
    /// Whether the policy in force has rules for both directions, so that leaving packets are judged too.
    #[serde(default)]
    pub both_directions: bool,
    /// What the last publish of this process took.
    pub last_publish: Option<LastPublish>,
    /// Version of the daemon.
    pub version: String,
    /// Version of what is pinned.
    pub abi_version: u32,
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Whether the policy in force reports any verdicts: `[events]`.
    pub is_reporting: bool,
    /// Written to the ring.
    pub written: u64,
    /// Lost because the ring was full.
    pub lost: u64,
    /// Suppressed by the policy's cap.
    pub capped: u64,
}

/// Frames of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EthertypeRow {
    /// The type in hexadecimal, such as `0x88cc`; `other`: of all types beyond those counted one by one.
    pub ethertype: String,
    /// Packets.
    pub packets: u64,
    /// Bytes (L2).
    pub bytes: u64,
}

/// A policy by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Name.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// The GeoIP database in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Database {
    /// Path, or `embedded`.
    pub origin: String,
    /// Type, as its metadata say.
    pub database_type: String,
    /// When it was built.
    pub built: String,
    /// Whole days since then.
    pub age_days: u64,
    /// SHA-256 of the unpacked file.
    pub sha256: String,
    /// Credit that its licence asks for.
    pub attribution: Option<String>,
    /// IPv4 networks in it.
    pub n_networks_v4: usize,
    /// IPv6 networks in it.
    pub n_networks_v6: usize,
}

/// An interface attached to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub ifname: String,
    /// Index.
    pub ifindex: u32,
    /// `native` or `skb`.
    pub mode: String,
    /// Hook for leaving packets, `tcx` or `clsact`; absent: none is needed.
    #[serde(default)]
    pub egress: Option<String>,
}

/// An order by id and authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderRef {
    /// Id.
    pub id: String,
    /// Who gave it.
    pub authority: String,
}

/// An override.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OverrideRow {
    /// Prefix.
    pub prefix: String,
    /// What its profile stands for.
    pub profile: String,
    /// When it ends; absent: never.
    pub until: Option<String>,
    /// Reference and reason.
    pub why: String,
}

/// A counter with its labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CounterRow {
    /// Name of the reason.
    pub reason: String,
    /// Class name, if the reason has one.
    pub class: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Bytes (L2).
    pub bytes: u64,
}

/// What a publish took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastPublish {
    /// Reading the database and compiling.
    pub compile_ms: u64,
    /// Loading the programs.
    pub load_ms: u64,
    /// Filling the tables.
    pub fill_ms: u64,
    /// Comparing kernel and oracle.
    pub verify_ms: u64,
    /// Packets compared.
    pub n_samples: usize,
    /// Whether the location tables of an earlier generation were shared.
    pub shared_location: bool,
}
