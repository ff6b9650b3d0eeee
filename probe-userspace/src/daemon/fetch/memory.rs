//! What is known of a source across restarts.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{bundle::Digest, daemon::store::Store, host::Source};

/// What is known of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Stands for what was taken last: an ETag, or what identifies a file.
    pub tag: Option<String>,
    /// Since when, Unix time in seconds.
    pub tag_since_s: Option<u32>,
    /// When the source was last good, Unix time in seconds.
    pub last_success_s: Option<u32>,
}

/// A file for each source in `fetch/` below the state directory.
#[derive(Clone, Debug)]
pub struct Memory {
    store: Store,
}

impl Memory {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            store: Store::new(&state_dir.join("fetch")),
        }
    }

    pub fn read(&self, source: &Source) -> anyhow::Result<Remembered> {
        match self.store.read(&name(source))? {
            Some(text) => serde_json::from_str(&text).context("it is not what cordon wrote"),
            None => Ok(Remembered::default()),
        }
    }

    pub fn write(&self, source: &Source, remembered: &Remembered) -> anyhow::Result<()> {
        self.store.write(&name(source), &serde_json::to_vec(remembered)?)
    }
}

/// Another kind at the same place is another source: what was taken for one was not for the other.
fn name(source: &Source) -> String {
    let identity = format!("{} {}", source.kind.name(), source.url);
    let digest = Digest::of(identity.as_bytes()).to_string();
    format!("{}.json", &digest[..32])
}
