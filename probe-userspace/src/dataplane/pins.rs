//! Where things are pinned. `v1` is the layout version ([`probe_common::ABI_VERSION`]).
//!
//! ```text
//! <pin_dir>/v1/STATE, SLOTS, FAILSAFE_V4, ...   shared maps
//! <pin_dir>/v1/cordon_entry_drop                entry program, by what is compiled into it
//! <pin_dir>/v1/links/if<ifindex>-<mode>         links of the entry program
//! <pin_dir>/v1/egress/if<ifindex>-tcx           links of the egress program
//! <pin_dir>/v1/egress/if<ifindex>-clsact-<prio> a directory that says: there is a filter of this priority
//! <pin_dir>/v1/xdp_devmap_xmit, ..              links of the programs that count what redirects lose
//! <pin_dir>/v1/taking-away                      a directory that says: `cordon detach` is at work
//! <pin_dir>/v1/gen-<number>/                    a generation's maps and programs
//! ```

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use probe_common::{ABI_VERSION, map_name::program};

use super::{DataplaneError, Mode, sys};

/// Directory of the entry program's links.
pub const LINKS: &str = "links";
/// Directory of what the egress program is attached by.
pub const EGRESS: &str = "egress";

/// A directory that says that everything is being taken away.
pub const TAKING_AWAY: &str = "taking-away";

/// What is compiled into an entry program, and part of its pin's name: two programs that differ in nothing else
/// have the same tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryVariant {
    /// It passes packets if no generation can be called.
    pub no_generation_pass: bool,
    /// It asks which VLANs of an interface are judged.
    pub vlan_filter: bool,
}

/// The pin directory, locked while the value lives.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    _lock: File,
    /// Keeps a bpffs of one's own alive.
    private: Option<OwnedFd>,
}

impl Pins {
    /// Makes and locks the directory; `None`: on a bpffs of its own, which ends with the process.
    pub fn open(pin_dir: Option<&Path>) -> Result<Self, DataplaneError> {
        let (private, pin_dir) = match pin_dir {
            Some(pin_dir) => (None, pin_dir.to_owned()),
            None => {
                let (mount, path) = sys::private_bpffs()
                    .map_err(|error| DataplaneError::kernel("mounting a private bpffs", &error))?;
                (Some(mount), path)
            }
        };
        let failed = |path: &Path, error: &io::Error| {
            DataplaneError::kernel(format!("making {}", path.display()), error)
        };
        let root = root(&pin_dir);
        // Asked of the nearest directory that exists, so that nothing is made on another filesystem.
        let existing = root
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(Path::new("/"));
        let directory = File::open(existing).map_err(|error| failed(existing, &error))?;
        if !sys::is_bpffs(&directory).map_err(|error| failed(existing, &error))? {
            return Err(DataplaneError::NoBpffs { path: pin_dir });
        }
        for path in [&root, &root.join(LINKS), &root.join(EGRESS)] {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| failed(path, &error))?;
        }
        let lock = File::open(&root).map_err(|error| failed(&root, &error))?;
        match lock.try_lock() {
            Ok(()) => {
                // Of a detach that did not get to its end.
                let _ = fs::remove_dir(root.join(TAKING_AWAY));
                Ok(Self {
                    root,
                    _lock: lock,
                    private,
                })
            }
            Err(fs::TryLockError::WouldBlock) => Err(DataplaneError::InUse { path: root }),
            Err(fs::TryLockError::Error(error)) => Err(failed(&root, &error)),
        }
    }

    /// Whether no other process can reach the pins, so that they end with this one.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// The directory of the shared maps.
    pub fn dir(&self) -> &Path {
        &self.root
    }

    /// Whether everything was taken away, or is about to be.
    pub fn is_taken_away(&self) -> bool {
        !self.root.join(LINKS).exists() || self.root.join(TAKING_AWAY).exists()
    }

    /// A shared map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The entry program.
    pub fn entry(&self, variant: EntryVariant) -> PathBuf {
        let answer = if variant.no_generation_pass {
            "pass"
        } else {
            "drop"
        };
        let vlans = if variant.vlan_filter { "_vlans" } else { "" };
        self.root.join(format!("{}_{answer}{vlans}", program::ENTRY))
    }

    /// Entry programs of other variants.
    pub fn other_entries(&self, variant: EntryVariant) -> Vec<PathBuf> {
        let own = self.entry(variant);
        entries(&self.root)
            .into_iter()
            .filter(|(name, path)| name.starts_with(program::ENTRY) && *path != own)
            .map(|(_, path)| path)
            .collect()
    }

    /// Where the egress program's links and marks are.
    pub fn egress(&self) -> PathBuf {
        self.root.join(EGRESS)
    }

    /// What is in [`Self::egress`]: name and path.
    pub fn egress_entries(&self) -> Vec<(String, PathBuf)> {
        entries(&self.egress())
    }

    /// The link of a program on a tracepoint.
    pub fn tracepoint(&self, tracepoint: &str) -> PathBuf {
        self.root.join(tracepoint)
    }

    /// A link.
    pub fn link(&self, ifindex: u32, mode: Mode) -> PathBuf {
        self.root.join(LINKS).join(format!("if{ifindex}-{}", mode.name()))
    }

    /// All pinned links, with the mode they were made in.
    pub fn links(&self) -> Vec<(PathBuf, Mode)> {
        links(&self.root)
    }

    /// A generation's directory.
    pub fn generation(&self, number: u32) -> PathBuf {
        self.root.join(format!("gen-{number}"))
    }

    /// All generation directories, by number.
    pub fn generations(&self) -> Vec<(u32, PathBuf)> {
        generations(&self.root)
    }
}

/// Where everything of this layout version lives.
pub fn root(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("v{ABI_VERSION}"))
}

/// The links under a root.
pub fn links(root: &Path) -> Vec<(PathBuf, Mode)> {
    entries(&root.join(LINKS))
        .into_iter()
        .filter_map(|(name, path)| Some((path, Mode::from_name(name.rsplit_once('-')?.1)?)))
        .collect()
}

/// The generation directories under a root, by number.
pub fn generations(root: &Path) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<_> = entries(root)
        .into_iter()
        .filter_map(|(name, path)| Some((name.strip_prefix("gen-")?.parse().ok()?, path)))
        .collect();
    found.sort_unstable();
    found
}

/// Removes a directory of pins, if it is there.
pub fn remove_dir(path: &Path) -> io::Result<usize> {
    let mut n_removed = 0;
    if !path.try_exists()? {
        return Ok(n_removed);
    }
    for (_, pin) in entries(path) {
        if pin.is_dir() {
            fs::remove_dir(pin)?;
        } else {
            fs::remove_file(pin)?;
        }
        n_removed += 1;
    }
    fs::remove_dir(path)?;
    Ok(n_removed)
}

fn entries(path: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}
