//! What a daemon makes of what it finds at its start: a database that has changed, records that are lost or broken,
//! interfaces that are absent.

use std::fs;

use cordon::instant::Instant;
use integration_tests::{cordon_process::Cordon, lab::EDGE_IFNAME, mmdb_writer::MmdbWriter, probes::Outcome};

use super::{BLOCK_BOTH, BLOCK_LIST, Edge, NL, RU, check, edge, judged, restart, status};

fn problems(cordon: &Cordon<'_>) -> String {
    let status = status(cordon);
    let problems = status["problems"].as_array().unwrap().iter();
    let texts: Vec<&str> = problems.map(|problem| problem.as_str().unwrap()).collect();
    texts.join("\n")
}

/// The address of RU goes to NL.
fn change_database(edge: &Edge) {
    MmdbWriter::new()
        .country("81.0.7.0/24", "NL")
        .country("82.0.0.0/16", "RU")
        .write(edge.host.database.as_ref().unwrap())
        .unwrap();
}

/// As after a boot: nothing is pinned.
fn restart_without_pins(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
}

#[test]
fn a_test_that_no_longer_holds_is_a_problem_and_the_policy_is_enforced() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon
        .apply(&format!(
            "{BLOCK_LIST}[[test]]\naddress = \"{RU}\"\nexpect = \"drop\"\n"
        ))
        .unwrap();
    change_database(&edge);
    restart_without_pins(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        (after["state"].as_str(), after["policy"]["name"].as_str()),
        (Some("degraded"), Some("block-list")),
        "{after:#}"
    );
    let problems = problems(&cordon);
    assert!(
        problems.contains("test failed") && problems.contains(RU),
        "{problems}"
    );
    assert_eq!(
        (judged(&cordon, RU), judged(&cordon, NL)),
        (0, 10),
        "by the database as it is now"
    );

    cordon.apply(BLOCK_LIST).unwrap();
    assert_eq!(check(&cordon).status, 0, "another policy, without that test");
}

#[test]
fn a_stored_policy_that_cannot_be_enforced_is_not_called_none() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let stored = cordon.dir().join("state/policy.toml");
    let good = fs::read(&stored).unwrap();
    let expect = |cordon: &Cordon<'_>, cause: &str| {
        let answer = check(cordon);
        assert_eq!(answer.status, 2, "{answer:?}");
        for text in [answer.stdout.as_str(), &problems(cordon)] {
            assert!(text.contains(cause), "`{cause}` is missing: {text}");
        }
        assert!(
            answer
                .stdout
                .contains("a policy is stored but it is not enforced"),
            "{answer:?}"
        );
    };

    fs::write(&stored, b"\xff\xfe").unwrap();
    restart_without_pins(&mut cordon);
    expect(&cordon, "policy.toml");
    fs::write(&stored, "version = ").unwrap();
    restart_without_pins(&mut cordon);
    expect(&cordon, "policy.toml");
    fs::write(&stored, &good).unwrap();
    fs::write(edge.host.database.as_ref().unwrap(), "<!DOCTYPE html>").unwrap();
    fs::remove_dir_all(cordon.dir().join("state/geo")).unwrap();
    restart_without_pins(&mut cordon);
    expect(&cordon, "countries.mmdb");
}

