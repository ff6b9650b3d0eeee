//! What each order says about each class, and what follows for a packet under a profile at an instant.

use std::collections::{BTreeMap, BTreeSet};

use probe_common::{Decision, class, profile};
use serde::Serialize;

use super::{rows::Rows, runtime::RuntimeLift, tiers::Strictness};
use crate::{
    diagnostic::Place,
    geo::ClassTable,
    instant::Instant,
    policy::{Order, Phase, Policy, Rule, Selector, Service},
};

/// A decision that changes at given instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Phased {
    /// Ends (exclusive), ascending, each with what holds before.
    pub(super) phases: Vec<(Instant, Decision)>,
    /// What holds after the last of them.
    pub(super) last: Decision,
}

impl Phased {
    pub(super) fn new(phases: &[Phase], last: Decision) -> Self {
        Self {
            phases: phases
                .iter()
                .map(|phase| (phase.until.value, phase.decision))
                .collect(),
            last,
        }
    }

    pub(super) fn at(&self, now: Instant) -> Decision {
        let phase = self.phases.iter().find(|(until, _)| now < *until);
        phase.map_or(self.last, |(_, decision)| *decision)
    }

    fn ends(&self) -> impl Iterator<Item = Instant> {
        self.phases.iter().map(|(until, _)| *until)
    }
}

/// An order with its rules worked out for every row and class.
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
    /// What each rule answers.
    #[serde(skip)]
    answers: Vec<Phased>,
    /// The ways in which the rules apply; rows with the same services in this order's eyes share one.
    #[serde(skip)]
    readings: Vec<Reading>,
    /// By row without vagueness.
    #[serde(skip)]
    reading_of_row: Vec<usize>,
}

/// Which rule is the first to match, by class.
#[derive(Clone, Debug)]
struct Reading {
    says: Vec<Option<usize>>,
    /// The same among the rules marked `no_exemptions`: what is left of a lifted order.
    insists: Vec<Option<usize>>,
}

impl OrderInfo {
    pub(super) fn new(order: &Order, classes: &ClassTable, rows: &Rows) -> Self {
        let mut readings = Vec::new();
        let mut known: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        let reading_of_row = rows
            .sets
            .iter()
            .map(|set| {
                let applies: Vec<bool> = order.rules.iter().map(|rule| covers(rule, *set)).collect();
                *known.entry(applies).or_insert_with_key(|applies| {
                    readings.push(Reading::new(&order.rules, applies, classes));
                    readings.len() - 1
                })
            })
            .collect();
        Self {
            id: order.id.value.clone(),
            authority: order.authority.clone(),
            effective: order.effective.as_ref().map(|effective| effective.value),
            until: order.until.as_ref().map(|until| until.value),
            answers: order
                .rules
                .iter()
                .map(|rule| Phased::new(&rule.phases, rule.decision))
                .collect(),
            readings,
            reading_of_row,
        }
    }

    /// Whether the order holds at an instant.
    pub fn in_force(&self, now: Instant) -> bool {
        self.effective.is_none_or(|effective| effective <= now) && self.until.is_none_or(|until| now < until)
    }

    /// What the order does with packets of a class that take a row, while it holds; `None`: it does not mention them.
    /// For a row of packets whose ports are unknown ask for the rows that it may be.
    pub fn decision(&self, row: u32, class: u16, now: Instant) -> Option<Decision> {
        self.says_at(row, class, now)
    }

    fn reading(&self, row: u32) -> Option<&Reading> {
        self.readings.get(*self.reading_of_row.get(row as usize)?)
    }

    pub(super) fn says_at(&self, row: u32, class: u16, now: Instant) -> Option<Decision> {
        Some(self.says(row, class)?.at(now))
    }

    pub(super) fn insists_at(&self, row: u32, class: u16, now: Instant) -> Option<Decision> {
        Some(self.insists(row, class)?.at(now))
    }

    fn says(&self, row: u32, class: u16) -> Option<&Phased> {
        let rule = (*self.reading(row)?.says.get(usize::from(class))?)?;
        self.answers.get(rule)
    }

    fn insists(&self, row: u32, class: u16) -> Option<&Phased> {
        let rule = (*self.reading(row)?.insists.get(usize::from(class))?)?;
        self.answers.get(rule)
    }
}

/// Whether a rule covers packets for a set of services.
fn covers(rule: &Rule, set: u64) -> bool {
    match &rule.services {
        None => true,
        Some(services) => services.iter().any(|idx| set & 1 << idx != 0),
    }
}

impl Reading {
    fn new(rules: &[Rule], applies: &[bool], classes: &ClassTable) -> Self {
        let applying = rules
            .iter()
            .enumerate()
            .filter(|(idx, _)| applies.get(*idx) == Some(&true));
        Self {
            says: first_matches(applying.clone(), classes),
            insists: first_matches(applying.filter(|(_, rule)| rule.no_exemptions), classes),
        }
    }
}

