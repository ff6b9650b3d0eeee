//! What belongs to stored policies and is too large to stand in their files: bundles as they came, and the lists of plain
//! policy files. Each is a file named by its digest, so a reference to it cannot mean anything else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};

use super::store::Store;
use crate::{
    bundle::{Digest, Envelope, read_list_texts},
    policy::NamedLists,
};

const BUNDLE_ENDING: &str = ".cordon";
const LISTS_ENDING: &str = ".json";

/// The directories `bundles` and `lists`.
#[derive(Clone, Debug)]
pub struct Kept {
    bundles: Store,
    lists: Store,
}

impl Kept {
    /// What is kept in a state directory.
    pub fn new(state: &Store) -> Self {
        Self {
            bundles: state.within("bundles"),
            lists: state.within("lists"),
        }
    }

    /// Keeps a bundle whole.
    pub fn keep_bundle(&self, digest: Digest, envelope: &Envelope) -> anyhow::Result<()> {
        // Written again if it is there: what is on the disk may have been altered since.
        self.bundles
            .write(&format!("{digest}{BUNDLE_ENDING}"), &envelope.to_bytes())
    }

    /// A bundle that was kept.
    pub fn bundle(&self, digest: Digest) -> anyhow::Result<Envelope> {
        let name = format!("{digest}{BUNDLE_ENDING}");
        let path = self.bundles.path(&name);
        let bytes = self.bundles.read_bytes(&name)?;
        let bytes = bytes.with_context(|| format!("{} is gone", path.display()))?;
        let envelope = Envelope::read(&path.display().to_string(), &bytes[..])?;
        if Digest::of(&envelope.payload) != digest {
            bail!("{} is not the bundle that was kept there", path.display());
        }
        Ok(envelope)
    }

    /// Keeps the lists of a plain policy, by name and text.
    pub fn keep_lists(&self, texts: &BTreeMap<String, String>) -> anyhow::Result<Digest> {
        let bytes = serde_json::to_vec(texts).context("cannot write the lists as JSON")?;
        let digest = Digest::of(&bytes);
        self.lists.write(&format!("{digest}{LISTS_ENDING}"), &bytes)?;
        Ok(digest)
    }

    /// Lists that were kept.
    pub fn lists(&self, digest: Digest) -> anyhow::Result<NamedLists> {
        let name = format!("{digest}{LISTS_ENDING}");
        let path = self.lists.path(&name);
        let bytes = self.lists.read_bytes(&name)?;
        let bytes = bytes.with_context(|| format!("{} is gone", path.display()))?;
        if Digest::of(&bytes) != digest {
            bail!("{} is not what was kept there", path.display());
        }
        let texts: BTreeMap<String, String> =
            serde_json::from_slice(&bytes).with_context(|| format!("{} holds no lists", path.display()))?;
        match read_list_texts(&texts) {
            Ok(lists) => Ok(lists),
            Err(remarks) => bail!(
                "{}: {}",
                path.display(),
                remarks.first().map_or_else(String::new, ToString::to_string)
            ),
        }
    }

    /// Bytes that a bundle or the lists take on the disk.
    pub fn size(&self, digest: Digest) -> u64 {
        let bundle = self.bundles.size(&format!("{digest}{BUNDLE_ENDING}"));
        let lists = self.lists.size(&format!("{digest}{LISTS_ENDING}"));
        bundle.or(lists).unwrap_or(0)
    }

    /// Removes everything that is not named.
    pub fn sweep(&self, named: &BTreeSet<Digest>) -> anyhow::Result<()> {
        for (store, ending) in [(&self.bundles, BUNDLE_ENDING), (&self.lists, LISTS_ENDING)] {
            for name in store.names()? {
                let digest = name.strip_suffix(ending).and_then(|name| name.parse().ok());
                if digest.is_some_and(|digest: Digest| !named.contains(&digest)) {
                    store.remove(&name)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_altered_is_not_taken_for_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(&Store::new(dir.path()));
        let texts = BTreeMap::from([("office".to_owned(), "203.0.113.0/24\n".to_owned())]);
        let digest = kept.keep_lists(&texts).unwrap();
        assert_eq!(kept.lists(digest).unwrap()["office"].len(), 1);
        kept.sweep(&BTreeSet::from([digest])).unwrap();
        assert!(kept.lists(digest).is_ok(), "it is named");

        let path = dir.path().join(format!("lists/{digest}.json"));
        let altered = std::fs::read_to_string(&path).unwrap().replace("/24", "/25");
        std::fs::write(&path, altered).unwrap();
        let error = kept.lists(digest).unwrap_err().to_string();
        assert!(error.contains("not what was kept there"), "{error}");

        kept.sweep(&BTreeSet::new()).unwrap();
        let error = kept.lists(digest).unwrap_err().to_string();
        assert!(error.contains("is gone"), "{error}");
    }
}
