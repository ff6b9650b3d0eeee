//! Which sets of services packets can be for: the rows of the matrix.
//!
//! The dimensions are independent of each other, so every combination of what they leave over is met by some packet.
//! A packet whose ports cannot be read has a set of services that it *may* be for, and takes the strictest of the rows
//! that this set and its family of transports allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    Heading,
    services::{DESTINATION_OPTIONS, ServiceBox, TCP, Transport, UDP, set_of},
};

/// Sets looked at before the policy is refused: far more than rows.
const MAX_SETS: usize = 4096;

/// A packet that takes a row, of each family that can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    /// From an IPv4 source.
    pub v4: Option<Heading>,
    /// From an IPv6 source.
    pub v6: Option<Heading>,
}

/// The rows of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Sets of services, ascending, the empty one first: row by row.
    pub(super) sets: Vec<u64>,
    /// The rows that follow: each is the strictest of these.
    pub(super) strictest_of: Vec<Vec<u32>>,
    /// Row of each set, and of each set with [`probe_common::scope::MAY`].
    pub(super) row_of: BTreeMap<u64, u32>,
    /// A packet for each of them.
    pub(super) examples: BTreeMap<u64, Examples>,
}

/// Too many sets; those that were found.
#[derive(Debug)]
pub(super) struct TooMany(pub(super) BTreeSet<u64>);

impl Rows {
    /// The only row of a policy without services.
    pub(super) fn single() -> Self {
        Self {
            sets: vec![0],
            row_of: BTreeMap::from([(0, 0)]),
            ..Self::default()
        }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.sets.len() + self.strictest_of.len()
    }

    pub(super) fn new(boxes: &[ServiceBox]) -> Result<Self, TooMany> {
        if boxes.is_empty() {
            return Ok(Self::single());
        }
        let places = [places(boxes, false)?, places(boxes, true)?];
        let transports = transports(boxes);
        let mut examples: BTreeMap<u64, Examples> = BTreeMap::new();
        // Row 0 is there even if no packet takes it.
        let mut sets = BTreeSet::from([0]);
        let mut possible: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (is_v6, places) in [false, true].into_iter().zip(&places) {
            for (place, heading) in places {
                for (transport, left) in &transports.exact {
                    let set = place & left;
                    sets.insert(set);
                    let heading = with_transport(heading, *transport);
                    offer(&mut examples, set, is_v6, heading, *transport);
                }
                for vague in &transports.vague {
                    let key = place & vague.left | vague.transport.may();
                    let sets = vague.among.iter().map(|left| place & left);
                    possible.entry(key).or_default().extend(sets);
                    let heading = with_transport(heading, vague.transport);
                    offer(&mut examples, key, is_v6, heading, vague.transport);
                }
                if sets.len() > MAX_SETS {
                    return Err(TooMany(sets));
                }
            }
        }
        Ok(Self::numbered(sets, &possible, examples))
    }

    fn numbered(
        sets: BTreeSet<u64>,
        possible: &BTreeMap<u64, BTreeSet<u64>>,
        examples: BTreeMap<u64, Examples>,
    ) -> Self {
        let sets: Vec<u64> = sets.into_iter().collect();
        let mut row_of: BTreeMap<u64, u32> = (0..).zip(&sets).map(|(row, set)| (*set, row)).collect();
        let mut strictest_of: Vec<Vec<u32>> = Vec::new();
        for (key, possible) in possible {
            let candidates: Vec<u32> = possible
                .iter()
                .filter_map(|set| row_of.get(set).copied())
                .collect();
            let row = match candidates.as_slice() {
                [only] => *only,
                _ => {
                    let known = strictest_of.iter().position(|known| *known == candidates);
                    let idx = known.unwrap_or_else(|| {
                        strictest_of.push(candidates);
                        strictest_of.len() - 1
                    });
                    (sets.len() + idx) as u32
                }
            };
            row_of.insert(*key, row);
        }
        Self {
            sets,
            strictest_of,
            row_of,
            examples,
        }
    }
}

