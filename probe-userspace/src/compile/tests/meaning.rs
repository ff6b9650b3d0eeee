//! The image against a naive reading of the policy.

use proptest::prelude::*;

use super::*;
use crate::policy::{Phase, Service, Tier, Treatment};

/// Whether one of two decisions is stricter than the other, read straight off the policy.
fn is_stricter(policy: &Policy, a: Decision, b: Decision) -> bool {
    if a.action() != b.action() {
        return a.action() > b.action();
    }
    let rates = |decision: Decision| match policy.tiers.get(usize::from(decision.tier()).wrapping_sub(1)) {
        Some(Tier {
            treatment:
                Treatment::Limit {
                    packets_per_s,
                    bytes_per_s,
                    ..
                },
            ..
        }) => (packets_per_s.unwrap_or(u64::MAX), bytes_per_s.unwrap_or(u64::MAX)),
        _ => (0, 0),
    };
    (rates(a), a.tier()) < (rates(b), b.tier())
}

/// The strictest of some answers; for both directions if one of them is and the packet is stopped.
fn strictest(policy: &Policy, answers: &[Decision]) -> Option<Decision> {
    let is_beaten = |one: &Decision| answers.iter().any(|other| is_stricter(policy, *other, *one));
    let best = answers.iter().find(|one| !is_beaten(one))?;
    let is_stopped = matches!(best.action(), Action::Drop | Action::Reject);
    Some(if is_stopped && answers.iter().any(|answer| answer.is_both()) {
        best.both()
    } else {
        *best
    })
}

fn mildest(policy: &Policy, a: Decision, b: Decision) -> Decision {
    match (is_stricter(policy, a, b), is_stricter(policy, b, a)) {
        (true, _) => b,
        (_, true) => a,
        // Of equals the one for one direction.
        _ if a.is_both() => b,
        _ => a,
    }
}

/// What the longest live entry of the lists does for a source.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Deny,
    Lift {
        /// Absent: all, and the defaults.
        orders: Option<&'a [Located<String>]>,
        phases: &'a [Phase],
    },
}

fn answer_of<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    code: &str,
    services: u64,
    now: Instant,
) -> Option<Decision> {
    for rule in rules {
        let is_place = match &rule.selector {
            Selector::Everywhere => code != "lan",
            Selector::Places(items) => items.iter().any(|item| item.code == code),
        };
        let is_service = match &rule.services {
            None => true,
            Some(named) => named.iter().any(|idx| services >> idx & 1 == 1),
        };
        if is_place && is_service {
            for phase in &rule.phases {
                if now < phase.until.value {
                    return Some(phase.decision);
                }
            }
            return Some(rule.decision);
        }
    }
    None
}

/// The decision for a place and a set of services at an instant, read straight off the policy.
fn naive_exact(
    policy: &Policy,
    code: &str,
    entry: Option<Entry<'_>>,
    services: u64,
    now: Instant,
) -> Decision {
    let (lifted, phases): (Option<Option<&[Located<String>]>>, &[Phase]) = match entry {
        None | Some(Entry::Deny) => (None, &[]),
        Some(Entry::Lift { orders, phases }) => (Some(orders), phases),
    };
    let phase = phases.iter().find(|phase| now < phase.until.value);
    let mut answers = Vec::new();
    for order in &policy.orders {
        let has_begun = order
            .effective
            .as_ref()
            .is_none_or(|effective| effective.value <= now);
        let has_ended = order.until.as_ref().is_some_and(|until| until.value <= now);
        if !has_begun || has_ended {
            continue;
        }
        let is_lifted = match lifted {
            None => false,
            Some(None) => true,
            Some(Some(ids)) => ids.iter().any(|id| id.value == order.id.value),
        };
        let own = answer_of(order.rules.iter(), code, services, now);
        if !is_lifted {
            answers.extend(own);
            continue;
        }
        let insisting = order.rules.iter().filter(|rule| rule.no_exemptions);
        let mut left: Vec<Decision> = answer_of(insisting, code, services, now).into_iter().collect();
        if let (Some(own), Some(phase)) = (own, phase) {
            left.push(mildest(policy, own, phase.decision));
        }
        answers.extend(strictest(policy, &left));
    }
    if let Some(strictest) = strictest(policy, &answers) {
        return strictest;
    }
    let default = match code {
        "unknown" => policy.unknown,
        "lan" => policy.lan,
        _ => policy.default,
    };
    match (lifted, phase) {
        (Some(None), Some(phase)) => mildest(policy, default, phase.decision),
        (Some(None), None) => Decision::PASS,
        _ => default,
    }
}

