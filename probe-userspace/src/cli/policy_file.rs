//! A policy file and the lists beside it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    bundle::is_plain_name,
    daemon::{Refusal, api::MAX_LISTS_BYTES},
    diagnostic::{Diagnostic, Place},
    input,
    policy::{self, limits::MAX_FILE_BYTES},
};

/// What was read.
pub(super) struct PolicyFile {
    /// The file as the user named it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The lists that it names, from `lists/NAME.txt` beside it.
    pub lists: BTreeMap<String, String>,
}

impl PolicyFile {
    /// Reads a policy file and the lists that it names. A list that is not there is left out: whoever reads the policy
    /// says so, with the place of its name.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let text = input::read_text(path).map_err(|error| error.refusal("the policy"))?;
        let dir = path
            .parent()
            .map_or_else(PathBuf::new, Path::to_owned)
            .join("lists");
        let mut lists = BTreeMap::new();
        let mut n_bytes = 0;
        for name in policy::named_lists(&text) {
            // No name is a path.
            if !is_plain_name(&name) {
                continue;
            }
            let path = dir.join(format!("{name}.txt"));
            let list = match input::read_bytes(&path, MAX_LISTS_BYTES) {
                Ok(bytes) => list_text(&path, bytes)?,
                Err(error) if error.is_missing => continue,
                Err(error) => return Err(error.refusal("the list")),
            };
            n_bytes += list.len();
            if n_bytes > MAX_LISTS_BYTES {
                return Err(Refusal::input(
                    format!(
                        "the lists of {} come to more than {} MiB: aggregate adjacent prefixes, or send a bundle",
                        path.display(),
                        MAX_LISTS_BYTES >> 20
                    ),
                    Vec::new(),
                ));
            }
            lists.insert(name, list);
        }
        Ok(Self {
            file: path.display().to_string(),
            text,
            lists,
        })
    }
}

fn list_text(path: &Path, bytes: Vec<u8>) -> Result<String, Refusal> {
    let file = path.display().to_string();
    String::from_utf8(bytes).map_err(|error| {
        let message = format!(
            "the file is not UTF-8 text (byte {})",
            error.utf8_error().valid_up_to()
        );
        let remark = Diagnostic::error(Place::file(&file), "", message, "save it as UTF-8");
        Refusal::input(format!("cannot read the list {file}"), vec![remark])
    })
}

const _: () = assert!(
    MAX_LISTS_BYTES > MAX_FILE_BYTES,
    "a list may be larger than a policy"
);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POLICY: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n\
        [[allow]]\nlist = \"office\"\nreason = \"r\"\n[[deny]]\nlist = \"../secret\"\nreason = \"r\"\n";

    #[test]
    fn the_lists_that_a_policy_names_come_with_it_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.toml");
        fs::write(&path, POLICY).unwrap();
        fs::write(dir.path().join("secret.txt"), "precious").unwrap();
        assert!(
            PolicyFile::read(&path).unwrap().lists.is_empty(),
            "there are none"
        );
        fs::create_dir(dir.path().join("lists")).unwrap();
        fs::write(dir.path().join("lists/office.txt"), "203.0.113.0/24\n").unwrap();
        fs::write(dir.path().join("lists/other.txt"), "198.51.100.0/24\n").unwrap();
        let read = PolicyFile::read(&path).unwrap();
        assert_eq!(read.lists.len(), 1, "{:?}", read.lists);
        assert_eq!(read.lists["office"], "203.0.113.0/24\n");
    }
}
