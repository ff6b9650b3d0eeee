//! Amended policies against what an amendment means: a lifted order is not there, a halted service drops everything.

use proptest::prelude::*;

use super::{
    naive::{Entry, naive_decision},
    random::{any_instant, any_policy, any_service},
    *,
};
use crate::policy::{Amendments, OrderLift, Service, ServiceHalt, amend, halted_service};

fn any_amendments() -> impl Strategy<Value = Amendments> {
    let lifts = prop::sample::subsequence(vec!["A", "B", "C", "absent"], 0..3);
    let ends = prop::collection::vec(any_instant(), 4);
    let halts = prop::sample::subsequence(vec!["s0", "s1", "s2", "elsewhere"], 0..3);
    (lifts, halts, ends, any_service()).prop_map(|(lifts, halts, ends, elsewhere)| {
        let end = |idx: usize| ends[idx].map(Instant);
        let lifts = lifts.into_iter().enumerate().map(|(idx, order)| OrderLift {
            order: order.to_owned(),
            until: end(idx),
        });
        let halts = halts.into_iter().enumerate().map(|(idx, name)| ServiceHalt {
            service: Service {
                name: at(1, name.to_owned()),
                ..elsewhere.clone()
            },
            until: end(2 + idx),
            reason: "drill".to_owned(),
        });
        Amendments {
            lifts: lifts.collect(),
            halts: halts.collect(),
        }
    })
}

