//! What is recorded over the life of a host, and what the command line makes of it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output},
};

use cordon::audit::{Record, log};
use integration_tests::{
    cordon_process::{Cordon, HostFile, binary},
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{read, records, verify};

const NOBODY: u32 = 65_534;

fn policy(name: &str) -> String {
    dropping(name, &["RU"])
}

fn dropping(name: &str, countries: &[&str]) -> String {
    format!(
        "version = 1\nname = \"{name}\"\ndefault = \"pass\"\nunknown = \"pass\"\n\
         [[order]]\nid = \"test-1\"\nauthority = \"Test\"\n\
         [[order.rule]]\naction = \"drop\"\ncountries = {countries:?}\n"
    )
}

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
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

fn audit_dir(cordon: &Cordon<'_>) -> std::path::PathBuf {
    log::dir(&cordon.dir().join("state"))
}

fn names(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::event_name).collect()
}

fn stop(cordon: &mut Cordon<'_>) {
    cordon.signal(Signal::SIGTERM).unwrap();
    for _ in 0..400 {
        if !cordon.is_running() {
            // It is dead: this only forgets it.
            return cordon.kill().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the daemon does not stop:\n{}", cordon.log());
}

fn until(cordon: &Cordon<'_>, holds: impl Fn(&Value) -> bool) {
    for _ in 0..400 {
        if holds(&cordon.status().unwrap()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:#}", cordon.status().unwrap());
}

/// Only what the names ask for, in order.
fn only<'a>(names: &[&'a str], wanted: &[&str]) -> Vec<&'a str> {
    names
        .iter()
        .copied()
        .filter(|name| wanted.contains(name))
        .collect()
}

#[test]
fn a_day_in_the_life_of_a_host() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let one = cordon.write_policy(&policy("one")).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &one]).unwrap();
    cordon.cordon_ok(&["confirm"]).unwrap();
    for _ in 0..3 {
        assert_eq!(cordon.cordon(&["confirm"]).unwrap().status, 1);
    }
    cordon
        .cordon_ok(&["halt", "--reason", "drill", "--override-lockout"])
        .unwrap();
    cordon.cordon_ok(&["resume"]).unwrap();
    cordon
        .cordon_ok(&["halt", "--for", "1s", "--reason", "short", "--override-lockout"])
        .unwrap();
    until(&cordon, |status| status["halted"].is_null());
    let two = cordon.write_policy(&dropping("two", &["NL"])).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1s", &two]).unwrap();
    until(&cordon, |status| status["reverted"] == true);
    cordon.kill().unwrap();
    cordon.run().unwrap();
    stop(&mut cordon);
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();

    let records = records(&audit_dir(&cordon));
    let names = names(&records);
    assert_eq!(names[..2], ["segment", "start"]);
    let verbs = [
        "start", "publish", "confirm", "reject", "halt", "resume", "revert", "gap", "stop", "attach",
        "detach",
    ];
    let happened = only(&names, &verbs);
    assert_eq!(
        happened[..6],
        ["start", "publish", "publish", "attach", "confirm", "reject"],
        "{happened:?}: the first to be confirmed stands on one that passes everything"
    );
    assert_eq!(happened[6..8], ["halt", "resume"], "{happened:?}");
    // The kernel ends a halt; the daemon notices within a second, before or after it publishes.
    let then = only(&happened[8..12], &["halt", "publish", "revert"]);
    assert_eq!(then, ["halt", "publish", "revert"], "{happened:?}");
    let last = ["gap", "start", "stop", "gap", "detach"];
    assert_eq!(
        happened[12..],
        last,
        "SIGKILL, a start, a stop, and a detach without a daemon"
    );
    let ended: Vec<_> = records
        .iter()
        .filter_map(|it| it.what["ended"].as_bool())
        .collect();
    assert_eq!(ended, [false, true], "the second halt ended by itself");
    let find = |name: &str| records.iter().find(|record| record.event_name() == name).unwrap();
    assert_eq!(find("reject").what["count"], 3);
    assert_eq!(find("reject").actor["uid"], 0);
    assert_eq!(find("detach").what["reason"], "cordon detach");
    let publishes: Vec<&Record> = records
        .iter()
        .filter(|record| record.event_name() == "publish")
        .collect();
    let policies: Vec<_> = publishes
        .iter()
        .map(|it| it.what["policy"].as_str().unwrap())
        .collect();
    assert_eq!(
        policies,
        ["one", "pass-everything", "two"],
        "one is on record before anything happens"
    );
    let generations: Vec<_> = publishes
        .iter()
        .map(|it| it.what["generation"].as_u64())
        .collect();
    assert_eq!(generations, [Some(2), Some(1), Some(3)]);
    assert_eq!(verify(&read(&audit_dir(&cordon)), None).findings, []);
}

