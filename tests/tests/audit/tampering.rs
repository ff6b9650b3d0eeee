//! 100 random tamperings of each class, with a fixed seed. All are found, and named where that can be told.

use cordon::{
    audit::{Actor, Anchor, Class, Event, Head, Journal, Record, Report, Statement, log},
    bundle::{Digest, key::SecretKey},
};
use integration_tests::rng::Rng;
use serde_json::Value;

use super::{Segments, read, verify};

const N_TAMPERINGS: usize = 100;
const SEED: u64 = 4_10;

/// A log of several segments that ends with a checkpoint, its key, and an anchor of its newest record.
struct Log {
    segments: Segments,
    key: SecretKey,
    anchor: Anchor,
}

fn log() -> Log {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(dir.path()).with_segments_of(8_192);
    for i in 0..100 {
        let event = Event::Halt {
            service: None,
            until: None,
            reason: format!("drill {i}"),
        };
        journal.record(&Actor::Local { uid: i }, &event).unwrap();
        if i % 9 == 0 {
            journal.checkpoint().unwrap();
        }
    }
    journal.checkpoint().unwrap();
    let segments = read(&log::dir(dir.path()));
    let key = log::read_key(dir.path()).unwrap();
    let report = verify(&segments, None);
    assert_eq!(report.findings, []);
    assert!(segments.len() >= 5, "{} segments", segments.len());
    let anchor = Anchor::make(&report.host, &key, report.head, "2026-03-01T00:00:00Z").unwrap();
    assert_eq!(verify(&segments, Some(&anchor)).findings, []);
    Log {
        segments,
        key,
        anchor,
    }
}

/// The lines of all segments, each with the name of its segment and its newline.
fn lines(segments: &Segments) -> Vec<(String, Vec<u8>)> {
    let lines = segments.iter().flat_map(|(name, bytes)| {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| (name.clone(), line.to_vec()))
    });
    lines.collect()
}

/// The other way round. A segment without a line is gone.
fn segments(lines: &[(String, Vec<u8>)]) -> Segments {
    let mut segments = Segments::new();
    for (name, line) in lines {
        match segments.last_mut() {
            Some((last, bytes)) if last == name => bytes.extend(line),
            _ => segments.push((name.clone(), line.clone())),
        }
    }
    segments
}

fn record(line: &[u8]) -> Record {
    Record::from_line(&line[..line.len() - 1]).unwrap().0
}

fn head(line: &[u8]) -> Head {
    let (record, hash) = Record::from_line(&line[..line.len() - 1]).unwrap();
    Head {
        seq: record.seq,
        hash,
    }
}

/// Writes the chain anew from a line on, as somebody would who has the host key, or has not.
fn chain(lines: &mut [(String, Vec<u8>)], from: usize, key: Option<&SecretKey>) {
    let mut prev = from.checked_sub(1).map(|idx| head(&lines[idx].1));
    let host = record(&lines[0].1).what["host"].as_str().unwrap().to_owned();
    for (_, line) in &mut lines[from..] {
        let mut record = record(line);
        record.prev = prev.map_or(Digest::ZERO, |head| head.hash);
        if let (Some(key), "checkpoint") = (key, record.event_name()) {
            let statement = Statement {
                host: &host,
                key: key.public().unwrap().id(),
                seq: record.seq - 1,
                hash: record.prev,
                at: &record.at,
            };
            let signed = statement.sign(key).unwrap();
            record.what["signature"] = Value::String(signed.signature);
            record.what["global"] = Value::String(signed.global);
        }
        let (new, hash) = record.to_line();
        *line = new;
        prev = Some(Head {
            seq: record.seq,
            hash,
        });
    }
}

