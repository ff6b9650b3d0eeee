//! Finds, opens and compiles the database: the only part of `geo` with IO.

use std::{
    fs::{self, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{GeoError, Location, embedded_database, read_database};
use crate::host::FieldChoice;

/// Largest file that is read: twice the largest city database.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Where [`GeoChoice::Auto`] looks, in this order: directory, and a word that the file's name must hold.
const USUAL_PLACES: [(&str, &str); 5] = [
    ("/var/lib/cordon/geoip", ""),
    ("/var/lib/GeoIP", "Country"),
    ("/var/lib/GeoIP", "City"),
    ("/usr/share/GeoIP", "Country"),
    ("/usr/share/GeoIP", "City"),
];

/// Which database to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeoChoice {
    /// This file.
    File(PathBuf),
    /// The first database in the usual places, else the embedded one.
    Auto,
    /// The embedded one.
    Embedded,
}

/// Loads and compiles the chosen database. A file that is found but cannot be used is an error, never a reason to
/// take another one: the policy in force was tested against that file.
pub fn load(choice: &GeoChoice, field: FieldChoice) -> Result<Location, GeoError> {
    load_below(Path::new("/"), choice, field)
}

/// As [`load`], with the usual places below `root`.
pub(super) fn load_below(root: &Path, choice: &GeoChoice, field: FieldChoice) -> Result<Location, GeoError> {
    let found = match choice {
        GeoChoice::File(path) => Some(path.clone()),
        GeoChoice::Auto => find_below(root),
        GeoChoice::Embedded => None,
    };
    match found {
        Some(path) => read_database(&path.display().to_string(), read_file(&path)?, field),
        None => read_database(super::EMBEDDED_NAME, embedded_database()?, field),
    }
}

/// The first database in the usual places, by name within each.
fn find_below(root: &Path) -> Option<PathBuf> {
    USUAL_PLACES.iter().find_map(|(dir, word)| {
        let dir = root.join(dir.trim_start_matches('/'));
        let names = fs::read_dir(&dir).ok()?.flatten().map(|entry| entry.file_name());
        let first = names
            .filter(|name| {
                let name = name.to_string_lossy();
                name.ends_with(".mmdb") && name.contains(word)
            })
            .min()?;
        Some(dir.join(first))
    })
}

/// Reads a whole file. Never blocks on a FIFO, never reads more than the limit.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, GeoError> {
    let name = || path.display().to_string();
    let failed = |error| GeoError::Read { path: name(), error };
    let unusable = |reason: String| GeoError::Content { path: name(), reason };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(unusable(
            "it is a directory: name the .mmdb file in it".to_owned(),
        ));
    }
    if !metadata.is_file() {
        return Err(unusable("it is a pipe or device: name a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let n_bytes = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if n_bytes as u64 > MAX_FILE_BYTES {
        return Err(unusable(format!(
            "it is larger than {} MiB: take a country database",
            MAX_FILE_BYTES >> 20
        )));
    }
    Ok(bytes)
}
