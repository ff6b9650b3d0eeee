//! Why a bundle is not taken: a reason for programs, remarks for people.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::diagnostic::{Diagnostic, Place};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)+) => {
        /// Why a bundle is not taken. The code is part of the interface: logs and audit records name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that logs, audit records and JSON use.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

reasons! {
    /// The file cannot be read, or is no regular file.
    Unreadable = "unreadable",
    /// It is something else than a bundle.
    NotABundle = "not-a-bundle",
    /// A version of the format that this cordon does not know.
    UnknownVersion = "unknown-version",
    /// A kind of bundle that this cordon does not know, or another than asked for.
    WrongKind = "wrong-kind",
    /// It ends too early.
    Truncated = "truncated",
    /// Something follows its end.
    TrailingBytes = "trailing-bytes",
    /// It is larger than allowed, now or once expanded.
    TooLarge = "too-large",
    /// A signature is not written the one way it may be.
    MalformedSignature = "malformed-signature",
    /// The host trusts no key.
    NoTrustedKey = "no-trusted-key",
    /// There is no signature.
    Unsigned = "unsigned",
    /// No key that signed is trusted.
    UnknownKey = "unknown-key",
    /// A key that signed was revoked, and the others are too few.
    RevokedKey = "revoked-key",
    /// A key that signed is trusted for other verbs, and the others are too few.
    VerbNotAllowed = "verb-not-allowed",
    /// A signature of a known key does not fit the payload.
    BadSignature = "bad-signature",
    /// Fewer trusted keys signed than the host asks for.
    BelowThreshold = "below-threshold",
    /// The payload's sections are not framed as they must be.
    MalformedPayload = "malformed-payload",
    /// A section that no bundle of this kind has.
    UnknownSection = "unknown-section",
    /// A section is missing.
    MissingSection = "missing-section",
    /// Sections are out of order, or one is there twice.
    SectionOrder = "section-order",
    /// A section does not expand to what it says.
    MalformedCompression = "malformed-compression",
    /// The manifest is refused.
    MalformedManifest = "malformed-manifest",
    /// A section is not the one that the manifest names: size or digest differ.
    SectionMismatch = "section-mismatch",
    /// A list of prefixes is refused.
    MalformedList = "malformed-list",
    /// The groups are refused.
    MalformedGroups = "malformed-groups",
    /// The database is none.
    MalformedDatabase = "malformed-database",
    /// The directive is refused.
    MalformedDirective = "malformed-directive",
    /// The policy is refused.
    MalformedPolicy = "malformed-policy",
    /// The host has a later revision.
    OlderRevision = "older-revision",
    /// The host has the same revision with other content.
    SameRevisionOtherContent = "same-revision-other-content",
    /// The revision is too far above the host's.
    RevisionJump = "revision-jump",
    /// The host follows a bundle of another name.
    OtherName = "other-name",
    /// The bundle is not valid yet.
    NotYetValid = "not-yet-valid",
    /// The bundle ended before the host first saw it.
    Expired = "expired",
    /// The bundle needs a newer cordon.
    CordonTooOld = "cordon-too-old",
    /// The bundle is for other hosts.
    NotForThisHost = "not-for-this-host",
    /// The geo data at hand is not what the bundle asks for.
    WrongGeoData = "wrong-geo-data",
    /// It would cut off what the host needs.
    Lockout = "lockout",
    /// The directive cannot be followed as the host is now.
    CannotFollow = "cannot-follow",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A bundle that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}: {}", first_message(.remarks))]
pub struct Rejected {
    /// Why, in one word.
    pub reason: Reason,
    /// Why, with place, value and fix; at least one of them an error.
    pub remarks: Vec<Diagnostic>,
}

fn first_message(remarks: &[Diagnostic]) -> &str {
    remarks.first().map_or("", |remark| &remark.message)
}

impl Rejected {
    /// A rejection for one cause.
    pub fn new(
        reason: Reason,
        place: Place,
        value: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            remarks: vec![Diagnostic::error(place, value, message, fix)],
        }
    }

    /// A rejection by the remarks of a reader.
    pub fn with_remarks(reason: Reason, remarks: Vec<Diagnostic>) -> Self {
        Self { reason, remarks }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_plain() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for code in codes {
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
        }
    }
}