/// A place that packets come in by and go to.
type Place<'a> = (Option<&'a str>, u16, IpAddr);

/// Protocol and port, as far as they can be read.
type Wire = (Option<u8>, Option<u16>);

fn serves(service: &Service, (interface, vlan, destination): Place<'_>, (protocol, port): Wire) -> bool {
    let has_place = (service.interfaces.is_empty()
        || interface.is_some_and(|name| service.interfaces.iter().any(|own| own.value == name)))
        && (service.vlans.is_empty() || service.vlans.contains(&vlan))
        && (service.destinations.is_empty()
            || service
                .destinations
                .iter()
                .any(|prefix| prefix.contains(&destination)));
    let Some(protocol) = protocol else {
        return has_place;
    };
    let is_tcp_or_udp = protocol == 6 || protocol == 17;
    let has_protocol = if service.protocols.is_empty() {
        service.ports.is_empty() || is_tcp_or_udp
    } else {
        service.protocols.contains(&protocol)
    };
    let has_port = match port {
        _ if service.ports.is_empty() => true,
        Some(port) => service.ports.iter().any(|range| range.contains(&port)),
        None => is_tcp_or_udp,
    };
    has_place && has_protocol && has_port
}

fn set_of_services(policy: &Policy, place: Place<'_>, wire: Wire) -> u64 {
    let services = policy.services.iter().enumerate();
    services
        .filter(|(_, service)| serves(service, place, wire))
        .fold(0, |set, (idx, _)| set | 1 << idx)
}

const INTERFACES: [Option<&str>; 4] = [None, Some("eth0"), Some("eth1"), Some("eth9")];
const VLANS: [u16; 4] = [0, 1, 2, 99];
const DESTINATIONS: [[&str; 4]; 2] = [
    ["0.0.0.0", "192.0.2.1", "192.0.2.129", "198.51.100.1"],
    ["::", "2001:db8:5::1", "2001:db8:5:8000::1", "2001:db8:6::1"],
];
/// Every port that services of [`any_service`] tell apart.
const PORTS: std::ops::Range<u16> = 0..8;

fn all_places() -> Vec<Place<'static>> {
    let mut places = Vec::new();
    for interface in INTERFACES {
        for vlan in VLANS {
            for destination in DESTINATIONS.iter().flatten() {
                places.push((interface, vlan, destination.parse().unwrap()));
            }
        }
    }
    places
}

/// The sets that a packet may stand for. One whose ports cannot be read shares its row with all that may be for the
/// same services, whatever their protocol.
fn possible_sets(policy: &Policy, place: Place<'_>, wire: Wire) -> Vec<u64> {
    let set = set_of_services(policy, place, wire);
    if !matches!(wire, (Some(6 | 17), None)) {
        return vec![set];
    }
    let of_ports = |protocol: u8| PORTS.map(move |port| (Some(protocol), Some(port)));
    let plain = [1, 47, 253].map(|protocol| (Some(protocol), None));
    let vague: [(Wire, Vec<Wire>); 3] = [
        ((Some(6), None), of_ports(6).collect()),
        ((Some(17), None), of_ports(17).collect()),
        (
            (None, None),
            of_ports(6).chain(of_ports(17)).chain(plain).collect(),
        ),
    ];
    let mut sets = Vec::new();
    for place in all_places() {
        for (wire, among) in &vague {
            if set_of_services(policy, place, *wire) == set {
                sets.extend(among.iter().map(|wire| set_of_services(policy, place, *wire)));
            }
        }
    }
    sets.sort_unstable();
    sets.dedup();
    sets
}

fn naive_decision(
    policy: &Policy,
    code: &str,
    entry: Option<Entry<'_>>,
    sets: &[u64],
    now: Instant,
) -> Decision {
    let of_sets = |entry| {
        let answers: Vec<Decision> = sets
            .iter()
            .map(|set| naive_exact(policy, code, entry, *set, now))
            .collect();
        strictest(policy, &answers).unwrap()
    };
    match entry {
        None => of_sets(None),
        Some(Entry::Deny) => Decision::DROP,
        // An exemption never makes anything stricter.
        Some(Entry::Lift { .. }) => mildest(policy, of_sets(entry), of_sets(None)),
    }
}

