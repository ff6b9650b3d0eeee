use std::{fs, thread::sleep};

use cordon::audit::{Record, log};
use integration_tests::probes::Outcome;

use super::*;

/// How many records of an event there are.
fn n_recorded(cordon: &Cordon<'_>, event: &str) -> usize {
    let dir = log::dir(&cordon.dir().join("state"));
    let segments = log::segments(&dir).unwrap();
    let lines = segments.iter().flat_map(|name| {
        let bytes = log::read_segment(&dir, name).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    lines
        .filter(|line| Record::from_line(line).unwrap().0.event_name() == event)
        .count()
}

fn reach(edge: &Edge, address: &str) -> Option<Outcome> {
    edge.lab.reach(&[address.parse().unwrap()]).unwrap()[0].uniform()
}

#[test]
fn with_the_first_key_plain_files_are_refused_and_the_last_one_changes_nothing() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    assert_eq!(status(&cordon)["managed"], false);
    trust(&cordon, "one");
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
    let refused = cordon.cordon(&["apply", &policy]).unwrap();
    assert_eq!(refused.status, 1);
    for expected in ["cordon bundle push", "--break-glass"] {
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
    assert_eq!(judged(&cordon, RU), 10, "what was in force stays");
    assert_eq!(status(&cordon)["managed"], true);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));

    let unmanaged = cordon.cordon(&["key", "unmanage", "--reason", "sold"]).unwrap();
    assert!(
        unmanaged.status == 1 && unmanaged.stderr.contains("cordon key revoke"),
        "{unmanaged:?}"
    );
    let keys: Value = cordon
        .cordon_ok(&["key", "list", "-o", "json"])
        .unwrap()
        .json()
        .unwrap();
    let id = keys["keys"][0]["id"].as_str().unwrap();
    cordon
        .cordon_ok(&["key", "revoke", id, "--reason", "lost"])
        .unwrap();
    fs::remove_dir_all(cordon.dir().join("state/keys")).unwrap();
    restart(&mut cordon);
    let refused = cordon.cordon(&["apply", &policy]).unwrap();
    assert!(
        refused.status == 1 && refused.stderr.contains("cordon key unmanage"),
        "{refused:?}"
    );
    let bundle = push(&cordon, &Issue::new(2, &drops(&["NL"])).write(&cordon));
    assert_eq!(bundle["reason"], "no-trusted-key", "{bundle:#}");
    assert_eq!(judged(&cordon, RU), 10);

    cordon
        .cordon_ok(&["key", "unmanage", "--reason", "sold"])
        .unwrap();
    cordon.cordon_ok(&["apply", "--no-confirm", &policy]).unwrap();
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn keys_that_cannot_be_read_refuse_every_bundle_and_the_state_says_so() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let rules = cordon.dir().join("state/keys/trust.toml");
    let good = fs::read(&rules).unwrap();
    fs::write(&rules, "version = 99\n").unwrap();
    let refused = push(&cordon, &Issue::new(2, &drops(&["NL"])).write(&cordon));
    assert!(refused.get("outcome").is_none(), "{refused:#}");
    assert_eq!(refused["reason"], Value::Null, "the host's fault: {refused:#}");
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
    assert_eq!(cordon.cordon(&["apply", &policy]).unwrap().status, 1);
    let broken = status(&cordon);
    assert_eq!(broken["state"], "degraded");
    assert!(problems(&cordon).contains("trust.toml"), "{broken:#}");
    assert_eq!(judged(&cordon, RU), 10);
    fs::write(&rules, good).unwrap();
    accepted(&cordon, &Issue::new(2, &drops(&["NL"])));
    assert_eq!(problems(&cordon), "");
}

