//! A genuine payload, read: manifest, then every section against it, then what the sections say.

use std::borrow::Cow;

use super::{
    digest::Digest,
    directive::{self, Directive},
    envelope::{Envelope, Kind},
    expand::{ExpandError, expand},
    limits::MAX_MANIFEST_BYTES,
    list::{self, Budget},
    manifest::{self, Manifest, SectionDigest, Stage},
    payload::{self, Stored},
    rejected::{Reason, Rejected},
    section::{Encoding, SectionName},
    trust::{self, Trust, Verb, Votes},
};
use crate::{
    diagnostic::{Diagnostic, Place},
    policy::{self, Beside, NamedLists, Policy},
};

/// What a prefix of a list takes in memory until it is in the kernel: measured with 4,000,000, at the peak.
const BYTES_PER_PREFIX: u64 = 704;
/// Length of a line of a list, with its end, in that measurement.
const BYTES_PER_LINE: u64 = 15;

/// A bundle that was read to its end.
#[derive(Clone, Debug)]
pub struct Bundle<'p> {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Digest of the payload: which bundle it is.
    pub digest: Digest,
    /// Its policy, groups included, and the text it was read from.
    pub policy: Option<(Policy, String)>,
    /// Its lists, by name.
    pub lists: NamedLists,
    /// Its database.
    pub database: Option<Cow<'p, [u8]>>,
    /// What it tells the host to do.
    pub directive: Option<Directive>,
    /// Warnings about it.
    pub warnings: Vec<Diagnostic>,
}

/// Opens a bundle that enough trusted keys signed.
pub fn open<'p>(file: &str, envelope: &'p Envelope, trust: &Trust) -> Result<(Bundle<'p>, Votes), Rejected> {
    let verify = |verbs: &[Verb]| trust::verify(file, &envelope.payload, &envelope.signatures, trust, verbs);
    let votes = verify(Verb::of(envelope.kind))?;
    let bundle = Bundle::read(file, &envelope.payload, envelope.kind)?;
    let votes = match &bundle.directive {
        Some(directive) => verify(&[directive.verb()])?,
        None => votes,
    };
    Ok((bundle, votes))
}

/// About how much memory it takes to read a bundle that was signed, and to compile its policy: by the sizes of its lists,
/// which are most of a large one.
pub fn bytes_to_read(file: &str, envelope: &Envelope, trust: &Trust) -> Result<u64, Rejected> {
    let Envelope {
        kind,
        payload,
        signatures,
    } = envelope;
    trust::verify(file, payload, signatures, trust, Verb::of(*kind))?;
    let stored = payload::parse(file, payload, *kind)?;
    let manifest = read_manifest(file, &stored, *kind)?;
    let lists = manifest.sections.iter();
    let lists = lists.filter(|section| matches!(section.name, SectionName::List(_)));
    let n_bytes = lists.fold(0u64, |sum, section| sum.saturating_add(section.n_bytes as u64));
    Ok(n_bytes.saturating_mul(1 + BYTES_PER_PREFIX / BYTES_PER_LINE))
}

impl<'p> Bundle<'p> {
    /// Reads a payload. Who signed it is not looked at: that comes first, in [`open`].
    pub fn read(file: &str, payload: &'p [u8], kind: Kind) -> Result<Self, Rejected> {
        let stored = payload::parse(file, payload, kind)?;
        let manifest = read_manifest(file, &stored, kind)?;
        check_names(file, &manifest, &stored)?;
        let mut bundle = Self {
            digest: Digest::of(payload),
            manifest,
            policy: None,
            lists: NamedLists::new(),
            database: None,
            directive: None,
            warnings: Vec::new(),
        };
        let mut texts = Texts::default();
        let mut budget = Budget::default();
        let content = stored
            .iter()
            .filter(|section| section.name != SectionName::Manifest);
        for (section, named) in content.zip(&bundle.manifest.sections) {
            let bytes = section_bytes(file, section, named)?;
            match &section.name {
                SectionName::Policy => texts.policy = text(file, section, &bytes, Reason::MalformedPolicy)?,
                SectionName::Groups => {
                    texts.groups = Some(text(file, section, &bytes, Reason::MalformedGroups)?)
                }
                SectionName::List(name) => {
                    let text = plain_text(file, section, &bytes, Reason::MalformedList)?;
                    let prefixes = list::read(&section_file(file, &section.name), text, &mut budget)
                        .map_err(|remarks| Rejected::with_remarks(Reason::MalformedList, remarks))?;
                    bundle.lists.insert(name.clone(), prefixes);
                }
                SectionName::Database => {
                    check_database(file, &bytes)?;
                    bundle.database = Some(bytes);
                }
                SectionName::Directive => {
                    let text = text(file, section, &bytes, Reason::MalformedDirective)?;
                    let (directive, remarks) = directive::read(&section_file(file, &section.name), &text);
                    let Some(directive) = directive else {
                        return Err(Rejected::with_remarks(Reason::MalformedDirective, remarks));
                    };
                    bundle.directive = Some(directive);
                    bundle.warnings = remarks;
                }
                SectionName::Manifest => {}
            }
        }
        if kind == Kind::Policy {
            let beside = Beside {
                lists: std::mem::take(&mut bundle.lists),
                name: Some(bundle.manifest.name.clone()),
            };
            let (policy, text, warnings) = texts.read(file, &beside)?;
            bundle.warnings = warnings;
            bundle.warnings.extend(unnamed(file, &text, &beside));
            bundle.policy = Some((policy, text));
            bundle.lists = beside.lists;
        }
        Ok(bundle)
    }
}

