//! `cordon bundle verify`.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::files;
use crate::{
    bundle::{
        self, Digest, HostIdentity, Version,
        freshness::{self, Freshness, Situation},
        trust::{TrustDirectory, Votes},
    },
    cli::{Globals, output},
    daemon::settings::count,
    diagnostic::Diagnostic,
    instant::Instant,
};

/// Say whether a host would take a bundle: signatures, content, dates, target
///
/// What the host has already is not looked at: that its revision is lower, only the host can say.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Bundle
    file: PathBuf,

    /// Directory of trusted keys [default: `keys` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// As of this instant instead of now
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    at: Option<Instant>,

    /// Name of the host it is checked for [default: the target is not looked at]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Label of that host; may be given more than once
    #[arg(long = "label", value_name = "LABEL=VALUE", value_parser = label, requires = "host")]
    labels: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Verified {
    file: String,
    name: String,
    revision: u64,
    sha256: Digest,
    votes: Votes,
    freshness: Freshness,
    diagnostics: Vec<Diagnostic>,
}

impl Verify {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.file.display().to_string();
        let trust = TrustDirectory::new(&files::keys_dir(self.keys, globals)?).read()?;
        let envelope = files::read_envelope(&self.file)?;
        let (bundle, votes) =
            bundle::open(&file, &envelope, &trust).map_err(|rejected| files::refusal(&file, rejected))?;
        let host = self.host.map(|name| HostIdentity {
            name,
            labels: self.labels.into_iter().collect(),
        });
        let situation = Situation {
            mark: None,
            clock: self.at.unwrap_or_else(Instant::now),
            seen: Instant(0),
            host: host.as_ref(),
            cordon: Version::ours(),
        };
        let freshness = freshness::judge(&file, &bundle.manifest, bundle.digest, &situation)
            .map_err(|rejected| files::refusal(&file, rejected))?;
        let verified = Verified {
            name: bundle.manifest.name,
            revision: bundle.manifest.revision,
            sha256: bundle.digest,
            votes,
            freshness,
            diagnostics: bundle.warnings,
            file,
        };
        output::print_remarks(globals.output, &verified.diagnostics)?;
        output::print(globals.output, &verified, |verified| {
            format!(
                "{} is good: {}, revision {}, {} of {} needed\n",
                verified.file,
                verified.name,
                verified.revision,
                count(verified.votes.keys.len(), "signature"),
                verified.votes.needed
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((label, value)) if !label.is_empty() => Ok((label.to_owned(), value.to_owned())),
        _ => Err("write it like `site=fra`".to_owned()),
    }
}
