//! The inner source of a tunnel.
//!
//! In functions of its own: judging twice in one would need too much of the stack.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::Action;
use probe_ebpf::{
    parse::{Facts, judged},
    tunnel::{InnerIp, inner_ip, is_first_fragment, source_of},
};

use crate::{env::Env, frame::Frames, judge::judge_address, word};

/// What is inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// It could not be found.
    Unreadable,
    /// It may go through: it passes, or is only counted or marked.
    Passes,
    /// The policy wants something done to it that cannot be done inside a tunnel, or it is hidden where only its receiver
    /// finds it: in another fragment, or behind too many tags.
    Stopped,
}

const UNREADABLE: u32 = 0;
const PASSES: u32 = 1;
const STOPPED: u32 = 2;
const NO_ROW: u64 = u64::MAX;
/// No inner header: none begins where the frame does.
const NO_IP: u64 = 0;
/// It is behind too many tags.
const TOO_DEEP: u64 = 1 << 34;
const V6: u64 = 1 << 32;
/// What cannot be read may be in another fragment.
const FIRST_FRAGMENT: u64 = 1 << 33;

/// Judges the inner source by the outer packet's row.
#[inline(always)]
pub fn inner(ctx: &XdpContext, facts: &Facts, row: Option<u32>, env: &Env) -> Inner {
    let ip = cordon_inner_ip(ctx.ctx, word::pack(facts));
    if ip == NO_IP {
        return Inner::Unreadable;
    }
    if ip as u32 == 0 {
        return Inner::Stopped;
    }
    let row = row.map_or(NO_ROW, u64::from);
    match cordon_inner_source(ctx.ctx, ip, row, env.word()) {
        UNREADABLE if ip & FIRST_FRAGMENT != 0 => Inner::Stopped,
        UNREADABLE => Inner::Unreadable,
        PASSES => Inner::Passes,
        _ => Inner::Stopped,
    }
}

/// Where the inner IP header is, in the lower half; it is hidden if that is 0 and the rest is not.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inner_ip(ctx: *mut xdp_md, packet: u64) -> u64 {
    let (ctx, facts) = (XdpContext::new(ctx), word::unpack(packet));
    let first = if is_first_fragment(&ctx, &facts) {
        FIRST_FRAGMENT
    } else {
        0
    };
    match inner_ip(&ctx, &facts) {
        Some(InnerIp { offset: 0, .. }) => TOO_DEEP,
        Some(ip) => first | ip.offset as u64 | if ip.is_v6 { V6 } else { 0 },
        None => first,
    }
}

/// What is decided about the source in it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inner_source(ctx: *mut xdp_md, ip: u64, row: u64, env: u64) -> u32 {
    let ip = InnerIp {
        offset: ip as u32 as usize,
        is_v6: ip & V6 != 0,
    };
    let Some(source) = source_of(&XdpContext::new(ctx), ip) else {
        return UNREADABLE;
    };
    let row = if row == NO_ROW { None } else { Some(row as u32) };
    let source = judged(source, &Frames);
    let judgement = judge_address(source, row, &mut Env::from_word(env));
    if judgement.decision.action_code() <= Action::Mark as u8 {
        PASSES
    } else {
        STOPPED
    }
}
