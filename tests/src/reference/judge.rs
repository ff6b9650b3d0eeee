//! The order of the specification: what needs no policy, then the place, then what saves a packet from it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use probe_common::{Fate, Reason};

use super::{
    embedded, link,
    net::{self, Packet},
    policy::{Decision, Policy, TargetState},
    tunnel::{self, Inside, is_tunnel},
};
use crate::corpus::places::{NETWORKS, Place};

/// What the host says.
#[derive(Clone, Debug)]
pub struct Options {
    /// `icmp_error = "pass"`.
    pub icmp_error_pass: bool,
    /// `inspect_inner`.
    pub inspect_inner: bool,
    /// `martians = "drop"`.
    pub martians_drop: bool,
    /// `nat64_prefixes`.
    pub nat64_prefixes: Vec<Ipv6Net>,
    /// Failsafe prefixes.
    pub failsafe: Vec<IpNet>,
    /// Its own addresses.
    pub own: Vec<IpAddr>,
    /// VLANs that are judged; none: every frame is.
    pub vlans: Vec<u16>,
}

/// What must become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the network sees.
    pub fate: Fate,
    /// The one counter that counts it.
    pub reason: Reason,
}

/// A policy on a host, with the places of the corpus.
#[derive(Clone, Debug)]
pub struct Reference {
    places_v4: PrefixMap<Ipv4Net, Place>,
    places_v6: PrefixMap<Ipv6Net, Place>,
    policy: Policy,
    options: Options,
}

const PRIVATE_V4: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
const UNIQUE_LOCAL: &str = "fc00::/7";

impl Reference {
    /// Of a policy and a host.
    pub fn new(policy: Policy, options: Options) -> Self {
        let (mut places_v4, mut places_v6) = (PrefixMap::new(), PrefixMap::new());
        for (prefix, place) in NETWORKS {
            match prefix.parse().expect("a prefix in the source of the corpus") {
                IpNet::V4(prefix) => places_v4.insert(prefix, place),
                IpNet::V6(prefix) => places_v6.insert(prefix, place),
            };
        }
        Self {
            places_v4,
            places_v6,
            policy,
            options,
        }
    }

    /// What must become of a frame. ICMP errors are below their cap, and no flow is known.
    pub fn judge(&self, frame: &[u8]) -> Answer {
        let reason = match self.reason(frame) {
            Ok(reason) | Err(reason) => reason,
        };
        Answer {
            fate: fate(reason),
            reason,
        }
    }

    /// `Err`: answered before a policy was asked.
    fn reason(&self, bytes: &[u8]) -> Result<Reason, Reason> {
        let frame = link::read(bytes);
        let vlans = &self.options.vlans;
        // A VLAN behind more priority tags than are read may be one that is judged.
        let is_hidden =
            frame.vlan.is_none() && matches!(frame.content, link::Content::Answered(Reason::DeepVlan));
        if !vlans.is_empty() && !is_hidden && frame.vlan.is_none_or(|vlan| !vlans.contains(&vlan)) {
            return Err(Reason::VlanNotJudged);
        }
        let packet = match frame.content {
            link::Content::Answered(reason) => return Err(reason),
            link::Content::V4(packet) => net::v4(packet)?,
            link::Content::V6(packet) => net::v6(packet)?,
        };
        let judged = self.fixed_answers(&packet)?;
        if self.policy.is_about(&packet, frame.vlan) {
            let decision = self.decision(judged);
            if decision != Decision::Pass {
                let reason = self.not_passing(&packet, judged, decision, bytes.len());
                let looks_inside = matches!(
                    reason,
                    Reason::Exempt | Reason::WithinLimit | Reason::PolicyDrain | Reason::DrainPass
                );
                if looks_inside && self.inside(&packet, frame.vlan) == Reason::TunnelInner {
                    return Ok(Reason::TunnelInner);
                }
                return Ok(reason);
            }
        }
        Ok(match self.inside(&packet, frame.vlan) {
            Reason::TunnelInner if self.is_failsafe(judged) || self.is_failsafe(packet.source) => {
                Reason::Failsafe
            }
            reason => reason,
        })
    }

    /// What becomes of a packet that may pass, for what is inside.
    fn inside(&self, packet: &Packet<'_>, vlan: Option<u16>) -> Reason {
        if !is_tunnel(packet) {
            return Reason::PolicyPass;
        }
        if !self.options.inspect_inner {
            return Reason::TunnelUninspected;
        }
        match tunnel::inside(packet) {
            Inside::Source(source) if !self.policy.is_about(packet, vlan) || self.passes_inside(source) => {
                Reason::PolicyPass
            }
            Inside::Source(_) | Inside::Hidden => Reason::TunnelInner,
            Inside::Nothing => Reason::TunnelUninspected,
        }
    }

    fn is_failsafe(&self, source: IpAddr) -> bool {
        self.options
            .failsafe
            .iter()
            .any(|prefix| prefix.contains(&source))
    }

