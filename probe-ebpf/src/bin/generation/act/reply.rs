//! Answers to connections that this host opened.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Decision, FlowKey, IDLE_OTHER_NS, IDLE_TCP_NS, l4::extension};
use probe_ebpf::{
    clock,
    packet::{read, read_at},
    parse::{Address, Facts},
};

use crate::{
    actions_maps::{FLOWS, may_have_flow},
    generation_maps::REPLIES,
    transport::Transport,
    word,
};

const PROTO_ICMP: u8 = 1;
pub(super) const PROTO_TCP: u8 = 6;
pub(super) const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;
/// In both TCP and UDP.
const LOCAL_PORT: usize = 2;
pub(super) const TCP_FLAGS: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// A flow seen within this time is not written again: most packets only read.
const REFRESH_NS: u64 = 1_000_000_000;

/// A key that is cleared and compared by words.
#[repr(align(8))]
struct Aligned(FlowKey);

/// Whether the packet answers a connection of this host, and the policy lets such answers pass.
#[inline(always)]
pub fn is_reply(ctx: &XdpContext, facts: &Facts, decision: Decision) -> bool {
    REPLIES.load() != 0
        && !decision.is_both()
        && may_be_reply(ctx, facts)
        && is_known(ctx.ctx, word::pack(facts))
}

/// Whether the packet belongs to a connection that this host opened.
#[inline(always)]
pub(super) fn is_known(ctx: *mut xdp_md, packet: u64) -> bool {
    cordon_reply(ctx, packet) != 0
}

/// Sorts out what most packets that would drop are: strangers', to the port of a service. Packets with extension headers
/// are left to the look-up.
#[inline(always)]
fn may_be_reply(ctx: &XdpContext, facts: &Facts) -> bool {
    if !matches!(facts.protocol, PROTO_TCP | PROTO_UDP) {
        return true;
    }
    let offset = usize::from(facts.ip_offset) + usize::from(facts.ip_len);
    match read_at(ctx, offset + LOCAL_PORT) {
        Some(port) => may_have_flow(u16::from_be_bytes(port)),
        None => false,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_reply(ctx: *mut xdp_md, packet: u64) -> u32 {
    let res = try_reply(&XdpContext::new(ctx), &word::unpack(packet));
    u32::from(res.is_some())
}

#[inline(always)]
fn try_reply(ctx: &XdpContext, facts: &Facts) -> Option<()> {
    let (protocol, offset) = transport(ctx, facts)?;
    let (ports, idle_ns) = match protocol {
        PROTO_TCP => {
            let [flags] = read_at(ctx, offset + TCP_FLAGS)?;
            if opens(flags) {
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
    let ip_offset = word::ip_offset(facts);
    // The source on the wire, as this host's connections know it.
    let (remote, local) = if facts.version == 6 {
        (
            Address::from_v6(read(ctx, ip_offset + 8)?),
            Address::from_v6(read(ctx, ip_offset + 24)?),
        )
    } else {
        (
            Address::from_v4(read(ctx, ip_offset + 12)?),
            Address::from_v4(read(ctx, ip_offset + 16)?),
        )
    };
    let key = Aligned(FlowKey {
        remote: mapped(remote),
        local: mapped(local),
        remote_port: [r0, r1],
        local_port: [l0, l1],
        protocol,
        reserved: [0; 3],
    });
    is_open(&key.0, idle_ns).then_some(())
}

/// Whether TCP flags open a connection: such a packet answers none.
#[inline(always)]
pub(super) const fn opens(flags: u8) -> bool {
    flags & (TCP_SYN | TCP_ACK) == TCP_SYN
}

/// Transport protocol, and where its header begins; `None` where none can be read. Extension headers are walked only
/// if there are any.
#[inline(always)]
pub(super) fn transport(ctx: &XdpContext, facts: &Facts) -> Option<(u8, usize)> {
    if facts.version == 6 && extension(facts.protocol).is_some() {
        let transport = Transport::of(ctx, facts);
        let is_there = !transport.is_later_fragment();
        return is_there.then_some((transport.protocol()?, transport.offset()));
    }
    let offset = word::ip_offset(facts) + usize::from(facts.ip_len);
    (!facts.is_later_fragment).then_some((facts.protocol, offset))
}

/// An address in the form of [`FlowKey`].
#[inline(always)]
pub(super) fn mapped(address: Address) -> [u8; 16] {
    let [high, low] = address.halves();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_ne_bytes());
    bytes[8..].copy_from_slice(&low.to_ne_bytes());
    bytes
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
