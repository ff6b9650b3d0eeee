//! Reading and writing of the files that bundles are made of.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    bundle::{Envelope, Rejected},
    cli::Globals,
    daemon::Refusal,
    durable, input,
};

pub(in crate::cli) use crate::durable::Existing;

/// A refused bundle, as the command line reports it.
pub(in crate::cli) fn refusal(file: &str, rejected: Rejected) -> Refusal {
    Refusal::rejected(file, rejected)
}

/// Reads the outer form of a bundle.
pub(super) fn read_envelope(path: &Path) -> anyhow::Result<Envelope> {
    let file = path.display().to_string();
    let opened = input::open_regular(path).map_err(|error| error.refusal("the bundle"))?;
    Ok(Envelope::read(&file, opened).map_err(|rejected| refusal(&file, rejected))?)
}

/// Writes a file at once or not at all.
pub(in crate::cli) fn write(path: &Path, bytes: &[u8], existing: Existing, mode: u32) -> anyhow::Result<()> {
    match durable::write(path, bytes, mode, existing) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{} exists: name another, or replace it with `--force`",
            path.display()
        ),
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}

/// The directory of trusted keys: the one that was named, or that of the host file's state directory.
pub(in crate::cli) fn keys_dir(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Refusal> {
    match named {
        Some(dir) => Ok(dir),
        None => Ok(globals.settings_or_defaults()?.state_dir.join("keys")),
    }
}
