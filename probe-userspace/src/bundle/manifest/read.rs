//! Text to manifest. Strict: what is not known is refused, because a signer may have meant something by it.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::{DeTable, DeValue};

use super::{
    Content, DatabaseNeed, DirectiveContent, GeoContent, Manifest, PolicyContent, SectionDigest, Validity,
    shape,
};
use crate::{
    bundle::{
        digest::Version,
        envelope::Kind,
        limits::{MAX_EXPANDED_BYTES, MAX_HOSTS, MAX_LABELS, MAX_PATTERN_CHARS, MAX_REVISION, MAX_SECTIONS},
        section::{SectionName, is_plain_name},
        target::{Target, is_pattern},
    },
    diagnostic::{Diagnostic, Place},
    policy::{
        document::{Document, Node, parse_tree, shorten},
        recovery::Readable,
        table::{Item, Table, wrong_type},
        value::{choice, instant, list, string, text},
    },
};

/// Which form of the manifest is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What a person writes: without sections.
    Source,
    /// What is in a bundle: with them.
    Signed,
}

const FORMAT: u64 = 1;
const KINDS: &[(&str, Kind)] = &[
    ("policy", Kind::Policy),
    ("geo", Kind::Geo),
    ("directive", Kind::Directive),
];
const MAX_DAYS: u64 = 36_500;

/// Parses a manifest. Gives all remarks in one pass; the manifest is `None` if any of them is an error.
pub fn read(file: &str, text: &str, stage: Stage) -> (Option<Manifest>, Vec<Diagnostic>) {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    let manifest = read_manifest(&mut document, &tree, stage);
    let (refused, remarks) = document.finish();
    (manifest.filter(|_| !refused), remarks)
}

fn read_manifest<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>, stage: Stage) -> Option<Manifest> {
    // A newer format may mean anything by its keys: judging them would only bury the one thing to say.
    let format = tree
        .get("format")
        .map(|node| format(document, Item::value("format", node)));
    if format == Some(Format::Newer) {
        return None;
    }
    let kind = tree
        .get("kind")
        .and_then(|node| choice(document, Item::value("kind", node), KINDS, &[]));
    let root = Table::root(document, tree, shape::root(kind.unwrap_or(Kind::Policy), stage));
    let name = root.read(document, "name", name);
    let revision = root.read(document, "revision", |document, item| {
        number(document, item, 1, MAX_REVISION)
    });
    let issued = root.read(document, "issued", instant).map(|issued| issued.value);
    let min_cordon = root.read(document, "min_cordon", parsed::<Version>);
    let change = root.read(document, "change", text);
    let content = match kind? {
        Kind::Policy => policy_content(document, &root).map(Content::Policy),
        Kind::Geo => geo_content(document, &root).map(Content::Geo),
        Kind::Directive => {
            validity(document, &root).map(|validity| Content::Directive(DirectiveContent { validity }))
        }
    };
    let sections = match stage {
        Stage::Source => Some(Vec::new()),
        Stage::Signed => sections(document, &root, kind?),
    };
    let manifest = Manifest {
        name: name?,
        revision: revision?,
        issued: issued?,
        min_cordon: min_cordon?,
        change: change?,
        content: content?,
        sections: sections?,
    };
    check_dates(document, &root, &manifest);
    Some(manifest)
}

#[derive(PartialEq, Eq)]
enum Format {
    Ours,
    Newer,
    Wrong,
}

fn format(document: &mut Document<'_>, item: Item<'_>) -> Format {
    match integer(item.node) {
        Some(FORMAT) => Format::Ours,
        Some(newer) if newer > FORMAT => {
            document.error(
                item.node,
                "the manifest is made for a newer cordon: this one reads format 1",
                "install a newer cordon",
            );
            Format::Newer
        }
        _ => {
            document.error(
                item.node,
                "there is no such format of the manifest",
                "write `format = 1`",
            );
            Format::Wrong
        }
    }
}

fn validity<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Option<Validity> {
    let not_before = root.read(document, "not_before", instant);
    let expires = root.read(document, "expires", instant);
    let target = match root.get("target") {
        Some(item) => target(document, item),
        None => Some(Target::default()),
    };
    // A value that could not be read has left a remark, which refuses the manifest.
    Some(Validity {
        not_before: not_before.map(|not_before| not_before.value),
        expires: expires?.value,
        target: target?,
    })
}

