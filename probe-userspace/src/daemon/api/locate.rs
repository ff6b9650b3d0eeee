//! `GET /v1/locate`: the decision on an address, for the layer above.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `GET /v1/locate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocateQuery {
    /// The source address.
    pub ip: IpAddr,
}

/// Answer to a locate: what the kernel does with a packet from there of which no service asks anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The address asked about.
    pub ip: IpAddr,
    /// Where it is: a country's code, `unknown` or `lan`; absent: no policy is asked about it.
    pub class: Option<String>,
    /// Name of the action.
    pub decision: String,
    /// Name of the tier that has the action's parameters.
    pub tier: Option<String>,
    /// Name of the reason.
    pub reason: String,
    /// When the decision changes next, if it does by itself.
    pub until: Option<String>,
    /// The orders that speak about the place now.
    pub orders: Vec<LocatedOrder>,
    /// The exemption, allow or deny that covers it: prefix, reference and reason.
    pub exemption: Option<String>,
    /// The failsafe prefix that covers it.
    pub failsafe: Option<String>,
    /// Whether the host is halted.
    pub halted: bool,
    /// Name of the policy.
    pub policy: String,
    /// Number of the generation.
    pub generation: u32,
}

/// An order that speaks about a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedOrder {
    /// Its id.
    pub id: String,
    /// The action that it asks for.
    pub action: String,
}
