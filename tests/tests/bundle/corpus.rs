//! The corpus: every bad bundle is refused, for the reason that its author had in mind, in these very words.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

use cordon::bundle::{Bundle, Kind, Reason};
use integration_tests::bundle_writer::{Draft, Signer};

use super::{Host, cases};

/// Number of bad bundles that the project promises to keep (issue 4).
const MIN_CASES: usize = 120;

#[test]
fn the_bundles_that_the_bad_ones_are_made_from_are_good() {
    let one = Signer::named("one");
    for draft in [Draft::policy(), Draft::geo(), Draft::directive()] {
        let bytes = draft.signed(&[&one]).to_bytes();
        Host::new()
            .take(&bytes)
            .unwrap_or_else(|rejected| panic!("{}: {rejected:?}", draft.kind));
    }
    let payload = Draft::policy().payload();
    let bundle = Bundle::read("x", &payload, Kind::Policy).unwrap();
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[test]
fn every_bad_bundle_is_refused_for_its_own_reason() {
    let cases = cases::all();
    assert!(cases.len() >= MIN_CASES, "only {} bad bundles", cases.len());
    let names: BTreeSet<String> = cases
        .iter()
        .map(|case| format!("{} {}", case.class, case.name))
        .collect();
    assert_eq!(names.len(), cases.len(), "every case has a name of its own");
    let mut found = String::new();
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for case in &cases {
        let name = format!("{} {}", case.class, case.name);
        match case.host.take(&case.bytes) {
            Ok(freshness) => wrong.push(format!("{name}: taken: {freshness:?}")),
            Err(rejected) => {
                met.insert(rejected.reason);
                if rejected.reason != case.reason {
                    wrong.push(format!("{name}: {rejected:?}, expected {}", case.reason));
                }
                writeln!(found, "== {name}: {}", rejected.reason).unwrap();
                for remark in &rejected.remarks {
                    assert!(!remark.message.ends_with('.'), "{remark}");
                    // What the policy's own reader says has goldens of its own.
                    if rejected.reason != Reason::MalformedPolicy {
                        writeln!(found, "{remark}").unwrap();
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // These take a running host.
    let elsewhere = [
        Reason::Unreadable,
        Reason::WrongGeoData,
        Reason::Lockout,
        Reason::CannotFollow,
    ];
    let missed: Vec<&Reason> = Reason::ALL
        .iter()
        .filter(|reason| !met.contains(reason) && !elsewhere.contains(reason))
        .collect();
    assert!(missed.is_empty(), "no case for {missed:?}");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/corpus.expected");
    if env::var_os("CORDON_BLESS").is_some() {
        fs::write(&path, &found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected, "CORDON_BLESS=1 accepts what was found");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}
