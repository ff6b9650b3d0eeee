//! Decision to effect: what the actions do to a packet, and what may still let it pass.
//!
//! What only few packets need is in functions that the verifier checks by themselves ("global functions"): so neither
//! its work nor the instruction cache's grows with each path that leads there. They take the packet as one word
//! ([`crate::word`]), because a pointer to the stack would have to be checked for null at each use.

mod answer;
mod cap;
mod event;
pub mod let_through;
mod limit;
mod mark;
mod redirect;
mod reply;

pub use event::Draft;

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict};
use probe_ebpf::parse::Facts;

use crate::{generation_maps::may, judge::Judgement, transport::Transport};

/// Carries out a judgement. `bytes` is the length that the packet came with.
#[inline(always)]
pub fn act(ctx: &XdpContext, facts: &Facts, judgement: Judgement, bytes: u64) -> Verdict {
    match judgement.reason {
        Reason::PolicyDrop => stopped(ctx, facts, judgement, Reason::PolicyDrop),
        Reason::PolicyMark if may(Action::Mark) => mark::mark(ctx, facts, judgement),
        Reason::WithinLimit if may(Action::Limit) => {
            if limit::is_within(facts.source, judgement, bytes) {
                judgement.verdict()
            } else {
                stopped(ctx, facts, judgement, Reason::OverLimit)
            }
        }
        // What answers this host's own connections, or tells of an error in one, must not go elsewhere.
        Reason::PolicyRedirect if may(Action::Redirect) => {
            match let_through::let_through(ctx, facts, judgement) {
                Some(verdict) => verdict,
                None => {
                    let reason = redirect::redirect(ctx, facts, judgement.decision);
                    judgement.verdict_as(Action::Redirect, reason)
                }
            }
        }
        Reason::PolicyDrain if may(Action::Drain) => {
            if Transport::of(ctx, facts).opens() {
                stopped(ctx, facts, judgement, Reason::PolicyDrain)
            } else {
                judgement.verdict_as(Action::Drain, Reason::DrainPass)
            }
        }
        Reason::PolicyReject if may(Action::Reject) => {
            let verdict = stopped(ctx, facts, judgement, Reason::PolicyReject);
            if matches!(verdict.reason, Reason::PolicyReject) && !answer::answer(ctx, facts) {
                return judgement.verdict_as(Action::Reject, Reason::RejectSilent);
            }
            verdict
        }
        Reason::Halted if let_through::is_icmp_error(ctx, facts) && cap::take_icmp_error() => {
            Verdict::without_class(Action::Pass, Reason::HaltedIcmpError)
        }
        Reason::PolicyMark
        | Reason::WithinLimit
        | Reason::PolicyRedirect
        | Reason::PolicyDrain
        | Reason::PolicyReject => judgement.verdict_as(Action::Drop, Reason::PolicyDrop),
        _ => judgement.verdict(),
    }
}

/// The verdict of a sample: the judgement, with nothing carried out.
#[inline(always)]
pub fn verdict_of_sample(ctx: &XdpContext, facts: &Facts, judgement: Judgement) -> Verdict {
    match judgement.reason {
        Reason::PolicyDrain if may(Action::Drain) && !Transport::of(ctx, facts).opens() => {
            judgement.verdict_as(Action::Drain, Reason::DrainPass)
        }
        _ => judgement.verdict(),
    }
}

/// The verdict for a packet that would be stopped for a reason: some pass all the same.
#[inline(always)]
fn stopped(ctx: &XdpContext, facts: &Facts, judgement: Judgement, reason: Reason) -> Verdict {
    match let_through::let_through(ctx, facts, judgement) {
        Some(verdict) => verdict,
        None => judgement.verdict_as(judgement.decision.action(), reason),
    }
}
