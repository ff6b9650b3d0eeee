//! Addresses at edges.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{
    corpus::places::{NETWORKS, nat64, six_to_four, teredo},
    lab::{EDGE_V4, EDGE_V6},
    rng::Rng,
};

/// Prefixes of a meaning of their own, besides those of the database.
const SPECIAL: [&str; 22] = [
    "0.0.0.0/32",
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "198.18.0.1/32",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "::/96",
    "fe80::/10",
    "fc00::/7",
    "ff00::/8",
    "2001:2::1/128",
    "2002::/16",
    "2001::/32",
    "64:ff9b::/96",
];

/// NAT64 prefixes that some worlds configure; see [`super::compare`].
pub(super) const NAT64: [&str; 3] = ["64:ff9b:1::/48", "2001:db8:100::/40", "2001:db8:1:200::/56"];

fn prefix(rng: &mut Rng) -> IpNet {
    let idx = rng.below(NETWORKS.len() + SPECIAL.len() + NAT64.len());
    let text = NETWORKS
        .iter()
        .map(|(prefix, _)| *prefix)
        .chain(SPECIAL)
        .chain(NAT64)
        .nth(idx)
        .unwrap_or("::/0");
    text.parse().unwrap_or(IpNet::from(std::net::IpAddr::V6(EDGE_V6)))
}

/// First, last, the one before, the one behind, or any inside.
fn of_prefix(rng: &mut Rng, first: u128, last: u128) -> u128 {
    match rng.below(6) {
        0 => first,
        1 => last,
        2 => first.wrapping_sub(1),
        3 => last.wrapping_add(1),
        _ => first + rng.next_u128() % (last - first).saturating_add(1).max(1),
    }
}

/// An IPv4 source.
pub(super) fn v4(rng: &mut Rng) -> Ipv4Addr {
    loop {
        if rng.below(16) == 0 {
            return Ipv4Addr::from_bits(rng.next_u64() as u32);
        }
        if let IpNet::V4(prefix) = prefix(rng) {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            return Ipv4Addr::from_bits(of_prefix(rng, first.into(), last.into()) as u32);
        }
    }
}

/// An IPv6 source, often with an IPv4 one inside.
pub(super) fn v6(rng: &mut Rng) -> Ipv6Addr {
    loop {
        match rng.below(16) {
            0 => return Ipv6Addr::from_bits(rng.next_u128()),
            1 | 2 => return six_to_four(v4(rng)),
            3 | 4 => return nat64(v4(rng)),
            5 | 6 => return teredo(v4(rng)),
            7 => return v4(rng).to_ipv6_mapped(),
            _ => {}
        }
        if let IpNet::V6(prefix) = prefix(rng) {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            return Ipv6Addr::from_bits(of_prefix(rng, first, last));
        }
    }
}

/// An IPv4 destination.
pub(super) fn destination_v4(rng: &mut Rng) -> Ipv4Addr {
    match rng.below(6) {
        0 => Ipv4Addr::BROADCAST,
        1 => v4(rng),
        2 => Ipv4Addr::new(198, 18, 1, 0),
        3 => Ipv4Addr::new(198, 18, 0, 255),
        _ => EDGE_V4,
    }
}

/// An IPv6 destination.
pub(super) fn destination_v6(rng: &mut Rng) -> Ipv6Addr {
    match rng.below(5) {
        0 => v6(rng),
        1 => Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0),
        2 => Ipv6Addr::new(0x2001, 2, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff),
        _ => EDGE_V6,
    }
}