#[test]
fn broken_glass_is_seen_and_ends_in_the_kernel_with_the_daemon_dead() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    cordon.wait_attached().unwrap();
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
    for (args, expected) in [
        (&["--break-glass"][..], "--reason"),
        (&["--break-glass", "--reason", " "], "reason"),
        (&["--break-glass", "--reason", "r", "--for", "25h"], "24 h"),
        (&["--reason", "r"], "--break-glass"),
    ] {
        let mut all = vec!["apply", policy.as_str()];
        all.extend(args);
        let refused = cordon.cordon(&all).unwrap();
        assert!(
            refused.status != 0 && refused.stderr.contains(expected),
            "{refused:?}"
        );
    }
    let reason = "signers on a plane";
    cordon
        .cordon_ok(&[
            "apply",
            &policy,
            "--break-glass",
            "--reason",
            reason,
            "--for",
            "4s",
        ])
        .unwrap();
    let broken = status(&cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));
    assert_eq!(broken["break_glass"]["reason"], reason, "{broken:#}");
    assert_eq!(broken["bundle"], Value::Null, "nobody signed it");
    let sentence = broken["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("BREAK-GLASS until") && sentence.contains(reason),
        "{sentence}"
    );
    let confirmed = cordon.cordon(&["confirm"]).unwrap();
    assert!(
        confirmed.status == 1 && confirmed.stderr.contains("cannot be confirmed"),
        "{confirmed:?}"
    );
    restart(&mut cordon);
    assert_eq!(
        status(&cordon)["break_glass"]["reason"],
        reason,
        "the daemon knows it again"
    );
    cordon.kill().unwrap();
    assert_eq!(reach(&edge, NL), Some(Outcome::Blocked), "still broken");
    // The deadline is rounded up to whole seconds of boot time.
    sleep(Duration::from_secs(5));
    assert_eq!(reach(&edge, NL), Some(Outcome::Passed), "ended without a daemon");
    assert_eq!(
        reach(&edge, RU),
        Some(Outcome::Blocked),
        "the signed policy holds again"
    );
    cordon.run().unwrap();
    let after = status(&cordon);
    assert_eq!(
        (
            &after["break_glass"],
            after["bundle"]["revision"].as_u64(),
            after["state"].as_str()
        ),
        (&Value::Null, Some(1), Some("ok")),
        "{after:#}"
    );
    let history: Value = cordon.cordon_ok(&["history", "--json"]).unwrap().json().unwrap();
    assert_eq!(history["entries"][1]["break_glass"], reason, "{history:#}");
    assert_eq!(history["entries"][1]["ended"], "break_glass_over", "{history:#}");
}

#[test]
fn broken_glass_is_gone_after_a_boot_and_ends_early_by_what_is_signed_or_by_rollback() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let one = cordon.dir().join("edge-1.cordon").to_str().unwrap().to_owned();
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
    let break_glass = |cordon: &Cordon<'_>| {
        cordon
            .cordon_ok(&[
                "apply",
                &policy,
                "--break-glass",
                "--reason",
                "drill",
                "--for",
                "1h",
            ])
            .unwrap();
        assert_eq!((judged(cordon, RU), judged(cordon, NL)), (0, 10));
    };
    let is_signed = |cordon: &Cordon<'_>, revision: u64| {
        let status = status(cordon);
        assert_eq!(
            (&status["break_glass"], status["bundle"]["revision"].as_u64()),
            (&Value::Null, Some(revision)),
            "{status:#}"
        );
        assert_eq!(problems(cordon), "");
    };
    break_glass(&cordon);
    restart_without_pins(&mut cordon);
    is_signed(&cordon, 1);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    break_glass(&cordon);
    assert_eq!(push(&cordon, &one)["outcome"], "accepted");
    is_signed(&cordon, 1);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    break_glass(&cordon);
    let n_before = n_recorded(&cordon, "revert");
    cordon.cordon_ok(&["rollback"]).unwrap();
    is_signed(&cordon, 1);
    assert_eq!(n_recorded(&cordon, "revert"), n_before + 1, "once is enough");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    break_glass(&cordon);
    // The very policy that nobody signed, signed now: it stays beyond the hour.
    accepted(&cordon, &Issue::new(2, &drops(&["NL"])));
    is_signed(&cordon, 2);
    assert_eq!(status(&cordon)["confirm_left_s"], Value::Null);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));
}

/// The daemon dies after it wrote the file of a signed policy and before that is in force: what is pinned is what nobody
/// signed.
#[test]
fn broken_glass_cannot_be_confirmed_as_the_signed_policy_that_was_to_follow() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
    cordon
        .cordon_ok(&["apply", &policy, "--break-glass", "--reason", "r", "--for", "6s"])
        .unwrap();
    cordon.kill().unwrap();
    let state = cordon.dir().join("state");
    fs::copy(state.join("policy.toml"), state.join("pending.toml")).unwrap();
    cordon.run().unwrap();
    let broken = status(&cordon);
    assert_eq!(broken["break_glass"]["reason"], "r", "{broken:#}");
    let confirmed = cordon.cordon(&["confirm"]).unwrap();
    assert!(
        confirmed.status == 1 && confirmed.stderr.contains("cannot be confirmed"),
        "{confirmed:?}"
    );
    while !status(&cordon)["break_glass"].is_null() {
        sleep(Duration::from_millis(100));
    }
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}
