//! Tunnels: packets inside packets, one level deep.

use aya_ebpf::programs::XdpContext;
use probe_common::l4::extension;

use crate::{
    l4::{behind_extensions, end, is_first_of_extensions},
    packet::{frame_len, read_at},
    parse::{Address, Facts, behind_inner_tags, inner_ethernet, is_ipv6_ethertype, is_vlan_tag},
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
/// Before the packet in WCCP version 2; version 1 has none. Linux tells them apart by whether an IPv4 header begins there.
const WCCP_REDIRECT_LEN: usize = 4;

/// Where the source begins in an IPv4 header.
const V4_SOURCE: usize = 12;
/// The same in IPv6.
const V6_SOURCE: usize = 8;

/// Transparent Ethernet bridging: an Ethernet frame inside GRE or Geneve.
const ETHERTYPE_ETHERNET: u16 = 0x6558;
/// Packets that a router redirects to a cache (WCCP): Linux takes what is inside for IP of the outer packet's version.
const ETHERTYPE_WCCP: u16 = 0x883e;

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

/// What is inside a tunnel, and where.
#[derive(Clone, Copy)]
pub struct Inside {
    /// Where it begins in the frame: everything before was read.
    pub offset: usize,
    /// What the headers before it say that it is.
    pub kind: Kind,
}

/// What may be inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An IPv4 packet.
    V4,
    /// An IPv6 packet.
    V6,
    /// No IP, or nothing that its receiver could read.
    NotIp,
    /// Hidden where only its receiver finds it: in another fragment, or behind more tags than are read.
    Hidden,
}

impl Kind {
    #[inline(always)]
    const fn ip(is_v6: bool) -> Self {
        if is_v6 { Self::V6 } else { Self::V4 }
    }
}

/// The source of the packet inside; `None` if it cannot be found.
#[inline(always)]
pub fn inner_source(ctx: &XdpContext, facts: &Facts) -> Option<Address> {
    let Inside { offset, kind } = inside(ctx, facts);
    match kind {
        Kind::V4 => source_of(ctx, offset, false),
        Kind::V6 => source_of(ctx, offset, true),
        Kind::NotIp | Kind::Hidden => None,
    }
}

/// What is inside a tunnel.
#[inline(always)]
pub fn inside(ctx: &XdpContext, facts: &Facts) -> Inside {
    let found = behind_headers(ctx, facts);
    if !is_first_fragment(ctx, facts) {
        return found.unwrap_or(Inside {
            offset: 0,
            kind: Kind::NotIp,
        });
    }
    // What stands behind the fragment's own end is padding: the host puts it together with others before it looks
    // inside.
    if let Some(found) = found
        && found.needed_len() as u64 <= u64::from(end(ctx, facts)).min(frame_len(ctx))
    {
        return found;
    }
    Inside {
        offset: 0,
        kind: Kind::Hidden,
    }
}

impl Inside {
    /// The length of the frame up to where nothing more is read: the source's end.
    #[inline(always)]
    const fn needed_len(self) -> usize {
        match self.kind {
            Kind::V4 => self.offset + V4_SOURCE + 4,
            Kind::V6 => self.offset + V6_SOURCE + 16,
            Kind::NotIp | Kind::Hidden => self.offset,
        }
    }
}

/// Whether what cannot be read of the packet inside may be in the fragments that follow: whoever sent it chose to cut it
/// there.
#[inline(always)]
fn is_first_fragment(ctx: &XdpContext, facts: &Facts) -> bool {
    if facts.version == 6 {
        is_first_of_extensions(ctx, facts)
    } else {
        facts.is_fragment && !facts.is_later_fragment
    }
}

