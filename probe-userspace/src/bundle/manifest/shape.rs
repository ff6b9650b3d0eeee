//! The keys of a manifest.

use super::Stage;
use crate::{
    bundle::envelope::Kind,
    policy::table::{Key, Shape},
};

/// A manifest with the keys that every one has, and some.
macro_rules! manifest {
    ($elsewhere:expr, $($more:expr,)*) => {
        Shape {
            label: "the manifest",
            keys: &[
                Key::mandatory("format", "it says how the manifest is to be read", "add `format = 1`"),
                Key::mandatory(
                    "kind",
                    "it says what the bundle is for",
                    "add `kind = \"policy\"`, `kind = \"geo\"` or `kind = \"directive\"`",
                ),
                Key::mandatory("name", "hosts follow a bundle by its name", "add `name = \"edge\"`"),
                Key::mandatory(
                    "revision",
                    "hosts never go back behind the revision they have",
                    "add `revision = 1`, and raise it with every issue",
                ),
                Key::mandatory(
                    "issued",
                    "hosts without a good clock take it as the least time it can be",
                    "add `issued = 2026-03-01T00:00:00Z`",
                ),
                Key::mandatory(
                    "min_cordon",
                    "an older cordon may read the content in another way, or not at all",
                    "add the oldest version of cordon that you have tested, as in `min_cordon = \"1.4.0\"`",
                ),
                Key::mandatory(
                    "change",
                    "whoever signs and whoever operates must know what changed",
                    "add `change = \"...\"`",
                ),
                $($more,)*
            ],
            elsewhere: $elsewhere,
        }
    };
}

const NOT_BEFORE: Key = Key::optional("not_before");
const EXPIRES: Key = Key::mandatory(
    "expires",
    "a host that hears nothing more must be able to say that its policy is old",
    "add `expires = 2026-06-01T00:00:00Z`",
);
const TARGET: Key = Key::optional("target");
const DATABASE: Key = Key::optional("database");
const BUILT: Key = Key::mandatory(
    "built",
    "policies ask for the age of the data",
    "add `built = 2026-03-01T00:00:00Z`",
);
const LICENCE: Key = Key::mandatory(
    "licence",
    "whoever passes the data on must know on which terms",
    "add `licence = \"...\"`",
);
const SECTION: Key = Key::mandatory(
    "section",
    "it names the content of the bundle",
    "build the bundle with `cordon bundle build`",
);

const POLICY_ELSEWHERE: &[(&str, &str)] = &[
    ("built", "this belongs to the manifest of a geo bundle"),
    ("licence", "this belongs to the manifest of a geo bundle"),
    ("hosts", "write it below `[target]`"),
    ("labels", "write it below `[target]`"),
    ("expiry", "write `expires`"),
    (
        "version",
        "write `revision`, `format` or `min_cordon`, whichever is meant",
    ),
    (
        "section",
        "leave it out: `cordon bundle build` writes the sections",
    ),
];
const GEO_ELSEWHERE: &[(&str, &str)] = &[
    (
        "expires",
        "geo data has no end of its own: a policy says which age it takes, with `max_age_days`",
    ),
    ("not_before", "geo data is valid at once; leave it out"),
    ("target", "geo data is for every host; leave it out"),
    ("license", "write `licence`"),
    (
        "section",
        "leave it out: `cordon bundle build` writes the sections",
    ),
];

const DIRECTIVE_ELSEWHERE: &[(&str, &str)] = &[
    ("built", "this belongs to the manifest of a geo bundle"),
    ("licence", "this belongs to the manifest of a geo bundle"),
    ("database", "this belongs to the manifest of a policy bundle"),
    ("verb", "write it in `directive.toml`"),
    ("reason", "write it in `directive.toml`"),
    (
        "until",
        "write it in `directive.toml`; the end of the bundle is `expires`",
    ),
    ("hosts", "write it below `[target]`"),
    ("labels", "write it below `[target]`"),
    (
        "section",
        "leave it out: `cordon bundle build` writes the sections",
    ),
];

const POLICY_SOURCE: Shape = manifest!(POLICY_ELSEWHERE, NOT_BEFORE, EXPIRES, TARGET, DATABASE,);
const POLICY_SIGNED: Shape = manifest!(POLICY_ELSEWHERE, NOT_BEFORE, EXPIRES, TARGET, DATABASE, SECTION,);
const DIRECTIVE_SOURCE: Shape = manifest!(DIRECTIVE_ELSEWHERE, NOT_BEFORE, EXPIRES, TARGET,);
const DIRECTIVE_SIGNED: Shape = manifest!(DIRECTIVE_ELSEWHERE, NOT_BEFORE, EXPIRES, TARGET, SECTION,);
const GEO_SOURCE: Shape = manifest!(GEO_ELSEWHERE, BUILT, LICENCE,);
const GEO_SIGNED: Shape = manifest!(GEO_ELSEWHERE, BUILT, LICENCE, SECTION,);

/// The keys of a manifest's top.
pub(super) fn root(kind: Kind, stage: Stage) -> &'static Shape {
    match (kind, stage) {
        (Kind::Policy, Stage::Source) => &POLICY_SOURCE,
        (Kind::Policy, Stage::Signed) => &POLICY_SIGNED,
        (Kind::Directive, Stage::Source) => &DIRECTIVE_SOURCE,
        (Kind::Directive, Stage::Signed) => &DIRECTIVE_SIGNED,
        (Kind::Geo, Stage::Source) => &GEO_SOURCE,
        (Kind::Geo, Stage::Signed) => &GEO_SIGNED,
    }
}

pub(super) const TARGET_TABLE: Shape = Shape {
    label: "[target]",
    keys: &[Key::optional("hosts"), Key::optional("labels")],
    elsewhere: &[
        ("host", "write `hosts = [...]`"),
        ("label", "write `labels = { ... }`"),
    ],
};

pub(super) const DATABASE_TABLE: Shape = Shape {
    label: "[database]",
    keys: &[
        Key::mandatory(
            "name",
            "it says which database the policy is made for",
            "add `name = \"...\"`",
        ),
        Key::optional("oldest_build"),
        Key::optional("max_age_days"),
    ],
    elsewhere: &[("max_age", "write `max_age_days = 45`")],
};

pub(super) const SECTION_TABLE: Shape = Shape {
    label: "[[section]]",
    keys: &[
        Key::mandatory(
            "name",
            "it says which section is meant",
            "build the bundle with `cordon bundle build`",
        ),
        Key::mandatory(
            "bytes",
            "it says how large the section is",
            "build the bundle with `cordon bundle build`",
        ),
        Key::mandatory(
            "sha256",
            "it says what the section holds",
            "build the bundle with `cordon bundle build`",
        ),
    ],
    elsewhere: &[],
};
