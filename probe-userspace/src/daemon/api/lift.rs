//! Lifts of orders, and their end.

use serde::{Deserialize, Serialize};

/// `POST /v1/lift`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftRequest {
    /// Id of the order; absent: see `all`.
    #[serde(default)]
    pub order: Option<String>,
    /// Every order that the policy has now.
    #[serde(default)]
    pub all: bool,
    /// Ends by itself after this many seconds; absent: until it is ended.
    pub for_s: Option<u64>,
    /// Why, for the log and the status.
    pub reason: String,
}

/// A lifted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// Its id.
    pub order: String,
    /// When it holds again by itself; absent: when the lift is ended.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
}

/// Answer to a lift.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiftReply {
    /// The orders that were lifted.
    pub lifted: Vec<Lifted>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}

/// `POST /v1/unlift`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnliftRequest {
    /// Id of the order; absent: see `all`.
    #[serde(default)]
    pub order: Option<String>,
    /// Every order that is lifted.
    #[serde(default)]
    pub all: bool,
}

/// Answer to an unlift.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnliftReply {
    /// The lifts that were ended.
    pub ended: Vec<Lifted>,
    /// What is not as one would expect.
    pub problems: Vec<String>,
}
