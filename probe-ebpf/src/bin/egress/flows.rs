//! Which leaving packets open a connection of this host's own, and under which key the answer will be looked up.
//!
//! A leaving packet begins with an Ethernet header: XDP runs on no other interfaces.

use aya_ebpf::programs::TcContext;
use probe_common::{FlowKey, limits::VLAN_MAX_DEPTH, mapped};
use probe_ebpf::{
    clock,
    skb::{load, read},
};

use crate::{maps, socket};

// IEEE 802 and IP protocol numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_PPPOE: u16 = 0x8864;
/// PPP protocol numbers, as registered by IANA.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PROTO_HOP_BY_HOP: u8 = 0;
const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ROUTING: u8 = 43;
const PROTO_FRAGMENT: u8 = 44;
const PROTO_ICMPV6: u8 = 58;
const PROTO_DESTINATION_OPTIONS: u8 = 60;

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

const ETH_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;
/// Version, type, code, session, length (RFC 2516 section 4).
const PPPOE_LEN: usize = 6;
const PPP_PROTOCOL_LEN: usize = 2;
const FRAGMENT_LEN: usize = 8;
/// Extension headers that are walked on the way to a connection's first packet. Linux sends at most these four kinds,
/// each once.
const EXTENSION_HEADERS: usize = 4;

/// A key that the compiler clears by words: for fewer bytes it would call `memset`, which the verifier refuses.
#[repr(align(8))]
struct Aligned(FlowKey);

/// What a leaving packet says about itself.
struct Leaving {
    remote: [u8; 16],
    local: [u8; 16],
    protocol: u8,
    /// Where the header of `protocol` begins.
    offset: usize,
}

/// Notes the connection that the packet opens, if it opens one.
#[inline(always)]
pub fn note(ctx: &TcContext) {
    let Some(leaving) = leaving(ctx) else {
        return;
    };
    let Some((remote_port, local_port)) = opened(ctx, &leaving) else {
        return;
    };
    let mut key = Aligned(FlowKey::default());
    key.0.remote = leaving.remote;
    key.0.local = leaving.local;
    key.0.remote_port = remote_port;
    key.0.local_port = local_port;
    key.0.protocol = leaving.protocol;
    maps::note(&key.0, clock::boot_ns());
}

/// The ports of the connection that the packet opens, remote and local; the identifier for an echo request.
#[inline(always)]
fn opened(ctx: &TcContext, leaving: &Leaving) -> Option<([u8; 2], [u8; 2])> {
    match leaving.protocol {
        PROTO_TCP => {
            let header: [u8; 14] = load(ctx, leaving.offset)?;
            let is_first = header[13] & (TCP_SYN | TCP_ACK) == TCP_SYN;
            is_first.then_some(([header[2], header[3]], [header[0], header[1]]))
        }
        PROTO_UDP => {
            let header: [u8; 4] = load(ctx, leaving.offset)?;
            if !socket::is_client(ctx, u16::from_be_bytes([header[0], header[1]])) {
                return None;
            }
            Some(([header[2], header[3]], [header[0], header[1]]))
        }
        PROTO_ICMP | PROTO_ICMPV6 => {
            let header: [u8; 6] = load(ctx, leaving.offset)?;
            let request = if leaving.protocol == PROTO_ICMP {
                ECHO_REQUEST
            } else {
                ECHO_REQUEST_V6
            };
            (header[0] == request).then_some(([0; 2], [header[4], header[5]]))
        }
        _ => None,
    }
}

/// Reads what stands before IP: Ethernet, VLAN tags that are in the frame and not beside it, which few are, PPPoE.
#[inline(always)]
fn leaving(ctx: &TcContext) -> Option<Leaving> {
    let mut ethertype = u16::from_be(ctx.skb.protocol() as u16);
    if ethertype == ETHERTYPE_IPV4 {
        return leaving_ipv4(read(ctx, ETH_LEN)?, ETH_LEN);
    }
    let mut offset = ETH_LEN;
    for _ in 0..VLAN_MAX_DEPTH {
        if !matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ) {
            break;
        }
        ethertype = u16::from_be_bytes(load(ctx, offset + 2)?);
        offset += VLAN_TAG_LEN;
    }
    if ethertype == ETHERTYPE_PPPOE {
        // Linux sends the protocol in its form of two bytes.
        ethertype = match u16::from_be_bytes(load(ctx, offset + PPPOE_LEN)?) {
            PPP_IPV4 => ETHERTYPE_IPV4,
            PPP_IPV6 => ETHERTYPE_IPV6,
            _ => return None,
        };
        offset += PPPOE_LEN + PPP_PROTOCOL_LEN;
    }
    match ethertype {
        ETHERTYPE_IPV4 => leaving_ipv4(load(ctx, offset)?, offset),
        ETHERTYPE_IPV6 => leaving_ipv6(ctx, offset),
        _ => None,
    }
}

#[inline(always)]
fn leaving_ipv4(header: [u8; 20], offset: usize) -> Option<Leaving> {
    let is_later_fragment = header[6] & 0x1f != 0 || header[7] != 0;
    if header[0] >> 4 != 4 || is_later_fragment {
        return None;
    }
    Some(Leaving {
        remote: mapped([header[16], header[17], header[18], header[19]]),
        local: mapped([header[12], header[13], header[14], header[15]]),
        protocol: header[9],
        offset: offset + usize::from(header[0] & 0x0f) * 4,
    })
}

#[inline(always)]
fn leaving_ipv6(ctx: &TcContext, offset: usize) -> Option<Leaving> {
    let first: [u8; 8] = load(ctx, offset)?;
    if first[0] >> 4 != 6 {
        return None;
    }
    let mut leaving = Leaving {
        local: load(ctx, offset + 8)?,
        remote: load(ctx, offset + 24)?,
        protocol: first[6],
        offset: offset + 40,
    };
    for _ in 0..EXTENSION_HEADERS {
        let len = match leaving.protocol {
            PROTO_HOP_BY_HOP | PROTO_ROUTING | PROTO_DESTINATION_OPTIONS => None,
            PROTO_FRAGMENT => Some(FRAGMENT_LEN),
            _ => break,
        };
        let header: [u8; 4] = load(ctx, leaving.offset)?;
        let is_later_fragment = len.is_some() && (header[2] != 0 || header[3] & 0xf8 != 0);
        if is_later_fragment {
            return None;
        }
        leaving.protocol = header[0];
        leaving.offset += len.unwrap_or((usize::from(header[1]) + 1) * 8);
    }
    Some(leaving)
}
