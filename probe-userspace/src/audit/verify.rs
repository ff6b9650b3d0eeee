//! Verification: bytes of segments in, findings out.

use std::collections::BTreeMap;

use super::{
    Anchor, Class, ClockJump, Event, FORMAT, Fault, Finding, Head, MAX_UNSIGNED, Record, Report, checkpoint,
    log,
};
use crate::bundle::{Digest, key::PublicKey};

/// So many findings are listed.
const MAX_FINDINGS: usize = 100;
/// So many clock jumps are listed.
const MAX_JUMPS: usize = 100;
/// Clocks may drift apart by so much between two records.
const JUMP_MS: i64 = 2_000;

/// Reads a log, segment by segment.
#[derive(Debug)]
pub struct Verifier<'a> {
    anchor: Option<&'a Anchor>,
    known_key: Option<&'a PublicKey>,
    key: Option<PublicKey>,
    host: String,
    /// The newest record in order.
    head: Head,
    /// The hash of `head` cannot be known: its line is damaged.
    is_adrift: bool,
    first: Option<(u64, Digest)>,
    n_records: u64,
    n_unsigned: u64,
    is_overdue_known: bool,
    /// Findings on lines that could not be read, since the last one that could.
    unread: Vec<usize>,
    /// Records that were passed over, first to last, and the finding that says so.
    missing: BTreeMap<u64, (u64, usize)>,
    /// Segments that were deleted by cordon itself: from, to, hash of the last record.
    dropped: Vec<(u64, u64, String)>,
    findings: Vec<Option<Finding>>,
    n_findings: usize,
    has_anchor: bool,
    offset: Option<(String, i64)>,
    clock_jumps: Vec<ClockJump>,
    /// The line that is read now, or was read last.
    place: (String, usize),
}

impl<'a> Verifier<'a> {
    /// Begins; `key` is the host key, if it is known from elsewhere.
    pub fn new(anchor: Option<&'a Anchor>, known_key: Option<&'a PublicKey>) -> Self {
        Self {
            anchor,
            known_key,
            key: None,
            host: String::new(),
            head: Head::START,
            is_adrift: false,
            first: None,
            n_records: 0,
            n_unsigned: 0,
            is_overdue_known: false,
            unread: Vec::new(),
            missing: BTreeMap::new(),
            dropped: Vec::new(),
            findings: Vec::new(),
            n_findings: 0,
            has_anchor: false,
            offset: None,
            clock_jumps: Vec::new(),
            place: (String::new(), 0),
        }
    }

