//! Halts of the host and of services, and their end.

use serde::{Deserialize, Serialize};

/// `POST /v1/halt`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltRequest {
    /// Name of the service; absent: the whole host.
    #[serde(default)]
    pub service: Option<String>,
    /// Ends by itself after this many seconds; absent: until resumed.
    pub for_s: Option<u64>,
    /// Why, for the log and the status.
    pub reason: String,
    /// Halt although it would cut somebody off.
    #[serde(default)]
    pub override_lockout: bool,
    /// The caller's SSH peer.
    pub ssh_peer: Option<std::net::IpAddr>,
}

/// A halt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// When it ends by itself; absent: when resumed.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
}

/// The halt of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHalted {
    /// Name of the service.
    pub service: String,
    /// When it ends by itself; absent: when resumed.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
}

/// Answer to a halt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HaltReply {
    /// The service that is halted; absent: the whole host.
    #[serde(default)]
    pub service: Option<String>,
    /// The halt in force.
    pub halted: Halted,
    /// Whom it cuts off of those that the host depends on.
    pub lockouts: Vec<String>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}

/// `POST /v1/resume`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// Name of the service; absent: the whole host and every service.
    #[serde(default)]
    pub service: Option<String>,
}

/// Answer to a resume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumeReply {
    /// The halt that was ended; absent: there was none.
    pub ended: Option<Halted>,
    /// The halts of services that were ended.
    #[serde(default)]
    pub services: Vec<ServiceHalted>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}
