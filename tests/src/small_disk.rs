//! A disk that can be filled: a tmpfs of a few pages in the directory of a [`Scratch`](crate::scratch::Scratch).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Where it is mounted in a scratch directory, which unmounts it if this process is killed.
pub const DIR: &str = "disk";

/// A mounted tmpfs. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many KiB in a scratch directory.
    pub fn new(scratch: &Path, kib: u32) -> anyhow::Result<Self> {
        let path = scratch.join(DIR);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let options = format!("size={kib}k,mode=0750");
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("cannot mount a tmpfs on {}: is this root?", path.display()))?;
        let nothing = None::<&str>;
        mount(nothing, &path, nothing, MsFlags::MS_PRIVATE, nothing)
            .with_context(|| format!("cannot make the mount {} private", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes until no page is left. What a file has left of its last page it can still use.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::create(self.filler()).context("cannot make the file that fills the disk")?;
        loop {
            match file.write_all(&[0; 1024]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("the disk fails, but not because it is full"),
            }
        }
    }

    /// Makes room again.
    pub fn make_room(&self) -> anyhow::Result<()> {
        // Emptied first: a process that another test is about to start may still hold the file open.
        let emptied = fs::write(self.filler(), "");
        emptied
            .and_then(|()| fs::remove_file(self.filler()))
            .context("cannot remove the file that fills the disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("warning: cannot unmount {}: {error}", self.path.display());
        }
    }
}
