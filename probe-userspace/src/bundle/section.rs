//! The sections a bundle may have: a fixed list, in a fixed order. No name is a path, and none becomes one.

use std::fmt;

use super::{envelope::Kind, limits::MAX_NAME_CHARS};

/// Name of a section. The order of the variants is the order in the payload; lists ascend by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionName {
    /// What the bundle is: name, revision, dates, digests of the other sections.
    Manifest,
    /// The policy, as `cordon check` reads it.
    Policy,
    /// Country groups that the policy names: `[[group]]` tables, read as if they stood at its end.
    Groups,
    /// A list of prefixes, one in each line.
    List(String),
    /// A MaxMind DB file.
    Database,
    /// What the host is to do.
    Directive,
}

const MANIFEST: &str = "manifest";
const POLICY: &str = "policy";
const GROUPS: &str = "groups";
const LIST: &str = "list:";
const DATABASE: &str = "database";
const DIRECTIVE: &str = "directive";

impl SectionName {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            MANIFEST => Some(Self::Manifest),
            POLICY => Some(Self::Policy),
            GROUPS => Some(Self::Groups),
            DATABASE => Some(Self::Database),
            DIRECTIVE => Some(Self::Directive),
            _ => {
                let name = text.strip_prefix(LIST)?;
                is_plain_name(name).then(|| Self::List(name.to_owned()))
            }
        }
    }

    /// Whether bundles of a kind may have it.
    pub fn belongs_to(&self, kind: Kind) -> bool {
        match self {
            Self::Manifest => true,
            Self::Policy | Self::Groups | Self::List(_) => kind == Kind::Policy,
            Self::Database => kind == Kind::Geo,
            Self::Directive => kind == Kind::Directive,
        }
    }

    /// The sections that every bundle of a kind has.
    pub fn mandatory(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Policy => &[Self::Manifest, Self::Policy],
            Kind::Geo => &[Self::Manifest, Self::Database],
            Kind::Directive => &[Self::Manifest, Self::Directive],
        }
    }

    /// The names, for messages.
    pub fn list(kind: Kind) -> &'static str {
        match kind {
            Kind::Policy => "manifest, policy, groups and list:NAME",
            Kind::Geo => "manifest and database",
            Kind::Directive => "manifest and directive",
        }
    }

    /// Whether it may be stored like this. Only databases are compressed: what people sign they can read.
    pub fn may_be(&self, encoding: Encoding) -> bool {
        encoding == Encoding::Raw || *self == Self::Database
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str(MANIFEST),
            Self::Policy => f.write_str(POLICY),
            Self::Groups => f.write_str(GROUPS),
            Self::List(name) => write!(f, "{LIST}{name}"),
            Self::Database => f.write_str(DATABASE),
            Self::Directive => f.write_str(DIRECTIVE),
        }
    }
}

/// Whether a text is a plain name: lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
pub fn is_plain_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(is_first)
        && name.chars().all(|c| is_first(c) || matches!(c, '-' | '_' | '.'))
}

/// How a section's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// One zstd frame that says its size.
    Zstd,
}

impl Encoding {
    /// Its name in section headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Raw, Self::Zstd]
            .into_iter()
            .find(|encoding| encoding.name() == text)
    }
}
