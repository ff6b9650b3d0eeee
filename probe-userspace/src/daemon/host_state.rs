//! What is neither policy nor revision and survives a restart: halts and lifts, whether the host is managed, break-glass,
//! what was seen at the last look. In `state.json` and a second copy of it, because without it what is halted would open.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{amendments::StoredAmendments, store::Store};
use crate::{audit::Actor, bundle::Digest, durable, instant::Instant};

/// Written last: if it can be read, it is what counts.
const STATE: &str = "state.json";
const COPY: &str = "state.copy.json";
/// A state file that could not be read and had no copy, until a policy says what is in force.
const UNREADABLE: &str = "state.json.unreadable";
/// The same, when a policy has said it: kept to be looked at.
const REPLACED: &str = "state.json.replaced";

/// What `state.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The halt in force when it was written.
    pub halted: Option<StoredHalt>,
    /// Name of the policy that was not confirmed in time, until the next apply; empty: not known.
    pub reverted: Option<String>,
    /// Which probes did not hold, if they should have confirmed it.
    #[serde(default)]
    pub reverted_why: Option<String>,
    /// Interfaces that were judged at the last look, and in which mode: what became of them is recorded.
    #[serde(default)]
    pub interfaces: BTreeMap<String, String>,
    /// Times in which packets came by unjudged.
    #[serde(default)]
    pub gaps: super::api::Gaps,
    /// Trusted keys at the last look, and what they may do: what became of them is recorded.
    #[serde(default)]
    pub keys: BTreeMap<String, Vec<String>>,
    /// How many keys had to sign for a verb at the last look, where that is more than one.
    #[serde(default)]
    pub thresholds: BTreeMap<String, usize>,
    /// Lifts and halts of services.
    #[serde(default)]
    pub amendments: StoredAmendments,
    /// Since when this host takes signed policies only. It outlives the last trusted key.
    #[serde(default)]
    pub managed: Option<Instant>,
    /// The policy in force that nobody signed.
    #[serde(default)]
    pub break_glass: Option<BreakGlass>,
    /// The bundle that was seen to have ended, by the digest of its payload. A clock that is set back later does not
    /// make it good again.
    #[serde(default)]
    pub expired: Option<Digest>,
}

/// A policy that nobody signed is in force, until the kernel goes back to the signed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// The end, by the clock when it began.
    pub until: Instant,
}

impl HostState {
    /// What became of the policy that was not confirmed in time.
    pub fn reverted_text(&self) -> Option<String> {
        let policy = match self.reverted.as_deref()? {
            "" => "the policy".to_owned(),
            name => format!("policy {name}"),
        };
        let why = match &self.reverted_why {
            Some(why) => format!(" ({why})"),
            None => String::new(),
        };
        Some(format!(
            "{policy} was not confirmed in time and was reverted{why}"
        ))
    }
}

/// A halt, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHalt {
    /// End (exclusive), Unix time in seconds; absent: until resumed.
    pub until_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who; absent: not known.
    #[serde(default)]
    pub actor: Option<Actor>,
}

/// The state as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadState {
    /// What counts.
    pub state: HostState,
    /// Why it is that of the copy, if it is.
    pub problem: Option<String>,
}

impl Store {
    /// The stored state. An error: there is one, but it cannot be read.
    pub fn host_state(&self) -> anyhow::Result<ReadState> {
        let copy = self.read_state(COPY);
        let problem = match self.read_state(STATE) {
            Ok(Some(state)) => return Ok(ReadState { state, problem: None }),
            Ok(None) if matches!(copy, Ok(None)) => return Ok(ReadState::default()),
            Ok(None) => anyhow::anyhow!("{} is gone", self.path(STATE).display()),
            Err(error) => error,
        };
        match copy {
            Ok(Some(state)) => Ok(ReadState {
                state,
                problem: Some(format!("{problem:#}")),
            }),
            Ok(None) | Err(_) => Err(problem),
        }
    }

    fn read_state(&self, name: &str) -> anyhow::Result<Option<HostState>> {
        let Some(text) = self.read(name)? else {
            return Ok(None);
        };
        let state = serde_json::from_str(&text);
        state.with_context(|| format!("{} is not a state file of cordon", self.path(name).display()))
    }

    /// Keeps a state file that cannot be read under another name.
    pub fn put_state_aside(&self) -> anyhow::Result<()> {
        self.remove(COPY)?;
        match self.size(STATE) {
            Some(_) => self.rename(STATE, UNREADABLE),
            None => self.write(UNREADABLE, b""),
        }
    }

    /// The state file that could not be read, as long as no policy was settled since, also by the daemons before this one.
    pub fn unreadable_state(&self) -> Option<PathBuf> {
        let path = self.path(UNREADABLE);
        path.exists().then_some(path)
    }

    /// What it said does not matter any more. It is kept to be looked at.
    pub fn settle_unreadable_state(&self) -> anyhow::Result<()> {
        self.rename(UNREADABLE, REPLACED)
    }

    /// Keeps a file under another name.
    pub fn rename(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        durable::rename(&from, &to).with_context(|| format!("cannot put {} aside", from.display()))
    }

    /// Stores the state.
    pub fn set_host_state(&self, state: &HostState) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(state).context("cannot write the state as JSON")?;
        self.write(COPY, &text)?;
        self.write(STATE, &text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn halted() -> HostState {
        HostState {
            halted: Some(StoredHalt {
                until_s: Some(7),
                reason: "drill".to_owned(),
                actor: Some(Actor::Local { uid: 0 }),
            }),
            ..HostState::default()
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("state"));
        (dir, store)
    }

    #[test]
    fn one_copy_is_enough_and_its_loss_is_told() {
        let (_dir, store) = store();
        assert_eq!(store.host_state().unwrap(), ReadState::default());
        for damage in ["", "{"] {
            for name in [STATE, COPY] {
                store.set_host_state(&halted()).unwrap();
                match damage {
                    "" => fs::remove_file(store.path(name)).unwrap(),
                    damage => fs::write(store.path(name), damage).unwrap(),
                }
                let read = store.host_state().unwrap();
                assert_eq!(read.state, halted(), "{name}");
                let problem = read.problem.unwrap_or_default();
                assert_eq!(problem.contains("state.json"), name == STATE, "{problem}");
            }
        }
    }

    #[test]
    fn the_state_counts_and_not_a_copy_that_a_crash_left_ahead() {
        let (_dir, store) = store();
        store.set_host_state(&halted()).unwrap();
        let ahead = serde_json::to_vec(&HostState::default()).unwrap();
        store.write(COPY, &ahead).unwrap();
        assert_eq!(store.host_state().unwrap().state, halted());
    }

    #[test]
    fn a_state_that_cannot_be_read_is_named_and_put_aside() {
        let (_dir, store) = store();
        store.write(STATE, b"{").unwrap();
        let error = format!("{:#}", store.host_state().unwrap_err());
        assert!(error.contains("state.json"), "{error}");
        store.put_state_aside().unwrap();
        assert_eq!(store.host_state().unwrap(), ReadState::default());
        assert!(store.unreadable_state().is_some());
        store.settle_unreadable_state().unwrap();
        assert_eq!(store.unreadable_state(), None);
    }

    #[test]
    fn a_state_file_of_an_older_cordon_is_read() {
        let (_dir, store) = store();
        store
            .write(STATE, br#"{"halted":null,"reverted":"one"}"#)
            .unwrap();
        let state = store.host_state().unwrap().state;
        assert_eq!((state.reverted.as_deref(), state.managed), (Some("one"), None));
    }
}
