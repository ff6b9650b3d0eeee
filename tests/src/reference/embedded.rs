//! IPv4 addresses inside IPv6 ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// The IPv4 address inside a source, and whether it must be a public one: what came through a NAT64 of one's own
/// may be anything.
pub(super) fn inside(source: Ipv6Addr, nat64_prefixes: &[Ipv6Net]) -> Option<(Ipv4Addr, bool)> {
    let bits = source.to_bits();
    let low = bits as u32;
    let groups = source.segments();
    if let Some(prefix) = nat64_prefixes.iter().find(|prefix| prefix.contains(&source)) {
        // RFC 6052, 2.2: the address follows the prefix, but leaves out bits 64 to 71.
        let without_gap = (bits >> 64 << 64) | (bits << 72 >> 64);
        let address = match prefix.prefix_len() {
            96 => low,
            len => (without_gap << len >> 96) as u32,
        };
        return Some((Ipv4Addr::from_bits(address), false));
    }
    if groups[0] == 0x2002 {
        return Some((Ipv4Addr::from_bits((bits >> 80) as u32), true));
    }
    if groups[0] == 0x2001 && groups[1] == 0 {
        return Some((Ipv4Addr::from_bits(!low), true));
    }
    if bits >> 32 == 0x0064_ff9b << 64 {
        return Some((Ipv4Addr::from_bits(low), true));
    }
    None
}

/// Whether an address means nothing outside of a network or a host, so that it cannot come embedded from the
/// Internet.
pub(super) fn is_not_public(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0 || address.is_private() || address.is_loopback() || address.is_link_local() || first >= 224
}
