//! Tables with known keys.

use toml::de::{DeTable, DeValue};

use super::{
    document::{Document, Node, shorten},
    similar::similar,
};
use crate::diagnostic::{Diagnostic, Place};

/// A key that a table may have.
pub(crate) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What is wrong without it, and how to add it; `None` if it is optional.
    pub missing: Option<(&'static str, &'static str)>,
}

impl Key {
    /// A key that may be left out.
    pub const fn optional(name: &'static str) -> Self {
        Self { name, missing: None }
    }

    /// A key that must be there: why, and what to write.
    pub const fn mandatory(name: &'static str, why: &'static str, fix: &'static str) -> Self {
        Self {
            name,
            missing: Some((why, fix)),
        }
    }
}

/// What a table is called and what it may hold.
pub(crate) struct Shape {
    /// How its header is written, `[[order]]`.
    pub label: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Keys that users look for here, and where they belong.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// One entry of a table: the key's name and the value.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Name of the key.
    pub key: &'static str,
    /// Its value, or an element of the list that is its value.
    pub node: Node<'a>,
    /// Whether it is an element.
    pub is_element: bool,
}

impl<'a> Item<'a> {
    /// The value of a key.
    pub fn value(key: &'static str, node: Node<'a>) -> Self {
        Self {
            key,
            node,
            is_element: false,
        }
    }

    /// An element of the list that is the value of a key.
    pub fn element(key: &'static str, node: Node<'a>) -> Self {
        Self {
            key,
            node,
            is_element: true,
        }
    }

    /// What to write for a value that stands in quotes.
    pub fn quoted(&self, value: &str) -> String {
        if self.is_element {
            format!("write `\"{value}\"`")
        } else {
            format!("write `{} = \"{value}\"`", self.key)
        }
    }
}

/// A table whose keys were checked.
pub(crate) struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// Where its header stands.
    pub place: Place,
}

impl<'a> Table<'a> {
    /// The top of the file.
    pub fn root(document: &mut Document<'a>, entries: &'a DeTable<'a>, shape: &Shape) -> Self {
        let table = Self {
            entries,
            place: Place::file(document.file()),
        };
        table.check_keys(document, shape);
        table
    }

    /// A table within the file; reports what is no table.
    pub fn open(document: &mut Document<'a>, item: Item<'a>, shape: &Shape) -> Option<Self> {
        let DeValue::Table(entries) = item.node.get_ref() else {
            wrong_type(document, item, "a table", &format!("write `{}`", shape.label));
            return None;
        };
        let table = Self {
            entries,
            place: document.place(item.node),
        };
        table.check_keys(document, shape);
        Some(table)
    }

    /// The value of a key.
    pub fn get(&self, key: &'static str) -> Option<Item<'a>> {
        self.entries.get(key).map(|node| Item::value(key, node))
    }

    /// The value of a key, read by a function that reports what it cannot take.
    pub fn read<T>(
        &self,
        document: &mut Document<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Document<'a>, Item<'a>) -> Option<T>,
    ) -> Option<T> {
        read(document, self.get(key)?)
    }

    /// The elements of an array of tables, at most `max`; none if the key is absent.
    pub fn tables(
        &self,
        document: &mut Document<'a>,
        key: &'static str,
        label: &str,
        max: usize,
    ) -> Vec<Item<'a>> {
        let Some(item) = self.get(key) else {
            return Vec::new();
        };
        let elements = match item.node.get_ref() {
            DeValue::Array(elements) => elements,
            DeValue::Table(_) => {
                let place = document.place(item.node);
                document.remark(Diagnostic::error(
                    place,
                    "",
                    format!("`{key}` is a list of tables and needs double brackets"),
                    format!("write `{label}`"),
                ));
                return Vec::new();
            }
            _ => {
                wrong_type(document, item, "a list of tables", &format!("write `{label}`"));
                return Vec::new();
            }
        };
        if let Some(node) = elements.get(max) {
            document.error(
                node,
                format!("more than {max} `{label}` tables"),
                "split the policy, or join tables",
            );
        }
        elements
            .iter()
            .take(max)
            .map(|node| Item::element(key, node))
            .collect()
    }

    fn check_keys(&self, document: &mut Document<'a>, shape: &Shape) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if shape.keys.iter().any(|known| known.name == name) {
                continue;
            }
            let elsewhere = shape.elsewhere.iter().find(|(other, _)| *other == name);
            let fix = match (
                elsewhere,
                similar(name, shape.keys.iter().map(|known| known.name)),
            ) {
                (Some((_, fix)), _) => (*fix).to_owned(),
                (None, Some(close)) => format!("did you mean `{close}`?"),
                (None, None) => {
                    let known: Vec<&str> = shape.keys.iter().map(|known| known.name).collect();
                    format!("known keys: {}", known.join(", "))
                }
            };
            let place = document.place_at(key.span().start);
            let message = format!("unknown key in {}", shape.label);
            document.remark(Diagnostic::error(place, shorten(name), message, fix));
        }
        if self.entries.is_empty() && document.has_broken_lines() && self.place.line == 0 {
            // Not one line of the file could be read: it is no TOML at all.
            return;
        }
        for key in shape.keys {
            if let Some((why, fix)) = key.missing
                && !self.entries.contains_key(key.name)
                && !document.has_broken_line_for(key.name)
            {
                let message = format!("`{}` is missing in {}: {why}", key.name, shape.label);
                document.remark(Diagnostic::error(self.place.clone(), "", message, fix));
            }
        }
    }
}

/// Reports a value of the wrong type.
pub(crate) fn wrong_type(document: &mut Document<'_>, item: Item<'_>, expected: &str, fix: &str) {
    let found = match item.node.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let subject = if item.is_element { "an element of " } else { "" };
    document.error(
        item.node,
        format!("{subject}`{}` must be {expected}, not {found}", item.key),
        fix,
    );
}
