//! Tunnels: packets inside packets, one level deep.

use aya_ebpf::programs::XdpContext;
use probe_common::l4::extension;

use crate::{
    l4::{behind_extensions, is_first_of_extensions},
    packet::read_at,
    parse::{Address, Facts, inner_ethernet, is_ipv6_ethertype},
};

const PROTO_IPV4: u8 = 4;
const PROTO_UDP: u8 = 17;
const PROTO_IPV6: u8 = 41;
const PROTO_GRE: u8 = 47;

/// RFC 7348.
const PORT_VXLAN: u16 = 4789;
/// RFC 8926.
const PORT_GENEVE: u16 = 6081;

const UDP_LEN: usize = 8;
const VXLAN_LEN: usize = 8;
const GENEVE_LEN: usize = 8;
const GRE_LEN: usize = 4;

/// Transparent Ethernet bridging: an Ethernet frame inside GRE or Geneve.
const ETHERTYPE_ETHERNET: u16 = 0x6558;

/// Whether the packet carries another one, as far as its protocol and UDP's destination port tell.
#[inline(always)]
pub fn is_tunnel(ctx: &XdpContext, facts: &Facts) -> bool {
    match facts.protocol {
        PROTO_IPV4 | PROTO_IPV6 | PROTO_GRE => true,
        PROTO_UDP => !facts.is_later_fragment && udp_tunnel_port(ctx, payload_offset(facts)).is_some(),
        protocol if facts.version == 6 && extension(protocol).is_some() => {
            match behind_extensions(ctx, facts) {
                Some((PROTO_IPV4 | PROTO_IPV6 | PROTO_GRE, _)) => true,
                Some((PROTO_UDP, offset)) => udp_tunnel_port(ctx, offset).is_some(),
                _ => false,
            }
        }
        _ => false,
    }
}

/// The IP header of a packet inside another.
#[derive(Clone, Copy)]
pub struct InnerIp {
    /// Where it begins in the frame; 0: behind more VLAN tags than are read.
    pub offset: usize,
    /// Whether it should be IPv6.
    pub is_v6: bool,
}

/// The source of the packet inside; `None` if it cannot be found.
#[inline(always)]
pub fn inner_source(ctx: &XdpContext, facts: &Facts) -> Option<Address> {
    source_of(ctx, inner_ip(ctx, facts)?)
}

/// Whether what cannot be read of the packet inside may be in the fragments that follow: whoever sent it chose to cut it
/// there.
#[inline(always)]
pub fn is_first_fragment(ctx: &XdpContext, facts: &Facts) -> bool {
    if facts.version == 6 {
        is_first_of_extensions(ctx, facts)
    } else {
        facts.is_fragment && !facts.is_later_fragment
    }
}

/// The header of the packet inside; `None` if it cannot be found.
#[inline(always)]
pub fn inner_ip(ctx: &XdpContext, facts: &Facts) -> Option<InnerIp> {
    if facts.is_later_fragment {
        return None;
    }
    let (protocol, offset) = if facts.version == 6 {
        behind_extensions(ctx, facts)?
    } else {
        (facts.protocol, payload_offset(facts))
    };
    match protocol {
        PROTO_IPV4 => Some(InnerIp { offset, is_v6: false }),
        PROTO_IPV6 => Some(InnerIp { offset, is_v6: true }),
        PROTO_GRE => behind_gre(ctx, offset),
        PROTO_UDP => match udp_tunnel_port(ctx, offset)? {
            PORT_VXLAN => behind_ethernet(ctx, offset + UDP_LEN + VXLAN_LEN),
            _ => behind_geneve(ctx, offset + UDP_LEN),
        },
        _ => None,
    }
}

#[inline(always)]
fn payload_offset(facts: &Facts) -> usize {
    usize::from(facts.ip_offset) + usize::from(facts.ip_len)
}

/// The destination port of a UDP header at `offset`, if it is one of a tunnel.
#[inline(always)]
fn udp_tunnel_port(ctx: &XdpContext, offset: usize) -> Option<u16> {
    match u16::from_be_bytes(read_at(ctx, offset + 2)?) {
        port @ (PORT_VXLAN | PORT_GENEVE) => Some(port),
        _ => None,
    }
}

/// RFC 2784 and RFC 2890.
#[inline(always)]
fn behind_gre(ctx: &XdpContext, offset: usize) -> Option<InnerIp> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const VERSION: u8 = 0x07;
    let [flags, version, type_high, type_low] = read_at(ctx, offset)?;
    // Routing is of RFC 1701 and has no fixed length. Version 1 is PPTP.
    if flags & ROUTING != 0 || version & VERSION != 0 {
        return None;
    }
    let mut len = GRE_LEN;
    for field in [CHECKSUM, KEY, SEQUENCE] {
        if flags & field != 0 {
            len += 4;
        }
    }
    behind_type(ctx, offset + len, u16::from_be_bytes([type_high, type_low]))
}

/// RFC 8926 section 3.4.
#[inline(always)]
fn behind_geneve(ctx: &XdpContext, offset: usize) -> Option<InnerIp> {
    const OPTIONS_LEN: u8 = 0x3f;
    let [version_len, _, type_high, type_low] = read_at(ctx, offset)?;
    if version_len & !OPTIONS_LEN != 0 {
        return None;
    }
    let options_len = usize::from(version_len & OPTIONS_LEN) * 4;
    behind_type(
        ctx,
        offset + GENEVE_LEN + options_len,
        u16::from_be_bytes([type_high, type_low]),
    )
}

#[inline(always)]
fn behind_type(ctx: &XdpContext, offset: usize, ethertype: u16) -> Option<InnerIp> {
    if ethertype == ETHERTYPE_ETHERNET {
        behind_ethernet(ctx, offset)
    } else {
        let is_v6 = is_ipv6_ethertype(ethertype)?;
        Some(InnerIp { offset, is_v6 })
    }
}

#[inline(always)]
fn behind_ethernet(ctx: &XdpContext, offset: usize) -> Option<InnerIp> {
    let (offset, is_v6) = inner_ethernet(ctx, offset)?;
    Some(InnerIp { offset, is_v6 })
}

/// The source in such a header.
#[inline(always)]
pub fn source_of(ctx: &XdpContext, InnerIp { offset, is_v6 }: InnerIp) -> Option<Address> {
    if offset == 0 {
        return None;
    }
    let [version_len] = read_at(ctx, offset)?;
    match (version_len >> 4, is_v6) {
        (4, false) => read_at(ctx, offset + 12).map(Address::from_v4),
        (6, true) => read_at(ctx, offset + 8).map(Address::from_v6),
        _ => None,
    }
}