/// Tampers 100 times, and says what was found each time.
fn tamper(
    log: &Log,
    anchor: Option<&Anchor>,
    mut alter: impl FnMut(&mut Rng, &mut Vec<(String, Vec<u8>)>),
    is_named: impl Fn(&Report) -> bool,
) {
    let original = lines(&log.segments);
    let mut rng = Rng::new(SEED);
    for i in 0..N_TAMPERINGS {
        let mut altered = original.clone();
        while altered == original {
            alter(&mut rng, &mut altered);
        }
        let report = verify(&segments(&altered), anchor);
        assert!(!report.is_consistent(), "tampering {i} was not found");
        assert!(is_named(&report), "tampering {i}: {:#?}", report.findings);
        let is_placed =
            |finding: &cordon::audit::Finding| finding.line > 0 && finding.file.starts_with("audit-");
        assert!(report.findings.iter().all(is_placed), "{:#?}", report.findings);
    }
}

fn has(report: &Report, classes: &[Class]) -> bool {
    report
        .findings
        .iter()
        .any(|finding| classes.contains(&finding.class))
}

#[test]
fn a_byte_that_was_altered() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let idx = rng.below(lines.len());
        let line = &mut lines[idx].1;
        let at = rng.below(line.len() - 1);
        line[at] = rng.next_u64() as u8;
    };
    tamper(&log, None, alter, |report| {
        has(report, &[Class::Edited, Class::Inserted])
    });
}

#[test]
fn a_record_that_was_altered_with_its_own_hash() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        // The last one is not covered by anything but an anchor.
        let idx = rng.below(lines.len() - 1);
        let mut record = record(&lines[idx].1);
        record.mono_ms ^= 1 << rng.below(20);
        lines[idx].1 = record.to_line().0;
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Edited]));
}

#[test]
fn a_chain_that_was_written_anew_without_the_key() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let idx = rng.below(lines.len() - 1);
        let mut record = record(&lines[idx].1);
        record.mono_ms ^= 1 << rng.below(20);
        lines[idx].1 = record.to_line().0;
        chain(lines, idx + 1, None);
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Signature]));
}

#[test]
fn records_that_were_deleted() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let first = rng.below(lines.len() - 1);
        let n = 1 + rng.below((lines.len() - 1 - first).min(5));
        lines.drain(first..first + n);
    };
    tamper(&log, None, alter, |report| {
        has(report, &[Class::Deleted, Class::Segment])
    });
}

#[test]
fn records_that_were_deleted_and_the_rest_numbered_anew() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let idx = 1 + rng.below(lines.len() - 2);
        lines.remove(idx);
        for (_, line) in &mut lines[idx..] {
            let mut record = record(line);
            record.seq -= 1;
            *line = record.to_line().0;
        }
        chain(lines, idx, None);
    };
    tamper(&log, None, alter, |report| {
        has(report, &[Class::Signature, Class::Segment])
    });
}

#[test]
fn lines_that_were_inserted() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let idx = 1 + rng.below(lines.len() - 1);
        let line = match rng.below(3) {
            // One of the log's own.
            0 => lines[rng.below(lines.len())].1.clone(),
            // One that fits behind the one before it.
            1 => {
                let before = head(&lines[idx - 1].1);
                let mut record = record(&lines[idx - 1].1);
                record.seq += 1;
                record.prev = before.hash;
                record.to_line().0
            }
            _ => b"{\"seq\":1}\n".to_vec(),
        };
        let name = lines[idx].0.clone();
        lines.insert(idx, (name, line));
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Inserted]));
}

#[test]
fn records_in_another_order() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let (one, other) = (rng.below(lines.len()), rng.below(lines.len()));
        let line = lines[one].1.clone();
        lines[one].1 = std::mem::replace(&mut lines[other].1, line);
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Reordered]));
}

#[test]
fn a_segment_that_was_removed() {
    let log = log();
    let names: Vec<String> = log.segments.iter().map(|(name, _)| name.clone()).collect();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let name = &names[rng.below(names.len() - 1)];
        lines.retain(|(its, _)| its != name);
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Segment]));

    let alter = |_: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        lines.retain(|(name, _)| Some(name) != names.last());
    };
    tamper(&log, Some(&log.anchor), alter, |report| {
        has(report, &[Class::Truncated])
    });
}

