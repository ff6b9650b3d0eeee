//! What passes although the policy would stop it: ICMP errors that the network needs (RFC 4890, RFC 1191), and answers
//! to this host's own connections.

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict};
use probe_ebpf::{l4, parse::Facts};

use super::{cap, reply};
use crate::{generation_maps::ICMP_ERRORS, judge::Judgement};

/// The verdict for such a packet; `None` for any other.
#[inline(always)]
pub fn let_through(ctx: &XdpContext, facts: &Facts, judgement: Judgement) -> Option<Verdict> {
    if is_icmp_error(ctx, facts) {
        return Some(if cap::take_icmp_error() {
            judgement.verdict_as(Action::Pass, Reason::IcmpError)
        } else {
            judgement.verdict_as(Action::Drop, Reason::IcmpErrorCapped)
        });
    }
    reply::is_reply(ctx, facts, judgement.decision)
        .then_some(judgement.verdict_as(Action::Pass, Reason::Reply))
}

/// Whether the packet is an ICMP error that the host lets pass.
#[inline(always)]
pub fn is_icmp_error(ctx: &XdpContext, facts: &Facts) -> bool {
    ICMP_ERRORS.load() != 0 && l4::is_icmp_error(ctx, facts)
}
