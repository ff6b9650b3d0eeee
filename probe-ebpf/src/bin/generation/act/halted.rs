//! What passes in a halt although nothing else does: answers from the servers that lead out of it.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Action, EndpointKey, Reason, Verdict};
use probe_ebpf::{
    packet::{read, read_at},
    parse::{Address, Facts},
};

use super::{
    cap, let_through,
    reply::{self, PROTO_TCP, PROTO_UDP, TCP_FLAGS, opens},
};
use crate::{actions_maps::ENDPOINTS, generation_maps::REPLIES, word};

/// A key that is cleared and compared by words.
#[repr(align(8))]
struct Aligned(EndpointKey);

/// The verdict for a packet that is not failsafe.
#[inline(always)]
pub fn verdict(ctx: &XdpContext, facts: &Facts) -> Verdict {
    match cordon_halted(ctx.ctx, word::pack(facts)) {
        REPLY => Verdict::without_class(Action::Pass, Reason::HaltedReply),
        ICMP_ERROR => Verdict::without_class(Action::Pass, Reason::HaltedIcmpError),
        _ => Verdict::without_class(Action::Drop, Reason::Halted),
    }
}

const DROPS: u32 = 0;
const REPLY: u32 = 1;
const ICMP_ERROR: u32 = 2;

/// An answer from an endpoint passes. Where connections of this host's own are known, it must belong to one; elsewhere
/// it must at least open none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_halted(ctx: *mut xdp_md, packet: u64) -> u32 {
    let context = &XdpContext::new(ctx);
    let facts = &word::unpack(packet);
    if let_through::is_icmp_error(context, facts) && cap::take_icmp_error() {
        return ICMP_ERROR;
    }
    let is_endpoint = try_endpoint(context, facts).is_some();
    if is_endpoint && (REPLIES.load() == 0 || reply::is_known(ctx, packet)) {
        REPLY
    } else {
        DROPS
    }
}

#[inline(always)]
fn try_endpoint(ctx: &XdpContext, facts: &Facts) -> Option<()> {
    let (protocol, offset) = reply::transport(ctx, facts)?;
    match protocol {
        PROTO_TCP => {
            let [flags] = read_at(ctx, offset + TCP_FLAGS)?;
            if opens(flags) {
                return None;
            }
        }
        PROTO_UDP => {}
        _ => return None,
    }
    let ip_offset = word::ip_offset(facts);
    // The source on the wire: it is what was written down.
    let remote = if facts.version == 6 {
        Address::from_v6(read(ctx, ip_offset + 8)?)
    } else {
        Address::from_v4(read(ctx, ip_offset + 12)?)
    };
    let key = Aligned(EndpointKey {
        address: reply::mapped(remote),
        port: read_at(ctx, offset)?,
        protocol: u16::from(protocol),
    });
    ENDPOINTS.get_ptr(&key.0).map(|_| ())
}
