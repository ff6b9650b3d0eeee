//! Putting a bundle together. The same source gives the same bytes: no clock, no chance, no order of a directory.

use std::borrow::Cow;

use super::{
    content::Bundle,
    digest::Digest,
    envelope::Envelope,
    expand::compress,
    limits::{MAX_EXPANDED_BYTES, MAX_PAYLOAD_BYTES},
    manifest::{Manifest, SectionDigest},
    payload::{self, Stored},
    rejected::{Reason, Rejected},
    section::{Encoding, SectionName},
};
use crate::diagnostic::{Diagnostic, Place};

/// A section to be.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: SectionName,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Builds an unsigned bundle, and reads it back by the very code that hosts read it with. `file` is what the bundle
/// will be called, for remarks; the sections of the manifest are replaced.
pub fn build(
    file: &str,
    mut manifest: Manifest,
    mut sources: Vec<Source>,
) -> Result<(Envelope, Vec<Diagnostic>), Rejected> {
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    manifest.sections = sources
        .iter()
        .map(|source| SectionDigest {
            name: source.name.clone(),
            n_bytes: source.bytes.len(),
            sha256: Digest::of(&source.bytes),
        })
        .collect();
    let kind = manifest.kind();
    let text = manifest.to_text();
    let too_large = |message: String| {
        Rejected::new(
            Reason::TooLarge,
            Place::file(file),
            "",
            message,
            "make the sections smaller",
        )
    };
    let n_bytes: usize = sources.iter().map(|source| source.bytes.len()).sum();
    if n_bytes > MAX_EXPANDED_BYTES {
        return Err(too_large(format!(
            "the sections come to more than {} MiB",
            MAX_EXPANDED_BYTES >> 20
        )));
    }
    let stored: Vec<(SectionName, Encoding, Cow<'_, [u8]>)> = sources
        .iter()
        .map(|source| {
            let (encoding, bytes) = store(source);
            (source.name.clone(), encoding, bytes)
        })
        .collect();
    let mut sections = vec![Stored {
        name: SectionName::Manifest,
        encoding: Encoding::Raw,
        bytes: text.as_bytes(),
    }];
    sections.extend(stored.iter().map(|(name, encoding, bytes)| Stored {
        name: name.clone(),
        encoding: *encoding,
        bytes,
    }));
    let payload = payload::to_bytes(kind, sections).ok_or_else(|| {
        too_large(format!(
            "the payload is larger than {} MiB",
            MAX_PAYLOAD_BYTES >> 20
        ))
    })?;
    let warnings = Bundle::read(file, &payload, kind)?.warnings;
    let envelope = Envelope {
        kind,
        signatures: Vec::new(),
        payload,
    };
    Ok((envelope, warnings))
}

/// Databases are compressed if that makes them smaller; texts stay readable.
fn store(source: &Source) -> (Encoding, Cow<'_, [u8]>) {
    if source.name.may_be(Encoding::Zstd)
        && let Ok(smaller) = compress(&source.bytes)
        && smaller.len() < source.bytes.len()
        && super::expand::expand(&smaller, source.bytes.len()).is_ok()
    {
        return (Encoding::Zstd, Cow::Owned(smaller));
    }
    (Encoding::Raw, Cow::Borrowed(&source.bytes))
}
