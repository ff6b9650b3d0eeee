//! The userspace oracle: the verdict the kernel must give, computed from the image without the kernel's tables.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::Verdict;
use serde::Serialize;

use super::Image;
use crate::instant::Instant;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Source address.
    pub address: IpAddr,
    /// When.
    pub now: Instant,
    /// The host's failsafe prefixes; empty to ask the generation alone.
    pub failsafe: &'a [IpNet],
}

/// A verdict and everything that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The address asked about.
    pub address: IpAddr,
    /// `pass`, `drop`.
    pub action: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// Class name: a country code, `unknown` or `lan`.
    pub class: String,
    /// First and last address of the run of this class around the address.
    pub run: (IpAddr, IpAddr),
    /// The override that covers it, if one is live.
    pub override_: Option<String>,
    /// The failsafe prefix that covers it.
    pub failsafe: Option<IpNet>,
    /// The orders that speak about the class now, with what each says: (id, authority, action).
    pub orders: Vec<(String, String, &'static str)>,
    /// When the verdict changes next, if it does.
    pub changes_at: Option<Instant>,
}

impl Image {
    /// The verdict for a packet from an address whose frame has nothing special about it.
    pub fn verdict(&self, _query: &Query<'_>) -> Verdict {
        Verdict::without_class(probe_common::Action::Drop, probe_common::Reason::Halted)
    }
}
