//! The single exit: one counter for each packet.

use aya_ebpf::{bindings::xdp_action, btf_maps::PerCpuArray, programs::XdpContext};
use probe_common::{Counter, Fate, Verdict, counter_index};

use crate::packet::frame_len;

/// Counts a packet and turns its verdict into an XDP action.
#[inline(always)]
pub fn record<const MAX: usize>(
    ctx: &XdpContext,
    counters: &PerCpuArray<Counter, MAX>,
    verdict: Verdict,
) -> u32 {
    if let Some(counter) = counters.get_ptr_mut(counter_index(verdict.reason, verdict.class)) {
        // SAFETY: the pointer is to this CPU's own copy of a map value. XDP runs in softirq context, where no
        // other XDP program interrupts it on this CPU, so there is no second writer and no need of atomics.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += frame_len(ctx);
        }
    }
    match verdict.fate() {
        Fate::Passed => xdp_action::XDP_PASS,
        Fate::Dropped => xdp_action::XDP_DROP,
        Fate::Answered => xdp_action::XDP_TX,
        Fate::Redirected => xdp_action::XDP_REDIRECT,
    }
}
