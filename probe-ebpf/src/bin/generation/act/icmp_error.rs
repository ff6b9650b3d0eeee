//! ICMP errors that the network needs (RFC 4890, RFC 1191) are exempt from drops.

use aya_ebpf::programs::XdpContext;
use probe_ebpf::{l4, parse::Facts};

use crate::generation_maps::ICMP_ERRORS;

/// Whether the packet is such an error, and the host lets them pass.
#[inline(always)]
pub fn is_exempt(ctx: &XdpContext, facts: &Facts) -> bool {
    ICMP_ERRORS.load() != 0 && l4::is_icmp_error(ctx, facts)
}
