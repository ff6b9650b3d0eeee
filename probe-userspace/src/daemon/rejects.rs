//! Bundles that were moved in and rejected, each with the reason beside it. A directory of its own that only root writes
//! to: the one that they came in by may be open to others.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Refusal, store::Store};
use crate::bundle::Digest;

const ENDING: &str = ".cordon";
const REASON_ENDING: &str = ".reason.json";
/// Where a file is until it is known what becomes of it.
const CLAIMED: &str = ".claimed";

/// Most rejected bundles that are kept, and most bytes of them.
const MAX_REJECTED: usize = 32;
const MAX_REJECTED_BYTES: u64 = 256 << 20;
/// Longest name that is kept as it is: the reason's name is longer, and has to fit as well.
const MAX_NAME_BYTES: usize = 200;

/// The directory.
#[derive(Debug)]
pub struct Rejects {
    dir: PathBuf,
    store: Store,
}

impl Rejects {
    /// The directory `rejected` in a state directory.
    pub fn new(state: &Path) -> Self {
        let dir = state.join("rejected");
        Self {
            store: Store::new(&dir),
            dir,
        }
    }

    /// Makes the directory, for root alone.
    pub fn make(&self) -> anyhow::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))
    }

    /// Takes a file away from where others may write: what is here stays what it is. One at a time. `None`: it is gone.
    pub fn claim(&self, from: &Path) -> anyhow::Result<Option<PathBuf>> {
        // Somebody may have removed it, with what was in it.
        self.make()?;
        let claimed = self.dir.join(CLAIMED);
        let failed = || format!("cannot move {} to {}", from.display(), claimed.display());
        remove_any(&claimed).with_context(failed)?;
        match fs::rename(from, &claimed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(|()| Some(claimed.clone())).with_context(failed),
        }
    }

    /// Keeps what was claimed, with the reason.
    pub fn keep(&self, claimed: &Path, name: &OsStr, refusal: &Refusal) -> anyhow::Result<()> {
        let name = kept_name(name);
        let to = self.dir.join(&name);
        let reason = serde_json::to_vec_pretty(refusal).context("cannot write the reason as JSON")?;
        // The reason first: a file that lies there without one would say nothing.
        self.store.write(&format!("{name}{REASON_ENDING}"), &reason)?;
        remove_any(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        fs::rename(claimed, &to)
            .with_context(|| format!("cannot move {} to {}", claimed.display(), to.display()))?;
        self.trim()
    }

    /// Removes the oldest files beyond the bounds.
    fn trim(&self) -> anyhow::Result<()> {
        let mut files = Vec::new();
        for name in self.store.names()? {
            if name.ends_with(ENDING) {
                let path = self.dir.join(&name);
                let metadata = fs::symlink_metadata(&path)
                    .with_context(|| format!("cannot look at {}", path.display()))?;
                files.push((metadata.ctime(), metadata.ctime_nsec(), metadata.len(), name));
            }
        }
        files.sort();
        let mut n_bytes: u64 = files.iter().map(|(_, _, len, _)| len).sum();
        let mut n_files = files.len();
        for (_, _, len, name) in files {
            if n_files <= MAX_REJECTED && n_bytes <= MAX_REJECTED_BYTES {
                break;
            }
            let path = self.dir.join(&name);
            remove_any(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            self.store.remove(&format!("{name}{REASON_ENDING}"))?;
            n_files -= 1;
            n_bytes -= len;
        }
        Ok(())
    }
}

/// Under which name a file is kept: its own, unless that is no text or leaves no room for more.
fn kept_name(name: &OsStr) -> String {
    if let Some(name) = name.to_str().filter(|name| name.len() <= MAX_NAME_BYTES) {
        return name.to_owned();
    }
    let digest = Digest::of(name.as_encoded_bytes()).to_string();
    let mut kept = name.to_string_lossy().into_owned();
    kept.truncate(kept.floor_char_boundary(MAX_NAME_BYTES - 32));
    format!("{kept}-{}{ENDING}", &digest[..16])
}

/// Removes a file or a directory, if there is one.
pub fn remove_any(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn rejects() -> (tempfile::TempDir, Rejects) {
        let dir = tempfile::tempdir().unwrap();
        let rejects = Rejects::new(dir.path());
        rejects.make().unwrap();
        (dir, rejects)
    }

    fn reject(dir: &Path, rejects: &Rejects, name: &OsStr) {
        let path = dir.join("arrived");
        fs::write(&path, "x").unwrap();
        let claimed = rejects.claim(&path).unwrap().unwrap();
        rejects.keep(&claimed, name, &Refusal::conflict("no")).unwrap();
    }

    #[test]
    fn rejected_files_are_bounded() {
        let (dir, rejects) = rejects();
        for n in 0..MAX_REJECTED + 4 {
            reject(dir.path(), &rejects, OsStr::new(&format!("{n:03}.cordon")));
        }
        assert_eq!(fs::read_dir(&rejects.dir).unwrap().count(), 2 * MAX_REJECTED);
        assert!(!rejects.dir.join("000.cordon.reason.json").exists());
    }

    #[test]
    fn a_directory_that_was_removed_is_made_again() {
        let (dir, rejects) = rejects();
        fs::remove_dir_all(&rejects.dir).unwrap();
        reject(dir.path(), &rejects, OsStr::new("a.cordon"));
        assert!(rejects.dir.join("a.cordon.reason.json").exists());
        let metadata = fs::metadata(&rejects.dir).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o700);
        assert!(rejects.claim(&dir.path().join("gone")).unwrap().is_none());
    }

    #[test]
    fn a_name_without_room_for_the_reason_is_cut_and_stays_its_own() {
        let (dir, rejects) = rejects();
        let long = |last: &str| format!("{}{last}.cordon", "é".repeat(120));
        for name in [long("a"), long("b")] {
            reject(dir.path(), &rejects, OsStr::new(&name));
        }
        reject(dir.path(), &rejects, OsStr::from_bytes(b"\xff\xfe.cordon"));
        let names = rejects.store.names().unwrap();
        assert_eq!(names.len(), 6, "{names:?}");
        let of_kind = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
        assert_eq!((of_kind(ENDING), of_kind(REASON_ENDING)), (3, 3), "{names:?}");
    }
}
