use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use probe_common::RUNTIME_STAGES;
use proptest::prelude::*;

use super::*;
use crate::{diagnostic::Severity, instant::Instant};

const NOW: Instant = Instant(1_800_000_000);

fn written(prefix: &str, reference: &str, until: u32) -> Written {
    Written {
        prefix: prefix.to_owned(),
        reference: reference.to_owned(),
        reason: "contract".to_owned(),
        approver: "J. Doe".to_owned(),
        until: Some(Instant(until).to_string()),
        wide: true,
        ..Written::default()
    }
}

fn exemption(written: Written) -> Exemption {
    Exemption::new(written, NOW, "user 0").unwrap()
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Orders that an address is exempt from in packets to a service, read straight off the list; `None`: all.
fn naive(list: &List, address: IpAddr, service: &str, now: Instant) -> Option<BTreeSet<String>> {
    let mut lifted = BTreeSet::new();
    for exemption in list.iter() {
        let is_for_it = exemption
            .services
            .as_ref()
            .is_none_or(|services| services.contains(service));
        if exemption.prefix.contains(&address) && now < exemption.until && is_for_it {
            lifted.extend(exemption.orders.clone()?);
        }
    }
    Some(lifted)
}

fn of_service(lift: &Lift, service: &str) -> Option<BTreeSet<String>> {
    let besides = lift.by_service().get(service);
    let both = besides.map_or_else(
        || lift.everywhere().clone(),
        |besides| besides.union(lift.everywhere()),
    );
    match both {
        Orders::All => None,
        Orders::These(ids) => Some(ids),
    }
}

/// What the kernel does: the longest match, and its first stage that is not over.
fn kernel(values: &[(IpNet, probe_common::RuntimeValue)], address: IpAddr, now: Instant) -> u8 {
    values
        .iter()
        .filter(|(prefix, _)| prefix.contains(&address))
        .max_by_key(|(prefix, _)| prefix.prefix_len())
        .map_or(0, |(_, value)| value.key_at(now.0))
}

const PREFIXES: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.1.3.0/24",
    "2001:db8::/32",
    "2001:db8:1::/48",
];
const ADDRESSES: [&str; 7] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.3.9",
    "10.9.9.9",
    "192.0.2.1",
    "2001:db8:1::1",
    "2001:db8:2::1",
];

fn any_list() -> impl Strategy<Value = List> {
    let some_of = |names: &'static [&'static str]| {
        prop::option::of(
            prop::sample::subsequence(names, 1..=names.len())
                .prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>()),
        )
    };
    let one = (
        prop::sample::select(&PREFIXES[..]),
        0..5_u8,
        1..7_u32,
        some_of(&["a", "b", "c"]),
        some_of(&["web", "mail"]),
    );
    prop::collection::vec(one, 0..9).prop_map(|all| {
        let mut list = List::default();
        for (prefix, reference, end, orders, services) in all {
            list.insert(exemption(Written {
                orders,
                services,
                ..written(prefix, &reference.to_string(), NOW.0 + end)
            }));
        }
        list
    })
}

proptest! {
    /// Longest match and stages alone give every address what all that covers it grants together, second by second,
    /// with nobody there to renew anything, as long as there are stages enough.
    #[test]
    fn the_kernel_comes_to_the_union_of_what_covers_an_address(list in any_list()) {
        let plan = Plan::new(&list, NOW);
        let mut keys = Keys::default();
        for lift in plan.needed() {
            keys.meet(lift).unwrap();
        }
        let values: Vec<_> = plan.values(|lift| keys.number(lift).unwrap()).into_iter().collect();
        for address in ADDRESSES.map(|address| address.parse().unwrap()) {
            let n_steps = plan
                .prefixes
                .iter()
                .filter(|(prefix, _)| prefix.contains(&address))
                .max_by_key(|(prefix, _)| prefix.prefix_len())
                .map_or(0, |(_, steps)| steps.len());
            for after in 0..8 {
                let now = Instant(NOW.0 + after);
                let number = kernel(&values, address, now);
                let lift = match number {
                    probe_common::lift_key::NONE => Lift::NOTHING,
                    probe_common::lift_key::ALL => Lift::ALL,
                    other => keys.iter().find(|(number, _)| *number == other).unwrap().1.clone(),
                };
                for service in ["web", "mail", "other"] {
                    let (got, expected) = (of_service(&lift, service), naive(&list, address, service, now));
                    if n_steps <= RUNTIME_STAGES {
                        prop_assert_eq!(got, expected, "{} for {} after {}", address, service, after);
                    } else if let (Some(got), Some(expected)) = (got.as_ref(), expected.as_ref()) {
                        prop_assert!(got.is_subset(expected), "never more than was granted");
                    } else {
                        prop_assert!(expected.is_none(), "never more than was granted");
                    }
                }
            }
        }
    }

    /// What an explanation goes by is found without the plan and says the same.
    #[test]
    fn an_explanation_finds_the_same_steps(list in any_list()) {
        for address in ADDRESSES.map(|address| address.parse::<IpAddr>().unwrap()) {
            let steps = steps_at(list.covering(address), NOW);
            for after in 0..8 {
                let now = Instant(NOW.0 + after);
                let lift = steps.iter().find(|step| now < step.until).map(|step| &step.lift);
                for service in ["web", "other"] {
                    let got = of_service(lift.unwrap_or(&Lift::NOTHING), service);
                    prop_assert_eq!(got, naive(&list, address, service, now));
                }
            }
        }
    }

    /// What is written is read again.
    #[test]
    fn a_list_comes_back_from_its_file(list in any_list()) {
        let text = file::write(&list).unwrap();
        prop_assert_eq!(&file::read_stored("list", &text).unwrap(), &list);
        let read = file::read("list", &text, NOW, "user 0");
        prop_assert_eq!(read.list.as_ref(), Some(&list));
        prop_assert_eq!(list.changes_to(&list), Changes::default());
    }
}

