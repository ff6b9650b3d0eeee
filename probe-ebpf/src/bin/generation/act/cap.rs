//! Caps on what the program does for anybody, each CPU for itself.

use probe_common::{
    cap::{BURST, ICMP_ERROR, ICMP_ERRORS_PER_S, REJECT, REJECTS_PER_S},
    gcra,
};
use probe_ebpf::clock;

use crate::actions_maps::CAPS;

const NS_PER_S: u64 = 1_000_000_000;

/// Whether another ICMP error may pass.
#[inline(always)]
pub fn take_icmp_error() -> bool {
    take_per_s(ICMP_ERROR, ICMP_ERRORS_PER_S)
}

/// Whether another answer may be sent.
#[inline(always)]
pub fn take_reject() -> bool {
    take_per_s(REJECT, REJECTS_PER_S)
}

#[inline(always)]
fn take_per_s(cap: u32, per_s: u64) -> bool {
    let cost_ns = NS_PER_S / per_s;
    take(cap, cost_ns, (BURST - 1) * cost_ns, clock::boot_ns())
}

/// Whether there is room under a cap; takes it.
#[inline(always)]
pub fn take(cap: u32, cost_ns: u64, ahead_ns: u64, now_ns: u64) -> bool {
    let Some(arrival_ns) = CAPS.get_ptr_mut(cap) else {
        return false;
    };
    // SAFETY: this CPU's own copy of a map value, and nothing interrupts the program here: one writer.
    unsafe {
        match gcra(*arrival_ns, now_ns, cost_ns, ahead_ns) {
            Some(next_ns) => {
                *arrival_ns = next_ns;
                true
            }
            None => false,
        }
    }
}
