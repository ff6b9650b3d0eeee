//! Secret key files and their passwords.

use std::{io::IsTerminal as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    bundle::{
        key::{SecretKey, SecretKeyError},
        limits::MAX_KEY_FILE_BYTES,
    },
    input,
};

/// Reads a secret key, asking for its password if it has one.
pub(in crate::cli) fn read(path: &Path, password_file: Option<&Path>) -> anyhow::Result<SecretKey> {
    let opened = input::open_regular(path).map_err(|error| error.refusal("the secret key"))?;
    let mode = opened
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others (mode {:03o}): take that away with `chmod 600`, and make a new key if someone may \
             have read it",
            path.display(),
            mode & 0o777
        );
    }
    let bytes =
        input::read_bytes(path, MAX_KEY_FILE_BYTES).map_err(|error| error.refusal("the secret key"))?;
    let text = String::from_utf8_lossy(&bytes);
    let unusable = |error: SecretKeyError| anyhow!("{}: {error}", path.display());
    match SecretKey::from_file_text(&text, None) {
        Err(SecretKeyError::PasswordNeeded) => {
            let password = match password_file {
                Some(file) => password_from(file)?,
                None => ask(&format!("Password of {}: ", path.display()))?,
            };
            SecretKey::from_file_text(&text, Some(&password)).map_err(unusable)
        }
        other => other.map_err(unusable),
    }
}

/// The first line of a file.
pub(super) fn password_from(file: &Path) -> anyhow::Result<String> {
    let bytes = input::read_bytes(file, MAX_KEY_FILE_BYTES).map_err(|error| error.refusal("the password"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8 text", file.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => bail!(
            "the first line of {} is empty: write the password there",
            file.display()
        ),
    }
}

/// Asks on the terminal, without showing what is typed.
pub(super) fn ask(prompt: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("a password is needed, and there is no terminal to ask on: name a file with `--password-file`");
    }
    rpassword::prompt_password(prompt).context("cannot ask for the password")
}
