//! The directory that bundles are moved into. What was taken is removed, what was rejected is kept aside with the reason.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{Refusal, store::Store};
use crate::{
    bundle::{
        Reason, Rejected,
        limits::{MAX_FILE_BYTES, MAX_PAYLOAD_BYTES},
    },
    diagnostic::Place,
};

const ENDING: &str = ".cordon";
const REASON_ENDING: &str = ".reason.json";
const REJECTED: &str = "rejected";

/// Most entries of the directory that are looked at; the rest waits.
const MAX_LOOKED_AT: usize = 1000;
/// Most rejected bundles that are kept, and most bytes of them.
const MAX_REJECTED: usize = 32;
const MAX_REJECTED_BYTES: u64 = 256 << 20;
/// How often a file may be found changed before it is rejected.
const MAX_CHANGES: u32 = 300;

/// What tells that a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    ino: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Option<Stamp>,
    n_changes: u32,
}

/// The directory.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    seen: BTreeMap<OsString, Seen>,
}

/// A file that is ready.
#[derive(Debug)]
pub struct Arrived {
    /// Its name.
    pub name: OsString,
    /// What it is called in remarks.
    pub file: String,
    /// Its bytes, unless it cannot be taken as it is.
    pub bytes: Result<Vec<u8>, Rejected>,
}

impl Incoming {
    /// The directory `incoming` in a state directory.
    pub fn new(state: &Path) -> Self {
        Self {
            dir: state.join("incoming"),
            seen: BTreeMap::new(),
        }
    }

    /// Makes the directories, for root alone; an operator may open the first one to a group.
    pub fn make(&self) -> anyhow::Result<()> {
        for dir in [self.dir.clone(), self.dir.join(REJECTED)] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(())
    }

    /// The files that have not changed since the last look, by name, with their bytes. One at a time: they are large.
    pub fn look(&mut self) -> anyhow::Result<Vec<OsString>> {
        self.check_dir()?;
        let entries =
            fs::read_dir(&self.dir).with_context(|| format!("cannot read {}", self.dir.display()))?;
        let mut seen = BTreeMap::new();
        let mut ready = Vec::new();
        for entry in entries.take(MAX_LOOKED_AT) {
            let name = entry
                .with_context(|| format!("cannot read {}", self.dir.display()))?
                .file_name();
            if !name.as_bytes().ends_with(ENDING.as_bytes()) || name.as_bytes().starts_with(b".") {
                continue;
            }
            let stamp = fs::symlink_metadata(self.dir.join(&name))
                .ok()
                .map(|meta| stamp(&meta));
            let before = self.seen.get(&name).copied();
            let is_same = before.is_some_and(|before| before.stamp == stamp);
            let n_changes = before.map_or(0, |before| before.n_changes + u32::from(!is_same));
            if is_same || n_changes > MAX_CHANGES {
                ready.push(name.clone());
            }
            seen.insert(name, Seen { stamp, n_changes });
        }
        // What is gone is forgotten.
        self.seen = seen;
        ready.sort();
        Ok(ready)
    }

    /// Reads a file. `None`: it changed under the eyes, or is gone: it is looked at again.
    pub fn read(&mut self, name: &OsStr) -> Option<Arrived> {
        let path = self.dir.join(name);
        let file = path.display().to_string();
        let rejected = |reason, message: &str, fix: &str| {
            Err(Rejected::new(reason, Place::file(&file), "", message, fix))
        };
        let bytes = match read_whole(&path) {
            Ok(Read::Whole(bytes)) => Ok(bytes),
            Ok(Read::NoFile) => rejected(
                Reason::Unreadable,
                "this is no regular file",
                "move a regular file there: neither links nor pipes are followed",
            ),
            Ok(Read::TooLarge) => rejected(
                Reason::TooLarge,
                &format!("a bundle is never larger than {} MiB", MAX_PAYLOAD_BYTES >> 20),
                "fetch it again",
            ),
            Ok(Read::Changed) => {
                let seen = self.seen.get_mut(name)?;
                seen.stamp = None;
                seen.n_changes += 1;
                if seen.n_changes <= MAX_CHANGES {
                    return None;
                }
                rejected(
                    Reason::Unreadable,
                    "the file never stays the same",
                    "write it elsewhere, then move it here",
                )
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => rejected(Reason::Unreadable, &error.to_string(), ""),
        };
        Some(Arrived {
            name: name.to_owned(),
            file,
            bytes,
        })
    }

    /// Removes a file that was taken.
    pub fn remove(&mut self, name: &OsStr) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        self.seen.remove(name);
        Ok(())
    }

