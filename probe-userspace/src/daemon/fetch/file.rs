//! `file://`: a file of this host that somebody else may be writing.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use nix::libc;

use super::Look;

/// Reads a regular file that holds still. Never blocks on a FIFO, follows no link at the end of the path, and reads no
/// more than the limit.
pub(super) fn look(path: &Path, known: Option<&str>, max_bytes: usize) -> anyhow::Result<Look> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => anyhow::anyhow!("it is a symbolic link: name the file that it leads to"),
            _ => error.into(),
        })?;
    let before = file.metadata()?;
    if !before.is_file() {
        bail!("it is no regular file: name one that bundles are moved to");
    }
    let tag = tag(&before);
    if known == Some(tag.as_str()) {
        return Ok(Look::Unchanged);
    }
    if before.len() > max_bytes as u64 {
        bail!(
            "it has {} bytes, more than the {max_bytes} of a bundle",
            before.len()
        );
    }
    let bytes = read(&mut file, before.len() as usize)?;
    let after = file.metadata().context("cannot look at it again")?;
    if bytes.len() as u64 != before.len() || self::tag(&after) != tag {
        bail!("it changed while it was read: write to another file and move that here");
    }
    Ok(Look::Changed {
        bytes,
        tag: Some(tag),
    })
}

/// One byte more than the file should have shows that it grows.
fn read(file: &mut File, n_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(n_bytes + 1);
    file.take(n_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Differs if the file was replaced or written to.
fn tag(metadata: &Metadata) -> String {
    format!(
        "{}-{}-{}-{}.{:09}",
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}
