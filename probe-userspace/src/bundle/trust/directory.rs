//! The directory of trusted keys: `*.pub` files and `trust.toml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{KeyFile, Restriction, Revocation, Rules, Trust, Verb};
use crate::{
    bundle::{
        key::{KeyId, PublicKey},
        limits::{MAX_KEY_FILE_BYTES, MAX_KEYS},
    },
    daemon::Refusal,
    diagnostic::{Diagnostic, Place},
    durable::{self, Existing},
    input,
    instant::Instant,
};

/// Name of the file with the rules.
pub const RULES_FILE: &str = "trust.toml";

/// A directory of trusted keys. One that is not there holds none.
#[derive(Clone, Debug)]
pub struct TrustDirectory {
    dir: PathBuf,
}

impl TrustDirectory {
    /// A directory, which is made when first written to.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Reads keys and rules. One file that cannot be read refuses all: a key that is missing by mistake could be the one
    /// that makes a threshold hold.
    pub fn read(&self) -> Result<Trust, Refusal> {
        let mut remarks = Vec::new();
        let mut keys = Vec::new();
        for path in self.key_paths()? {
            match read_key(&path) {
                Ok(key) => keys.push(key),
                Err(remark) => remarks.push(remark),
            }
        }
        let rules = self.rules(&mut remarks);
        if remarks.is_empty() {
            match Trust::new(keys, rules) {
                Ok(trust) => return Ok(trust),
                Err(found) => remarks = found,
            }
        }
        let dir = self.dir.display();
        Err(Refusal::input(
            format!("the trusted keys in {dir} cannot be used"),
            remarks,
        ))
    }

    /// Trusts a key, for some verbs or for all.
    pub fn trust(&self, key: &PublicKey, verbs: Option<&[Verb]>) -> Result<PathBuf, Refusal> {
        let trust = self.read()?;
        if let Some(revocation) =
            trust.rules().revocations.iter().find(|revocation| {
                revocation.key.material() == key.material() || revocation.key.id() == key.id()
            })
        {
            return Err(Refusal::conflict(format!(
                "the key {} was revoked on {}: {}. Make a new one with `cordon key new`",
                key.id(),
                revocation.at,
                revocation.reason
            )));
        }
        let path = self.dir.join(format!("{}.pub", key.id()));
        let mut keys = trust.keys().to_vec();
        let known = keys
            .iter()
            .find(|file| file.key == *key)
            .map(|file| PathBuf::from(&file.file));
        if known.is_none() {
            keys.push(KeyFile {
                file: path.display().to_string(),
                key: key.clone(),
            });
        }
        let mut rules = trust.rules().clone();
        rules
            .restrictions
            .retain(|restriction| restriction.id != key.id());
        if let Some(verbs) = verbs {
            rules.restrictions.push(Restriction {
                id: key.id(),
                verbs: verbs.to_vec(),
            });
        }
        // The key would be refused at the next reading: say so now.
        let trust = Trust::new(keys, rules).map_err(|remarks| {
            Refusal::input(
                format!("the key {} cannot be trusted beside the others", key.id()),
                remarks,
            )
        })?;
        // What restricts a key is written before the key: a crash between the two gives it nothing.
        self.write_rules(trust.rules())?;
        match known {
            Some(path) => Ok(path),
            None => {
                self.write(&path, &key.to_file_text())?;
                Ok(path)
            }
        }
    }

    /// Sets how many keys must sign for a verb.
    pub fn set_threshold(&self, verb: Verb, n_keys: usize) -> Result<(), Refusal> {
        let mut rules = self.read()?.rules;
        rules.thresholds.insert(verb, n_keys);
        self.write_rules(&rules)
    }

    /// Revokes a key that is trusted here.
    pub fn revoke(&self, id: KeyId, reason: &str, now: Instant) -> Result<PublicKey, Refusal> {
        let trust = self.read()?;
        let Some(file) = trust.keys().iter().find(|file| file.key.id() == id) else {
            return Err(Refusal::conflict(format!(
                "the key {id} is not trusted here: look at `cordon key list`"
            )));
        };
        let key = file.key.clone();
        let mut rules = trust.rules().clone();
        rules.restrictions.retain(|restriction| restriction.id != id);
        if !rules.is_revoked(&key) {
            rules.revocations.push(Revocation {
                key: key.clone(),
                at: now,
                reason: reason.to_owned(),
            });
        }
        self.write_rules(&rules)?;
        let path = PathBuf::from(&file.file);
        durable::remove(&path).map_err(|error| failed("remove", &path, &error))?;
        Ok(key)
    }

    fn key_paths(&self) -> Result<Vec<PathBuf>, Refusal> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.dir, &error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed("read", &self.dir, &error))?.path();
            let is_hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.extension().is_some_and(|extension| extension == "pub") && !is_hidden {
                paths.push(path);
            }
        }
        if paths.len() > MAX_KEYS {
            return Err(Refusal::conflict(format!(
                "{} holds more than {MAX_KEYS} keys: remove some",
                self.dir.display()
            )));
        }
        paths.sort();
        Ok(paths)
    }

    fn rules(&self, remarks: &mut Vec<Diagnostic>) -> Rules {
        let path = self.dir.join(RULES_FILE);
        match input::read_text(&path) {
            Ok(text) => {
                let (rules, found) = Rules::read(&path.display().to_string(), &text);
                remarks.extend(found);
                rules.unwrap_or_default()
            }
            Err(error) if error.is_missing => Rules::default(),
            Err(error) => {
                remarks.push(error.diagnostic);
                Rules::default()
            }
        }
    }

    fn write_rules(&self, rules: &Rules) -> Result<(), Refusal> {
        self.write(&self.dir.join(RULES_FILE), &rules.to_text())
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Refusal> {
        durable::make_dir(&self.dir, 0o755).map_err(|error| failed("make", &self.dir, &error))?;
        durable::remove_leftovers(&self.dir).map_err(|error| failed("tidy", &self.dir, &error))?;
        durable::write(path, text.as_bytes(), 0o644, Existing::Replace)
            .map_err(|error| failed("write", path, &error))
    }
}

/// Reads a public key file.
pub(crate) fn read_key(path: &Path) -> Result<KeyFile, Diagnostic> {
    let file = path.display().to_string();
    let text = input::read_text(path).map_err(|error| error.diagnostic)?;
    if text.len() > MAX_KEY_FILE_BYTES {
        let message = "a key file is not that large";
        return Err(Diagnostic::error(
            Place::file(&file),
            "",
            message,
            "name a `.pub` file of minisign",
        ));
    }
    match PublicKey::from_file_text(&text) {
        Ok(key) => Ok(KeyFile { file, key }),
        Err(message) => Err(Diagnostic::error(
            Place::file(&file),
            "",
            message,
            "name a `.pub` file of minisign or of `cordon key new`",
        )),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Refusal {
    Refusal::failed(format!("cannot {what} {}: {error}", path.display()))
}
