use super::*;

fn history(cordon: &Cordon<'_>) -> Vec<Value> {
    let history: Value = cordon.cordon_ok(&["history", "--json"]).unwrap().json().unwrap();
    history["entries"].as_array().unwrap().clone()
}

fn rollback(cordon: &Cordon<'_>, args: &[&str]) -> Value {
    let mut all = vec!["rollback", "-o", "json"];
    all.extend(args);
    cordon.cordon_ok(&all).unwrap().json().unwrap()
}

#[test]
fn the_earlier_policy_is_back_at_once_and_holds_after_a_boot() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let none = cordon.cordon(&["rollback"]).unwrap();
    assert!(
        none.status == 1 && none.stderr.contains("no earlier policy"),
        "{none:?}"
    );
    cordon.apply(&drops(&["RU"])).unwrap();
    cordon.apply(&drops(&["NL"])).unwrap();
    let back = rollback(&cordon, &[]);
    println!("rolled back in {} us", back["took_us"]);
    assert_eq!(
        (&back["was_loaded"], back["policy"]["name"].as_str()),
        (&Value::Bool(true), Some("drops-ru")),
        "{back:#}"
    );
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    let generation = status(&cordon)["generation"].clone();
    restart(&mut cordon);
    assert_eq!(
        status(&cordon)["generation"],
        generation,
        "adopted, nothing rebuilt"
    );

    // Forward and back again, with nothing in memory: the kernel still has it.
    let forward = rollback(&cordon, &["2"]);
    assert_eq!(
        (&forward["was_loaded"], forward["policy"]["name"].as_str()),
        (&Value::Bool(true), Some("drops-nl")),
        "{forward:#}"
    );
    restart_without_pins(&mut cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));

    // After a boot only the store has it.
    let back = rollback(&cordon, &["1"]);
    assert_eq!(back["was_loaded"], false, "{back:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    let entries = history(&cordon);
    let told: Vec<(&str, Option<&str>)> = entries
        .iter()
        .map(|entry| (entry["policy"].as_str().unwrap(), entry["ended"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("drops-ru", None),
            ("drops-nl", Some("rolled_back")),
            ("drops-ru", Some("rolled_back")),
            ("drops-nl", Some("rolled_back")),
            ("drops-ru", Some("replaced")),
        ],
        "{entries:#?}"
    );
    assert_eq!(entries[0]["actor"]["uid"], 0);
    let absent = cordon.cordon(&["rollback", "99"]).unwrap();
    assert!(
        absent.status == 1 && absent.stderr.contains("no entry 99"),
        "{absent:?}"
    );
}

#[test]
fn a_rollback_that_is_not_confirmed_goes_forward_again() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    cordon.apply(&drops(&["NL"])).unwrap();
    rollback(&cordon, &["--confirm", "1s"]);
    let after = wait(&cordon, "it goes forward", |status| status["reverted"] == true);
    assert_eq!(after["policy"]["name"], "drops-nl", "{after:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));

    rollback(&cordon, &["1", "--confirm", "1h"]);
    let again = cordon.cordon(&["rollback"]).unwrap();
    assert!(
        again.status == 1 && again.stderr.contains("waits for confirmation"),
        "{again:?}"
    );
    restart(&mut cordon);
    assert!(status(&cordon)["confirm_left_s"].is_number());
    cordon.cordon_ok(&["confirm"]).unwrap();
    restart_without_pins(&mut cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}

#[test]
fn going_back_is_confirmed_by_probes_too() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(CUT_OFF).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    cordon.apply(&drops(&["NL"])).unwrap();
    cordon.wait_attached().unwrap();
    let back = rollback(&cordon, &["--confirm", "auto=12s"]);
    assert_eq!(
        (
            &back["was_loaded"],
            &back["confirm_left_s"],
            &back["probing"]["settle_s"]
        ),
        (&Value::Bool(true), &Value::Null, &6.into()),
        "{back:#}"
    );
    assert_eq!(status(&cordon)["confirm_left_s"], Value::Null);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    let lost = cordon
        .cordon(&["rollback", "1", "--confirm=auto=12s", "--override-lockout"])
        .unwrap();
    assert!(
        lost.status == 1 && lost.stderr.contains("cut-off was not confirmed in time"),
        "{lost:?}"
    );
    assert_eq!(status(&cordon)["policy"]["name"], "drops-ru");
}

#[test]
fn what_is_applied_again_is_the_same_entry_after_a_restart_too() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    let first = history(&cordon);
    std::thread::sleep(Duration::from_millis(1100));
    cordon.apply(&drops(&["RU"])).unwrap();
    cordon.apply(&format!("# again\n{}", drops(&["RU"]))).unwrap();
    restart(&mut cordon);
    let entries = history(&cordon);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!(
        (&entries[0]["from"], &entries[0]["to"]),
        (&first[0]["from"], &Value::Null)
    );
}

