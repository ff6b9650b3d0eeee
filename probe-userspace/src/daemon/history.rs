//! What was in force when: an index of bounded length, and the stored policies that it names, to go back to.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    api::{Ended, HistoryEntry},
    kept::Kept,
    store::{Store, StoredPolicy},
};
use crate::{audit::Actor, bundle::Digest, instant::Instant};

const INDEX: &str = "index.json";
/// An index that could not be read.
const UNREADABLE: &str = "index.unreadable.json";
const ENDING: &str = ".toml";

/// Most entries.
const MAX_ENTRIES: usize = 50;
/// Most bytes that policies of the history take on the disk, bundles and lists included.
const MAX_BYTES: u64 = 256 << 20;

/// A policy that comes into force.
#[derive(Debug)]
pub struct Coming<'a> {
    /// What is stored of it.
    pub stored: &'a StoredPolicy,
    /// Its name.
    pub policy: &'a str,
    /// SHA-256 of its text.
    pub sha256: &'a str,
    /// Revision of its bundle.
    pub revision: Option<u64>,
    /// Why nobody signed it.
    pub break_glass: Option<String>,
    /// Who put it in force.
    pub actor: &'a Actor,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The earliest first.
    entries: Vec<HistoryEntry>,
}

/// The history.
#[derive(Debug)]
pub struct History {
    store: Store,
    index: Index,
    /// There is an index that could not be read: what it names is not known, so nothing is removed.
    is_partial: bool,
}

impl History {
    /// Reads the index in a state directory. Also says what is wrong with it: it is put aside then, and a new one begun.
    pub fn read(state: &Store) -> (Self, Option<String>) {
        let store = state.within("history");
        let read = || -> anyhow::Result<Index> {
            match store.read(INDEX)? {
                None => Ok(Index::default()),
                Some(text) => serde_json::from_str(&text)
                    .with_context(|| format!("{} is damaged", store.path(INDEX).display())),
            }
        };
        let (index, mut problem) = match read() {
            Ok(index) => (index, None),
            Err(error) => {
                let aside = store.rename(INDEX, UNREADABLE).err();
                let aside = aside.map_or_else(String::new, |error| format!("; {error:#}"));
                (Index::default(), Some(format!("{error:#}{aside}")))
            }
        };
        let aside = store.path(UNREADABLE);
        let is_partial = problem.is_some() || aside.exists();
        if is_partial {
            let why = problem.unwrap_or_else(|| "an earlier index could not be read".to_owned());
            problem = Some(format!(
                "{why}; no stored policy is removed as long as there is {}: mend it and put it back while the daemon is \
                 stopped, or remove it",
                aside.display()
            ));
        }
        let history = Self {
            store,
            index,
            is_partial,
        };
        (history, problem)
    }

    /// Whether not all of it is known.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The entries, the latest first.
    pub fn entries(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.index.entries.iter().rev()
    }

    /// The entry of the policy in force.
    pub fn current(&self) -> Option<&HistoryEntry> {
        self.index.entries.last().filter(|entry| entry.to.is_none())
    }

    /// Takes note of a policy that comes into force; the one before has `ended`.
    pub fn begin(
        &mut self,
        coming: &Coming<'_>,
        ended: Ended,
        now: Instant,
        kept: &Kept,
    ) -> anyhow::Result<()> {
        let bytes = coming.stored.to_file().into_bytes();
        let content = Digest::of(&bytes);
        self.close(ended, now);
        let number = self.index.entries.last().map_or(1, |last| last.number + 1);
        self.index.entries.push(HistoryEntry {
            number,
            policy: coming.policy.to_owned(),
            sha256: coming.sha256.to_owned(),
            revision: coming.revision,
            bundle: coming.stored.bundle(),
            lists: coming.stored.lists(),
            break_glass: coming.break_glass.clone(),
            actor: coming.actor.clone(),
            from: now,
            to: None,
            ended: None,
            content: Some(content),
        });
        self.store.write(&file_name(content), &bytes)?;
        self.trim(kept);
        self.write()?;
        self.sweep()
    }