#[test]
fn counters_outlive_generations_and_daemons() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&policy("one")).unwrap();
    cordon.wait_attached().unwrap();
    edge.lab.reach_from("81.0.7.7".parse().unwrap()).unwrap();
    let dropped = |cordon: &Cordon<'_>| {
        let status = cordon.status().unwrap();
        let rows = status["counters"].as_array().unwrap().clone();
        let sum: u64 = rows
            .iter()
            .filter(|row| row["reason"] == "policy_drop")
            .filter_map(|row| row["packets"].as_u64())
            .sum();
        sum
    };
    let before = dropped(&cordon);
    assert!(before > 0);
    // Two more, and the first one is retired.
    cordon.apply(&dropping("two", &["RU", "NL"])).unwrap();
    cordon.apply(&dropping("three", &["NL"])).unwrap();
    let counted = |cordon: &Cordon<'_>| -> Vec<Value> {
        let records = records(&audit_dir(cordon)).into_iter();
        let counters = records.filter(|record| record.event_name() == "counters");
        counters.map(|record| record.what).collect()
    };
    for _ in 0..400 {
        if !counted(&cordon).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let rows = counted(&cordon);
    let last = rows.iter().find(|what| what["generation"] == 1).unwrap();
    let row = last["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row[0] == "policy_drop");
    assert_eq!(row.unwrap()[1], "RU", "{last:#}");
    assert_eq!(row.unwrap()[2].as_u64(), Some(before), "{last:#}");
    // Right after the record.
    for _ in 0..400 {
        if cordon.dir().join("state/counters.json").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    cordon.kill().unwrap();
    cordon.run().unwrap();
    assert_eq!(
        dropped(&cordon),
        before,
        "what a retired generation dropped is not forgotten"
    );
}

/// Five minutes, so only in the long run.
#[test]
fn the_counters_of_a_generation_in_force_are_persisted_every_five_minutes() {
    if std::env::var_os("CORDON_TEST_FULL").is_none() {
        return;
    }
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&policy("one")).unwrap();
    cordon.wait_attached().unwrap();
    edge.lab.reach_from("81.0.7.7".parse().unwrap()).unwrap();
    let of_event = |name: &str| {
        let records = records(&audit_dir(&cordon)).into_iter();
        records
            .filter(|record| record.event_name() == name)
            .collect::<Vec<_>>()
    };
    for _ in 0..360 {
        if !of_event("counters").is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    let (start, counters) = (of_event("start"), of_event("counters"));
    assert_eq!(counters[0].what["generation"], cordon.generation().unwrap());
    let after_s = (counters[0].mono_ms - start[0].mono_ms) / 1000;
    println!("counters were persisted after {after_s} s");
    assert!((299..=310).contains(&after_s), "after {after_s} s");
}

/// Runs a verb as a user who may do nothing but read.
fn as_nobody(args: &[&str]) -> Output {
    Command::new(binary().unwrap())
        .args(args)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap()
}

/// A copy that everybody may read.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        fs::copy(entry.path(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[test]
fn a_copy_is_verified_by_anybody_with_three_exit_codes() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&policy("one")).unwrap();
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| shared.path().join(name).to_str().unwrap().to_owned();
    let (anchor, dir) = (path("anchor.json"), path("copy"));
    cordon.cordon_ok(&["audit", "anchor", "--out", &anchor]).unwrap();
    cordon
        .cordon_ok(&["halt", "--reason", "drill", "--override-lockout"])
        .unwrap();
    let public = cordon.cordon_ok(&["audit", "key"]).unwrap().stdout;
    fs::write(path("host.pub"), public).unwrap();
    stop(&mut cordon);
    copy(&audit_dir(&cordon), Path::new(&dir));

    let stdout = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let plain = as_nobody(&["audit", "verify", "--dir", &dir]);
    assert_eq!(plain.status.code(), Some(0), "{plain:?}");
    assert_eq!(stdout(&plain), "consistent with itself\n", "and not more");
    let key = path("host.pub");
    let anchored = as_nobody(&[
        "audit", "verify", "--dir", &dir, "--anchor", &anchor, "--key", &key,
    ]);
    assert_eq!(anchored.status.code(), Some(0), "{anchored:?}");
    assert!(stdout(&anchored).contains("with the anchor"), "{anchored:?}");
    let shown = as_nobody(&["audit", "show", "--dir", &dir, "--verb", "halt", "--since", "1h"]);
    assert_eq!(stdout(&shown).lines().count(), 1, "{shown:?}");
    assert!(
        stdout(&shown).contains("halt by user 0: reason=\"drill\""),
        "{shown:?}"
    );

    let segment = Path::new(&dir).join(log::segment_name(1));
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replace("drill", "chill")).unwrap();
    let edited = as_nobody(&["audit", "verify", "--dir", &dir]);
    assert_eq!(edited.status.code(), Some(1), "{edited:?}");
    let line = 1 + text.lines().position(|line| line.contains("drill")).unwrap();
    let expected = format!("{}:{line}: edited: ", segment.display());
    assert!(stdout(&edited).contains(&expected), "`{expected}`: {edited:?}");
    assert!(!stdout(&edited).contains("consistent"), "{edited:?}");

    let short: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&segment, short).unwrap();
    let cut = as_nobody(&["audit", "verify", "--dir", &dir, "--anchor", &anchor]);
    assert_eq!(cut.status.code(), Some(1), "{cut:?}");
    assert!(stdout(&cut).contains("truncated"), "{cut:?}");

    let absent = as_nobody(&["audit", "verify", "--dir", &path("absent")]);
    assert_eq!(absent.status.code(), Some(2), "{absent:?}");
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o600)).unwrap();
    let unreadable = as_nobody(&["audit", "verify", "--dir", &dir]);
    assert_eq!(unreadable.status.code(), Some(2), "{unreadable:?}");
    fs::write(&anchor, "{}").unwrap();
    let no_anchor = as_nobody(&["audit", "verify", "--dir", &dir, "--anchor", &anchor]);
    assert_eq!(no_anchor.status.code(), Some(2), "{no_anchor:?}");
}

