//! Broken databases: each gives the error that stands beside it, and no table.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cordon::{
    geo::{GeoChoice, load},
    host::FieldChoice,
};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("broken/database")
}

/// The error for a file, with the path as seen from the directory above.
fn error(path: &Path) -> String {
    let above = path.parent().and_then(Path::parent).unwrap();
    match load(&GeoChoice::File(path.to_owned()), FieldChoice::CountryFirst) {
        Ok(location) => panic!("{} was read: {:?}", path.display(), location.source),
        Err(error) => error.to_string().replace(&format!("{}/", above.display()), ""),
    }
}

#[test]
fn every_broken_database_gives_its_error() {
    let mut names: Vec<PathBuf> = fs::read_dir(dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mmdb"))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "{names:?}");
    let mut differences = String::new();
    for path in names {
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        let got = error(&path);
        if got != expected.trim_end() {
            differences += &format!("{}\n  expected: {expected}\n  got:      {got}\n", path.display());
        }
        assert!(!got.ends_with('.'), "no final full stop: {got}");
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_missing_file_is_named() {
    let error = error(&dir().join("missing.mmdb"));
    assert_eq!(
        error,
        "cannot read the database database/missing.mmdb: No such file or directory (os error 2)"
    );
}

/// Opening a FIFO without a writer would wait for ever.
#[test]
fn a_fifo_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo.mmdb");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = error(&path);
    assert!(
        error.ends_with("/fifo.mmdb is not a usable MaxMind DB: it is a pipe or device: name a regular file"),
        "{error}"
    );
}