    /// Takes note of another text or another list of the policy in force, from which the kernel has the same.
    pub fn again(&mut self, coming: &Coming<'_>) -> anyhow::Result<()> {
        let Some(entry) = self.index.entries.last_mut().filter(|entry| entry.to.is_none()) else {
            return Ok(());
        };
        let bytes = coming.stored.to_file().into_bytes();
        let content = Digest::of(&bytes);
        entry.content = Some(content);
        entry.lists = coming.stored.lists();
        coming.sha256.clone_into(&mut entry.sha256);
        self.store.write(&file_name(content), &bytes)?;
        self.write()?;
        self.sweep()
    }

    /// Takes note that nothing known is in force any more.
    pub fn end(&mut self, ended: Ended, now: Instant) -> anyhow::Result<()> {
        match self.close(ended, now) {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// The policy of an entry, as it was stored.
    pub fn stored(&self, entry: &HistoryEntry) -> anyhow::Result<StoredPolicy> {
        let content = entry
            .content
            .context("it is not kept any more: the history keeps 50 policies, and 256 MiB of them")?;
        let name = file_name(content);
        let text = self.store.read(&name)?;
        let text = text.with_context(|| format!("{} is gone", self.store.path(&name).display()))?;
        if Digest::of(text.as_bytes()) != content {
            anyhow::bail!("{} was altered", self.store.path(&name).display());
        }
        Ok(StoredPolicy::from_file(&text))
    }

    /// Bundles and lists that entries need.
    pub fn needs(&self) -> BTreeSet<Digest> {
        let kept = self.index.entries.iter().filter(|entry| entry.content.is_some());
        kept.flat_map(beside).collect()
    }

    fn close(&mut self, ended: Ended, now: Instant) -> bool {
        match self.index.entries.last_mut() {
            Some(last) if last.to.is_none() => {
                // A clock that went back makes no stretch that ends before it began.
                last.to = Some(now.max(last.from));
                last.ended = Some(ended);
                true
            }
            _ => false,
        }
    }

    /// Drops the oldest entries beyond the number, and the content of the oldest beyond the size.
    fn trim(&mut self, kept: &Kept) {
        let n_too_many = self.index.entries.len().saturating_sub(MAX_ENTRIES);
        self.index.entries.drain(..n_too_many);
        let mut counted = BTreeSet::new();
        let mut n_bytes = 0u64;
        for entry in self.index.entries.iter_mut().rev() {
            let Some(content) = entry.content else {
                continue;
            };
            if counted.insert(content) {
                n_bytes += self.store.size(&file_name(content)).unwrap_or(0);
            }
            for digest in beside(entry) {
                if counted.insert(digest) {
                    n_bytes += kept.size(digest);
                }
            }
            // The one in force stays, whatever its size.
            if n_bytes > MAX_BYTES && entry.to.is_some() {
                entry.content = None;
            }
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.index).context("cannot write the history as JSON")?;
        self.store.write(INDEX, &text)
    }

    /// Removes stored policies that no entry names.
    fn sweep(&self) -> anyhow::Result<()> {
        if self.is_partial {
            return Ok(());
        }
        let named: BTreeSet<Digest> = self
            .index
            .entries
            .iter()
            .filter_map(|entry| entry.content)
            .collect();
        for name in self.store.names()? {
            let digest = name.strip_suffix(ENDING).and_then(|name| name.parse().ok());
            if digest.is_some_and(|digest: Digest| !named.contains(&digest)) {
                self.store.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn beside(entry: &HistoryEntry) -> impl Iterator<Item = Digest> + use<> {
    [entry.bundle, entry.lists].into_iter().flatten()
}

fn file_name(content: Digest) -> String {
    format!("{content}{ENDING}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        _dir: tempfile::TempDir,
        state: Store,
        kept: Kept,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let state = Store::new(dir.path());
        Place {
            kept: Kept::new(&state),
            state,
            _dir: dir,
        }
    }

    fn coming(stored: &StoredPolicy) -> Coming<'_> {
        Coming {
            stored,
            policy: "one",
            sha256: &stored.text,
            revision: None,
            break_glass: None,
            actor: &Actor::Local { uid: 0 },
        }
    }

    fn begin(history: &mut History, place: &Place, text: &str, at: u32) {
        let stored = StoredPolicy::accepted("one.toml", text, Instant(at));
        history
            .begin(&coming(&stored), Ended::Replaced, Instant(at), &place.kept)
            .unwrap();
    }

    #[test]
    fn one_policy_ends_where_the_next_begins() {
        let place = place();
        let (mut history, _) = History::read(&place.state);
        begin(&mut history, &place, "a", 10);
        begin(&mut history, &place, "b", 20);
        let (history, problem) = History::read(&place.state);
        assert_eq!(problem, None);
        let entries: Vec<_> = history.entries().collect();
        assert_eq!(
            entries
                .iter()
                .map(|entry| (entry.number, entry.from.0, entry.to.map(|to| to.0)))
                .collect::<Vec<_>>(),
            [(2, 20, None), (1, 10, Some(20))]
        );
        assert_eq!(history.current(), Some(entries[0]));
        assert_eq!(history.stored(entries[1]).unwrap().text, "a");
    }

    #[test]
    fn the_history_is_bounded_and_numbers_are_not_given_twice() {
        let place = place();
        let (mut history, _) = History::read(&place.state);
        for n in 0..MAX_ENTRIES as u32 + 5 {
            begin(&mut history, &place, &n.to_string(), n + 1);
        }
        let (history, _) = History::read(&place.state);
        assert_eq!(history.entries().count(), MAX_ENTRIES);
        let oldest = history.entries().last().unwrap();
        assert_eq!(oldest.number, 6);
        assert_eq!(history.stored(oldest).unwrap().text, "5");
        let n_files = history.store.names().unwrap().len();
        assert_eq!(n_files, MAX_ENTRIES + 1, "the index and what it names");
    }

    #[test]
    fn what_is_accepted_again_is_no_new_entry() {
        let place = place();
        let (mut history, _) = History::read(&place.state);
        begin(&mut history, &place, "a", 10);
        let again = StoredPolicy::accepted("one.toml", "a # comment", Instant(20));
        history.again(&coming(&again)).unwrap();
        let (history, _) = History::read(&place.state);
        assert_eq!(history.entries().count(), 1);
        let entry = history.current().unwrap();
        assert_eq!((entry.from, &*entry.sha256), (Instant(10), "a # comment"));
        assert_eq!(history.stored(entry).unwrap(), again, "the next start knows it");
        assert_eq!(history.store.names().unwrap().len(), 2, "the index and the text");
    }

    #[test]
    fn a_damaged_index_is_put_aside_and_nothing_that_it_names_is_removed() {
        let place = place();
        let (mut history, _) = History::read(&place.state);
        begin(&mut history, &place, "a", 10);
        let first = history.current().unwrap().clone();
        let good = history.store.read(INDEX).unwrap().unwrap();
        history.store.write(INDEX, &good.as_bytes()[..40]).unwrap();

        let (mut history, problem) = History::read(&place.state);
        assert!(problem.unwrap().contains("damaged") && history.is_partial());
        begin(&mut history, &place, "b", 20);
        let (history, problem) = History::read(&place.state);
        assert!(problem.unwrap().contains(UNREADABLE) && history.is_partial());
        assert_eq!(history.stored(&first).unwrap().text, "a", "still there");

        history.store.write(INDEX, good.as_bytes()).unwrap();
        history.store.remove(UNREADABLE).unwrap();
        let (mut history, problem) = History::read(&place.state);
        assert_eq!((problem, history.is_partial()), (None, false));
        assert_eq!(history.current(), Some(&first));
        begin(&mut history, &place, "c", 30);
        assert_eq!(
            history.store.names().unwrap().len(),
            3,
            "what nobody names is gone"
        );
    }

    #[test]
    fn a_policy_that_was_altered_is_not_gone_back_to() {
        let place = place();
        let (mut history, _) = History::read(&place.state);
        begin(&mut history, &place, "a", 10);
        let entry = history.current().unwrap().clone();
        history
            .store
            .write(&file_name(entry.content.unwrap()), b"b")
            .unwrap();
        assert!(
            history
                .stored(&entry)
                .unwrap_err()
                .to_string()
                .contains("altered")
        );
    }
}
