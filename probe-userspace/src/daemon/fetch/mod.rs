//! Pulling: looks at the `[[source]]`s of the host file, one after the other, and hands whole bundles to the engine.
//!
//! Whoever answers there is not trusted: what comes is bounded in size and time, kept in memory once, and says nothing
//! before the engine has checked its signatures. One source at a time, so memory holds one bundle at most.

mod file;
mod memory;
mod schedule;
#[cfg(test)]
mod tests;
mod tls;
mod web;

use std::{
    path::Path,
    time::{Duration, Instant as Moment},
};

use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout},
};

use self::{
    memory::{Memory, Remembered},
    schedule::Schedule,
};
use super::{
    Refusal,
    api::SourceRow,
    engine::{Event, Handle, Reply},
};
use crate::{
    bundle::limits::{MAX_COMMENT_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES, PREFIX_BYTES},
    host::{Source, SourceKind, SourceUrl},
    instant::Instant,
};

/// What is asked for anew after this time, whatever its tag says: a tag is kept beside what was taken, and one could be
/// lost without the other.
const MAX_TAG_AGE_S: u32 = 86_400;

/// Bounds on one look at a source.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the look-up of the name to the last byte.
    pub deadline: Duration,
    /// Largest bundle, in bytes.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            max_bytes: PREFIX_BYTES
                + MAX_SIGNATURES * (2 + 8 + 64 + 64 + 2 + MAX_COMMENT_BYTES)
                + MAX_PAYLOAD_BYTES,
        }
    }
}

/// A whole bundle of which nothing is known to be genuine.
#[derive(Debug)]
pub struct Candidate {
    /// Where it came from, for remarks.
    pub file: String,
    /// What the host file expects there.
    pub kind: SourceKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What became of a candidate that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in force, or waits for confirmation.
    Accepted,
    /// The host had it already.
    Idle,
}

/// What a look at a source gave.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// What the tag stands for is still there.
    Unchanged,
    /// Something else.
    Changed {
        bytes: Vec<u8>,
        /// Stands for these bytes in a later look; `None`: the source has no such thing.
        tag: Option<String>,
    },
}

/// Looks at the sources until the engine is gone.
pub async fn run(sources: Vec<Source>, state_dir: &Path, handle: Handle) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    let memory = Memory::new(state_dir);
    let mut queue: Vec<Puller> = sources
        .into_iter()
        .enumerate()
        .map(|(idx, source)| Puller::new(idx, source, &memory))
        .collect();
    for puller in &queue {
        puller.report(&handle, None).await;
    }
    loop {
        let Some(puller) = queue.iter_mut().min_by_key(|puller| puller.schedule.next()) else {
            return;
        };
        sleep_until(puller.schedule.next().into()).await;
        if handle.events.is_closed() {
            return;
        }
        puller.pull(&handle, &memory, Limits::default()).await;
    }
}

/// One source and what is known of it.
struct Puller {
    idx: usize,
    source: Source,
    schedule: Schedule,
    remembered: Remembered,
}

impl Puller {
    fn new(idx: usize, source: Source, memory: &Memory) -> Self {
        let remembered = memory.read(&source).unwrap_or_else(|error| {
            tracing::warn!(url = %source.url, "what is known of this source cannot be read: {error:#}");
            Remembered::default()
        });
        Self {
            idx,
            schedule: Schedule::new(source.interval),
            source,
            remembered,
        }
    }

    async fn pull(&mut self, handle: &Handle, memory: &Memory, limits: Limits) {
        let result = self.try_pull(handle, limits).await;
        let problem = match result {
            Ok(tag) => {
                let now = Instant::now().0;
                self.remembered.tag = tag;
                self.remembered.tag_since_s.get_or_insert(now);
                self.remembered.last_success_s = Some(now);
                if let Err(error) = memory.write(&self.source, &self.remembered) {
                    tracing::warn!(url = %self.source.url, "cannot keep the tag: {error:#}");
                }
                self.schedule.succeeded(Moment::now());
                None
            }
            Err(error) => {
                self.schedule.failed(Moment::now());
                Some(format!("{error:#}"))
            }
        };
        self.report(handle, problem).await;
    }

    /// Gives the tag of what is taken now.
    async fn try_pull(&mut self, handle: &Handle, limits: Limits) -> anyhow::Result<Option<String>> {
        let now = Instant::now().0;
        let since = self.remembered.tag_since_s.unwrap_or(0);
        let is_fresh = now.checked_sub(since).is_some_and(|age| age <= MAX_TAG_AGE_S);
        let known = self.remembered.tag.clone().filter(|_| is_fresh);
        match look(&self.source, known.as_deref(), limits).await? {
            Look::Unchanged => Ok(known),
            Look::Changed { bytes, tag } => {
                let candidate = Candidate {
                    file: self.source.url.to_string(),
                    kind: self.source.kind,
                    bytes,
                };
                let taken = deliver(handle, candidate).await?;
                tracing::info!(url = %self.source.url, ?taken, "pulled");
                // The age of the tag begins, also of the same one.
                self.remembered.tag_since_s = None;
                Ok(tag)
            }
        }
    }

    /// Tells the engine how the source stands.
    async fn report(&self, handle: &Handle, problem: Option<String>) {
        let wait = self.schedule.next().saturating_duration_since(Moment::now());
        let next = Instant::now()
            .0
            .saturating_add(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX));
        let row = SourceRow {
            url: self.source.url.to_string(),
            kind: self.source.kind.name().to_owned(),
            last_success: self.remembered.last_success_s.map(|at| Instant(at).to_string()),
            age_s: None,
            next: Some(Instant(next).to_string()),
            n_failures: self.schedule.n_failures(),
            problem,
        };
        drop(handle.events.send(Event::Source(self.idx, row)).await);
    }
}

/// Looks at a source once.
async fn look(source: &Source, known: Option<&str>, limits: Limits) -> anyhow::Result<Look> {
    let looked = async {
        match &source.url {
            SourceUrl::Web { .. } => web::look(source, known, limits).await,
            SourceUrl::File(path) => {
                let (path, known) = (path.clone(), known.map(str::to_owned));
                tokio::task::spawn_blocking(move || file::look(&path, known.as_deref(), limits.max_bytes))
                    .await?
            }
        }
    };
    match timeout(limits.deadline, looked).await {
        Ok(looked) => looked,
        Err(_) => anyhow::bail!("not complete after {} s: given up", limits.deadline.as_secs()),
    }
}

/// Hands a bundle to the engine and waits for what becomes of it.
async fn deliver(handle: &Handle, candidate: Candidate) -> anyhow::Result<Taken> {
    let (reply, answer): (Reply<Taken>, _) = oneshot::channel();
    let stopping = || anyhow::anyhow!("the daemon is stopping");
    handle
        .events
        .send(Event::Candidate(candidate, reply))
        .await
        .map_err(|_| stopping())?;
    let taken = answer.await.map_err(|_| stopping())?;
    taken.map_err(|refusal: Refusal| match refusal.diagnostics.first() {
        Some(first) => anyhow::anyhow!("refused: {refusal}: {first}"),
        None => anyhow::anyhow!("refused: {refusal}"),
    })
}
