//! The inner source of a tunnel.
//!
//! In functions of its own: judging twice in one would need too much of the stack.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::Action;
use probe_ebpf::{
    packet::MAX_OFFSET,
    parse::{Facts, judged},
    tunnel::{Inside, Kind, inside, source_of},
};

use crate::{env::Env, frame::Frames, judge::judge_address, word};

/// What is decided about what is inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// Nothing: it is no IP, or it cannot be read, by its receiver neither.
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

// What `cordon_inside` gives: the kind, and behind it the offset.
const V4: u64 = Kind::V4 as u64;
const V6: u64 = Kind::V6 as u64;
const HIDDEN: u64 = Kind::Hidden as u64;
const KIND_MASK: u64 = 0xff;
const OFFSET_SHIFT: u32 = 8;

/// Judges the inner source by the outer packet's row.
#[inline(always)]
pub fn inner(ctx: &XdpContext, facts: &Facts, row: Option<u32>, env: &Env) -> Inner {
    let inside = cordon_inside(ctx.ctx, word::pack(facts));
    match inside & KIND_MASK {
        V4 | V6 => {}
        HIDDEN => return Inner::Stopped,
        _ => return Inner::Unreadable,
    }
    let row = row.map_or(NO_ROW, u64::from);
    match cordon_inner_source(ctx.ctx, inside, row, env.word()) {
        UNREADABLE => Inner::Unreadable,
        PASSES => Inner::Passes,
        _ => Inner::Stopped,
    }
}

/// What is inside.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inside(ctx: *mut xdp_md, packet: u64) -> u64 {
    let Inside { offset, kind } = inside(&XdpContext::new(ctx), &word::unpack(packet));
    (offset as u64) << OFFSET_SHIFT | kind as u64
}

/// What is decided about the source in it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_inner_source(ctx: *mut xdp_md, inside: u64, row: u64, env: u64) -> u32 {
    let offset = (inside >> OFFSET_SHIFT) as usize & MAX_OFFSET;
    let Some(source) = source_of(&XdpContext::new(ctx), offset, inside & KIND_MASK == V6) else {
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
