//! What the compiler makes of policies.

mod amended;
mod meaning;
mod naive;
mod random;
mod remarks;
mod rows;
mod runtime;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use probe_common::{
    Action, Decision, FOREVER, Reason, Verdict, class,
    limits::{MAX_PROFILES, MAX_STAGES, OVERRIDE_MAX_LEVELS},
    profile,
};

use super::{FrameSettings, Heading, Image, N_SAMPLES, Query, compile, samples};
use crate::{
    diagnostic::{Diagnostic, Place},
    geo::{
        Location, location_of, read_database,
        test_database::{BOTH_FAMILIES, database, flat},
    },
    host::FieldChoice,
    instant::Instant,
    policy::{Exemption, Expectation, Located, Order, Policy, PrefixList, Rule, Selector, SelectorItem},
};

const CODES: [&str; 4] = ["AU", "CN", "RU", "US"];

/// Two networks of each country and family.
fn location() -> Arc<Location> {
    let mut networks = Vec::new();
    let names: Vec<(String, &str)> = CODES
        .iter()
        .enumerate()
        .flat_map(|(idx, code)| {
            [
                (format!("{}.0.0.0/8", 20 + idx), *code),
                (format!("{}.5.0.0/16", 100 + idx), *code),
                (format!("2001:db8:{idx}::/48"), *code),
                (format!("2400:{idx}::/32"), *code),
            ]
        })
        .collect();
    for (network, code) in &names {
        networks.push((network.as_str(), flat(code)));
    }
    let bytes = database(BOTH_FAMILIES, &networks);
    Arc::new(read_database("test.mmdb", bytes, FieldChoice::CountryFirst).unwrap())
}

fn at<T>(line: u32, value: T) -> Located<T> {
    let place = Place {
        file: "p.toml".to_owned(),
        line,
        column: 1,
    };
    Located { value, place }
}

fn policy() -> Policy {
    Policy {
        file: "p.toml".to_owned(),
        name: "p".to_owned(),
        default: Decision::PASS,
        unknown: Decision::PASS,
        lan: Decision::PASS,
        replies: true,
        events: None,
        tiers: Vec::new(),
        services: Vec::new(),
        orders: Vec::new(),
        allows: Vec::new(),
        denies: Vec::new(),
        exemptions: Vec::new(),
        tests: Vec::new(),
    }
}

fn rule(line: u32, action: Action, codes: &[&str], no_exemptions: bool) -> Rule {
    let items = codes.iter().map(|code| SelectorItem {
        code: (*code).to_owned(),
        place: at(line + 1, ()).place,
        group: None,
    });
    Rule {
        place: at(line, ()).place,
        decision: Decision::new(action),
        phases: Vec::new(),
        services: None,
        selector: Selector::Places(items.collect()),
        no_exemptions,
    }
}

fn everywhere(action: Action) -> Rule {
    Rule {
        selector: Selector::Everywhere,
        ..rule(1, action, &[], false)
    }
}

fn order(line: u32, id: &str, effective: Option<u32>, until: Option<u32>, rules: Vec<Rule>) -> Order {
    Order {
        id: at(line, id.to_owned()),
        authority: format!("authority of {id}"),
        effective: effective.map(|instant| at(line + 1, Instant(instant))),
        until: until.map(|instant| at(line + 2, Instant(instant))),
        rules,
    }
}

fn list(line: u32, prefixes: &[&str], until: Option<u32>) -> PrefixList {
    PrefixList {
        prefixes: prefixes
            .iter()
            .map(|prefix| at(line, prefix.parse().unwrap()))
            .collect(),
        reason: "because".to_owned(),
        until: until.map(|until| at(line + 1, Instant(until))),
    }
}

fn exemption(line: u32, prefixes: &[&str], until: u32, orders: Option<&[&str]>) -> Exemption {
    Exemption {
        prefixes: prefixes
            .iter()
            .map(|prefix| at(line, prefix.parse().unwrap()))
            .collect(),
        reference: format!("R{line}"),
        reason: "customer".to_owned(),
        until: at(line + 1, Instant(until)),
        phases: Vec::new(),
        orders: orders.map(|ids| ids.iter().map(|id| at(line + 2, (*id).to_owned())).collect()),
    }
}

fn compiled(policy: &Policy, now: u32) -> Image {
    let (image, remarks) = compile(
        policy,
        "text",
        &location(),
        Instant(now),
        &FrameSettings::default(),
    );
    image.unwrap_or_else(|| panic!("{remarks:?}"))
}

