//! The programs of a generation: the one that judges packets, its sibling that judges samples, and the one that judges
//! leaving packets.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "the BPF target has no atomic compare-exchange but this intrinsic"
)]
#![expect(
    missing_docs,
    reason = "the macros make an undocumented function beside each documented one"
)]

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use probe_common::{Action, Decision, Reason, SampleHeader, SampleVerdict, Verdict, scope::UNTAGGED};
use probe_ebpf::{
    packet::{adjust_head, frame_len, load},
    parse::{Answer, Facts, parse},
    record::{count, record, xdp_action_of},
};

mod act;
#[path = "../../maps/actions.rs"]
mod actions_maps;
mod env;
mod frame;
#[path = "../../maps/generation.rs"]
mod generation_maps;
mod inner;
mod judge;
mod leaving;
mod location;
mod overrides;
#[path = "../../maps/own.rs"]
mod own_maps;
mod reconsider;
mod scope;
#[path = "../../maps/shared.rs"]
mod shared_maps;
mod transport;
mod word;

use act::{Draft, act, let_through, verdict_of_sample};
use env::Env;
use frame::Frames;
use generation_maps::{COUNTERS, MARTIANS, META};
use judge::{Judgement, judge};
use own_maps::is_own_source;
use shared_maps::count_not_ip;
use transport::Transport;

const MARTIAN: Verdict = Verdict::without_class(Action::Drop, Reason::Martian);

/// Judges a packet from an interface. Lives in a slot of the program array; the entry program calls it.
#[xdp(frags)]
#[inline(always)]
pub fn cordon_gen(ctx: XdpContext) -> u32 {
    let facts = match parse(&ctx, &Frames) {
        Ok(facts) => facts,
        Err(answer) => return answered(&ctx, &answer),
    };
    let verdict = if MARTIANS.load() != 0 && is_own_source(&ctx, &facts) {
        MARTIAN
    } else {
        let ifindex = ctx.ingress_ifindex() as u32;
        let judgement = judge(&ctx, &facts, ifindex, &mut Env::live());
        // The verdicts of most packets, each with an exit of its own, where all that follows from the reason is known.
        match judgement.reason {
            Reason::PolicyPass => {
                let verdict = judgement.verdict_as(Action::Pass, Reason::PolicyPass);
                return told(&ctx, &facts, verdict);
            }
            Reason::PolicyDrop => match let_through::let_through(&ctx, &facts, judgement) {
                Some(verdict) => verdict,
                None => {
                    let verdict = judgement.verdict_as(Action::Drop, Reason::PolicyDrop);
                    return told(&ctx, &facts, verdict);
                }
            },
            _ => return carried_out(&ctx, &facts, judgement),
        }
    };
    told(&ctx, &facts, verdict)
}

/// The exit for a packet to which something may be done.
#[inline(always)]
fn carried_out(ctx: &XdpContext, facts: &Facts, judgement: Judgement) -> u32 {
    // The length that it came with: an answer has another.
    let bytes = frame_len(ctx);
    let is_plain_pass = matches!(judgement.reason, Reason::TunnelUninspected);
    let draft = draft(ctx, facts, is_plain_pass);
    let verdict = act(ctx, facts, judgement, bytes);
    #[cfg(feature = "log")]
    aya_log_ebpf::trace!(ctx, "{} {}", verdict.action.name(), verdict.reason.name());
    draft.tell(Some(facts.source), ctx.ingress_ifindex() as u32, verdict, bytes);
    count(&COUNTERS, verdict, bytes);
    xdp_action_of(verdict)
}

/// The exit for a packet to which nothing is done.
#[inline(always)]
fn told(ctx: &XdpContext, facts: &Facts, verdict: Verdict) -> u32 {
    #[cfg(feature = "log")]
    aya_log_ebpf::trace!(ctx, "{} {}", verdict.action.name(), verdict.reason.name());
    let bytes = frame_len(ctx);
    if Draft::is_drawn(matches!(verdict.reason, Reason::PolicyPass)) {
        let draft = Draft::new(Transport::of(ctx, facts), facts.vlan);
        draft.tell(Some(facts.source), ctx.ingress_ifindex() as u32, verdict, bytes);
    }
    count(&COUNTERS, verdict, bytes);
    xdp_action_of(verdict)
}

/// The exit for a frame whose answer holds under any policy.
#[inline(always)]
fn answered(ctx: &XdpContext, answer: &Answer) -> u32 {
    count_not_ip(ctx, answer);
    #[cfg(feature = "log")]
    aya_log_ebpf::trace!(
        ctx,
        "{} {}",
        answer.verdict.action.name(),
        answer.verdict.reason.name()
    );
    if Draft::is_drawn(matches!(answer.verdict.action, Action::Pass)) {
        let draft = Draft::new(Transport::new(None, None), UNTAGGED as u16);
        draft.tell(None, ctx.ingress_ifindex() as u32, answer.verdict, frame_len(ctx));
    }
    record(ctx, &COUNTERS, answer.verdict)
}

/// What an event will tell of a packet, if it is drawn.
#[inline(always)]
fn draft(ctx: &XdpContext, facts: &Facts, is_plain_pass: bool) -> Draft {
    Draft::of(ctx, facts, is_plain_pass)
}

/// Judges a sample: a [`SampleHeader`] and a frame. Counts nothing and changes nothing; the return value is a
/// [`SampleVerdict`]. Run through BPF_PROG_TEST_RUN only, never attached.
#[xdp(frags)]
#[inline(always)]
pub fn cordon_sample(ctx: XdpContext) -> u32 {
    sample(&ctx).map_or(u32::MAX, |verdict| verdict.0)
}

#[inline(always)]
fn sample(ctx: &XdpContext) -> Option<SampleVerdict> {
    // Named so that the map is part of the object; the daemon writes and reads it.
    META.get(0)?;
    let now_s = sample_word(ctx, offset_of!(SampleHeader, now_s))?;
    let halted_until_s = sample_word(ctx, offset_of!(SampleHeader, halted_until_s))?;
    let with_shared = sample_word(ctx, offset_of!(SampleHeader, with_shared))? != 0;
    let ifindex = sample_word(ctx, offset_of!(SampleHeader, ifindex))?;
    // What remains is a frame like any other.
    adjust_head(ctx, size_of::<SampleHeader>() as i32).then_some(())?;
    let facts = match parse(ctx, &Frames) {
        Ok(facts) => facts,
        Err(answer) => return Some(SampleVerdict::pack(answer.verdict, Decision::PASS)),
    };
    if MARTIANS.load() != 0 && with_shared && is_own_source(ctx, &facts) {
        return Some(SampleVerdict::pack(MARTIAN, Decision::PASS));
    }
    let mut env = Env::of_sample(now_s, halted_until_s, with_shared);
    let judgement = judge(ctx, &facts, ifindex, &mut env);
    let verdict = verdict_of_sample(ctx, &facts, judgement);
    Some(SampleVerdict::pack(verdict, judgement.decision))
}

/// A field of a [`SampleHeader`].
#[inline(always)]
fn sample_word(ctx: &XdpContext, offset: usize) -> Option<u32> {
    load(ctx, offset).map(u32::from_ne_bytes)
}

/// Judges a leaving packet by where it goes: only what the policy stops in both directions drops. Lives in a slot of
/// the egress program array; the egress program calls it.
#[classifier]
#[inline(always)]
pub fn cordon_out(ctx: TcContext) -> i32 {
    if leaving::is_stopped(&ctx) {
        TC_ACT_SHOT
    } else {
        // The filters behind this one have their say.
        TC_ACT_UNSPEC
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
