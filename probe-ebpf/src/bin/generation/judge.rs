//! Facts to judgement: the order in which a generation and the host's state decide about a packet. Nothing here has
//! an effect; what a decision does to the packet is in `act`.
//!
//! The plain path pays for one location look-up and one cell; everything else is asked only if the decision
//! would not be to pass.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Action, Decision, Reason, Verdict, class, profile};
use probe_ebpf::{
    parse::{Address, Facts, destination, wire_source},
    tunnel::is_tunnel,
};

use crate::{
    env::Env,
    generation_maps::{HAS_DENIES, HAS_STAGES, INSPECT_INNER, SCOPE_DIMENSIONS, STAGES, cell},
    inner::{Inner, inner},
    location::class_of,
    reconsider::reconsider,
    scope::{self, Endpoint, Heading},
    shared_maps::{is_failsafe, is_failsafe_source},
    transport::Transport,
    word,
};

/// What is decided about a packet.
#[derive(Clone, Copy)]
pub struct Judgement {
    /// The decision in force.
    pub decision: Decision,
    /// Why; for a decision that has yet to be carried out, the reason if that succeeds.
    pub reason: Reason,
    /// Where the source is.
    pub class: u16,
}

impl Judgement {
    #[inline(always)]
    const fn without_class(decision: Decision, reason: Reason) -> Self {
        Self {
            decision,
            reason,
            class: class::UNKNOWN,
        }
    }

    /// As a verdict.
    #[inline(always)]
    pub fn verdict(self) -> Verdict {
        self.verdict_as(self.decision.action(), self.reason)
    }

    /// As a verdict that turned out to be another one.
    #[inline(always)]
    pub const fn verdict_as(self, action: Action, reason: Reason) -> Verdict {
        Verdict {
            action,
            reason,
            class: self.class,
        }
    }

    /// What it is although the policy has another answer.
    #[inline(always)]
    fn failsafe(self) -> Self {
        Self {
            decision: Decision::PASS,
            reason: Reason::Failsafe,
            ..self
        }
    }
}

/// A packet that came in.
struct Received<'a> {
    ctx: &'a XdpContext,
    facts: &'a Facts,
}

impl Heading for Received<'_> {
    #[inline(always)]
    fn vlan(&self) -> u16 {
        self.facts.vlan
    }

    #[inline(always)]
    fn local(&self) -> Option<Address> {
        destination(self.ctx, self.facts)
    }

    #[inline(always)]
    fn endpoint(&self) -> Endpoint {
        let transport = Transport::of(self.ctx, self.facts);
        Endpoint {
            protocol: transport.protocol(),
            port: transport.ports().map(|(_, destination)| destination),
        }
    }
}

/// Judges a packet by its source: the one that [`Facts::source`] says. `ifindex`: the interface that it came by; 0:
/// none that is known.
#[inline(always)]
pub fn judge(ctx: &XdpContext, facts: &Facts, ifindex: u32, env: &mut Env) -> Judgement {
    let source = facts.source;
    if env.is_halted() {
        let passes = env.with_shared() && is_failsafe_source(ctx, facts);
        return if passes {
            Judgement::without_class(Decision::PASS, Reason::HaltedFailsafe)
        } else {
            Judgement::without_class(Decision::DROP, Reason::Halted)
        };
    }
    let row = row_of(ctx, facts, ifindex);
    let judgement = judge_address(source, row, env);
    let is_plain = matches!(judgement.reason, Reason::PolicyPass);
    // What comes to pass in another way is no way round the look inside.
    let looks_inside = is_plain
        || INSPECT_INNER.load() != 0
            && matches!(
                judgement.reason,
                Reason::Exempt
                    | Reason::PolicyCount
                    | Reason::PolicyMark
                    | Reason::PolicyDrain
                    | Reason::WithinLimit
            );
    if looks_inside && is_tunnel(ctx, facts) {
        let inner = judge_tunnel(ctx, facts, judgement, row, env);
        if matches!(inner.reason, Reason::TunnelInner) {
            let passes = env.with_shared() && is_failsafe_source(ctx, facts);
            return if passes { inner.failsafe() } else { inner };
        }
        if is_plain {
            return inner;
        }
    }
    if is_plain {
        return judgement;
    }
    if !is_pass(judgement.decision) && env.with_shared() && is_wire_failsafe(ctx, facts) {
        return judgement.failsafe();
    }
    judgement
}