/// What nobody signed may be gone back to once nobody has to sign any more: it is a policy as any other then.
#[test]
fn a_host_that_is_not_managed_any_more_goes_back_to_anything() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(7, &drops(&["RU"])));
    let policy = cordon.write_policy(&drops(&["NL"])).unwrap();
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
    cordon.cordon_ok(&["rollback"]).unwrap();
    let keys = cordon
        .cordon_ok(&["key", "list", "-o", "json"])
        .unwrap()
        .json()
        .unwrap();
    let id = keys["keys"][0]["id"].as_str().unwrap().to_owned();
    cordon
        .cordon_ok(&["key", "revoke", &id, "--reason", "lost"])
        .unwrap();
    cordon
        .cordon_ok(&["key", "unmanage", "--reason", "sold"])
        .unwrap();

    rollback(&cordon, &["2", "--confirm", "1h"]);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));
    cordon.cordon_ok(&["confirm"]).unwrap();
    restart_without_pins(&mut cordon);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 10));

    let absent = cordon.cordon(&["rollback", "--revision", "8"]).unwrap();
    assert!(
        absent.status == 1 && absent.stderr.contains("no bundle of revision 8"),
        "{absent:?}"
    );
    let back = rollback(&cordon, &["--revision", "7"]);
    assert_eq!(back["policy"]["name"], "drops-ru", "{back:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}

#[test]
fn who_would_be_cut_off_by_going_back_is_said() {
    let mut edge = edge();
    edge.host.failsafe = vec!["81.0.0.0/24".to_owned()];
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    cordon.apply(&drops(&["NL"])).unwrap();
    let refused = cordon.cordon(&["rollback"]).unwrap();
    assert!(
        refused.status == 1 && refused.stderr.contains("81.0.0.0"),
        "{refused:?}"
    );
    assert_eq!(judged(&cordon, NL), 10);
    let back = rollback(&cordon, &["--override-lockout"]);
    assert!(back["lockouts"].to_string().contains("81.0.0.0"), "{back:#}");
}

/// On a host that takes signed policies only, the way back is forward.
#[test]
fn signed_hosts_go_back_by_a_new_revision_with_the_older_content() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    accepted(&cordon, &Issue::new(2, &drops(&["NL"])));
    let refused = cordon.cordon(&["rollback"]).unwrap();
    assert!(
        refused.status == 1 && refused.stderr.contains("cordon bundle reissue"),
        "{refused:?}"
    );
    let old = cordon.dir().join("edge-1.cordon").to_str().unwrap().to_owned();
    let new = cordon.dir().join("back.cordon").to_str().unwrap().to_owned();
    let reissue = |revision: &str| {
        cordon
            .cordon(&["bundle", "reissue", &old, "--revision", revision, "--to", &new])
            .unwrap()
    };
    let low = reissue("1");
    assert!(low.status == 1 && low.stderr.contains("not above 1"), "{low:?}");
    let done = reissue("3");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(push(&cordon, &new)["reason"], "unsigned");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/bundles/keys/one.key");
    let private = cordon.dir().join("one.key");
    std::fs::copy(key, &private).unwrap();
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    cordon
        .cordon_ok(&["bundle", "sign", &new, "--key", private.to_str().unwrap()])
        .unwrap();
    let pushed = push(&cordon, &new);
    assert_eq!(pushed["outcome"], "accepted", "{pushed:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    let revisions: Vec<u64> = history(&cordon)
        .iter()
        .map(|entry| entry["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(revisions, [3, 2, 1]);
    assert_eq!(history(&cordon)[0]["actor"]["by"], "signed");
}
