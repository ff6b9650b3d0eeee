//! Lifts at run time against a naive reading of the policy.

use std::collections::BTreeSet;

use probe_common::lift_key;
use proptest::prelude::*;

use super::{
    naive::{Entry, answer_of, mildest, naive_exact, strictest},
    random::any_policy,
    *,
};
use crate::{
    compile::compile_with_lifts,
    exemption::{Keys, KnownLifts, Lift, Orders},
};

/// What an exemption names: orders and services.
type Term = (Option<Vec<String>>, Option<Vec<String>>);

fn any_terms() -> impl Strategy<Value = Vec<Term>> {
    let some_of = |names: &'static [&'static str]| {
        prop::option::of(
            prop::sample::subsequence(names, 1..=names.len())
                .prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>()),
        )
    };
    // "X" and "none" are in no policy.
    let term = (
        some_of(&["A", "B", "C", "X"]),
        some_of(&["s0", "s1", "s2", "none"]),
    );
    prop::collection::vec(term, 1..4)
}

fn lift_of((orders, services): &Term) -> Lift {
    let orders = orders
        .clone()
        .map_or(Orders::All, |ids| Orders::These(ids.into_iter().collect()));
    let services = services.clone().map(BTreeSet::from_iter);
    Lift::new(orders, services.as_ref())
}

fn named_services(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for (idx, service) in policy.services.iter_mut().enumerate() {
        service.name.value = format!("s{idx}");
    }
    policy
}

/// The terms that hold for packets to a set of services.
fn applying<'a>(policy: &Policy, terms: &'a [Term], set: u64) -> Vec<&'a Option<Vec<String>>> {
    let is_in = |name: &String| {
        let mut services = policy.services.iter();
        services
            .position(|service| service.name.value == *name)
            .is_some_and(|bit| set >> bit & 1 == 1)
    };
    let applies = |(_, services): &&Term| services.as_ref().is_none_or(|named| named.iter().any(is_in));
    terms.iter().filter(applies).map(|(orders, _)| orders).collect()
}

/// What holds for a set of services if these terms are granted, read straight off the policy.
fn naive_runtime(policy: &Policy, code: &str, terms: &[Term], set: u64, now: Instant) -> Decision {
    let applying = applying(policy, terms, set);
    let lifts_all = applying.iter().any(|orders| orders.is_none());
    let is_lifted = |id: &String| {
        applying
            .iter()
            .any(|orders| orders.as_ref().is_none_or(|ids| ids.contains(id)))
    };
    let (mut answers, mut without) = (Vec::new(), Vec::new());
    for order in &policy.orders {
        let has_begun = order
            .effective
            .as_ref()
            .is_none_or(|effective| effective.value <= now);
        let has_ended = order.until.as_ref().is_some_and(|until| until.value <= now);
        if !has_begun || has_ended {
            continue;
        }
        let own = answer_of(order.rules.iter(), code, set, now);
        if is_lifted(&order.id.value) {
            without.extend(own);
            let insisting = order.rules.iter().filter(|rule| rule.no_exemptions);
            answers.extend(answer_of(insisting, code, set, now));
        } else {
            answers.extend(own);
        }
    }
    if let Some(strictest) = strictest(policy, &answers) {
        return strictest;
    }
    if lifts_all {
        return Decision::PASS;
    }
    let default = match code {
        "unknown" => policy.unknown,
        "lan" => policy.lan,
        _ => policy.default,
    };
    without
        .into_iter()
        .fold(default, |best, own| mildest(policy, best, own))
}

struct Compiled {
    image: Image,
    known: KnownLifts,
}

impl Compiled {
    fn new(policy: &Policy, lifts: &[Lift], now: Instant) -> Option<Self> {
        let mut known = KnownLifts::default();
        for lift in lifts {
            known.needed.insert(known.keys.meet(lift).unwrap());
        }
        let location = location();
        let (image, _) =
            compile_with_lifts(policy, "text", &location, now, &FrameSettings::default(), &known);
        Some(Self { image: image?, known })
    }

    fn cell(&self, row: u32, lift: &Lift, class: u16, at: Instant) -> Decision {
        let key = self.known.keys.number(lift).unwrap();
        let profile = self.image.runtime_profiles[usize::from(key)];
        let cell = self.image.matrix.cell(row, profile, class).unwrap();
        let timed = |idx: u32| self.image.stages[idx as usize].decision_at(at.0);
        cell.stages_idx().map_or(cell.fixed_decision(), timed)
    }

