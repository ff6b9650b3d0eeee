//! What a host is called in the targets of bundles.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::{
    bundle::{
        is_plain_name,
        limits::{MAX_LABELS, MAX_PATTERN_CHARS},
    },
    diagnostic::Diagnostic,
    policy::{
        Located,
        document::{Document, shorten},
        table::{Item, wrong_type},
        value::string,
    },
};

/// `host_name`.
pub(super) fn host_name(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<String>> {
    Some(Located {
        value: value(document, item)?,
        place: document.place(item.node),
    })
}

/// `labels`.
pub(super) fn labels<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<BTreeMap<String, String>> {
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
            let message = "a label is 1 to 64 lower-case letters, digits, `-`, `_` and `.`, and begins with a letter or \
                           digit";
            document.remark(Diagnostic::error(
                place,
                shorten(label),
                message,
                "choose a plain one",
            ));
            return None;
        }
        labels.insert(label.to_owned(), value(document, Item::element("labels", node))?);
    }
    Some(labels)
}

/// What a pattern without `*` and `?` may be.
fn value(document: &mut Document<'_>, item: Item<'_>) -> Option<String> {
    let value = string(document, item)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if value.is_empty() || value.len() > MAX_PATTERN_CHARS || !value.chars().all(is_plain) {
        document.error(
            item.node,
            format!("it must be 1 to {MAX_PATTERN_CHARS} letters, digits, `-` `_` `.` `:` `/`"),
            "choose one that bundles can name in `[target]`",
        );
        return None;
    }
    Some(value.to_owned())
}
