//! `redirect`: out of another interface.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use probe_common::{Decision, Reason, checksum};
use probe_ebpf::{
    packet::{frame_len, read, write},
    parse::Facts,
};

use crate::{
    actions_maps::{REDIRECT, TARGETS},
    generation_maps::TIERS,
    word,
};

const ADDRS_LEN: usize = 12;
const TTL_OFFSET: usize = 8;
const CHECKSUM_OFFSET: usize = 10;
const HOP_LIMIT_OFFSET: usize = 7;

/// Sends the packet to the decision's target; the reason says how that went.
#[inline(always)]
pub fn redirect(ctx: &XdpContext, facts: &Facts, decision: Decision) -> Reason {
    match cordon_redirect(ctx.ctx, u32::from(decision.tier()), word::pack(facts)) {
        SENT => Reason::PolicyRedirect,
        TOO_LONG => Reason::RedirectTooLong,
        LOOP => Reason::RedirectLoop,
        _ => Reason::RedirectGone,
    }
}

const SENT: u32 = Reason::PolicyRedirect as u32;
const TOO_LONG: u32 = Reason::RedirectTooLong as u32;
const LOOP: u32 = Reason::RedirectLoop as u32;
const GONE: u32 = Reason::RedirectGone as u32;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_redirect(ctx: *mut xdp_md, tier_idx: u32, packet: u64) -> u32 {
    try_redirect(&XdpContext::new(ctx), tier_idx, &word::unpack(packet)).unwrap_or(GONE)
}

#[inline(always)]
fn try_redirect(ctx: &XdpContext, tier_idx: u32, facts: &Facts) -> Option<u32> {
    let tier = TIERS.get(tier_idx)?;
    // SAFETY: the daemon replaces an entry as a whole and takes the device out of `REDIRECT` first; a torn one
    // could at worst name a wrong length or address for the moment of a change.
    let target = unsafe { TARGETS.get(tier.target) }?;
    if frame_len(ctx) > u64::from(target.max_len) {
        return Some(TOO_LONG);
    }
    let old: [u8; ADDRS_LEN] = read(ctx, 0)?;
    let mut new = old;
    if tier.next_hop != [0; 6] {
        new[..6].copy_from_slice(&tier.next_hop);
        new[6..].copy_from_slice(&target.mac);
        // To another host: that is forwarding, and two hosts that forward to each other must come to an end.
        if !age(ctx, facts)? {
            return Some(LOOP);
        }
    }
    let is_changed = new != old;
    if !is_changed && target.ifindex == ctx.ingress_ifindex() as u32 {
        return Some(LOOP);
    }
    if is_changed && !write(ctx, 0, &new) {
        return None;
    }
    REDIRECT
        .redirect(tier.target, u64::from(xdp_action::XDP_DROP))
        .ok()
        .map(|_| SENT)
}

/// Takes one from the time to live or hop limit (RFC 1812 section 5.3.1, RFC 8200 section 3); `false` if it is used up.
#[inline(always)]
fn age(ctx: &XdpContext, facts: &Facts) -> Option<bool> {
    let offset = word::ip_offset(facts);
    if facts.version == 6 {
        let [hop_limit] = read(ctx, offset + HOP_LIMIT_OFFSET)?;
        return Some(hop_limit > 1 && write(ctx, offset + HOP_LIMIT_OFFSET, &[hop_limit - 1]));
    }
    let old: [u8; 2] = read(ctx, offset + TTL_OFFSET)?;
    if old[0] <= 1 {
        return Some(false);
    }
    let new = [old[0] - 1, old[1]];
    let checksum = checksum::updated(read(ctx, offset + CHECKSUM_OFFSET)?, old, new);
    Some(write(ctx, offset + TTL_OFFSET, &new) && write(ctx, offset + CHECKSUM_OFFSET, &checksum))
}
