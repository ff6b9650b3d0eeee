//! `cordon key new`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::secret;
use crate::{
    bundle::key::{KeyId, SecretKey},
    cli::{
        Globals,
        bundle::files::{self, Existing},
        output,
    },
};

/// Make a signing key: NAME.key to keep, NAME.pub to give to hosts
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Path of the two files, without their endings
    name: PathBuf,

    /// File whose first line becomes the password [default: ask on the terminal]
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    password_file: Option<PathBuf>,

    /// No password: whoever can read the file can sign
    #[arg(long)]
    no_password: bool,
}

#[derive(Debug, Serialize)]
struct Made {
    id: KeyId,
    secret_file: String,
    public_file: String,
    public_key: String,
}

impl New {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let with_ending = |ending: &str| {
            let mut path = self.name.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        let (secret_path, public_path) = (with_ending(".key"), with_ending(".pub"));
        for path in [&secret_path, &public_path] {
            if path.symlink_metadata().is_ok() {
                bail!("{} exists: name another", path.display());
            }
        }
        let password = match (&self.password_file, self.no_password) {
            (_, true) => None,
            (Some(file), _) => Some(secret::password_from(file)?),
            (None, _) => Some(ask_twice()?),
        };
        let (key, text) = SecretKey::generate(password.as_deref()).map_err(|why| anyhow!("{why}"))?;
        let public = key.public().map_err(|why| anyhow!("cannot make a key: {why}"))?;
        files::write(&secret_path, text.as_bytes(), Existing::Keep, 0o600)?;
        files::write(
            &public_path,
            public.to_file_text().as_bytes(),
            Existing::Keep,
            0o644,
        )?;
        let made = Made {
            id: public.id(),
            secret_file: secret_path.display().to_string(),
            public_file: public_path.display().to_string(),
            public_key: public.to_base64(),
        };
        output::print(globals.output, &made, |made| {
            format!(
                "key {}\n  {}: keep it, and keep it secret\n  {}: trust it on hosts with `cordon key trust`\n",
                made.id, made.secret_file, made.public_file
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn ask_twice() -> anyhow::Result<String> {
    let password = secret::ask("Password of the new key: ")?;
    if password.is_empty() {
        bail!("the password is empty: give one, or say `--no-password`");
    }
    if secret::ask("The same again: ")? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}
