//! What the parser reads behind the IP header, as return values that a test run shows.

use aya_ebpf::{macros::xdp, programs::XdpContext};
use probe_ebpf::{
    l4::{is_icmp_error, l4, opens_connection},
    parse::{WithoutGeneration, parse},
    tunnel::{inner_source, is_tunnel},
};

/// Returned for a frame that no policy is asked about.
const NO_FACTS: u32 = u32::MAX;
/// Stands for an unknown protocol.
const UNKNOWN: u8 = 255;

/// Bits 0-7 the protocol (255: unknown), 8 a fragment, 9 a later one, 10 ports are known, 11 opens a connection,
/// 12 an ICMP error, 13 a tunnel, 16-31 the destination port.
#[xdp(frags)]
pub fn headers(ctx: XdpContext) -> u32 {
    let Ok(facts) = parse(&ctx, &WithoutGeneration) else {
        return NO_FACTS;
    };
    let l4 = l4(&ctx, &facts);
    u32::from(l4.protocol().unwrap_or(UNKNOWN))
        | u32::from(l4.is_fragment) << 8
        | u32::from(l4.is_later_fragment) << 9
        | u32::from(l4.source_port().is_some()) << 10
        | u32::from(opens_connection(&ctx, &l4)) << 11
        | u32::from(is_icmp_error(&ctx, &facts)) << 12
        | u32::from(is_tunnel(&ctx, &facts)) << 13
        | u32::from(l4.destination_port().unwrap_or(0)) << 16
}

/// The last four bytes of the source inside a tunnel; 0: there is none that can be read.
#[xdp(frags)]
pub fn inner(ctx: XdpContext) -> u32 {
    let Ok(facts) = parse(&ctx, &WithoutGeneration) else {
        return NO_FACTS;
    };
    match inner_source(&ctx, &facts) {
        Some(source) => {
            let [_, _, _, _, a, b, c, d] = source.halves()[1].to_ne_bytes();
            u32::from_be_bytes([a, b, c, d])
        }
        None => 0,
    }
}