/// The longest live entry of the lists that covers an address.
fn naive_entry(policy: &Policy, address: IpAddr, now: Instant) -> Option<Entry<'_>> {
    let mut best: Option<(u8, Entry<'_>)> = None;
    let mut offer = |prefix: IpNet, until: Option<Instant>, entry| {
        let len = prefix.prefix_len();
        if prefix.contains(&address)
            && until.is_none_or(|until| now < until)
            && best.as_ref().is_none_or(|(longest, _)| *longest < len)
        {
            best = Some((len, entry));
        }
    };
    let lift = Entry::Lift {
        orders: None,
        phases: &[],
    };
    for (lists, entry) in [(&policy.allows, lift), (&policy.denies, Entry::Deny)] {
        for list in lists {
            for prefix in &list.prefixes {
                offer(prefix.value, list.until.as_ref().map(|until| until.value), entry);
            }
        }
    }
    for exemption in &policy.exemptions {
        for prefix in &exemption.prefixes {
            let entry = Entry::Lift {
                orders: exemption.orders.as_deref(),
                phases: &exemption.phases,
            };
            offer(prefix.value, Some(exemption.until.value), entry);
        }
    }
    best.map(|(_, entry)| entry)
}

/// The verdict for a packet at an instant, read straight off the policy. `judged` is the address that counts.
pub(super) fn naive_verdict(
    policy: &Policy,
    location: &Location,
    query: &Query<'_>,
    judged: IpAddr,
) -> (Verdict, u8) {
    let class = location_of(location, judged);
    let code = location.classes.name(class);
    let answer = |action, reason, tier| {
        let verdict = Verdict {
            action,
            reason,
            class,
        };
        (verdict, tier)
    };
    let heading = &query.heading;
    let unspecified = DESTINATIONS[usize::from(query.address.is_ipv6())][0]
        .parse()
        .unwrap();
    let place = (
        heading.interface.as_deref(),
        heading.vlan.unwrap_or(0),
        heading.destination.unwrap_or(unspecified),
    );
    let wire = (Some(heading.protocol.unwrap_or(253)), heading.port);
    let sets = possible_sets(policy, place, wire);
    let decision = |entry| naive_decision(policy, code, entry, &sets, query.now);
    let entry = naive_entry(policy, judged, query.now);
    let is_denied = matches!(entry, Some(Entry::Deny));
    let by_all = decision(None);
    if by_all == Decision::PASS && !is_denied {
        let reason = match wire {
            (Some(4 | 41 | 47), _) | (Some(17), Some(4789 | 6081)) => Reason::TunnelUninspected,
            _ => Reason::PolicyPass,
        };
        return answer(Action::Pass, reason, 0);
    }
    let mut failsafe = query.failsafe.iter();
    if failsafe.any(|prefix| prefix.contains(&judged) || prefix.contains(&query.address)) {
        return answer(Action::Pass, Reason::Failsafe, 0);
    }
    if is_denied {
        return answer(Action::Drop, Reason::Deny, 0);
    }
    let decided = entry.map_or(by_all, |entry| decision(Some(entry)));
    let opens = heading.opens && matches!(heading.protocol, Some(6 | 17)) && heading.port.is_some();
    let reason = match decided.action() {
        Action::Pass => Reason::Exempt,
        Action::Count => Reason::PolicyCount,
        Action::Mark => Reason::PolicyMark,
        Action::Limit => Reason::WithinLimit,
        Action::Redirect => Reason::PolicyRedirect,
        Action::Drain if opens => Reason::PolicyDrain,
        Action::Drain => Reason::DrainPass,
        Action::Reject => Reason::PolicyReject,
        Action::Drop => Reason::PolicyDrop,
    };
    answer(decided.action(), reason, decided.tier())
}