#[test]
fn a_database_that_is_broken_at_a_boot_is_replaced_by_the_copy_kept_of_the_last_good_one() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    fs::write(edge.host.database.as_ref().unwrap(), "<!DOCTYPE html>").unwrap();
    restart_without_pins(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        (after["state"].as_str(), after["policy"]["name"].as_str()),
        (Some("degraded"), Some("block-list")),
        "{after:#}"
    );
    let text = problems(&cordon);
    assert!(
        text.contains("countries.mmdb")
            && text.contains("the copy kept of the database in force last is used"),
        "{text}"
    );
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    let applied = cordon.apply(BLOCK_BOTH).unwrap();
    assert!(applied.stdout.contains("countries.mmdb"), "{applied:?}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 10));

    change_database(&edge);
    for _ in 0..200 {
        if status(&cordon)["state"] == "ok" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = status(&cordon);
    assert_eq!(after["state"], "ok", "the file is good again: {after:#}");
}

#[test]
fn an_unreadable_stored_policy_is_not_called_gone() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    fs::write(cordon.dir().join("state/policy.toml"), b"\xff\xfe").unwrap();
    restart(&mut cordon);
    let text = problems(&cordon);
    assert!(
        text.contains("policy.toml") && text.contains("what is pinned stays in force"),
        "{text}"
    );
    assert!(!text.contains("gone"), "{text}");
    assert_eq!(status(&cordon)["state"], "degraded");

    fs::remove_file(cordon.dir().join("state/policy.toml")).unwrap();
    restart(&mut cordon);
    assert!(problems(&cordon).contains("gone"), "{}", problems(&cordon));
}

/// Killed after the publish and before `pending.toml` became `policy.toml`, and the database changes meanwhile.
#[test]
fn a_policy_published_but_not_stored_is_not_taken_back() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let dir = cordon.dir().join("state");
    let earlier = fs::read(dir.join("policy.toml")).unwrap();
    // The generation's time is in whole seconds.
    let before = cordon::instant::Instant::now();
    while cordon::instant::Instant::now() == before {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    cordon.apply(BLOCK_BOTH).unwrap();
    cordon.kill().unwrap();
    fs::rename(dir.join("policy.toml"), dir.join("pending.toml")).unwrap();
    fs::write(dir.join("policy.toml"), &earlier).unwrap();
    change_database(&edge);
    cordon.run().unwrap();
    let after = status(&cordon);
    assert_eq!(after["policy"]["name"], "block-both", "{after:#}");
    assert!(!dir.join("pending.toml").exists());
    assert!(
        fs::read_to_string(dir.join("policy.toml"))
            .unwrap()
            .contains("block-both")
    );

    // Never published: the one in force is older.
    cordon.kill().unwrap();
    let never = format!(
        "# cordon: accepted 2099-01-01T00:00:00Z from never.toml\n{}",
        BLOCK_LIST.replace("block-list", "never")
    );
    fs::write(dir.join("pending.toml"), never).unwrap();
    cordon.run().unwrap();
    assert_eq!(status(&cordon)["policy"]["name"], "block-both");
    assert!(!dir.join("pending.toml").exists());
}

#[test]
fn a_halt_whose_record_is_lost_is_recorded_from_the_kernel() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    cordon
        .cordon_ok(&["halt", "--for", "1h", "--reason", "drill"])
        .unwrap();
    let until = status(&cordon)["halted"]["until"].clone();
    cordon.kill().unwrap();
    for name in ["state.json", "state.copy.json"] {
        fs::remove_file(cordon.dir().join("state").join(name)).unwrap();
    }
    cordon.run().unwrap();
    restart_without_pins(&mut cordon);
    let halted = status(&cordon)["halted"].clone();
    assert_eq!(
        (&halted["until"], halted["reason"].as_str()),
        (&until, Some("not recorded"))
    );
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn an_interface_that_may_have_been_renamed_stays_attached() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    cordon.kill().unwrap();
    let path = cordon.dir().join("cordon.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(EDGE_IFNAME, "absent0")).unwrap();
    cordon.run().unwrap();
    let status = status(&cordon);
    assert_eq!(status["interfaces"][0]["ifname"], EDGE_IFNAME, "{status:#}");
}

#[test]
fn the_database_in_force_is_named_and_not_the_one_read_last() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let before = status(&cordon)["database"]["sha256"].clone();
    change_database(&edge);
    let refused = cordon
        .write_policy(&format!(
            "{BLOCK_LIST}[[test]]\naddress = \"{RU}\"\nexpect = \"drop\"\n"
        ))
        .unwrap();
    assert_eq!(cordon.cordon(&["apply", &refused]).unwrap().status, 1);
    assert_eq!(status(&cordon)["database"]["sha256"], before);
}

