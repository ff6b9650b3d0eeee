//! `cordon bundle sign`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::files::{self, Existing};
use crate::{
    bundle::{self, Digest, key::KeyId, limits::MAX_SIGNATURES},
    cli::{Globals, key::secret, output},
    daemon::settings::count,
    instant::Instant,
};

/// Sign a bundle, beside those who did so before
///
/// The bundle is read to its end first, so that nobody signs what no host would take. Look at it with `bundle inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// Bundle; the signature is added to it
    file: PathBuf,

    /// Secret key of `cordon key new` or of minisign
    #[arg(short, long, value_name = "FILE")]
    key: PathBuf,

    /// File whose first line is the password of the key [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// File to write [default: the bundle itself]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Signed {
    file: String,
    name: String,
    revision: u64,
    sha256: Digest,
    key: KeyId,
    signatures: Vec<KeyId>,
}

impl Sign {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.file.display().to_string();
        let mut envelope = files::read_envelope(&self.file)?;
        let (name, revision) = {
            let bundle = bundle::Bundle::read(&file, &envelope.payload, envelope.kind)
                .map_err(|rejected| files::refusal(&file, rejected))?;
            (bundle.manifest.name, bundle.manifest.revision)
        };
        let key = secret::read(&self.key, self.password_file.as_deref())?;
        let comment = format!(
            "timestamp:{}\tfile:{name}-{revision}.payload\thashed",
            Instant::now().0
        );
        let signature = key
            .sign(&envelope.payload, &comment)
            .map_err(|why| anyhow!("{}: {why}", self.key.display()))?;
        let id = signature.key_id;
        if !envelope.add(signature) {
            bail!("{file} already has {MAX_SIGNATURES} signatures, the most that a bundle may have");
        }
        let path = self.to.unwrap_or(self.file);
        files::write(&path, &envelope.to_bytes(), Existing::Replace, 0o644)?;
        let signed = Signed {
            file: path.display().to_string(),
            name,
            revision,
            sha256: Digest::of(&envelope.payload),
            key: id,
            signatures: envelope
                .signatures
                .iter()
                .map(|signature| signature.key_id)
                .collect(),
        };
        output::print(globals.output, &signed, |signed| {
            format!(
                "signed {} with the key {}: {}\n",
                signed.file,
                signed.key,
                count(signed.signatures.len(), "signature")
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