fn with_transport(heading: &Heading, transport: Transport) -> Heading {
    let (protocol, port) = match transport {
        Transport::Protocol(protocol) => (Some(protocol), None),
        Transport::Port(protocol, port) => (Some(protocol), Some(port)),
        Transport::PortUnknown(protocol) => (Some(protocol), None),
        // In IPv6: nothing follows the header, so what would is hidden.
        Transport::Unknown => (Some(DESTINATION_OPTIONS), None),
    };
    Heading {
        protocol,
        port,
        ..heading.clone()
    }
}

fn offer(
    examples: &mut BTreeMap<u64, Examples>,
    key: u64,
    is_v6: bool,
    heading: Heading,
    transport: Transport,
) {
    // IPv4 hides no protocol; and in IPv6 an extension header hides the one of its own number.
    if Transport::of(&heading, is_v6) != transport {
        return;
    }
    let examples = examples.entry(key).or_default();
    let example = if is_v6 { &mut examples.v6 } else { &mut examples.v4 };
    example.get_or_insert(heading);
}

/// What interface, VLAN and destination leave over, with an example of each.
fn places(boxes: &[ServiceBox], is_v6: bool) -> Result<BTreeMap<u64, Heading>, TooMany> {
    let all = set_of(boxes, |_| true);
    let mut found = BTreeMap::from([(all, Heading::default())]);
    let names: BTreeSet<&String> = boxes.iter().flat_map(|service| &service.interfaces).collect();
    let names = std::iter::once(None).chain(names.into_iter().map(Some));
    found = narrowed(&found, names, |name, heading| {
        heading.interface = name.cloned();
        set_of(boxes, |service| service.has_interface(name.map(String::as_str)))
    })?;
    found = narrowed(&found, vlans(boxes), |vlan, heading| {
        heading.vlan = (vlan != 0).then_some(vlan);
        set_of(boxes, |service| service.has_vlan(vlan))
    })?;
    narrowed(&found, destinations(boxes, is_v6), |destination, heading| {
        heading.destination = (!destination.is_unspecified()).then_some(destination);
        set_of(boxes, |service| service.has_destination(destination))
    })
}

/// Each set, narrowed by each value of one more dimension.
fn narrowed<T>(
    found: &BTreeMap<u64, Heading>,
    values: impl Iterator<Item = T>,
    narrow: impl Fn(T, &mut Heading) -> u64,
) -> Result<BTreeMap<u64, Heading>, TooMany> {
    let mut lefts: BTreeMap<u64, Heading> = BTreeMap::new();
    for value in values {
        let mut heading = Heading::default();
        let left = narrow(value, &mut heading);
        lefts.entry(left).or_insert(heading);
    }
    let mut narrower = BTreeMap::new();
    for (set, heading) in found {
        for (left, part) in &lefts {
            narrower.entry(set & left).or_insert_with(|| Heading {
                interface: heading.interface.clone().or_else(|| part.interface.clone()),
                vlan: heading.vlan.or(part.vlan),
                destination: heading.destination.or(part.destination),
                ..Heading::default()
            });
        }
        if narrower.len() > MAX_SETS {
            return Err(TooMany(narrower.into_keys().collect()));
        }
    }
    Ok(narrower)
}

/// Untagged, each VLAN that a service names, and one that none does.
fn vlans(boxes: &[ServiceBox]) -> impl Iterator<Item = u16> {
    let named: BTreeSet<u16> = boxes
        .iter()
        .flat_map(|service| service.vlans.iter().copied())
        .collect();
    let other = (1..=4094).find(|vlan| !named.contains(vlan));
    std::iter::once(0).chain(other).chain(named)
}

