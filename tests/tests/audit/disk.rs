//! A full disk: what opens is refused, what closes happens and is recorded later.

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use cordon::audit::{Actor, Event, Journal, log};
use integration_tests::{
    bundle_writer::Signer,
    cordon_process::{Cordon, HostFile},
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
    small_disk::SmallDisk,
};

use super::{read, records, verify};
use crate::push::{Issue, drops};

/// The last page of a segment takes a few more records.
const MAX_RECORDS_IN_A_PAGE: usize = 20;

fn halt(reason: &str) -> Event {
    Event::Halt {
        service: None,
        until: None,
        reason: reason.to_owned(),
    }
}

#[test]
fn both_ways_to_record_on_a_full_disk() {
    let scratch = Scratch::new().unwrap();
    let disk = SmallDisk::new(scratch.path(), 256).unwrap();
    let mut journal = Journal::new(disk.path());
    journal.record(&Actor::Daemon, &halt("before")).unwrap();

    disk.fill().unwrap();
    let mut n_taken = 0;
    let error = loop {
        match journal.record_first(&Actor::Daemon, &halt("opening")) {
            Ok(()) => n_taken += 1,
            Err(error) => break error,
        }
        assert!(n_taken < MAX_RECORDS_IN_A_PAGE);
    };
    assert!(error.to_string().contains("No space left"), "{error}");
    let before = records(&log::dir(disk.path()));
    assert_eq!(before.len(), 2 + n_taken, "nothing is written by half");
    let error = journal.record(&Actor::Daemon, &halt("closing")).unwrap_err();
    assert_eq!(error.n_waiting, 1, "the refused one does not wait");

    disk.make_room().unwrap();
    journal.record_first(&Actor::Daemon, &halt("after")).unwrap();
    journal.checkpoint().unwrap();
    let after = records(&log::dir(disk.path()));
    let reasons: Vec<_> = after[before.len()..]
        .iter()
        .map(|record| (record.what["reason"].as_str(), record.written.is_some()))
        .collect();
    assert_eq!(
        reasons,
        [(Some("closing"), true), (Some("after"), false), (None, false)]
    );
    assert_eq!(verify(&read(&log::dir(disk.path())), None).findings, []);
}

/// A lift, an exemption, a bundle: each is refused, and the verdict stays.
fn nothing_else_opens(cordon: &Cordon<'_>, order: &str) {
    const ADD: &[&str] = &["exempt", "add", "81.0.7.0/24", "--reference", "C-1"];
    const WHY: &[&str] = &["--reason", "contract", "--approver", "Ada", "--for", "1h"];
    let key = cordon.dir().join("one.pub");
    fs::write(&key, Signer::public("one")).unwrap();
    let trusted = cordon.dir().join("state/keys");
    fs::create_dir_all(&trusted).unwrap();
    let bundle = Issue::new(1, &drops(&["NL"])).write(cordon);
    for args in [
        vec!["lift", "--order", order, "--reason", "court"],
        vec!["lift", "--all", "--reason", "court"],
        [ADD, WHY].concat(),
        vec!["bundle", "push", &bundle],
    ] {
        if args[0] == "bundle" {
            fs::rename(&key, trusted.join("one.pub")).unwrap();
        }
        let answer = cordon.cordon(&args).unwrap();
        assert_eq!(answer.status, 1, "cordon {args:?}: {answer:?}");
        assert!(
            answer.stderr.contains("audit log") && answer.stderr.contains("No space left"),
            "cordon {args:?}: {answer:?}"
        );
        let verdict = cordon.cordon(&["explain", "81.0.7.7", "--quiet"]).unwrap().status;
        assert_eq!(verdict, 10, "after {args:?}");
    }
    fs::remove_file(trusted.join("one.pub")).unwrap();
    let status = cordon.status().unwrap();
    assert_eq!(status["lifts"], serde_json::json!([]), "{status:#}");
    assert_eq!(status["bundle"], serde_json::Value::Null, "{status:#}");
}

#[test]
fn a_daemon_whose_log_cannot_be_written() {
    let scratch = Scratch::new().unwrap();
    let disk = SmallDisk::new(scratch.path(), 256).unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let host = HostFile {
        database: Some(database),
        ..HostFile::default()
    };
    let lab = Lab::new().unwrap();
    let mut cordon = Cordon::new(&lab, &host).unwrap();
    symlink(disk.path(), log::dir(&cordon.dir().join("state"))).unwrap();
    cordon.run().unwrap();
    let policy = |i: usize| {
        let countries = [&["RU"][..], &["NL", "RU"]][i % 2];
        format!(
            "version = 1\nname = \"policy-{i}\"\ndefault = \"pass\"\nunknown = \"pass\"\n\
             [[order]]\nid = \"test-{i}\"\nauthority = \"Test\"\n\
             [[order.rule]]\naction = \"drop\"\ncountries = {countries:?}\n"
        )
    };
    cordon.apply(&policy(0)).unwrap();

    disk.fill().unwrap();
    let mut n_applied = 0;
    let refused = loop {
        let path = cordon.write_policy(&policy(n_applied + 1)).unwrap();
        let answer = cordon.cordon(&["apply", "--no-confirm", &path]).unwrap();
        match answer.status {
            0 => n_applied += 1,
            _ => break answer,
        }
        assert!(n_applied < MAX_RECORDS_IN_A_PAGE);
    };
    assert!(
        refused.stderr.contains("audit log") && refused.stderr.contains("No space left"),
        "{refused:?}"
    );
    let status = cordon.status().unwrap();
    assert_eq!(
        status["policy"]["name"],
        format!("policy-{n_applied}"),
        "what was in force stays"
    );
    assert_eq!(
        cordon.cordon(&["explain", "81.0.7.7", "--quiet"]).unwrap().status,
        10
    );
    let problems = status["problems"].to_string();
    assert!(problems.contains("audit log"), "{problems}");

    let before = records(disk.path()).len();
    nothing_else_opens(&cordon, &format!("test-{n_applied}"));
    cordon
        .cordon_ok(&["halt", "--reason", "flood", "--override-lockout"])
        .unwrap();
    assert!(
        cordon.status().unwrap()["halted"].is_object(),
        "what closes happens"
    );
    assert_eq!(records(disk.path()).len(), before);
    let resumed = cordon.cordon(&["resume"]).unwrap();
    assert_eq!(resumed.status, 1, "what opens does not");
    let status = cordon.status().unwrap();
    assert!(status["halted"].is_object(), "{resumed:?}\n{status:#}");

    disk.make_room().unwrap();
    for _ in 0..400 {
        let problems = cordon.status().unwrap()["problems"].to_string();
        if !problems.contains("audit log") {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    cordon.cordon_ok(&["resume"]).unwrap();
    let records = records(disk.path());
    let late: Vec<&str> = records
        .iter()
        .filter(|record| record.written.is_some())
        .map(|record| record.event_name())
        .collect();
    assert!(late.contains(&"halt") && late.contains(&"reject"), "{late:?}");
    assert_eq!(records.last().unwrap().event_name(), "resume");
    assert_eq!(verify(&read(disk.path()), None).findings, []);
    drop(cordon);
    assert!(fs::exists(disk.path().join("host.pub")).unwrap());
}
