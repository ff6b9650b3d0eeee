//! Reading of logs, also while a daemon writes to them.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    audit::{Anchor, Report, Verifier, log},
    bundle::key::PublicKey,
    cli::Globals,
};

/// A line that is written just now is whole after this time.
const PATIENCE: Duration = Duration::from_millis(50);
const MAX_ATTEMPTS: usize = 5;

/// The directory of the log: the one that was named, or that of the host file's state directory.
pub(super) fn dir(named: Option<PathBuf>, globals: &Globals) -> anyhow::Result<PathBuf> {
    match named {
        Some(dir) => Ok(dir),
        None => Ok(log::dir(&globals.settings_or_defaults()?.state_dir)),
    }
}

/// Gives the segments of a log, oldest first, one at a time.
pub(super) fn read(dir: &Path, mut each: impl FnMut(&str, &[u8])) -> anyhow::Result<()> {
    let segments = log::segments(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let Some(newest) = segments.last() else {
        bail!(
            "{} holds no audit log: a daemon makes one at its first start",
            dir.display()
        );
    };
    for name in &segments {
        let read = || {
            log::read_segment(dir, name).with_context(|| format!("cannot read {}", dir.join(name).display()))
        };
        let mut bytes = read()?;
        for _ in 1..MAX_ATTEMPTS {
            if name != newest || bytes.ends_with(b"\n") {
                break;
            }
            thread::sleep(PATIENCE);
            bytes = read()?;
        }
        each(name, &bytes);
    }
    Ok(())
}

/// Verifies a log.
pub(super) fn verify(dir: &Path, anchor: Option<&Anchor>, key: Option<&PublicKey>) -> anyhow::Result<Report> {
    let mut verifier = Verifier::new(anchor, key);
    read(dir, |name, bytes| verifier.segment(name, bytes))?;
    Ok(verifier.finish())
}
