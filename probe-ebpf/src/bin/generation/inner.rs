//! The inner source of a tunnel.
//!
//! In functions of its own: judging twice in one would need too much of the stack.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::Action;
use probe_ebpf::{
    parse::{Facts, judged},
    tunnel::{InnerIp, inner_ip, source_of},
};

use crate::{env::Env, frame::Frames, judge::judge_address, word};

/// What is inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// It could not be found.
    Unreadable,
    /// It may go through: it passes, or is only counted or marked.
    Passes,
    /// The policy wants something done to it that cannot be done inside a tunnel.
    Stopped,
}

const UNREADABLE: u32 = 0;
const PASSES: u32 = 1;
const STOPPED: u32 = 2;
const NO_ROW: u64 = u64::MAX;
/// No inner header: none begins where the frame does.
const NO_IP: u64 = 0;
const V6: u64 = 1 << 32;

/// Judges the inner source by the outer packet's row.
#[inline(always)]
pub fn inner(ctx: &XdpContext, facts: &Facts, row: Option<u32>, env: &Env) -> Inner {
    let ip = cordon_inner_ip(ctx.ctx, word::pack(facts));
    if ip == NO_IP {
        return Inner::Unreadable;
    }
    let row = row.map_or(NO_ROW, u64::from);
    match cordon_inner_source(ctx.ctx, ip, row, env.word()) {
        UNREADABLE => Inner::Unreadable,
        PASSES => Inner::Passes,
        _ => Inner::Stopped,
    }
}

/// Where the inner IP header is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inner_ip(ctx: *mut xdp_md, packet: u64) -> u64 {
    match inner_ip(&XdpContext::new(ctx), &word::unpack(packet)) {
        Some(ip) => ip.offset as u64 | if ip.is_v6 { V6 } else { 0 },
        None => NO_IP,
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