    /// Rows without vagueness, with their sets.
    fn rows(&self) -> Vec<(u64, u32)> {
        let scopes = &self.image.scopes;
        if scopes.rows.is_empty() {
            return vec![(0, 0)];
        }
        let n_exact = (scopes.row_names.len() - scopes.strictest_of.len()) as u32;
        let rows = scopes.rows.iter().filter(|(_, row)| *row < n_exact);
        let mut rows: Vec<(u64, u32)> = rows.copied().collect();
        // A vague set may take the row of an exact one.
        rows.retain(|(set, _)| *set < 1 << 32);
        rows
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The cells of a lift's profile say what the policy says without what is lifted, for each set of services.
    #[test]
    fn a_lift_means_what_the_policy_says_without_it(
        policy in any_policy(), terms in any_terms(), now in 0..60u32, after in 0..75u32,
    ) {
        let policy = named_services(&policy);
        let lift = terms.iter().fold(Lift::NOTHING, |union, term| union.union(&lift_of(term)));
        let Some(compiled) = Compiled::new(&policy, std::slice::from_ref(&lift), Instant(now)) else { return Ok(()) };
        let at = Instant(now + after);
        let classes = &compiled.image.location.classes;
        for (set, row) in compiled.rows() {
            for class in 0..classes.len() as u16 {
                let code = classes.name(class);
                let plain = naive_exact(&policy, code, None, set, at);
                let expected = mildest(&policy, naive_runtime(&policy, code, &terms, set, at), plain);
                prop_assert_eq!(
                    compiled.cell(row, &lift, class, at), expected, "{} for {} in row {}", lift, code, row
                );
            }
        }
    }

    /// Whoever is granted more is never judged more strictly, for packets of every row, those that cannot be read in
    /// full included. Where nothing but exemptions lifts, the union is the mildest of all that could be lifted alone.
    #[test]
    fn more_lifted_is_never_stricter(
        policy in any_policy(), terms in any_terms(), now in 0..60u32, after in 0..75u32,
    ) {
        let mut policy = named_services(&policy);
        for rule in policy.orders.iter_mut().flat_map(|order| &mut order.rules) {
            rule.no_exemptions = false;
        }
        let lifts: Vec<Lift> = terms.iter().map(lift_of).collect();
        let union = lifts.iter().fold(Lift::NOTHING, |union, lift| union.union(lift));
        let mut all = lifts.clone();
        all.push(union.clone());
        let Some(compiled) = Compiled::new(&policy, &all, Instant(now)) else { return Ok(()) };
        let at = Instant(now + after);
        let classes = &compiled.image.location.classes;
        let n_rows = compiled.image.scopes.row_names.len().max(1) as u32;
        for row in 0..n_rows {
            for class in 0..classes.len() as u16 {
                let joined = compiled.cell(row, &union, class, at);
                for lift in lifts.iter().chain([&Lift::NOTHING]) {
                    let alone = compiled.cell(row, lift, class, at);
                    prop_assert_eq!(
                        mildest(&policy, joined, alone).action(), joined.action(), "{} beside {}", union, lift
                    );
                }
            }
        }
        for (set, row) in compiled.rows() {
            for class in 0..classes.len() as u16 {
                let code = classes.name(class);
                let applying = applying(&policy, &terms, set);
                let lifts_all = applying.iter().any(|orders| orders.is_none());
                let ids: Vec<Located<String>> = policy
                    .orders
                    .iter()
                    .filter(|order| applying.iter().any(|orders| orders.as_ref().is_none_or(|ids| ids.contains(&order.id.value))))
                    .map(|order| order.id.clone())
                    .collect();
                let mut best = naive_exact(&policy, code, None, set, at);
                if lifts_all {
                    best = Decision::PASS;
                }
                for mask in 0..1_u32 << ids.len() {
                    let some: Vec<Located<String>> = (0..ids.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| ids[bit].clone()).collect();
                    let entry = Entry::Lift { orders: Some(&some), phases: &[] };
                    best = mildest(&policy, best, naive_exact(&policy, code, Some(entry), set, at));
                }
                prop_assert_eq!(compiled.cell(row, &union, class, at).action(), best.action(), "{} for {}", union, code);
            }
        }
    }
}

#[test]
fn what_nobody_needs_makes_room_and_what_is_needed_is_an_error_without_room() {
    let mut policy = policy();
    for n in 0..70 {
        policy.orders.push(order(
            1,
            &format!("o{n}"),
            None,
            None,
            vec![rule(1, Action::Drop, &["RU"], false)],
        ));
    }
    let mut keys = Keys::default();
    keys.offer(policy.orders.iter().map(|order| order.id.value.as_str()));
    let last = keys.number(&Lift::order("o69")).unwrap();
    let compiled = |needed: BTreeSet<u8>| {
        let known = KnownLifts {
            keys: keys.clone(),
            needed,
        };
        compile_with_lifts(
            &policy,
            "",
            &location(),
            Instant(0),
            &FrameSettings::default(),
            &known,
        )
    };
    let image = compiled(BTreeSet::new()).0.unwrap();
    assert_eq!(image.profiles.len(), MAX_PROFILES);
    assert!(!image.runtime_known.contains(&last), "no room");
    let image = compiled(BTreeSet::from([last])).0.unwrap();
    assert!(image.runtime_known.contains(&last) && image.runtime_profiles[usize::from(last)] != 0);
    let (none, remarks) = compiled(keys.iter().map(|(key, _)| key).collect());
    assert!(none.is_none());
    assert!(
        remarks[0].message.contains("9 combinations more") && !remarks[0].fix.is_empty(),
        "{}",
        remarks[0]
    );
    assert_eq!(
        image.runtime_profiles[usize::from(lift_key::ALL)],
        profile::LIFT_ALL
    );
    assert_eq!(image.runtime_profiles[usize::from(lift_key::DENY)], profile::DENY);
}

/// Keys that a policy has nothing to do with change nothing in its image: what is pinned is recognised.
#[test]
fn lifts_of_other_policies_change_nothing() {
    let policy = Policy {
        orders: vec![order(
            1,
            "o1",
            None,
            None,
            vec![rule(1, Action::Drop, &["RU"], false)],
        )],
        ..policy()
    };
    let image = |ids: &[&str]| {
        let mut known = KnownLifts::default();
        known.keys.offer(ids.iter().copied());
        compile_with_lifts(
            &policy,
            "",
            &location(),
            Instant(0),
            &FrameSettings::default(),
            &known,
        )
        .0
        .unwrap()
    };
    assert_eq!(image(&["o1"]).digest, image(&["o1", "other", "more"]).digest);
    assert_ne!(
        image(&["o1"]).digest,
        image(&["other", "o1"]).digest,
        "another key for the same lift"
    );
}
