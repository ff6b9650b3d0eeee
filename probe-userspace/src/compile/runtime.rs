//! Lift keys to profiles: what run-time exemptions come to under this policy.
//!
//! Run-time exemptions outlive policies, so they name orders and services that a policy need not have; those lift nothing.

use std::collections::BTreeSet;

use probe_common::{
    Decision, lift_key,
    limits::MAX_PROFILES,
    profile::{self, ALL_ORDERS, LIFT_ALL},
};

use super::orders::{Meaning, Profile};
use crate::{
    diagnostic::{Diagnostic, Place},
    exemption::{KnownLifts, Lift, Orders},
    instant::Instant,
    policy::Policy,
};

/// What the generation makes of lift keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runtime {
    /// Profile of each key; of those that it does not know, that of all orders.
    pub(super) profiles: [u8; lift_key::N],
    /// The keys that it knows, be it that they lift nothing under this policy.
    pub(super) known: BTreeSet<u8>,
}

/// Orders that are lifted, by their index in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lifted {
    /// All, and the defaults.
    All,
    /// These.
    These(BTreeSet<usize>),
}

/// A lift in the terms of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuntimeLift {
    everywhere: Lifted,
    /// By the bit of the service, ascending.
    by_service: Vec<(usize, Lifted)>,
}

impl Lifted {
    fn new(orders: &Orders, policy: &Policy) -> Self {
        match orders {
            Orders::All => Self::All,
            Orders::These(ids) => {
                let is_named = |idx: &usize| ids.contains(&policy.orders[*idx].id.value);
                Self::These((0..policy.orders.len()).filter(is_named).collect())
            }
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::These(orders) if orders.is_empty())
    }

    fn union(self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(a), Self::These(b)) => Self::These(&a | b),
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }

    fn lifts(&self, order: usize) -> bool {
        match self {
            Self::All => true,
            Self::These(orders) => orders.contains(&order),
        }
    }
}

impl RuntimeLift {
    fn new(lift: &Lift, policy: &Policy) -> Self {
        let bit = |name: &str| {
            let mut services = policy.services.iter();
            services.position(|service| service.name.value == name)
        };
        let by_service = lift.by_service().iter();
        let mut by_service: Vec<(usize, Lifted)> = by_service
            .filter_map(|(service, orders)| Some((bit(service)?, Lifted::new(orders, policy))))
            .filter(|(_, lifted)| !lifted.is_nothing())
            .collect();
        by_service.sort_by_key(|(bit, _)| *bit);
        Self {
            everywhere: Lifted::new(lift.everywhere(), policy),
            by_service,
        }
    }

    fn is_nothing(&self) -> bool {
        self.everywhere.is_nothing() && self.by_service.is_empty()
    }

    fn is_all(&self) -> bool {
        self.everywhere == Lifted::All
    }

    /// What is lifted for packets to a set of services.
    fn for_services(&self, set: u64) -> Lifted {
        let of_set = self.by_service.iter().filter(|(bit, _)| set & 1 << bit != 0);
        of_set.fold(self.everywhere.clone(), |lifted, (_, more)| lifted.union(more))
    }

    /// The services that make a difference.
    pub(super) fn services(&self) -> u64 {
        self.by_service.iter().fold(0, |set, (bit, _)| set | 1 << bit)
    }

    pub(super) fn name(&self, ids: impl Fn(usize) -> String, service: impl Fn(usize) -> String) -> String {
        let of = |lifted: &Lifted| match lifted {
            Lifted::All => "lift all".to_owned(),
            Lifted::These(orders) => {
                let ids: Vec<String> = orders.iter().map(|idx| ids(*idx)).collect();
                format!("without {}", ids.join(", "))
            }
        };
        let everywhere = (!self.everywhere.is_nothing()).then(|| of(&self.everywhere));
        let by_service = self
            .by_service
            .iter()
            .map(|(bit, lifted)| format!("{} for {}", of(lifted), service(*bit)));
        let parts: Vec<String> = everywhere.into_iter().chain(by_service).collect();
        format!("at run time: {}", parts.join("; "))
    }
}

