//! `ipset save`.

use std::collections::BTreeMap;

use super::{Imported, Set, place, spans, spans::Span, unreadable};
use crate::diagnostic::Diagnostic;

/// Types whose elements are addresses, prefixes or intervals of them.
const TYPES: [&str; 3] = ["hash:ip", "hash:net", "bitmap:ip"];

pub(super) fn read(file: &str, text: &str, only: Option<&str>) -> Imported {
    let mut imported = Imported::default();
    // By name: its place in `sets`, or none if it is left out.
    let mut known: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    // `nomatch` takes out what a shorter prefix has put in, whichever comes first.
    let mut taken_out: Vec<(usize, Span)> = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |value: &str| place(file, idx + 1, line, value);
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["create" | "-N", name, kind, ..] => {
                let is_wanted = only.is_none_or(|only| only == *name);
                let is_of_addresses = TYPES.contains(kind);
                if is_wanted && !is_of_addresses {
                    imported.remarks.push(Diagnostic::warning(
                        at(kind),
                        *kind,
                        format!("the set {name} is not of addresses alone: left out"),
                        "write what its rules mean as services of a policy",
                    ));
                }
                let set = (is_wanted && is_of_addresses).then(|| {
                    imported.sets.push(Set {
                        name: (*name).to_owned(),
                        ..Set::default()
                    });
                    imported.sets.len() - 1
                });
                known.insert(*name, set);
            }
            ["add" | "-A", name, value, options @ ..] => match known.get(name) {
                None => imported.remarks.push(Diagnostic::error(
                    at(name),
                    *name,
                    "no `create` before this line makes this set",
                    "give the whole of what `ipset save` printed",
                )),
                Some(None) => {}
                Some(Some(set)) => match spans::parse(value) {
                    Ok(span) if options.contains(&"nomatch") => taken_out.push((*set, span)),
                    Ok(span) => {
                        let set = &mut imported.sets[*set];
                        set.spans.add(span);
                        set.has_timeouts |= has_timeout(options);
                    }
                    Err(why) => imported.remarks.push(unreadable(at(value), value, &why)),
                },
            },
            [first, ..] => imported.remarks.push(Diagnostic::error(
                at(first),
                *first,
                "neither `create` nor `add`",
                "give what `ipset save` printed (not `ipset list`)",
            )),
        }
    }
    for (set, span) in taken_out {
        imported.sets[set].spans.remove(span);
    }
    imported
}

/// A timeout of 0 is none.
fn has_timeout(options: &[&str]) -> bool {
    let mut pairs = options.windows(2);
    pairs.any(|pair| pair[0] == "timeout" && pair[1] != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "create n4 hash:net family inet hashsize 1024 maxelem 65536 timeout 0 comment\n\
        add n4 192.0.2.128/25 timeout 0 nomatch\n\
        add n4 192.0.2.0/24 timeout 0 comment \"one two\"\n\
        create p hash:ip,port family inet\n\
        add p 192.0.2.4,tcp:80\n\
        create t hash:ip family inet timeout 600\n\
        add t 203.0.113.1 timeout 599\n";

    #[test]
    fn sets_of_addresses_are_read_without_what_they_do_not_match() {
        let imported = read("f", SAVED, None);
        let prefixes: Vec<String> = imported.prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["192.0.2.0/25", "203.0.113.1/32"]);
        let timeouts: Vec<bool> = imported.sets.iter().map(|set| set.has_timeouts).collect();
        assert_eq!(timeouts, [false, true]);
        assert!(
            imported.remarks[0].to_string().starts_with("f:4:10: warning"),
            "{:?}",
            imported.remarks
        );
        assert_eq!(read("f", SAVED, Some("t")).prefixes().len(), 1);
    }

    #[test]
    fn errors_name_line_and_value() {
        let error = |text: &str| read("f", text, None).remarks[0].to_string();
        assert!(error("create s hash:ip\nadd s 192.0.2\n").starts_with("f:2:7: error"));
        assert!(error("add s 192.0.2.1\n").contains("no `create`"));
        assert!(error("Name: s\n").contains("ipset save"));
    }
}
