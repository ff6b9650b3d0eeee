//! Taking everything out of the kernel without a daemon.

use std::{fs, io, path::Path};

use super::{
    DataplaneError, Detached,
    attach::{link_ifindex, remove_link},
    pins, sys,
};

/// Removes links first, so that no packet meets a half-removed dataplane, then generations, then the shared
/// maps, the program array last: it loses its content with its last reference.
pub fn detach_all(pin_dir: &Path) -> Result<Detached, DataplaneError> {
    let root = pins::root(pin_dir);
    let failed = |path: &Path, error: &io::Error| {
        DataplaneError::kernel(format!("removing {}", path.display()), error)
    };
    let mut detached = Detached::default();
    for (path, _) in pins::links(&root) {
        if let Some(ifname) = sys::interface_name(link_ifindex(&path).unwrap_or(0)) {
            detached.interfaces.push(ifname);
        }
        remove_link(&path)?;
        detached.n_pins += 1;
    }
    for (_, path) in pins::generations(&root) {
        detached.n_pins += pins::remove_dir(&path).map_err(|error| failed(&path, &error))?;
    }
    let links = root.join("links");
    if links.exists() {
        detached.n_pins += pins::remove_dir(&links).map_err(|error| failed(&links, &error))?;
    }
    let slots = root.join(probe_common::map_name::SLOTS);
    if root.exists() {
        for entry in fs::read_dir(&root)
            .map_err(|error| failed(&root, &error))?
            .flatten()
        {
            if entry.path() != slots {
                fs::remove_file(entry.path()).map_err(|error| failed(&entry.path(), &error))?;
                detached.n_pins += 1;
            }
        }
        detached.n_pins += pins::remove_dir(&root).map_err(|error| failed(&root, &error))?;
    }
    // The directory itself may have been made by systemd or the administrator.
    let _ = fs::remove_dir(pin_dir);
    Ok(detached)
}
