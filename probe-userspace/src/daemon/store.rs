//! What survives a restart: the policy in force, the one that waits for confirmation, the halt.
//!
//! Every write goes to a temporary file, is synced and renamed, and the directory is synced: a crash leaves the
//! old content or the new one. A policy is written to `pending.toml` before it is published and renamed to
//! `policy.toml` when it is in force for good, so `policy.toml` is always the last policy known to be good.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{audit::Actor, instant::Instant};

const POLICY: &str = "policy.toml";
const PENDING: &str = "pending.toml";
const STATE: &str = "state.json";

/// A stored policy begins with this, the instant at which it was accepted, `FROM` and the file it came from.
const ACCEPTED: &str = "# cordon: accepted ";
const FROM: &str = " from ";

/// A stored policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Name of the file that was applied; it may be the policy's name.
    pub file: String,
    /// The text as it was applied.
    pub text: String,
    /// The instant it was compiled at. Compiling it again as of then gives the same image, whatever has begun or
    /// ended since: what is pinned is recognised, and a `[[test]]` that held then refuses nothing after a boot.
    /// `None`: the file was not written by cordon.
    pub accepted: Option<Instant>,
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

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

impl StoredPolicy {
    /// A policy that is accepted now; `file` is what its author called it.
    pub fn accepted(file: &str, text: &str, now: Instant) -> Self {
        let name = Path::new(file).file_name().map(|name| name.to_string_lossy());
        let name = name.filter(|name| !name.contains(char::is_control));
        Self {
            file: name.map_or_else(|| POLICY.to_owned(), std::borrow::Cow::into_owned),
            text: text.to_owned(),
            accepted: Some(now),
        }
    }

    fn to_file(&self) -> String {
        match self.accepted {
            Some(accepted) => format!("{ACCEPTED}{accepted}{FROM}{}\n{}", self.file, self.text),
            None => self.text.clone(),
        }
    }

    fn from_file(content: &str) -> Self {
        let header = content.split_once('\n').and_then(|(first, text)| {
            let (accepted, file) = first.strip_prefix(ACCEPTED)?.split_once(FROM)?;
            let accepted = Some(Instant::parse(accepted).ok()?);
            Some(Self {
                file: file.to_owned(),
                text: text.to_owned(),
                accepted,
            })
        });
        let foreign = || Self {
            file: POLICY.to_owned(),
            text: content.to_owned(),
            accepted: None,
        };
        header.unwrap_or_else(foreign)
    }
}

impl Store {
    /// A store in a directory, which is made when first written to.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Keeps other daemons off the directory for as long as the file lives: two would overwrite each other's policy,
    /// also with pin directories of their own.
    pub fn lock(&self) -> anyhow::Result<File> {
        self.make_dir()?;
        let dir = File::open(&self.dir).with_context(|| format!("cannot open {}", self.dir.display()))?;
        match dir.try_lock() {
            Ok(()) => Ok(dir),
            Err(fs::TryLockError::WouldBlock) => anyhow::bail!(
                "the state directory {} is in use by another cordon daemon: stop that one, or set another `state_dir`",
                self.dir.display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", self.dir.display()))
            }
        }
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
        fs::rename(&from, &to)
            .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
        self.sync_dir()
    }

    /// Forgets the pending policy, if there is one.
    pub fn drop_pending(&self) -> anyhow::Result<()> {
        let path = self.pending_path();
        match fs::remove_file(&path) {
            Ok(()) => self.sync_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Replaces the stored policy at once: for a text that differs from the stored one in nothing the kernel sees.
    pub fn set_policy(&self, policy: &StoredPolicy) -> anyhow::Result<()> {
        self.write(POLICY, policy.to_file().as_bytes())
    }

    /// The stored state.
    pub fn host_state(&self) -> anyhow::Result<HostState> {
        let Some(text) = self.read(STATE)? else {
            return Ok(HostState::default());
        };
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a state file of cordon", self.dir.join(STATE).display()))
    }

    /// Stores the state.
    pub fn set_host_state(&self, state: &HostState) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(state).context("cannot write the state as JSON")?;
        self.write(STATE, &text)
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
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.dir)
            .with_context(|| format!("cannot make the state directory {}", self.dir.display()))
    }

    /// Replaces a file in the directory: a crash leaves the old content or the new one.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.make_dir()?;
        let temporary = self.dir.join(format!(".{name}.new"));
        let path = self.dir.join(name);
        let try_write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o640)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        try_write().with_context(|| format!("cannot write {}", path.display()))?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> anyhow::Result<()> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .with_context(|| format!("cannot sync {}", self.dir.display()))
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
        assert_eq!(store.host_state().unwrap(), HostState::default());
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
    fn a_halt_is_kept_and_a_broken_state_file_is_named() {
        let (_dir, store) = store();
        let state = HostState {
            halted: Some(StoredHalt {
                until_s: Some(7),
                reason: "drill".to_owned(),
                actor: Some(Actor::Local { uid: 0 }),
            }),
            reverted: None,
            reverted_why: None,
        };
        store.set_host_state(&state).unwrap();
        assert_eq!(store.host_state().unwrap(), state);

        fs::write(store.dir.join(STATE), "{").unwrap();
        let error = format!("{:#}", store.host_state().unwrap_err());
        assert!(error.contains("state.json"), "{error}");
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
    fn a_planted_link_is_not_followed() {
        let (dir, store) = store();
        store
            .set_policy(&StoredPolicy::accepted("one.toml", "one", Instant(7)))
            .unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, store.dir.join(".policy.toml.new")).unwrap();
        assert!(
            store
                .set_policy(&StoredPolicy::accepted("two.toml", "two", Instant(7)))
                .is_err()
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
