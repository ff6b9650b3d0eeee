use std::fs;

use super::*;

#[test]
fn a_bundle_is_taken_once_and_never_goes_back() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one", "two"]);
    let seven = accepted(&cordon, &Issue::new(7, &drops(&["RU"])));
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    let before = status(&cordon);
    assert_eq!(before["state"], "ok", "{before:#}");
    assert_eq!(before["bundle"]["revision"], 7);
    assert_eq!(before["bundle"]["digest"], seven["digest"]);
    assert!(
        before["sentence"].as_str().unwrap().contains("revision 7"),
        "{before:#}"
    );

    let again = push(&cordon, cordon.dir().join("edge-7.cordon").to_str().unwrap());
    assert_eq!(again["outcome"], "idle", "{again:#}");
    let refused = |issue: &Issue| {
        let value = push(&cordon, &issue.write(&cordon));
        value["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(refused(&Issue::new(6, &drops(&["NL"]))), "older-revision");
    assert_eq!(
        refused(&Issue::new(7, &drops(&["NL"]))),
        "same-revision-other-content"
    );
    let after = status(&cordon);
    assert_eq!(after["generation"], before["generation"], "nothing was published");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    // The marks and the bundle outlive the daemon, with the pins and without.
    restart(&mut cordon);
    assert_eq!(status(&cordon)["generation"], before["generation"], "adopted");
    restart_without_pins(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        (&after["bundle"], after["state"].as_str()),
        (&before["bundle"], Some("ok")),
        "{after:#}"
    );
    assert_eq!(
        after["generation"]["image_digest"], before["generation"]["image_digest"],
        "compiled again to the same"
    );
    let old = push(&cordon, &Issue::new(6, &drops(&["NL"])).write(&cordon));
    assert_eq!(old["reason"], "older-revision", "{old:#}");
    accepted(&cordon, &Issue::new(8, &drops(&["NL"])));
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));
}

/// One copy that is lost, damaged or put back takes nothing back; both of them leave what is in force.
#[test]
fn marks_that_are_lost_or_put_back_are_no_way_back() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    let dir = cordon.dir().join("state");
    accepted(&cordon, &Issue::new(5, &drops(&["NL"])));
    let old = fs::read(dir.join("marks.json")).unwrap();
    for revision in [6, 7] {
        accepted(&cordon, &Issue::new(revision, &drops(&["RU"])));
    }
    for what in ["put back", "removed", "damaged", "both removed"] {
        match what {
            "put back" => fs::write(dir.join("marks.json"), &old).unwrap(),
            "removed" => fs::remove_file(dir.join("marks.copy.json")).unwrap(),
            "damaged" => fs::write(dir.join("marks.json"), "").unwrap(),
            _ => {
                fs::remove_file(dir.join("marks.json")).unwrap();
                fs::remove_file(dir.join("marks.copy.json")).unwrap();
            }
        }
        restart(&mut cordon);
        let found = problems(&cordon);
        assert!(found.contains("which revision"), "{what}: {found}");
        let refused = push(&cordon, &Issue::new(6, &drops(&["NL"])).write(&cordon));
        assert_eq!(refused["reason"], "older-revision", "{what}: {refused:#}");
        restart(&mut cordon);
        assert_eq!(problems(&cordon), "", "{what}: both copies were written anew");
    }
}

/// Keys, targets, the database that a bundle asks for, and who would be cut off.
#[test]
fn what_does_not_fit_this_host_changes_nothing() {
    let mut edge = edge();
    edge.host.failsafe = vec!["82.0.0.0/24".to_owned()];
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let before = status(&cordon);
    let issue = |more: &str| Issue {
        more: more.to_owned(),
        ..Issue::new(2, &drops(&["RU", "NL"]))
    };
    let refused = |bytes: &[u8], reason: &str| {
        let value = push(&cordon, &write(&cordon, "x.cordon", bytes));
        assert_eq!(value["reason"], reason, "{value:#}");
        value
    };
    refused(&issue("").bytes(&[]), "unsigned");
    refused(&issue("").bytes(&["three"]), "unknown-key");
    let other = issue("[target]\nhosts = [\"core-*\"]\n");
    refused(&other.bytes(&["one"]), "not-for-this-host");
    let other = issue("[target]\nlabels = { site = \"ams*\" }\n");
    refused(&other.bytes(&["one"]), "not-for-this-host");
    let need = issue("[database]\nname = \"some-other\"\n");
    let value = refused(&need.bytes(&["one"]), "wrong-geo-data");
    assert!(value.to_string().contains("some-other"), "{value:#}");
    let value = refused(&issue("").bytes(&["one"]), "lockout");
    assert!(value.to_string().contains("82.0.0.0"), "{value:#}");
    let allows_nobody = Issue {
        policy: "version = 1\nname = \"empty\"\ndefault = \"drop\"\nunknown = \"drop\"\n".to_owned(),
        ..issue("")
    };
    refused(&allows_nobody.bytes(&["one"]), "lockout");
    assert_eq!(status(&cordon)["generation"], before["generation"]);

    let file = write(
        &cordon,
        "x.cordon",
        &issue("[target]\nhosts = [\"edge-*\"]\n").bytes(&["one"]),
    );
    let (_, forced) = push_with(&cordon, &file, &["--override-lockout"]);
    assert_eq!(forced["outcome"], "accepted", "{forced:#}");
    assert!(
        forced["applied"]["lockouts"].to_string().contains("82.0.0.0"),
        "{forced:#}"
    );
}

