//! The IPv4 header.

use aya_ebpf::programs::XdpContext;
use probe_common::Reason;

use super::{Address, Answer, Facts, FrameOptions, MALFORMED, TRUNCATED, drop, pass};
use crate::packet::{Buffer, pair, quad, read_at, view};

const HEADER_LEN: usize = 20;
const PROTO_UDP: u8 = 17;
const DHCP_SERVER_PORT: u16 = 67;

/// RFC 791. Only the fixed header is read: the source does not move, whatever options follow.
#[inline(always)]
pub(super) fn parse(
    ctx: &XdpContext,
    offset: usize,
    vlan: u16,
    options: &impl FrameOptions,
) -> Result<Facts, Answer> {
    let mut buffer = Buffer::new();
    let header: &[u8; HEADER_LEN] = view(ctx, offset, &mut buffer).ok_or(TRUNCATED)?;
    let header_len = u16::from(header[0] & 0x0f) * 4;
    let total_len = u16::from_be_bytes(pair::<2, HEADER_LEN>(header));
    if header[0] >> 4 != 4 || header_len < HEADER_LEN as u16 || total_len < header_len {
        return Err(MALFORMED);
    }
    // The last byte of the options: a header that ends in the frame's end is none.
    if header_len > HEADER_LEN as u16 && read_at::<1>(ctx, offset + usize::from(header_len) - 1).is_none() {
        return Err(TRUNCATED);
    }
    let source = quad::<12, HEADER_LEN>(header);
    if source[0] == 169 && source[1] == 254 {
        return Err(pass(Reason::LinkLocal));
    }
    if source == [0; 4] && is_dhcp_request(ctx, offset, header) {
        return Err(pass(Reason::Dhcp));
    }
    // Loopback addresses never appear outside a host (RFC 1122 section 3.2.1.3).
    if source[0] == 127 && options.martians() {
        return Err(drop(Reason::Martian));
    }
    let fragment = u16::from_be_bytes(pair::<6, HEADER_LEN>(header));
    Ok(Facts {
        source: Address::from_v4(source),
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
fn is_dhcp_request(ctx: &XdpContext, offset: usize, header: &[u8; HEADER_LEN]) -> bool {
    let is_later_fragment = header[6] & 0x1f != 0 || header[7] != 0;
    let is_plain = header[0] & 0x0f == 5;
    let to_broadcast = header[16] & header[17] & header[18] & header[19] == 0xff;
    if header[9] != PROTO_UDP || is_later_fragment || !is_plain || !to_broadcast {
        return false;
    }
    match read_at::<2>(ctx, offset + HEADER_LEN + 2) {
        Some(port) => u16::from_be_bytes(port) == DHCP_SERVER_PORT,
        None => false,
    }
}