/// For each class, the first of the rules that matches it. No rule of a policy matches the LAN class.
fn first_matches<'a>(
    rules: impl Iterator<Item = (usize, &'a Rule)>,
    classes: &ClassTable,
) -> Vec<Option<usize>> {
    let mut matches = vec![None; classes.len()];
    for (idx, rule) in rules {
        match &rule.selector {
            Selector::AllSources => {
                for first in &mut matches {
                    first.get_or_insert(idx);
                }
            }
            Selector::Everywhere => {
                for (class, first) in matches.iter_mut().enumerate() {
                    if class != usize::from(class::LAN) {
                        first.get_or_insert(idx);
                    }
                }
            }
            Selector::Places(items) => {
                for class in items.iter().filter_map(|item| classes.class_of(&item.code)) {
                    matches[usize::from(class)].get_or_insert(idx);
                }
            }
        }
    }
    matches
}

/// What a profile of the matrix leaves in force.
#[derive(Clone, Debug)]
pub(super) enum Profile {
    /// Everything.
    AllOrders,
    /// Nothing passes.
    Deny,
    /// Some orders are lifted.
    Lift(Lift),
    /// Some orders are lifted at run time.
    Runtime(RuntimeLift),
}

/// What is lifted for a source.
#[derive(Clone, Debug, Default)]
pub(super) struct Lift {
    /// The orders, by their index in the policy; `None`: all, and the defaults.
    pub(super) orders: Option<BTreeSet<usize>>,
    /// What the lifted orders do instead while each phase lasts; empty: they let it pass.
    pub(super) phases: Vec<(Instant, Decision)>,
    /// Where the first exemption that lifts this stands.
    pub(super) place: Option<Place>,
}

impl Lift {
    pub(super) fn means_the_same_as(&self, other: &Self) -> bool {
        self.orders == other.orders && self.phases == other.phases
    }

    fn lifts(&self, order: usize) -> bool {
        self.orders.as_ref().is_none_or(|orders| orders.contains(&order))
    }

    /// What the phase that lasts at an instant does. The override is over with the last phase, so what follows is
    /// never asked for.
    fn phase_at(&self, now: Instant) -> Option<Decision> {
        let (_, last) = self.phases.last()?;
        let phase = self.phases.iter().find(|(until, _)| now < *until);
        Some(phase.map_or(*last, |(_, decision)| *decision))
    }

    /// When the override that has this profile is over at the latest.
    fn end(&self) -> Option<Instant> {
        self.phases.last().map(|(until, _)| *until)
    }
}

impl Profile {
    /// The profiles that every generation has, in the order of their numbers.
    pub(super) fn fixed() -> Vec<Self> {
        let mut profiles = vec![Self::AllOrders; usize::from(profile::FIRST_OWN)];
        profiles[usize::from(profile::DENY)] = Self::Deny;
        profiles[usize::from(profile::LIFT_ALL)] = Self::Lift(Lift::default());
        profiles
    }

    pub(super) fn name(
        &self,
        orders: &[OrderInfo],
        services: &[Service],
        name_of: impl Fn(Decision) -> String,
    ) -> String {
        let lift = match self {
            Self::AllOrders => return "all orders".to_owned(),
            Self::Deny => return "deny".to_owned(),
            Self::Lift(lift) => lift,
            Self::Runtime(lift) => {
                let id = |idx: usize| orders[idx].id.clone();
                return lift.name(id, |bit| services[bit].name.value.clone());
            }
        };
        let lifted = match &lift.orders {
            None => "lift all".to_owned(),
            Some(lifted) => {
                let ids: Vec<&str> = lifted.iter().map(|idx| orders[*idx].id.as_str()).collect();
                format!("without {}", ids.join(", "))
            }
        };
        if lift.phases.is_empty() {
            return lifted;
        }
        let phases: Vec<String> = lift
            .phases
            .iter()
            .map(|(until, decision)| format!("{} until {until}", name_of(*decision)))
            .collect();
        format!("{lifted}: {}", phases.join(", "))
    }
}

/// The meaning of a policy: a decision for each row, profile, class and instant.
pub(super) struct Meaning<'a> {
    pub(super) policy: &'a Policy,
    pub(super) orders: Vec<OrderInfo>,
    pub(super) profiles: Vec<Profile>,
    pub(super) rows: Rows,
    pub(super) strictness: Strictness,
}

