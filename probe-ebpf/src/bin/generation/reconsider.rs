//! The rest of a judgement, for packets that do not plainly pass: failsafe prefixes, denies, exemptions.
//!
//! A function of its own, so that the plain path does not pay for what it keeps on its stack.

use probe_common::{Action, Decision, Reason, profile};
use probe_ebpf::parse::Address;

use crate::{
    env::Env,
    judge::{Judgement, decision_at, is_pass},
    overrides::Overrides,
    shared_maps::is_failsafe,
};

const CLASS_SHIFT: u32 = 16;
const ROW_SHIFT: u32 = 32;
const NO_ROW: u64 = 0xffff;
const V4: u64 = 1 << 48;
const REASON_SHIFT: u32 = 16;
const PLAIN_DROP: u64 = Decision::DROP.0 as u64 | (Reason::PolicyDrop as u64) << REASON_SHIFT;

/// What is decided about an address of a class after all, where the cell of all orders says `decision`.
#[inline(always)]
pub fn reconsider(
    address: Address,
    row: Option<u32>,
    class: u16,
    decision: Decision,
    env: &Env,
) -> Judgement {
    let row = row.map_or(NO_ROW, u64::from);
    let family = if address.is_v4() { V4 } else { 0 };
    let case = u64::from(decision.0) | u64::from(class) << CLASS_SHIFT | row << ROW_SHIFT | family;
    let [high, low] = address.halves();
    let res = cordon_reconsider(high, low, case, env.word());
    // The usual one, so that what follows from it is known here.
    if res == PLAIN_DROP {
        return Judgement {
            decision: Decision::DROP,
            reason: Reason::PolicyDrop,
            class,
        };
    }
    Judgement {
        decision: Decision(res as u16),
        reason: Reason::from_code((res >> REASON_SHIFT) as u8).unwrap_or(Reason::PolicyDrop),
        class,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_reconsider(high: u64, low: u64, case: u64, env: u64) -> u64 {
    let address = Address::from_halves(case & V4 != 0, [high, low]);
    let row = match case >> ROW_SHIFT & NO_ROW {
        NO_ROW => None,
        row => Some(row as u32),
    };
    let class = (case >> CLASS_SHIFT) as u16;
    let (decision, reason) = try_reconsider(
        address,
        row,
        class,
        Decision(case as u16),
        &mut Env::from_word(env),
    );
    u64::from(decision.0) | (reason as u64) << REASON_SHIFT
}

#[inline(always)]
fn try_reconsider(
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
    let overrides = Overrides::of(address, env);
    if overrides.deny {
        if passes && env.with_shared() && is_failsafe(&address) {
            return (Decision::PASS, Reason::Failsafe);
        }
        return (Decision::DROP, Reason::Deny);
    }
    if passes {
        return (decision, Reason::PolicyPass);
    }
    if overrides.is_none() {
        return (decision, reason_of(decision));
    }
    for profile in [overrides.policy, overrides.runtime] {
        if profile != profile::ALL_ORDERS {
            let other = decision_at(row, profile, class, env);
            if other.action_code() < decision.action_code() {
                decision = other;
            }
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
