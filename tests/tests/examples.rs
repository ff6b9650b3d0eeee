//! The examples in `policies/examples` are what users start from: each must compile without a remark, and what
//! it says about itself in its tests must be true.

use std::{fs, path::Path, sync::Arc};

use cordon::{
    compile::{FrameSettings, Query, compile},
    geo::{self, GeoChoice, Location},
    host::{self, FieldChoice},
    instant::Instant,
    policy::{self, Policy},
};
use probe_common::{Decision, Reason};

const POLICIES: [&str; 6] = [
    "allow-only",
    "block-list",
    "migration-window",
    "services",
    "two-orders",
    "worldwide-halt",
];

/// Fixed, so that the examples' dates mean the same in ten years.
fn now() -> Instant {
    Instant::parse("2026-11-20T12:00:00Z").expect("a valid instant")
}

fn embedded() -> Arc<Location> {
    Arc::new(geo::load(&GeoChoice::Embedded, FieldChoice::CountryFirst).expect("embedded database"))
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples");
    fs::read_to_string(folder.join(name)).expect("the example exists")
}

fn parse_example(name: &str) -> (Policy, String) {
    let text = example(&format!("{name}.toml"));
    let (parsed, remarks) = policy::parse(&format!("{name}.toml"), &text);
    assert!(remarks.is_empty(), "{}", remarks[0]);
    (parsed.expect("no remarks, so a policy"), text)
}

#[test]
fn every_example_is_listed_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples");
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| {
            entry
                .expect("the folder is readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    let mut listed: Vec<String> = POLICIES.iter().map(|name| format!("{name}.toml")).collect();
    listed.insert(2, "cordon.toml".to_owned());
    assert_eq!(found, listed);
}

#[test]
fn examples_parse_without_a_remark_and_have_tests() {
    for name in POLICIES {
        let (parsed, _) = parse_example(name);
        assert_eq!(parsed.name, name);
        assert!(parsed.tests.len() >= 5, "{name} should show its verdicts");
        assert!(parsed.tests.iter().any(|test| test.address.value.is_ipv4()));
        assert!(parsed.tests.iter().any(|test| test.address.value.is_ipv6()));
    }
    let (host, remarks) = host::parse("cordon.toml", &example("cordon.toml"));
    assert!(remarks.is_empty(), "{}", remarks[0]);
    assert_eq!(host.expect("no remarks, so a host file").failsafe.len(), 3);
}

#[test]
fn examples_compile_and_their_tests_hold() {
    let location = embedded();
    for name in POLICIES {
        let (parsed, text) = parse_example(name);
        let (image, remarks) = compile(&parsed, &text, &location, now(), &FrameSettings::default());
        assert!(remarks.is_empty(), "{}", remarks[0]);
        let image = image.expect("no remarks, so an image");
        for test in &parsed.tests {
            let (verdict, tier) = image.decide(&Query {
                heading: test.heading.clone(),
                address: test.address.value,
                now: test.at.as_ref().map_or(now(), |at| at.value),
                failsafe: &[],
                runtime: &[],
            });
            // A test may say of what opens a connection that it drops: a drain does that.
            let decided = match verdict.reason {
                Reason::PolicyDrain if test.expect == Decision::DROP => Decision::DROP,
                _ => Decision::with_tier(verdict.action, tier),
            };
            assert_eq!(
                decided,
                test.expect,
                "{}: {} is of class {}",
                test.address.place,
                test.address.value,
                location.classes.name(verdict.class)
            );
        }
    }
}

#[test]
fn a_test_that_does_not_hold_refuses_the_policy() {
    let location = embedded();
    for name in POLICIES {
        let (parsed, text) = parse_example(name);
        for idx in 0..parsed.tests.len() {
            let mut wrong = parsed.clone();
            wrong.tests[idx].expect = match wrong.tests[idx].expect {
                Decision::PASS => Decision::DROP,
                _ => Decision::PASS,
            };
            let (image, remarks) = compile(&wrong, &text, &location, now(), &FrameSettings::default());
            assert!(
                image.is_none(),
                "{name}: test {idx} was turned around and nothing noticed"
            );
            let line = wrong.tests[idx].address.place.line;
            assert!(
                remarks.iter().any(|remark| remark.place.line.abs_diff(line) <= 3),
                "{name}: no remark near line {line}"
            );
        }
    }
}