/// Lists that no entry of the policy names: what was left out by mistake is not missed.
fn unnamed<'l>(file: &'l str, text: &str, beside: &'l Beside) -> impl Iterator<Item = Diagnostic> + 'l {
    let named = policy::named_lists(text);
    let left = beside.lists.keys().filter(move |name| !named.contains(*name));
    left.map(move |name| {
        let place = Place::file(&section_file(file, &SectionName::List(name.clone())));
        let fix = format!("write `list = \"{name}\"` in the entry that it is for, or leave the list out");
        Diagnostic::warning(place, "", "no entry of the policy names this list", fix)
    })
}

/// How a section is called in remarks.
pub(crate) fn section_file(file: &str, name: &SectionName) -> String {
    format!("{file}/{name}")
}

fn read_manifest(file: &str, stored: &[Stored<'_>], kind: Kind) -> Result<Manifest, Rejected> {
    let Some(section) = stored
        .iter()
        .find(|section| section.name == SectionName::Manifest)
    else {
        let (name, message) = (SectionName::Manifest.to_string(), "the manifest is missing");
        return Err(Rejected::new(
            Reason::MissingSection,
            Place::file(file),
            name,
            message,
            "",
        ));
    };
    let place = section_file(file, &section.name);
    if section.bytes.len() > MAX_MANIFEST_BYTES {
        return Err(Rejected::new(
            Reason::TooLarge,
            Place::file(&place),
            format!("{} bytes", section.bytes.len()),
            "the manifest is too large",
            format!("keep it under {} KiB", MAX_MANIFEST_BYTES >> 10),
        ));
    }
    let text = plain_text(file, section, section.bytes, Reason::MalformedManifest)?;
    let (manifest, remarks) = manifest::read(&place, text, Stage::Signed);
    let Some(manifest) = manifest else {
        return Err(Rejected::with_remarks(Reason::MalformedManifest, remarks));
    };
    if manifest.kind() != kind {
        return Err(Rejected::new(
            Reason::WrongKind,
            Place::file(&place),
            manifest.kind().name(),
            format!(
                "the manifest is of another kind than the payload, {}",
                kind.name()
            ),
            "build it with `cordon bundle build`",
        ));
    }
    Ok(manifest)
}

/// The sections that the manifest names are those that are there.
fn check_names(file: &str, manifest: &Manifest, stored: &[Stored<'_>]) -> Result<(), Rejected> {
    let place = || Place::file(&section_file(file, &SectionName::Manifest));
    let fix = "build it with `cordon bundle build`";
    let is_named = |name: &SectionName| manifest.sections.iter().any(|section| section.name == *name);
    let is_stored = |name: &SectionName| stored.iter().any(|section| section.name == *name);
    for section in stored {
        if section.name != SectionName::Manifest && !is_named(&section.name) {
            let (name, message) = (
                section.name.to_string(),
                "the manifest does not name this section",
            );
            return Err(Rejected::new(
                Reason::SectionMismatch,
                place(),
                name,
                message,
                fix,
            ));
        }
    }
    for section in &manifest.sections {
        if !is_stored(&section.name) {
            let (name, message) = (
                section.name.to_string(),
                "the manifest names a section that is not there",
            );
            return Err(Rejected::new(Reason::MissingSection, place(), name, message, fix));
        }
    }
    Ok(())
}

/// The bytes of a section, expanded, of the size and digest that the manifest names.
fn section_bytes<'p>(
    file: &str,
    section: &Stored<'p>,
    named: &SectionDigest,
) -> Result<Cow<'p, [u8]>, Rejected> {
    let rejected = |reason, value: String, message: &str, fix: &str| {
        let place = Place::file(&section_file(file, &section.name));
        Rejected::new(reason, place, value, message, fix)
    };
    let fix = "build it with `cordon bundle build`";
    let bytes = match section.encoding {
        Encoding::Raw => Cow::Borrowed(section.bytes),
        Encoding::Zstd => match expand(section.bytes, named.n_bytes) {
            Ok(bytes) => Cow::Owned(bytes),
            Err(ExpandError::TooLarge) => {
                let value = format!("{} bytes", named.n_bytes);
                let message = "the section would expand to more than its stored size can hold honestly";
                return Err(rejected(Reason::TooLarge, value, message, fix));
            }
            Err(ExpandError::Malformed(why)) => {
                let value = format!("{} bytes", named.n_bytes);
                let message =
                    format!("the section is no zstd frame of the size that the manifest names: {why}");
                return Err(rejected(Reason::MalformedCompression, value, &message, fix));
            }
        },
    };
    if bytes.len() != named.n_bytes {
        let message = format!("the manifest says that the section has {} bytes", named.n_bytes);
        let value = format!("{} bytes", bytes.len());
        return Err(rejected(Reason::SectionMismatch, value, &message, fix));
    }
    let sha256 = Digest::of(&bytes);
    if sha256 != named.sha256 {
        let message = format!(
            "the manifest says that the section has the digest {}",
            named.sha256
        );
        return Err(rejected(
            Reason::SectionMismatch,
            sha256.to_string(),
            &message,
            fix,
        ));
    }
    Ok(bytes)
}

