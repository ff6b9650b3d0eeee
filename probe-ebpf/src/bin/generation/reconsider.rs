//! The rest of a judgement, for packets that do not plainly pass: failsafe prefixes, denies, exemptions.

use probe_common::{Action, Decision, Reason, profile};
use probe_ebpf::parse::Address;

use crate::{
    env::Env,
    judge::{Judgement, decision_at, is_pass},
    overrides::Overrides,
    shared_maps::is_failsafe,
};

/// What is decided about an address of a class after all, where the cell of all orders says `decision`.
#[inline(always)]
pub fn reconsider(
    address: Address,
    row: Option<u32>,
    class: u16,
    decision: Decision,
    env: &mut Env,
) -> Judgement {
    let (decision, reason) = decide(address, row, class, decision, env);
    Judgement {
        decision,
        reason,
        class,
    }
}

#[inline(always)]
fn decide(
    address: Address,
    row: Option<u32>,
    class: u16,
    mut decision: Decision,
    env: &mut Env,
) -> (Decision, Reason) {
    let passes = is_pass(decision);
    if !passes && env.with_shared() && is_failsafe(&address) {
        return (Decision::PASS, Reason::Failsafe);
    }
    let Some(overrides) = Overrides::of(address, env) else {
        return (decision, reason_of(decision));
    };
    if overrides.deny {
        if passes && env.with_shared() && is_failsafe(&address) {
            return (Decision::PASS, Reason::Failsafe);
        }
        // A deny is about what comes in; what the orders say of the other direction stays.
        let deny = if decision.is_both() {
            Decision::DROP.both()
        } else {
            Decision::DROP
        };
        return (deny, Reason::Deny);
    }
    if passes {
        return (decision, Reason::PolicyPass);
    }
    if overrides.is_none() {
        return (decision, reason_of(decision));
    }
    if overrides.policy != profile::ALL_ORDERS {
        let other = decision_at(row, overrides.policy, class, env);
        // Never stricter. With the same action its tier may be milder, and it may leave one direction alone.
        if other.action_code() <= decision.action_code() {
            decision = other;
        }
    }
    if overrides.runtime != profile::ALL_ORDERS {
        let other = decision_at(row, overrides.runtime, class, env);
        // Of two milder tiers nobody knows here which is the milder one: the policy's stays.
        let tie = u8::from(overrides.policy == profile::ALL_ORDERS);
        if 2 * other.action_code() < 2 * decision.action_code() + tie {
            decision = other;
        }
    }
    let reason = if is_pass(decision) {
        Reason::Exempt
    } else {
        reason_of(decision)
    };
    (decision, reason)
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
