//! A directory with a bpffs of its own for each user of the harness. `/sys/fs/bpf` is never touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::small_disk;

/// Leftovers are recognised by this name, followed by the process id and the start time of their maker.
const NAME: &str = "cordon-lab";

/// A directory under the system's temporary directory with an empty bpffs mounted on `bpf` in it. Both go away
/// when it is dropped; if the process is killed first, the next one removes them.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory and mounts the bpffs, after removing what dead processes left.
    pub fn new() -> anyhow::Result<Self> {
        static N_MADE: AtomicU32 = AtomicU32::new(0);
        let parent = std::env::temp_dir();
        sweep(&parent);
        let me = std::process::id();
        let started = start_time(me).context("cannot read the start time of this process from /proc")?;
        let serial = N_MADE.fetch_add(1, Ordering::Relaxed);
        let scratch = Self {
            path: parent.join(format!("{NAME}-{me}-{started}-{serial}")),
        };
        let bpffs = scratch.bpffs();
        fs::create_dir_all(&bpffs).with_context(|| format!("cannot make {}", bpffs.display()))?;
        let nothing = None::<&str>;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), nothing)
            .with_context(|| format!("cannot mount a bpffs on {}: is this root?", bpffs.display()))?;
        // What is mounted here concerns no other mount namespace.
        mount(nothing, &bpffs, nothing, MsFlags::MS_PRIVATE, nothing)
            .with_context(|| format!("cannot make the mount {} private", bpffs.display()))?;
        Ok(scratch)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bpffs in it.
    pub fn bpffs(&self) -> PathBuf {
        self.path.join("bpf")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}

fn remove(scratch: &Path) -> io::Result<()> {
    for mounted in ["bpf", small_disk::DIR] {
        match umount2(&scratch.join(mounted), MntFlags::MNT_DETACH) {
            // Not mounted: its maker was killed before the mount, or another process sweeps as well.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the directories whose makers are dead.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_dead = name
            .to_str()
            .and_then(maker)
            .is_some_and(|(pid, started)| start_time(pid) != Some(started));
        if is_dead && let Err(error) = remove(&entry.path()) {
            eprintln!(
                "warning: cannot remove the leftover {}: {error}",
                entry.path().display()
            );
        }
    }
}

/// Process id and start time of the maker of a scratch directory, from its name.
fn maker(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(NAME)?.strip_prefix('-')?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Start time of a process in ticks since boot (field 22 of `/proc/PID/stat`): with the process id it names a
/// process even after the id was given to another one.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, field 2, stands in brackets and may hold spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maker_is_read_from_the_name_and_foreign_names_are_left_alone() {
        assert_eq!(maker("cordon-lab-12-345-0"), Some((12, 345)));
        assert_eq!(maker("cordon-lab-12"), None);
        assert_eq!(maker("cordon-labour-12-345-0"), None);
        assert_eq!(maker("somebody-else-12-345-0"), None);
    }

    #[test]
    fn this_process_has_a_start_time_and_a_process_id_that_cannot_exist_has_none() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }
}
