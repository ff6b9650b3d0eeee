//! The journal: what happens becomes records, at once or, while the log cannot be written, as soon as it can.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use super::{
    Actor, Chain, Entry, Event, FORMAT, MAX_UNSIGNED, Rejection, SEGMENT_BYTES, Stamp, log,
    log::{Found, Log},
    rejections::Rejections,
};
use crate::bundle::key::{PublicKey, SecretKey};

/// So many records are kept in memory while the log cannot be written.
const MAX_WAITING: usize = 1_024;
/// Of which so many may be rejections: a flood of them must not push out a halt.
const MAX_WAITING_REJECTIONS: usize = 512;
/// What is not signed yet is signed after this time.
const CHECKPOINT_MS: u64 = 60_000;
/// How often a log that cannot be written is tried again by itself.
const RETRY_MS: u64 = 5_000;
/// How often the daemon notes that it is alive.
const ALIVE_MS: u64 = 60_000;

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the audit log in {}: {error}{}", dir.display(), waiting(*n_waiting, *n_lost))]
pub struct JournalError {
    /// Directory of the log.
    pub dir: PathBuf,
    /// Why.
    pub error: String,
    /// Records that wait in memory.
    pub n_waiting: usize,
    /// Records that found no room in memory.
    pub n_lost: u64,
}

fn waiting(n_waiting: usize, n_lost: u64) -> String {
    let mut text = match n_waiting {
        0 => String::new(),
        1 => "; 1 record waits in memory".to_owned(),
        n => format!("; {n} records wait in memory"),
    };
    if n_lost > 0 {
        text.push_str(&format!(", and {n_lost} found no room there"));
    }
    text
}

/// Records that found no room in memory.
#[derive(Clone, Debug)]
struct Lost {
    n: u64,
    first: String,
    last: Stamp,
}

impl Lost {
    fn entry(self) -> Entry {
        let event = Event::Lost {
            n: self.n,
            first: self.first,
            last: self.last.at.clone(),
        };
        Entry::new(self.last, &Actor::Daemon, &event)
    }
}

struct Writer {
    log: Log,
    chain: Chain,
    key: SecretKey,
    public: PublicKey,
}

/// The audit log of a host, as the one process sees it that holds the state directory's lock.
pub struct Journal {
    state_dir: PathBuf,
    host: String,
    segment_bytes: u64,
    /// How many segments are kept; `None`: all.
    keep: Option<usize>,
    writer: Option<Writer>,
    waiting: VecDeque<Entry>,
    lost: Option<Lost>,
    rejections: Rejections,
    /// When this process began.
    began: Stamp,
    last_alive: Option<jiff::Timestamp>,
    damage: Option<String>,
    /// Why what waits could not be written.
    last_error: String,
    signed_ms: u64,
    tried_ms: u64,
    alive_ms: u64,
}

