//! `[[group]]`, and which groups a policy may name.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use super::{
    BUILT_IN_GROUPS, Located,
    countries::{find_country, similar_countries},
    document::Document,
    limits::MAX_GROUPS,
    similar::similar,
    table::{Item, Key, Shape, Table},
    value::{id, list, string},
};
use crate::diagnostic::{Diagnostic, Place};

const GROUP: Shape = Shape {
    label: "[[group]]",
    keys: &[
        Key::mandatory("name", "rules name the group by it", "add `name = \"...\"`"),
        Key::mandatory(
            "countries",
            "a group is a list of countries",
            "add `countries = [\"DE\", \"FR\"]`",
        ),
    ],
    elsewhere: super::parse::ABOVE_ALL_TABLES,
};

/// The groups that a policy may name: its own and the built-in ones.
pub(super) struct Groups {
    own: BTreeMap<String, OwnGroup>,
}

struct OwnGroup {
    countries: Vec<String>,
    place: Place,
    is_used: Cell<bool>,
}

impl Groups {
    /// The countries of a group.
    pub fn find(&self, name: &str) -> Option<&[String]> {
        if let Some(group) = self.own.get(name) {
            group.is_used.set(true);
            return Some(&group.countries);
        }
        let group = BUILT_IN_GROUPS.iter().find(|group| group.name == name)?;
        Some(&group.countries)
    }

    /// What to write instead of a group that does not exist.
    pub fn fix_for(&self, name: &str) -> String {
        let built_in = BUILT_IN_GROUPS.iter().map(|group| group.name.as_str());
        let names: Vec<&str> = self.own.keys().map(String::as_str).chain(built_in).collect();
        if let Some(close) = similar(name, names.iter().copied()) {
            return format!("did you mean `{close}`?");
        }
        if find_country(name).is_some() {
            return format!("`{name}` is a country: write `countries = [\"{name}\"]`");
        }
        format!("define it as a `[[group]]`, or use one of {}", names.join(", "))
    }

    /// Remarks on groups that no rule names.
    pub fn remark_unused(&self, document: &mut Document<'_>) {
        for (name, group) in &self.own {
            if !group.is_used.get() {
                document.remark(Diagnostic::warning(
                    group.place.clone(),
                    name,
                    "no rule uses this group",
                    "remove it, or name it in a rule: `groups = [...]`",
                ));
            }
        }
    }
}

/// Reads the `[[group]]` tables.
pub(super) fn read_groups<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Groups {
    let mut own: BTreeMap<String, OwnGroup> = BTreeMap::new();
    for item in root.tables(document, "group", "[[group]]", MAX_GROUPS) {
        let Some(table) = Table::open(document, item, &GROUP) else {
            continue;
        };
        let name = table.read(document, "name", |document, item| {
            let name = id(document, item, ".:_-")?;
            is_free(document, item, &name.value, &own).then_some(name)
        });
        let countries = table.read(document, "countries", country_list);
        if let Some(name) = name {
            let countries = countries.unwrap_or_default();
            own.insert(
                name.value,
                OwnGroup {
                    countries: countries.into_iter().map(|country| country.value).collect(),
                    place: name.place,
                    is_used: Cell::new(false),
                },
            );
        }
    }
    Groups { own }
}

fn is_free(
    document: &mut Document<'_>,
    item: Item<'_>,
    name: &str,
    own: &BTreeMap<String, OwnGroup>,
) -> bool {
    if let Some(first) = own.get(name) {
        let line = first.place.line;
        document.error(
            item.node,
            format!("a group of this name is already defined in line {line}"),
            "rename one, or join them",
        );
        return false;
    }
    // Case is not enough to tell two groups apart for the people who read the policy.
    let built_in = BUILT_IN_GROUPS
        .iter()
        .find(|group| group.name.eq_ignore_ascii_case(name));
    if let Some(built_in) = built_in {
        document.error(
            item.node,
            format!("the group would hide the built-in group `{}`", built_in.name),
            "choose another name",
        );
        return false;
    }
    true
}

/// Reads a list of country codes: upper case, aliases resolved, each once.
pub(super) fn country_list<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Located<String>>> {
    let mut seen: HashMap<&'static str, u32> = HashMap::new();
    let mut codes = Vec::new();
    for element in list(document, item, "\"RU\"")? {
        let Some(code) = country(document, element) else {
            continue;
        };
        let place = document.place(element.node);
        if let Some(line) = seen.get(code) {
            let message = format!("the country is already in this list, in line {line}");
            document.warning(element.node, message, "remove one of the two");
            continue;
        }
        seen.insert(code, place.line);
        codes.push(Located {
            value: code.to_owned(),
            place,
        });
    }
    Some(codes)
}

/// Reads a country code. Lower case is taken with a warning: `ru` can mean nothing but `RU`, and an urgent order
/// should not fail over the shift key.
fn country(document: &mut Document<'_>, item: Item<'_>) -> Option<&'static str> {
    let written = string(document, item)?;
    let upper = written.to_uppercase();
    let Some(country) = find_country(&upper) else {
        unknown_country(document, item, written);
        return None;
    };
    if upper != written && country.alias_of.is_none() {
        document.warning(
            item.node,
            "country codes are written in capitals",
            format!("write `{}`", country.code),
        );
    }
    match &country.alias_of {
        Some(target) => {
            document.warning(
                item.node,
                format!(
                    "`{}` is not the ISO code and is read as `{target}` ({})",
                    country.code, country.name
                ),
                format!("write `{target}`"),
            );
            Some(target)
        }
        None => Some(&country.code),
    }
}

fn unknown_country(document: &mut Document<'_>, item: Item<'_>, written: &str) {
    if BUILT_IN_GROUPS.iter().any(|group| group.name == written) {
        let fix = format!("write `groups = [\"{written}\"]`");
        document.error(item.node, "this is a group, not a country", fix);
        return;
    }
    let similar: Vec<String> = similar_countries(written)
        .into_iter()
        .map(|country| format!("`{}` ({})", country.code, country.name))
        .collect();
    let fix = if similar.is_empty() {
        "write the two-letter code of ISO 3166-1, as in `RU`".to_owned()
    } else {
        format!("did you mean {}?", join_or(&similar))
    };
    document.error(item.node, "unknown country code", fix);
}

/// `a, b or c`.
fn join_or(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.join(""),
    }
}
