//! What sees packets leave: the program that notes the connections which this host opens, and those that count what
//! redirects lost.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "the macros make an undocumented function beside each documented one"
)]

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{classifier, raw_tracepoint},
    programs::{RawTracePointContext, TcContext},
};
use probe_ebpf::slot;

mod flows;
#[path = "../../maps/egress.rs"]
mod maps;
mod socket;

use maps::{EGRESS_SLOTS, REDIRECT_ID, STATE, count_lost};

/// Notes the connection that a leaving packet opens, then hands the packet to the generation in force if that has
/// something to say about leaving packets. It decides nothing itself: `TC_ACT_UNSPEC` lets the filters behind it
/// have the packet.
#[classifier]
pub fn cordon_egress(ctx: TcContext) -> i32 {
    flows::note(&ctx);

    let Some(state) = STATE.get_ptr(0) else {
        return TC_ACT_UNSPEC;
    };
    // SAFETY: this is that element.
    let slot = unsafe { slot::in_force(state) };
    // A constant index in each branch lets the kernel patch direct jumps (`bpf_tail_call_direct_fixup`).
    // SAFETY: nothing that needs dropping is alive.
    unsafe {
        match slot {
            0 => EGRESS_SLOTS.tail_call(&ctx, 0),
            1 => EGRESS_SLOTS.tail_call(&ctx, 1),
            2 => EGRESS_SLOTS.tail_call(&ctx, 2),
            3 => EGRESS_SLOTS.tail_call(&ctx, 3),
            _ => {}
        }
    }
    TC_ACT_UNSPEC
}

/// Counts the frames that a device did not take from a device map. The tracepoint's arguments
/// (`include/trace/events/xdp.h`): from, to, sent, drops, error. It fires for every device map of the host.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn cordon_redirect_errors(ctx: RawTracePointContext) -> i32 {
    const DROPS: usize = 3;
    count_lost(ctx.arg(DROPS));
    0
}

/// Counts the redirects that the kernel refused, because the device is down, takes no frames from XDP, or takes none
/// of this length. The tracepoint's arguments (Linux 5.13): device, program, target, error, map type, map id, index.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn cordon_redirect_refused(ctx: RawTracePointContext) -> i32 {
    const MAP_ID: usize = 5;
    let map_id: u32 = ctx.arg(MAP_ID);
    count_lost(u32::from(map_id == REDIRECT_ID.load()));
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
