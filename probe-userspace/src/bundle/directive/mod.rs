//! Directives: what signers tell a host to do once.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

pub use read::read;

use super::trust::Verb;
use crate::instant::Instant;

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Directive {
    /// Drop the world, or all that is for one service.
    Halt {
        /// The service; `None`: the whole host.
        service: Option<String>,
        /// When it ends by itself; `None`: when resumed.
        until: Option<Instant>,
        /// Why.
        reason: String,
    },
    /// Back to the policy.
    Resume {
        /// The service; `None`: the whole host.
        service: Option<String>,
        /// Why.
        reason: String,
    },
    /// Take orders away.
    Lift {
        /// Which.
        orders: Orders,
        /// When they hold again; `None`: when unlifted.
        until: Option<Instant>,
        /// Why.
        reason: String,
    },
    /// Let lifted orders hold again.
    Unlift {
        /// Which.
        orders: Orders,
        /// Why.
        reason: String,
    },
    /// Let prefixes through, or not any more.
    Exempt(Exempt),
}

/// Orders of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Orders {
    /// All of them.
    All,
    /// The one with this id.
    One(String),
}

/// A change of run-time exemptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exempt {
    /// What becomes of them.
    pub change: ExemptChange,
    /// Which prefixes. Empty, for a renewal or a removal: all that the reference holds.
    pub prefixes: Vec<IpNet>,
    /// Number of the customer or case.
    pub reference: String,
    /// Who approved it.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// The end; `None` for a removal.
    pub until: Option<Instant>,
    /// Ids of the orders that it lifts; `None`: all of them.
    pub orders: Option<Vec<String>>,
    /// Names of the services that it is for; `None`: all of them.
    pub services: Option<Vec<String>>,
    /// Prefixes wider than /24 and /48 are meant.
    pub wide: bool,
}

/// What becomes of exemptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExemptChange {
    /// They are made.
    Add,
    /// They get a new end.
    Renew,
    /// They end now.
    Remove,
}

impl Directive {
    /// What its signers must be trusted for.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Halt { .. } | Self::Resume { .. } => Verb::Halt,
            Self::Lift {
                orders: Orders::All, ..
            } => Verb::LiftAll,
            Self::Lift { .. } | Self::Unlift { .. } => Verb::Lift,
            Self::Exempt(_) => Verb::Exempt,
        }
    }

    /// What a directive may ask of its signers. Before it is read, one signer for one of them is enough.
    pub const VERBS: [Verb; 4] = [Verb::Halt, Verb::Lift, Verb::LiftAll, Verb::Exempt];

    /// Its name in the text.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Halt { .. } => "halt",
            Self::Resume { .. } => "resume",
            Self::Lift { .. } => "lift",
            Self::Unlift { .. } => "unlift",
            Self::Exempt(_) => "exempt",
        }
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Halt { reason, .. }
            | Self::Resume { reason, .. }
            | Self::Lift { reason, .. }
            | Self::Unlift { reason, .. } => reason,
            Self::Exempt(exempt) => &exempt.reason,
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Halt { service, .. } | Self::Resume { service, .. } => {
                if let Some(service) = service {
                    write!(f, " of the service {service}")?;
                }
            }
            Self::Lift { orders, .. } | Self::Unlift { orders, .. } => match orders {
                Orders::All => f.write_str(" of all orders")?,
                Orders::One(id) => write!(f, " of the order {id}")?,
            },
            Self::Exempt(exempt) => write!(f, " {:?} {}", exempt.change, exempt.reference)?,
        }
        let until = match self {
            Self::Halt { until, .. } | Self::Lift { until, .. } => until.as_ref(),
            Self::Exempt(exempt) => exempt.until.as_ref(),
            Self::Resume { .. } | Self::Unlift { .. } => None,
        };
        match until {
            Some(until) => write!(f, " until {until}: {}", self.reason()),
            None => write!(f, ": {}", self.reason()),
        }
    }
}
