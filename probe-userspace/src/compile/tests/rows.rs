//! Rows, and the packets that are compared for each before a publish.

use std::ops::RangeInclusive;

use probe_common::{
    limits::MAX_ROWS,
    scope::{MAY, MAY_BE_ANY},
};

use super::*;
use crate::policy::Service;

fn service(name: &str, destinations: &[&str], ports: &[RangeInclusive<u16>]) -> Service {
    Service {
        name: at(1, name.to_owned()),
        interfaces: Vec::new(),
        vlans: Vec::new(),
        destinations: destinations
            .iter()
            .map(|prefix| prefix.parse().unwrap())
            .collect(),
        protocols: Vec::new(),
        ports: ports.to_vec(),
    }
}

/// Drops RU to `web`, and everything else from RU is counted.
fn web_policy() -> Policy {
    let of_web = Rule {
        services: Some(vec![0]),
        ..rule(1, Action::Drop, &["RU"], false)
    };
    Policy {
        services: vec![service("web", &["192.0.2.0/24"], &[443..=443])],
        orders: vec![order(
            1,
            "A",
            None,
            None,
            vec![of_web, rule(2, Action::Count, &["RU"], false)],
        )],
        ..policy()
    }
}

#[test]
fn a_packet_whose_ports_cannot_be_read_takes_the_strictest_row() {
    let image = compiled(&web_policy(), 1_000);
    assert_eq!(
        image.scopes.row_names,
        [
            "no service",
            "web",
            "no service or web, as its ports cannot be read"
        ]
    );
    let hidden = MAY | MAY_BE_ANY;
    assert_eq!(
        image.scopes.rows,
        [
            (0, 0),
            (1, 1),
            (MAY, 0),
            (MAY | 1, 2),
            (hidden, 0),
            (hidden | 1, 2)
        ]
    );
    let decide = |to: &str, protocol, port| {
        let heading = Heading {
            destination: Some(to.parse().unwrap()),
            protocol: Some(protocol),
            port,
            ..Heading::default()
        };
        let query = Query {
            heading,
            address: "22.1.1.1".parse().unwrap(),
            now: Instant(1_000),
            failsafe: &[],
            runtime: &[],
        };
        image.decide(&query).0.action
    };
    assert_eq!(decide("192.0.2.1", 6, Some(443)), Action::Drop);
    assert_eq!(decide("192.0.2.1", 6, Some(80)), Action::Count);
    assert_eq!(
        decide("192.0.2.1", 17, None),
        Action::Drop,
        "it may be for port 443"
    );
    assert_eq!(
        decide("198.51.100.1", 17, None),
        Action::Count,
        "whatever its port, not to web"
    );
    assert_eq!(decide("192.0.2.1", 1, None), Action::Count);
}

#[test]
fn every_set_of_services_is_sampled_for_every_class_that_fares_otherwise() {
    let image = compiled(&web_policy(), 1_000);
    let russia = image.location.classes.class_of("RU").unwrap();
    let sampled = samples(&image, None, Instant(1_000));
    for (is_vague, action) in [(false, Action::Drop), (true, Action::Drop)] {
        let found = sampled.iter().find(|sample| {
            sample.heading.destination.is_some()
                && sample.heading.protocol.is_some()
                && sample.heading.port.is_none() == is_vague
                && image.scopes.row_of(&sample.heading, sample.address).unwrap() > 0
                && sample.expected.0.class == russia
        });
        assert_eq!(
            found.map(|sample| sample.expected.0.action),
            Some(action),
            "vague: {is_vague}"
        );
    }
    // What hides its protocol may be for the service; IPv4 hides none.
    let of_v6 = Policy {
        services: vec![service("web", &["192.0.2.0/24", "3fff::/32"], &[443..=443])],
        ..web_policy()
    };
    let sampled = samples(&compiled(&of_v6, 1_000), None, Instant(1_000));
    let hidden: Vec<_> = sampled
        .iter()
        .filter(|sample| sample.heading.protocol == Some(60) && sample.expected.0.class == russia)
        .collect();
    assert!(
        hidden
            .iter()
            .any(|sample| sample.expected.0.action == Action::Drop),
        "{hidden:?}"
    );
    assert!(hidden.iter().all(|sample| sample.address.is_ipv6()), "{hidden:?}");
    let draining = Policy {
        default: Decision::new(Action::Drain),
        ..policy()
    };
    let image = compiled(&draining, 1_000);
    let reasons = |protocol| {
        let sampled = samples(&image, None, Instant(1_000));
        let of_protocol = sampled
            .iter()
            .filter(move |sample| sample.heading.protocol == Some(protocol));
        let reasons: std::collections::BTreeSet<Reason> =
            of_protocol.map(|sample| sample.expected.0.reason).collect();
        reasons.contains(&Reason::PolicyDrain)
    };
    assert!(
        reasons(6) && reasons(17),
        "connections that open are among the samples of a drain"
    );
}

#[test]
fn what_hides_its_protocol_is_drained_like_what_opens_a_connection() {
    let draining = Policy {
        default: Decision::new(Action::Drain),
        ..policy()
    };
    let image = compiled(&draining, 1_000);
    // IPv4 has no extension header that could hide one.
    for (source, reason) in [
        ("2001:db8::1", Reason::PolicyDrain),
        ("20.0.0.1", Reason::DrainPass),
    ] {
        let query = Query {
            heading: Heading {
                protocol: Some(60),
                ..Heading::default()
            },
            address: source.parse().unwrap(),
            now: Instant(1_000),
            failsafe: &[],
            runtime: &[],
        };
        assert_eq!(image.decide(&query).0.reason, reason, "{source}");
    }
}

