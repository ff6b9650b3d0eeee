//! `/v1/exemptions`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{diagnostic::Diagnostic, exemption::Written};

/// `POST /v1/exemptions`: all of these or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// What is granted. One that is there already, with the same contents, stays as it is.
    pub exemptions: Vec<Written>,
}

/// `POST /v1/exemptions/renew`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Whose end is moved.
    pub reference: String,
    /// Of this prefix only; absent: of all prefixes with the reference.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The new end (exclusive), RFC 3339 with offset.
    #[serde(default)]
    pub until: Option<String>,
    /// The new end as seconds from now; instead of `until`.
    #[serde(default)]
    pub for_s: Option<u64>,
}

/// `DELETE /v1/exemptions`: at least one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Those with this reference.
    pub reference: Option<String>,
    /// Those of this prefix.
    pub prefix: Option<String>,
}

/// `GET /v1/exemptions`: all, or those that all of these hold for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExemptionQuery {
    /// With this reference.
    pub reference: Option<String>,
    /// Whose prefix covers this address.
    pub address: Option<IpAddr>,
    /// That end within so many seconds.
    pub expiring_s: Option<u64>,
}

/// `PUT /v1/exemptions`: the body is a file of exemptions, which takes the place of the whole list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncQuery {
    /// What the file is called, for remarks.
    pub file: Option<String>,
    /// An empty file is meant: it removes all.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Answer to what changes single exemptions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exempted {
    /// Those that changed, as they are now; of a removal, as they were.
    pub exemptions: Vec<Written>,
    /// How many there are now.
    pub n_all: usize,
    /// Number of the generation that was published for it; absent: none was needed.
    pub generation: Option<u32>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}

/// Answer to a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exemptions {
    /// Those asked for, by prefix and reference.
    pub exemptions: Vec<Written>,
    /// How many there are.
    pub n_all: usize,
}

/// Answer to a sync.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Synced {
    /// New ones.
    pub added: usize,
    /// Those with other contents than before.
    pub changed: usize,
    /// Those that the file does not have.
    pub removed: usize,
    /// How many there are now.
    pub n_all: usize,
    /// Number of the generation that was published for it; absent: none was needed.
    pub generation: Option<u32>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}

/// A run-time exemption, as an explanation tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedExemption {
    /// Whom it is for.
    pub prefix: String,
    /// Number of the customer or case.
    pub reference: String,
    /// Why.
    pub reason: String,
    /// End.
    pub until: String,
    /// What it lifts, in words.
    pub lifts: String,
}
