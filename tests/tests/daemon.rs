//! The daemon's life: first apply, confirm window, restarts, halts, refusals. Real binary, real kernel.

/// Halts, and sources that no policy is asked about.
mod halt;
/// What a start makes of what it finds.
mod take_up;

use std::{fs, time::Duration};

use cordon::instant::Instant;
use integration_tests::{
    cordon_process::{Answer, Cordon, HostFile},
    images::BLOCK_RU as BLOCK_LIST,
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    probes::Outcome,
    scratch::Scratch,
};
use serde_json::Value;

const BLOCK_BOTH: &str = r#"
version = 1
name = "block-both"
default = "pass"
unknown = "pass"
[[order]]
id = "test-2"
authority = "Test Authority"
[[order.rule]]
action = "drop"
countries = ["RU", "NL"]
"#;

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

fn edge() -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    Edge {
        lab: Lab::new().unwrap(),
        host: HostFile {
            interfaces: vec![EDGE_IFNAME.to_owned()],
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

/// 0 pass, 10 drop, by the live program.
fn judged(cordon: &Cordon<'_>, address: &str) -> i32 {
    cordon.cordon(&["explain", address, "--quiet"]).unwrap().status
}

fn check(cordon: &Cordon<'_>) -> Answer {
    cordon.cordon(&["status", "--check"]).unwrap()
}

/// The status, once the daemon has taken up what it found.
fn status(cordon: &Cordon<'_>) -> Value {
    for _ in 0..200 {
        let status = cordon.status().unwrap();
        if status["busy"].is_null() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the daemon stays busy:\n{}", cordon.log());
}

fn restart(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.run().unwrap();
    status(cordon);
}

#[test]
fn a_daemon_without_a_policy_attaches_to_nothing() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let status = status(&cordon);
    assert_eq!(status["state"], "not_enforcing");
    assert_eq!(
        status["interfaces"].as_array().map(Vec::len),
        Some(0),
        "{status:#}"
    );
    assert_eq!(check(&cordon).status, 2);
}

#[test]
fn a_confirmed_policy_is_stored_and_adopted_as_it_is() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let policy = cordon.write_policy(BLOCK_LIST).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &policy]).unwrap();
    assert!(status(&cordon)["confirm_left_s"].is_number());
    assert!(
        !cordon.dir().join("state/policy.toml").exists(),
        "not stored before it is confirmed"
    );

    restart(&mut cordon);
    assert!(
        status(&cordon)["confirm_left_s"].is_number(),
        "the window survives a restart"
    );
    cordon.cordon_ok(&["confirm"]).unwrap();
    let stored = fs::read_to_string(cordon.dir().join("state/policy.toml")).unwrap();
    let (header, text) = stored.split_once('\n').unwrap();
    assert!(header.starts_with("# cordon: accepted "), "{header}");
    assert_eq!(text, BLOCK_LIST);
    let before = status(&cordon);
    assert_eq!(
        (before["state"].as_str(), &before["confirm_left_s"]),
        (Some("ok"), &Value::Null),
        "{before:#}"
    );

    restart(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        after["generation"], before["generation"],
        "adopted, nothing rebuilt"
    );
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));

    let again = cordon
        .cordon_ok(&["apply", &policy, "-o", "json"])
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(again["outcome"], "already_in_force");
    assert_eq!(
        status(&cordon)["generation"],
        before["generation"],
        "nothing was published"
    );
}