    /// Reads the next segment, in the order of their names.
    pub fn segment(&mut self, file: &str, bytes: &[u8]) {
        self.place = (file.to_owned(), 1);
        if bytes.is_empty() {
            self.find(Class::Segment, "the segment is empty");
        }
        let mut line_number = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            line_number += 1;
            self.place.1 = line_number;
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line),
                None => {
                    let message = "the last line is incomplete: by a power loss, then the daemon cuts it off at its \
                                   start and records that; or by somebody";
                    self.find(Class::Torn, message);
                }
            }
        }
    }

    /// Ends.
    pub fn finish(mut self) -> Report {
        self.check_beginning();
        self.check_anchor();
        if self.n_records == 0 && self.n_findings == 0 {
            self.find(Class::Segment, "there is no record: every log begins with one");
        }
        let findings: Vec<Finding> = self.findings.into_iter().flatten().collect();
        Report {
            host: self.host,
            key: self.key.map(|key| key.id().to_string()).unwrap_or_default(),
            n_records: self.n_records,
            first_seq: self.first.map_or(0, |(seq, _)| seq),
            head: self.head,
            n_unsigned: self.n_unsigned,
            n_more: self.n_findings - findings.len(),
            findings,
            clock_jumps: self.clock_jumps,
        }
    }

    fn line(&mut self, line: &[u8]) {
        match Record::from_line(line) {
            Ok((record, hash)) => {
                self.settle_unread(&record);
                self.record(&record, hash);
            }
            Err(fault) => {
                let message = match fault {
                    Fault::WrongHash => {
                        "the record was altered: its hash is not that of its bytes".to_owned()
                    }
                    Fault::NotARecord(what) => format!("this is no record: {what}"),
                };
                let idx = self.find(Class::Edited, &message);
                self.unread.extend(idx);
            }
        }
    }

    /// What lines that could not be read were is told by the number of the record behind them.
    fn settle_unread(&mut self, next: &Record) {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return;
        }
        let n_replaced = next.seq.saturating_sub(self.head.seq.saturating_add(1));
        if n_replaced == 0 {
            for idx in unread {
                self.set_class(idx, Class::Inserted);
            }
            return;
        }
        let n_unread = u64::try_from(unread.len()).unwrap_or(u64::MAX);
        self.head.seq = self.head.seq.saturating_add(n_replaced.min(n_unread));
        self.is_adrift = true;
    }

    fn record(&mut self, record: &Record, hash: Digest) {
        self.n_records += 1;
        let expected = self.head.seq.saturating_add(1);
        if record.seq < expected {
            self.out_of_order(record.seq);
            return;
        }
        if record.seq > expected {
            self.pass_over(expected, record.seq - 1);
        } else if record.prev != self.head.hash && !self.is_adrift {
            self.find(
                Class::Edited,
                "this record does not follow the one before it: one of the two was replaced",
            );
        }
        if self.first.is_none() {
            self.first = Some((record.seq, record.prev));
        }
        self.head = Head {
            seq: record.seq,
            hash,
        };
        self.is_adrift = false;
        self.meaning(record);
        self.clocks(record);
        if self.anchor.is_some_and(|anchor| anchor.seq == record.seq) {
            self.has_anchor = true;
            if self.anchor.is_some_and(|anchor| anchor.hash != hash) {
                self.find(
                    Class::Restamped,
                    "this is not the record of which the anchor was made: the log was written anew up to here or further",
                );
            }
        }
    }

    fn out_of_order(&mut self, seq: u64) {
        let passed_over = self.missing.range(..=seq).next_back();
        let Some((&from, &(to, idx))) = passed_over.filter(|(_, (to, _))| seq <= *to) else {
            self.find(Class::Inserted, &format!("record {seq} is here a second time"));
            return;
        };
        self.missing.remove(&from);
        if from < seq {
            self.missing.insert(from, (seq - 1, idx));
        }
        if seq < to {
            self.missing.insert(seq + 1, (to, idx));
        }
        self.find(
            Class::Reordered,
            &format!("record {seq} stands behind later ones"),
        );
        if !self.missing.values().any(|(_, its)| *its == idx) {
            // All of them turned up: none was deleted.
            self.set_class(idx, Class::Reordered);
            if let Some(Some(finding)) = self.findings.get_mut(idx) {
                finding.message = "this record stands before earlier ones".to_owned();
            }
        }
    }

    fn pass_over(&mut self, from: u64, to: u64) {
        let which = match from == to {
            true => format!("record {from} is missing"),
            false => format!("records {from} to {to} are missing"),
        };
        let (class, message) = match (self.place.1, from) {
            (1, _) => (Class::Segment, format!("{which} before this segment")),
            _ => (Class::Deleted, format!("{which} before this one")),
        };
        let idx = self.find(class, &message);
        // Beyond the findings that are listed, all that matters is that there is one.
        self.missing.insert(from, (to, idx.unwrap_or(usize::MAX)));
    }

    /// What a record says about the log itself.
    fn meaning(&mut self, record: &Record) {
        let name = record.event_name();
        if (self.place.1 == 1) != (name == "segment") {
            let message = match self.place.1 {
                1 => "a segment begins with a record that says so",
                _ => "a segment begins in the middle of a file",
            };
            self.find(Class::Segment, message);
        }
        if self.place.1 == 1 && log::first_of(&self.place.0) != Some(record.seq) {
            let message = format!(
                "the file's name is not that of a segment that begins with record {}",
                record.seq
            );
            self.find(Class::Segment, &message);
        }
        match name {
            "segment" => self.head_of_segment(record),
            "checkpoint" => {
                let holds = self
                    .key
                    .as_ref()
                    .is_some_and(|key| checkpoint::holds(record, &self.host, key));
                match holds {
                    true => (self.n_unsigned, self.is_overdue_known) = (0, false),
                    false => {
                        self.find(Class::Signature, "the signature of this checkpoint does not hold");
                    }
                }
                return;
            }
            "dropped" => {
                if let Some(Event::Dropped {
                    first, last, hash, ..
                }) = record.event()
                {
                    self.dropped.push((first, last, hash));
                }
            }
            _ => {}
        }
        self.n_unsigned += 1;
        if self.n_unsigned > MAX_UNSIGNED && !self.is_overdue_known {
            self.is_overdue_known = true;
            let message = format!("there was no valid checkpoint for more than {MAX_UNSIGNED} records");
            self.find(Class::Signature, &message);
        }
    }

    fn head_of_segment(&mut self, record: &Record) {
        let Some(Event::Segment {
            format,
            host,
            key,
            public_key,
        }) = record.event()
        else {
            self.find(Class::Edited, "this head of a segment cannot be read");
            return;
        };
        if format != FORMAT {
            let message =
                format!("the log is of format {format}, and this cordon knows {FORMAT}: use a newer cordon");
            self.find(Class::Segment, &message);
        }
        let public = match PublicKey::from_base64(&public_key) {
            Ok(public) if public.id().to_string() == key => public,
            _ => {
                self.find(Class::Edited, "the host key of this segment cannot be read");
                return;
            }
        };
        match &self.key {
            None => {
                if self.known_key.is_some_and(|known| *known != public) {
                    let message =
                        format!("the log is signed by the key {key} and not by the one that was named");
                    self.find(Class::Restamped, &message);
                }
                if self
                    .anchor
                    .is_some_and(|anchor| anchor.public_key().as_ref() != Ok(&public))
                {
                    let message = format!("the log is signed by the key {key} and not by that of the anchor");
                    self.find(Class::Restamped, &message);
                }
            }
            Some(known) if *known != public => {
                let message = format!(
                    "another host key signs from here on: {key} instead of {}",
                    known.id()
                );
                self.find(Class::Signature, &message);
            }
            Some(_) => {}
        }
        (self.key, self.host) = (Some(public), host);
    }

    fn clocks(&mut self, record: &Record) {
        let Ok(at) = record.at.parse::<jiff::Timestamp>() else {
            return;
        };
        let Ok(mono_ms) = i64::try_from(record.mono_ms) else {
            return;
        };
        let offset = at.as_millisecond().saturating_sub(mono_ms);
        if let Some((boot, before)) = &self.offset
            && *boot == record.boot
        {
            let by_ms = offset.saturating_sub(*before);
            if by_ms.saturating_abs() > JUMP_MS && self.clock_jumps.len() < MAX_JUMPS {
                let seq = record.seq;
                self.clock_jumps.push(ClockJump { seq, by_ms });
            }
        }
        self.offset = Some((record.boot.clone(), offset));
    }

    /// What is missing at the beginning may have been deleted by cordon itself, which said so before.
    fn check_beginning(&mut self) {
        let Some((first, prev)) = self.first.filter(|(first, _)| *first > 1) else {
            return;
        };
        let mut next = 1;
        self.dropped.sort();
        for (from, to, hash) in &self.dropped {
            if *from == next && *to < first {
                next = to + 1;
                if next == first
                    && *hash == prev.to_string()
                    && let Some((_, idx)) = self.missing.remove(&1)
                    && let Some(slot) = self.findings.get_mut(idx)
                    && slot.take().is_some()
                {
                    self.n_findings -= 1;
                }
            }
        }
    }

    fn check_anchor(&mut self) {
        let Some(anchor) = self.anchor.filter(|_| !self.has_anchor) else {
            return;
        };
        let seq = anchor.seq;
        let n_unread = u64::try_from(self.unread.len()).unwrap_or(u64::MAX);
        let (class, message) = match self.head.seq.saturating_add(n_unread) < seq {
            true => (
                Class::Truncated,
                format!(
                    "the log ends here with record {}, and record {seq} was there when the anchor was made",
                    self.head.seq
                ),
            ),
            false => (
                Class::Deleted,
                format!("record {seq}, of which the anchor was made, cannot be read"),
            ),
        };
        self.find(class, &message);
    }

    /// Notes a finding at the line that is read now; gives its index, if it is listed.
    fn find(&mut self, class: Class, message: &str) -> Option<usize> {
        self.n_findings += 1;
        if self.findings.len() >= MAX_FINDINGS {
            return None;
        }
        let (file, line) = self.place.clone();
        self.findings.push(Some(Finding {
            class,
            file,
            line,
            message: message.to_owned(),
        }));
        Some(self.findings.len() - 1)
    }

    fn set_class(&mut self, idx: usize, class: Class) {
        if let Some(Some(finding)) = self.findings.get_mut(idx) {
            finding.class = class;
        }
    }
}
