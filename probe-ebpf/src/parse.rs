//! Frame to facts. What the parser must answer is specified by the packet corpus (reliability goals, section 3).

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict, limits::VLAN_MAX_DEPTH};

use crate::packet::read;

/// Where a packet comes from.
#[derive(Clone, Copy)]
pub enum Facts {
    /// IPv4 source, network order.
    V4([u8; 4]),
    /// IPv6 source, network order.
    V6([u8; 16]),
}

const ETH_ADDRS_LEN: usize = 12;
const ETHERTYPE_LEN: usize = 2;
const VLAN_TCI_LEN: usize = 2;

// IEEE 802 numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Q-in-Q before 802.1ad; not registered, but on wires.
const ETHERTYPE_QINQ_OLD: u16 = 0x9100;

const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;
const DHCP_SERVER_PORT: u16 = 67;
/// Only a neighbour can deliver a packet with this hop limit (RFC 4861 section 11.2).
const HOP_LIMIT_ON_LINK: u8 = 255;

/// Reads a frame that starts at `base` (0 for a frame from the wire). `Err` is an answer that holds under any
/// policy.
#[inline(always)]
pub fn parse(ctx: &XdpContext, base: usize) -> Result<Facts, Verdict> {
    let mut offset = base + ETH_ADDRS_LEN;
    // One round more than there may be tags: the last round reads the ethertype behind the last tag.
    for _ in 0..=VLAN_MAX_DEPTH {
        let ethertype = u16::from_be_bytes(read(ctx, offset).ok_or(TRUNCATED)?);
        offset += ETHERTYPE_LEN;
        match ethertype {
            ETHERTYPE_IPV4 => return parse_ipv4(ctx, offset),
            ETHERTYPE_IPV6 => return parse_ipv6(ctx, offset),
            ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD => offset += VLAN_TCI_LEN,
            ETHERTYPE_ARP | ETHERTYPE_RARP => return Err(pass(Reason::Arp)),
            _ => return Err(pass(Reason::NotIp)),
        }
    }
    Err(drop(Reason::DeepVlan))
}

/// RFC 791. Only the fixed header is read: the source does not move, whatever options follow.
#[inline(always)]
fn parse_ipv4(ctx: &XdpContext, offset: usize) -> Result<Facts, Verdict> {
    let header: [u8; 20] = read(ctx, offset).ok_or(TRUNCATED)?;
    let header_len = u16::from(header[0] & 0x0f) * 4;
    let total_len = u16::from_be_bytes([header[2], header[3]]);
    if header[0] >> 4 != 4 || header_len < 20 || total_len < header_len {
        return Err(drop(Reason::Malformed));
    }
    let source = [header[12], header[13], header[14], header[15]];
    if source[0] == 169 && source[1] == 254 {
        return Err(pass(Reason::LinkLocal));
    }
    if source == [0; 4] && is_dhcp_request(ctx, offset, &header) {
        return Err(pass(Reason::Dhcp));
    }
    Ok(Facts::V4(source))
}

/// A client without an address asks for one (RFC 2131): 0.0.0.0 to the broadcast address, UDP, server's port.
#[inline(always)]
fn is_dhcp_request(ctx: &XdpContext, offset: usize, header: &[u8; 20]) -> bool {
    let is_later_fragment = header[6] & 0x1f != 0 || header[7] != 0;
    let is_plain = header[0] & 0x0f == 5;
    let to_broadcast = header[16] & header[17] & header[18] & header[19] == 0xff;
    if header[9] != PROTO_UDP || is_later_fragment || !is_plain || !to_broadcast {
        return false;
    }
    match read::<2>(ctx, offset + 20 + 2) {
        Some(port) => u16::from_be_bytes(port) == DHCP_SERVER_PORT,
        None => false,
    }
}

/// RFC 8200. The source stands in the fixed header, so extension headers are never walked.
#[inline(always)]
fn parse_ipv6(ctx: &XdpContext, offset: usize) -> Result<Facts, Verdict> {
    let header: [u8; 8] = read(ctx, offset).ok_or(TRUNCATED)?;
    let source: [u8; 16] = read(ctx, offset + 8).ok_or(TRUNCATED)?;
    // Read only to see that the fixed header is whole, and for the unspecified source below.
    let destination: [u8; 2] = read(ctx, offset + 24).ok_or(TRUNCATED)?;
    if read::<1>(ctx, offset + 39).is_none() {
        return Err(TRUNCATED);
    }
    if header[0] >> 4 != 6 {
        return Err(drop(Reason::Malformed));
    }
    // IPv4-mapped addresses belong into sockets, never onto a wire (RFC 6890 section 2.2.3).
    if source[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] {
        return Err(drop(Reason::Malformed));
    }
    if source[0] == 0xfe && source[1] & 0xc0 == 0x80 {
        return Err(pass(Reason::LinkLocal));
    }
    // Neighbour discovery comes from global addresses too. An extension header before it is not allowed
    // (RFC 6980), so a fake one behind a fragment header does not pass here.
    if header[6] == PROTO_ICMPV6
        && header[7] == HOP_LIMIT_ON_LINK
        && let Some([133..=137]) = read::<1>(ctx, offset + 40)
    {
        return Err(pass(Reason::NeighbourDiscovery));
    }
    // The unspecified address never leaves its link (RFC 4291 section 2.5.2): duplicate address detection and
    // the multicast reports around it.
    if source == [0; 16] && destination == [0xff, 0x02] {
        return Err(pass(Reason::LinkLocal));
    }
    Ok(Facts::V6(source))
}

const TRUNCATED: Verdict = drop(Reason::Truncated);

#[inline(always)]
const fn pass(reason: Reason) -> Verdict {
    Verdict::without_class(Action::Pass, reason)
}

#[inline(always)]
const fn drop(reason: Reason) -> Verdict {
    Verdict::without_class(Action::Drop, reason)
}