fn policy_content<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Option<PolicyContent> {
    let validity = validity(document, root);
    let database = match root.get("database") {
        Some(item) => database(document, item).map(Some),
        None => Some(None),
    };
    Some(PolicyContent {
        validity: validity?,
        database: database?,
    })
}

fn geo_content<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Option<GeoContent> {
    let built = root.read(document, "built", instant);
    let licence = root.read(document, "licence", text);
    Some(GeoContent {
        built: built?.value,
        licence: licence?,
    })
}

fn check_dates(document: &mut Document<'_>, root: &Table<'_>, manifest: &Manifest) {
    let mut at = |key, message: String, fix| {
        if let Some(item) = root.get(key) {
            document.error(item.node, message, fix);
        }
    };
    if let Some(validity) = manifest.validity() {
        let begin = validity.not_before.unwrap_or(manifest.issued);
        if validity.expires <= begin {
            at(
                "expires",
                format!("the bundle would end before it begins, {begin}"),
                "write a later end",
            );
        }
        if begin < manifest.issued {
            at(
                "not_before",
                format!(
                    "the bundle would be valid before it was issued, {}",
                    manifest.issued
                ),
                "leave it out, or write an earlier `issued`",
            );
        }
    }
    if let Content::Geo(content) = &manifest.content
        && content.built > manifest.issued
    {
        at(
            "built",
            format!(
                "the database would be built after the bundle was issued, {}",
                manifest.issued
            ),
            "write a later `issued`",
        );
    }
}

fn target<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Target> {
    let table = Table::open(document, item, &shape::TARGET_TABLE)?;
    let hosts = match table.get("hosts") {
        Some(item) => hosts(document, item),
        None => Some(Vec::new()),
    };
    let labels = match table.get("labels") {
        Some(item) => labels(document, item),
        None => Some(BTreeMap::new()),
    };
    let target = Target {
        hosts: hosts?,
        labels: labels?,
    };
    if target.is_every_host() {
        let place = table.place;
        document.remark(Diagnostic::error(
            place,
            "",
            "`[target]` selects nothing",
            "name `hosts` or `labels`, or remove the table: then the bundle is for every host",
        ));
        return None;
    }
    Some(target)
}

fn hosts<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<String>> {
    let elements = list(document, item, "\"edge-*\"")?;
    if let Some(extra) = elements.get(MAX_HOSTS) {
        document.error(
            extra.node,
            format!("more than {MAX_HOSTS} patterns of hosts"),
            "use `*`, or labels",
        );
        return None;
    }
    let mut known = BTreeSet::new();
    let mut hosts = Vec::new();
    for element in elements {
        let pattern = pattern(document, element)?;
        if !known.insert(pattern.to_ascii_lowercase()) {
            document.error(
                element.node,
                "the pattern is there twice",
                "remove one of the two",
            );
            return None;
        }
        hosts.push(pattern);
    }
    Some(hosts)
}

fn labels<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<BTreeMap<String, String>> {
    let DeValue::Table(entries) = item.node.get_ref() else {
        wrong_type(document, item, "a table", "write `labels = { site = \"fra\" }`");
        return None;
    };
    if entries.len() > MAX_LABELS {
        document.error(item.node, format!("more than {MAX_LABELS} labels"), "use fewer");
        return None;
    }
    let mut labels = BTreeMap::new();
    for (key, node) in entries.iter() {
        let label = key.get_ref().as_ref();
        if !is_plain_name(label) {
            let place = document.place_at(key.span().start);
            document.remark(not_plain(place, label, "a label"));
            return None;
        }
        labels.insert(
            label.to_owned(),
            pattern(document, Item::element("labels", node))?,
        );
    }
    Some(labels)
}

fn pattern(document: &mut Document<'_>, item: Item<'_>) -> Option<String> {
    let value = string(document, item)?;
    if value.is_empty() || value.len() > MAX_PATTERN_CHARS || !is_pattern(value) {
        document.error(
            item.node,
            format!(
                "a pattern is 1 to {MAX_PATTERN_CHARS} letters, digits, `-` `_` `.` `:` `/`, and `*` and `?` for others"
            ),
            "write it like `edge-*.example.org`",
        );
        return None;
    }
    Some(value.to_owned())
}

