//! The answer to anything but TCP: "communication administratively prohibited".

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::checksum::words;
use probe_ebpf::packet::{adjust_head, frame_len, load, store};

use super::{
    Question,
    sum::{SUM_MAX, sum, write_checksum, write_zeros},
};
use crate::{act::cap::take_reject, transport::Transport, word};

const PROTO_ICMP: u8 = 1;
const PROTO_ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// Destination unreachable, communication administratively prohibited.
const PROHIBITED: [u8; 2] = [3, 13];
/// The same for IPv6.
const PROHIBITED_V6: [u8; 2] = [1, 1];
const ICMP_LEN: usize = 8;
const CHECKSUM: usize = 2;
const UNUSED: usize = 4;
/// How much of the packet is quoted: the longest IPv4 header and 36 bytes more; with IPv6, extension headers of 48 bytes
/// and the eight that tell the ports.
const QUOTE_MAX: usize = SUM_MAX;

/// Makes the frame an ICMP error that quotes the packet: room is made before it, and its end is cut off. Whether it
/// did.
#[inline(always)]
pub fn prohibit(ctx: &XdpContext, packet: u64, transport: Transport) -> bool {
    cordon_prohibit(ctx.ctx, packet, transport.word()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_prohibit(ctx: *mut xdp_md, packet: u64, transport: u64) -> u32 {
    let res = try_prohibit(&XdpContext::new(ctx), packet, Transport::from_word(transport));
    u32::from(res.is_some())
}

#[inline(always)]
fn try_prohibit(ctx: &XdpContext, packet: u64, transport: Transport) -> Option<()> {
    let Question { link, ip } = Question::read(ctx, &word::unpack(packet), transport)?;
    if !may_be_answered(ctx, transport)? || !take_reject() {
        return None;
    }
    let in_frame = (frame_len(ctx) as usize).saturating_sub(ip.offset);
    let quote_len = ip.len.min(in_frame).min(QUOTE_MAX) & !3;
    let icmp_len = ICMP_LEN + quote_len;
    let (protocol, what, pseudo_sum) = if ip.is_v6 {
        (PROTO_ICMPV6, PROHIBITED_V6, ip.pseudo_sum(icmp_len, PROTO_ICMPV6))
    } else {
        (PROTO_ICMP, PROHIBITED, 0)
    };
    let sum = pseudo_sum + words(&what) + sum(ctx, ip.offset, quote_len)?;

    let room = ip.header_len() + ICMP_LEN;
    ip.cut(ctx, quote_len)?;
    adjust_head(ctx, -(room as i32)).then_some(())?;
    link.copy(ctx, room)?;
    link.turn(ctx, ip.header_len() + icmp_len)?;
    ip.write_header(ctx, room + ip.offset, protocol, icmp_len)?;
    let offset = ip.offset + ip.header_len();
    (store(ctx, offset, &what) && write_zeros::<4>(ctx, offset + UNUSED)).then_some(())?;
    write_checksum(ctx, offset + CHECKSUM, sum)
}

/// Of ICMP messages only an echo request is answered: never an error with an error.
#[inline(always)]
fn may_be_answered(ctx: &XdpContext, transport: Transport) -> Option<bool> {
    let question = match transport.protocol()? {
        PROTO_ICMP => ECHO_REQUEST,
        PROTO_ICMPV6 => ECHO_REQUEST_V6,
        _ => return Some(true),
    };
    load(ctx, transport.offset()).map(|[icmp_type]| icmp_type == question)
}
