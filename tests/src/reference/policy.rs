//! What a policy of the corpus means, said again in few words.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

use super::net::Packet;

/// What is done with a place's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Passes.
    Pass,
    /// Drops.
    Drop,
    /// Drops what opens a connection, or hides whether it does.
    Drain,
    /// Passes up to a rate, which no source of the corpus comes to.
    Limit,
    /// Goes out of another interface.
    Redirect(TargetState),
}

/// The interface of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It is not there.
    Gone,
    /// It is there.
    There {
        /// Longest frame it takes.
        max_len: usize,
        /// Frames would go back where they came from, as they are.
        is_loop: bool,
    },
}

/// A decision for each kind of place.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For sources in the blocked country.
    pub blocked: Decision,
    /// For sources in the allowed country.
    pub allowed: Decision,
    /// For sources in no country.
    pub unknown: Decision,
    /// For private, shared and unique local sources.
    pub lan: Decision,
    /// If there are any: what is for none of them passes.
    pub services: Vec<Service>,
    /// Sources that pass whatever is said about their place.
    pub exempt: Vec<IpNet>,
}

/// What a packet is for. An empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Outermost VLAN, 0 for untagged.
    pub vlans: Vec<u16>,
    /// Destinations.
    pub destinations: Vec<IpNet>,
    /// Protocols.
    pub protocols: Vec<u8>,
    /// Destination ports.
    pub ports: Vec<RangeInclusive<u16>>,
}

impl Service {
    /// Whether a packet is for the service, or may be for all that can be read of it.
    fn may_match(&self, packet: &Packet<'_>, vlan: Option<u16>) -> bool {
        let is_in = |destination: &IpAddr| {
            self.destinations
                .iter()
                .any(|prefix| prefix.contains(destination))
        };
        let vlan_matches = self.vlans.is_empty() || self.vlans.contains(&vlan.unwrap_or(0));
        let destination_matches = self.destinations.is_empty() || is_in(&packet.destination);
        let protocol_matches = match packet.protocol {
            None => true,
            Some(protocol) => self.protocols.is_empty() || self.protocols.contains(&protocol),
        };
        let port_matches = self.ports.is_empty()
            || match packet.ports() {
                None => true,
                Some((_, port)) => self.ports.iter().any(|range| range.contains(&port)),
            };
        vlan_matches && destination_matches && protocol_matches && port_matches
    }
}

impl Policy {
    /// Whether the decisions are about a packet at all.
    pub(super) fn is_about(&self, packet: &Packet<'_>, vlan: Option<u16>) -> bool {
        self.services.is_empty()
            || self
                .services
                .iter()
                .any(|service| service.may_match(packet, vlan))
    }
}
