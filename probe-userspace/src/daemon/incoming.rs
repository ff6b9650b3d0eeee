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

use super::{
    Refusal,
    rejects::{Rejects, remove_any},
};
use crate::{
    bundle::{
        Reason, Rejected,
        limits::{MAX_FILE_BYTES, MAX_PAYLOAD_BYTES},
    },
    diagnostic::Place,
};

const ENDING: &str = ".cordon";

/// Most bundles that are looked at; the rest waits.
const MAX_LOOKED_AT: usize = 1000;
/// Most entries of the directory, whatever they are: reading their names takes time.
const MAX_ENTRIES: usize = 100_000;
/// How often a file may be found changed before it is rejected.
const MAX_CHANGES: u32 = 300;

/// What tells that a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    which: Which,
    changed: (i64, i64),
}

/// What tells a file and its content from another one, also after it was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    ino: u64,
    len: u64,
    modified: (i64, i64),
}

#[derive(Clone, Debug, Default)]
struct Seen {
    stamp: Option<Stamp>,
    n_changes: u32,
    /// It is not tried before this tick.
    after: u64,
    /// Why it could not be taken.
    problem: Option<String>,
}

/// The directory.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    rejects: Rejects,
    seen: BTreeMap<OsString, Seen>,
}

/// A file that is ready.
#[derive(Debug)]
pub struct Arrived {
    /// Its name.
    pub name: OsString,
    /// Which file had that name when it was read.
    pub which: Which,
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
            rejects: Rejects::new(state),
            seen: BTreeMap::new(),
        }
    }

    /// Makes the directories, for root alone; an operator may open this one to a group.
    pub fn make(&self) -> anyhow::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        self.rejects.make()
    }

    /// The files that have not changed since the last look and are due at this tick: those that were not tried yet first,
    /// by name.
    pub fn look(&mut self, now: u64) -> anyhow::Result<Vec<OsString>> {
        if fs::symlink_metadata(&self.dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            tracing::warn!("{} was removed: made again", self.dir.display());
            self.make()?;
        }
        self.check_dir()?;
        let failed = || format!("cannot read {}", self.dir.display());
        let mut seen = BTreeMap::new();
        let mut ready = Vec::new();
        for (idx, entry) in fs::read_dir(&self.dir).with_context(failed)?.enumerate() {
            if idx == MAX_ENTRIES {
                bail!(
                    "{} has more than {MAX_ENTRIES} entries: remove what is no bundle",
                    self.dir.display()
                );
            }
            let name = entry.with_context(failed)?.file_name();
            if !name.as_bytes().ends_with(ENDING.as_bytes())
                || name.as_bytes().starts_with(b".")
                || seen.len() == MAX_LOOKED_AT
            {
                continue;
            }
            let stamp = fs::symlink_metadata(self.dir.join(&name))
                .ok()
                .map(|meta| stamp(&meta));
            let before = self.seen.get(&name);
            let is_same = before.is_some_and(|before| before.stamp == stamp);
            let known = match before {
                Some(before) if is_same => before.clone(),
                _ => Seen {
                    stamp,
                    n_changes: before.map_or(0, |before| before.n_changes + 1),
                    ..Seen::default()
                },
            };
            if (is_same || known.n_changes > MAX_CHANGES) && known.after <= now {
                ready.push((known.after, name.clone()));
            }
            seen.insert(name, known);
        }
        // What is gone is forgotten.
        self.seen = seen;
        ready.sort();
        Ok(ready.into_iter().map(|(_, name)| name).collect())
    }

    /// Reads a file. `None`: it changed under the eyes, or is gone: it is looked at again.
    pub fn read(&mut self, name: &OsStr) -> Option<Arrived> {
        let path = self.dir.join(name);
        let file = path.display().to_string();
        let mut which = stamp(&fs::symlink_metadata(&path).ok()?).which;
        let rejected = |reason, message: &str, fix: &str| {
            Err(Rejected::new(reason, Place::file(&file), "", message, fix))
        };
        let bytes = match read_whole(&path) {
            Ok(Read::Whole(bytes, read)) => {
                which = read;
                Ok(bytes)
            }
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
            which,
            file,
            bytes,
        })
    }

    /// Removes a file that was taken. Another one that has its name by now stays.
    pub fn remove(&mut self, name: &OsStr, which: Which) -> anyhow::Result<()> {
        if let Some(claimed) = self.claim(name, which)? {
            remove_any(&claimed).with_context(|| format!("cannot remove {}", claimed.display()))?;
        }
        Ok(())
    }

    /// Puts a file aside, with the reason. Another one that has its name by now stays.
    pub fn reject(&mut self, name: &OsStr, which: Which, refusal: &Refusal) -> anyhow::Result<()> {
        match self.claim(name, which)? {
            Some(claimed) => self.rejects.keep(&claimed, name, refusal),
            None => Ok(()),
        }
    }

    /// A file that could not be taken is tried again from this tick on, or when it changes.
    pub fn postpone(&mut self, name: &OsStr, after: u64, problem: String) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.after = after;
            seen.problem = Some(problem);
        }
    }

    /// Why files that are there could not be taken.
    pub fn problem(&self) -> Option<String> {
        let mut problems = self.seen.values().filter_map(|seen| seen.problem.as_deref());
        let first = problems.next()?;
        Some(match problems.count() {
            0 => first.to_owned(),
            n => format!("{first} (and {n} more)"),
        })
    }

    /// Takes a file out of the directory. `None`: it is gone, or another one has its name, which is looked at anew.
    /// Moved first and looked at then: nobody else gets at it there.
    fn claim(&mut self, name: &OsStr, which: Which) -> anyhow::Result<Option<PathBuf>> {
        let path = self.dir.join(name);
        let failed = || format!("cannot take {} out of the directory", path.display());
        let Some(claimed) = self.rejects.claim(&path).with_context(failed)? else {
            return Ok(None);
        };
        self.seen.remove(name);
        let found = fs::symlink_metadata(&claimed).with_context(failed)?;
        if stamp(&found).which == which {
            return Ok(Some(claimed));
        }
        // Unless a third one has come: that is what its sender wants.
        let back = match found.is_dir() {
            true => fs::rename(&claimed, &path),
            false => fs::hard_link(&claimed, &path).and_then(|()| fs::remove_file(&claimed)),
        };
        match back {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).with_context(failed),
            _ => Ok(None),
        }
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
    Whole(Vec<u8>, Which),
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
        true => Ok(Read::Whole(bytes, stamp(&after).which)),
        false => Ok(Read::Changed),
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        which: Which {
            ino: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        },
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
        assert!(incoming.look(0).unwrap().is_empty(), "seen for the first time");
        fs::write(&path, "one and two").unwrap();
        assert!(incoming.look(0).unwrap().is_empty(), "it grew");
        assert_eq!(incoming.look(0).unwrap(), ["a.cordon"]);
        let arrived = incoming.read(OsStr::new("a.cordon")).unwrap();
        assert_eq!(arrived.bytes.unwrap(), b"one and two");
        incoming.remove(OsStr::new("a.cordon"), arrived.which).unwrap();
        assert!(incoming.look(0).unwrap().is_empty());
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
        incoming.look(0).unwrap();
        let ready = incoming.look(0).unwrap();
        assert_eq!(ready, ["dir.cordon", "huge.cordon", "link.cordon", "pipe.cordon"]);
        for name in ready {
            let arrived = incoming.read(&name).unwrap();
            let expected = match name.as_bytes() {
                b"huge.cordon" => Reason::TooLarge,
                _ => Reason::Unreadable,
            };
            assert_eq!(reason(&arrived), expected, "{name:?}");
            incoming
                .reject(&name, arrived.which, &Refusal::conflict("no"))
                .unwrap();
        }
        assert!(incoming.look(0).unwrap().is_empty(), "all of them were put aside");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "precious");
        let kept = dir.path().join("rejected/link.cordon.reason.json");
        assert!(fs::read_to_string(kept).unwrap().contains("\"error\": \"no\""));
    }

    /// A file that is ready, by its content.
    fn arrive(incoming: &mut Incoming, name: &str, content: &str) -> Arrived {
        fs::write(incoming.dir.join(name), content).unwrap();
        incoming.look(0).unwrap();
        incoming.look(0).unwrap();
        incoming.read(OsStr::new(name)).unwrap()
    }

    #[test]
    fn a_file_that_takes_the_name_meanwhile_stays() {
        let (dir, mut incoming) = incoming();
        for is_taken in [true, false] {
            let one = arrive(&mut incoming, "a.cordon", "rev 7");
            let two = dir.path().join("two");
            fs::write(&two, "rev 8").unwrap();
            fs::rename(&two, incoming.dir.join("a.cordon")).unwrap();
            match is_taken {
                true => incoming.remove(&one.name, one.which).unwrap(),
                false => incoming
                    .reject(&one.name, one.which, &Refusal::conflict("no"))
                    .unwrap(),
            }
            assert!(incoming.look(0).unwrap().is_empty(), "it is a new one");
            assert_eq!(incoming.look(0).unwrap(), ["a.cordon"]);
            let arrived = incoming.read(OsStr::new("a.cordon")).unwrap();
            assert_eq!(arrived.bytes.unwrap(), b"rev 8");
            incoming.remove(OsStr::new("a.cordon"), arrived.which).unwrap();
            assert!(incoming.look(0).unwrap().is_empty());
            let left: Vec<_> = fs::read_dir(dir.path().join("rejected")).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_taken_lets_the_others_by_until_it_is_due_or_changed() {
        let (_dir, mut incoming) = incoming();
        arrive(&mut incoming, "a.cordon", "a");
        arrive(&mut incoming, "b.cordon", "b");
        incoming.postpone(OsStr::new("a.cordon"), 30, "no room".to_owned());
        assert_eq!(incoming.look(29).unwrap(), ["b.cordon"]);
        assert_eq!(incoming.problem().unwrap(), "no room");
        assert_eq!(
            incoming.look(30).unwrap(),
            ["b.cordon", "a.cordon"],
            "first what was never tried"
        );
        fs::write(incoming.dir.join("a.cordon"), "another").unwrap();
        incoming.look(1).unwrap();
        assert_eq!(incoming.look(1).unwrap(), ["a.cordon", "b.cordon"]);
        assert_eq!(incoming.problem(), None);
    }

    #[test]
    fn other_files_by_the_thousand_hide_no_bundle() {
        let (_dir, mut incoming) = incoming();
        for n in 0..3 * MAX_LOOKED_AT {
            fs::write(incoming.dir.join(format!("{n}.txt")), "").unwrap();
        }
        arrive(&mut incoming, "a.cordon", "a");
        assert_eq!(incoming.look(0).unwrap(), ["a.cordon"]);
    }

    /// A member of the group that may write there puts a link in place of what cordon would use.
    #[test]
    fn nothing_is_put_where_a_link_leads() {
        let (dir, mut incoming) = incoming();
        let precious = dir.path().join("bundles");
        fs::create_dir(&precious).unwrap();
        symlink(&precious, incoming.dir.join("rejected")).unwrap();
        let bad = arrive(&mut incoming, "a.cordon", "bad");
        incoming
            .reject(&bad.name, bad.which, &Refusal::conflict("no"))
            .unwrap();
        assert_eq!(fs::read_dir(&precious).unwrap().count(), 0);
        assert!(dir.path().join("rejected/a.cordon.reason.json").exists());
    }

    #[test]
    fn a_directory_for_everybody_is_refused() {
        let (_dir, mut incoming) = incoming();
        fs::set_permissions(&incoming.dir, fs::Permissions::from_mode(0o733)).unwrap();
        let error = incoming.look(0).unwrap_err().to_string();
        assert!(error.contains("chmod o-w"), "{error}");
    }
}