#[test]
fn every_fault_of_a_file_is_named_with_line_value_and_fix() {
    let good = |prefix: &str, more: &str| {
        format!(
            "{{\"prefix\":\"{prefix}\",\"reference\":\"C-1\",\"reason\":\"contract\",\"approver\":\"J. Doe\",\
             \"until\":\"2030-01-01T00:00:00Z\"{more}}}\n"
        )
    };
    let text = [
        "# comment\n\n".to_owned(),
        good("192.0.2.0/24", ""),
        good("192.0.2.0/24", ""),
        good("10.0.0.0/8", ""),
        good("10.0.0.0/8", ",\"wide\":true"),
        good("192.0.2.1/24", ""),
        good("2001:db8::/47", ""),
        good("198.51.100.0/24", ",\"orders\":[]"),
        good("198.51.100.0/24", ",\"services\":[\"web\",\"web\"]"),
        good("198.51.100.0/24", ",\"order\":[\"a\"]"),
        good("198.51.100.0/24", ",\"for_s\":7"),
        good("198.51.100.0/24", "").replace("2030-01-01T00:00:00Z", "tomorrow"),
        good("198.51.100.0/24", "").replace("contract", " "),
        "not JSON\n".to_owned(),
        good("198.51.100.0/24", "").replace("2030", "2020"),
    ]
    .concat();
    let read = file::read("list.jsonl", &text, NOW, "user 0");
    assert!(read.list.is_none());
    let said: Vec<(u32, &str, &str)> = read
        .diagnostics
        .iter()
        .map(|diagnostic| {
            assert!(!diagnostic.fix.is_empty(), "{diagnostic}");
            (
                diagnostic.place.line,
                diagnostic.value.as_str(),
                diagnostic.message.as_str(),
            )
        })
        .collect();
    let shortened = |message: &'static str, line| (line, message);
    let expected = [
        shortened("this prefix has this reference in line 3 already", 4),
        shortened("wider than /24 (IPv4) or /48 (IPv6)", 5),
        shortened("the prefix has host bits set", 7),
        shortened("wider than /24", 8),
        shortened("an empty list lifts nothing", 9),
        shortened("at most 32, each once", 10),
        shortened("unknown field `order`", 11),
        shortened("a file has no moment", 12),
        shortened("", 13),
        shortened("reason is empty", 14),
        shortened("expected", 15),
        shortened("the exemption C-1 of 198.51.100.0/24 is over and is left out", 16),
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for ((line, _, message), (expected_line, expected)) in said.iter().zip(expected) {
        assert!(
            *line == expected_line && message.contains(expected),
            "{expected_line} {expected}: {line} {message}"
        );
    }
    assert_eq!(said[1].1, "10.0.0.0/8");
    assert_eq!(read.diagnostics[11].severity, Severity::Warning);
    assert_eq!(read.diagnostics[1].place.column, 2, "of the field");
}

#[test]
fn more_than_the_limit_is_refused_and_the_limit_is_not() {
    let line = |n: usize| {
        format!(
            "{{\"prefix\":\"10.{}.{}.{}/32\",\"reference\":\"C\",\"reason\":\"r\",\"approver\":\"a\",\
             \"until\":\"2030-01-01T00:00:00Z\"}}\n",
            n >> 16,
            n >> 8 & 255,
            n & 255
        )
    };
    let text: String = (0..limits::MAX_EXEMPTIONS).map(line).collect();
    let read = file::read("list", &text, NOW, "");
    assert_eq!(
        read.list.unwrap().len(),
        limits::MAX_EXEMPTIONS,
        "{:?}",
        read.diagnostics
    );
    let read = file::read(
        "list",
        &format!("{text}{}", line(limits::MAX_EXEMPTIONS)),
        NOW,
        "",
    );
    assert!(read.list.is_none());
    assert_eq!(
        read.diagnostics[0].place.line as usize,
        limits::MAX_EXEMPTIONS + 1
    );
}

#[test]
fn a_prefix_with_more_changes_than_stages_is_told_again_when_the_first_is_over() {
    let mut list = List::default();
    for (order, end) in ["a", "b", "c", "d", "e"].into_iter().zip(10..) {
        list.insert(exemption(Written {
            orders: names(&[order]),
            ..written("192.0.2.0/24", order, NOW.0 + end)
        }));
    }
    let plan = Plan::new(&list, NOW);
    assert_eq!(plan.prefixes[0].1.len(), 5);
    assert_eq!(plan.renew_at(), Some(Instant(NOW.0 + 10)));
    assert_eq!(plan.needed().count(), RUNTIME_STAGES);
    let later = Plan::new(&list, Instant(NOW.0 + 10));
    assert_eq!((later.prefixes[0].1.len(), later.renew_at()), (4, None));
}

/// Many references on one prefix, and many prefixes inside it, cost no more than their number.
#[test]
fn crowded_prefixes_are_planned_at_once() {
    let mut list = List::default();
    for n in 0..20_000_u32 {
        list.insert(exemption(written("10.0.0.0/8", &n.to_string(), NOW.0 + 1 + n)));
        let inner = format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255);
        list.insert(exemption(Written {
            orders: names(&["a"]),
            ..written(&inner, "C", NOW.0 + 7)
        }));
    }
    let plan = Plan::new(&list, NOW);
    assert_eq!(plan.prefixes.len(), 20_001);
    assert_eq!(plan.lifts.len(), 2, "all, and one order");
    let all = plan.prefixes.iter().all(|(_, steps)| steps.len() == 1);
    assert!(all, "what the shorter prefix lifts anyway is no step");
}
