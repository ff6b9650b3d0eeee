//! `nft list ruleset` and `nft list set`: named sets of `ipv4_addr` and `ipv6_addr`. Sets within rules, maps and sets of
//! several fields are no lists of sources by themselves: what their rules mean has to be written as a policy.

use super::{Imported, Set, place, spans, unreadable};
use crate::diagnostic::{Diagnostic, Place};

/// A set that is being read.
struct Open {
    set: Set,
    line_no: usize,
    /// Its type, once that is known.
    kind: Option<String>,
    /// Within `elements = { ... }`.
    in_elements: bool,
}

pub(super) fn read(file: &str, text: &str, only: Option<&str>) -> Imported {
    let mut imported = Imported::default();
    let mut table = String::new();
    let mut open: Option<Open> = None;
    for (idx, line) in text.lines().enumerate() {
        let line_no = idx + 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(current) = &mut open else {
            match words.as_slice() {
                ["table", family, name, "{", ..] => table = format!("{family} {name}"),
                ["set", name, "{", ..] if only.is_none_or(|only| only == *name) => {
                    open = Some(Open {
                        set: Set {
                            name: format!("{table} {name}").trim().to_owned(),
                            ..Set::default()
                        },
                        line_no,
                        kind: None,
                        in_elements: false,
                    });
                }
                _ => {}
            }
            continue;
        };
        let mut rest = line.trim();
        if !current.in_elements {
            match words.as_slice() {
                ["type" | "typeof", kind @ ..] => current.kind = Some(kind.join(" ")),
                ["elements", "=", "{", ..] => {
                    current.in_elements = true;
                    rest = rest.split_once('{').map_or("", |(_, rest)| rest);
                }
                ["}"] => {
                    close(open.take(), file, &mut imported);
                    continue;
                }
                _ => {}
            }
        }
        if current.in_elements {
            let (elements, ends) = until_brace(rest);
            current.in_elements = !ends;
            if current.kind.as_deref().is_some_and(is_address) {
                for element in split(elements) {
                    read_element(
                        element,
                        &mut current.set,
                        &mut imported.remarks,
                        file,
                        line_no,
                        line,
                    );
                }
            }
        }
    }
    if let Some(open) = open {
        imported.remarks.push(Diagnostic::error(
            Place {
                line: open.line_no as u32,
                column: 1,
                ..Place::file(file)
            },
            &open.set.name,
            "this set is cut short",
            "give the whole of what nft printed",
        ));
    }
    imported
}

fn close(open: Option<Open>, file: &str, imported: &mut Imported) {
    let Some(open) = open else {
        return;
    };
    match &open.kind {
        Some(kind) if is_address(kind) => imported.sets.push(open.set),
        kind => imported.remarks.push(Diagnostic::warning(
            Place {
                line: open.line_no as u32,
                column: 1,
                ..Place::file(file)
            },
            &open.set.name,
            format!(
                "this set is of {}, not of addresses: left out",
                kind.as_deref().unwrap_or("no type")
            ),
            "write what its rules mean as services of a policy",
        )),
    }
}

/// `typeof ip saddr` stands for the type of that field.
fn is_address(kind: &str) -> bool {
    matches!(
        kind,
        "ipv4_addr" | "ipv6_addr" | "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr"
    )
}

fn read_element(
    element: &str,
    set: &mut Set,
    remarks: &mut Vec<Diagnostic>,
    file: &str,
    line_no: usize,
    line: &str,
) {
    let mut words = element.split_whitespace();
    let Some(value) = words.next() else {
        return;
    };
    match spans::parse(value) {
        Ok(span) => set.spans.add(span),
        Err(why) => remarks.push(unreadable(place(file, line_no, line, value), value, &why)),
    }
    set.has_timeouts |= words.any(|word| word == "timeout");
}

/// What stands before the closing brace, if there is one outside of quotes.
fn until_brace(text: &str) -> (&str, bool) {
    let mut is_quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return (&text[..at], true),
            _ => {}
        }
    }
    (text, false)
}

/// Splits at commas outside of quotes.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULESET: &str = "table inet filter {\n\
        \tset bad4 {\n\t\ttype ipv4_addr\n\t\tflags interval,timeout\n\
        \t\telements = { 192.0.2.0/24, 198.51.100.1-198.51.100.2,\n\
        \t\t\t     203.0.113.5 timeout 1h expires 59m59s952ms comment \"x, } y\" }\n\t}\n\
        \tset pairs {\n\t\ttype ipv4_addr . inet_service\n\t\telements = { 192.0.2.1 . 22 }\n\t}\n\
        \tchain input {\n\t\tip saddr { 10.1.0.0/16 } drop\n\t}\n}\n";

    #[test]
    fn named_sets_are_read_and_others_told() {
        let imported = read("f.nft", RULESET, None);
        let [set] = imported.sets.as_slice() else {
            panic!("{imported:?}");
        };
        assert_eq!((set.name.as_str(), set.has_timeouts), ("inet filter bad4", true));
        let prefixes: Vec<String> = set.spans.prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(
            prefixes,
            [
                "192.0.2.0/24",
                "198.51.100.1/32",
                "198.51.100.2/32",
                "203.0.113.5/32"
            ]
        );
        let remarks: Vec<String> = imported.remarks.iter().map(ToString::to_string).collect();
        assert!(
            remarks.len() == 1 && remarks[0].starts_with("f.nft:8:1: warning"),
            "{remarks:?}"
        );
    }

    #[test]
    fn errors_name_line_and_value() {
        let broken = RULESET.replace("198.51.100.1-", "198.51.300.1-");
        let remarks = read("f.nft", &broken, None).remarks;
        assert!(
            remarks[0].to_string().starts_with("f.nft:5:30: error")
                && remarks[0].value == "198.51.300.1-198.51.100.2",
            "{remarks:?}"
        );
        let cut = &RULESET[..RULESET.find("203").unwrap()];
        assert!(
            read("f.nft", cut, None).remarks[0]
                .to_string()
                .contains("cut short")
        );
    }
}
