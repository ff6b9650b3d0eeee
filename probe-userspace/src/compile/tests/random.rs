//! Random policies and packets.

use proptest::prelude::*;

use super::{
    naive::{DESTINATIONS, INTERFACES, PORTS, VLANS},
    *,
};
use crate::policy::{Phase, Service, Tier, Treatment};

/// Tiers that differ in every way that counts, and two that do not.
pub(super) fn tiers() -> Vec<Tier> {
    let limit = |packets_per_s, bytes_per_s, per_class| Treatment::Limit {
        packets_per_s,
        bytes_per_s,
        burst_packets: None,
        burst_bytes: None,
        per_class,
    };
    let redirect = |interface: &str| Treatment::Redirect {
        interface: at(1, interface.to_owned()),
        next_hop: None,
    };
    let treatments = [
        limit(Some(50), None, false),
        Treatment::Mark { dscp: 1 },
        limit(Some(100), None, false),
        limit(None, Some(1_000), false),
        redirect("eth1"),
        Treatment::Mark { dscp: 2 },
        limit(Some(100), Some(10), false),
        redirect("eth2"),
        limit(Some(100), Some(10), true),
    ];
    treatments
        .into_iter()
        .enumerate()
        .map(|(idx, treatment)| Tier {
            name: at(1, format!("t{idx}")),
            treatment,
        })
        .collect()
}

pub(super) fn any_decision() -> impl Strategy<Value = Decision> {
    let plain = prop::sample::select(vec![
        Action::Pass,
        Action::Count,
        Action::Drain,
        Action::Reject,
        Action::Drop,
    ]);
    let of_tier = (1..=9_u8).prop_map(|tier| {
        let action = match tiers()[usize::from(tier) - 1].treatment {
            Treatment::Mark { .. } => Action::Mark,
            Treatment::Redirect { .. } => Action::Redirect,
            _ => Action::Limit,
        };
        Decision::with_tier(action, tier)
    });
    prop_oneof![
        2 => Just(Decision::PASS),
        2 => Just(Decision::DROP),
        2 => plain.prop_map(Decision::new),
        2 => of_tier,
    ]
}

pub(super) fn any_instant() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![2 => Just(None), 3 => (0..60u32).prop_map(Some)]
}

pub(super) fn any_phases() -> impl Strategy<Value = Vec<Phase>> {
    let ends = prop::collection::btree_set(0..60u32, 0..4);
    (ends, prop::collection::vec(any_decision(), 4)).prop_map(|(ends, decisions)| {
        ends.into_iter()
            .zip(decisions)
            .map(|(until, decision)| Phase {
                until: at(1, Instant(until)),
                decision,
            })
            .collect()
    })
}

/// Phases for one rule in four: more would have more changes than the kernel can be told of.
pub(super) fn some_phases() -> impl Strategy<Value = Vec<Phase>> {
    prop_oneof![3 => Just(Vec::new()), 1 => any_phases()]
}

pub(super) fn any_service() -> impl Strategy<Value = Service> {
    let names = prop::sample::subsequence(vec!["eth0", "eth1"], 0..=1);
    let vlans = prop::sample::subsequence(vec![0, 1, 2], 0..=2);
    let prefixes = vec![
        "192.0.2.0/24",
        "192.0.2.128/25",
        "0.0.0.0/0",
        "2001:db8:5::/48",
        "2001:db8:5:8000::/49",
    ];
    let destinations = prop::sample::subsequence(prefixes, 0..=2);
    let transport = prop_oneof![
        2 => Just((vec![], vec![])),
        2 => prop::sample::subsequence(vec![1, 6, 17, 47], 1..=2).prop_map(|protocols| (protocols, vec![])),
        3 => (
            prop::sample::subsequence(vec![6, 17], 0..=2),
            prop::collection::vec((1..6u16, 0..3u16).prop_map(|(first, n)| first..=(first + n).min(6)), 1..3)
        ),
    ];
    let is_narrow = (any::<bool>(), any::<bool>(), any::<bool>());
    (names, vlans, destinations, transport, is_narrow)
        .prop_map(
            |(names, vlans, destinations, (protocols, ports), (has_names, has_vlans, has_destinations))| {
                Service {
                    name: at(1, String::new()),
                    interfaces: names
                        .into_iter()
                        .filter(|_| has_names)
                        .map(|name| at(1, name.to_owned()))
                        .collect(),
                    vlans: vlans.into_iter().filter(|_| has_vlans).collect(),
                    destinations: destinations
                        .into_iter()
                        .filter(|_| has_destinations)
                        .map(|prefix| prefix.parse().unwrap())
                        .collect(),
                    protocols,
                    ports,
                }
            },
        )
        .prop_filter("the language has no service that asks for nothing", |service| {
            !service.interfaces.is_empty()
                || !service.vlans.is_empty()
                || !service.destinations.is_empty()
                || !service.protocols.is_empty()
                || !service.ports.is_empty()
        })
}

pub(super) fn any_rule() -> impl Strategy<Value = Rule> {
    let codes = prop::sample::subsequence(CODES.to_vec(), 1..=CODES.len());
    let services = prop::option::of(prop::sample::subsequence(vec![0, 1, 2], 1..=2));
    (
        any_decision(),
        some_phases(),
        services,
        codes,
        (any::<bool>(), any::<bool>(), 0..5u8),
    )
        .prop_map(
            |(decision, phases, services, codes, (no_exemptions, is_both, kind))| {
                let directed = |decision: Decision| match decision.action() {
                    Action::Drop | Action::Reject if is_both => decision.both(),
                    _ => decision,
                };
                let rule = Rule {
                    decision: directed(decision),
                    phases: phases
                        .into_iter()
                        .map(|phase| Phase {
                            decision: directed(phase.decision),
                            ..phase
                        })
                        .collect(),
                    services,
                    ..rule(1, Action::Pass, &codes, no_exemptions)
                };
                match kind {
                    0 => Rule {
                        selector: Selector::Everywhere,
                        ..rule
                    },
                    _ => rule,
                }
            },
        )
}