impl Meaning<'_> {
    /// The decision for a set of services, before it is made sure that it is no stricter than without the lift.
    ///
    /// More lifted is never stricter. So where no order is left to speak, what a lifted one says counts where it is milder
    /// than the default: without one of the lifts it would have been the answer.
    pub(super) fn runtime_decision(
        &self,
        row: u32,
        lift: &RuntimeLift,
        class: u16,
        now: Instant,
    ) -> Decision {
        let set = self.rows.sets.get(row as usize).copied().unwrap_or(0);
        let lifted = lift.for_services(set);
        let mut left: Option<Decision> = None;
        let mut without: Option<Decision> = None;
        for (idx, order) in self.orders.iter().enumerate() {
            if !order.in_force(now) {
                continue;
            }
            let answer = match lifted.lifts(idx) {
                false => order.says_at(row, class, now),
                true => {
                    let says = order.says_at(row, class, now);
                    without = [without, says]
                        .into_iter()
                        .flatten()
                        .reduce(|a, b| self.strictness.milder(a, b));
                    order.insists_at(row, class, now)
                }
            };
            left = [left, answer]
                .into_iter()
                .flatten()
                .reduce(|a, b| self.strictness.stricter(a, b));
        }
        let default = || self.default_of(class);
        match (left, lifted) {
            (Some(left), _) => left,
            (None, Lifted::All) => Decision::PASS,
            (None, Lifted::These(_)) => {
                without.map_or_else(default, |without| self.strictness.milder(default(), without))
            }
        }
    }
}

/// Gives every key its profile; adds the profiles that are missing, after the policy's own. Keys that nobody needs now
/// are left out where there is no room for them.
pub(super) fn runtime(
    policy: &Policy,
    lifts: &KnownLifts,
    profiles: &mut Vec<Profile>,
    remarks: &mut Vec<Diagnostic>,
) -> Runtime {
    let own = profiles.len();
    let (all, missing) = assigned(policy, lifts, profiles, |_| true);
    if missing.is_empty() {
        return all;
    }
    profiles.truncate(own);
    let (needed, missing) = assigned(policy, lifts, profiles, |key| lifts.needed.contains(&key));
    if let Some((_, lift)) = lifts.keys.iter().find(|(key, _)| missing.contains(key)) {
        remarks.push(Diagnostic::error(
            Place::file(&policy.file),
            lift.to_string(),
            format!(
                "run-time exemptions lift orders in {} combinations more than there is room for: {} beside the {} of \
                 this policy's own exemptions",
                missing.len(),
                MAX_PROFILES - own,
                own - usize::from(profile::FIRST_OWN)
            ),
            "let exemptions lift the same orders for the same services",
        ));
    }
    needed
}

/// The keys that a predicate holds for, with their profiles; and those needed for which there was no room.
fn assigned(
    policy: &Policy,
    lifts: &KnownLifts,
    profiles: &mut Vec<Profile>,
    is_wanted: impl Fn(u8) -> bool,
) -> (Runtime, BTreeSet<u8>) {
    let mut runtime = Runtime {
        profiles: [ALL_ORDERS; lift_key::N],
        known: BTreeSet::from([lift_key::NONE, lift_key::DENY, lift_key::ALL]),
    };
    runtime.profiles[usize::from(lift_key::DENY)] = profile::DENY;
    runtime.profiles[usize::from(lift_key::ALL)] = LIFT_ALL;
    let mut missing = BTreeSet::new();
    for (key, lift) in lifts.keys.iter().filter(|(key, _)| is_wanted(*key)) {
        let Some(profile) = profile_of(RuntimeLift::new(lift, policy), profiles) else {
            if lifts.needed.contains(&key) {
                missing.insert(key);
            }
            continue;
        };
        runtime.profiles[usize::from(key)] = profile;
        runtime.known.insert(key);
    }
    (runtime, missing)
}

/// The profile of a lift, a new one if there is none; `None`: no room.
fn profile_of(lift: RuntimeLift, profiles: &mut Vec<Profile>) -> Option<u8> {
    if lift.is_nothing() {
        return Some(ALL_ORDERS);
    }
    if lift.is_all() {
        return Some(LIFT_ALL);
    }
    let same = profiles
        .iter()
        .position(|known| matches!(known, Profile::Runtime(known) if *known == lift));
    let idx = match same {
        Some(idx) => idx,
        None if profiles.len() < MAX_PROFILES => {
            profiles.push(Profile::Runtime(lift));
            profiles.len() - 1
        }
        None => return None,
    };
    u8::try_from(idx).ok()
}