#[test]
fn the_number_of_rows_is_limited_exactly() {
    // Each service overlaps the one before: n services cut the ports into 2 n - 1 sets and the empty one, and as many
    // as there are together may be meant when the ports cannot be read.
    let with = |n: u16| Policy {
        services: (0..n)
            .map(|idx| service(&format!("s{idx}"), &[], &[100 + 10 * idx..=100 + 10 * idx + 14]))
            .collect(),
        orders: vec![order(
            1,
            "A",
            None,
            None,
            vec![Rule {
                services: Some((0..usize::from(n)).collect()),
                ..rule(1, Action::Drop, &["RU"], false)
            }],
        )],
        ..policy()
    };
    let image = compiled(&with(32), 1_000);
    assert_eq!(image.scopes.row_names.len(), 1 + 2 * 32 - 1 + 1);
    assert!(image.scopes.row_names.len() <= MAX_ROWS + 1);
    // Nested in one way by destination and in the other by port: every interval of services is met.
    let nested = |n: u16| {
        let mut policy = with(n);
        for (idx, service) in (0..n).zip(&mut policy.services) {
            service.destinations = vec![format!("10.0.0.0/{}", 31 - idx).parse().unwrap()];
            service.ports = vec![100 + idx..=200];
        }
        policy
    };
    let (fits, too_many) = (nested(14), nested(15));
    let n_rows = compiled(&fits, 1_000).scopes.row_names.len();
    assert_eq!(n_rows, 1 + 14 * 15 / 2 + 14);
    assert!(n_rows <= MAX_ROWS + 1);
    assert_eq!(remarks(&too_many, 1_000), [""; 0]);
    let refused = remarks(&nested(22), 1_000);
    assert!(refused[0].contains("more ways than the 255 rows"), "{refused:?}");
}

#[test]
fn digest_tells_scopes_tiers_and_settings_apart() {
    let digest = |policy: &Policy| compiled(policy, 1_000).digest;
    let plain = policy();
    let web = web_policy();
    let mut narrower = web.clone();
    narrower.services[0].ports = vec![80..=80];
    let mut renamed = web.clone();
    renamed.services[0].name = at(1, "www".to_owned());
    assert_ne!(digest(&web), digest(&narrower));
    assert_eq!(digest(&web), digest(&renamed), "the kernel is told no names");
    let silent = Policy {
        replies: false,
        ..plain.clone()
    };
    assert_ne!(digest(&plain), digest(&silent));
    let tiered = |dscp| Policy {
        tiers: vec![crate::policy::Tier {
            name: at(1, "t".to_owned()),
            treatment: crate::policy::Treatment::Mark { dscp },
        }],
        ..policy()
    };
    assert_ne!(digest(&tiered(1)), digest(&tiered(2)));
    let frame = FrameSettings {
        martians_drop: false,
        ..FrameSettings::default()
    };
    let (image, _) = compile(&plain, "text", &location(), Instant(1_000), &frame);
    assert_ne!(image.unwrap().digest, digest(&plain));
}

#[test]
fn explanation_tells_service_tier_changes_and_where_it_would_be_otherwise() {
    let mut policy = web_policy();
    policy.tiers = vec![crate::policy::Tier {
        name: at(1, "slow".to_owned()),
        treatment: crate::policy::Treatment::Limit {
            packets_per_s: Some(10),
            bytes_per_s: None,
            burst_packets: None,
            burst_bytes: None,
            per_class: false,
        },
    }];
    policy.orders[0].rules[0].phases = vec![crate::policy::Phase {
        until: at(1, Instant(2_000)),
        decision: Decision::with_tier(Action::Limit, 1),
    }];
    let image = compiled(&policy, 1_000);
    let explain = |heading| {
        image.explain(&Query {
            heading,
            address: "2002:1601:101::1".parse().unwrap(),
            now: Instant(1_000),
            failsafe: &[],
            runtime: &[],
        })
    };
    let nowhere = explain(Heading::default());
    assert_eq!(nowhere.judged_as, Some("22.1.1.1".parse().unwrap()));
    assert_eq!((nowhere.class.as_str(), nowhere.action), ("RU", "count"));
    assert_eq!(nowhere.other_services.len(), 1);
    assert_eq!(
        (
            nowhere.other_services[0].service.as_str(),
            nowhere.other_services[0].action
        ),
        ("web", "limit")
    );
    policy.services[0].destinations.clear();
    let image = compiled(&policy, 1_000);
    let web = image.explain(&Query {
        heading: Heading {
            protocol: Some(6),
            port: Some(443),
            ..Heading::default()
        },
        address: "22.1.1.1".parse().unwrap(),
        now: Instant(1_000),
        failsafe: &[],
        runtime: &[],
    });
    assert_eq!(web.service.as_deref(), Some("web"));
    let tier = web.tier.unwrap();
    assert_eq!(
        (tier.name.as_str(), tier.parameters.as_str()),
        ("slow", "10 packets/s, 1 at once; each source by itself")
    );
    assert_eq!(web.changes.len(), 1);
    assert_eq!(
        (web.changes[0].at, web.changes[0].action),
        (Instant(2_000), "drop")
    );
    assert!(web.other_services.is_empty(), "it was said where the packet goes");
}
