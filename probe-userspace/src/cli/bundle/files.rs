//! Reading and writing of the files that bundles are made of.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    bundle::{Envelope, Rejected},
    cli::Globals,
    daemon::Refusal,
    input,
};

/// What to do with a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Existing {
    /// Leave it and fail.
    Keep,
    /// Put the new one in its place.
    Replace,
}

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
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name else {
        bail!("{} is not the name of a file", path.display());
    };
    let temporary = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let try_write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path)?,
            Existing::Keep => fs::hard_link(&temporary, path).and_then(|()| fs::remove_file(&temporary))?,
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    };
    let written = try_write();
    if let Err(error) = written {
        // It may never have been made.
        drop(fs::remove_file(&temporary));
        if error.kind() == io::ErrorKind::AlreadyExists {
            bail!(
                "{} exists: name another, or replace it with `--force`",
                path.display()
            );
        }
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(())
}

/// The directory of trusted keys: the one that was named, or that of the host file's state directory.
pub(in crate::cli) fn keys_dir(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Refusal> {
    match named {
        Some(dir) => Ok(dir),
        None => Ok(globals.settings_or_defaults()?.state_dir.join("keys")),
    }
}