/// As after a boot with a clock that is behind, and as after a step back: what has ended does not begin again.
#[test]
fn a_clock_that_is_behind_revives_nothing() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let later = |s: u32| Instant(Instant::now().0 + s);
    let until = later(1800);
    cordon
        .apply(&format!(
            "{BLOCK_LIST}[[allow]]\nprefixes = [\"81.0.7.0/24\"]\nreason = \"visit\"\nuntil = {until}\n"
        ))
        .unwrap();
    cordon.wait_attached().unwrap();
    let met = || edge.lab.reach(&[RU.parse().unwrap()]).unwrap()[0].uniform();
    assert_eq!(met(), Some(Outcome::Passed));
    cordon.kill().unwrap();
    let clock = cordon.dir().join("state/clock");
    fs::write(&clock, format!("{}\n", later(3600))).unwrap();
    cordon.run().unwrap();
    let text = problems(&cordon);
    assert!(text.contains("clock is 3") && text.contains("s behind"), "{text}");
    assert_eq!(met(), Some(Outcome::Blocked));
    assert_eq!(judged(&cordon, RU), 10, "the daemon goes by the same time");
    // Stored by the daemon, and known to the kernel.
    fs::remove_file(&clock).unwrap();
    restart(&mut cordon);
    assert_eq!(met(), Some(Outcome::Blocked));
    restart_without_pins(&mut cordon);
    cordon.wait_attached().unwrap();
    assert_eq!(met(), Some(Outcome::Blocked));
}

/// As after a step far ahead that NTP may take back: nothing ends by it at once, also with another daemon. A boot takes it.
#[test]
fn a_clock_that_jumps_far_ahead_ends_nothing_at_once() {
    let edge = edge();
    let mut cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    cordon.run_up_longer(200_000).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    restart(&mut cordon);
    assert!(
        problems(&cordon).contains("set 2 days ahead"),
        "{}",
        problems(&cordon)
    );
    let until = Instant(Instant::now().0 - 100_000);
    cordon
        .apply(&format!(
            "{BLOCK_LIST}[[allow]]\nprefixes = [\"81.0.7.0/24\"]\nreason = \"visit\"\nuntil = {until}\n"
        ))
        .unwrap();
    cordon.wait_attached().unwrap();
    let met = || edge.lab.reach(&[RU.parse().unwrap()]).unwrap()[0].uniform();
    for _ in 0..2 {
        assert_eq!(met(), Some(Outcome::Passed), "the kernel");
        assert_eq!(judged(&cordon, RU), 0, "the daemon");
        restart(&mut cordon);
    }
    restart_without_pins(&mut cordon);
    cordon.wait_attached().unwrap();
    assert_eq!(problems(&cordon), "");
    assert_eq!((met(), judged(&cordon, RU)), (Some(Outcome::Blocked), 10));
}

#[test]
fn what_a_daemon_that_died_had_written_and_not_used_is_removed() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    cordon.kill().unwrap();
    let state = cordon.dir().join("state");
    let digest = "0".repeat(64);
    let unused = [
        format!("geo/{digest}.mmdb"),
        format!("geo/.{digest}.mmdb.7-0.new"),
        format!("bundles/{digest}.cordon"),
        format!("lists/{digest}.json"),
    ];
    for name in &unused {
        let path = state.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    cordon.run().unwrap();
    assert_eq!(status(&cordon)["state"], "ok");
    for name in &unused {
        assert!(!state.join(name).exists(), "{name}");
    }
    let copies = fs::read_dir(state.join("geo")).unwrap().count();
    assert_eq!(copies, 2, "the copy of the database in force and its record stay");
}