    /// The address that is judged, unless the packet is answered without a policy.
    fn fixed_answers(&self, packet: &Packet<'_>) -> Result<IpAddr, Reason> {
        match packet.source {
            IpAddr::V4(source) => {
                if source.is_link_local() {
                    return Err(Reason::LinkLocal);
                }
                if is_dhcp_request(packet) {
                    return Err(Reason::Dhcp);
                }
                if self.options.martians_drop && (source.is_loopback() || self.is_own(packet.source)) {
                    return Err(Reason::Martian);
                }
                Ok(packet.source)
            }
            IpAddr::V6(source) => {
                if source.to_ipv4_mapped().is_some() {
                    return Err(Reason::Malformed);
                }
                let is_discovery = packet.next_header == 58
                    && packet.hop_limit == 255
                    && matches!(packet.payload(), Some([133..=137, ..]));
                if source.is_unicast_link_local() {
                    return Err(Reason::LinkLocal);
                }
                if is_discovery {
                    return Err(Reason::NeighbourDiscovery);
                }
                if source.is_unspecified() && contains("ff02::/16", packet.destination) {
                    return Err(Reason::LinkLocal);
                }
                if self.options.martians_drop && (source.is_loopback() || self.is_own(packet.source)) {
                    return Err(Reason::Martian);
                }
                match embedded::inside(source, &self.options.nat64_prefixes) {
                    Some((inside, is_public)) => {
                        if self.options.martians_drop && is_public && embedded::is_not_public(inside) {
                            return Err(Reason::Martian);
                        }
                        Ok(inside.into())
                    }
                    None => Ok(packet.source),
                }
            }
        }
    }

    fn is_own(&self, source: IpAddr) -> bool {
        self.options.own.contains(&source)
    }

    /// What the policy says about a source.
    fn decision(&self, source: IpAddr) -> Decision {
        let place = match source {
            IpAddr::V4(source) => {
                if PRIVATE_V4.iter().any(|prefix| contains(prefix, source.into())) {
                    return self.policy.lan;
                }
                let host = Ipv4Net::from(source);
                self.places_v4.get_lpm(&host).map(|(_, place)| *place)
            }
            IpAddr::V6(address) => {
                if contains(UNIQUE_LOCAL, source) {
                    return self.policy.lan;
                }
                let host = Ipv6Net::from(address);
                self.places_v6.get_lpm(&host).map(|(_, place)| *place)
            }
        };
        match place {
            Some(Place::Blocked) => self.policy.blocked,
            Some(Place::Allowed) => self.policy.allowed,
            None => self.policy.unknown,
        }
    }

    fn not_passing(&self, packet: &Packet<'_>, judged: IpAddr, decision: Decision, len: usize) -> Reason {
        if self.is_failsafe(judged) || self.is_failsafe(packet.source) {
            return Reason::Failsafe;
        }
        if self.policy.exempt.iter().any(|prefix| prefix.contains(&judged)) {
            return Reason::Exempt;
        }
        match decision {
            Decision::Pass => Reason::PolicyPass,
            Decision::Drain if packet.may_open() => Reason::PolicyDrain,
            Decision::Drain => Reason::DrainPass,
            Decision::Limit => Reason::WithinLimit,
            Decision::Drop | Decision::Redirect(_)
                if self.options.icmp_error_pass && is_icmp_error(packet) =>
            {
                Reason::IcmpError
            }
            Decision::Drop => Reason::PolicyDrop,
            Decision::Redirect(TargetState::Gone) => Reason::RedirectGone,
            Decision::Redirect(TargetState::There { max_len, .. }) if len > max_len => {
                Reason::RedirectTooLong
            }
            Decision::Redirect(TargetState::There { is_loop: true, .. }) => Reason::RedirectLoop,
            Decision::Redirect(TargetState::There { .. }) => Reason::PolicyRedirect,
        }
    }

    /// Whether the policy passes an inner source, which is decoded like an outer one.
    fn passes_inside(&self, source: IpAddr) -> bool {
        let judged = match source {
            IpAddr::V4(_) => source,
            IpAddr::V6(address) => match embedded::inside(address, &self.options.nat64_prefixes) {
                Some((inside, _)) => inside.into(),
                None => source,
            },
        };
        self.decision(judged) == Decision::Pass
            || self.is_failsafe(judged)
            || self.policy.exempt.iter().any(|prefix| prefix.contains(&judged))
    }
}

fn contains(prefix: &str, address: IpAddr) -> bool {
    prefix
        .parse::<IpNet>()
        .is_ok_and(|prefix| prefix.contains(&address))
}

/// A client without an address asks all servers of its network; no client sends IP options with that.
fn is_dhcp_request(packet: &Packet<'_>) -> bool {
    packet.source == Ipv4Addr::UNSPECIFIED
        && packet.destination == Ipv4Addr::BROADCAST
        && packet.protocol == Some(17)
        && !packet.has_options
        && packet.udp_port() == Some(67)
}

/// Messages without which path MTU discovery and traceroute fail (RFC 4890, 4.3.1), in one piece.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let Some(message) = packet.payload().filter(|_| !packet.is_fragment) else {
        return false;
    };
    match (packet.source.is_ipv4(), packet.next_header) {
        (true, 1) => matches!(message, [3, 4, ..] | [11, _, ..]),
        (false, 58) => matches!(message, [1..=4, ..]),
        _ => false,
    }
}

/// What the network sees of each reason that this reference can come to.
fn fate(reason: Reason) -> Fate {
    match reason {
        Reason::PolicyRedirect => Fate::Redirected,
        Reason::PolicyPass
        | Reason::DrainPass
        | Reason::WithinLimit
        | Reason::VlanNotJudged
        | Reason::Failsafe
        | Reason::Exempt
        | Reason::IcmpError
        | Reason::TunnelUninspected
        | Reason::NotIp
        | Reason::Arp
        | Reason::LinkLocal
        | Reason::NeighbourDiscovery
        | Reason::Dhcp
        | Reason::Mpls
        | Reason::Llc
        | Reason::Snap => Fate::Passed,
        _ => Fate::Dropped,
    }
}
