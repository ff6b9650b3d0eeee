//! Rules that can never decide anything.

use std::collections::{BTreeSet, HashMap};

use super::{Rule, Selector, document::Document};
use crate::diagnostic::Diagnostic;

/// Which line matches a place first, for one kind of source.
#[derive(Default)]
struct Matched<'a> {
    everywhere: Option<u32>,
    places: HashMap<&'a str, u32>,
}

impl<'a> Matched<'a> {
    fn add(&mut self, rule: &'a Rule) {
        let line = rule.place.line;
        match &rule.selector {
            Selector::Everywhere => {
                self.everywhere.get_or_insert(line);
            }
            Selector::Places(items) => {
                for item in items {
                    self.places.entry(&item.code).or_insert(line);
                }
            }
        }
    }

    /// The lines that match everything the rule matches; `None` if something is left to it.
    fn lines_before(&self, rule: &Rule) -> Option<BTreeSet<u32>> {
        match (&rule.selector, self.everywhere) {
            // All countries together still leave the sources of unknown place to `everywhere`.
            (Selector::Everywhere, everywhere) => everywhere.map(|line| BTreeSet::from([line])),
            (Selector::Places(items), everywhere) => items
                .iter()
                .map(|item| self.places.get(item.code.as_str()).copied().or(everywhere))
                .collect(),
        }
    }
}

/// Remarks on the rules of one order whose every place is matched by rules before them.
///
/// For exempt sources an order consists of its `no_exemptions` rules alone, so such a rule is dead only behind
/// rules of its own kind.
pub(super) fn remark_dead_rules(document: &mut Document<'_>, rules: &[Rule]) {
    let mut for_all = Matched::default();
    let mut for_exempt = Matched::default();
    for rule in rules {
        let before = if rule.no_exemptions { &for_exempt } else { &for_all };
        // A selector that is empty was reported already.
        if let Some(lines) = before.lines_before(rule).filter(|lines| !lines.is_empty()) {
            let lines: Vec<String> = lines.iter().take(MAX_LINES).map(u32::to_string).collect();
            let (rules, matches) = if lines.len() == 1 {
                ("the rule in line", "matches")
            } else {
                ("the rules in lines", "match")
            };
            document.remark(Diagnostic::warning(
                rule.place.clone(),
                "",
                format!(
                    "dead rule: {rules} {} already {matches} every place it names",
                    lines.join(", ")
                ),
                "remove it, or move it up: within an order the first matching rule decides",
            ));
        }
        for_all.add(rule);
        if rule.no_exemptions {
            for_exempt.add(rule);
        }
    }
}

/// Lines named in a remark.
const MAX_LINES: usize = 5;
