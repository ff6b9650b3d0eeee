//! What a bundle says about itself.

mod read;
mod shape;
mod write;

use serde::Serialize;

pub use read::{Stage, read};

use super::{
    digest::{Digest, Version},
    envelope::Kind,
    section::SectionName,
    target::Target,
};
use crate::instant::Instant;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Name of the bundle: a host follows one name.
    pub name: String,
    /// Rises with every issue of the bundle.
    pub revision: u64,
    /// When it was issued.
    pub issued: Instant,
    /// Oldest cordon that may take it.
    pub min_cordon: Version,
    /// What changed, for people.
    pub change: String,
    /// What depends on the kind.
    pub content: Content,
    /// The other sections, in their order.
    #[serde(skip)]
    pub sections: Vec<SectionDigest>,
}

/// What depends on the kind of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Content {
    /// A policy.
    Policy(PolicyContent),
    /// A geo database.
    Geo(GeoContent),
    /// A directive.
    Directive(DirectiveContent),
}

/// When a bundle may be taken, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// Begin of its validity; `None`: it is valid from its issue on.
    pub not_before: Option<Instant>,
    /// End of its validity (exclusive). A policy in force stays in force beyond; a host just says so.
    pub expires: Instant,
    /// Which hosts it is for.
    pub target: Target,
}

/// What the manifest of a policy bundle has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyContent {
    /// When it may be taken, and by whom.
    #[serde(flatten)]
    pub validity: Validity,
    /// What it asks of the geo data.
    pub database: Option<DatabaseNeed>,
}

/// What the manifest of a directive has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectiveContent {
    /// When it may be taken, and by whom.
    #[serde(flatten)]
    pub validity: Validity,
}

/// What a policy asks of the geo data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseNeed {
    /// Name of the database.
    pub name: String,
    /// Oldest build that will do.
    pub oldest_build: Option<Instant>,
    /// Greatest age in days that will do.
    pub max_age_days: Option<u32>,
}

/// What the manifest of a geo bundle has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GeoContent {
    /// When the database was built.
    pub built: Instant,
    /// Its licence, and the attribution that it asks for.
    pub licence: String,
}

/// Size and digest of a section, once expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionDigest {
    /// Which section.
    pub name: SectionName,
    /// Its size.
    pub n_bytes: usize,
    /// Its digest.
    pub sha256: Digest,
}

impl Manifest {
    /// What the bundle is for.
    pub fn kind(&self) -> Kind {
        match self.content {
            Content::Policy(_) => Kind::Policy,
            Content::Geo(_) => Kind::Geo,
            Content::Directive(_) => Kind::Directive,
        }
    }

    /// When it may be taken, and by whom; `None`: at any time, by everybody.
    pub fn validity(&self) -> Option<&Validity> {
        match &self.content {
            Content::Policy(content) => Some(&content.validity),
            Content::Directive(content) => Some(&content.validity),
            Content::Geo(_) => None,
        }
    }
}

const SECONDS_PER_DAY: u32 = 86_400;

impl DatabaseNeed {
    /// Why a database will not do; `None` if it will.
    pub fn refuses(&self, name: &str, built: Instant, now: Instant) -> Option<String> {
        if name != self.name {
            return Some(format!(
                "the policy asks for the database `{}`, not `{name}`",
                self.name
            ));
        }
        if let Some(oldest) = self.oldest_build.filter(|oldest| built < *oldest) {
            return Some(format!("the database was built on {built}, before {oldest}"));
        }
        let days = self.max_age_days?;
        let end = built.0.saturating_add(days.saturating_mul(SECONDS_PER_DAY));
        (now.0 > end).then(|| format!("the database was built on {built}, more than {days} days ago"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_must_be_the_named_one_and_young_enough() {
        let need = DatabaseNeed {
            name: "country".to_owned(),
            oldest_build: Some(Instant(1_000_000)),
            max_age_days: Some(1),
        };
        let refuses = |name, built, now| need.refuses(name, Instant(built), Instant(now));
        assert_eq!(refuses("country", 1_000_000, 1_086_400), None);
        assert!(refuses("city", 1_000_000, 1_000_000).is_some_and(|why| why.contains("`country`")));
        assert!(refuses("country", 999_999, 1_000_000).is_some_and(|why| why.contains("before")));
        assert!(refuses("country", 1_000_000, 1_086_401).is_some_and(|why| why.contains("1 days ago")));
        assert_eq!(refuses("country", u32::MAX - 1, u32::MAX), None, "no overflow");
    }
}
