//! Frame to facts. What the parser must answer is specified by the packet corpus (reliability goals, section 3).

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict, limits::VLAN_MAX_DEPTH, scope::UNTAGGED};

use crate::packet::read;

/// An address, network order.
#[derive(Clone, Copy)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

/// What a frame says about its packet, as far as the fixed IP header tells. What stands behind that header is read
/// only when it is asked for.
#[derive(Clone, Copy)]
pub struct Facts {
    /// The source that is judged: for an IPv6 source that holds an IPv4 address, that address.
    pub source: Address,
    /// Offset of the IP header in the frame.
    pub ip_offset: u16,
    /// Length of the fixed header with IPv4 options: where the next header begins.
    pub ip_len: u8,
    /// Version of the IP header on the wire: 4 or 6.
    pub version: u8,
    /// IPv4 protocol, or the next header that IPv6's fixed header names.
    pub protocol: u8,
    /// IPv4: any fragment but the first.
    pub is_later_fragment: bool,
    /// IPv4: a fragment, the first included.
    pub is_fragment: bool,
    /// Outermost VLAN; [`probe_common::scope::UNTAGGED`] if there is none.
    pub vlan: u16,
}

const ETH_ADDRS_LEN: usize = 12;
const ETHERTYPE_LEN: usize = 2;
const VLAN_TCI_LEN: usize = 2;
/// The identifier in a tag's control information (IEEE 802.1Q).
const VLAN_ID_MASK: u16 = 0x0fff;

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
    let mut vlan = UNTAGGED as u16;
    // One round more than there may be tags: the last round reads the ethertype behind the last tag.
    for _ in 0..=VLAN_MAX_DEPTH {
        let ethertype = u16::from_be_bytes(read(ctx, offset).ok_or(TRUNCATED)?);
        offset += ETHERTYPE_LEN;
        match ethertype {
            ETHERTYPE_IPV4 => return parse_ipv4(ctx, offset, vlan),
            ETHERTYPE_IPV6 => return parse_ipv6(ctx, offset, vlan),
            ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD => {
                if u32::from(vlan) == UNTAGGED {
                    vlan = u16::from_be_bytes(read(ctx, offset).ok_or(TRUNCATED)?) & VLAN_ID_MASK;
                }
                offset += VLAN_TCI_LEN;
            }
            ETHERTYPE_ARP | ETHERTYPE_RARP => return Err(pass(Reason::Arp)),
            _ => return Err(pass(Reason::NotIp)),
        }
    }
    Err(drop(Reason::DeepVlan))
}

/// RFC 791. Only the fixed header is read: the source does not move, whatever options follow.
#[inline(always)]
fn parse_ipv4(ctx: &XdpContext, offset: usize, vlan: u16) -> Result<Facts, Verdict> {
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
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Ok(Facts {
        source: Address::V4(source),
        ip_offset: offset as u16,
        ip_len: header_len as u8,
        version: 4,
        protocol: header[9],
        is_later_fragment: fragment & 0x1fff != 0,
        is_fragment: fragment & 0x3fff != 0,
        vlan,
    })
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
fn parse_ipv6(ctx: &XdpContext, offset: usize, vlan: u16) -> Result<Facts, Verdict> {
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
    Ok(Facts {
        source: Address::V6(source),
        ip_offset: offset as u16,
        ip_len: 40,
        version: 6,
        protocol: header[6],
        is_later_fragment: false,
        is_fragment: false,
        vlan,
    })
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
