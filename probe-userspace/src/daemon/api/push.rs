//! Pushing bundles, and what they change on a host.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Applied;
use crate::{
    audit::Actor,
    bundle::{Digest, Kind},
    diagnostic::Diagnostic,
    instant::Instant,
};

/// Query of `POST /v1/bundles`; the body is the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushQuery {
    /// The file as its sender named it, for remarks.
    pub file: String,
    /// The kernel reverts a policy after this many seconds unless confirmed; absent: in force at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_s: Option<u64>,
    /// The daemon confirms by itself within that time if its probes hold.
    #[serde(default)]
    pub confirm_auto: bool,
    /// Take it although it would cut somebody off.
    #[serde(default)]
    pub override_lockout: bool,
    /// The caller's SSH peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_peer: Option<IpAddr>,
}

/// Answer to a push. One that is rejected is answered with a [`crate::daemon::Refusal`] that has a reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pushed {
    /// What became of it.
    pub outcome: PushOutcome,
    /// What it carries.
    pub kind: Kind,
    /// Name of the bundle.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// It has ended in the meantime, and stays in force.
    pub is_expired: bool,
    /// What became of its policy.
    pub applied: Option<Applied>,
    /// What was done, for a directive.
    pub followed: Option<String>,
    /// Warnings about it.
    pub diagnostics: Vec<Diagnostic>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}

/// What became of a bundle that was not rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    /// It is in force, or was followed.
    Accepted,
    /// It was before; nothing has changed.
    Idle,
}

/// The bundle whose policy is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRef {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// When it was issued.
    pub issued: Instant,
    /// When it ends.
    pub expires: Instant,
}

/// A policy that nobody signed, as a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassRequest {
    /// Why.
    pub reason: String,
    /// For how many seconds.
    pub for_s: u64,
}

/// A policy that nobody signed is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassState {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// The kernel goes back to the signed policy then.
    pub until: Instant,
}

/// `POST /v1/unmanage`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnmanageRequest {
    /// Why.
    pub reason: String,
}

/// Answer to `POST /v1/unmanage`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unmanaged {
    /// Since when it was managed; absent: it was not.
    pub since: Option<Instant>,
}