/// The row of a packet; `None` if none is known.
#[inline(always)]
fn row_of(ctx: &XdpContext, facts: &Facts, ifindex: u32) -> Option<u32> {
    if SCOPE_DIMENSIONS.load() == 0 {
        return Some(scope::NO_SERVICE);
    }
    let row = cordon_row(ctx.ctx, word::pack(facts), ifindex);
    (row != NO_ROW).then_some(row)
}

/// A function of its own for the verifier: four tables that may know the packet or not are many paths, and all that
/// follows would be gone through once for each of them.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_row(ctx: *mut xdp_md, packet: u64, ifindex: u32) -> u32 {
    let packet = Received {
        ctx: &XdpContext::new(ctx),
        facts: &word::unpack(packet),
    };
    scope::row(ifindex, &packet).unwrap_or(NO_ROW)
}

const NO_ROW: u32 = u32::MAX;

/// Whether the source on the wire is failsafe, if the one that is judged was inside of it.
#[inline(always)]
fn is_wire_failsafe(ctx: &XdpContext, facts: &Facts) -> bool {
    if !facts.is_embedded() {
        return false;
    }
    match wire_source(ctx, facts) {
        Some(wire) => is_failsafe(&wire),
        None => false,
    }
}

/// Judges an address by a row of the matrix; `None`: no row is known, so nothing passes.
#[inline(always)]
pub fn judge_address(address: Address, row: Option<u32>, env: &mut Env) -> Judgement {
    let class = class_of(address);
    let decision = decision_at(row, profile::ALL_ORDERS, class, env);
    let has_denies = HAS_DENIES.load() != 0 || env.has_runtime_denies();
    if is_pass(decision) && !has_denies {
        return Judgement {
            decision,
            reason: Reason::PolicyPass,
            class,
        };
    }
    reconsider(address, row, class, decision, env)
}

/// A tunnel whose outer source passes: nobody looks inside, or the inner source must pass too.
#[inline(always)]
fn judge_tunnel(ctx: &XdpContext, facts: &Facts, outer: Judgement, row: Option<u32>, env: &Env) -> Judgement {
    let inner = if INSPECT_INNER.load() == 0 {
        Inner::Unreadable
    } else {
        inner(ctx, facts, row, env)
    };
    match inner {
        Inner::Unreadable => Judgement {
            reason: Reason::TunnelUninspected,
            ..outer
        },
        Inner::Passes => outer,
        Inner::Stopped => Judgement {
            decision: Decision::DROP,
            reason: Reason::TunnelInner,
            ..outer
        },
    }
}

/// Whether a decision is to pass, whatever tier it came from.
#[inline(always)]
pub const fn is_pass(decision: Decision) -> bool {
    decision.action_code() == Action::Pass as u8
}

/// The decision of a cell now. A cell that cannot be read drops: the tables were verified before they were
/// published, so that does not happen unless they were tampered with.
#[inline(always)]
pub fn decision_at(row: Option<u32>, profile: u8, class: u16, env: &mut Env) -> Decision {
    let Some(cell) = row.and_then(|row| cell(row, profile, class)) else {
        return Decision::DROP;
    };
    let Some(stages_idx) = cell.stages_idx() else {
        return cell.fixed_decision();
    };
    if HAS_STAGES.load() == 0 {
        return Decision::DROP;
    }
    match STAGES.get(stages_idx) {
        Some(stages) => stages.decision_at(env.now_s()),
        None => Decision::DROP,
    }
}
