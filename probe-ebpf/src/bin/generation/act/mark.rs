//! `mark`: another DSCP.

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict, checksum, with_dscp_v4, with_dscp_v6};
use probe_ebpf::{
    packet::{read, write},
    parse::Facts,
};

use crate::{generation_maps::TIERS, judge::Judgement, word::ip_offset};

const CHECKSUM_OFFSET: usize = 10;

/// Marks the packet. One that cannot be marked would get the full service, so it drops.
#[inline(always)]
pub fn mark(ctx: &XdpContext, facts: &Facts, judgement: Judgement) -> Verdict {
    match try_mark(ctx, facts, judgement) {
        Some(()) => judgement.verdict(),
        None => judgement.verdict_as(Action::Mark, Reason::PolicyDrop),
    }
}

#[inline(always)]
fn try_mark(ctx: &XdpContext, facts: &Facts, judgement: Judgement) -> Option<()> {
    let dscp = TIERS.get(u32::from(judgement.decision.tier()))?.dscp;
    let offset = ip_offset(facts);
    let old: [u8; 2] = read(ctx, offset)?;
    if facts.version == 6 {
        return write(ctx, offset, &with_dscp_v6(old, dscp)).then_some(());
    }
    let new = with_dscp_v4(old, dscp);
    let checksum = checksum::updated(read(ctx, offset + CHECKSUM_OFFSET)?, old, new);
    (write(ctx, offset, &new) && write(ctx, offset + CHECKSUM_OFFSET, &checksum)).then_some(())
}
