//! Answers to connections that this host opened.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Decision, FlowKey, IDLE_OTHER_NS, IDLE_TCP_NS, mapped};
use probe_ebpf::{
    clock,
    packet::load,
    parse::{Address, Facts, destination},
};

use crate::{actions_maps::FLOWS, generation_maps::REPLIES, transport::Transport, word};

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;
/// A flow seen within this time is not written again: most packets only read.
const REFRESH_NS: u64 = 1_000_000_000;

/// A key that is cleared and compared by words.
#[repr(align(8))]
struct Aligned(FlowKey);

/// Whether the packet answers a connection of this host, and the policy lets such answers pass.
#[inline(always)]
pub fn is_reply(ctx: &XdpContext, facts: &Facts, decision: Decision) -> bool {
    if REPLIES.load() == 0 || decision.is_both() {
        return false;
    }
    let transport = Transport::of(ctx, facts);
    // What opens a connection answers none.
    !transport.opens() && cordon_reply(ctx.ctx, word::pack(facts), transport.word()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_reply(ctx: *mut xdp_md, packet: u64, transport: u64) -> u32 {
    let transport = Transport::from_word(transport);
    let res = try_reply(&XdpContext::new(ctx), &word::unpack(packet), transport);
    u32::from(res.is_some())
}

#[inline(always)]
fn try_reply(ctx: &XdpContext, facts: &Facts, transport: Transport) -> Option<()> {
    if transport.is_later_fragment() {
        return None;
    }
    let protocol = transport.protocol()?;
    let ((remote_port, local_port), idle_ns) = match protocol {
        PROTO_TCP => (transport.ports()?, IDLE_TCP_NS),
        PROTO_UDP => (transport.ports()?, IDLE_OTHER_NS),
        PROTO_ICMP | PROTO_ICMPV6 => {
            let id = echo_reply_id(ctx, protocol, transport.offset())?;
            ((0, id), IDLE_OTHER_NS)
        }
        _ => return None,
    };
    let mut key = Aligned(FlowKey::default());
    key.0.remote = wire_source(ctx, facts)?;
    key.0.local = match destination(ctx, facts)? {
        Address::V4(local) => mapped(local),
        Address::V6(local) => local,
    };
    key.0.remote_port = remote_port.to_be_bytes();
    key.0.local_port = local_port.to_be_bytes();
    key.0.protocol = protocol;
    is_open(&key.0, idle_ns).then_some(())
}

/// The identifier of an echo reply; `None` for any other ICMP message.
#[inline(always)]
fn echo_reply_id(ctx: &XdpContext, protocol: u8, offset: usize) -> Option<u16> {
    let header: [u8; 6] = load(ctx, offset)?;
    let reply = if protocol == PROTO_ICMP {
        ECHO_REPLY
    } else {
        ECHO_REPLY_V6
    };
    (header[0] == reply).then(|| u16::from_be_bytes([header[4], header[5]]))
}

/// The source as this host's connections know it: on the wire, not the IPv4 address inside.
#[inline(always)]
fn wire_source(ctx: &XdpContext, facts: &Facts) -> Option<[u8; 16]> {
    let offset = usize::from(facts.ip_offset);
    if facts.version == 6 {
        load(ctx, offset + 8)
    } else {
        load(ctx, offset + 12).map(mapped)
    }
}

#[inline(always)]
fn is_open(key: &FlowKey, idle_ns: u64) -> bool {
    let Some(flow) = FLOWS.get_ptr_mut(key) else {
        return false;
    };
    let now_ns = clock::boot_ns();
    // SAFETY: the value is one aligned word that stays mapped while the program runs. Another CPU may store it at
    // the same time, or the kernel give the slot to another flow: whatever is stored is a time that was now.
    unsafe {
        let seen_ns = &raw mut (*flow).seen_ns;
        let idle_for_ns = now_ns.saturating_sub(seen_ns.read_volatile());
        if idle_for_ns > idle_ns {
            return false;
        }
        if idle_for_ns > REFRESH_NS {
            seen_ns.write_volatile(now_ns);
        }
    }
    true
}
