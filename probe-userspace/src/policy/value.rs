//! Typed values: texts, flags, numbers, lists, instants.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::{
    Located,
    document::{Document, Node},
    limits::{MAX_ID_CHARS, MAX_TEXT_CHARS},
    similar::similar,
    table::{Item, wrong_type},
};
use crate::{host::check_ifname, instant::Instant};

/// A string of any content.
pub(crate) fn string<'a>(document: &mut Document<'_>, item: Item<'a>) -> Option<&'a str> {
    match item.node.get_ref() {
        DeValue::String(value) => Some(value.as_ref()),
        _ => {
            wrong_type(document, item, "a string", &item.quoted("..."));
            None
        }
    }
}

/// A text for people: not empty, of bounded length, nothing that a terminal or a log would act on.
pub(crate) fn text(document: &mut Document<'_>, item: Item<'_>) -> Option<String> {
    let value = string(document, item)?;
    if value.trim().is_empty() {
        document.error(
            item.node,
            format!("`{}` is empty", item.key),
            format!("fill it in: `{} = \"...\"`", item.key),
        );
        return None;
    }
    if value.chars().take(MAX_TEXT_CHARS + 1).count() > MAX_TEXT_CHARS {
        document.error(
            item.node,
            format!("`{}` is longer than {MAX_TEXT_CHARS} characters", item.key),
            "shorten it",
        );
        return None;
    }
    if value
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        document.error(
            item.node,
            format!("`{}` holds control characters", item.key),
            "remove them",
        );
        return None;
    }
    Some(value.to_owned())
}

/// An id or a name that other entries refer to: letters, digits and the given marks.
pub(crate) fn id(document: &mut Document<'_>, item: Item<'_>, marks: &str) -> Option<Located<String>> {
    let value = string(document, item)?;
    let n_chars = value.chars().take(MAX_ID_CHARS + 1).count();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    if n_chars == 0 || n_chars > MAX_ID_CHARS || !value.chars().all(is_plain) {
        let marks: Vec<String> = marks.chars().map(|mark| format!("`{mark}`")).collect();
        document.error(
            item.node,
            format!(
                "`{}` must be 1 to {MAX_ID_CHARS} letters, digits or {}",
                item.key,
                marks.join(" ")
            ),
            "choose a plain one",
        );
        return None;
    }
    Some(Located {
        value: value.to_owned(),
        place: document.place(item.node),
    })
}

/// `true` or `false`.
pub(crate) fn flag(document: &mut Document<'_>, item: Item<'_>) -> Option<bool> {
    match item.node.get_ref() {
        DeValue::Boolean(value) => Some(*value),
        _ => {
            let fix = format!("write `{} = true` or `{} = false`", item.key, item.key);
            wrong_type(document, item, "true or false", &fix);
            None
        }
    }
}

/// The elements of a list that must not be empty. `example` is one element as the user would write it.
pub(crate) fn list<'a>(document: &mut Document<'a>, item: Item<'a>, example: &str) -> Option<Vec<Item<'a>>> {
    let elements = possibly_empty_list(document, item, example)?;
    if elements.is_empty() {
        document.error(
            item.node,
            format!("`{}` is empty", item.key),
            format!(
                "name at least one, as in `{} = [{example}]`, or remove the key",
                item.key
            ),
        );
        return None;
    }
    Some(elements)
}

/// The elements of a list.
pub(crate) fn possibly_empty_list<'a>(
    document: &mut Document<'a>,
    item: Item<'a>,
    example: &str,
) -> Option<Vec<Item<'a>>> {
    match item.node.get_ref() {
        DeValue::Array(elements) => {
            let key = item.key;
            Some(elements.iter().map(|node| Item::element(key, node)).collect())
        }
        DeValue::String(_) => {
            let fix = format!("put it in brackets: `{} = [{example}]`", item.key);
            wrong_type(document, item, "a list", &fix);
            None
        }
        _ => {
            wrong_type(
                document,
                item,
                "a list",
                &format!("write `{} = [{example}]`", item.key),
            );
            None
        }
    }
}

