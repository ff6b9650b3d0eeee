//! The userspace oracle: the verdict the kernel must give, computed from the image without the kernel's tables.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::{Action, Decision, Reason, Verdict, limits::OVERRIDE_MAX_LEVELS, profile};

use super::{
    Image, Override,
    services::{TCP, Transport, UDP},
    source::judged_source,
};
use crate::{geo::location_of, instant::Instant};

/// Highest VLAN; 4095 is reserved (IEEE 802.1Q).
const MAX_VLAN: u16 = 4094;

/// Where a packet goes: what services ask for. The default is a packet of an experimental protocol (253) to the
/// unspecified address, untagged, from no interface that has a name: one that is for no service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// Destination.
    pub destination: Option<IpAddr>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination port; `None` with a protocol that has ports: it cannot be read, as in a later fragment.
    pub port: Option<u16>,
    /// Interface it comes in by.
    pub interface: Option<String>,
    /// Outermost VLAN.
    pub vlan: Option<u16>,
    /// Whether it opens a connection: TCP SYN without ACK, QUIC Initial.
    pub opens: bool,
}

impl Heading {
    /// What makes it no heading of a packet from a source.
    pub fn contradiction(&self, source: IpAddr) -> Option<&'static str> {
        let has_ports = matches!(self.protocol, Some(TCP | UDP));
        if self
            .destination
            .is_some_and(|destination| destination.is_ipv4() != source.is_ipv4())
        {
            Some("source and destination are of two address families")
        } else if self.port.is_some() && !has_ports {
            Some("a port is known of TCP and UDP only: name the protocol, tcp or udp")
        } else if self.opens && !has_ports {
            Some("opening a connection is known of TCP and UDP only: name the protocol, tcp or udp")
        } else if self.vlan.is_some_and(|vlan| vlan > MAX_VLAN) {
            Some("a VLAN has a number from 0 to 4094")
        } else {
            None
        }
    }

    /// Whether it opens a connection and can be seen to, not in a later fragment; or hides whether it does.
    fn is_opening(&self, source: IpAddr) -> bool {
        let is_hidden = Transport::of(self, source.is_ipv6()) == Transport::Unknown;
        is_hidden || self.opens && matches!(self.protocol, Some(TCP | UDP)) && self.port.is_some()
    }

    /// Whether it is a tunnel that other packets may travel in: IPIP, 6in4, GRE, VXLAN, Geneve.
    fn is_tunnel(&self, source: IpAddr) -> bool {
        match Transport::of(self, source.is_ipv6()) {
            Transport::Protocol(4 | 41 | 47) | Transport::Port(UDP, 4789 | 6081) => true,
            Transport::Protocol(_) | Transport::Port(..) | Transport::PortUnknown(_) | Transport::Unknown => {
                false
            }
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Source address.
    pub address: IpAddr,
    /// Where the packet goes.
    pub heading: Heading,
    /// When.
    pub now: Instant,
    /// The host's failsafe prefixes; empty to ask the generation alone.
    pub failsafe: &'a [IpNet],
    /// What run-time exemptions lift for the address, as ends (ascending) and lift keys; empty to ask the generation
    /// alone.
    pub runtime: &'a [(Instant, u8)],
}

/// What is judged, once it is known where it comes from and goes to.
pub(super) struct Judged<'a> {
    /// Source as on the wire.
    pub(super) source: IpAddr,
    pub(super) heading: &'a Heading,
    pub(super) class: u16,
    /// Profile of the longest live override.
    pub(super) live_profile: Option<u8>,
    /// Profile that run-time exemptions give it.
    pub(super) runtime_profile: u8,
    pub(super) is_failsafe: bool,
}

/// The verdict, and the decision that it came from: its tier has the parameters. `decision` is that of a profile's cell.
pub(super) fn judge(judged: &Judged<'_>, decision: impl Fn(u8) -> Decision) -> (Verdict, Decision) {
    let verdict = |decision: Decision, reason| {
        let verdict = Verdict {
            action: decision.action(),
            reason,
            class: judged.class,
        };
        (verdict, decision)
    };
    let mut decided = decision(profile::ALL_ORDERS);
    let is_denied = judged.live_profile == Some(profile::DENY);
    if decided.action() == Action::Pass && !is_denied {
        let reason = if judged.heading.is_tunnel(judged.source) {
            Reason::TunnelUninspected
        } else {
            Reason::PolicyPass
        };
        return verdict(decided, reason);
    }
    if judged.is_failsafe {
        return verdict(Decision::PASS, Reason::Failsafe);
    }
    if is_denied {
        // A deny is about what comes in; what the orders say of the other direction stays.
        let deny = if decided.is_both() {
            Decision::DROP.both()
        } else {
            Decision::DROP
        };
        return verdict(deny, Reason::Deny);
    }
    if let Some(profile) = judged.live_profile {
        let eased = decision(profile);
        // It is never stricter: that is how its cells are compiled. With the same action its tier may be milder.
        if eased.action() <= decided.action() {
            decided = eased;
        }
    }
    if judged.runtime_profile != profile::ALL_ORDERS {
        let eased = decision(judged.runtime_profile);
        let is_same_action = eased.action() == decided.action();
        // Of two milder tiers the policy's stays.
        if eased.action() < decided.action() || is_same_action && judged.live_profile.is_none() {
            decided = eased;
        }
    }
    if decided.action() == Action::Pass {
        return verdict(decided, Reason::Exempt);
    }
    let reason = match decided.action() {
        Action::Pass => Reason::PolicyPass,
        Action::Count => Reason::PolicyCount,
        Action::Mark => Reason::PolicyMark,
        Action::Limit => Reason::WithinLimit,
        Action::Redirect => Reason::PolicyRedirect,
        Action::Drain if judged.heading.is_opening(judged.source) => Reason::PolicyDrain,
        Action::Drain => Reason::DrainPass,
        Action::Reject => Reason::PolicyReject,
        Action::Drop => Reason::PolicyDrop,
    };
    verdict(decided, reason)
}