/// Tiers that differ in every way that counts, and two that do not.
fn tiers() -> Vec<Tier> {
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

fn any_decision() -> impl Strategy<Value = Decision> {
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

fn any_instant() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![2 => Just(None), 3 => (0..60u32).prop_map(Some)]
}

fn any_phases() -> impl Strategy<Value = Vec<Phase>> {
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
fn some_phases() -> impl Strategy<Value = Vec<Phase>> {
    prop_oneof![3 => Just(Vec::new()), 1 => any_phases()]
}

fn any_service() -> impl Strategy<Value = Service> {
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
    (names, vlans, destinations, transport, is_narrow).prop_map(
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
}

fn any_rule() -> impl Strategy<Value = Rule> {
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

fn any_order() -> impl Strategy<Value = Order> {
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
const PREFIXES: [&str; 12] = [
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

fn any_policy() -> impl Strategy<Value = Policy> {
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

fn any_heading() -> impl Strategy<Value = Heading> {
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
const ADDRESSES: [(&str, Option<&str>); 20] = [
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
type Probe = (usize, Heading, u32, bool);

fn any_probes() -> impl Strategy<Value = Vec<Probe>> {
    let heading = prop_oneof![1 => Just(Heading::default()), 3 => any_heading()];
    prop::collection::vec((0..ADDRESSES.len(), heading, 0..75u32, any::<bool>()), 150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Random policies, instants and packets: the image says what the policy says, from `now` on. It is refused
    /// only where a cell has more changes ahead, or a nest more ends, than the kernel can be told.
    #[test]
    fn image_means_what_the_policy_says(policy in any_policy(), now in 0..60u32, probes in any_probes()) {
        let location = location();
        let (image, remarks) = compile(&policy, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else {
            let is_limit = |remark: &Diagnostic| remark.message.contains("changes ahead") || remark.message.contains("nested prefixes");
            prop_assert!(remarks.iter().any(is_limit), "{:?}", remarks);
            return Ok(());
        };
        let failsafe: IpNet = "21.0.0.0/26".parse().unwrap();
        for (address, mut heading, after, has_failsafe) in probes {
            let (address, judged) = ADDRESSES[address];
            let address: IpAddr = address.parse().unwrap();
            let judged = judged.map_or(address, |judged| judged.parse().unwrap());
            if let (IpAddr::V6(_), Some(v4)) = (address, heading.destination) {
                let idx = DESTINATIONS[0].iter().position(|known| known.parse() == Ok(v4)).unwrap();
                heading.destination = Some(DESTINATIONS[1][idx].parse().unwrap());
            }
            let failsafe = &[failsafe][..usize::from(has_failsafe)];
            let query = Query { heading, address, now: Instant(now + after), failsafe };
            prop_assert_eq!(
                image.decide(&query),
                naive_verdict(&policy, &location, &query, judged),
                "{:?}", query
            );
        }
    }

    /// The cells themselves, with their directions, which verdicts do not tell.
    #[test]
    fn cells_mean_what_the_policy_says(policy in any_policy(), now in 0..60u32, after in 0..75u32) {
        let location = location();
        let (image, _) = compile(&policy, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else { return Ok(()) };
        let at = Instant(now + after);
        let lift_all = Some(Entry::Lift { orders: None, phases: &[] });
        let n_exact = image.scopes.row_names.len() - image.scopes.strictest_of.len();
        let of_no_service = [(0, 0)];
        let rows = if policy.services.is_empty() { &of_no_service[..] } else { &image.scopes.rows[..n_exact] };
        for (set, row) in rows {
            for class in 0..location.classes.len() as u16 {
                let code = location.classes.name(class);
                let cell = |profile| {
                    let cell = image.matrix.cell(*row, profile, class).unwrap();
                    cell.stages_idx().map_or(cell.fixed_decision(), |idx| image.stages[idx as usize].decision_at(at.0))
                };
                let naive = |entry| naive_decision(&policy, code, entry, &[*set], at);
                prop_assert_eq!(cell(profile::ALL_ORDERS), naive(None));
                prop_assert_eq!(cell(profile::LIFT_ALL), naive(lift_all));
                prop_assert_eq!(cell(profile::DENY), Decision::DROP);
                for exemption in &policy.exemptions {
                    let entry = image.overrides.iter().find(|entry| entry.prefix == exemption.prefixes[0].value);
                    // Nothing is said of an exemption that is over.
                    let Some(entry) = entry.filter(|_| at < exemption.until.value) else { continue };
                    let lift = Entry::Lift { orders: exemption.orders.as_deref(), phases: &exemption.phases };
                    prop_assert_eq!(cell(entry.value.profile), naive(Some(lift)));
                }
            }
        }
    }
}