pub(super) fn any_order() -> impl Strategy<Value = Order> {
    let rules = prop::collection::vec(any_rule(), 1..4);
    (any_instant(), any_instant(), rules).prop_map(|(effective, until, rules)| {
        let (effective, until) = match (effective, until) {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
            other => other,
        };
        order(1, "", effective, until, rules)
    })
}

/// Prefixes that nest: around 21.0.0.0 (CN) and 2001:db8:1:: (CN), and elsewhere.
pub(super) const PREFIXES: [&str; 12] = [
    "21.0.0.0/8",
    "21.0.0.0/16",
    "21.0.0.0/24",
    "21.0.0.128/25",
    "20.0.0.0/7",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "2001:db8:1::/48",
    "2001:db8:1::/64",
    "2001:db8:1::1/128",
    "2001:db8::/32",
    "::/0",
];

pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    let orders = prop::collection::vec(any_order(), 0..4);
    let services = prop::collection::vec(any_service(), 3);
    let overrides = prop::sample::subsequence(PREFIXES.to_vec(), 0..7).prop_flat_map(|prefixes| {
        let n_prefixes = prefixes.len();
        let kinds = prop::collection::vec((0..5u8, any_instant(), any::<u8>(), any_phases()), n_prefixes);
        (Just(prefixes), kinds)
    });
    let defaults = (any_decision(), any_decision(), any_decision(), any::<bool>());
    (orders, services, overrides, defaults).prop_map(
        |(orders, services, (prefixes, kinds), (default, unknown, lan, has_services))| {
            let ids = ["A", "B", "C"];
            let mut policy = Policy {
                default,
                unknown,
                lan,
                tiers: tiers(),
                services,
                ..policy()
            };
            for (order, id) in orders.into_iter().zip(ids) {
                let id = at(1, id.to_owned());
                policy.orders.push(Order { id, ..order });
            }
            if !has_services {
                policy.services.clear();
                for rule in policy.orders.iter_mut().flat_map(|order| &mut order.rules) {
                    rule.services = None;
                }
            }
            let ids = &ids[..policy.orders.len()];
            for (prefix, (kind, until, mask, phases)) in prefixes.into_iter().zip(kinds) {
                let lifted: Vec<&str> = (0..)
                    .zip(ids)
                    .filter(|(bit, _)| mask >> bit & 1 == 1)
                    .map(|(_, id)| *id)
                    .collect();
                let lifted = (mask & 8 != 0).then_some(lifted.as_slice());
                match kind {
                    0 => policy.allows.push(list(1, &[prefix], until)),
                    1 => policy.denies.push(list(1, &[prefix], until)),
                    2 => policy
                        .exemptions
                        .push(exemption(1, &[prefix], until.unwrap_or(70), lifted)),
                    _ => {
                        let until = phases.last().map_or(70, |phase| phase.until.value.0);
                        policy.exemptions.push(Exemption {
                            phases,
                            ..exemption(1, &[prefix], until, lifted)
                        });
                    }
                }
            }
            policy
        },
    )
}

pub(super) fn any_heading() -> impl Strategy<Value = Heading> {
    let transport = prop_oneof![
        Just((None, None)),
        Just((Some(1), None)),
        Just((Some(47), None)),
        (
            prop::sample::select(vec![6, 17]),
            prop::option::weighted(0.7, PORTS)
        )
            .prop_map(|(p, port)| (Some(p), port)),
    ];
    let interface = prop::sample::select(INTERFACES.to_vec());
    (interface, 0..4usize, 0..4usize, transport, any::<bool>()).prop_map(
        |(interface, vlan, destination, (protocol, port), opens)| Heading {
            interface: interface.map(str::to_owned),
            vlan: Some(VLANS[vlan]),
            // Of IPv4; for an IPv6 source the one at the same place is taken.
            destination: Some(DESTINATIONS[0][destination].parse().unwrap()),
            protocol,
            port,
            opens,
        },
    )
}

/// Addresses inside and beside every network and prefix above, and what they are judged by.
pub(super) const ADDRESSES: [(&str, Option<&str>); 20] = [
    ("20.1.1.1", None),
    ("21.0.0.1", None),
    ("21.0.0.129", None),
    ("21.0.1.1", None),
    ("21.1.1.1", None),
    ("22.9.9.9", None),
    ("23.0.0.0", None),
    ("10.1.1.1", None),
    ("9.1.1.1", None),
    ("102.5.1.1", None),
    ("2001:db8:0::1", None),
    ("2001:db8:1::1", None),
    ("2001:db8:1::2", None),
    ("2001:db8:1:1::1", None),
    ("2001:db8:ffff::1", None),
    ("2400:2::1", None),
    ("fd00::1", None),
    ("2002:1500:1::1", Some("21.0.0.1")),
    ("64:ff9b::1609:909", Some("22.9.9.9")),
    ("2001::eaff:ff7e", Some("21.0.0.129")),
];

/// An address, where the packet goes, seconds after the compile, and whether there is a failsafe prefix.
pub(super) type Probe = (usize, Heading, u32, bool);

pub(super) fn any_probes() -> impl Strategy<Value = Vec<Probe>> {
    let heading = prop_oneof![1 => Just(Heading::default()), 3 => any_heading()];
    prop::collection::vec((0..ADDRESSES.len(), heading, 0..75u32, any::<bool>()), 150)
}