impl Image {
    /// The verdict for a packet whose frame has nothing special about it, as the sample program must give it: what is
    /// decided, before it is carried out. With the tier that carries the parameters; 0: none.
    pub fn decide(&self, query: &Query<'_>) -> (Verdict, u8) {
        let (verdict, decision) = self.sampled(query);
        (verdict, decision.tier())
    }

    /// The same with the whole decision.
    pub(crate) fn sampled(&self, query: &Query<'_>) -> (Verdict, Decision) {
        let row = self.scopes.row_of(&query.heading, query.address);
        self.decide_in_row(query, row)
    }

    /// The strictest verdict for a packet that opens a connection to a TCP port, whatever interface, VLAN and
    /// destination it has, with the row that it takes.
    pub fn strictest_for_tcp_port(&self, query: &Query<'_>, port: u16) -> (Verdict, u32) {
        let query = Query {
            heading: Heading {
                protocol: Some(TCP),
                port: Some(port),
                opens: true,
                ..query.heading.clone()
            },
            ..query.clone()
        };
        let rows = self.scopes.rows_of_tcp_port(port).into_iter();
        rows.map(|row| (self.decide_in_row(&query, Some(row)).0, row))
            .max_by_key(|(verdict, _)| verdict.action)
            .unwrap_or_else(|| (self.verdict(&query), 0))
    }

    /// The verdict alone.
    pub fn verdict(&self, query: &Query<'_>) -> Verdict {
        self.decide(query).0
    }

    /// The address that a source is judged by, see [`judged_source`].
    pub fn judged_source(&self, address: IpAddr) -> IpAddr {
        judged_source(address, &self.frame.nat64_prefixes)
    }

    /// The verdict if the packet took this row; a set of services without a row drops.
    pub(super) fn decide_in_row(&self, query: &Query<'_>, row: Option<u32>) -> (Verdict, Decision) {
        let address = self.judged_source(query.address);
        let class = location_of(&self.location, address);
        let live = self.live_override(address, query.now);
        let judged = Judged {
            source: query.address,
            heading: &query.heading,
            class,
            live_profile: live.map(|entry| entry.value.profile),
            runtime_profile: self.runtime_profile(query),
            is_failsafe: query
                .failsafe
                .iter()
                .any(|prefix| prefix.contains(&address) || prefix.contains(&query.address)),
        };
        judge(&judged, |profile| {
            row.map_or(Decision::DROP, |row| {
                self.decision(row, profile, class, query.now)
            })
        })
    }

    /// The profile that run-time exemptions give the address asked about.
    fn runtime_profile(&self, query: &Query<'_>) -> u8 {
        let key = query.runtime.iter().find(|(until, _)| query.now < *until);
        key.map_or(profile::ALL_ORDERS, |(_, key)| {
            self.runtime_profiles[usize::from(*key)]
        })
    }

    /// The decision of a cell at an instant. A cell that does not exist drops: it cannot be reached.
    pub fn decision(&self, row: u32, profile: u8, class: u16, now: Instant) -> Decision {
        let Some(cell) = self.matrix.cell(row, profile, class) else {
            return Decision::DROP;
        };
        match cell.stages_idx() {
            None => cell.fixed_decision(),
            Some(idx) => self
                .stages
                .get(idx as usize)
                .map_or(Decision::DROP, |stages| stages.decision_at(now.0)),
        }
    }

    /// The longest live override: the longest of all, or, while that is over, the next shorter one, as often as
    /// the kernel looks.
    pub(super) fn live_override(&self, address: IpAddr, now: Instant) -> Option<&Override> {
        self.covering(address)
            .take(OVERRIDE_MAX_LEVELS)
            .find(|entry| entry.value.is_live(now.0))
    }

    /// All overrides that cover an address, longest first: each prefix length is tried in turn.
    pub(super) fn covering(&self, address: IpAddr) -> impl Iterator<Item = &Override> {
        let host = IpNet::from(address);
        let lens = if self.overrides.is_empty() {
            0..=0
        } else {
            0..=host.prefix_len()
        };
        lens.rev().filter_map(move |prefix_len| {
            let prefix = IpNet::new(address, prefix_len).ok()?.trunc();
            let idx = self
                .overrides
                .binary_search_by(|entry| entry.prefix.cmp(&prefix))
                .ok()?;
            Some(&self.overrides[idx])
        })
    }
}
