//! Whether what is in the kernel is still as this process left it, and putting it back.
//!
//! The daemon keeps a descriptor of everything it pins. So a pin that somebody removes takes nothing away while the
//! daemon lives, and it is made again from the descriptor; what is pinned is told apart by its inode.

use std::{
    collections::BTreeMap,
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use probe_common::limits::NO_SLOT;

use super::{
    Dataplane, DataplaneError, attach,
    pins::{EntryVariant, Pins},
    spec::SHARED_MAPS,
    sys,
};

/// Something in the kernel was not as this process left it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What, in a sentence without a full stop.
    pub what: String,
    /// It is as it was again.
    pub is_repaired: bool,
}

/// A pinned object that this process holds.
#[derive(Debug)]
struct Held {
    object: OwnedFd,
    inode: u64,
}

/// Everything that this process holds.
#[derive(Debug, Default)]
pub struct Holdings {
    objects: BTreeMap<PathBuf, Held>,
    links: BTreeMap<PathBuf, (Held, u32)>,
}

impl Holdings {
    /// Takes hold of the shared maps and the entry program.
    pub fn new(pins: &Pins, variant: EntryVariant) -> Result<Self, DataplaneError> {
        let mut paths: Vec<PathBuf> = SHARED_MAPS.iter().map(|spec| pins.map(spec.name)).collect();
        paths.push(pins.entry(variant));
        let objects = paths
            .into_iter()
            .map(|path| hold(&path).map(|held| (path, held)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            objects,
            links: BTreeMap::new(),
        })
    }
}

impl Dataplane {
    /// Whether somebody took everything away by `cordon detach`, or is about to.
    pub fn is_taken_away(&self) -> bool {
        self.pins.is_taken_away()
    }

    /// Whether the state page is not as this process left it: a few loads, for whoever is about to read it.
    pub fn is_state_changed(&self) -> bool {
        !self.shared.changed_fields().is_empty()
    }

    /// Compares what is in the kernel with what this process left there: pins, links and the programs they run, slots,
    /// the state page. With `repair` it is put back. What a `cordon detach` takes away is no change.
    pub fn inspect(&mut self, repair: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.is_taken_away() {
            return changes;
        }
        // The word first: it says which slots matter.
        for field in self.shared.changed_fields() {
            note(
                &mut changes,
                format!("{field} of the state page was changed"),
                repair,
                || {
                    self.shared.restore_fields();
                    Ok(())
                },
            );
        }
        for (path, held) in &mut self.holdings.objects {
            check_pin(&mut changes, path, held, repair);
        }
        self.hold_links();
        self.inspect_links(&mut changes, repair);
        self.inspect_slots(&mut changes, repair);
        changes
    }

    fn inspect_links(&mut self, changes: &mut Vec<Change>, repair: bool) {
        let entry_id = self.entry.info().map(|info| info.id()).ok();
        let is_callable = self.is_callable().unwrap_or(false);
        let mut has_other = Vec::new();
        for (path, (held, ifindex)) in &mut self.holdings.links {
            check_pin(changes, path, held, repair);
            // One that was detached is attached again by whoever attaches.
            let Ok(info) = sys::link_info(held.object.as_fd()) else {
                continue;
            };
            if info.ifindex != 0 && is_callable && entry_id.is_some_and(|id| id != info.prog_id) {
                has_other.push(*ifindex);
            }
        }
        for ifindex in has_other {
            let name = sys::interface_name(ifindex).unwrap_or_else(|| format!("if{ifindex}"));
            let what = format!("the link on {name} was given another program");
            note(changes, what, repair, || {
                attach::update_links(&self.pins, &mut self.entry)
            });
        }
    }

    fn inspect_slots(&mut self, changes: &mut Vec<Change>, repair: bool) {
        let word = self.shared.word();
        for slot in [word.active, word.previous] {
            let position = self.generations.iter().position(|(its, _)| *its == slot);
            let Some(idx) = position.filter(|_| slot != NO_SLOT) else {
                continue;
            };
            let (_, generation) = &self.generations[idx];
            let number = generation.meta.number;
            if !generation.dir.exists() {
                let what = format!(
                    "the pins of generation {number} were removed: it ends with the next boot or start"
                );
                note(changes, what, false, || Ok(()));
                continue;
            }
            let is_as_left = self
                .shared
                .slots_hold(slot, generation.program_id, generation.egress_id);
            if is_as_left.unwrap_or(true) {
                continue;
            }
            let what = format!("slot {slot} does not hold generation {number} any more");
            let (slot, generation) = self.generations.remove(idx);
            note(changes, what, repair, || self.fill_slot(slot, &generation));
            self.generations.insert(idx, (slot, generation));
        }
    }

    /// Takes hold of links that were made since, and lets go of those whose interface is gone, and of their pins.
    pub(super) fn hold_links(&mut self) {
        for (path, _) in self.pins.links() {
            if self.holdings.links.contains_key(&path) {
                continue;
            }
            let held = hold(&path).ok();
            let ifindex = attach::link_ifindex(&path).unwrap_or(0);
            if let Some(held) = held.filter(|_| ifindex != 0) {
                self.holdings.links.insert(path, (held, ifindex));
            }
        }
        self.holdings.links.retain(|path, (held, ifindex)| {
            let is_on = sys::link_info(held.object.as_fd()).is_ok_and(|info| info.ifindex != 0);
            if !is_on && sys::interface_name(*ifindex).is_none() {
                // Removed by itself at the next start, if not now.
                let _ = fs::remove_file(path);
            }
            is_on
        });
    }

    /// Lets go of the link of an interface.
    pub(super) fn let_go(&mut self, path: &Path) {
        self.holdings.links.remove(path);
    }
}

fn hold(path: &Path) -> Result<Held, DataplaneError> {
    let failed = |error| DataplaneError::kernel(format!("taking hold of {}", path.display()), &error);
    Ok(Held {
        object: sys::open_pin(path).map_err(failed)?,
        inode: fs::metadata(path).map_err(failed)?.ino(),
    })
}

fn check_pin(changes: &mut Vec<Change>, path: &Path, held: &mut Held, repair: bool) {
    let found = fs::metadata(path).ok().map(|metadata| metadata.ino());
    if found == Some(held.inode) {
        return;
    }
    let what = match found {
        Some(_) => format!("{} is another object", path.display()),
        None => format!("{} was removed", path.display()),
    };
    note(changes, what, repair, || {
        let failed = |error| DataplaneError::kernel(format!("pinning {}", path.display()), &error);
        if found.is_some() {
            fs::remove_file(path).map_err(failed)?;
        }
        sys::pin(held.object.as_fd(), path).map_err(failed)?;
        held.inode = fs::metadata(path).map_err(failed)?.ino();
        Ok(())
    });
}

fn note(
    changes: &mut Vec<Change>,
    what: String,
    repair: bool,
    put_back: impl FnOnce() -> Result<(), DataplaneError>,
) {
    let mut change = Change {
        what,
        is_repaired: false,
    };
    if repair {
        match put_back() {
            Ok(()) => change.is_repaired = true,
            Err(error) => change
                .what
                .push_str(&format!(", and cannot be put back: {error}")),
        }
    }
    changes.push(change);
}