#[test]
fn an_ended_policy_stays_in_force_and_the_state_says_since_when() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    let expires = Instant(Instant::now().0 + 3);
    let issue = Issue {
        expires,
        ..Issue::new(3, &drops(&["RU"]))
    };
    accepted(&cordon, &issue);
    assert_eq!(status(&cordon)["state"], "ok");
    let after = wait(&cordon, "the policy ends", |status| status["state"] == "degraded");
    let text = format!("has ended on {expires}");
    assert!(after["problems"].to_string().contains(&text), "{after:#}");
    assert_eq!(judged(&cordon, RU), 10, "it stays in force");
    assert_eq!(cordon.cordon(&["status", "--check"]).unwrap().status, 1);
    let again = push(&cordon, cordon.dir().join("edge-3.cordon").to_str().unwrap());
    assert_eq!(
        (again["outcome"].as_str(), &again["is_expired"]),
        (Some("idle"), &Value::Bool(true))
    );
    let late = Issue {
        revision: 4,
        ..issue.clone()
    };
    let late = push(&cordon, &late.write(&cordon));
    assert_eq!(late["reason"], "expired", "{late:#}");

    restart_without_pins(&mut cordon);
    assert!(problems(&cordon).contains(&text));
    assert_eq!(judged(&cordon, RU), 10, "also after a boot");
    accepted(&cordon, &Issue::new(4, &drops(&["NL"])));
    assert_eq!(status(&cordon)["state"], "ok");
}

/// The time is never before what was signed and taken: an ended bundle does not come back to life with a wrong clock.
#[test]
fn a_bundle_that_ended_by_what_was_seen_is_refused_whatever_the_clock_says() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    let now = Instant::now().0;
    // Within the five minutes that clocks may differ: the host's own clock is behind what was signed.
    let ahead = Issue {
        issued: Instant(now + 200),
        ..Issue::new(1, &drops(&["RU"]))
    };
    accepted(&cordon, &ahead);
    restart(&mut cordon);
    let ended = Issue {
        expires: Instant(now + 150),
        ..Issue::new(2, &drops(&["NL"]))
    };
    let value = push(&cordon, &ended.write(&cordon));
    assert_eq!(value["reason"], "expired", "{value:#}");
}

/// As after a boot with a clock that is behind, and as after a step back: what had ended by the host's time has ended.
#[test]
fn a_clock_that_is_set_back_brings_no_ended_bundle_back() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    cordon.kill().unwrap();
    let now = Instant::now().0;
    fs::write(
        cordon.dir().join("state/clock"),
        format!("{}\n", Instant(now + 3600)),
    )
    .unwrap();
    cordon.run().unwrap();
    let ended = Issue {
        expires: Instant(now + 1800),
        ..Issue::new(2, &drops(&["NL"]))
    };
    let value = push(&cordon, &ended.write(&cordon));
    assert_eq!(value["reason"], "expired", "{value:#}");
    assert!(problems(&cordon).contains("behind"), "{}", problems(&cordon));
    let later = push(&cordon, &Issue::new(2, &drops(&["NL"])).write(&cordon));
    assert_eq!(later["outcome"], "accepted", "{later:#}");
}

