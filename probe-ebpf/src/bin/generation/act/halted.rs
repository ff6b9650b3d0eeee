//! What passes in a halt although nothing else does: answers from the servers that lead out of it.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Decision, EndpointKey};
use probe_ebpf::{
    packet::{read, read_at},
    parse::{Address, Facts},
};

use super::reply::{self, PROTO_TCP, PROTO_UDP, TCP_FLAGS, opens};
use crate::{actions_maps::ENDPOINTS, generation_maps::REPLIES, word};

/// A key that is cleared and compared by words.
#[repr(align(8))]
struct Aligned(EndpointKey);

/// Whether the packet answers this host from one of its endpoints. Where connections of this host's own are known, it
/// must belong to one; elsewhere it must at least open none.
#[inline(always)]
pub fn is_reply(ctx: &XdpContext, facts: &Facts) -> bool {
    cordon_endpoint(ctx.ctx, word::pack(facts)) != 0
        && (REPLIES.load() == 0 || reply::is_reply(ctx, facts, Decision::DROP))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_endpoint(ctx: *mut xdp_md, packet: u64) -> u32 {
    let found = try_endpoint(&XdpContext::new(ctx), &word::unpack(packet));
    u32::from(found.is_some())
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
