//! The entry program: attached to every interface, it hands each packet to the generation that the state word
//! names.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "the `xdp` macro makes an undocumented function beside the documented one"
)]

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use probe_common::{
    Action, FOREVER, Reason, Verdict,
    scope::{ONLY_LISTED, vlan_key},
};
use probe_ebpf::{
    clock,
    parse::{Outermost, WithoutGeneration, outermost_vlan, parse},
    record::record,
    slot,
};

#[path = "../../maps/entry.rs"]
mod entry_maps;
#[path = "../../maps/shared.rs"]
mod shared_maps;

use entry_maps::{ENTRY_COUNTERS, NO_GENERATION_PASS, SLOTS, VLAN_FILTER, VLANS};
use shared_maps::{STATE, count_not_ip, is_failsafe_source};

/// Reads the state word once and tail-calls its slot. Returns only if that fails.
#[xdp(frags)]
pub fn cordon_entry(ctx: XdpContext) -> u32 {
    if VLAN_FILTER.load() != 0 && !is_vlan_judged(&ctx) {
        let verdict = Verdict::without_class(Action::Pass, Reason::VlanNotJudged);
        return record(&ctx, &ENTRY_COUNTERS, verdict);
    }
    let Some(state) = STATE.get_ptr(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this is that element.
    let slot = unsafe { slot::in_force(state) };
    // A constant index in each branch lets the kernel patch direct jumps (`bpf_tail_call_direct_fixup`).
    // SAFETY: nothing that needs dropping is alive.
    unsafe {
        match slot {
            0 => SLOTS.tail_call(&ctx, 0),
            1 => SLOTS.tail_call(&ctx, 1),
            2 => SLOTS.tail_call(&ctx, 2),
            3 => SLOTS.tail_call(&ctx, 3),
            _ => {}
        }
    }
    // SAFETY: the element lives as long as the program; the daemon stores these as whole words.
    let (halted_until_s, wall_offset_ns) = unsafe {
        (
            (&raw const (*state).halted_until_s).read_volatile(),
            (&raw const (*state).wall_offset_ns).read_volatile(),
        )
    };
    let halted_until_s = halted_until_s as u32;
    let is_halted =
        halted_until_s != 0 && (halted_until_s == FOREVER || clock::unix_s(wall_offset_ns) < halted_until_s);
    record(&ctx, &ENTRY_COUNTERS, without_generation(&ctx, is_halted))
}

/// Whether the frame's outermost VLAN is one that is judged on its interface.
#[inline(always)]
fn is_vlan_judged(ctx: &XdpContext) -> bool {
    let ifindex = ctx.ingress_ifindex() as u32;
    if VLANS.get_ptr(vlan_key(ifindex, ONLY_LISTED)).is_none() {
        return true;
    }
    match outermost_vlan(ctx) {
        Outermost::Vlan(vlan) => VLANS.get_ptr(vlan_key(ifindex, vlan)).is_some(),
        Outermost::Untagged => false,
        // The generation drops it.
        Outermost::TooDeep => true,
    }
}

/// The answer when no generation can be called: control traffic and failsafe prefixes pass, the host file
/// decides about the rest, unless the host is halted.
#[inline(always)]
fn without_generation(ctx: &XdpContext, is_halted: bool) -> Verdict {
    let facts = match parse(ctx, &WithoutGeneration) {
        Ok(facts) => facts,
        Err(answer) => {
            count_not_ip(ctx, &answer);
            return answer.verdict;
        }
    };
    if is_failsafe_source(ctx, &facts) {
        return Verdict::without_class(Action::Pass, Reason::NoGenerationFailsafe);
    }
    if is_halted {
        return Verdict::without_class(Action::Drop, Reason::Halted);
    }
    let action = if NO_GENERATION_PASS.load() != 0 {
        Action::Pass
    } else {
        Action::Drop
    };
    Verdict::without_class(action, Reason::NoGeneration)
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