/// One of a few words. `synonyms` are words from elsewhere and what they are called here.
pub(crate) fn choice<T: Copy>(
    document: &mut Document<'_>,
    item: Item<'_>,
    choices: &[(&str, T)],
    synonyms: &[(&str, &str)],
) -> Option<T> {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
    let words = words.join(" or ");
    let DeValue::String(value) = item.node.get_ref() else {
        wrong_type(document, item, &words, &item.quoted(choices[0].0));
        return None;
    };
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
        return Some(*choice);
    }
    let synonym = synonyms.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
    let close = synonym
        .map(|(_, word)| *word)
        .or_else(|| similar(value, choices.iter().map(|(word, _)| *word)));
    let fix = match close {
        Some(close) => item.quoted(close),
        None => format!("choose one of them, as in `{} = \"{}\"`", item.key, choices[0].0),
    };
    document.error(item.node, format!("`{}` must be {words}", item.key), fix);
    None
}

/// A whole number within limits.
pub(crate) fn number(
    document: &mut Document<'_>,
    item: Item<'_>,
    limits: RangeInclusive<u64>,
) -> Option<u64> {
    let (least, most) = limits.into_inner();
    let DeValue::Integer(value) = item.node.get_ref() else {
        let fix = if item.is_element {
            "write a number, without quotes".to_owned()
        } else {
            format!(
                "write a number without quotes, as in `{} = {}`",
                item.key,
                least.max(1)
            )
        };
        wrong_type(document, item, "a whole number", &fix);
        return None;
    };
    match u64::from_str_radix(value.as_str(), value.radix()) {
        Ok(value) if (least..=most).contains(&value) => Some(value),
        _ => {
            let message = format!("`{}` must be from {least} to {most}", item.key);
            document.error(item.node, message, "choose a number within these limits");
            None
        }
    }
}

/// The name of an interface.
pub(crate) fn interface(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<String>> {
    let name = string(document, item)?;
    if let Err(fix) = check_ifname(name) {
        document.error(item.node, "no interface can have this name", fix);
        return None;
    }
    Some(Located {
        value: name.to_owned(),
        place: document.place(item.node),
    })
}

/// An instant: a TOML date-time with offset, or the same in a string.
pub(crate) fn instant(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<Instant>> {
    let (written, parsed) = match item.node.get_ref() {
        DeValue::Datetime(value) => (value.to_string(), Some(*value)),
        DeValue::String(value) => (value.trim().to_owned(), value.trim().parse().ok()),
        _ => {
            let fix = format!("write `{} = 2026-03-01T00:00:00Z`", item.key);
            wrong_type(document, item, "a date-time with offset", &fix);
            return None;
        }
    };
    let Some(parsed) = parsed else {
        not_an_instant(document, item.node);
        return None;
    };
    match (parsed.date, parsed.time, parsed.offset) {
        (Some(_), Some(_), Some(_)) => {}
        (Some(_), Some(_), None) => {
            document.error(
                item.node,
                "the date-time has no offset, so it is no instant: servers in other zones would read another one",
                format!("write `{written}Z` for UTC, or the offset you mean, as in `{written}+02:00`"),
            );
            return None;
        }
        (Some(_), None, _) => {
            document.error(
                item.node,
                "a date without time and offset is no instant",
                format!("write `{written}T00:00:00Z` for its first moment in UTC"),
            );
            return None;
        }
        _ => {
            not_an_instant(document, item.node);
            return None;
        }
    }
    match Instant::parse(&written) {
        Ok(value) => Some(Located {
            value,
            place: document.place(item.node),
        }),
        Err(_) => {
            document.error(
                item.node,
                "the instant is outside of the years 1970 to 2106 that the kernel's tables can hold",
                "for ever is said by leaving the key out",
            );
            None
        }
    }
}

fn not_an_instant(document: &mut Document<'_>, node: Node<'_>) {
    document.error(
        node,
        "not a date-time with offset (RFC 3339)",
        "write it like `2026-03-01T00:00:00Z` or `2026-03-01T00:00:00+02:00`",
    );
}