/// What has ended since a policy was accepted neither rebuilds it nor refuses it: neither with the pins there nor
/// after they are gone, as after a boot.
#[test]
fn a_policy_is_taken_up_as_it_was_accepted_whatever_has_ended_since() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let until = Instant(Instant::now().0 + 4);
    let policy = format!(
        "{BLOCK_LIST}[[exemption]]\nprefixes = [\"{RU}/32\"]\nreference = \"C-1\"\nreason = \"customer\"\n\
         until = {until}\n[[test]]\naddress = \"{RU}\"\nexpect = \"pass\"\n"
    );
    cordon.apply(&policy).unwrap();
    let before = status(&cordon);
    assert_eq!(judged(&cordon, RU), 0, "exempt");
    while Instant::now() <= until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(judged(&cordon, RU), 10, "the exemption is over");

    restart(&mut cordon);
    let after = status(&cordon);
    assert_eq!(
        after["generation"], before["generation"],
        "adopted, nothing rebuilt"
    );
    assert_eq!(
        (after["state"].as_str(), after["policy"]["name"].as_str()),
        (Some("ok"), Some("block-list")),
        "{after:#}"
    );

    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
    let after = status(&cordon);
    assert_eq!(after["state"], "ok", "published again from the store: {after:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}

#[test]
fn an_unconfirmed_policy_is_reverted_and_forgotten() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let policy = cordon.write_policy(BLOCK_LIST).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1s", &policy]).unwrap();
    wait_reverted(&cordon);
    assert_eq!(
        check(&cordon).status,
        2,
        "back to what was before the first policy: nothing is blocked"
    );
    assert_eq!(judged(&cordon, RU), 0);

    cordon.apply(BLOCK_LIST).unwrap();
    let policy = cordon.write_policy(BLOCK_BOTH).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1s", &policy]).unwrap();
    wait_reverted(&cordon);
    let late = cordon.cordon(&["confirm"]).unwrap();
    assert!(late.status == 1 && late.stderr.contains("block-both"), "{late:?}");
    let status = status(&cordon);
    assert_eq!(status["policy"]["name"], "block-list", "{status:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    assert!(!cordon.dir().join("state/pending.toml").exists());
}

fn wait_reverted(cordon: &Cordon<'_>) {
    for _ in 0..400 {
        if status(cordon)["reverted"] == true {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not reverted:\n{}", cordon.log());
}

#[test]
fn a_revert_while_the_daemon_is_dead_is_found_at_its_start() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let policy = cordon.write_policy(BLOCK_BOTH).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1s", &policy]).unwrap();
    cordon.kill().unwrap();
    // The deadline is rounded up to whole seconds of boot time.
    std::thread::sleep(Duration::from_millis(2100));
    cordon.run().unwrap();
    let status = status(&cordon);
    assert_eq!(status["policy"]["name"], "block-list", "{status:#}");
    assert_eq!(status["reverted"], true);
    let problem = "policy block-both was not confirmed in time and was reverted";
    assert_eq!(status["problems"], serde_json::json!([problem]), "{status:#}");
    assert_eq!(judged(&cordon, NL), 0);
}

#[test]
fn a_halt_outlives_the_daemon_and_ends_by_resume() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    cordon
        .cordon_ok(&["halt", "--for", "1h", "--reason", "drill"])
        .unwrap();
    assert_eq!(judged(&cordon, NL), 10);
    restart(&mut cordon);
    let halted = status(&cordon)["halted"].clone();
    assert_eq!(halted["reason"], "drill");
    assert!(halted["until"].is_string(), "{halted}");
    assert_eq!(judged(&cordon, NL), 10);
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(judged(&cordon, NL), 0);
    assert_eq!(status(&cordon)["halted"], Value::Null);
}

#[test]
fn a_halt_drops_without_a_policy_too_and_says_so_if_it_cannot() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    assert_eq!(status(&cordon)["interfaces"][0]["ifname"], EDGE_IFNAME);
    let (ru, nl) = (RU.parse().unwrap(), NL.parse().unwrap());
    let blocked = Some(Outcome::Blocked);
    for reach in edge.lab.reach(&[ru, nl]).unwrap() {
        assert_eq!(reach.uniform(), blocked, "{reach:?}");
    }
    cordon.cordon_ok(&["resume"]).unwrap();
    for reach in edge.lab.reach(&[ru, nl]).unwrap() {
        assert_eq!(
            reach.uniform(),
            Some(Outcome::Passed),
            "nothing was applied: {reach:?}"
        );
    }
    drop(cordon);

    let host = HostFile {
        interfaces: Vec::new(),
        ..edge.host.clone()
    };
    let cordon = Cordon::start(&edge.lab, &host).unwrap();
    let answer = cordon.cordon(&["halt", "--reason", "drill"]).unwrap();
    assert!(
        answer.status == 1 && answer.stderr.contains("nothing is dropped"),
        "{answer:?}"
    );
}

