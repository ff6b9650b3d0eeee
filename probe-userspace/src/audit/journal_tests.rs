//! The journal on a disk that fails, and over restarts.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{Actor, Anchor, Class, Event, Head, Journal, Record, Rejection, Report, Verifier, log};

fn halt(reason: &str) -> Event {
    Event::Halt {
        service: None,
        until: None,
        reason: reason.to_owned(),
    }
}

fn rejection(source: &str) -> Rejection {
    Rejection {
        verb: "apply".to_owned(),
        source: source.to_owned(),
        reason: "input".to_owned(),
        message: "no policy".to_owned(),
    }
}

fn verify(state_dir: &Path) -> Report {
    let dir = log::dir(state_dir);
    let mut verifier = Verifier::new(None, None);
    for name in log::segments(&dir).unwrap() {
        verifier.segment(&name, &log::read_segment(&dir, &name).unwrap());
    }
    verifier.finish()
}

fn records(state_dir: &Path) -> Vec<Record> {
    let dir = log::dir(state_dir);
    let mut records = Vec::new();
    for name in log::segments(&dir).unwrap() {
        let bytes = log::read_segment(&dir, &name).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        records.extend(
            lines
                .filter_map(|line| Record::from_line(line).ok())
                .map(|(record, _)| record),
        );
    }
    records
}

fn names(state_dir: &Path) -> Vec<String> {
    let names = records(state_dir).into_iter();
    names.map(|record| record.event_name().to_owned()).collect()
}

/// Makes the log unwritable by a file where its directory must be, until it is dropped.
struct Blocked<'a>(&'a Path);

impl<'a> Blocked<'a> {
    fn new(state_dir: &'a Path) -> Self {
        fs::write(log::dir(state_dir), "").unwrap();
        Self(state_dir)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        fs::remove_file(log::dir(self.0)).unwrap();
    }
}

#[test]
fn a_new_log_begins_with_the_host_key_and_is_consistent() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    journal.record(&Actor::Daemon, &halt("one")).unwrap();
    journal
        .record_first(&Actor::Local { uid: 7 }, &halt("two"))
        .unwrap();
    journal.checkpoint().unwrap();
    assert_eq!(names(dir.path()), ["segment", "halt", "halt", "checkpoint"]);
    let report = verify(dir.path());
    assert_eq!(report.findings, []);
    assert_eq!(report.head.seq, 4);
    assert_eq!(report.key, journal.public_key().unwrap().id().to_string());
    let mode = log::key_path(dir.path()).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_restart_goes_on_with_the_chain_and_says_how_long_nobody_was_there() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut journal = Journal::new(dir.path());
        journal.record(&Actor::Daemon, &halt("again")).unwrap();
        journal.checkpoint().unwrap();
    }
    let expected = [
        "segment",
        "halt",
        "checkpoint",
        "gap",
        "halt",
        "checkpoint",
        "gap",
        "halt",
        "checkpoint",
    ];
    assert_eq!(names(dir.path()), expected);
    assert_eq!(verify(dir.path()).findings, []);
}

#[test]
fn a_torn_line_is_cut_off_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    journal.record(&Actor::Daemon, &halt("one")).unwrap();
    drop(journal);
    let path = log::dir(dir.path()).join(log::segment_name(1));
    let whole = fs::read(&path).unwrap();
    for cut in [1, 40, 300] {
        let line_at = whole[..whole.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        let mut torn = whole.clone();
        torn.extend(&whole[line_at..line_at + cut.min(whole.len() - line_at - 1)]);
        fs::write(&path, &torn).unwrap();
        let report = verify(dir.path());
        assert_eq!(report.findings[0].class, Class::Torn);
        assert_eq!(report.findings.len(), 1);
        let mut journal = Journal::new(dir.path());
        journal.record(&Actor::Daemon, &halt("two")).unwrap();
        assert_eq!(verify(dir.path()).findings, []);
        assert_eq!(names(dir.path()), ["segment", "halt", "torn", "gap", "halt"]);
    }
}

#[test]
fn a_damaged_log_goes_on_in_a_new_segment_that_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    for reason in ["one", "two", "three"] {
        journal.record(&Actor::Daemon, &halt(reason)).unwrap();
    }
    drop(journal);
    let path = log::dir(dir.path()).join(log::segment_name(1));
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [("three", "thief"), ("two", "owt")] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let mut journal = Journal::new(dir.path());
        journal.record(&Actor::Daemon, &halt("four")).unwrap();
        let names = names(dir.path());
        assert!(
            names.ends_with(&["segment", "damaged", "gap", "halt"].map(str::to_owned)),
            "{names:?}"
        );
        let second = log::segments(&log::dir(dir.path())).unwrap().pop().unwrap();
        let report = verify(dir.path());
        assert!(
            report
                .findings
                .iter()
                .all(|finding| finding.file != second || finding.line == 1)
        );
        assert_eq!(report.findings[0].class, Class::Edited);
        fs::remove_file(log::dir(dir.path()).join(second)).unwrap();
    }
}

