//! Which hosts a bundle is for.
//!
//! Patterns are matched against a whole name without regard to case: `*` stands for any characters, none included, `?` for
//! one. A host is meant if one of the patterns for hosts matches its name, or there are none, and every label matches.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a host is called, by itself and by its operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostIdentity {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Which hosts; by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Patterns of names.
    pub hosts: Vec<String>,
    /// Patterns of labels.
    pub labels: BTreeMap<String, String>,
}

impl Target {
    /// Whether it means every host.
    pub fn is_every_host(&self) -> bool {
        self.hosts.is_empty() && self.labels.is_empty()
    }

    /// Why a host is not meant; `None` if it is.
    pub fn excludes(&self, host: &HostIdentity) -> Option<String> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| matches(pattern, &host.name)) {
            return Some(format!("no pattern matches the host's name `{}`", host.name));
        }
        self.labels
            .iter()
            .find_map(|(label, pattern)| match host.labels.get(label) {
                None => Some(format!("the host has no label `{label}`")),
                Some(value) if !matches(pattern, value) => Some(format!(
                    "the host's label `{label}` is `{value}`, not `{pattern}`"
                )),
                Some(_) => None,
            })
    }
}

/// Whether a pattern may be written: something to match, in characters that names have.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '*' | '?'))
}

/// Goes back to the last `*` only, so the time is bounded by the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, in_text));
                at += 1;
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&text[in_text]) => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((behind, taken)) = star else {
                    return false;
                };
                star = Some((behind, taken + 1));
                (at, in_text) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("edge-1", "edge-1", true),
            ("edge-1", "EDGE-1", true),
            ("edge-1", "edge-10", false),
            ("edge-*", "edge-", true),
            ("edge-*.example.org", "edge-7.fra.example.org", true),
            ("edge-*.example.org", "edge-7.example.net", false),
            ("*", "", true),
            ("?", "", false),
            ("edge-?", "edge-7", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxbxxa", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_host_is_meant_if_its_name_and_every_label_fit() {
        let host = HostIdentity {
            name: "edge-1".to_owned(),
            labels: [("site".to_owned(), "fra".to_owned())].into(),
        };
        let target = |hosts: &[&str], labels: &[(&str, &str)]| Target {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            labels: labels
                .iter()
                .map(|(label, pattern)| ((*label).to_owned(), (*pattern).to_owned()))
                .collect(),
        };
        assert_eq!(target(&[], &[]).excludes(&host), None);
        assert_eq!(target(&["gw", "edge-*"], &[("site", "f*")]).excludes(&host), None);
        for (target, why) in [
            (
                target(&["gw"], &[]),
                "no pattern matches the host's name `edge-1`",
            ),
            (
                target(&[], &[("site", "ams")]),
                "the host's label `site` is `fra`, not `ams`",
            ),
            (target(&[], &[("tier", "*")]), "the host has no label `tier`"),
        ] {
            assert_eq!(target.excludes(&host).as_deref(), Some(why));
        }
    }

    /// Matching by its definition.
    fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', behind)), _) => (0..=text.len()).any(|n| matches_slowly(behind, &text[n..])),
            (Some((b'?', behind)), Some((_, rest))) => matches_slowly(behind, rest),
            (Some((c, behind)), Some((d, rest))) => c == d && matches_slowly(behind, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), matches_slowly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
