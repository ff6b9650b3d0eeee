//! Events: some verdicts, told to the daemon.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_get_prandom_u32, programs::XdpContext};
use probe_common::{
    Decision, Event, SampleVerdict, Verdict, cap, event_counter, leading_bits_v4, leading_bits_v6,
    scope::UNTAGGED,
};
use probe_ebpf::{
    clock,
    parse::{Address, Facts},
};

use super::cap::take;
use crate::{
    actions_maps::{EVENT_COUNTERS, EVENTS},
    generation_maps::{EVENT_BITS_V4, EVENT_BITS_V6, EVENT_COST_NS, EVENTS_DROPS, EVENTS_PASSES, META},
    transport::Transport,
    word,
};

/// How far events may run ahead of their rate: a tenth of a second's worth at once.
const AHEAD_NS: u64 = 100_000_000;
/// An event's word for "no protocol is known".
const UNKNOWN_PROTOCOL: u8 = 255;

const DESTINATION_PORT_SHIFT: u32 = 16;
const PROTOCOL_SHIFT: u32 = 32;
const VLAN_SHIFT: u32 = 40;
const V4: u64 = 1 << 61;
const V6: u64 = 1 << 62;
const DRAWN: u64 = 1 << 63;

/// An event to be, in one word; zero: none.
#[derive(Clone, Copy)]
pub struct Draft(u64);

impl Draft {
    /// Draws whether a packet is reported.
    #[inline(always)]
    pub fn is_drawn(is_plain_pass: bool) -> bool {
        let one_in = if is_plain_pass {
            EVENTS_PASSES.load()
        } else {
            EVENTS_DROPS.load()
        };
        one_in != 0 && (one_in == 1 || is_drawn(one_in))
    }

    /// Draws whether a packet is reported, and takes down what its event tells.
    #[inline(always)]
    pub fn of(ctx: &XdpContext, facts: &Facts, is_plain_pass: bool) -> Self {
        if EVENTS_PASSES.load() == 0 && EVENTS_DROPS.load() == 0 {
            return Self(0);
        }
        Self(cordon_draft(ctx.ctx, word::pack(facts), u32::from(is_plain_pass)))
    }

    /// Takes down what an event tells of a packet that was drawn, before an action changes it. `vlan`: the outermost
    /// one.
    #[inline(always)]
    pub fn new(transport: Transport, vlan: u16) -> Self {
        let (source_port, destination_port) = transport.ports().unwrap_or((0, 0));
        let protocol = transport.protocol().unwrap_or(UNKNOWN_PROTOCOL);
        let vlan = if u32::from(vlan) == UNTAGGED { 0 } else { vlan };
        Self(
            DRAWN
                | u64::from(source_port)
                | u64::from(destination_port) << DESTINATION_PORT_SHIFT
                | u64::from(protocol) << PROTOCOL_SHIFT
                | u64::from(vlan) << VLAN_SHIFT,
        )
    }

    /// Tells the verdict, if the packet was drawn. `source`: the one that was judged.
    #[inline(always)]
    pub fn tell(self, source: Option<Address>, ifindex: u32, verdict: Verdict, bytes: u64) {
        if self.0 == 0 {
            return;
        }
        let (family, [high, low]) = match source {
            Some(source) => (if source.is_v4() { V4 } else { V6 }, source.halves()),
            None => (0, [0; 2]),
        };
        let verdict = u64::from(SampleVerdict::pack(verdict, Decision::PASS).0);
        cordon_tell(high, low, self.0 | family, verdict | bytes << 32, ifindex);
    }
}

/// A function of its own for the verifier: it forgets here whether the packet was drawn, instead of going through all
/// actions once for each answer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_draft(ctx: *mut xdp_md, packet: u64, is_plain_pass: u32) -> u64 {
    if !Draft::is_drawn(is_plain_pass != 0) {
        return 0;
    }
    let facts = word::unpack(packet);
    Draft::new(Transport::of(&XdpContext::new(ctx), &facts), facts.vlan).0
}

/// Drawn with a chance of one in `one_in`.
#[inline(always)]
fn is_drawn(one_in: u32) -> bool {
    // SAFETY: the helper takes nothing and has no effect that matters.
    let random = unsafe { bpf_get_prandom_u32() };
    u64::from(random) * u64::from(one_in) < 1 << 32
}

/// Writes an event. `verdict`: a [`SampleVerdict`], and the packet's length above it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_tell(high: u64, low: u64, heading: u64, verdict: u64, ifindex: u32) -> u32 {
    let boot_ns = clock::boot_ns();
    if !take(cap::EVENTS, EVENT_COST_NS.load(), AHEAD_NS, boot_ns) {
        add_one(event_counter::CAPPED);
        return 0;
    }
    let (source, source_len, family) = source(high, low, heading);
    let event = Event {
        boot_ns,
        generation: META.get(0).map_or(0, |meta| meta.number),
        ifindex,
        bytes: (verdict >> 32) as u32,
        source,
        source_port: heading as u16,
        destination_port: (heading >> DESTINATION_PORT_SHIFT) as u16,
        class: (verdict >> 16) as u16,
        vlan: (heading >> VLAN_SHIFT) as u16 & 0xfff,
        action: verdict as u8 & 7,
        reason: (verdict >> 3) as u8 & 0x3f,
        family,
        source_len,
        protocol: (heading >> PROTOCOL_SHIFT) as u8,
        reserved: [0; 15],
    };
    match EVENTS.output_untyped::<Event>(&event, 0) {
        Ok(()) => add_one(event_counter::WRITTEN),
        Err(_) => add_one(event_counter::LOST),
    }
    0
}

/// What is told of the source: its bytes, how many bits of them, and its family.
#[inline(always)]
fn source(high: u64, low: u64, heading: u64) -> ([u8; 16], u8, u8) {
    let mut source = [0; 16];
    if heading & V4 != 0 {
        let n_bits = EVENT_BITS_V4.load();
        let [_, _, _, _, a, b, c, d] = low.to_ne_bytes();
        source[..4].copy_from_slice(&leading_bits_v4([a, b, c, d], n_bits));
        (source, n_bits as u8, 4)
    } else if heading & V6 != 0 {
        let n_bits = EVENT_BITS_V6.load();
        let [high, low] = leading_bits_v6(u64::from_be(high), u64::from_be(low), n_bits);
        source[..8].copy_from_slice(&high.to_be_bytes());
        source[8..].copy_from_slice(&low.to_be_bytes());
        (source, n_bits as u8, 6)
    } else {
        (source, 0, 0)
    }
}

#[inline(always)]
fn add_one(counter: u32) {
    if let Some(count) = EVENT_COUNTERS.get_ptr_mut(counter) {
        // SAFETY: this CPU's own copy of a map value, and nothing interrupts the program here: one writer.
        unsafe { *count += 1 };
    }
}
