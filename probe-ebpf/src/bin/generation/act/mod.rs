//! Decision to effect: what the actions do to a packet, and what may still let it pass.
//!
//! What only few packets need is in functions that the verifier checks by themselves ("global functions"): so neither
//! its work nor the instruction cache's grows with each path that leads there. They take the packet as one word
//! ([`crate::word`]), because a pointer to the stack would have to be checked for null at each use.

mod answer;
mod cap;
mod event;
mod halted;
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
    // What is done unless the packet is one of those that pass all the same, which is asked in one place.
    let reason = match judgement.reason {
        Reason::PolicyMark if may(Action::Mark) => return mark::mark(ctx, facts, judgement),
        Reason::WithinLimit if may(Action::Limit) => {
            if limit::is_within(facts.source, judgement, bytes) {
                return judgement.verdict();
            }
            Reason::OverLimit
        }
        Reason::PolicyRedirect if may(Action::Redirect) => Reason::PolicyRedirect,
        Reason::PolicyDrain if may(Action::Drain) => {
            if !Transport::of(ctx, facts).opens() {
                return judgement.verdict_as(Action::Drain, Reason::DrainPass);
            }
            Reason::PolicyDrain
        }
        Reason::PolicyReject if may(Action::Reject) => Reason::PolicyReject,
        Reason::Halted => return halted::verdict(ctx, facts),
        Reason::PolicyMark
        | Reason::WithinLimit
        | Reason::PolicyRedirect
        | Reason::PolicyDrain
        | Reason::PolicyReject => return judgement.verdict_as(Action::Drop, Reason::PolicyDrop),
        _ => return judgement.verdict(),
    };
    // What answers this host's own connections, or tells of an error in one, must not go elsewhere either.
    if let Some(verdict) = let_through::let_through(ctx, facts, judgement) {
        return verdict;
    }
    let reason = match reason {
        Reason::PolicyRedirect => redirect::redirect(ctx, facts, judgement.decision),
        Reason::PolicyReject if !answer::answer(ctx, facts) => Reason::RejectSilent,
        reason => reason,
    };
    judgement.verdict_as(judgement.decision.action(), reason)
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