/// An address of every region that the destinations cut a family into: a region without an end of its own begins or
/// ends beside a prefix.
fn destinations(boxes: &[ServiceBox], is_v6: bool) -> impl Iterator<Item = IpAddr> {
    let prefixes: BTreeSet<IpNet> = boxes
        .iter()
        .flat_map(|service| service.destinations.iter().copied())
        .filter(|prefix| prefix.addr().is_ipv6() == is_v6)
        .collect();
    let unspecified = if is_v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    std::iter::once(unspecified).chain(prefixes.into_iter().flat_map(borders))
}

fn borders(prefix: IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(prefix) => {
            let (first, last) = (u32::from(prefix.network()), u32::from(prefix.broadcast()));
            [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|address| IpAddr::V4(address.into()))
                .collect()
        }
        IpNet::V6(prefix) => {
            let (first, last) = (u128::from(prefix.network()), u128::from(prefix.broadcast()));
            [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|address| IpAddr::V6(address.into()))
                .collect()
        }
    }
}

/// What protocol and port leave over.
struct Transports {
    /// With an example of each.
    exact: Vec<(Transport, u64)>,
    vague: Vec<Vague>,
}

/// A transport that cannot be read in full.
struct Vague {
    transport: Transport,
    /// The services it may be for.
    left: u64,
    /// What the transports that it may be leave over.
    among: BTreeSet<u64>,
}

fn transports(boxes: &[ServiceBox]) -> Transports {
    let left = |transport| set_of(boxes, |service| service.has_transport(transport));
    let distinct = |transports: &mut dyn Iterator<Item = Transport>| {
        let mut found: BTreeMap<u64, Transport> = BTreeMap::new();
        for transport in transports {
            found.entry(left(transport)).or_insert(transport);
        }
        found
    };
    let protocols = distinct(&mut plain_protocols().map(Transport::Protocol));
    let tcp = distinct(&mut ports(boxes).map(|port| Transport::Port(TCP, port)));
    let udp = distinct(&mut ports(boxes).map(|port| Transport::Port(UDP, port)));
    let vague = |transport, among: &[&BTreeMap<u64, Transport>]| Vague {
        transport,
        left: left(transport),
        among: among.iter().flat_map(|found| found.keys().copied()).collect(),
    };
    let vagues = vec![
        vague(Transport::PortUnknown(TCP), &[&tcp]),
        vague(Transport::PortUnknown(UDP), &[&udp]),
        vague(Transport::Unknown, &[&protocols, &tcp, &udp]),
    ];
    let exact = [protocols, tcp, udp].into_iter().flatten();
    Transports {
        exact: exact.map(|(left, transport)| (transport, left)).collect(),
        vague: vagues,
    }
}

/// Protocols without ports. Those that are judged by more than their number (tunnels, extension headers) come last, so
/// that they are examples only where nothing else is.
fn plain_protocols() -> impl Iterator<Item = u8> {
    const SPECIAL: [u8; 11] = [0, 4, 41, 43, 44, 47, 51, 60, 135, 139, 140];
    let plain = (0..=255).filter(|protocol| ![TCP, UDP].contains(protocol) && !SPECIAL.contains(protocol));
    [253, 254].into_iter().chain(plain).chain(SPECIAL)
}

/// One port of every region that the ranges cut the ports into. Those of tunnels over UDP come last.
fn ports(boxes: &[ServiceBox]) -> impl Iterator<Item = u16> {
    const TUNNELS: [u16; 2] = [4789, 6081];
    let ranges = boxes.iter().flat_map(|service| &service.ports);
    let mut ports: BTreeSet<u16> = BTreeSet::from([0, 1, u16::MAX]);
    for range in ranges {
        ports.extend([*range.start(), *range.end()]);
        ports.extend(range.start().checked_sub(1));
        ports.extend(range.end().checked_add(1));
    }
    // Beside a tunnel's port there is another one of the same region, if the region has more than this port.
    for port in TUNNELS {
        ports.extend([port - 1, port, port + 1]);
    }
    let (tunnels, plain): (Vec<u16>, Vec<u16>) = ports.into_iter().partition(|port| TUNNELS.contains(port));
    plain.into_iter().chain(tunnels)
}
