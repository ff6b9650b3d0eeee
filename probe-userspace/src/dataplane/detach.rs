//! Taking everything out of the kernel without a daemon.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use probe_common::map_name;

use super::{
    DataplaneError, Detached,
    attach::{link_ifindex, remove_link},
    egress, pins, sys,
};

/// Removes links first, so that no packet meets a half-removed dataplane, then the entry program, so that no
/// later process takes up one whose maps are gone, then generations, then the shared maps, the program array
/// last: it loses its content with its last reference. One link that cannot be removed does not keep the others.
/// What sees packets leave goes after what judges them: an answer that is still judged is still known.
pub fn detach_all(pin_dir: &Path) -> Result<Detached, DataplaneError> {
    let root = pins::root(pin_dir);
    let mut detached = Detached::default();
    if !exists(&root)? {
        return Ok(detached);
    }
    // A daemon that runs must not put back what goes.
    let mark = root.join(pins::TAKING_AWAY);
    match fs::create_dir(&mark) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("making", &mark, &error));
        }
        _ => {}
    }
    let mut first_error = None;
    let links = root.join(pins::LINKS);
    if exists(&links)? {
        for link in list(&links)? {
            let ifname = sys::interface_name(link_ifindex(&link).unwrap_or(0));
            match remove_link(&link) {
                Ok(()) => {
                    detached.interfaces.extend(ifname);
                    detached.n_pins += 1;
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    let hooks = root.join(pins::EGRESS);
    if exists(&hooks)? {
        for hook in list(&hooks)? {
            let name = hook.file_name().unwrap_or_default().to_string_lossy();
            match egress::remove(&name, &hook) {
                Ok(()) => detached.n_pins += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }

    let is_entry = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(map_name::program::ENTRY))
    };
    let slots = root.join(map_name::SLOTS);
    let mut paths = list(&root)?;
    paths.retain(|path| *path != mark);
    paths.sort_by_key(|path| (!is_entry(path), !path.is_dir(), *path == slots));
    for path in paths {
        detached.n_pins += remove(&path)?;
    }
    fs::remove_dir(&mark).map_err(|error| failed("removing", &mark, &error))?;
    fs::remove_dir(&root).map_err(|error| failed("removing", &root, &error))?;
    // Made for a daemon of another user, the directory itself stays: its unit mounts it.
    let own = nix::unistd::geteuid().as_raw();
    if fs::metadata(pin_dir).is_ok_and(|metadata| metadata.uid() == own) {
        let _ = fs::remove_dir(pin_dir);
    }
    Ok(detached)
}

fn remove(path: &Path) -> Result<usize, DataplaneError> {
    let removed = if path.is_dir() {
        pins::remove_dir(path)
    } else {
        fs::remove_file(path).map(|()| 1)
    };
    removed.map_err(|error| failed("removing", path, &error))
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, DataplaneError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| failed("reading", directory, &error))
}

/// Only "not found" means that nothing is there; a directory that may not be read means nothing of the kind.
fn exists(path: &Path) -> Result<bool, DataplaneError> {
    path.try_exists().map_err(|error| failed("reading", path, &error))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> DataplaneError {
    DataplaneError::kernel(format!("{what} {}", path.display()), error)
}
