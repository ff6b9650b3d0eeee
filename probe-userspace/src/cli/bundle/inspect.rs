//! `cordon bundle inspect`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::anyhow;
use serde::Serialize;

use super::files;
use crate::{
    bundle::{
        Bundle, Content, Digest, Kind, Manifest, SectionName,
        directive::Directive,
        key::KeyId,
        payload,
        trust::{Standing, Trust, TrustDirectory, Verb},
    },
    cli::{Globals, output, table::table},
};

/// Show what is in a bundle, whoever signed it
///
/// Nothing is taken on trust and nothing is trusted by it: `bundle verify` says whether a host would take it.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// Bundle
    file: PathBuf,

    /// Directory of trusted keys [default: `keys` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// Print one section as it is: manifest, policy, groups, list:NAME, database or directive
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
}

#[derive(Debug, Serialize)]
struct Inspected {
    file: String,
    kind: Kind,
    sha256: Digest,
    payload_bytes: usize,
    manifest: Manifest,
    #[serde(skip_serializing_if = "Option::is_none")]
    directive: Option<Directive>,
    sections: Vec<Section>,
    signatures: Vec<Signed>,
}

#[derive(Debug, Serialize)]
struct Section {
    name: String,
    bytes: usize,
    stored_bytes: usize,
    encoding: &'static str,
    sha256: Digest,
}

#[derive(Debug, Serialize)]
struct Signed {
    key: KeyId,
    comment: String,
    standing: Standing,
    /// `None`: the key is not here, so nobody can say.
    is_valid: Option<bool>,
}

impl Inspect {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.file.display().to_string();
        let envelope = files::read_envelope(&self.file)?;
        let refusal = |rejected| files::refusal(&file, rejected);
        let bundle = Bundle::read(&file, &envelope.payload, envelope.kind).map_err(refusal)?;
        let stored = payload::parse(&file, &envelope.payload, envelope.kind).map_err(refusal)?;
        if let Some(name) = &self.section {
            let found =
                SectionName::parse(name).and_then(|name| stored.iter().find(|section| section.name == name));
            let section = found.ok_or_else(|| anyhow!("{file} has no section `{name}`"))?;
            let bytes = bundle.database.as_deref().unwrap_or(section.bytes);
            let is_database = section.name == SectionName::Database;
            let mut out = io::stdout().lock();
            out.write_all(if is_database { bytes } else { section.bytes })?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let trust = TrustDirectory::new(&files::keys_dir(self.keys, globals)?).read()?;
        let content = stored
            .iter()
            .filter(|section| section.name != SectionName::Manifest);
        let sections = content
            .zip(&bundle.manifest.sections)
            .map(|(section, named)| Section {
                name: section.name.to_string(),
                bytes: named.n_bytes,
                stored_bytes: section.bytes.len(),
                encoding: section.encoding.name(),
                sha256: named.sha256,
            })
            .collect();
        let inspected = Inspected {
            kind: envelope.kind,
            sha256: bundle.digest,
            payload_bytes: envelope.payload.len(),
            sections,
            signatures: signatures(&envelope, bundle.directive.as_ref(), &trust),
            manifest: bundle.manifest,
            directive: bundle.directive,
            file,
        };
        output::print(globals.output, &inspected, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn signatures(
    envelope: &crate::bundle::Envelope,
    directive: Option<&Directive>,
    trust: &Trust,
) -> Vec<Signed> {
    let directive = directive.map(|directive| [directive.verb()]);
    let verbs = directive
        .as_ref()
        .map_or(Verb::of(envelope.kind), |verb| &verb[..]);
    let signed = envelope.signatures.iter().map(|signature| {
        let (standing, key) = trust.standing(signature.key_id, verbs);
        Signed {
            key: signature.key_id,
            comment: signature.comment.clone(),
            standing,
            is_valid: key.map(|key| signature.is_valid(&envelope.payload, key)),
        }
    });
    signed.collect()
}

fn render(inspected: &Inspected) -> String {
    let manifest = &inspected.manifest;
    let mut rows = vec![
        ("bundle", format!("{} {}", inspected.kind.name(), manifest.name)),
        ("revision", manifest.revision.to_string()),
        ("change", manifest.change.clone()),
        ("issued", manifest.issued.to_string()),
        ("needs cordon", manifest.min_cordon.to_string()),
    ];
    if let Some(directive) = &inspected.directive {
        rows.push(("directive", directive.to_string()));
    }
    if let Some(validity) = manifest.validity() {
        if let Some(not_before) = validity.not_before {
            rows.push(("valid from", not_before.to_string()));
        }
        rows.push(("expires", validity.expires.to_string()));
        rows.push(("for hosts", or_every(&validity.target.hosts)));
        let labels: Vec<String> = validity
            .target
            .labels
            .iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        rows.push(("with labels", or_every(&labels)));
    }
    match &manifest.content {
        Content::Policy(content) => {
            if let Some(need) = &content.database {
                let mut text = need.name.clone();
                if let Some(oldest) = need.oldest_build {
                    text.push_str(&format!(", built on {oldest} or later"));
                }
                if let Some(days) = need.max_age_days {
                    text.push_str(&format!(", at most {days} days old"));
                }
                rows.push(("database", text));
            }
        }
        Content::Geo(content) => {
            rows.push(("built", content.built.to_string()));
            rows.push(("licence", content.licence.clone()));
        }
        Content::Directive(_) => {}
    }
    rows.push(("sha256", inspected.sha256.to_string()));
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), printable(&value)])
        .collect();
    let mut text = table(&rows, &[]);
    let sections: Vec<Vec<String>> = inspected
        .sections
        .iter()
        .map(|section| {
            vec![
                "section".to_owned(),
                section.name.clone(),
                format!("{} bytes", section.bytes),
                section.encoding.to_owned(),
            ]
        })
        .collect();
    text.push_str(&table(&sections, &[2]));
    for signed in &inspected.signatures {
        let state = match (signed.is_valid, signed.standing) {
            (Some(false), _) => "does not fit the payload",
            (_, Standing::Trusted) => "good, trusted",
            (_, Standing::Revoked) => "by a revoked key",
            (_, Standing::Restricted) => "good, but the key is not trusted for this",
            (_, Standing::Unknown) => "by an unknown key",
        };
        text.push_str(&format!(
            "signature {}: {state} ({})\n",
            signed.key,
            printable(&signed.comment)
        ));
    }
    if inspected.signatures.is_empty() {
        text.push_str("not signed\n");
    }
    text
}

fn or_every(patterns: &[String]) -> String {
    match patterns {
        [] => "every".to_owned(),
        patterns => patterns.join(", "),
    }
}

/// On one line, with nothing in it that a terminal would act on.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
