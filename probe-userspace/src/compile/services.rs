//! Services as boxes: which of them a packet is for, evaluated as the policy writes them. The kernel's tables are
//! made from the same boxes in `scopes`; the oracle asks the boxes themselves.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnet::IpNet;
use probe_common::scope::{MAY, MAY_BE_ANY};

use super::Heading;
use crate::policy::Service;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// RFC 3692 sets it apart for experiments: what a heading without a protocol is.
const EXPERIMENT: u8 = 253;
/// Extension header of IPv6 (RFC 8200 section 4.6).
pub(super) const DESTINATION_OPTIONS: u8 = 60;

/// One service: a box in the dimensions of a packet's heading. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceBox {
    /// Interfaces it comes in by.
    pub interfaces: Vec<String>,
    /// Outermost VLANs; 0 is untagged.
    pub vlans: Vec<u16>,
    /// Destinations.
    pub destinations: Vec<IpNet>,
    /// Protocols. With ports, a list that is not empty.
    pub protocols: Vec<u8>,
    /// Destination ports of TCP and UDP.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// What a packet says about protocol and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// A protocol without ports.
    Protocol(u8),
    /// TCP or UDP with its destination port.
    Port(u8, u16),
    /// TCP or UDP whose ports cannot be read.
    PortUnknown(u8),
    /// Not even the protocol can be read.
    Unknown,
}

impl Transport {
    /// The transport of a heading on the wire. An extension header that nothing follows hides the protocol.
    pub(super) fn of(heading: &Heading, is_v6: bool) -> Self {
        const EXTENSION_HEADERS: [u8; 8] = [0, 43, 44, 51, DESTINATION_OPTIONS, 135, 139, 140];
        match (heading.protocol.unwrap_or(EXPERIMENT), heading.port) {
            (protocol @ (TCP | UDP), Some(port)) => Self::Port(protocol, port),
            (protocol @ (TCP | UDP), None) => Self::PortUnknown(protocol),
            (protocol, _) if is_v6 && EXTENSION_HEADERS.contains(&protocol) => Self::Unknown,
            (protocol, _) => Self::Protocol(protocol),
        }
    }

    /// What the key of a packet's row has beside its services: something if these are only what it may be for.
    pub(super) fn may(self) -> u64 {
        match self {
            Self::Protocol(_) | Self::Port(..) => 0,
            Self::PortUnknown(_) => MAY,
            Self::Unknown => MAY | MAY_BE_ANY,
        }
    }
}

impl ServiceBox {
    pub(super) fn new(service: &Service) -> Self {
        let protocols = match (service.protocols.as_slice(), service.ports.as_slice()) {
            ([], [_, ..]) => vec![TCP, UDP],
            (protocols, _) => protocols.to_vec(),
        };
        Self {
            interfaces: service.interfaces.iter().map(|name| name.value.clone()).collect(),
            vlans: service.vlans.clone(),
            destinations: service.destinations.clone(),
            protocols,
            ports: service.ports.clone(),
        }
    }

    pub(super) fn has_interface(&self, interface: Option<&str>) -> bool {
        self.interfaces.is_empty()
            || interface.is_some_and(|name| self.interfaces.iter().any(|own| own == name))
    }

    pub(super) fn has_vlan(&self, vlan: u16) -> bool {
        self.vlans.is_empty() || self.vlans.contains(&vlan)
    }

    pub(super) fn has_destination(&self, destination: IpAddr) -> bool {
        self.destinations.is_empty()
            || self
                .destinations
                .iter()
                .any(|prefix| prefix.contains(&destination))
    }

    /// Whether the service has this transport; for a vague one, whether it may have it.
    pub(super) fn has_transport(&self, transport: Transport) -> bool {
        let has_protocol = |protocol| self.protocols.is_empty() || self.protocols.contains(&protocol);
        match transport {
            Transport::Unknown => true,
            Transport::PortUnknown(protocol) => has_protocol(protocol),
            Transport::Protocol(protocol) => has_protocol(protocol) && self.ports.is_empty(),
            Transport::Port(protocol, port) => {
                has_protocol(protocol)
                    && (self.ports.is_empty() || self.ports.iter().any(|range| range.contains(&port)))
            }
        }
    }
}

/// The set of services that a packet is for, or, if its transport is vague, may be for. `source` says its family.
pub(super) fn services_of(boxes: &[ServiceBox], heading: &Heading, source: IpAddr) -> u64 {
    let unspecified = match source {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination = heading.destination.unwrap_or(unspecified);
    let transport = Transport::of(heading, source.is_ipv6());
    set_of(boxes, |service| {
        service.has_interface(heading.interface.as_deref())
            && service.has_vlan(heading.vlan.unwrap_or(0))
            && service.has_destination(destination)
            && service.has_transport(transport)
    })
}

/// The set of the services that a predicate holds for.
pub(super) fn set_of(boxes: &[ServiceBox], is_in: impl Fn(&ServiceBox) -> bool) -> u64 {
    boxes
        .iter()
        .enumerate()
        .filter(|(_, service)| is_in(service))
        .fold(0, |set, (idx, _)| set | 1 << idx)
}