impl Journal {
    /// A journal in a state directory; nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Self {
        let began = Stamp::now();
        Self {
            state_dir: state_dir.to_owned(),
            host: log::host_name(),
            segment_bytes: SEGMENT_BYTES,
            keep: None,
            writer: None,
            waiting: VecDeque::new(),
            lost: None,
            rejections: Rejections::default(),
            signed_ms: began.mono_ms,
            tried_ms: 0,
            alive_ms: 0,
            began,
            last_alive: None,
            damage: None,
            last_error: String::new(),
        }
    }

    /// Deletes the oldest segments when there are more than so many; `None`: never.
    #[must_use]
    pub fn keeping(self, keep: Option<usize>) -> Self {
        Self { keep, ..self }
    }

    /// Segments of another size than [`SEGMENT_BYTES`].
    #[must_use]
    pub fn with_segments_of(self, segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            ..self
        }
    }

    /// When the log was written last, or the daemon alive, before this process began.
    pub fn last_alive(&self) -> Option<String> {
        self.last_alive.map(|at| format!("{at:.3}"))
    }

    /// When this process began.
    pub fn began(&self) -> &str {
        &self.began.at
    }

    /// What was wrong with the log when it was opened.
    pub fn damage(&self) -> Option<String> {
        self.damage.clone()
    }

    /// The host key, once the log could be opened.
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.writer.as_ref().map(|writer| &writer.public)
    }

    /// Records what is about to happen. If this fails it is not recorded and must not happen.
    pub fn record_first(&mut self, actor: &Actor, event: &Event) -> Result<(), JournalError> {
        self.take_rejections();
        self.push(Entry::new(Stamp::now(), actor, event));
        let result = self.flush();
        if result.is_err() {
            // Records are written in order, and this is the last one.
            self.waiting.pop_back();
        }
        result.map_err(|_| self.failed())
    }

    /// Records what has happened. If this fails the record waits in memory and is written as soon as it can be.
    pub fn record(&mut self, actor: &Actor, event: &Event) -> Result<(), JournalError> {
        self.take_rejections();
        if self.waiting.len() >= MAX_WAITING {
            // What went wrong is told below.
            drop(self.flush());
        }
        self.wait(Entry::new(Stamp::now(), actor, event));
        self.flush().map_err(|_| self.failed())
    }

    /// Records what is not needed if it cannot be written now, because the next record says it too.
    pub fn offer(&mut self, actor: &Actor, event: &Event) -> Result<(), JournalError> {
        self.record_first(actor, event)
    }

    /// Counts a rejection. It is written with the next record, or after a minute.
    pub fn reject(&mut self, actor: &Actor, rejection: Rejection) {
        self.rejections.add(Stamp::now(), actor, rejection);
    }

    /// Writes what is due. To be called every second.
    pub fn tick(&mut self) -> Result<(), JournalError> {
        let now_ms = Stamp::now().mono_ms;
        for entry in self.rejections.take_due(now_ms) {
            self.wait(entry);
        }
        let is_first_try = self.waiting.iter().any(|entry| !entry.is_late);
        let may_retry = now_ms.saturating_sub(self.tried_ms) >= RETRY_MS;
        if self.has_waiting() && (is_first_try || may_retry) {
            // What went wrong is told below.
            drop(self.flush());
        }
        if now_ms.saturating_sub(self.alive_ms) >= ALIVE_MS {
            self.alive_ms = now_ms;
            // Where it cannot be written, the newest record says when the daemon was alive.
            drop(log::set_alive(&self.state_dir, &Stamp::now().at));
        }
        if self.has_waiting() {
            return Err(self.failed());
        }
        let is_due = now_ms.saturating_sub(self.signed_ms) >= CHECKPOINT_MS;
        match is_due && self.writer.as_ref().is_some_and(|it| it.chain.n_unsigned > 0) {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// Writes and signs all there is: at start, every minute, and before the process ends. Deletes what the host file
    /// does not want to keep.
    pub fn checkpoint(&mut self) -> Result<(), JournalError> {
        self.take_rejections();
        let result = self.flush().and_then(|()| self.sign());
        result.map_err(|error| {
            self.last_error = error.to_string();
            self.failed()
        })
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.lost.is_some()
    }

    fn take_rejections(&mut self) {
        for entry in self.rejections.take() {
            self.wait(entry);
        }
    }

    fn wait(&mut self, entry: Entry) {
        let is_rejection = |entry: &Entry| matches!(entry.event, Event::Reject { .. });
        let n_rejections = self.waiting.iter().filter(|entry| is_rejection(entry)).count();
        let has_room = self.waiting.len() < MAX_WAITING
            && (!is_rejection(&entry) || n_rejections < MAX_WAITING_REJECTIONS);
        if has_room {
            return self.push(entry);
        }
        let lost = self.lost.get_or_insert_with(|| Lost {
            n: 0,
            first: entry.stamp.at.clone(),
            last: entry.stamp.clone(),
        });
        lost.n += 1;
        lost.last = entry.stamp;
    }

    /// Adds an entry behind all that happened before, records that were lost among it.
    fn push(&mut self, entry: Entry) {
        self.waiting.extend(self.lost.take().map(Lost::entry));
        self.waiting.push_back(entry);
    }

    fn failed(&self) -> JournalError {
        JournalError {
            dir: log::dir(&self.state_dir),
            error: self.last_error.clone(),
            n_waiting: self.waiting.len(),
            n_lost: self.lost.as_ref().map_or(0, |lost| lost.n),
        }
    }

    /// Writes what waits, in order.
    fn flush(&mut self) -> io::Result<()> {
        self.tried_ms = Stamp::now().mono_ms;
        let result = self.try_flush();
        if let Err(error) = &result {
            self.last_error = error.to_string();
            for entry in &mut self.waiting {
                entry.is_late = true;
            }
        }
        result
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.open()?;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        loop {
            while !self.waiting.is_empty() {
                let n_written = writer.write(&self.host, self.segment_bytes, &self.waiting)?;
                self.waiting.drain(..n_written);
            }
            match self.lost.take() {
                Some(lost) => self.waiting.push_back(lost.entry()),
                None => return Ok(()),
            }
        }
    }

    fn sign(&mut self) -> io::Result<()> {
        if let Some(writer) = &mut self.writer {
            if let Some(keep) = self.keep {
                writer.drop_segments(&self.host, keep)?;
            }
            writer.sign(&self.host)?;
            self.signed_ms = Stamp::now().mono_ms;
        }
        Ok(())
    }

    /// Opens the log, if it is not. What it says about the time before comes before what waits.
    fn open(&mut self) -> io::Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        let (log, key, found) = Log::open(&self.state_dir)?;
        let public = key.public().map_err(io::Error::other)?;
        let Found {
            chain,
            last_alive,
            events,
            ..
        } = found;
        self.writer = Some(Writer {
            log,
            chain,
            key,
            public,
        });
        self.last_alive = last_alive;
        self.damage = events.iter().find_map(|event| match event {
            Event::Damaged { file, line, what } => Some(format!(
                "the audit log is not as it was written: {file}:{line}: {what}; look at it with `cordon audit verify`, and \
                 move {} away when that is done",
                log::dir(&self.state_dir).display()
            )),
            _ => None,
        });
        let gap = last_alive.map(|last_alive| Event::Gap {
            what:
                "no daemon ran; the kernel enforces by itself what is pinned, until the machine is restarted"
                    .to_owned(),
            from: format!("{last_alive:.3}"),
            to: self.began.at.clone(),
            interface: None,
            packets: None,
        });
        for event in gap.iter().chain(events.iter().rev()) {
            let entry = Entry::new(self.began.clone(), &Actor::Daemon, event);
            self.waiting.push_front(entry);
        }
        Ok(())
    }
}

