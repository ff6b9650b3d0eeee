//! The geo database that a signed bundle brought: `geo/` in the state directory.
//!
//! `accepted.json` names the file that counts and is written last: a crash leaves the earlier database or the new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::{
    bundle::{Digest, freshness::Mark},
    instant::Instant,
};

const ACCEPTED: &str = "accepted.json";
const SUFFIX: &str = ".mmdb";

/// What was taken last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedGeo {
    /// Name of the bundle, which is that of the database.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// SHA-256 of the bundle's payload.
    pub payload: String,
    /// SHA-256 of the database.
    pub sha256: String,
    /// When the database was built, Unix time in seconds.
    pub built_s: u32,
    /// On which terms it may be passed on.
    pub licence: String,
    /// The least that the time can be, by what was signed and taken: Unix time in seconds.
    pub seen_s: u32,
}

impl AcceptedGeo {
    /// What a newer one must be above.
    pub fn mark(&self) -> Option<Mark> {
        Some(Mark {
            name: self.name.clone(),
            revision: self.revision,
            digest: self.payload.parse::<Digest>().ok()?,
        })
    }

    /// When the database was built.
    pub fn built(&self) -> Instant {
        Instant(self.built_s)
    }

    fn file_name(&self) -> String {
        format!("{}{SUFFIX}", self.sha256)
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub struct GeoStore {
    dir: PathBuf,
    store: Store,
}

impl GeoStore {
    /// The directory in a state directory.
    pub fn new(state_dir: &Path) -> Self {
        let dir = state_dir.join("geo");
        Self {
            store: Store::new(&dir),
            dir,
        }
    }

    /// What was taken last; `None`: nothing yet.
    pub fn accepted(&self) -> anyhow::Result<Option<AcceptedGeo>> {
        let Some(text) = self.store.read(ACCEPTED)? else {
            return Ok(None);
        };
        let accepted: AcceptedGeo = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what cordon wrote", self.dir.join(ACCEPTED).display()))?;
        // It becomes a part of a path.
        accepted
            .sha256
            .parse::<Digest>()
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{} was altered", self.dir.join(ACCEPTED).display()))?;
        Ok(Some(accepted))
    }

    /// Where its database is.
    pub fn path(&self, accepted: &AcceptedGeo) -> PathBuf {
        self.dir.join(accepted.file_name())
    }

    /// Writes a database that is about to be used. It does not count yet.
    pub fn write_database(&self, accepted: &AcceptedGeo, database: &[u8]) -> anyhow::Result<()> {
        self.store.write(&accepted.file_name(), database)
    }

    /// Makes it the one that counts, and removes the others.
    pub fn accept(&self, accepted: &AcceptedGeo) -> anyhow::Result<()> {
        self.store
            .write(ACCEPTED, &serde_json::to_vec_pretty(accepted)?)?;
        self.keep_only(Some(accepted))
    }

    /// Removes databases that do not count.
    pub fn sweep(&self) -> anyhow::Result<()> {
        self.keep_only(self.accepted()?.as_ref())
    }

    fn keep_only(&self, accepted: Option<&AcceptedGeo>) -> anyhow::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", self.dir.display())),
        };
        let kept = accepted.map(AcceptedGeo::file_name);
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Other files here are not of this store: see `last_good`.
            let is_database = name
                .strip_suffix(SUFFIX)
                .is_some_and(|stem| stem.parse::<Digest>().is_ok());
            if is_database && kept.as_ref() != Some(&name) {
                let path = entry.path();
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(revision: u64, database: &[u8]) -> AcceptedGeo {
        AcceptedGeo {
            name: "country".to_owned(),
            revision,
            payload: Digest::of(b"payload").to_string(),
            sha256: Digest::of(database).to_string(),
            built_s: 1_780_000_000,
            licence: "CC BY 4.0".to_owned(),
            seen_s: 1_780_000_000,
        }
    }

    #[test]
    fn a_database_counts_only_once_it_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let store = GeoStore::new(dir.path());
        assert_eq!(store.accepted().unwrap(), None);
        let (one, two) = (accepted(1, b"one"), accepted(2, b"two"));
        store.write_database(&one, b"one").unwrap();
        assert_eq!(store.accepted().unwrap(), None);
        store.accept(&one).unwrap();
        store.write_database(&two, b"two").unwrap();
        assert_eq!(
            store.accepted().unwrap().as_ref(),
            Some(&one),
            "a crash here keeps the first"
        );
        store.sweep().unwrap();
        assert!(store.path(&one).exists() && !store.path(&two).exists());

        store.write_database(&two, b"two").unwrap();
        store.accept(&two).unwrap();
        assert_eq!(store.accepted().unwrap(), Some(two.clone()));
        assert!(!store.path(&one).exists() && fs::read(store.path(&two)).unwrap() == b"two");
    }

    #[test]
    fn an_altered_record_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = GeoStore::new(dir.path());
        let mut bad = accepted(1, b"one");
        bad.sha256 = "../../etc/passwd".to_owned();
        store.accept(&bad).unwrap();
        let error = format!("{:#}", store.accepted().unwrap_err());
        assert!(error.contains("altered"), "{error}");
    }
}
