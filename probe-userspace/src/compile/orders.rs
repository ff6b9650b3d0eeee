//! What each order says about each class, and what follows for a packet under a profile at an instant.

use std::collections::BTreeSet;

use probe_common::{Decision, class, profile};
use serde::Serialize;

use crate::{
    geo::ClassTable,
    instant::Instant,
    policy::{Order, Policy, Rule, Selector},
};

/// An order with its rules worked out for every class of a location.
#[derive(Clone, Debug, Serialize)]
pub struct OrderInfo {
    /// `id`.
    pub id: String,
    /// `authority`.
    pub authority: String,
    /// First instant at which it holds; `None`: from always.
    pub effective: Option<Instant>,
    /// First instant at which it holds no more; `None`: for ever.
    pub until: Option<Instant>,
    /// Action of the first rule that matches a class.
    #[serde(skip)]
    says: Vec<Option<Decision>>,
    /// The same among the rules marked `no_exemptions`: what is left of a lifted order.
    #[serde(skip)]
    insists: Vec<Option<Decision>>,
}

impl OrderInfo {
    pub(super) fn new(order: &Order, classes: &ClassTable) -> Self {
        Self {
            id: order.id.value.clone(),
            authority: order.authority.clone(),
            effective: order.effective.as_ref().map(|effective| effective.value),
            until: order.until.as_ref().map(|until| until.value),
            says: first_matches(order.rules.iter(), classes),
            insists: first_matches(order.rules.iter().filter(|rule| rule.no_exemptions), classes),
        }
    }

    /// Whether the order holds at an instant.
    pub fn in_force(&self, now: Instant) -> bool {
        self.effective.is_none_or(|effective| effective <= now) && self.until.is_none_or(|until| now < until)
    }

    /// What the order does with a class while it holds; `None`: it does not mention it.
    pub fn action(&self, class: u16) -> Option<Decision> {
        self.says.get(usize::from(class)).copied().flatten()
    }

    /// What is left of [`Self::action`] for a source for whom the order is lifted.
    pub fn action_if_lifted(&self, class: u16) -> Option<Decision> {
        self.insists.get(usize::from(class)).copied().flatten()
    }
}

/// For each class, the action of the first of the rules that matches it. No rule matches the LAN class.
fn first_matches<'a>(rules: impl Iterator<Item = &'a Rule>, classes: &ClassTable) -> Vec<Option<Decision>> {
    let mut actions = vec![None; classes.len()];
    for rule in rules {
        match &rule.selector {
            Selector::Everywhere => {
                for (class, action) in actions.iter_mut().enumerate() {
                    if class != usize::from(class::LAN) {
                        action.get_or_insert(rule.decision);
                    }
                }
            }
            Selector::Places(items) => {
                for class in items.iter().filter_map(|item| classes.class_of(&item.code)) {
                    actions[usize::from(class)].get_or_insert(rule.decision);
                }
            }
        }
    }
    actions
}

/// What a row of the matrix leaves in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    AllOrders,
    Deny,
    LiftAll,
    /// Without these orders, by their index in the policy.
    Without(BTreeSet<usize>),
}

impl Profile {
    /// The profiles that every generation has, in the order of their numbers.
    pub(super) fn fixed() -> Vec<Self> {
        let mut profiles = vec![Self::AllOrders; usize::from(profile::FIRST_OWN)];
        profiles[usize::from(profile::DENY)] = Self::Deny;
        profiles[usize::from(profile::LIFT_ALL)] = Self::LiftAll;
        profiles
    }

    pub(super) fn name(&self, orders: &[OrderInfo]) -> String {
        match self {
            Self::AllOrders => "all orders".to_owned(),
            Self::Deny => "deny".to_owned(),
            Self::LiftAll => "lift all".to_owned(),
            Self::Without(lifted) => {
                let ids: Vec<&str> = lifted.iter().map(|idx| orders[*idx].id.as_str()).collect();
                format!("without {}", ids.join(", "))
            }
        }
    }

    fn lifts(&self, order: usize) -> bool {
        match self {
            Self::AllOrders | Self::Deny => false,
            Self::LiftAll => true,
            Self::Without(lifted) => lifted.contains(&order),
        }
    }
}

/// The meaning of a policy: an action for each profile, class and instant.
pub(super) struct Meaning<'a> {
    pub(super) policy: &'a Policy,
    pub(super) orders: Vec<OrderInfo>,
    pub(super) profiles: Vec<Profile>,
}

impl Meaning<'_> {
    /// What happens to packets of a class, for a source with this profile.
    pub(super) fn action(&self, profile: &Profile, class: u16, now: Instant) -> Decision {
        if *profile == Profile::Deny {
            return Decision::DROP;
        }
        self.speaking(profile, class)
            .filter(|(order, _)| order.in_force(now))
            .map(|(_, action)| action)
            .max()
            .unwrap_or_else(|| self.default_action(profile, class))
    }

    /// The orders that mention a class, with what they do for this profile when in force.
    pub(super) fn speaking(
        &self,
        profile: &Profile,
        class: u16,
    ) -> impl Iterator<Item = (&OrderInfo, Decision)> {
        self.orders.iter().enumerate().filter_map(move |(idx, order)| {
            let action = if profile.lifts(idx) {
                order.action_if_lifted(class)
            } else {
                order.action(class)
            };
            action.map(|action| (order, action))
        })
    }

    fn default_action(&self, profile: &Profile, class: u16) -> Decision {
        match (profile, class) {
            (Profile::Deny, _) => Decision::DROP,
            (Profile::LiftAll, _) => Decision::PASS,
            (_, class::UNKNOWN) => self.policy.unknown,
            (_, class::LAN) => self.policy.lan,
            _ => self.policy.default,
        }
    }
}