fn remarks(policy: &Policy, now: u32) -> Vec<String> {
    let (image, remarks) = compile(
        policy,
        "text",
        &location(),
        Instant(now),
        &FrameSettings::default(),
    );
    assert_eq!(image.is_none(), crate::diagnostic::has_errors(&remarks));
    remarks.iter().map(Diagnostic::to_string).collect()
}

fn verdict(image: &Image, address: &str, now: u32) -> (Action, Reason) {
    let Verdict { action, reason, .. } = image.verdict(&Query {
        heading: Heading::default(),
        address: address.parse().unwrap(),
        now: Instant(now),
        failsafe: &[],
        runtime: &[],
    });
    (action, reason)
}

#[test]
fn timed_cells_hold_their_changes_and_the_limit_is_exact() {
    let toggling = |n_changes: u32| {
        let mut policy = policy();
        for idx in 0..n_changes.div_ceil(2) {
            let until = (2 * idx + 1 < n_changes).then_some(2_000 + 200 * idx);
            let rules = vec![rule(3, Action::Drop, &["RU"], false)];
            policy.orders.push(order(
                10 * idx + 1,
                &format!("O{idx}"),
                Some(1_900 + 200 * idx),
                until,
                rules,
            ));
        }
        policy
    };
    let image = compiled(&toggling(MAX_STAGES as u32), 1_000);
    let pass = (Action::Pass, Reason::PolicyPass);
    let drop = (Action::Drop, Reason::PolicyDrop);
    for (now, expected) in [
        (0, pass),
        (1_899, pass),
        (1_900, drop),
        (1_999, drop),
        (2_000, pass),
        (2_100, drop),
        (2_200, pass),
        (4_000_000_000, pass),
    ] {
        assert_eq!(verdict(&image, "22.1.1.1", now), expected, "at {now}");
    }
    assert_eq!(
        image.stages.len(),
        1,
        "both profiles that change share their stages"
    );
    assert_eq!(
        remarks(&toggling(MAX_STAGES as u32 + 1), 1_000),
        [
            "p.toml:1:1: error: these orders change the verdict for RU 5 more times; the kernel can be told of 4 \
          changes ahead: `O0, O1, O2`\n    fix: move the later ones to a policy that is applied later"
        ]
    );
    let later = compiled(&toggling(MAX_STAGES as u32 + 1), 1_900);
    assert_eq!(
        verdict(&later, "22.1.1.1", 1_900),
        drop,
        "one change is over: it fits"
    );
}

#[test]
fn digest_changes_with_the_tables_and_with_what_is_over() {
    let mut policy = policy();
    let rules = vec![rule(3, Action::Drop, &["RU"], false)];
    policy.orders = vec![order(1, "A", Some(2_000), None, rules)];
    let digest = |policy: &Policy, now| compiled(policy, now).digest;
    assert_eq!(digest(&policy, 1_000), digest(&policy, 1_999));
    assert_ne!(
        digest(&policy, 1_999),
        digest(&policy, 2_000),
        "the order has begun"
    );
    let mut renamed = policy.clone();
    renamed.name = "other".to_owned();
    assert_eq!(
        digest(&renamed, 1_000),
        digest(&policy, 1_000),
        "the kernel is told no names"
    );
    let mut denying = policy.clone();
    denying.denies = vec![list(5, &["198.51.100.0/24"], None)];
    assert_ne!(digest(&denying, 1_000), digest(&policy, 1_000));
}

#[test]
fn ended_longer_prefix_does_not_hide_a_live_shorter_one() {
    let mut policy = policy();
    policy.orders = vec![order(1, "A", None, None, vec![everywhere(Action::Drop)])];
    policy.exemptions = vec![
        exemption(10, &["21.0.0.0/24"], 2_000, None),
        exemption(20, &["21.0.0.0/8"], 3_000, None),
    ];
    let image = compiled(&policy, 1_000);
    for (now, reason) in [
        (1_999, Reason::Exempt),
        (2_000, Reason::Exempt),
        (3_000, Reason::PolicyDrop),
    ] {
        assert_eq!(verdict(&image, "21.0.0.1", now).1, reason, "at {now}");
    }
}

