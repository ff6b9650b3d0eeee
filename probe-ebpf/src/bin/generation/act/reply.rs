//! Answers to connections that this host opened.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Decision, FlowKey, IDLE_OTHER_NS, IDLE_TCP_NS, l4::extension, mapped};
use probe_ebpf::{
    clock,
    packet::{read, read_at},
    parse::Facts,
};

use crate::{actions_maps::FLOWS, generation_maps::REPLIES, transport::Transport, word};

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;
const TCP_FLAGS: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// A flow seen within this time is not written again: most packets only read.
const REFRESH_NS: u64 = 1_000_000_000;

/// A key that is cleared and compared by words.
#[repr(align(8))]
struct Aligned(FlowKey);

/// Whether the policy lets answers pass.
#[inline(always)]
pub fn is_possible(decision: Decision) -> bool {
    REPLIES.load() != 0 && !decision.is_both()
}

/// Whether the packet answers a connection of this host, and the policy lets such answers pass.
#[inline(always)]
pub fn is_reply(ctx: &XdpContext, facts: &Facts, decision: Decision) -> bool {
    if !is_possible(decision) {
        return false;
    }
    // Extension headers are walked only if there are any.
    let transport = if facts.version == 6 && extension(facts.protocol).is_some() {
        Transport::of(ctx, facts)
    } else {
        Transport::behind_ip(facts)
    };
    cordon_reply(ctx.ctx, word::pack(facts), transport.word()) != 0
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
    let (protocol, offset) = (transport.protocol()?, transport.offset());
    let (ports, idle_ns) = match protocol {
        PROTO_TCP => {
            let [flags] = read_at(ctx, offset + TCP_FLAGS)?;
            // What opens a connection answers none.
            if flags & (TCP_SYN | TCP_ACK) == TCP_SYN {
                return None;
            }
            (read_at(ctx, offset)?, IDLE_TCP_NS)
        }
        PROTO_UDP => (read_at(ctx, offset)?, IDLE_OTHER_NS),
        PROTO_ICMP => (echo_ports(ctx, offset, ECHO_REPLY)?, IDLE_OTHER_NS),
        PROTO_ICMPV6 => (echo_ports(ctx, offset, ECHO_REPLY_V6)?, IDLE_OTHER_NS),
        _ => return None,
    };
    let [r0, r1, l0, l1] = ports;
    let mut key = Aligned(FlowKey::default());
    let ip_offset = word::ip_offset(facts);
    // The source on the wire, as this host's connections know it.
    if facts.version == 6 {
        key.0.remote = read(ctx, ip_offset + 8)?;
        key.0.local = read(ctx, ip_offset + 24)?;
    } else {
        key.0.remote = mapped(read(ctx, ip_offset + 12)?);
        key.0.local = mapped(read(ctx, ip_offset + 16)?);
    }
    key.0.remote_port = [r0, r1];
    key.0.local_port = [l0, l1];
    key.0.protocol = protocol;
    is_open(&key.0, idle_ns).then_some(())
}

/// What an echo reply has for ports: none, and its identifier. `None` for any other ICMP message.
#[inline(always)]
fn echo_ports(ctx: &XdpContext, offset: usize, reply: u8) -> Option<[u8; 4]> {
    let [icmp_type, _, _, _, i0, i1] = read_at(ctx, offset)?;
    (icmp_type == reply).then_some([0, 0, i0, i1])
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
