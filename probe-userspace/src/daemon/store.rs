//! What survives a restart: the policy in force, the one that waits for confirmation, the halt, the exemptions made at
//! run time.
//!
//! A crash leaves the old content or the new one ([`crate::durable`]). A policy is written to `pending.toml` before it is published and renamed to
//! `policy.toml` when it is in force for good, so `policy.toml` is always the last policy known to be good.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use super::{
    host_state::{BreakGlass, HostState, StoredHalt},
    stored_policy::{Origin, StoredPolicy},
};
use crate::{
    durable::{self, Existing},
    exemption::Keys,
    instant::Instant,
};

const POLICY: &str = "policy.toml";
const PENDING: &str = "pending.toml";
const COUNTERS: &str = "counters.json";
/// How late it is at least.
pub const CLOCK: &str = "clock";
/// Directories within that hold files which are written at once or not at all. Not `incoming`: that is the sender's.
const WITHIN: [&str; 6] = ["bundles", "lists", "history", "geo", "fetch", "keys"];
const EXEMPTIONS: &str = "exemptions.jsonl";
const LIFT_KEYS: &str = "lift-keys.json";

/// The state directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What retired generations have counted since the machine was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCounters {
    /// Id of the boot.
    pub boot: String,
    /// Sums by reason and class.
    pub retired: Vec<StoredRow>,
}

/// A counter, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRow {
    /// Name of the reason.
    pub reason: String,
    /// Name of the class, if the reason has one.
    pub class: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Bytes (L2).
    pub bytes: u64,
}

impl Store {
    /// A store in a directory, which is made when first written to.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Keeps other daemons off the directory for as long as the file lives: two would overwrite each other's policy,
    /// also with pin directories of their own.
    pub fn lock(&self) -> anyhow::Result<File> {
        self.try_lock()?.with_context(|| {
            format!(
                "the state directory {} is in use by another cordon daemon: stop that one, or set another `state_dir`",
                self.dir.display()
            )
        })
    }

    /// As [`Self::lock`]; `None` if a daemon has it.
    pub fn try_lock(&self) -> anyhow::Result<Option<File>> {
        self.make_dir()?;
        let dir = File::open(&self.dir).with_context(|| format!("cannot open {}", self.dir.display()))?;
        match dir.try_lock() {
            Ok(()) => Ok(Some(dir)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", self.dir.display()))
            }
        }
    }

    /// Removes what writers left that died, also from the directories within; says how many files there were.
    pub fn remove_leftovers(&self) -> anyhow::Result<usize> {
        let within = WITHIN.map(|name| self.dir.join(name));
        let mut n_removed = 0;
        for dir in within.iter().chain([&self.dir]) {
            n_removed +=
                durable::remove_leftovers(dir).with_context(|| format!("cannot tidy {}", dir.display()))?;
        }
        Ok(n_removed)
    }

    /// Path of the stored policy, for remarks.
    pub fn policy_path(&self) -> PathBuf {
        self.dir.join(POLICY)
    }

    /// Path of the policy that waits for confirmation, for remarks.
    pub fn pending_path(&self) -> PathBuf {
        self.dir.join(PENDING)
    }

    /// Whether a policy is stored, be it readable or not.
    pub fn has_policy(&self) -> bool {
        fs::symlink_metadata(self.policy_path()).is_ok()
    }

    /// The last policy in force for good.
    pub fn policy(&self) -> anyhow::Result<Option<StoredPolicy>> {
        Ok(self.read(POLICY)?.map(|text| StoredPolicy::from_file(&text)))
    }

    /// The policy that waits for confirmation, or was about to be published when the daemon died.
    pub fn pending(&self) -> anyhow::Result<Option<StoredPolicy>> {
        Ok(self.read(PENDING)?.map(|text| StoredPolicy::from_file(&text)))
    }

    /// Writes the policy that is about to be published.
    pub fn set_pending(&self, policy: &StoredPolicy) -> anyhow::Result<()> {
        self.write(PENDING, policy.to_file().as_bytes())
    }

    /// Makes the pending policy the one in force for good.
    pub fn promote_pending(&self) -> anyhow::Result<()> {
        let (from, to) = (self.pending_path(), self.policy_path());
        durable::rename(&from, &to)
            .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
    }

    /// Forgets the pending policy, if there is one.
    pub fn drop_pending(&self) -> anyhow::Result<()> {
        let path = self.pending_path();
        durable::remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(())
    }

    /// Replaces the stored policy at once: for a text that differs from the stored one in nothing the kernel sees.
    pub fn set_policy(&self, policy: &StoredPolicy) -> anyhow::Result<()> {
        self.write(POLICY, policy.to_file().as_bytes())
    }

    /// The last time that was stored; 1970: none was.
    pub fn clock(&self) -> anyhow::Result<Instant> {
        let Some(text) = self.read(CLOCK)? else {
            return Ok(Instant(0));
        };
        Instant::parse(text.trim()).map_err(|error| {
            anyhow::anyhow!(
                "{} holds no time: {error}: remove it",
                self.dir.join(CLOCK).display()
            )
        })
    }

    /// Stores how late it is.
    pub fn set_clock(&self, now: Instant) -> anyhow::Result<()> {
        self.write(CLOCK, format!("{now}\n").as_bytes())
    }