impl Meaning<'_> {
    /// What happens to packets that take a row, of a class, for a source with this profile. Lifting an order never
    /// makes anything stricter, whatever the default says that then speaks in its place.
    pub(super) fn decision(&self, row: u32, profile: &Profile, class: u16, now: Instant) -> Decision {
        let decision = self.unclamped(row, profile, class, now);
        match profile {
            Profile::AllOrders | Profile::Deny => decision,
            Profile::Lift(_) | Profile::Runtime(_) => {
                let otherwise = self.unclamped(row, &Profile::AllOrders, class, now);
                self.strictness.milder(decision, otherwise)
            }
        }
    }

    fn unclamped(&self, row: u32, profile: &Profile, class: u16, now: Instant) -> Decision {
        let rows = self.possible_rows(row).into_iter();
        rows.map(|row| self.exact_decision(row, profile, class, now))
            .reduce(|a, b| self.strictness.stricter(a, b))
            .unwrap_or(Decision::DROP)
    }

    /// The rows without vagueness that a packet of a row may be meant for.
    pub(super) fn possible_rows(&self, row: u32) -> Vec<u32> {
        match (row as usize).checked_sub(self.rows.sets.len()) {
            None => vec![row],
            Some(idx) => self.rows.strictest_of.get(idx).cloned().unwrap_or_default(),
        }
    }

    fn exact_decision(&self, row: u32, profile: &Profile, class: u16, now: Instant) -> Decision {
        match profile {
            Profile::Deny => return Decision::DROP,
            Profile::Runtime(lift) => return self.runtime_decision(row, lift, class, now),
            Profile::AllOrders | Profile::Lift(_) => {}
        }
        (0..self.orders.len())
            .filter(|idx| self.orders[*idx].in_force(now))
            .filter_map(|idx| self.answer(idx, row, profile, class, now))
            .reduce(|a, b| self.strictness.stricter(a, b))
            .unwrap_or_else(|| self.default_decision(profile, class, now))
    }

    /// What an order does with a class for this profile while it is in force; `None`: it does not mention it.
    fn answer(
        &self,
        order: usize,
        row: u32,
        profile: &Profile,
        class: u16,
        now: Instant,
    ) -> Option<Decision> {
        let info = &self.orders[order];
        let says = || Some(info.says(row, class)?.at(now));
        let Profile::Lift(lift) = profile else {
            return says();
        };
        if !lift.lifts(order) {
            return says();
        }
        let insists = info.insists(row, class).map(|insists| insists.at(now));
        let Some(phase) = lift.phase_at(now) else {
            return insists;
        };
        let eased = self.strictness.milder(says()?, phase);
        Some(match insists {
            Some(insists) => self.strictness.stricter(eased, insists),
            None => eased,
        })
    }

    fn default_decision(&self, profile: &Profile, class: u16, now: Instant) -> Decision {
        let written = self.default_of(class);
        match profile {
            Profile::Deny => Decision::DROP,
            Profile::Lift(lift @ Lift { orders: None, .. }) => match lift.phase_at(now) {
                Some(phase) => self.strictness.milder(written, phase),
                None => Decision::PASS,
            },
            Profile::AllOrders | Profile::Lift(_) | Profile::Runtime(_) => written,
        }
    }

    /// What the policy does with a class that no order mentions.
    pub(super) fn default_of(&self, class: u16) -> Decision {
        match class {
            class::UNKNOWN => self.policy.unknown,
            class::LAN => self.policy.lan,
            _ => self.policy.default,
        }
    }

    /// The instants ahead at which the decision of a cell may change, ascending.
    pub(super) fn breakpoints(
        &self,
        row: u32,
        profile: &Profile,
        class: u16,
        now: Instant,
    ) -> BTreeSet<Instant> {
        let lift = match profile {
            Profile::Lift(lift) => Some(lift),
            Profile::AllOrders | Profile::Deny | Profile::Runtime(_) => None,
        };
        let end = lift.and_then(Lift::end);
        let mut instants = BTreeSet::new();
        for order in self.speaking(row, class) {
            instants.extend(order.1);
        }
        instants.extend(
            lift.iter()
                .flat_map(|lift| lift.phases.iter().map(|(until, _)| *until)),
        );
        instants.retain(|instant| *instant > now && end.is_none_or(|end| *instant < end));
        instants
    }

    /// The orders that mention a class, by their index, each with the instants at which it may change its mind.
    pub(super) fn speaking(&self, row: u32, class: u16) -> impl Iterator<Item = (usize, Vec<Instant>)> {
        let rows = self.possible_rows(row);
        self.orders.iter().enumerate().filter_map(move |(idx, order)| {
            let answers: Vec<&Phased> = rows
                .iter()
                .flat_map(|row| [order.says(*row, class), order.insists(*row, class)])
                .flatten()
                .collect();
            if answers.is_empty() {
                return None;
            }
            let ends = answers.into_iter().flat_map(Phased::ends);
            Some((idx, ends.chain(order.effective).chain(order.until).collect()))
        })
    }

    /// Rows whose cells are the same, because every order reads them in one way, and every run-time lift.
    pub(super) fn signature(&self, row: u32) -> Vec<Vec<usize>> {
        let told_apart = self.profiles.iter().fold(0, |set, profile| match profile {
            Profile::Runtime(lift) => set | lift.services(),
            Profile::AllOrders | Profile::Deny | Profile::Lift(_) => set,
        });
        let mut readings: Vec<Vec<usize>> = self
            .possible_rows(row)
            .iter()
            .map(|row| {
                let of_row =
                    |order: &OrderInfo| order.reading_of_row.get(*row as usize).copied().unwrap_or(0);
                let set = self.rows.sets.get(*row as usize).copied().unwrap_or(0);
                let of_lifts = (set & told_apart) as usize;
                self.orders.iter().map(of_row).chain([of_lifts]).collect()
            })
            .collect();
        readings.sort_unstable();
        readings.dedup();
        readings
    }
}