fn is_live(until: Option<Instant>, at: Instant) -> bool {
    until.is_none_or(|until| until > at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever a policy says and an amendment changes: at each instant from the compile on, the cells are those of the
    /// policy without the orders that are lifted then, and drop for every service that is halted then.
    #[test]
    fn an_amended_image_means_what_the_amendments_say(
        policy in any_policy(),
        amendments in any_amendments(),
        now in 0..60u32,
        after in 0..75u32,
    ) {
        let mut policy = policy;
        for (idx, service) in policy.services.iter_mut().enumerate() {
            service.name.value = format!("s{idx}");
        }
        let location = location();
        let amended = amend(policy.clone(), &amendments, Instant(now));
        let (image, remarks) = compile(&amended, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else {
            let is_limit = |remark: &Diagnostic| remark.message.contains("changes ahead") || remark.message.contains("nested prefixes");
            prop_assert!(remarks.iter().any(is_limit), "{:?}", remarks);
            return Ok(());
        };
        let at = Instant(now + after);
        let mut left = policy;
        left.orders.retain(|order| {
            let mut lifts = amendments.lifts.iter();
            !lifts.any(|lift| lift.order == order.id.value && is_live(lift.until, at))
        });
        let halted: Vec<&str> = amendments
            .halts
            .iter()
            .filter(|halt| is_live(halt.until, at))
            .map(|halt| halt.service.name.value.as_str())
            .collect();
        let n_exact = image.scopes.row_names.len() - image.scopes.strictest_of.len();
        let of_no_service = [(0, 0)];
        let rows = if amended.services.is_empty() { &of_no_service[..] } else { &image.scopes.rows[..n_exact] };
        for (set, row) in rows {
            let names = amended.services.iter().enumerate().filter(|(idx, _)| set >> idx & 1 == 1);
            let is_halted = names.map(|(_, service)| service.name.value.as_str()).any(|name| halted.contains(&name));
            for class in 0..location.classes.len() as u16 {
                let code = location.classes.name(class);
                let cell = |profile| {
                    let cell = image.matrix.cell(*row, profile, class).unwrap();
                    cell.stages_idx().map_or(cell.fixed_decision(), |idx| image.stages[idx as usize].decision_at(at.0))
                };
                let lift_all = Some(Entry::Lift { orders: None, phases: &[] });
                for (profile, entry) in [(profile::ALL_ORDERS, None), (profile::LIFT_ALL, lift_all)] {
                    if is_halted {
                        prop_assert_eq!(cell(profile).action(), Action::Drop, "{} {:?}", code, set);
                    } else {
                        prop_assert_eq!(cell(profile), naive_decision(&left, code, entry, &[*set], at), "{} {:?}", code, set);
                    }
                }
                prop_assert_eq!(cell(profile::DENY), Decision::DROP);
            }
        }
    }
}

#[test]
fn a_lift_that_needs_more_changes_than_there_is_room_for_is_refused() {
    let mut policy = policy();
    for (idx, code) in ["A", "B", "C", "D"].into_iter().enumerate() {
        let action = [Action::Count, Action::Drain, Action::Reject, Action::Drop][idx];
        let effective = Some(200 + 10 * idx as u32);
        policy.orders.push(order(
            1,
            code,
            effective,
            None,
            vec![rule(1, action, &["RU"], false)],
        ));
    }
    assert!(remarks(&policy, 100).is_empty(), "four changes ahead");
    let until = Some(Instant(150));
    let lifted = |names: &[&str]| Amendments {
        lifts: names
            .iter()
            .map(|name| OrderLift {
                order: (*name).to_owned(),
                until,
            })
            .collect(),
        ..Amendments::default()
    };
    // Of an order that begins later anyway, nothing is to be seen.
    let same = amend(policy.clone(), &lifted(&["A"]), Instant(100));
    assert!(remarks(&same, 100).is_empty());
    // Now it holds already, and would have to come back as one more change.
    policy.orders[0].effective = None;
    policy.orders.push(order(
        1,
        "E",
        Some(300),
        None,
        vec![Rule {
            decision: Decision::DROP.both(),
            ..rule(1, Action::Drop, &["RU"], false)
        }],
    ));
    assert!(remarks(&policy, 100).is_empty(), "four again");
    let amended = amend(policy, &lifted(&["A"]), Instant(100));
    let found = remarks(&amended, 100);
    assert!(
        found.iter().any(|remark| remark.contains("5 more times")),
        "{found:?}"
    );
}

#[test]
fn what_is_over_changes_nothing_and_a_halt_is_an_order_that_no_policy_can_have() {
    let mut policy = policy();
    policy.default = Decision::DROP;
    policy
        .orders
        .push(order(1, "A", None, None, vec![everywhere(Action::Count)]));
    let mut amendments = Amendments {
        lifts: vec![OrderLift {
            order: "A".to_owned(),
            until: Some(Instant(100)),
        }],
        halts: vec![ServiceHalt {
            service: Service {
                name: at(1, "web".to_owned()),
                interfaces: Vec::new(),
                vlans: Vec::new(),
                destinations: Vec::new(),
                protocols: vec![6],
                ports: vec![443..=443],
            },
            until: Some(Instant(100)),
            reason: "drill".to_owned(),
        }],
    };
    let digest = |amendments: &Amendments, now: u32| {
        compiled(&amend(policy.clone(), amendments, Instant(now)), now).digest
    };
    let none = Amendments::default();
    assert_eq!(digest(&amendments, 100), digest(&none, 100), "over");
    assert_ne!(digest(&amendments, 99), digest(&none, 99));

    amendments.lifts.clear();
    let image = compiled(&amend(policy.clone(), &amendments, Instant(1)), 1);
    let ids: Vec<&str> = image.orders.iter().map(|order| order.id.as_str()).collect();
    assert_eq!(ids, ["A", "halt of web"]);
    assert_eq!(halted_service(ids[1]), Some("web"));
    assert_eq!(halted_service(ids[0]), None);
    // Private addresses too: a halt knows no geography.
    let verdict = |address: &str, port| {
        image.verdict(&Query {
            address: address.parse().unwrap(),
            heading: Heading {
                protocol: Some(6),
                port: Some(port),
                ..Heading::default()
            },
            now: Instant(1),
            runtime: &[],
            failsafe: &[],
        })
    };
    assert_eq!(verdict("10.1.1.1", 443).action, Action::Drop);
    assert_eq!(verdict("10.1.1.1", 80).action, Action::Pass);
    assert_eq!(verdict("22.1.1.1", 443).action, Action::Drop);
}