    /// The stored counters.
    pub fn counters(&self) -> anyhow::Result<Option<StoredCounters>> {
        let Some(text) = self.read(COUNTERS)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).with_context(|| {
            format!(
                "{} is not a file of counters: remove it",
                self.dir.join(COUNTERS).display()
            )
        })
    }

    /// Stores counters.
    pub fn set_counters(&self, counters: &StoredCounters) -> anyhow::Result<()> {
        let text = serde_json::to_vec(counters).context("cannot write the counters as JSON")?;
        self.write(COUNTERS, &text)
    }

    /// Path of the exemptions made at run time, for remarks.
    pub fn exemptions_path(&self) -> PathBuf {
        self.dir.join(EXEMPTIONS)
    }

    /// The text of the exemptions made at run time.
    pub fn exemptions(&self) -> anyhow::Result<Option<String>> {
        self.read(EXEMPTIONS)
    }

    /// Stores the exemptions made at run time.
    pub fn set_exemptions(&self, text: &str) -> anyhow::Result<()> {
        self.write(EXEMPTIONS, text.as_bytes())
    }

    /// The numbers of the lifts that this host has met.
    pub fn lift_keys(&self) -> anyhow::Result<Option<Keys>> {
        let Some(text) = self.read(LIFT_KEYS)? else {
            return Ok(None);
        };
        let keys = Keys::from_json(&text);
        keys.map(Some)
            .with_context(|| format!("cannot read {}", self.dir.join(LIFT_KEYS).display()))
    }

    /// Stores the numbers of the lifts.
    pub fn set_lift_keys(&self, keys: &Keys) -> anyhow::Result<()> {
        self.write(LIFT_KEYS, &keys.to_json()?)
    }

    /// Path of a file, for remarks.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A store in a directory within this one.
    pub fn within(&self, name: &str) -> Self {
        Self::new(&self.dir.join(name))
    }

    /// The names of its files; none if the directory is not there. Those that are still being written are left out.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.dir.display())),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", self.dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Size of a file.
    pub fn size(&self, name: &str) -> Option<u64> {
        fs::symlink_metadata(self.path(name))
            .ok()
            .map(|metadata| metadata.len())
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// The bytes of a file.
    pub fn read_bytes(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The text of a file in the directory; `None`: there is none.
    pub fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make_dir(&self) -> anyhow::Result<()> {
        durable::make_dir(&self.dir, 0o750)
            .with_context(|| format!("cannot make the state directory {}", self.dir.display()))
    }

    /// Replaces a file in the directory: a crash leaves the old content or the new one.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.make_dir()?;
        let path = self.dir.join(name);
        durable::write(&path, content, 0o640, Existing::Replace)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("state"));
        (dir, store)
    }

    #[test]
    fn a_directory_belongs_to_one_daemon_at_a_time() {
        let (_dir, store) = store();
        let lock = store.lock().unwrap();
        let refused = store.lock().unwrap_err().to_string();
        assert!(
            refused.contains("another cordon daemon") && refused.contains("state_dir"),
            "{refused}"
        );
        drop(lock);
        assert!(store.lock().is_ok());
    }

    #[test]
    fn a_new_store_is_empty() {
        let (_dir, store) = store();
        assert_eq!(store.policy().unwrap(), None);
        assert_eq!(store.pending().unwrap(), None);
        store.drop_pending().unwrap();
    }

    #[test]
    fn a_pending_policy_replaces_the_stored_one_only_when_promoted() {
        let (_dir, store) = store();
        let policy = |text| StoredPolicy::accepted("etc/one.toml", text, Instant(1_800_000_000));
        store.set_pending(&policy("one")).unwrap();
        assert_eq!(store.policy().unwrap(), None);
        store.promote_pending().unwrap();
        assert_eq!(store.policy().unwrap(), Some(policy("one")));
        assert_eq!(store.pending().unwrap(), None);

        store.set_pending(&policy("two")).unwrap();
        store.drop_pending().unwrap();
        assert_eq!(store.policy().unwrap(), Some(policy("one")));
        assert!(store.promote_pending().is_err(), "nothing to promote");
    }

    #[test]
    fn a_policy_from_elsewhere_is_read_as_it_is() {
        let (_dir, store) = store();
        fs::create_dir_all(&store.dir).unwrap();
        fs::write(
            store.dir.join(POLICY),
            "# cordon: accepted some day\nversion = 1\n",
        )
        .unwrap();
        let stored = store.policy().unwrap().unwrap();
        assert_eq!(stored.accepted, None);
        assert_eq!(stored.text, "# cordon: accepted some day\nversion = 1\n");
    }

    #[test]
    fn what_a_writer_left_that_died_is_removed_and_the_state_is_not() {
        let (_dir, store) = store();
        store
            .set_policy(&StoredPolicy::accepted("one.toml", "one", Instant(7)))
            .unwrap();
        fs::write(store.dir.join(".policy.toml.1-0.new"), "half of").unwrap();
        for name in WITHIN {
            store.within(name).write("kept", b"whole").unwrap();
            fs::write(store.dir.join(name).join(".lost.mmdb.1-0.new"), "half of").unwrap();
        }
        assert_eq!(store.remove_leftovers().unwrap(), 1 + WITHIN.len());
        assert!(store.policy().unwrap().is_some());
        assert_eq!(fs::read_dir(&store.dir).unwrap().count(), 1 + WITHIN.len());
        for name in WITHIN {
            assert_eq!(fs::read_dir(store.dir.join(name)).unwrap().count(), 1);
        }
    }
}
