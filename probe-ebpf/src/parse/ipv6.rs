//! The IPv6 header.

use aya_ebpf::programs::XdpContext;
use probe_common::Reason;

use super::{Address, Answer, Facts, FrameOptions, MALFORMED, TRUNCATED, drop, embedded::embedded_v4, pass};
use crate::packet::{Buffer, read_at, view};

const HEADER_LEN: usize = 40;
const SOURCE_OFFSET: usize = 8;
const PROTO_ICMPV6: u8 = 58;
/// Only a neighbour can deliver a packet with this hop limit (RFC 4861 section 11.2).
const HOP_LIMIT_ON_LINK: u8 = 255;

/// ::ffff:0:0/96: the second half of the address.
const MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
const MAPPED_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
/// fe80::/10: the first half.
const LINK_LOCAL: u64 = u64::from_ne_bytes([0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
const LINK_LOCAL_MASK: u64 = u64::from_ne_bytes([0xff, 0xc0, 0, 0, 0, 0, 0, 0]);
/// ::1: the second half.
const LOOPBACK_LOW: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);

/// RFC 8200. The source stands in the fixed header, so extension headers are not walked here.
#[inline(always)]
pub(super) fn parse(
    ctx: &XdpContext,
    offset: usize,
    vlan: u16,
    options: &impl FrameOptions,
) -> Result<Facts, Answer> {
    let mut buffer = Buffer::new();
    let header: &[u8; HEADER_LEN] = view(ctx, offset, &mut buffer).ok_or(TRUNCATED)?;
    if header[0] >> 4 != 6 {
        return Err(MALFORMED);
    }
    let source: [u8; 16] = *header[SOURCE_OFFSET..].first_chunk().ok_or(TRUNCATED)?;
    let source = Address::from_v6(source);
    let [high, low] = source.halves();
    // IPv4-mapped addresses belong into sockets, never onto a wire (RFC 6890 section 2.2.3).
    if high == 0 && low & MAPPED_MASK == MAPPED {
        return Err(MALFORMED);
    }
    if high & LINK_LOCAL_MASK == LINK_LOCAL {
        return Err(pass(Reason::LinkLocal));
    }
    // Neighbour discovery comes from global addresses too. An extension header before it is not allowed
    // (RFC 6980), so a fake one behind a fragment header does not pass here.
    if header[6] == PROTO_ICMPV6
        && header[7] == HOP_LIMIT_ON_LINK
        && let Some([133..=137]) = read_at::<1>(ctx, offset + HEADER_LEN)
    {
        return Err(pass(Reason::NeighbourDiscovery));
    }
    if high == 0 {
        // The unspecified address never leaves its link (RFC 4291 section 2.5.2): duplicate address detection and
        // the multicast reports around it.
        if low == 0 && header[24] == 0xff && header[25] == 0x02 {
            return Err(pass(Reason::LinkLocal));
        }
        // Nor does the loopback address leave its host (section 2.5.3).
        if low == LOOPBACK_LOW && options.martians() {
            return Err(drop(Reason::Martian));
        }
    }
    let source = match embedded_v4(source, options) {
        Some(embedded) if embedded.is_martian() && options.martians() => return Err(drop(Reason::Martian)),
        Some(embedded) => Address::from_v4(embedded.address),
        None => source,
    };
    Ok(Facts {
        source,
        ip_offset: offset as u16,
        ip_len: HEADER_LEN as u8,
        version: 6,
        protocol: header[6],
        is_later_fragment: false,
        is_fragment: false,
        vlan,
    })
}

/// The source as it stands on the wire; read again only if the one that is judged was inside of it.
#[inline(always)]
pub fn wire_source(ctx: &XdpContext, facts: &Facts) -> Option<Address> {
    if facts.is_embedded() {
        read_at(ctx, usize::from(facts.ip_offset) + SOURCE_OFFSET).map(Address::from_v6)
    } else {
        Some(facts.source)
    }
}