#[test]
fn segments_with_other_names() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let mut segments = segments(lines);
        let (one, other) = (rng.below(segments.len()), rng.below(segments.len()));
        let bytes = segments[one].1.clone();
        segments[one].1 = std::mem::replace(&mut segments[other].1, bytes);
        *lines = super::tampering::lines(&segments);
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Segment]));
}

#[test]
fn signatures_that_were_altered() {
    let log = log();
    let alter = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let is_checkpoint = |line: &[u8]| record(line).event_name() == "checkpoint";
        let idx = loop {
            let idx = rng.below(lines.len());
            if is_checkpoint(&lines[idx].1) {
                break idx;
            }
        };
        let mut record = record(&lines[idx].1);
        let field = ["signature", "global"][rng.below(2)];
        let mut text = record.what[field].as_str().unwrap().as_bytes().to_vec();
        let at = rng.below(text.len());
        text[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="[rng.below(65)];
        record.what[field] = Value::String(String::from_utf8(text).unwrap());
        lines[idx].1 = record.to_line().0;
        // With the rest of the chain made to fit, or not.
        if rng.below(2) == 0 {
            chain(lines, idx + 1, None);
        }
    };
    tamper(&log, None, alter, |report| has(report, &[Class::Signature]));
}

#[test]
fn checkpoints_that_were_left_out() {
    let log = log();
    let mut lines = lines(&log.segments);
    lines.retain(|(_, line)| record(line).event_name() != "checkpoint");
    let name = lines[0].0.clone();
    for (idx, (its, line)) in lines.iter_mut().enumerate() {
        its.clone_from(&name);
        let mut record = record(line);
        record.seq = idx as u64 + 1;
        if idx > 0 && record.event_name() == "segment" {
            record.what = serde_json::json!({"event": "stop"});
        }
        *line = record.to_line().0;
    }
    chain(&mut lines, 0, None);
    let report = verify(&segments(&lines), None);
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    assert_eq!(report.findings[0].class, Class::Signature);
}

#[test]
fn a_log_that_was_cut_short_with_an_anchor() {
    let log = log();
    let cut = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let len = 1 + rng.below(lines.len() - 1);
        lines.truncate(len);
    };
    tamper(&log, Some(&log.anchor), cut, |report| {
        report.findings.len() == 1 && has(report, &[Class::Truncated])
    });

    let mut rng = Rng::new(SEED);
    let mut lines = lines(&log.segments);
    cut(&mut rng, &mut lines);
    let report = verify(&segments(&lines), None);
    assert_eq!(report.findings, [], "without an anchor nobody can tell");

    let cut = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let len = 1 + rng.below(lines.len() - 1);
        lines.truncate(len);
        let line = &mut lines[len - 1].1;
        line.truncate(1 + rng.below(line.len() - 2));
    };
    tamper(&log, Some(&log.anchor), cut, |report| {
        has(report, &[Class::Torn]) && has(report, &[Class::Truncated])
    });
}

#[test]
fn a_log_that_was_written_anew_with_the_key_and_an_anchor() {
    let log = log();
    let restamp = |rng: &mut Rng, lines: &mut Vec<(String, Vec<u8>)>| {
        let idx = rng.below(lines.len());
        let mut record = record(&lines[idx].1);
        record.actor = serde_json::json!({"by": "local", "uid": rng.below(1_000)});
        lines[idx].1 = record.to_line().0;
        chain(lines, idx, Some(&log.key));
        let report = verify(&segments(lines), None);
        assert_eq!(report.findings, [], "without an anchor nobody can tell");
    };
    tamper(&log, Some(&log.anchor), restamp, |report| {
        report.findings.len() == 1 && has(report, &[Class::Restamped])
    });
}

#[test]
fn another_log_of_another_key_in_its_place() {
    let (log, other) = (log(), self::log());
    let report = verify(&other.segments, Some(&log.anchor));
    assert!(has(&report, &[Class::Restamped]), "{:#?}", report.findings);

    let public = log.key.public().unwrap();
    let mut verifier = cordon::audit::Verifier::new(None, Some(&public));
    for (name, bytes) in &other.segments {
        verifier.segment(name, bytes);
    }
    assert!(has(&verifier.finish(), &[Class::Restamped]));
}
