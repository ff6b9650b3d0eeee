//! `cordon bundle build`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::files::{self, Existing};
use crate::{
    bundle::{
        self, Digest, Kind, Manifest, Reason, Rejected, SectionName, Source, Stage, is_plain_name,
        limits::{MAX_EXPANDED_BYTES, MAX_PAYLOAD_BYTES},
        read_manifest,
    },
    cli::{Globals, output},
    daemon::settings::count,
    diagnostic::Diagnostic,
    input,
    instant::Instant,
};

/// Build a bundle from a directory; the same input gives the same bytes
///
/// Takes `bundle.toml` and, for a policy, `policy.toml`, `groups.toml` and `lists/*.txt`; for a geo bundle
/// `database.mmdb`; for a directive `directive.toml`. Other files are refused: what is left out by mistake is not missed.
#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// Directory with the sources
    dir: PathBuf,

    /// File to write [default: NAME-REVISION.cordon]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Revision, in place of that in `bundle.toml`
    #[arg(long, value_name = "N")]
    revision: Option<u64>,

    /// Instant of issue, in place of that in `bundle.toml`
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    issued: Option<Instant>,

    /// Replace the file if it is there; its signatures are lost
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Built {
    file: String,
    name: String,
    revision: u64,
    kind: Kind,
    /// Digest of the payload: what a host compares.
    sha256: Digest,
    payload_bytes: usize,
    sections: Vec<String>,
    diagnostics: Vec<Diagnostic>,
}

impl Build {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let (manifest, mut diagnostics) = self.manifest()?;
        let sources = sources(&self.dir, manifest.kind())?;
        let path = self
            .to
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}-{}.cordon", manifest.name, manifest.revision)));
        let dir = self.dir.display().to_string();
        let (name, revision, kind) = (manifest.name.clone(), manifest.revision, manifest.kind());
        let sections = sources.iter().map(|source| source.name.to_string()).collect();
        let (envelope, warnings) =
            bundle::build(&dir, manifest, sources).map_err(|rejected| files::refusal(&dir, rejected))?;
        diagnostics.extend(warnings);
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        files::write(&path, &envelope.to_bytes(), existing, 0o644)?;
        let built = Built {
            file: path.display().to_string(),
            name,
            revision,
            kind,
            sha256: Digest::of(&envelope.payload),
            payload_bytes: envelope.payload.len(),
            sections,
            diagnostics,
        };
        output::print_remarks(globals.output, &built.diagnostics)?;
        output::print(globals.output, &built, render)?;
        Ok(ExitCode::SUCCESS)
    }

    fn manifest(&self) -> anyhow::Result<(Manifest, Vec<Diagnostic>)> {
        let path = self.dir.join("bundle.toml");
        let text = input::read_text(&path).map_err(|error| error.refusal("the manifest"))?;
        let file = path.display().to_string();
        let (manifest, remarks) = read_manifest(&file, &text, Stage::Source);
        let Some(mut manifest) = manifest else {
            let rejected = Rejected::with_remarks(Reason::MalformedManifest, remarks);
            return Err(files::refusal(&file, rejected).into());
        };
        // What is said here is judged with the rest when the bundle is read back.
        manifest.revision = self.revision.unwrap_or(manifest.revision);
        manifest.issued = self.issued.unwrap_or(manifest.issued);
        Ok((manifest, remarks))
    }
}

/// The sections, from the files that a directory of this kind may have.
fn sources(dir: &Path, kind: Kind) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for name in file_names(dir)? {
        let path = dir.join(&name);
        let section = match (kind, name.as_str()) {
            (_, "bundle.toml") => continue,
            (Kind::Policy, "policy.toml") => SectionName::Policy,
            (Kind::Policy, "groups.toml") => SectionName::Groups,
            (Kind::Policy, "lists") => {
                sources.extend(lists(&path)?);
                continue;
            }
            (Kind::Geo, "database.mmdb") => SectionName::Database,
            (Kind::Directive, "directive.toml") => SectionName::Directive,
            _ => anyhow::bail!(
                "{} is no part of a {} bundle: it has {}; move the file elsewhere",
                path.display(),
                kind.name(),
                match kind {
                    Kind::Policy => "bundle.toml, policy.toml, groups.toml and lists/NAME.txt",
                    Kind::Geo => "bundle.toml and database.mmdb",
                    Kind::Directive => "bundle.toml and directive.toml",
                }
            ),
        };
        let max_bytes = if kind == Kind::Geo {
            MAX_EXPANDED_BYTES
        } else {
            MAX_PAYLOAD_BYTES
        };
        sources.push(source(section, &path, max_bytes)?);
    }
    Ok(sources)
}

fn lists(dir: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for name in file_names(dir)? {
        let path = dir.join(&name);
        let Some(stem) = name.strip_suffix(".txt").filter(|stem| is_plain_name(stem)) else {
            anyhow::bail!(
                "{} is no list: lists are `NAME.txt`, with lower-case letters, digits, `-`, `_` and `.` in the name",
                path.display()
            );
        };
        sources.push(source(
            SectionName::List(stem.to_owned()),
            &path,
            MAX_PAYLOAD_BYTES,
        )?);
    }
    Ok(sources)
}

fn source(name: SectionName, path: &Path, max_bytes: usize) -> anyhow::Result<Source> {
    let bytes = input::read_bytes(path, max_bytes).map_err(|error| error.refusal("a section"))?;
    Ok(Source { name, bytes })
}

/// The names in a directory, in order. Hidden ones belong to editors and version control.
fn file_names(dir: &Path) -> anyhow::Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let mut names = read().with_context(|| format!("cannot read {}", dir.display()))?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

fn render(built: &Built) -> String {
    format!(
        "built {}\n  {} {}, revision {}\n  {} in {} bytes: {}\n  sha256 {}\n",
        built.file,
        built.kind.name(),
        built.name,
        built.revision,
        count(built.sections.len(), "section"),
        built.payload_bytes,
        built.sections.join(", "),
        built.sha256
    )
}
