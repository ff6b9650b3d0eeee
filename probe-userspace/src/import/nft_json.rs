//! `nft -j list ruleset`: the same sets as [`super::nft`].

use serde_json::Value;

use super::{Imported, Set, spans, spans::Span, unreadable};
use crate::diagnostic::{Diagnostic, Place};

pub(super) fn read(file: &str, text: &str, only: Option<&str>) -> Imported {
    let mut imported = Imported::default();
    let whole = || Place::file(file);
    let tree: Value = match serde_json::from_str(text) {
        Ok(tree) => tree,
        Err(error) => {
            let place = Place {
                line: error.line() as u32,
                column: error.column() as u32,
                ..whole()
            };
            let remark = Diagnostic::error(
                place,
                "",
                format!("this is no JSON: {error}"),
                "give what `nft -j` printed",
            );
            imported.remarks.push(remark);
            return imported;
        }
    };
    let objects = tree["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    for set in objects.iter().filter_map(|object| object.get("set")) {
        let word = |key: &str| set[key].as_str().unwrap_or_default();
        let name = word("name");
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let name = format!("{} {} {name}", word("family"), word("table"));
        if !matches!(word("type"), "ipv4_addr" | "ipv6_addr") {
            imported.remarks.push(Diagnostic::warning(
                whole(),
                &name,
                format!("this set is of {}, not of addresses: left out", set["type"]),
                "write what its rules mean as services of a policy",
            ));
            continue;
        }
        let mut found = Set {
            name,
            ..Set::default()
        };
        for element in set["elem"].as_array().into_iter().flatten() {
            found.has_timeouts |= element["elem"].get("timeout").is_some();
            match span(element.pointer("/elem/val").unwrap_or(element)) {
                Ok(span) => found.spans.add(span),
                Err(why) => imported
                    .remarks
                    .push(unreadable(whole(), &element.to_string(), &why)),
            }
        }
        imported.sets.push(found);
    }
    imported
}

fn span(value: &Value) -> Result<Span, String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(text) = value.as_str() {
        return spans::parse(text);
    }
    if let Some(prefix) = value.get("prefix") {
        return spans::parse(&format!("{}/{}", word(&prefix["addr"]), prefix["len"]));
    }
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return spans::parse(&format!("{}-{}", word(first), word(last)));
    }
    Err("neither address, nor `prefix`, nor `range`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_form_are_read() {
        let text = r#"{"nftables": [{"metainfo": {}}, {"set": {"family": "inet", "name": "s", "table": "t", "type": "ipv4_addr",
            "elem": ["192.0.2.9", {"prefix": {"addr": "198.51.100.0", "len": 24}}, {"range": ["203.0.113.0", "203.0.113.1"]},
            {"elem": {"val": {"prefix": {"addr": "10.0.0.0", "len": 8}}, "timeout": 60}}, {"concat": ["192.0.2.1", 22]}]}}]}"#;
        let imported = read("f.json", text, None);
        let prefixes: Vec<String> = imported.prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(
            prefixes,
            ["10.0.0.0/8", "192.0.2.9/32", "198.51.100.0/24", "203.0.113.0/31"]
        );
        assert!(imported.sets[0].has_timeouts);
        assert!(
            imported.remarks[0].value.contains("concat"),
            "{:?}",
            imported.remarks
        );
        assert!(
            read("f.json", "{\"nftables\": [", None).remarks[0]
                .to_string()
                .starts_with("f.json:1:14: error")
        );
    }
}
