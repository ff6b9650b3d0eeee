//! The one reader of policy and host files: regular files only, of bounded size, UTF-8 text. Whatever path the
//! user names, reading ends.

use std::{
    fs::{File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::{
    daemon::Refusal,
    diagnostic::{Diagnostic, Place},
    policy::{self, limits::MAX_FILE_BYTES},
};

/// Why a file gave no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// There is no such file.
    pub is_missing: bool,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

impl Unreadable {
    /// The refusal of an input; `what` names it, such as "the policy".
    pub fn refusal(self, what: &str) -> Refusal {
        let (file, message) = (&self.diagnostic.place.file, &self.diagnostic.message);
        Refusal::input(
            format!("cannot read {what} {file}: {message}"),
            vec![self.diagnostic],
        )
    }
}

/// The text of a policy or host file.
pub fn read_text(path: &Path) -> Result<String, Unreadable> {
    let file = path.display().to_string();
    let bytes = read_bytes(path, MAX_FILE_BYTES)?;
    policy::decode(&file, &bytes).map_err(|diagnostic| Unreadable {
        is_missing: false,
        diagnostic,
    })
}

/// The bytes of a file up to one more than the limit, which says that there are too many.
pub fn read_bytes(path: &Path, max_bytes: usize) -> Result<Vec<u8>, Unreadable> {
    let opened = open_regular(path)?;
    read_bounded(opened, max_bytes).map_err(|error| unreadable(path, &error))
}

/// Opens a regular file: reading it ends, which that of a FIFO or a device need not.
pub fn open_regular(path: &Path) -> Result<File, Unreadable> {
    let failed = |error: io::Error| unreadable(path, &error);
    // Opening a FIFO without O_NONBLOCK waits for its writer.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Unreadable {
            is_missing: false,
            diagnostic: Diagnostic::error(
                Place::file(&path.display().to_string()),
                kind(metadata.file_type()),
                "this is not a regular file",
                "name a file on a disk; save first what comes from a pipe",
            ),
        });
    }
    Ok(opened)
}

fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    Unreadable {
        is_missing: error.kind() == io::ErrorKind::NotFound,
        diagnostic: Diagnostic::error(
            Place::file(&path.display().to_string()),
            "",
            error.to_string(),
            "",
        ),
    }
}

fn read_bounded(file: File, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "directory"
    } else if file_type.is_fifo() {
        "FIFO"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "device"
    } else {
        "special file"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_up_to_the_limit_is_read_without_its_byte_order_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, b"\xef\xbb\xbfversion = 1").unwrap();
        assert_eq!(read_text(&path).unwrap(), "version = 1");
        fs::write(&path, vec![b' '; MAX_FILE_BYTES]).unwrap();
        assert_eq!(read_text(&path).unwrap().len(), MAX_FILE_BYTES);
    }

    #[test]
    fn a_file_larger_than_memory_is_refused_by_its_first_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.toml");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let refused = read_text(&path).unwrap_err();
        assert_eq!(refused.diagnostic.message, "the file is too large");
    }

    #[test]
    fn only_an_absent_file_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_text(&dir.path().join("absent")).unwrap_err().is_missing);
        let refused = read_text(dir.path()).unwrap_err();
        assert!(!refused.is_missing);
        assert_eq!(
            refused.diagnostic.message, "this is not a regular file",
            "{refused:?}"
        );
    }
}