fn database<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<DatabaseNeed> {
    let table = Table::open(document, item, &shape::DATABASE_TABLE)?;
    let name = table.read(document, "name", name);
    let oldest_build = table.read(document, "oldest_build", instant);
    let max_age_days = table.read(document, "max_age_days", |document, item| {
        number(document, item, 1, MAX_DAYS)
    });
    // A value that could not be read has left a remark, which refuses the manifest.
    Some(DatabaseNeed {
        name: name?,
        oldest_build: oldest_build.map(|oldest| oldest.value),
        max_age_days: max_age_days.and_then(|days| u32::try_from(days).ok()),
    })
}

fn sections<'a>(document: &mut Document<'a>, root: &Table<'a>, kind: Kind) -> Option<Vec<SectionDigest>> {
    let mut sections: Vec<SectionDigest> = Vec::new();
    let mut n_bytes = 0usize;
    for item in root.tables(document, "section", "[[section]]", MAX_SECTIONS) {
        let Some(table) = Table::open(document, item, &shape::SECTION_TABLE) else {
            continue;
        };
        let name = table.read(document, "name", |document, item| {
            section_name(document, item, kind)
        });
        let bytes = table.read(document, "bytes", |document, item| {
            number(document, item, 0, MAX_EXPANDED_BYTES as u64)
        });
        let sha256 = table.read(document, "sha256", parsed);
        let (Some(name), Some(bytes), Some(sha256)) = (name, bytes, sha256) else {
            continue;
        };
        let section = SectionDigest {
            name,
            n_bytes: usize::try_from(bytes).ok()?,
            sha256,
        };
        if let Some(previous) = sections.last()
            && previous.name >= section.name
        {
            let message = format!(
                "the sections are out of order: `{}` comes after `{}`",
                section.name, previous.name
            );
            document.error(item.node, message, "build the bundle with `cordon bundle build`");
        }
        n_bytes = n_bytes.saturating_add(section.n_bytes);
        if n_bytes > MAX_EXPANDED_BYTES {
            document.error(
                item.node,
                format!("the sections come to more than {} MiB", MAX_EXPANDED_BYTES >> 20),
                "make them smaller",
            );
            return None;
        }
        sections.push(section);
    }
    Some(sections)
}

fn section_name(document: &mut Document<'_>, item: Item<'_>, kind: Kind) -> Option<SectionName> {
    let value = string(document, item)?;
    let name =
        SectionName::parse(value).filter(|name| name.belongs_to(kind) && *name != SectionName::Manifest);
    if name.is_none() {
        document.error(
            item.node,
            format!("the manifest of a {} bundle names no such section", kind.name()),
            "build the bundle with `cordon bundle build`",
        );
    }
    name
}

fn name(document: &mut Document<'_>, item: Item<'_>) -> Option<String> {
    let value = string(document, item)?;
    if !is_plain_name(value) {
        let place = document.place(item.node);
        document.remark(not_plain(place, value, "a name"));
        return None;
    }
    Some(value.to_owned())
}

fn not_plain(place: Place, value: &str, what: &str) -> Diagnostic {
    Diagnostic::error(
        place,
        shorten(value),
        format!(
            "{what} is 1 to 64 lower-case letters, digits, `-`, `_` and `.`, and begins with a letter or digit"
        ),
        "choose a plain one",
    )
}

/// An integer that is not negative.
fn integer(node: Node<'_>) -> Option<u64> {
    match node.get_ref() {
        DeValue::Integer(value) => u64::from_str_radix(value.as_str(), value.radix()).ok(),
        _ => None,
    }
}

fn number(document: &mut Document<'_>, item: Item<'_>, min: u64, max: u64) -> Option<u64> {
    if !matches!(item.node.get_ref(), DeValue::Integer(_)) {
        let fix = format!("write `{} = {min}`", item.key);
        wrong_type(document, item, "an integer", &fix);
        return None;
    }
    let value = integer(item.node).filter(|value| (min..=max).contains(value));
    if value.is_none() {
        document.error(
            item.node,
            format!("`{}` must be a number from {min} to {max}", item.key),
            "write one of them",
        );
    }
    value
}

/// A string that has a form of its own.
fn parsed<T: std::str::FromStr<Err = String>>(document: &mut Document<'_>, item: Item<'_>) -> Option<T> {
    match string(document, item)?.parse() {
        Ok(value) => Some(value),
        Err(message) => {
            let fix = format!("correct `{}`", item.key);
            document.error(item.node, message, fix);
            None
        }
    }
}