#[test]
fn a_segment_without_a_record_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    journal.record(&Actor::Daemon, &halt("one")).unwrap();
    drop(journal);
    fs::write(log::dir(dir.path()).join(log::segment_name(3)), "").unwrap();
    let mut journal = Journal::new(dir.path());
    journal.record(&Actor::Daemon, &halt("two")).unwrap();
    assert_eq!(verify(dir.path()).findings, []);
    assert_eq!(
        names(dir.path()),
        ["segment", "halt", "segment", "damaged", "gap", "halt"]
    );
}

#[test]
fn what_opens_is_refused_and_what_closes_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    let blocked = Blocked::new(dir.path());
    assert!(journal.record_first(&Actor::Daemon, &halt("opening")).is_err());
    assert!(journal.record(&Actor::Daemon, &halt("closing")).is_err());
    journal.reject(&Actor::Daemon, rejection("a"));
    let error = journal.record(&Actor::Daemon, &halt("closing")).unwrap_err();
    assert_eq!(error.n_waiting, 3);
    assert!(error.to_string().contains("3 records wait in memory"), "{error}");
    assert!(journal.tick().is_err());
    drop(blocked);
    journal.record_first(&Actor::Daemon, &halt("opening")).unwrap();
    assert!(journal.tick().is_ok());
    let records = records(dir.path());
    let late: Vec<bool> = records.iter().map(|record| record.written.is_some()).collect();
    assert_eq!(names(dir.path()), ["segment", "halt", "reject", "halt", "halt"]);
    assert_eq!(late, [false, true, true, true, false]);
    assert_eq!(records[4].what["reason"], "opening");
    assert_eq!(verify(dir.path()).findings, []);
}

#[test]
fn what_finds_no_room_in_memory_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    let blocked = Blocked::new(dir.path());
    for i in 0..600 {
        journal.reject(&Actor::Local { uid: i }, rejection("a"));
    }
    for _ in 0..1_100 {
        assert!(journal.record(&Actor::Daemon, &halt("closing")).is_err());
    }
    drop(blocked);
    journal.record(&Actor::Daemon, &halt("last")).unwrap();
    let names = names(dir.path());
    let n = |name: &str| names.iter().filter(|its| *its == name).count() as u64;
    let lost: u64 = records(dir.path())
        .iter()
        .filter_map(|record| record.what["n"].as_u64())
        .sum();
    // Beyond the budget, rejections are told apart by verb and actor only.
    assert_eq!(n("reject") + n("halt") + lost, 600 + 1_101);
    assert!(n("halt") >= 512, "rejections leave room: {}", n("halt"));
    let last = names.iter().rev().filter(|name| *name != "checkpoint");
    assert_eq!(last.take(2).collect::<Vec<_>>(), ["halt", "lost"]);
    let report = verify(dir.path());
    assert_eq!(report.findings, [], "checkpoints in between, too");
}

#[test]
fn rejections_are_written_before_the_next_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path());
    for _ in 0..5 {
        journal.reject(&Actor::Daemon, rejection("a"));
        journal.tick().unwrap();
    }
    journal.record(&Actor::Daemon, &halt("one")).unwrap();
    journal.reject(&Actor::Daemon, rejection("a"));
    journal.checkpoint().unwrap();
    assert_eq!(
        names(dir.path()),
        ["segment", "reject", "halt", "reject", "checkpoint"]
    );
    assert_eq!(records(dir.path())[1].what["count"], 5);
}

#[test]
fn segments_are_bounded_linked_and_deleted_only_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path()).with_segments_of(4_096);
    for i in 0..50 {
        journal.record(&Actor::Daemon, &halt(&i.to_string())).unwrap();
    }
    journal.checkpoint().unwrap();
    let segments = log::segments(&log::dir(dir.path())).unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    assert_eq!(verify(dir.path()).findings, []);
    drop(journal);

    let mut journal = Journal::new(dir.path()).with_segments_of(4_096).keeping(Some(3));
    journal.checkpoint().unwrap();
    let kept = log::segments(&log::dir(dir.path())).unwrap();
    assert_eq!(kept, segments[segments.len() - 3..]);
    let report = verify(dir.path());
    assert_eq!(report.findings, [], "the log says what was deleted");
    assert!(report.first_seq > 1);

    fs::remove_file(log::dir(dir.path()).join(&kept[0])).unwrap();
    assert_eq!(
        verify(dir.path()).findings[0].class,
        Class::Segment,
        "and nobody else may"
    );
}

#[test]
fn another_host_key_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut journal = Journal::new(dir.path());
        journal.record(&Actor::Daemon, &halt("one")).unwrap();
        journal.checkpoint().unwrap();
        fs::remove_file(log::key_path(dir.path())).unwrap();
    }
    let findings = verify(dir.path()).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("another host key"), "{findings:?}");
}

#[test]
fn an_anchor_is_read_back_and_none_of_its_bits_can_change() {
    let (key, _) = crate::bundle::key::SecretKey::generate(None).unwrap();
    let head = Head {
        seq: 7,
        hash: crate::bundle::Digest::of(b"record"),
    };
    let anchor = Anchor::make("edge", &key, head, "2026-03-01T00:00:00Z").unwrap();
    let bytes = serde_json::to_vec(&anchor).unwrap();
    assert_eq!(Anchor::read(&bytes), Ok(anchor));
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(Anchor::read(&altered).is_err(), "bit {bit}");
    }
    assert!(Anchor::read(&vec![b' '; 5_000]).is_err());
}
