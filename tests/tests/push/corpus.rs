use std::{collections::BTreeSet, fs};

use cordon::bundle::{Reason, freshness::Mark};

use super::*;
use crate::bundle::cases::{self, Case};

/// The fewest bad bundles that a running daemon must meet.
const MIN_PUSHED: usize = 120;

/// Whether a real host can be what the case asks for: with its own clock and version, and the keys that the case has.
fn is_for_a_real_host(case: &Case) -> bool {
    let by_clock = [Reason::NotYetValid, Reason::Expired];
    let by_situation = [
        Reason::OlderRevision,
        Reason::SameRevisionOtherContent,
        Reason::RevisionJump,
        Reason::OtherName,
        Reason::NotForThisHost,
        Reason::CordonTooOld,
    ];
    !by_clock.contains(&case.reason) && !by_situation.contains(&case.reason)
}

/// Writes the keys and rules of a case.
fn set_keys(cordon: &Cordon<'_>, case: &Case) {
    let dir = cordon.dir().join("state/keys");
    fs::remove_dir_all(&dir).ok();
    fs::create_dir(&dir).unwrap();
    for file in case.host.trust.keys() {
        fs::write(dir.join(&file.file), file.key.to_file_text()).unwrap();
    }
    fs::write(dir.join("trust.toml"), case.host.trust.rules().to_text()).unwrap();
}

#[test]
fn every_bad_bundle_is_rejected_and_the_policy_in_force_stays() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let before = status(&cordon);
    let reached = fs::read(cordon.dir().join("state/marks.json")).unwrap();
    let mut wrong = Vec::new();
    let mut n_pushed = 0;
    let mut expected = BTreeSet::new();
    for case in cases::all().iter().filter(|case| is_for_a_real_host(case)) {
        assert_eq!(case.host.mark, None::<Mark>, "{}", case.name);
        set_keys(&cordon, case);
        let value = push(&cordon, &write(&cordon, "bad.cordon", &case.bytes));
        n_pushed += 1;
        expected.insert(case.reason.code());
        if value["reason"] != case.reason.code() {
            wrong.push(format!(
                "{} {}: {value}, expected {}",
                case.class, case.name, case.reason
            ));
        }
        if n_pushed % 20 == 0 {
            assert_eq!(judged(&cordon, RU), 10, "after {}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_pushed >= MIN_PUSHED, "only {n_pushed}");
    let after = status(&cordon);
    for key in ["bundle", "generation", "policy"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(
        fs::read(cordon.dir().join("state/marks.json")).unwrap(),
        reached,
        "no mark was moved"
    );
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    // What opens is written with what was refused before.
    accepted(&cordon, &Issue::new(2, &drops(&["NL"])));
    cordon.kill().unwrap();
    let rejected: Vec<Record> = records(&cordon)
        .into_iter()
        .filter(|record| record.event_name() == "reject" && record.what["verb"] == "push")
        .collect();
    let count = |record: &Record| record.what["count"].as_u64().unwrap_or(1);
    let n_recorded: u64 = rejected.iter().map(count).sum();
    assert_eq!(n_recorded, n_pushed as u64, "each of them is on record");
    assert!(rejected.len() < n_pushed, "the same ones are one record");
    let reasons: BTreeSet<&str> = rejected
        .iter()
        .filter_map(|record| record.what["reason"].as_str())
        .collect();
    let missed: Vec<&&str> = expected.iter().filter(|code| !reasons.contains(**code)).collect();
    assert!(missed.is_empty(), "not on record: {missed:?}");
}