/// Begins the last part of every MaxMind DB, which is at most so many bytes long.
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const MAX_METADATA_BYTES: usize = 128 << 10;

/// Whether it looks like a database at all, and not like the error page of a web server. The geo module reads it.
fn check_database(file: &str, bytes: &[u8]) -> Result<(), Rejected> {
    let end = &bytes[bytes.len().saturating_sub(MAX_METADATA_BYTES)..];
    if end
        .windows(METADATA_MARKER.len())
        .any(|window| window == METADATA_MARKER)
    {
        return Ok(());
    }
    Err(Rejected::new(
        Reason::MalformedDatabase,
        Place::file(&section_file(file, &SectionName::Database)),
        "",
        "this is no MaxMind DB file: the mark of its metadata is missing",
        "put the unpacked `.mmdb` file there",
    ))
}

/// Text of policy or groups: within the bounds of a policy file.
fn text(file: &str, section: &Stored<'_>, bytes: &[u8], reason: Reason) -> Result<String, Rejected> {
    policy::decode(&section_file(file, &section.name), bytes)
        .map_err(|remark| Rejected::with_remarks(reason, vec![remark]))
}

fn plain_text<'b>(
    file: &str,
    section: &Stored<'_>,
    bytes: &'b [u8],
    reason: Reason,
) -> Result<&'b str, Rejected> {
    std::str::from_utf8(bytes).map_err(|error| {
        Rejected::new(
            reason,
            Place::file(&section_file(file, &section.name)),
            "",
            format!("the section is not UTF-8 text (byte {})", error.valid_up_to()),
            "save it as UTF-8 and build the bundle again",
        )
    })
}

/// The texts that make up a policy.
#[derive(Default)]
pub(crate) struct Texts {
    /// The policy itself.
    pub policy: String,
    /// Groups that it names.
    pub groups: Option<String>,
}

impl Texts {
    /// Reads them as one policy: the groups stand behind its last line.
    pub fn read(self, file: &str, beside: &Beside) -> Result<(Policy, String, Vec<Diagnostic>), Rejected> {
        let policy_file = section_file(file, &SectionName::Policy);
        let groups_file = section_file(file, &SectionName::Groups);
        if let Some(groups) = &self.groups {
            super::groups::check(&groups_file, groups)
                .map_err(|remarks| Rejected::with_remarks(Reason::MalformedGroups, remarks))?;
        }
        let mut text = self.policy;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let n_lines = u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
        text.push_str(self.groups.as_deref().unwrap_or_default());
        let (policy, mut remarks) = policy::parse_with(&policy_file, &text, beside);
        for remark in remarks.iter_mut().filter(|remark| remark.place.line > n_lines) {
            remark.place.file.clone_from(&groups_file);
            remark.place.line -= n_lines;
        }
        match policy {
            Some(policy) => Ok((policy, text, remarks)),
            None => Err(Rejected::with_remarks(Reason::MalformedPolicy, remarks)),
        }
    }
}