/// What the headers in the frame lead to; `None` if they end before they tell.
#[inline(always)]
fn behind_headers(ctx: &XdpContext, facts: &Facts) -> Option<Inside> {
    if facts.is_later_fragment {
        return None;
    }
    let (protocol, offset) = if facts.version == 6 {
        behind_extensions(ctx, facts)?
    } else {
        (facts.protocol, payload_offset(facts))
    };
    match protocol {
        PROTO_IPV4 => Some(Inside {
            offset,
            kind: Kind::V4,
        }),
        PROTO_IPV6 => Some(Inside {
            offset,
            kind: Kind::V6,
        }),
        PROTO_GRE => behind_gre(ctx, offset, facts.version == 6),
        PROTO_UDP => match udp_tunnel_port(ctx, offset)? {
            PORT_VXLAN => behind_type(ctx, offset + UDP_LEN + VXLAN_LEN, ETHERTYPE_ETHERNET),
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

/// RFC 2784 and RFC 2890, as Linux reads them.
#[inline(always)]
fn behind_gre(ctx: &XdpContext, offset: usize, is_outer_v6: bool) -> Option<Inside> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const VERSION: u8 = 0x07;
    let [flags, version, type_high, type_low] = read_at(ctx, offset)?;
    let mut offset = offset + GRE_LEN;
    // Routing is of RFC 1701 and has no fixed length. Version 1 is PPTP.
    if flags & ROUTING != 0 || version & VERSION != 0 {
        return Some(Inside {
            offset,
            kind: Kind::NotIp,
        });
    }
    let ethertype = u16::from_be_bytes([type_high, type_low]);
    if ethertype == ETHERTYPE_WCCP && flags | version == 0 {
        let [first] = read_at(ctx, offset)?;
        if first >> 4 != 4 {
            offset += WCCP_REDIRECT_LEN;
        }
        return Some(Inside {
            offset,
            kind: Kind::ip(is_outer_v6),
        });
    }
    for field in [CHECKSUM, KEY, SEQUENCE] {
        if flags & field != 0 {
            offset += 4;
        }
    }
    behind_type(ctx, offset, ethertype)
}

/// RFC 8926 section 3.4.
#[inline(always)]
fn behind_geneve(ctx: &XdpContext, offset: usize) -> Option<Inside> {
    const OPTIONS_LEN: u8 = 0x3f;
    let [version_len, _, type_high, type_low] = read_at(ctx, offset)?;
    if version_len & !OPTIONS_LEN != 0 {
        return Some(Inside {
            offset: offset + 4,
            kind: Kind::NotIp,
        });
    }
    let options_len = usize::from(version_len & OPTIONS_LEN) * 4;
    behind_type(
        ctx,
        offset + GENEVE_LEN + options_len,
        u16::from_be_bytes([type_high, type_low]),
    )
}

/// What stands behind a header that names its type.
#[inline(always)]
fn behind_type(ctx: &XdpContext, offset: usize, ethertype: u16) -> Option<Inside> {
    let (offset, ethertype) = if ethertype == ETHERTYPE_ETHERNET {
        inner_ethernet(ctx, offset)?
    } else {
        (offset, ethertype)
    };
    // Linux takes tags off also where no Ethernet header stands before them.
    let (offset, ethertype) = behind_inner_tags(ctx, offset, ethertype)?;
    let kind = match is_ipv6_ethertype(ethertype) {
        Some(is_v6) => Kind::ip(is_v6),
        None if is_vlan_tag(ethertype) => Kind::Hidden,
        None => Kind::NotIp,
    };
    Some(Inside { offset, kind })
}

/// The source in an IP header at `offset`; `None` if the frame ends before, or if it is none of this version.
#[inline(always)]
pub fn source_of(ctx: &XdpContext, offset: usize, is_v6: bool) -> Option<Address> {
    let [version_len] = read_at(ctx, offset)?;
    match (version_len >> 4, is_v6) {
        (4, false) => read_at(ctx, offset + V4_SOURCE).map(Address::from_v4),
        (6, true) => read_at(ctx, offset + V6_SOURCE).map(Address::from_v6),
        _ => None,
    }
}
