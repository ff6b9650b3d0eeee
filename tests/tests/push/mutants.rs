use cordon::bundle::{
    Digest,
    freshness::{Freshness, Mark},
};
use integration_tests::{
    bundle_writer::RawBundle,
    rng::{Rng, seed_from_time},
};

use super::*;
use crate::bundle::{Host, mutants};

/// Mutants that a daemon meets.
const N_MUTANTS: usize = 1_000;
/// What only shows on a host, once a bundle is genuine and fresh.
const ON_A_HOST: [&str; 3] = ["malformed-policy", "wrong-geo-data", "lockout"];

/// The daemon takes what the reader takes, and refuses the rest for the same reason.
#[test]
fn mutants_signed_anew_leave_the_policy_or_are_later_revisions() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let asked = std::env::var("CORDON_SEED").ok();
    let number = asked.map_or_else(seed_from_time, |seed| seed.parse().expect("a number"));
    println!("CORDON_SEED={number}");
    let mut rng = Rng::new(number);
    let issue = Issue::new(7, &drops(&["RU"]));
    let seed = issue.draft();
    accepted(&cordon, &issue);
    let mark = |revision, payload: &[u8]| Mark {
        name: "edge".to_owned(),
        revision,
        digest: Digest::of(payload),
    };
    let mut host = Host::new();
    host.mark = Some(mark(7, &seed.payload()));
    host.seen = issue.issued;
    let one = Signer::named("one");
    let (mut n_taken, mut n_refused) = (0, 0);
    for number in 0..N_MUTANTS {
        let payload = mutants::mutant(&seed, &mut rng);
        let bytes = RawBundle::signed(seed.kind_code(), payload.clone(), &[&one]).to_bytes();
        host.clock = Instant::now();
        let expected = host.take(&bytes);
        let told = push(&cordon, &write(&cordon, "mutant.cordon", &bytes));
        let shown = || format!("mutant {number}: {told:#}\n{}", String::from_utf8_lossy(&payload));
        match expected {
            Err(rejected) => {
                assert!(
                    !mutants::NEVER_BY_PAYLOAD.contains(&rejected.reason),
                    "{}",
                    shown()
                );
                assert_eq!(told["reason"], rejected.reason.code(), "{}", shown());
                n_refused += 1;
            }
            Ok(Freshness::Idle { .. }) => assert_eq!(told["outcome"], "idle", "{}", shown()),
            Ok(Freshness::Accept { seen }) if told["outcome"] == "accepted" => {
                mutants::check_by_another_reader(&payload, &seed);
                let revision = told["revision"].as_u64().unwrap();
                let before = host.mark.as_ref().map(|mark| mark.revision);
                assert!(Some(revision) > before, "{}", shown());
                host.mark = Some(mark(revision, &payload));
                host.seen = seen;
                n_taken += 1;
            }
            Ok(Freshness::Accept { .. }) => {
                let reason = told["reason"].as_str().unwrap_or_default();
                assert!(ON_A_HOST.contains(&reason), "{}", shown());
            }
        }
        if number % 50 == 0 {
            assert_eq!(judged(&cordon, NL), 0, "after {}", shown());
        }
    }
    println!("{n_taken} later revisions, {n_refused} refused");
    assert!(n_refused > N_MUTANTS / 2, "the mutants are too tame");
    let after = status(&cordon);
    let mark = host.mark.unwrap();
    assert_eq!(after["bundle"]["revision"], mark.revision, "{after:#}");
    assert_eq!(after["bundle"]["digest"], mark.digest.to_string(), "{after:#}");
    assert_eq!(problems(&cordon), "");
}
