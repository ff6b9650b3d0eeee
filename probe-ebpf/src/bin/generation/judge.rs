//! Facts to judgement: the order in which a generation and the host's state decide about a packet. Nothing here has
//! an effect; what a decision does to the packet is in `act`.
//!
//! The plain path pays for one location look-up and one cell; everything else is asked only if the decision
//! would not be to pass.

use aya_ebpf::{btf_maps::lpm_trie::Key, programs::XdpContext};
use probe_common::{Action, Decision, Reason, Verdict, class, profile};
use probe_ebpf::{
    parse::{Address, Facts, destination, judged},
    tunnel::is_tunnel,
};

use crate::{
    env::Env,
    frame_options,
    generation_maps::{HAS_DENIES, HAS_STAGES, INSPECT_INNER, LOCATION_V4, LOCATION_V6, STAGES, cell},
    inner::{Inner, inner},
    overrides::Overrides,
    scope::{self, Endpoint, Heading},
    shared_maps::{is_failsafe, is_failsafe_source},
    transport::Transport,
    word::AddressWords,
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
}

/// Whom a packet is judged by: its source, or where a leaving one goes.
pub trait Party {
    /// The address that is judged.
    fn address(&self) -> AddressWords;
    /// Whether no policy can block it.
    fn is_failsafe(&self) -> bool;
}

/// A packet that came in.
struct Received<'a> {
    ctx: &'a XdpContext,
    facts: &'a Facts,
    source: AddressWords,
}

impl Party for Received<'_> {
    #[inline(always)]
    fn address(&self) -> AddressWords {
        self.source
    }

    #[inline(always)]
    fn is_failsafe(&self) -> bool {
        if self.source.is_v4() {
            let facts = Facts {
                source: Address::V4(self.source.v4()),
                ..*self.facts
            };
            is_failsafe_source(self.ctx, &facts)
        } else {
            is_failsafe(&Address::V6(self.source.v6()))
        }
    }
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

/// An address on the wire, and the one that is judged for it.
pub struct Remote {
    wire: Address,
    judged: AddressWords,
}

impl Remote {
    /// Decodes an IPv4 address inside.
    #[inline(always)]
    pub fn new(wire: Address) -> Self {
        Self {
            wire,
            judged: AddressWords::new(&judged(wire, &frame_options())),
        }
    }
}

impl Party for Remote {
    #[inline(always)]
    fn address(&self) -> AddressWords {
        self.judged
    }

    #[inline(always)]
    fn is_failsafe(&self) -> bool {
        self.judged.is_v4() && is_failsafe(&Address::V4(self.judged.v4())) || is_failsafe(&self.wire)
    }
}

/// Judges a packet by its source, as [`Facts::source`] says it.
#[inline(always)]
pub fn judge(ctx: &XdpContext, facts: &Facts, source: AddressWords, env: &mut Env) -> Judgement {
    let packet = Received { ctx, facts, source };
    if env.is_halted() {
        return if env.with_shared() && packet.is_failsafe() {
            Judgement::without_class(Decision::PASS, Reason::HaltedFailsafe)
        } else {
            Judgement::without_class(Decision::DROP, Reason::Halted)
        };
    }
    let row = scope::row(env.ifindex(), &packet);
    let judgement = judge_party(&packet, row, env);
    if matches!(judgement.reason, Reason::PolicyPass) && is_tunnel(ctx, facts) {
        return judge_tunnel(ctx, facts, judgement, row, env);
    }
    judgement
}

/// Judges a party by a row of the matrix; `None`: no row is known, so nothing passes.
#[inline(always)]
pub fn judge_party(party: &impl Party, row: Option<u32>, env: &mut Env) -> Judgement {
    let address = party.address();
    let class = class_of(address);
    let judgement = |decision, reason| Judgement {
        decision,
        reason,
        class,
    };
    let mut decision = decision_at(row, profile::ALL_ORDERS, class, env);
    let mut overrides = Overrides::default();
    if HAS_DENIES.load() != 0 || env.has_runtime_denies() {
        overrides = Overrides::of(address, env);
    }
    if is_pass(decision) && !overrides.deny {
        return judgement(decision, Reason::PolicyPass);
    }

    if env.with_shared() && party.is_failsafe() {
        return judgement(Decision::PASS, Reason::Failsafe);
    }
    if !overrides.asked {
        overrides = Overrides::of(address, env);
    }
    if overrides.deny {
        return judgement(Decision::DROP, Reason::Deny);
    }
    for profile in [overrides.policy, overrides.runtime] {
        if profile != profile::ALL_ORDERS {
            let other = decision_at(row, profile, class, env);
            if other.action_code() < decision.action_code() {
                decision = other;
            }
        }
    }
    if is_pass(decision) {
        return judgement(decision, Reason::Exempt);
    }
    judgement(decision, reason_of(decision))
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

#[inline(always)]
const fn is_pass(decision: Decision) -> bool {
    decision.action_code() == Action::Pass as u8
}

/// The reason of a packet to which the matrix does something, if that succeeds.
#[inline(always)]
const fn reason_of(decision: Decision) -> Reason {
    match decision.action() {
        Action::Pass => Reason::PolicyPass,
        Action::Count => Reason::PolicyCount,
        Action::Mark => Reason::PolicyMark,
        Action::Limit => Reason::WithinLimit,
        Action::Redirect => Reason::PolicyRedirect,
        Action::Drain => Reason::PolicyDrain,
        Action::Reject => Reason::PolicyReject,
        Action::Drop => Reason::PolicyDrop,
    }
}

#[inline(always)]
fn class_of(address: AddressWords) -> u16 {
    let value = if address.is_v4() {
        LOCATION_V4.get(&Key::new(32, address.v4()))
    } else {
        LOCATION_V6.get(&Key::new(128, address.v6()))
    };
    value.map_or(class::UNKNOWN, |value| value.class)
}

/// The decision of a cell now. A cell that cannot be read drops: the tables were verified before they were
/// published, so that does not happen unless they were tampered with.
#[inline(always)]
fn decision_at(row: Option<u32>, profile: u8, class: u16, env: &mut Env) -> Decision {
    let Some(cell) = row.and_then(|row| cell(row, profile, class)) else {
        return Decision::DROP;
    };
    if HAS_STAGES.load() != 0
        && let Some(stages_idx) = cell.stages_idx()
    {
        return match STAGES.get(stages_idx) {
            Some(stages) => stages.decision_at(env.now_s()),
            None => Decision::DROP,
        };
    }
    // A timed cell without stages names none of the decisions.
    match cell.stages_idx() {
        None => cell.fixed_decision(),
        Some(_) => Decision::DROP,
    }
}
