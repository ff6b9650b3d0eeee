//! The inner source of a tunnel.
//!
//! A function of its own: judging twice in one would need too much of the stack.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::Action;
use probe_ebpf::{
    parse::{Facts, judged},
    tunnel::inner_source,
};

use crate::{
    env::Env,
    frame_options,
    judge::judge_address,
    word::{self, AddressWords},
};

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

/// Judges the inner source by the outer packet's row.
#[inline(always)]
pub fn inner(ctx: &XdpContext, facts: &Facts, row: Option<u32>, env: &Env) -> Inner {
    let row = row.map_or(NO_ROW, u64::from);
    match cordon_inner(ctx.ctx, word::pack(facts), row, env.word()) {
        UNREADABLE => Inner::Unreadable,
        PASSES => Inner::Passes,
        _ => Inner::Stopped,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inner(ctx: *mut xdp_md, packet: u64, row: u64, env: u64) -> u32 {
    let Some(source) = inner_source(&XdpContext::new(ctx), &word::unpack(packet)) else {
        return UNREADABLE;
    };
    let row = if row == NO_ROW { None } else { Some(row as u32) };
    let source = AddressWords::new(&judged(source, &frame_options()));
    let judgement = judge_address(source, row, &mut Env::from_word(env));
    if judgement.decision.action_code() <= Action::Mark as u8 {
        PASSES
    } else {
        STOPPED
    }
}