impl Writer {
    /// Writes as many entries as fit into the segment, at least one; says how many.
    fn write(&mut self, host: &str, segment_bytes: u64, entries: &VecDeque<Entry>) -> io::Result<usize> {
        let now = Stamp::now();
        if self.log.segment_len().is_none_or(|len| len >= segment_bytes) {
            self.begin(host, &now)?;
        }
        let room = segment_bytes.saturating_sub(self.log.segment_len().unwrap_or(0));
        let (mut chain, mut bytes) = (self.chain, Vec::new());
        let mut n_entries = 0;
        for entry in entries {
            let mut next = chain;
            let mut lines = Vec::new();
            if next.n_unsigned >= MAX_UNSIGNED - 1 {
                lines.extend(self.checkpoint(&mut next, host, &now)?);
            }
            lines.extend(next.append(entry, &now));
            if n_entries > 0 && (bytes.len() + lines.len()) as u64 > room {
                break;
            }
            bytes.extend(lines);
            chain = next;
            n_entries += 1;
        }
        self.log.append(&bytes)?;
        self.chain = chain;
        Ok(n_entries)
    }

    /// Signs the newest record, if it is not signed.
    fn sign(&mut self, host: &str) -> io::Result<()> {
        if self.chain.n_unsigned == 0 {
            return Ok(());
        }
        let mut chain = self.chain;
        let line = self.checkpoint(&mut chain, host, &Stamp::now())?;
        self.log.append(&line)?;
        self.chain = chain;
        Ok(())
    }

    fn checkpoint(&self, chain: &mut Chain, host: &str, now: &Stamp) -> io::Result<Vec<u8>> {
        chain
            .append_checkpoint(host, &self.key, now)
            .map_err(io::Error::other)
    }

    /// Signs the old segment and begins a new one.
    fn begin(&mut self, host: &str, now: &Stamp) -> io::Result<()> {
        if self.log.segment_len().is_some() {
            self.sign(host)?;
        }
        let event = Event::Segment {
            format: FORMAT,
            host: host.to_owned(),
            key: self.public.id().to_string(),
            public_key: self.public.to_base64(),
        };
        let mut chain = self.chain;
        let line = chain.append(&Entry::new(now.clone(), &Actor::Daemon, &event), now);
        self.log.begin(chain.head.seq, &line)?;
        self.chain = chain;
        Ok(())
    }

    /// Deletes the oldest segments, each after the log says so.
    fn drop_segments(&mut self, host: &str, keep: usize) -> io::Result<()> {
        let segments = self.log.segments()?;
        let n_surplus = segments.len().saturating_sub(keep.max(1));
        for name in segments.iter().take(n_surplus) {
            let Some(last) = self.log.last_of(name)? else {
                continue;
            };
            let event = Event::Dropped {
                file: name.clone(),
                first: log::first_of(name).unwrap_or(0),
                last: last.seq,
                hash: last.hash.to_string(),
            };
            let entry = Entry::new(Stamp::now(), &Actor::Daemon, &event);
            self.write(host, u64::MAX, &VecDeque::from([entry]))?;
            self.log.delete(name)?;
        }
        Ok(())
    }
}
