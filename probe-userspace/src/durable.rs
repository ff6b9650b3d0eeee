//! Files that survive a power loss at any instant: the old content or the new one, never half of it.
//!
//! What is written goes to a temporary file beside its place, is synced, takes the name at once, and the directory is
//! synced. A writer that dies leaves its temporary file; [`remove_leftovers`] takes it away.
//!
//! What root makes in somebody else's directory belongs to them: the daemon runs as a user of its own, and must be able
//! to read and replace what a verb of the command line wrote there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Ending of temporary files; their names begin with a dot.
const TEMPORARY: &str = ".new";
const ROOT: u32 = 0;
/// So many leftovers with the next free name are passed over.
const MAX_ATTEMPTS: usize = 100;

/// What to do with a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Put the new one in its place.
    Replace,
}

/// Writes a file at once or not at all. `mode` is that of a new file; the one that is replaced lends nothing.
pub fn write(path: &Path, content: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let (temporary, mut file) = temporary(path, mode)?;
    let mut try_write = || -> io::Result<()> {
        file.write_all(content)?;
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path),
            Existing::Keep => fs::hard_link(&temporary, path).and_then(|()| fs::remove_file(&temporary)),
        }
    };
    if let Err(error) = try_write() {
        // It may have its name already: then there is nothing to take away.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_dir(parent(path))
}

/// Renames a file; what had the name is replaced. After a power loss the file may have both names, but never none.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    Ok(())
}

/// Removes a file; says whether there was one.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory and those above it, unless it is there.
pub fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => {
            give_to_owner_of(parent(dir), &File::open(dir)?)?;
            sync_dir(parent(dir))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.parent().is_some() => {
            make_dir(parent(dir), mode)?;
            make_dir(dir, mode)
        }
        Err(_) if dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes sure that the names in a directory survive.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes the temporary files of writers that died, and says how many there were. A directory that is not there has
/// none. Files that are being written now stay: their writers hold a lock on them.
pub fn remove_leftovers(dir: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut n_removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with('.') && name.ends_with(TEMPORARY)) || entry.file_type()?.is_dir() {
            continue;
        }
        // What cannot be opened without following a link, or waiting, was not made here, and is not needed here.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(entry.path());
        if opened.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => n_removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if n_removed > 0 {
        sync_dir(dir)?;
    }
    Ok(n_removed)
}

/// A new file beside `path`, locked for as long as it is open.
fn temporary(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    static N_WRITTEN: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is not the name of a file"))?;
    let name = name.to_string_lossy();
    let mut last_error = None;
    for _ in 0..MAX_ATTEMPTS {
        let number = N_WRITTEN.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{name}.{}-{number}{TEMPORARY}", process::id()));
        // Never through a link that somebody planted: `create_new` makes a file or fails.
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary);
        match opened {
            Ok(file) => {
                give_to_owner_of(parent(path), &file)?;
                // Where there are no locks a leftover may be taken for one too early, which fails this write.
                drop(file.try_lock());
                return Ok((temporary, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last_error = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last_error.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
}

/// If root made it. By its descriptor: a name may lead elsewhere by now.
fn give_to_owner_of(dir: &Path, made: &File) -> io::Result<()> {
    let owner = fs::metadata(dir)?;
    if owner.uid() == ROOT || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_or_kept_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write(&path, b"one", 0o600, Existing::Keep).unwrap();
        write(&path, b"two", 0o640, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let error = write(&path, b"three", 0o600, Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["state"]);
    }

    #[test]
    fn what_root_makes_in_a_users_directory_is_the_users() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not root: nothing to give away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(7), Some(8)).unwrap();
        let owner = |path: &Path| path.metadata().map(|it| (it.uid(), it.gid())).unwrap();
        write(&dir.path().join("state"), b"one", 0o600, Existing::Keep).unwrap();
        make_dir(&dir.path().join("keys"), 0o750).unwrap();
        write(&dir.path().join("keys/alice.pub"), b"one", 0o644, Existing::Keep).unwrap();
        for name in ["state", "keys", "keys/alice.pub"] {
            assert_eq!(owner(&dir.path().join(name)), (7, 8), "{name}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"one", 0o600, Existing::Replace).is_err());
        assert_eq!(names(dir.path()), ["taken"]);
        assert!(write(Path::new("/"), b"one", 0o600, Existing::Replace).is_err());
    }

    #[test]
    fn a_link_with_the_name_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, path) = (dir.path().join("target"), dir.path().join("state"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &path).unwrap();
        write(&path, b"one", 0o600, Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn leftovers_go_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::write(dir.path().join(".state.7-0.new"), "half").unwrap();
        fs::write(dir.path().join(".state.new"), "of an earlier version").unwrap();
        fs::write(dir.path().join("bundle.new"), "somebody's").unwrap();
        symlink("/etc/passwd", dir.path().join(".link.new")).unwrap();
        let (in_use, _file) = temporary(&path, 0o600).unwrap();
        assert_eq!(remove_leftovers(dir.path()).unwrap(), 3);
        let in_use = in_use.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(names(dir.path()), [in_use.as_str(), "bundle.new"]);
        assert_eq!(remove_leftovers(&dir.path().join("absent")).unwrap(), 0);
    }

    #[test]
    fn names_left_by_a_process_of_the_same_number_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let (first, _file) = temporary(&path, 0o600).unwrap();
        let (second, _file) = temporary(&path, 0o600).unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn directories_are_made_with_those_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        make_dir(&deep, 0o750).unwrap();
        make_dir(&deep, 0o750).unwrap();
        assert!(deep.is_dir());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir(&dir.path().join("file"), 0o750).is_err());
        assert!(!remove(&deep.join("absent")).unwrap());
    }
}
