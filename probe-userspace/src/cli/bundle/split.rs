//! `cordon bundle split`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::files::{self, Existing};
use crate::cli::{Globals, output};

/// Take a bundle apart into its payload and `.minisig` files, which the stock minisign checks
///
/// Writes `NAME.payload` and `NAME.KEYID.minisig`; check one with
/// `minisign -V -p KEY.pub -m NAME.payload -x NAME.KEYID.minisig`.
#[derive(Debug, clap::Args)]
pub(super) struct Split {
    /// Bundle
    file: PathBuf,

    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Parts {
    payload: String,
    signatures: Vec<String>,
}

impl Split {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let envelope = files::read_envelope(&self.file)?;
        fs::create_dir_all(&self.to)
            .with_context(|| format!("cannot make the directory {}", self.to.display()))?;
        let stem = self
            .file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_else(|| "bundle".to_owned());
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        let put = |path: &Path, bytes: &[u8]| -> anyhow::Result<String> {
            files::write(path, bytes, existing, 0o644)?;
            Ok(path.display().to_string())
        };
        let payload = put(&self.to.join(format!("{stem}.payload")), &envelope.payload)?;
        let mut signatures = Vec::new();
        for signature in &envelope.signatures {
            let path = self.to.join(format!("{stem}.{}.minisig", signature.key_id));
            signatures.push(put(&path, signature.to_minisig().as_bytes())?);
        }
        let parts = Parts { payload, signatures };
        output::print(globals.output, &parts, |parts| {
            let files = [std::slice::from_ref(&parts.payload), &parts.signatures].concat();
            files.iter().map(|file| format!("wrote {file}\n")).collect()
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