    /// Puts a file aside, with the reason.
    pub fn reject(&mut self, name: &OsStr, refusal: &Refusal) -> anyhow::Result<()> {
        let rejected = Store::new(&self.dir.join(REJECTED));
        let (from, to) = (self.dir.join(name), self.dir.join(REJECTED).join(name));
        let reason = serde_json::to_vec_pretty(refusal).context("cannot write the reason as JSON")?;
        let reason_name = format!("{}{REASON_ENDING}", name.to_string_lossy());
        // The reason first: a file that lies there without one would say nothing.
        rejected.write(&reason_name, &reason)?;
        if fs::symlink_metadata(&to).is_ok_and(|there| there.is_dir()) {
            fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        fs::rename(&from, &to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
        self.seen.remove(name);
        self.trim_rejected()
    }

    /// Removes the oldest rejected files beyond the bounds.
    fn trim_rejected(&self) -> anyhow::Result<()> {
        let dir = self.dir.join(REJECTED);
        let failed = || format!("cannot read {}", dir.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            let name = entry.file_name();
            if name.as_bytes().ends_with(ENDING.as_bytes()) {
                let metadata = entry.metadata().with_context(failed)?;
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
            let path = dir.join(&name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
            Store::new(&dir).remove(&format!("{}{REASON_ENDING}", name.to_string_lossy()))?;
            n_files -= 1;
            n_bytes -= len;
        }
        Ok(())
    }

    /// Signatures say what is taken, not the directory; but one that everybody may write to is a mistake.
    fn check_dir(&self) -> anyhow::Result<()> {
        let metadata =
            fs::symlink_metadata(&self.dir).with_context(|| format!("cannot read {}", self.dir.display()))?;
        if !metadata.is_dir() {
            bail!("{} is no directory: move it away", self.dir.display());
        }
        if metadata.permissions().mode() & 0o002 != 0 {
            bail!(
                "{} can be written to by everybody, so nothing is taken from it: `chmod o-w` it",
                self.dir.display()
            );
        }
        Ok(())
    }
}

enum Read {
    Whole(Vec<u8>),
    NoFile,
    TooLarge,
    Changed,
}

fn read_whole(path: &Path) -> io::Result<Read> {
    // Opening a FIFO without O_NONBLOCK waits for its writer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path);
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Ok(Read::NoFile);
        }
        Err(error) => return Err(error),
    };
    let before = file.metadata()?;
    if !before.is_file() {
        return Ok(Read::NoFile);
    }
    if before.len() > MAX_FILE_BYTES as u64 {
        return Ok(Read::TooLarge);
    }
    let mut bytes = Vec::new();
    (&file).take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    match stamp(&before) == stamp(&after) && bytes.len() as u64 == after.len() {
        true => Ok(Read::Whole(bytes)),
        false => Ok(Read::Changed),
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        ino: metadata.ino(),
        len: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn incoming() -> (tempfile::TempDir, Incoming) {
        let dir = tempfile::tempdir().unwrap();
        let incoming = Incoming::new(dir.path());
        incoming.make().unwrap();
        (dir, incoming)
    }

    fn reason(arrived: &Arrived) -> Reason {
        arrived.bytes.as_ref().unwrap_err().reason
    }

    #[test]
    fn a_file_is_ready_once_it_stays_the_same() {
        let (_dir, mut incoming) = incoming();
        let path = incoming.dir.join("a.cordon");
        fs::write(&path, "one").unwrap();
        fs::write(incoming.dir.join(".hidden.cordon"), "").unwrap();
        fs::write(incoming.dir.join("notes.txt"), "").unwrap();
        assert!(incoming.look().unwrap().is_empty(), "seen for the first time");
        fs::write(&path, "one and two").unwrap();
        assert!(incoming.look().unwrap().is_empty(), "it grew");
        assert_eq!(incoming.look().unwrap(), ["a.cordon"]);
        let arrived = incoming.read(OsStr::new("a.cordon")).unwrap();
        assert_eq!(arrived.bytes.unwrap(), b"one and two");
        incoming.remove(OsStr::new("a.cordon")).unwrap();
        assert!(incoming.look().unwrap().is_empty());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let (dir, mut incoming) = incoming();
        let secret = dir.path().join("secret");
        fs::write(&secret, "precious").unwrap();
        symlink(&secret, incoming.dir.join("link.cordon")).unwrap();
        fs::create_dir(incoming.dir.join("dir.cordon")).unwrap();
        nix::unistd::mkfifo(&incoming.dir.join("pipe.cordon"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let huge = File::create(incoming.dir.join("huge.cordon")).unwrap();
        huge.set_len(1 << 40).unwrap();
        incoming.look().unwrap();
        let ready = incoming.look().unwrap();
        assert_eq!(ready, ["dir.cordon", "huge.cordon", "link.cordon", "pipe.cordon"]);
        for name in ready {
            let arrived = incoming.read(&name).unwrap();
            let expected = match name.as_bytes() {
                b"huge.cordon" => Reason::TooLarge,
                _ => Reason::Unreadable,
            };
            assert_eq!(reason(&arrived), expected, "{name:?}");
            incoming.reject(&name, &Refusal::conflict("no")).unwrap();
        }
        assert!(incoming.look().unwrap().is_empty(), "all of them were put aside");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "precious");
        let kept = incoming.dir.join("rejected/link.cordon.reason.json");
        assert!(fs::read_to_string(kept).unwrap().contains("\"error\": \"no\""));
    }

    #[test]
    fn rejected_files_are_bounded() {
        let (_dir, mut incoming) = incoming();
        for n in 0..MAX_REJECTED + 4 {
            let name = format!("{n:03}.cordon");
            fs::write(incoming.dir.join(&name), "x").unwrap();
            incoming
                .reject(OsStr::new(&name), &Refusal::conflict("no"))
                .unwrap();
        }
        let names = fs::read_dir(incoming.dir.join(REJECTED)).unwrap().count();
        assert_eq!(names, 2 * MAX_REJECTED);
        assert!(!incoming.dir.join("rejected/000.cordon.reason.json").exists());
    }

    #[test]
    fn a_directory_for_everybody_is_refused() {
        let (_dir, mut incoming) = incoming();
        fs::set_permissions(&incoming.dir, fs::Permissions::from_mode(0o733)).unwrap();
        let error = incoming.look().unwrap_err().to_string();
        assert!(error.contains("chmod o-w"), "{error}");
    }
}