#[test]
fn a_policy_that_would_cut_off_a_failsafe_prefix_is_refused_with_its_name() {
    let mut edge = edge();
    edge.host.failsafe = vec!["82.0.0.0/24".to_owned()];
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let before = status(&cordon)["generation"].clone();
    let policy = cordon.write_policy(BLOCK_BOTH).unwrap();

    let refused = cordon.cordon(&["apply", &policy]).unwrap();
    assert_eq!(refused.status, 1, "{refused:?}");
    for expected in ["82.0.0.0", "NL", "test-2", "--override-lockout"] {
        assert!(
            refused.stderr.contains(expected),
            "`{expected}` is missing: {refused:?}"
        );
    }
    assert_eq!(status(&cordon)["generation"], before, "nothing was published");

    let forced = cordon
        .cordon_ok(&["apply", "--override-lockout", &policy])
        .unwrap();
    assert!(forced.stdout.contains("overridden: 82.0.0.0"), "{forced:?}");
    assert_eq!(judged(&cordon, "82.0.0.1"), 0, "the failsafe prefix still holds");
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn what_is_broken_at_the_start_leaves_the_pinned_policy_in_force() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let before = status(&cordon)["generation"].clone();

    fs::write(cordon.dir().join("state/policy.toml"), "version = ").unwrap();
    restart(&mut cordon);
    let broken = status(&cordon);
    assert_eq!(
        (broken["state"].as_str(), &broken["generation"]),
        (Some("degraded"), &before),
        "{broken:#}"
    );
    assert!(
        broken["problems"][0]
            .as_str()
            .is_some_and(|text| text.contains("policy.toml")),
        "{broken:#}"
    );
    assert_eq!(check(&cordon).status, 1);

    fs::write(cordon.dir().join("state/policy.toml"), BLOCK_LIST).unwrap();
    let database = edge.host.database.as_ref().unwrap();
    fs::write(database, "<!DOCTYPE html>").unwrap();
    restart(&mut cordon);
    let broken = status(&cordon);
    assert_eq!(
        (broken["state"].as_str(), &broken["generation"]),
        (Some("degraded"), &before),
        "{broken:#}"
    );
    let broken_text = broken["problems"].to_string();
    assert!(broken_text.contains("countries.mmdb"), "{broken_text}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}

#[test]
fn a_second_daemon_is_refused_and_a_running_one_guards_its_pins() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let second = cordon.cordon(&["run"]).unwrap();
    assert!(
        second.status == 1 && second.stderr.contains("another daemon"),
        "{second:?}"
    );
    let detach = cordon.cordon(&["detach", "--yes"]).unwrap();
    assert!(
        detach.status == 1 && detach.stderr.contains("systemctl stop cordon"),
        "{detach:?}"
    );
    assert_eq!(check(&cordon).status, 0);
}

/// The limit that issue 2 sets, with the database that ships with cordon.
#[test]
fn at_rest_the_daemon_stays_below_its_memory() {
    const LIMIT_KIB: u64 = 128 << 10;
    let lab = Lab::new().unwrap();
    let cordon = Cordon::start(&lab, &HostFile::default()).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", cordon.pid().unwrap())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let resident_kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    println!("{resident_kib} KiB resident");
    assert!(
        resident_kib < LIMIT_KIB,
        "{resident_kib} KiB with the world database published"
    );
}