#[test]
fn a_push_that_must_be_confirmed_reverts_and_can_be_pushed_again() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let two = Issue::new(2, &drops(&["RU", "NL"]));
    let file = two.write(&cordon);
    let (_, pushed) = push_with(&cordon, &file, &["--confirm", "1s"]);
    assert_eq!(pushed["outcome"], "accepted", "{pushed:#}");
    let after = wait(&cordon, "it reverts", |status| status["reverted"] == true);
    assert_eq!(after["bundle"]["revision"], 1, "{after:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    let other = push(
        &cordon,
        &write(
            &cordon,
            "x.cordon",
            &Issue::new(2, &drops(&["NL"])).bytes(&["one"]),
        ),
    );
    assert_eq!(other["reason"], "same-revision-other-content", "{other:#}");

    let (_, pushed) = push_with(&cordon, &file, &["--confirm", "1h"]);
    assert_eq!(pushed["outcome"], "accepted", "the same one is: {pushed:#}");
    cordon.cordon_ok(&["confirm"]).unwrap();
    let after = status(&cordon);
    assert_eq!(
        (after["bundle"]["revision"].as_u64(), &after["confirm_left_s"]),
        (Some(2), &Value::Null)
    );
    assert_eq!(push(&cordon, &file)["outcome"], "idle");
}

#[test]
fn lists_of_a_bundle_hold_after_a_boot_and_so_do_those_of_a_plain_file() {
    let edge = edge();
    let listed = format!(
        "{}[[exemption]]\nlist = \"customers\"\nreference = \"C-1\"\nreason = \"r\"\nuntil = 2099-01-01T00:00:00Z\n",
        drops(&["RU"])
    );
    let list = "# customers\n81.0.7.0/24\n".to_owned();
    let mut cordon = managed(&edge, &["one"]);
    let issue = Issue {
        lists: vec![("customers", list.clone())],
        ..Issue::new(1, &listed)
    };
    accepted(&cordon, &issue);
    let before = status(&cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, "81.0.8.8")), (0, 10));
    restart_without_pins(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        after["generation"]["image_digest"], before["generation"]["image_digest"],
        "{after:#}"
    );
    drop(cordon);

    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let policy = cordon.write_policy(&listed).unwrap();
    let refused = cordon.cordon(&["apply", "--no-confirm", &policy]).unwrap();
    assert!(
        refused.status == 1 && refused.stderr.contains("lists/customers.txt"),
        "{refused:?}"
    );
    fs::create_dir(cordon.dir().join("lists")).unwrap();
    fs::write(cordon.dir().join("lists/customers.txt"), &list).unwrap();
    cordon.cordon_ok(&["check", &policy]).unwrap();
    cordon.cordon_ok(&["apply", "--no-confirm", &policy]).unwrap();
    assert_eq!((judged(&cordon, RU), judged(&cordon, "81.0.8.8")), (0, 10));
    fs::remove_file(cordon.dir().join("lists/customers.txt")).unwrap();
    restart_without_pins(&mut cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, "81.0.8.8")), (0, 10));
    assert_eq!(problems(&cordon), "");
}

#[test]
fn a_bundle_is_confirmed_by_probes_too() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    cordon.wait_attached().unwrap();
    let auto = ["--confirm=auto=12s", "--override-lockout"];
    let (_, good) = push_with(&cordon, &Issue::new(2, &drops(&["NL"])).write(&cordon), &auto);
    assert_eq!(
        (
            &good["applied"]["confirm_left_s"],
            &good["applied"]["probing"]["settle_s"]
        ),
        (&Value::Null, &6.into()),
        "{good:#}"
    );
    assert_eq!(status(&cordon)["confirm_left_s"], Value::Null);
    let (bad, _) = push_with(&cordon, &Issue::new(3, CUT_OFF).write(&cordon), &auto);
    assert!(
        bad.status == 1 && bad.stdout.contains("cut-off was not confirmed in time"),
        "{bad:?}"
    );
    let after = status(&cordon);
    assert_eq!(after["bundle"]["revision"], 2, "{after:#}");
}

/// What closes needs nothing of the disk.
#[test]
fn a_service_is_halted_though_the_kept_bundle_cannot_be_read() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let policy = format!(
        "{}[[service]]\nname = \"web\"\nprotocols = [\"tcp\"]\nports = [80]\n",
        drops(&["RU"])
    );
    accepted(&cordon, &Issue::new(1, &policy));
    let web = |address| {
        let args = ["explain", address, "--protocol", "tcp", "--port", "80", "--quiet"];
        cordon.cordon(&args).unwrap().status
    };
    assert_eq!(web(NL), 0);
    fs::remove_dir_all(cordon.dir().join("state/bundles")).unwrap();
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "drill"])
        .unwrap();
    assert_eq!((web(NL), judged(&cordon, NL)), (10, 0));
}
