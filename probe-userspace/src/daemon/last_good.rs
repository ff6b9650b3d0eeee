//! A copy of the database in force, for a start that finds the file itself damaged, altered or gone.
//!
//! `geo/last-good.json` in the state directory names the copy beside it and is written last: a crash leaves the earlier
//! copy or the new one.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::{
    bundle::Digest,
    geo::{self, EMBEDDED_NAME, GeoChoice, GeoSource, Location},
    host::FieldChoice,
};

const RECORD: &str = "last-good.json";
const PREFIX: &str = "last-good-";
const SUFFIX: &str = ".mmdb";

/// Which database was in force last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Where it was read from.
    origin: String,
    /// SHA-256 of its bytes; part of the copy's name.
    sha256: String,
}

/// The copy.
#[derive(Clone, Debug)]
pub struct LastGood {
    store: Store,
}

impl LastGood {
    /// The copy in a state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            store: Store::new(state_dir).within("geo"),
        }
    }

    /// Keeps a copy of the file that a location was read from, unless it is kept already. The embedded database is
    /// noted by its name.
    pub fn keep(&self, source: &GeoSource) -> anyhow::Result<()> {
        let record = Record {
            origin: source.origin.clone(),
            sha256: source.sha256.clone(),
        };
        let name = copy_name(&record.sha256);
        let is_embedded = source.origin == EMBEDDED_NAME;
        let is_there = is_embedded || self.store.size(&name).is_some();
        if is_there && self.record().is_ok_and(|known| known.as_ref() == Some(&record)) {
            return Ok(());
        }
        if !is_there {
            let bytes = geo::read_file(Path::new(&source.origin))?;
            if Digest::of(&bytes).to_string() != source.sha256 {
                bail!("{} was replaced since it was read", source.origin);
            }
            self.store.write(&name, &bytes)?;
        }
        self.store.write(RECORD, &serde_json::to_vec_pretty(&record)?)?;
        for other in self.store.names()? {
            if other.starts_with(PREFIX) && other.ends_with(SUFFIX) && (is_embedded || other != name) {
                self.store.remove(&other)?;
            }
        }
        Ok(())
    }

    /// The database that was in force last; `None`: none was kept. It says of itself where it came from, not that it is
    /// the copy.
    pub fn load(&self, field: FieldChoice) -> anyhow::Result<Option<Location>> {
        let Some(record) = self.record()? else {
            return Ok(None);
        };
        if record.origin == EMBEDDED_NAME {
            return Ok(Some(geo::load(&GeoChoice::Embedded, field)?));
        }
        let path = self.store.path(&copy_name(&record.sha256));
        let bytes = geo::read_file(&path)?;
        if Digest::of(&bytes).to_string() != record.sha256 {
            bail!("{} is damaged", path.display());
        }
        Ok(Some(geo::read_database(&record.origin, bytes, field)?))
    }

    fn record(&self) -> anyhow::Result<Option<Record>> {
        let Some(text) = self.store.read(RECORD)? else {
            return Ok(None);
        };
        let path = self.store.path(RECORD);
        let record: Record = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what cordon wrote", path.display()))?;
        // It becomes a part of a path.
        record
            .sha256
            .parse::<Digest>()
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{} was altered", path.display()))?;
        Ok(Some(record))
    }
}

fn copy_name(sha256: &str) -> String {
    format!("{PREFIX}{sha256}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::geo::test_database::{BOTH_FAMILIES, database, flat};

    fn write(path: &Path, code: &str) -> GeoSource {
        fs::write(path, database(BOTH_FAMILIES, &[("81.0.0.0/16", flat(code))])).unwrap();
        let choice = GeoChoice::File(path.to_owned());
        geo::load(&choice, FieldChoice::CountryFirst).unwrap().source
    }

    fn copies(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir.join("geo")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "mmdb"))
            .collect()
    }

    #[test]
    fn the_copy_is_what_was_in_force_whatever_became_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let kept = LastGood::new(dir.path());
        assert!(kept.load(FieldChoice::CountryFirst).unwrap().is_none());
        let live = dir.path().join("live.mmdb");
        let one = write(&live, "RU");
        kept.keep(&one).unwrap();
        let two = write(&live, "NL");
        kept.keep(&one).unwrap();
        kept.keep(&two).unwrap();
        assert_eq!(copies(dir.path()).len(), 1, "the earlier copy is gone");
        fs::write(&live, "<!DOCTYPE html>").unwrap();
        let loaded = kept.load(FieldChoice::CountryFirst).unwrap().unwrap();
        assert_eq!(loaded.source, two);
    }

    #[test]
    fn a_file_that_was_replaced_is_not_kept_as_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("live.mmdb");
        let one = write(&live, "RU");
        write(&live, "NL");
        let error = format!("{:#}", LastGood::new(dir.path()).keep(&one).unwrap_err());
        assert!(error.contains("live.mmdb was replaced"), "{error}");
    }

    #[test]
    fn the_embedded_database_is_noted_and_a_damaged_copy_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let kept = LastGood::new(dir.path());
        let live = dir.path().join("live.mmdb");
        kept.keep(&write(&live, "RU")).unwrap();
        fs::write(&copies(dir.path())[0], "x").unwrap();
        let error = format!("{:#}", kept.load(FieldChoice::CountryFirst).unwrap_err());
        assert!(error.contains("is damaged"), "{error}");

        let embedded = geo::load(&GeoChoice::Embedded, FieldChoice::CountryFirst).unwrap();
        kept.keep(&embedded.source).unwrap();
        assert!(copies(dir.path()).is_empty());
        let loaded = kept.load(FieldChoice::CountryFirst).unwrap().unwrap();
        assert_eq!(loaded.source, embedded.source);
    }
}