#[test]
fn keys_and_interfaces_are_recorded_when_somebody_changes_them() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&policy("one")).unwrap();
    cordon.wait_attached().unwrap();
    let name = cordon.dir().join("one").to_str().unwrap().to_owned();
    cordon.cordon_ok(&["key", "new", "--no-password", &name]).unwrap();
    cordon
        .cordon_ok(&["key", "trust", &format!("{name}.pub"), "--verbs", "halt"])
        .unwrap();
    stop(&mut cordon);
    // Nobody was there when the links went away, as after a boot.
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
    cordon.wait_attached().unwrap();
    let records = records(&audit_dir(&cordon));
    let key = records
        .iter()
        .find(|record| record.event_name() == "key" && record.what["change"] == "trust")
        .unwrap();
    assert_eq!(key.what["verbs"], serde_json::json!(["halt"]));
    let names = names(&records);
    assert_eq!(
        only(&names, &["attach", "detach"]),
        ["attach", "detach", "attach"]
    );
}

/// Counters are kept by generation: each one is told by a record.
#[test]
fn every_generation_is_on_record_whatever_made_it() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let text = format!(
        "{}\n[[service]]\nname = \"web\"\nprotocols = [\"tcp\"]\nports = [80]\n",
        policy("one")
    );
    cordon.apply(&text).unwrap();
    let mut numbers = vec![cordon.generation().unwrap()];
    for verb in [
        &["lift", "--order", "test-1", "--reason", "court"][..],
        &["unlift", "--order", "test-1"],
        &["halt", "--service", "web", "--reason", "drill"],
        &["resume"],
    ] {
        cordon.cordon_ok(verb).unwrap();
        numbers.push(cordon.generation().unwrap());
    }
    let other = cordon
        .write_policy(&text.replace("[\"RU\"]", "[\"NL\"]"))
        .unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "2s", &other]).unwrap();
    numbers.push(cordon.generation().unwrap());
    // Both generations are made anew: the one in force and the one that the kernel goes back to.
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "drill"])
        .unwrap();
    numbers.push(cordon.generation().unwrap());
    until(&cordon, |status| status["reverted"] == true);
    numbers.push(cordon.generation().unwrap());
    let database = edge.host.database.as_ref().unwrap();
    let before = cordon.generation().unwrap();
    MmdbWriter::new()
        .country("83.0.0.0/16", "RU")
        .write(&database.with_extension("new"))
        .unwrap();
    fs::rename(database.with_extension("new"), database).unwrap();
    until(&cordon, |status| status["generation"]["number"] != before);
    numbers.push(cordon.generation().unwrap());
    stop(&mut cordon);

    let records = records(&audit_dir(&cordon));
    let published = records.iter().filter(|record| record.event_name() == "publish");
    let published: Vec<u64> = published
        .map(|record| record.what["generation"].as_u64().unwrap())
        .collect();
    for number in numbers {
        let n_records = published.iter().filter(|published| **published == number).count();
        assert_eq!(n_records, 1, "generation {number}: {published:?}");
    }
}
