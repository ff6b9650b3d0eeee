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
    count(counters, verdict, frame_len(ctx));
    xdp_action_of(verdict)
}

/// Counts a packet of the length that it came with.
#[inline(always)]
pub fn count<const MAX: usize>(counters: &PerCpuArray<Counter, MAX>, verdict: Verdict, bytes: u64) {
    if let Some(counter) = counters.get_ptr_mut(counter_index(verdict.reason, verdict.class)) {
        // SAFETY: the pointer is to this CPU's own copy of a map value. XDP and tc programs run with softirqs off or
        // in one, and each reason is counted at one of the two hooks only, so there is no second writer on this CPU
        // and no need of atomics.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes;
        }
    }
}

/// What the kernel is told to do with the packet.
#[inline(always)]
pub const fn xdp_action_of(verdict: Verdict) -> u32 {
    match verdict.fate() {
        Fate::Passed => xdp_action::XDP_PASS,
        Fate::Dropped => xdp_action::XDP_DROP,
        Fate::Answered => xdp_action::XDP_TX,
        Fate::Redirected => xdp_action::XDP_REDIRECT,
    }
}