#[test]
fn explanation_names_everything_that_led_to_the_verdict() {
    let mut policy = policy();
    policy.orders = vec![
        order(1, "A", None, None, vec![rule(2, Action::Drop, &["RU"], false)]),
        order(
            5,
            "B",
            Some(5_000),
            None,
            vec![rule(6, Action::Drop, &["RU"], false)],
        ),
    ];
    policy.exemptions = vec![exemption(20, &["22.0.0.0/24"], 2_000, None)];
    let image = compiled(&policy, 1_000);
    let failsafe = ["22.0.0.0/30".parse().unwrap()];
    let explain = |address: &str, now, failsafe| {
        image.explain(&Query {
            heading: Heading::default(),
            address: address.parse().unwrap(),
            now: Instant(now),
            failsafe,
            runtime: &[],
        })
    };
    let explanation = explain("22.0.0.1", 1_000, &[]);
    assert_eq!((explanation.action, explanation.reason), ("pass", "exempt"));
    assert_eq!(explanation.class, "RU");
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(explanation.run, (ip("22.0.0.0"), ip("22.255.255.255")));
    assert_eq!(
        explanation.override_.as_deref(),
        Some("22.0.0.0/24 (exemption R20: customer) until 1970-01-01T00:33:20Z")
    );
    assert_eq!(
        explanation.orders,
        [("A".to_owned(), "authority of A".to_owned(), "drop")]
    );
    assert_eq!(explanation.changes_at, Some(Instant(2_000)));
    assert_eq!(explanation.failsafe, None);
    let after = explain("22.0.0.1", 2_000, &failsafe);
    assert_eq!(
        (after.reason, after.override_, after.changes_at),
        ("failsafe", None, None)
    );
    assert_eq!(after.failsafe, Some(failsafe[0]));
    assert_eq!(explain("22.0.0.9", 2_000, &failsafe).reason, "policy_drop");
}

#[test]
fn samples_hold_every_class_override_and_changed_prefix() {
    let mut policy = policy();
    policy.orders = vec![order(
        1,
        "A",
        None,
        None,
        vec![rule(2, Action::Drop, &["RU"], false)],
    )];
    policy.denies = vec![list(
        10,
        &["198.51.100.0/24", "2001:db8:77::/48", "169.254.0.0/16"],
        None,
    )];
    let previous = compiled(&policy, 1_000);
    policy.denies = vec![list(10, &["203.0.113.0/24"], None)];
    let mut image = compiled(&policy, 1_000);
    let networks = [
        ("20.0.0.0/8", flat("AU")),
        ("22.0.0.0/8", flat("RU")),
        ("22.7.0.0/16", flat("CN")),
    ];
    let other = database(BOTH_FAMILIES, &networks);
    let other = read_database("test.mmdb", other, FieldChoice::CountryFirst).unwrap();

    let sampled = samples(&image, Some(&previous), Instant(1_000));
    assert!(sampled.len() >= N_SAMPLES);
    assert!(sampled.is_sorted_by(|a, b| a.address < b.address), "each once");
    assert_eq!(
        sampled,
        samples(&image, Some(&previous), Instant(1_000)),
        "the same again"
    );
    let has = |sampled: &[super::Sample], address: &str| {
        let address: IpAddr = address.parse().unwrap();
        sampled.iter().any(|sample| sample.address == address)
    };
    for address in [
        "203.0.113.0",
        "203.0.113.255",
        "198.51.100.0",
        "198.51.100.255",
        "2001:db8:77::",
        "2001:db8:77:ffff:ffff:ffff:ffff:ffff",
        "10.0.0.0",
        "10.255.255.255",
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert!(has(&sampled, address), "{address}");
    }
    assert!(
        !has(&sampled, "169.254.0.0"),
        "link-local packets are answered before their place is looked up"
    );
    for is_v4 in [true, false] {
        for class in 0..image.location.classes.len() as u16 {
            assert!(
                sampled
                    .iter()
                    .any(|sample| sample.address.is_ipv4() == is_v4 && sample.expected.0.class == class),
                "class {class}, IPv4 {is_v4}"
            );
        }
    }
    for sample in &sampled {
        let query = Query {
            heading: Heading::default(),
            address: sample.address,
            now: Instant(1_000),
            failsafe: &[],
            runtime: &[],
        };
        assert_eq!(
            (sample.expected.0, sample.expected.1.tier()),
            naive::naive_verdict(
                &policy,
                &image.location,
                &query,
                image.judged_source(sample.address)
            )
        );
    }

    image.location = Arc::new(other);
    let sampled = samples(&image, Some(&previous), Instant(1_000));
    for address in [
        "22.7.0.0",
        "22.7.255.255",
        "103.5.0.0",
        "103.5.255.255",
        "2400:2::",
        "21.0.0.0",
    ] {
        assert!(has(&sampled, address), "{address} is in a prefix that changed");
    }
    let class_of_lan = image.location.ranges_v4.class_of(0x0a00_0001);
    assert_eq!(class_of_lan, class::LAN);
}
