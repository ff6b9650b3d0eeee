//! `cordon bundle reissue`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use serde::Serialize;

use super::files::{self, Existing};
use crate::{
    bundle::{self, Bundle, Content, Digest, Kind, Manifest, SectionName, Source, payload},
    cli::{Globals, output},
    diagnostic::Diagnostic,
    instant::Instant,
};

/// Issue the content of an earlier bundle anew under a higher revision: the way back for hosts that never go back
///
/// The new bundle is unsigned: look at it with `bundle inspect`, and have it signed. It is valid from now on, for as long
/// as the earlier one was.
#[derive(Debug, clap::Args)]
pub(super) struct Reissue {
    /// The earlier bundle
    file: PathBuf,

    /// Revision of the new one: above the one that hosts have
    #[arg(long, value_name = "N")]
    revision: u64,

    /// What changed, for people [default: that the content of the earlier revision comes back]
    #[arg(long, value_name = "TEXT")]
    change: Option<String>,

    /// Instant of issue [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    issued: Option<Instant>,

    /// Its end [default: as long after the issue as the earlier one's]
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    expires: Option<Instant>,

    /// File to write [default: NAME-REVISION.cordon]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Reissued {
    file: String,
    name: String,
    revision: u64,
    /// The earlier one.
    from_revision: u64,
    sha256: Digest,
    diagnostics: Vec<Diagnostic>,
}

impl Reissue {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.file.display().to_string();
        let refusal = |rejected| files::refusal(&file, rejected);
        let envelope = files::read_envelope(&self.file)?;
        if envelope.kind == Kind::Directive {
            bail!(
                "{file} is a directive, which is followed once: write a new one with `cordon bundle new --directive`"
            );
        }
        let earlier = Bundle::read(&file, &envelope.payload, envelope.kind).map_err(refusal)?;
        let stored = payload::parse(&file, &envelope.payload, envelope.kind).map_err(refusal)?;
        let from_revision = earlier.manifest.revision;
        if self.revision <= from_revision {
            bail!(
                "revision {} is not above {from_revision}, that of {file}: hosts never go back; name one above what they have",
                self.revision
            );
        }
        let sources = stored
            .iter()
            .filter(|section| section.name != SectionName::Manifest)
            .map(|section| Source {
                name: section.name.clone(),
                bytes: match (&section.name, &earlier.database) {
                    (SectionName::Database, Some(database)) => database.to_vec(),
                    _ => section.bytes.to_vec(),
                },
            })
            .collect();
        let manifest = self.manifest(earlier.manifest);
        let name = manifest.name.clone();
        let path = self
            .to
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{name}-{}.cordon", self.revision)));
        let (envelope, diagnostics) = bundle::build(&file, manifest, sources).map_err(refusal)?;
        files::write(&path, &envelope.to_bytes(), Existing::Keep, 0o644)?;
        let reissued = Reissued {
            file: path.display().to_string(),
            name,
            revision: self.revision,
            from_revision,
            sha256: Digest::of(&envelope.payload),
            diagnostics,
        };
        output::print_remarks(globals.output, &reissued.diagnostics)?;
        output::print(globals.output, &reissued, |reissued| {
            format!(
                "wrote {}: {}, revision {} with the content of revision {}\nnext:\n  cordon bundle inspect {0}\n  cordon \
                 bundle sign {0} --key KEY\n",
                reissued.file, reissued.name, reissued.revision, reissued.from_revision
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn manifest(&self, earlier: Manifest) -> Manifest {
        let issued = self.issued.unwrap_or_else(Instant::now);
        let mut manifest = earlier;
        let default = format!("the content of revision {} again", manifest.revision);
        manifest.change = self.change.clone().unwrap_or(default);
        manifest.revision = self.revision;
        if let Content::Policy(content) = &mut manifest.content {
            let validity = &mut content.validity;
            let span_s = validity.expires.0.saturating_sub(manifest.issued.0);
            let same = Instant(issued.0.saturating_add(span_s).min(u32::MAX - 1));
            validity.expires = self.expires.unwrap_or(same);
            validity.not_before = None;
        }
        manifest.issued = issued;
        manifest
    }
}
