//! What a policy says, read straight off it: slow, and without anything that the compiler knows.

use super::*;
use crate::policy::{Phase, Service, Tier, Treatment};

/// Whether one of two decisions is stricter than the other, read straight off the policy.
pub(super) fn is_stricter(policy: &Policy, a: Decision, b: Decision) -> bool {
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
pub(super) fn strictest(policy: &Policy, answers: &[Decision]) -> Option<Decision> {
    let is_beaten = |one: &Decision| answers.iter().any(|other| is_stricter(policy, *other, *one));
    let best = answers.iter().find(|one| !is_beaten(one))?;
    let is_stopped = matches!(best.action(), Action::Drop | Action::Reject);
    Some(if is_stopped && answers.iter().any(|answer| answer.is_both()) {
        best.both()
    } else {
        *best
    })
}

pub(super) fn mildest(policy: &Policy, a: Decision, b: Decision) -> Decision {
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
pub(super) enum Entry<'a> {
    Deny,
    Lift {
        /// Absent: all, and the defaults.
        orders: Option<&'a [Located<String>]>,
        phases: &'a [Phase],
    },
}

pub(super) fn answer_of<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    code: &str,
    services: u64,
    now: Instant,
) -> Option<Decision> {
    for rule in rules {
        let is_place = match &rule.selector {
            Selector::AllSources => true,
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
pub(super) fn naive_exact(
    policy: &Policy,
    code: &str,
    entry: Option<Entry<'_>>,
    services: u64,
    now: Instant,
) -> Decision {
    let (lifted, phases) = match entry {
        None | Some(Entry::Deny) => (None, &[][..]),
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
pub(super) type Place<'a> = (Option<&'a str>, u16, IpAddr);

/// Protocol and port, as far as they can be read.
pub(super) type Wire = (Option<u8>, Option<u16>);

pub(super) fn serves(
    service: &Service,
    (interface, vlan, destination): Place<'_>,
    (protocol, port): Wire,
) -> bool {
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

pub(super) fn set_of_services(policy: &Policy, place: Place<'_>, wire: Wire) -> u64 {
    let services = policy.services.iter().enumerate();
    services
        .filter(|(_, service)| serves(service, place, wire))
        .fold(0, |set, (idx, _)| set | 1 << idx)
}

pub(super) const INTERFACES: [Option<&str>; 4] = [None, Some("eth0"), Some("eth1"), Some("eth9")];
pub(super) const VLANS: [u16; 4] = [0, 1, 2, 99];
pub(super) const DESTINATIONS: [[&str; 4]; 2] = [
    ["0.0.0.0", "192.0.2.1", "192.0.2.129", "198.51.100.1"],
    ["::", "2001:db8:5::1", "2001:db8:5:8000::1", "2001:db8:6::1"],
];
/// Every port that services of [`any_service`] tell apart.
pub(super) const PORTS: std::ops::Range<u16> = 0..8;

pub(super) fn all_places() -> Vec<Place<'static>> {
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
/// same services, TCP or UDP. One whose protocol is hidden too has a key of its own.
pub(super) fn possible_sets(policy: &Policy, place: Place<'_>, wire: Wire) -> Vec<u64> {
    let set = set_of_services(policy, place, wire);
    if !matches!(wire, (Some(6 | 17), None)) {
        return vec![set];
    }
    let of_ports = |protocol: u8| PORTS.map(move |port| (Some(protocol), Some(port)));
    let vague: [(Wire, Vec<Wire>); 2] = [
        ((Some(6), None), of_ports(6).collect()),
        ((Some(17), None), of_ports(17).collect()),
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

pub(super) fn naive_decision(
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
pub(super) fn naive_entry(policy: &Policy, address: IpAddr, now: Instant) -> Option<Entry<'_>> {
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
