//! Packets inside packets.

use std::net::IpAddr;

use super::{
    link,
    net::{self, Packet},
};

const IPIP: u8 = 4;
const UDP: u8 = 17;
const SIX_IN_FOUR: u8 = 41;
const GRE: u8 = 47;
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// EtherType of an Ethernet frame (transparent Ethernet bridging).
const BRIDGED: u16 = 0x6558;
/// EtherType of packets that a router redirects by WCCP.
const WCCP: u16 = 0x883e;

/// Whether a packet carries another one.
pub(super) fn is_tunnel(packet: &Packet<'_>) -> bool {
    match packet.protocol {
        Some(IPIP | SIX_IN_FOUR | GRE) => packet.source.is_ipv4() || !packet.is_later_fragment,
        Some(UDP) => matches!(packet.udp_port(), Some(VXLAN_PORT | GENEVE_PORT)),
        _ => false,
    }
}

/// What there is inside a tunnel.
pub(super) enum Inside {
    /// A packet from there.
    Source(IpAddr),
    /// No packet, or none that anybody could read.
    Nothing,
    /// What the host may find, and the parser does not.
    Hidden,
}

/// Looks inside a tunnel.
pub(super) fn inside(packet: &Packet<'_>) -> Inside {
    if packet.is_later_fragment {
        return Inside::Nothing;
    }
    // Of a fragment the host takes what is within it, and finds the rest in the next one.
    let payload = if packet.is_fragment {
        packet.within()
    } else {
        packet.payload().unwrap_or_default()
    };
    match read(packet, payload) {
        Some(inside) => inside,
        None if packet.is_fragment => Inside::Hidden,
        None => Inside::Nothing,
    }
}

/// `None`: cut off.
fn read(packet: &Packet<'_>, payload: &[u8]) -> Option<Inside> {
    match packet.protocol? {
        IPIP => source_by(IPV4, payload),
        SIX_IN_FOUR => source_by(IPV6, payload),
        GRE => in_gre(payload, if packet.source.is_ipv4() { IPV4 } else { IPV6 }),
        _ if packet.udp_port() == Some(VXLAN_PORT) => by_type(BRIDGED, payload.get(16..)?),
        _ => in_geneve(payload.get(8..)?),
    }
}

fn in_gre(gre: &[u8], outer_type: u16) -> Option<Inside> {
    let ([flags, version, high, low], rest) = gre.split_first_chunk()?;
    // Routing has no fixed length; version 1 is PPTP.
    if flags & 0x40 != 0 || version & 7 != 0 {
        return Some(Inside::Nothing);
    }
    let ether_type = u16::from_be_bytes([*high, *low]);
    if ether_type == WCCP && [*flags, *version] == [0, 0] {
        // Version 2 of WCCP has a header of its own.
        return match rest.first()? >> 4 {
            4 => source_by(outer_type, rest),
            _ => source_by(outer_type, rest.get(4..)?),
        };
    }
    let n_fields = [0x80, 0x20, 0x10].iter().filter(|bit| flags & **bit != 0).count();
    by_type(ether_type, rest.get(4 * n_fields..)?)
}

fn in_geneve(geneve: &[u8]) -> Option<Inside> {
    let [first, _, high, low] = geneve.first_chunk()?;
    if first >> 6 != 0 {
        return Some(Inside::Nothing);
    }
    // Options in words.
    let n_option_bytes = usize::from(first & 0x3f) * 4;
    by_type(
        u16::from_be_bytes([*high, *low]),
        geneve.get(8 + n_option_bytes..)?,
    )
}

fn by_type(ether_type: u16, rest: &[u8]) -> Option<Inside> {
    match link::behind_inner_tags(ether_type, rest, BRIDGED) {
        Ok((ether_type, packet)) => source_by(ether_type, packet),
        Err(probe_common::Reason::DeepVlan) => Some(Inside::Hidden),
        Err(_) => None,
    }
}

fn source_by(ether_type: u16, packet: &[u8]) -> Option<Inside> {
    let source = match ether_type {
        IPV4 => net::inner_v4_source(packet)?,
        IPV6 => net::inner_v6_source(packet)?,
        _ => None,
    };
    Some(source.map_or(Inside::Nothing, Inside::Source))
}
