//! What was in force when, and going back to it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{audit::Actor, bundle::Digest, instant::Instant};

/// Answer to `GET /v1/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryReply {
    /// The latest first.
    pub entries: Vec<HistoryEntry>,
}

/// A stretch of time during which a policy was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its number, from 1, never given twice.
    pub number: u64,
    /// The policy's name.
    pub policy: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// Revision of the bundle that brought it.
    pub revision: Option<u64>,
    /// Digest of that bundle's payload.
    pub bundle: Option<Digest>,
    /// Digest of the lists that a plain policy names.
    pub lists: Option<Digest>,
    /// Why root put it in force without a signature.
    pub break_glass: Option<String>,
    /// Who put it in force.
    pub actor: Actor,
    /// Since when.
    pub from: Instant,
    /// Until when; absent: it is in force.
    pub to: Option<Instant>,
    /// Why it ended.
    pub ended: Option<Ended>,
    /// Digest of its stored text; absent: it is not kept any more.
    pub content: Option<Digest>,
}

/// Why a policy was not in force any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Another one was applied or pushed.
    Replaced,
    /// It was not confirmed in time.
    Reverted,
    /// Somebody went back to an earlier one.
    RolledBack,
    /// Nobody had signed it, and its time was over.
    BreakGlassOver,
    /// The daemon found another one in force when it started.
    NotRecorded,
}

impl Ended {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Reverted => "not confirmed in time",
            Self::RolledBack => "rolled back",
            Self::BreakGlassOver => "break-glass is over",
            Self::NotRecorded => "not recorded",
        }
    }
}

/// `POST /v1/rollback`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Number of the entry to go back to; absent: the one before the policy in force.
    pub number: Option<u64>,
    /// Or the revision of the bundle to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The kernel goes forward again after this many seconds unless confirmed.
    pub confirm_s: Option<u64>,
    /// The daemon confirms by itself within that time if its probes hold.
    #[serde(default)]
    pub confirm_auto: bool,
    /// Go back although it would cut somebody off.
    #[serde(default)]
    pub override_lockout: bool,
    /// The caller's SSH peer.
    pub ssh_peer: Option<IpAddr>,
}

/// Answer to a rollback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RolledBack {
    /// Number of the entry that is in force again; absent: it is not in the history.
    pub number: Option<u64>,
    /// The policy.
    pub policy: super::PolicyRef,
    /// Number of the generation in force.
    pub generation: u32,
    /// Its generation was still loaded, so nothing was compiled.
    pub was_loaded: bool,
    /// Seconds until the kernel goes forward again; absent when in force for good.
    pub confirm_left_s: Option<u64>,
    /// How the daemon is to confirm by itself; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probing: Option<super::Probing>,
    /// Time from the request to the kernel's first packet under it, in microseconds.
    pub took_us: u64,
    /// Who is cut off, if the refusal was overridden.
    pub lockouts: Vec<String>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}
